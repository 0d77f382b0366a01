/* SPDX-License-Identifier: BSD-2-Clause */
/* Authentication-Results fields with our name are taken out, whatever way they are written, and
 * nothing else is; however the octets come. */
#include "tests/unit/lib.h"

#include "proxy/smtp/header_strip.h"

static const struct bytes ours[] = {{(const uint8_t *)"mx.us.test", 10},
                                    {(const uint8_t *)"other.us.test", 13}};

static const struct strip_row {
    const char *in, *out;
} rows[] = {
    {"", ""},
    {"From: a\r\n\r\nbody\r\n", "From: a\r\n\r\nbody\r\n"},
    {"Authentication-Results: mx.us.test; spf=pass\r\nFrom: a\r\n\r\n", "From: a\r\n\r\n"},
    {"From: a\r\nAUTHENTICATION-results \t:\r\n\tMX.us.TEST 1;\r\n spf=pass\r\n\tx\r\nTo: "
     "b\r\n\r\n",
     "From: a\r\nTo: b\r\n\r\n"},
    {"Authentication-Results: other.us.test(x); none\r\n", ""},
    {"Authentication-Results: (a (b) \\) c\r\n d) \"mx.us.test\"; none\r\nA: b\r\n", "A: b\r\n"},
    {"Authentication-Results: \"mx.\\us.test\"; none\r\nA: b\r\n", "A: b\r\n"},
    {"Authentication-Results: mx.us.test\r\nA: b\r\n", "A: b\r\n"},
    {"Authentication-Results:mx.us.test;\r\nAuthentication-Results:mx.us.test;\r\n", ""},
    /* of others */
    {"Authentication-Results: mx.us.test.evil; x\r\nA: b\r\n",
     "Authentication-Results: mx.us.test.evil; x\r\nA: b\r\n"},
    {"Authentication-Results: x.mx.us.test\r\n y\r\n",
     "Authentication-Results: x.mx.us.test\r\n y\r\n"},
    {"Authentication-Results:\r\nA: b\r\n", "Authentication-Results:\r\nA: b\r\n"},
    {"Authentication-Results:\r\n \r\nA: b\r\n", "Authentication-Results:\r\n \r\nA: b\r\n"},
    {"Authentication-Results:\r\n", "Authentication-Results:\r\n"},
    {"Authentication-Results", "Authentication-Results"},
    {"Authentication-Results x: mx.us.test\r\n", "Authentication-Results x: mx.us.test\r\n"},
    {"ARC-Authentication-Results: i=1; mx.us.test\r\n",
     "ARC-Authentication-Results: i=1; mx.us.test\r\n"},
    {"Auth\r\n mx.us.test\r\nAuthentication-Resultss: mx.us.test\r\n",
     "Auth\r\n mx.us.test\r\nAuthentication-Resultss: mx.us.test\r\n"},
    {" Authentication-Results: mx.us.test\r\n", " Authentication-Results: mx.us.test\r\n"},
    /* not in the body */
    {"A: b\r\n\r\nAuthentication-Results: mx.us.test; x\r\n",
     "A: b\r\n\r\nAuthentication-Results: mx.us.test; x\r\n"},
    {"\r\nAuthentication-Results: mx.us.test; x\r\n",
     "\r\nAuthentication-Results: mx.us.test; x\r\n"},
};

static void keep(struct lib_text *seen, struct bytes kept)
{
    lib_put(seen, "%.*s", (int)kept.len, (const char *)kept.at);
}

static void strip(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    struct header_strip s;
    struct pool pool;
    struct bytes piece, kept;

    (void)given;
    pool_init(&pool, 512, 2);
    header_strip_init(&s, ours, ARRAY_LENGTH(ours), &pool);
    while (lib_next_piece(in, &piece))
        while (header_strip_take(&s, &piece, &kept))
            keep(seen, kept);
    keep(seen, header_strip_end(&s));
    header_strip_done(&s);
    pool_done(&pool);
}

static void takes_out_what_is_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_run_three_ways(i, bytes_of(rows[i].in), rows[i].out, strip, NULL);
    lib_end_rows();
}

/* What never comes to the server's name is nobody's honest field. */
static void holds_so_much(void **state)
{
    static struct lib_text long_field;

    (void)state;
    lib_put(&long_field, "Authentication-Results: ");
    for (int i = 0; i < HEADER_STRIP_HELD_MAX; i++)
        lib_put(&long_field, "(");
    lib_put(&long_field, "\r\nA: b\r\n");
    lib_run_three_ways(0, bytes_make(long_field.at, long_field.len), "A: b\r\n", strip, NULL);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_out_what_is_ours),
        cmocka_unit_test(holds_so_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
