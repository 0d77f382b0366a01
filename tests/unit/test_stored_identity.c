/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of `identity` that stand in files of the spool: the same in every version, whatever
 * the order of the setting's words. */
/* needs: route/relay/relay_conf.c route/relay/relay_member.c */
#include "proxy/smtp/identity.h"
#include "route/relay/relay_conf.h"
#include "spool/spool_format_private.h"
#include "tests/unit/lib.h"

static const struct {
    const char *word;
    unsigned stored;
} rows[] = {{"auto", 1},     {"xclient", 2},   {"xforward", 4},
            {"proxy-v1", 8}, {"proxy-v2", 16}, {"none", 32}};

/* The bit of a word of the setting; 0: there is no such word. */
static unsigned bit_of(const char *word)
{
    const struct setting *row = setting_find(&relay_conf_section, bytes_of("identity"));
    struct bytes words = bytes_of(row->allowed);

    for (unsigned i = 0; words.len > 0; i++) {
        size_t len = bytes_find(words, '|');

        if (bytes_is(bytes_first(words, len), word))
            return row->bits[i];
        words = bytes_skip(words, len < words.len ? len + 1 : len);
    }
    return 0;
}

static void says_the_stated_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_same_number(i, rows[i].word, rows[i].stored, bit_of(rows[i].word));
    lib_end_rows();
    assert_int_equal(IDENTITY_KIND_AUTO, 1);
    assert_int_equal(IDENTITY_KIND_XCLIENT, 2);
    assert_int_equal(IDENTITY_KIND_XFORWARD, 4);
    assert_int_equal(IDENTITY_KIND_PROXY_V1, 8);
    assert_int_equal(IDENTITY_KIND_PROXY_V2, 16);
    assert_int_equal(IDENTITY_KIND_NONE, 32);
}

#define RECORD_HEAD 16

static void stands_in_the_record_as_it_is(void **state)
{
    struct pool pool;
    struct buf out;
    struct spool_recipient r = {.identity = 0x01020320};
    struct spool_writer w = {.out = &out};
    static const uint8_t stored[] = {0x20, 0x03, 0x02, 0x01};

    (void)state;
    pool_init(&pool, 4096, 1);
    buf_init(&out, &pool, 4096);
    spool_put_recipient(&w, &r);
    struct bytes record = buf_bytes(&out);
    bool is_found = false;
    for (size_t i = RECORD_HEAD; i + sizeof(stored) <= record.len; i++)
        is_found = is_found || memcmp(record.at + i, stored, sizeof(stored)) == 0;
    assert_true(is_found);
    buf_done(&out);
    pool_done(&pool);
}

#define ASSERTED_BYTES 13 /* of the fields that are newer, where they say nothing */

/* Cuts the MESSAGE record that `out` holds, so that it ends where older ones did. */
static void make_older(struct buf *out, const struct spool_writer *w)
{
    static uint8_t record[1024];
    size_t content = (size_t)spool_load_number(buf_bytes(out).at + RECORD_LENGTH, 4);
    size_t left = RECORD_HEAD_BYTES + content - ASSERTED_BYTES, whole = (left + 7) & ~(size_t)7;

    assert_true(whole <= sizeof(record) && whole <= buf_length(out));
    memset(record, 0, sizeof(record));
    memcpy(record, buf_bytes(out).at, left);
    spool_store_number(record + RECORD_LENGTH, content - ASSERTED_BYTES, 4);
    spool_store_number(record + RECORD_SUM,
                       spool_record_sum(&w->id, w->at, bytes_make(record, whole)), 8);
    buf_reset(out);
    buf_put(out, bytes_make(record, whole));
}

/* A file of before it was kept what is asserted of a client: MESSAGE ends with our name. */
static void reads_older_files(void **state)
{
    struct pool pool;
    struct buf out;
    struct arena arena;
    struct spool_head head = {.id = {"0123456789BCDFGH"}};
    struct spool_recipient r = {.target = bytes_of("t")};
    struct spool_message m = {
        .head = head, .view = view_whole(), .hostname = bytes_of("mx"), .recipient_count = 1};
    struct spool_message read;
    struct spool_writer w = {.id = head.id, .at = spool_records_at(&head), .out = &out};

    (void)state;
    pool_init(&pool, 4096, 1);
    buf_init(&out, &pool, 4096);
    arena_init(&arena, &pool, 1 << 20);
    m.client.helo = bytes_of("helo");
    spool_put_message(&w, &m);
    make_older(&out, &w);
    spool_put_recipient(&w, &r);
    assert_int_equal(spool_message_parse(&head, buf_bytes(&out), &arena, &read), 0);
    assert_true(bytes_is(read.hostname, "mx") && bytes_is(read.client.helo, "helo"));
    assert_true(read.client.login.len == 0 && read.client.reference.len == 0);
    assert_int_equal(read.client.hops_left, 0);
    arena_reset(&arena);
    buf_done(&out);
    pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_the_stated_values),
        cmocka_unit_test(stands_in_the_record_as_it_is),
        cmocka_unit_test(reads_older_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
