/* SPDX-License-Identifier: BSD-2-Clause */
/* What is remembered of name servers' answers, for how long, and how much of it. */
/* needs: proxy/io/dns_cache.c */
#include "proxy/io/dns_cache.h"

#include <stdio.h>

#include "proxy/base/mem.h"
#include "tests/unit/lib.h"

#define HOSTILE 100000

static struct dns_answer made, found;
static uint8_t records[DNS_NAMES_MAX];

static void begin(struct dns_cache *c)
{
    dns_cache_init(c, (struct hash_key){{1, 2}});
}

/* So many addresses and names, all different; 0 of both: there is no such record. */
static void make(int addresses, int names, uint32_t ttl_s)
{
    made = (struct dns_answer){.status = addresses + names > 0 ? DNS_FOUND : DNS_NOT_FOUND,
                               .ttl_s = ttl_s,
                               .address_count = addresses,
                               .name_count = names};
    for (int i = 0; i < addresses; i++)
        made.addresses[i] =
            (struct netaddr){.family = NETADDR_IPV6, .octets = {0x20, 1, [15] = (uint8_t)i}};
    for (int i = 0; i < names; i++) {
        memset(made.names[i].text, 'a' + i, (size_t)(i * 17)); /* from none to 255 octets */
        made.names[i].preference = (uint16_t)(i * 4369);
    }
    memset(records, 'a' + names, sizeof(records));
    made.records = bytes_make(records, (size_t)names);
    made.record_count = (unsigned)names;
}

static bool is_found(struct dns_cache *c, const char *question, uint64_t now_ms)
{
    memset(&found, 0xaa, sizeof(found));
    return dns_cache_find(c, bytes_of(question), now_ms, &found);
}

static void assert_same(uint32_t ttl_s)
{
    assert_int_equal(found.status, made.status);
    assert_int_equal(found.ttl_s, ttl_s);
    assert_int_equal(found.address_count, made.address_count);
    assert_int_equal(found.name_count, made.name_count);
    assert_int_equal(found.record_count, made.record_count);
    assert_true(bytes_equal(found.records, made.records));
    for (int i = 0; i < made.address_count; i++)
        assert_true(netaddr_equal(&found.addresses[i], &made.addresses[i]));
    for (int i = 0; i < made.name_count; i++) {
        assert_string_equal(found.names[i].text, made.names[i].text);
        assert_int_equal(found.names[i].preference, made.names[i].preference);
    }
}

static void test_whole(void **state)
{
    static const int rows[][2] = {{1, 0}, {0, 1}, {0, 0}, {DNS_ADDRESSES_MAX, DNS_NAMES_MAX}};
    struct dns_cache c;

    (void)state;
    begin(&c);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char question[16];

        snprintf(question, sizeof(question), "q%zu", i);
        assert_false(is_found(&c, question, 5000));
        make(rows[i][0], rows[i][1], 60);
        dns_cache_keep(&c, bytes_of(question), &made, 5000);
        assert_true(is_found(&c, question, 5000));
        assert_same(60);
    }
    assert_false(is_found(&c, "Q0", 5000));
    dns_cache_done(&c);
}

static void test_own_records(void **state)
{
    struct dns_cache c;

    (void)state;
    begin(&c);
    make(0, 3, 60);
    dns_cache_keep(&c, bytes_of("q"), &made, 0);
    memset(records, 'x', sizeof(records));
    assert_true(is_found(&c, "q", 0));
    assert_true(bytes_is(found.records, "ddd"));
    dns_cache_done(&c);
}

static void test_time(void **state)
{
    struct dns_cache c;

    (void)state;
    begin(&c);
    make(1, 0, 2);
    dns_cache_keep(&c, bytes_of("q"), &made, 5000);
    assert_true(is_found(&c, "q", 5001));
    assert_same(2);
    assert_true(is_found(&c, "q", 6999));
    assert_same(1);
    assert_false(is_found(&c, "q", 7000));
    assert_int_equal(c.used_bytes, 0);
    make(1, 0, 0); /* RFC 1035 3.2.1: for this once alone */
    dns_cache_keep(&c, bytes_of("q"), &made, 5000);
    assert_false(is_found(&c, "q", 5000));
    dns_cache_done(&c);
}

/* Who asks for ever more does not make it grow, and what others use stays. */
static void test_bound(void **state)
{
    struct dns_cache c;
    unsigned left = 0;
    char question[32];

    (void)state;
    begin(&c);
    make(1, 0, 3600);
    dns_cache_keep(&c, bytes_of("used"), &made, 0);
    dns_cache_keep(&c, bytes_of("unused"), &made, 0);
    for (int i = 0; i < HOSTILE; i++) {
        snprintf(question, sizeof(question), "hostile%d", i);
        make(i % 3, i % 2, 3600);
        dns_cache_keep(&c, bytes_of(question), &made, 0);
        assert_true(c.used_bytes <= DNS_CACHE_BYTES_MAX);
        assert_true(is_found(&c, "used", 0));
    }
    assert_false(is_found(&c, "unused", 0));
    for (int i = 0; i < HOSTILE; i++) {
        snprintf(question, sizeof(question), "hostile%d", i);
        left += is_found(&c, question, 0);
    }
    assert_in_range(left, HOSTILE / 4, HOSTILE / 4 * 3);
    dns_cache_done(&c);
}

static bool keep_one(void *given)
{
    struct dns_cache c;

    (void)given;
    begin(&c);
    make(2, 2, 60);
    dns_cache_keep(&c, bytes_of("q"), &made, 0);
    bool is_kept = is_found(&c, "q", 0);
    dns_cache_done(&c);
    return is_kept;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_int_equal(lib_fail_each_allocation(keep_one, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),     cmocka_unit_test(test_own_records),
        cmocka_unit_test(test_time),      cmocka_unit_test(test_bound),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
