/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of the milter protocol: what is written, what is read, and macros for odd clients. */
/* needs: tests/unit/milter_play.c */
#include "filters/milter/milter_wire.h"

#include "filters/milter/milter_macros.h"
#include "proxy/base/error.h"
#include "proxy/smtp/header_field.h"
#include "tests/unit/lib.h"
#include "tests/unit/milter_play.h"

static struct pool pool;
static struct buf out;
static struct lib_text seen;

static int set_up(void **state)
{
    (void)state;
    pool_init(&pool, 512, 4);
    buf_init(&out, &pool, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&out);
    pool_done(&pool);
    return 0;
}

/* What was put since the last time, as text. */
static const char *put(void)
{
    seen.len = 0;
    seen.at[0] = '\0';
    milter_play_put(&seen, buf_bytes(&out));
    buf_consume(&out, buf_length(&out));
    return seen.at;
}

static void test_commands(void **state)
{
    struct netaddr client;
    struct address path = {.local = bytes_of("a"), .domain = bytes_of("b.test")};

    (void)state;
    assert_int_equal(netaddr_parse(bytes_of("2001:db8::1"), &client), 0);
    client.port = 0x1234;
    milter_put_connect(&out, bytes_of("h"), &client);
    assert_string_equal(put(), "> C h|6\\1242001:db8::1|\n");
    client.family = NETADDR_NONE;
    milter_put_connect(&out, bytes_of("h"), &client);
    assert_string_equal(put(), "> C h|U\n");
    milter_put_text(&out, SMFIC_HELO, bytes_make("a\0b", 3));
    assert_string_equal(put(), "> H a?b|\n");
    milter_put_path(&out, SMFIC_MAIL, &path, bytes_of(""));
    assert_string_equal(put(), "> M <a@b.test>|\n");
    milter_put_path(&out, SMFIC_RCPT, &path, bytes_of("  A=B\tC "));
    assert_string_equal(put(), "> R <a@b.test>|A=B|C|\n");
    path = (struct address){.local = {NULL, 0}};
    milter_put_path(&out, SMFIC_MAIL, &path, bytes_of("A"));
    assert_string_equal(put(), "> M <>|A|\n");
    assert_false(out.has_failed);
}

static const struct {
    const char *field, *seen, *spaced; /* without and with its space; NULL: it is none */
} field_rows[] = {
    {"A: b\r\n", "> L A|b|\n", "> L A| b|\n"},
    {"A:b\r\n", "> L A|b|\n", "> L A|b|\n"},
    {"A:\r\n", "> L A||\n", "> L A||\n"},
    {"A: \r\n", "> L A||\n", "> L A| |\n"},
    {"A:  b\r\n\tc\r\n d\r\n", "> L A| b^\\09c^ d|\n", "> L A|  b^\\09c^ d|\n"},
    {"A:\tb", "> L A|\\09b|\n", "> L A|\\09b|\n"},
    {"A-b_c \t: d: e\r\n", "> L A-b_c|d: e|\n", "> L A-b_c| d: e|\n"},
    {"A: b\rc\r\n", "> L A|b~c|\n", "> L A| b~c|\n"},
    {"A: \xe9\r\n", "> L A|\\e9|\n", "> L A| \\e9|\n"},
    {"no field\r\n", NULL, NULL},
    {": b\r\n", NULL, NULL},
    {" : b\r\n", NULL, NULL},
    {"a b: c\r\n", NULL, NULL},
    {"a\xe9: c\r\n", NULL, NULL},
    {"", NULL, NULL},
};

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(field_rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(field_rows[i].field));
        bool is_field = header_field_name(guard.bytes).len != 0;

        lib_same_number(i, "is a field", field_rows[i].seen != NULL, is_field);
        if (is_field) {
            milter_put_field(&out, guard.bytes, false);
            lib_same_text(i, "seen", field_rows[i].seen, put());
            milter_put_field(&out, guard.bytes, true);
            lib_same_text(i, "spaced", field_rows[i].spaced, put());
        }
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

/* A name as long as a packet. */
static void test_long_name(void **state)
{
    static uint8_t field[FILTER_FIELD_MAX];

    (void)state;
    memset(field, 'n', sizeof(field));
    memcpy(field + sizeof(field) - 4, ": v\n", 4);
    milter_put_field(&out, bytes_make(field, sizeof(field)), false);
    assert_int_equal(buf_length(&out), MILTER_PACKET_MAX);
}

static void test_macros(void **state)
{
    struct milter_about about = milter_play_about;
    struct identity client = *about.client;

    (void)state;
    about.client = &client;
    milter_macros_put(&out, 'C', bytes_of(" _,{client_ptr}, client_name nonsense {} i"), &about);
    assert_string_equal(put(), "> D C_|client.test [192.0.2.1]|{client_ptr}|client.test|"
                               "client_name|client.test|i|B1|\n");
    client.name_state = IDENTITY_NAME_UNAVAILABLE;
    milter_macros_put(&out, 'C', bytes_of("_ {client_ptr} {client_name}"), &about);
    assert_string_equal(put(), "> D C_|client.test [192.0.2.1] (may be forged)|{client_ptr}|"
                               "client.test|{client_name}|unknown|\n");
    client.reverse_name = bytes_make(NULL, 0);
    assert_int_equal(netaddr_parse(bytes_of("2001:db8::2"), &client.client), 0);
    milter_macros_put(&out, 'C', bytes_of("_ {client_addr} {client_port} {daemon_port}"), &about);
    assert_string_equal(put(), "> D C_|unknown [IPv6:2001:db8::2]|{client_addr}|IPv6:2001:db8::2|"
                               "{daemon_port}|25|\n");
    client.client.family = client.local.family = NETADDR_NONE;
    about.envelope = NULL;
    about.rcpt = NULL;
    milter_macros_put(&out, 'C',
                      bytes_of("_ {client_addr} {daemon_addr} i {mail_addr} {rcpt_host}"), &about);
    milter_macros_put(&out, 'C', bytes_of(""), &about);
    assert_string_equal(put(), "");
    assert_false(out.has_failed);
}

/* However often a milter asks for the same, a packet has room for it. */
static void test_many_macros(void **state)
{
    static char names[MILTER_LIST_MAX + 1];
    static uint8_t local[ADDRESS_PATH_MAX];
    struct milter_about about = milter_play_about;
    struct address rcpt = {.local = {local, sizeof(local)}};

    (void)state;
    memset(local, '"', sizeof(local));
    about.rcpt = &rcpt;
    for (size_t i = 0; i + 10 < sizeof(names); i += 10)
        memcpy(names + i, "rcpt_addr ", 10);
    milter_macros_put(&out, 'R', bytes_of(names), &about);
    assert_false(out.has_failed);
    assert_true(buf_length(&out) > MILTER_MAX_DATA_SIZE / 2);
    assert_true(buf_length(&out) <= MILTER_PACKET_MAX);
}

/* ---- reading ---- */

static const struct {
    const char *says, *seen;
} read_rows[] = {
    {"c\nhX|v|\nb", "c 0 h 4 b 0 more"},
    {"#0000000163", "c 0 more"},
    {"c\n#00000002", "c 0 more"},
    {"#00000000", "bad"},
    {"#00010001", "bad"},
    {"#ffffffff63", "bad"},
    {"c\n#00000000", "c 0 bad"},
};

static void run(const void *given, struct lib_pieces *in, struct lib_text *text)
{
    struct milter_reader reader;
    struct milter_packet packet;
    struct bytes piece;
    int error = ERR_NOT_FOUND;

    (void)given;
    milter_reader_init(&reader, &pool);
    while (error == ERR_NOT_FOUND && lib_next_piece(in, &piece)) {
        while ((error = milter_reader_take(&reader, &piece, &packet)) == 0)
            lib_put(text, "%c %zu ", packet.command, packet.data.len);
    }
    lib_put(text, error == ERR_NOT_FOUND ? "more" : "bad");
    milter_reader_done(&reader);
}

static void test_reader(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(read_rows); i++)
        lib_run_three_ways(i, milter_play_octets(read_rows[i].says), read_rows[i].seen, run, NULL);
    lib_end_rows();
}

/* The longest packet, in pieces and at once. */
static void test_longest(void **state)
{
    static uint8_t octets[MILTER_PACKET_MAX + 3] = {0, 1, 0, 0, 'b'};
    struct bytes in = bytes_make(octets, sizeof(octets));
    struct milter_reader reader;
    struct milter_packet packet;

    (void)state;
    milter_reader_init(&reader, &pool);
    assert_int_equal(milter_reader_take(&reader, &in, &packet), 0);
    assert_int_equal(packet.data.len, MILTER_MAX_DATA_SIZE);
    assert_int_equal(milter_reader_take(&reader, &in, &packet), ERR_NOT_FOUND);
    milter_reader_done(&reader);
    milter_reader_init(&reader, &pool);
    in = bytes_make(octets, sizeof(octets) - 4);
    assert_int_equal(milter_reader_take(&reader, &in, &packet), ERR_NOT_FOUND);
    in = bytes_make(octets + sizeof(octets) - 4, 4);
    assert_int_equal(milter_reader_take(&reader, &in, &packet), 0);
    assert_int_equal(packet.data.len, MILTER_MAX_DATA_SIZE);
    assert_int_equal(in.len, 3);
    milter_reader_done(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_macros, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_macros, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_longest, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
