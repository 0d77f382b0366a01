/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses: what is read, what is refused, what is written, and that both agree. */
#include "proxy/base/netaddr.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

static const struct {
    const char *text;
    const char *expected; /* as written again; NULL: ERR_SYNTAX */
} addresses[] = {
    {"0.0.0.0", "0.0.0.0"},
    {"192.0.2.1", "192.0.2.1"},
    {"255.255.255.255", "255.255.255.255"},
    {"", NULL},
    {"1", NULL},
    {"1.2.3", NULL},
    {"1.2.3.", NULL},
    {".1.2.3", NULL},
    {"1..2.3", NULL},
    {"1.2.3.4.", NULL},
    {"1.2.3.4.5", NULL},
    {"1.2.3.256", NULL},
    {"1.2.3.4294967296", NULL},
    {"01.2.3.4", NULL},
    {"1.2.3.04", NULL},
    {"1.2.3.-4", NULL},
    {"1.2.3.+4", NULL},
    {"1.2.3. 4", NULL},
    {"1.2.3.4 ", NULL},
    {"0x1.2.3.4", NULL},
    {"a.b.c.d", NULL},
    {"::", "::"},
    {"::1", "::1"},
    {"1::", "1::"},
    {"1::2", "1::2"},
    {"2001:DB8::0001", "2001:db8::1"},
    {"2001:db8:0:0:0:0:0:1", "2001:db8::1"},
    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
    {"1:2:3:0:5:6:7:8", "1:2:3:0:5:6:7:8"},
    {"1:0:0:4:5:0:0:8", "1::4:5:0:0:8"},
    {"1:0:0:4:0:0:0:8", "1:0:0:4::8"},
    {"0:0:0:4:5:6:7:8", "::4:5:6:7:8"},
    {"1:2:3:4:5:0:0:0", "1:2:3:4:5::"},
    {"fe80::a0b:00c0:0:10", "fe80::a0b:c0:0:10"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"::FFFF:c000:201", "192.0.2.1"},
    {"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
    {"::192.0.2.1", "::c000:201"},
    {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
    {":", NULL},
    {":::", NULL},
    {"::::", NULL},
    {":1", NULL},
    {"1:", NULL},
    {"1::2::3", NULL},
    {"1:::2", NULL},
    {":1::2", NULL},
    {"1::2:", NULL},
    {"1:2:3:4:5:6:7", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {"1:2:3:4:5:6:7:8:", NULL},
    {"1:2:3:4::5:6:7:8", NULL},
    {"::1:2:3:4:5:6:7:8", NULL},
    {"1:2:3:4:5:6:7:8::", NULL},
    {"12345::", NULL},
    {"00001::", NULL},
    {"g::", NULL},
    {"::g", NULL},
    {"1.2.3.4::", NULL},
    {"::1.2.3.4:5", NULL},
    {"1:2:3:4:5:6:7:1.2.3.4", NULL},
    {"1:2:3:4:5:1.2.3.4", NULL},
    {"::ffff:1.2.3", NULL},
    {"::ffff:1.2.3.256", NULL},
    {"[::1]", NULL},
    {"fe80::1%eth0", NULL},
    {"::1/128", NULL},
};

static void reads_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(addresses[i].text));
        struct netaddr address = {.family = NETADDR_NONE, .port = 7}, again;
        char text[NETADDR_TEXT_MAX];
        int error = netaddr_parse(guard.bytes, &address);

        lib_same_number(i, addresses[i].text, addresses[i].expected == NULL ? ERR_SYNTAX : 0,
                        error);
        if (error != 0) {
            lib_is_true(i, "untouched", address.family == NETADDR_NONE && address.port == 7);
        } else {
            lib_same_text(i, addresses[i].text, addresses[i].expected,
                          netaddr_text(&address, text));
            lib_same_number(i, "port", 0, address.port);
            lib_same_number(i, "read again", 0, netaddr_parse(bytes_of(text), &again));
            lib_is_true(i, "the same again", netaddr_equal(&address, &again));
        }
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

static void reads_ports(void **state)
{
    static const struct {
        const char *text;
        const char *expected;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1:2525"},
        {"192.0.2.1:25", "192.0.2.1:25"},
        {"192.0.2.1:65535", "192.0.2.1:65535"},
        {"::1", "[::1]:2525"},
        {"[::1]", "[::1]:2525"},
        {"[::1]:25", "[::1]:25"},
        {"[::ffff:192.0.2.1]:25", "192.0.2.1:25"},
        {"", NULL},
        {":25", NULL},
        {"[", NULL},
        {"[]", NULL},
        {"[]:25", NULL},
        {"[::1", NULL},
        {"::1]:25", NULL},
        {"[::1]25", NULL},
        {"[::1]:", NULL},
        {"[192.0.2.1]", NULL},
        {"[192.0.2.1]:25", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:0", NULL},
        {"192.0.2.1:025", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:99999999999", NULL},
        {"192.0.2.1:25 ", NULL},
        {"192.0.2.1:smtp", NULL},
        {"localhost:25", NULL},
        {"2001:db8:0:0:0:0:0:1:25", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].text));
        struct netaddr address = {.port = 7};
        char text[NETADDR_TEXT_MAX];
        int error = netaddr_parse_with_port(guard.bytes, 2525, &address);

        lib_same_number(i, rows[i].text, rows[i].expected == NULL ? ERR_SYNTAX : 0, error);
        if (error == 0)
            lib_same_text(i, rows[i].text, rows[i].expected,
                          netaddr_text_with_port(&address, text));
        else
            lib_same_number(i, "untouched", 7, address.port);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

static void reads_nets(void **state)
{
    static const struct {
        const char *text;
        int bits; /* -1: ERR_SYNTAX */
        const char *inside, *outside;
    } rows[] = {
        {"192.0.2.0/24", 24, "192.0.2.255", "192.0.3.0"},
        {"192.0.2.1", 32, "192.0.2.1", "192.0.2.0"},
        {"192.0.2.128/25", 25, "192.0.2.129", "192.0.2.127"},
        {"192.0.2.8/31", 31, "192.0.2.9", "192.0.2.10"},
        {"128.0.0.0/1", 1, "255.0.0.1", "127.0.0.1"},
        {"0.0.0.0/0", 0, "255.1.2.3", "::1"},
        {"::/0", 0, "2001:db8::1", "192.0.2.1"},
        {"2001:db8::/32", 32, "2001:db8:ffff::1", "2001:db9::"},
        {"2001:db8::/33", 33, "2001:db8:7fff::1", "2001:db8:8000::"},
        {"2001:db8::1", 128, "2001:db8::1", "2001:db8::2"},
        {"::ffff:192.0.2.0/120", 24, "192.0.2.7", "192.0.3.7"},
        {"::ffff:0:0/96", 0, "192.0.2.7", "::1"},
        {"::ffff:192.0.2.0/95", -1, NULL, NULL},
        {"192.0.2.1/24", -1, NULL, NULL},
        {"192.0.2.128/24", -1, NULL, NULL},
        {"192.0.2.0/33", -1, NULL, NULL},
        {"2001:db8::/129", -1, NULL, NULL},
        {"2001:db8::1/127", -1, NULL, NULL},
        {"192.0.2.0/", -1, NULL, NULL},
        {"192.0.2.0/024", -1, NULL, NULL},
        {"192.0.2.0/-1", -1, NULL, NULL},
        {"192.0.2.0/24/24", -1, NULL, NULL},
        {"192.0.2/24", -1, NULL, NULL},
        {"/24", -1, NULL, NULL},
        {"", -1, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].text));
        struct netmask mask = {.bits = 77};
        struct netaddr inside, outside;
        int error = netaddr_parse_mask(guard.bytes, &mask);

        lib_guard_free(&guard);
        lib_same_number(i, rows[i].text, rows[i].bits < 0 ? ERR_SYNTAX : 0, error);
        lib_same_number(i, "bits", rows[i].bits < 0 ? 77 : rows[i].bits, mask.bits);
        if (error != 0 || rows[i].inside == NULL)
            continue;
        assert_int_equal(netaddr_parse(bytes_of(rows[i].inside), &inside), 0);
        assert_int_equal(netaddr_parse(bytes_of(rows[i].outside), &outside), 0);
        lib_is_true(i, rows[i].inside, netaddr_in(&inside, &mask));
        lib_is_true(i, rows[i].outside, !netaddr_in(&outside, &mask));
    }
    lib_end_rows();
}

static void tells_apart(void **state)
{
    static const struct {
        const char *one, *other;
        bool is_equal, is_same_host;
    } rows[] = {
        {"192.0.2.1:25", "192.0.2.1:25", true, true},
        {"192.0.2.1:25", "192.0.2.1:26", false, true},
        {"192.0.2.1:25", "192.0.2.2:25", false, false},
        {"[::ffff:192.0.2.1]:25", "192.0.2.1:25", true, true},
        {"[::c000:201]:25", "192.0.2.1:25", false, false},
        {"[2001:db8::1]:25", "[2001:db8:0::1]:25", true, true},
        {"[c000:201::]:25", "192.0.2.1:25", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct netaddr one, other;

        assert_int_equal(netaddr_parse_with_port(bytes_of(rows[i].one), 0, &one), 0);
        assert_int_equal(netaddr_parse_with_port(bytes_of(rows[i].other), 0, &other), 0);
        lib_same_number(i, "equal", rows[i].is_equal, netaddr_equal(&one, &other));
        lib_same_number(i, "same host", rows[i].is_same_host, netaddr_same_host(&one, &other));
    }
    lib_end_rows();
}

static void names_and_kinds(void **state)
{
    static const struct {
        const char *text, *reverse;
        bool is_loopback;
    } rows[] = {
        {"192.0.2.10", "10.2.0.192.in-addr.arpa", false},
        {"127.0.0.1", "1.0.0.127.in-addr.arpa", true},
        {"127.255.0.9", "9.0.255.127.in-addr.arpa", true},
        {"126.0.0.1", "1.0.0.126.in-addr.arpa", false},
        {"::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", true},
        {"::2", "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", false},
        {"7f00::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.f.7.ip6.arpa",
         false},
        {"2001:db8::567:89ab",
         "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", false},
    };
    struct netaddr none = {.family = NETADDR_NONE};
    char text[NETADDR_REVERSE_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct netaddr address;

        assert_int_equal(netaddr_parse(bytes_of(rows[i].text), &address), 0);
        lib_same_text(i, "reverse", rows[i].reverse, netaddr_reverse_name(&address, text));
        lib_same_number(i, "loopback", rows[i].is_loopback, netaddr_is_loopback(&address));
    }
    lib_end_rows();
    assert_string_equal(netaddr_reverse_name(&none, text), "");
    assert_string_equal(netaddr_text(&none, text), "unknown");
    assert_string_equal(netaddr_text_with_port(&none, text), "unknown");
    assert_false(netaddr_is_loopback(&none));
}

/* Every address is read as it was written; the C library need not be asked. */
static void finds_nets(void **state)
{
    static const struct {
        const char *address;
        unsigned bits;
        const char *net;
    } rows[] = {
        {"192.0.2.77", 32, "192.0.2.77"},
        {"192.0.2.77", 24, "192.0.2.0"},
        {"192.0.2.77", 30, "192.0.2.76"},
        {"192.0.2.77", 0, "0.0.0.0"},
        {"2001:db8:1:2ff:4:5:6:7", 128, "2001:db8:1:2ff:4:5:6:7"},
        {"2001:db8:1:2ff:4:5:6:7", 64, "2001:db8:1:2ff::"},
        {"2001:db8:1:2ff:4:5:6:7", 56, "2001:db8:1:200::"},
        {"2001:db8:1:2ff:4:5:6:7", 48, "2001:db8:1::"},
        {"unix", 48, "unknown"},
    };
    char text[NETADDR_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct netaddr address = {.family = NETADDR_NONE};
        netaddr_parse(bytes_of(rows[i].address), &address);
        address.port = 25;
        struct netaddr net = netaddr_prefix(&address, rows[i].bits);
        lib_same_text(i, "net", rows[i].net, netaddr_text(&net, text));
        lib_same_number(i, "port", 0, net.port);
    }
}

static void finds_nets_of_clients(void **state)
{
    static const struct {
        const char *address, *net;
    } rows[] = {
        {"192.0.2.77", "192.0.2.0"},
        {"::ffff:192.0.2.77", "192.0.2.0"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
    };
    char text[NETADDR_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct netaddr address;
        assert_int_equal(netaddr_parse(bytes_of(rows[i].address), &address), 0);
        struct netaddr net = netaddr_client_net(&address);
        lib_same_text(i, "net", rows[i].net, netaddr_text(&net, text));
    }
}

static void reads_what_it_writes(void **state)
{
    struct lib_random random = {.state = 3};

    (void)state;
    for (int turn = 0; turn < 20000; turn++) {
        struct netaddr written = {.family = NETADDR_IPV6, .port = 1}, read;
        char text[NETADDR_TEXT_MAX];
        uint64_t zeros = lib_random_next(&random);

        for (unsigned i = 0; i < 16; i++)
            if ((zeros >> i / 2 * 2 & 3) != 0)
                written.octets[i] = (uint8_t)lib_random_next(&random);
        written.octets[0] |= 0x20; /* not a v4-mapped one */
        netaddr_text_with_port(&written, text);
        assert_int_equal(netaddr_parse_with_port(bytes_of(text), 0, &read), 0);
        assert_true(netaddr_equal(&written, &read));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(reads_ports),
        cmocka_unit_test(reads_nets),
        cmocka_unit_test(tells_apart),
        cmocka_unit_test(names_and_kinds),
        cmocka_unit_test(finds_nets),
        cmocka_unit_test(finds_nets_of_clients),
        cmocka_unit_test(reads_what_it_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
