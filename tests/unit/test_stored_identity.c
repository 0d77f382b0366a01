/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of `identity` that stand in files of the spool: the same in every version, whatever
 * the order of the setting's words. */
/* needs: route/relay/relay_conf.c */
#include "proxy/smtp/identity.h"
#include "route/relay/relay_conf.h"
#include "spool/spool_format.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_the_stated_values),
        cmocka_unit_test(stands_in_the_record_as_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
