/* SPDX-License-Identifier: BSD-2-Clause */
/* A message that passes by falls into its fields and its body, however the octets come. */
#include "tests/unit/lib.h"

#include "proxy/smtp/header_field.h"

#define FIELD_MAX 40

static const struct split_row {
    const char *in, *seen;
} rows[] = {
    {"", ""},
    {"A: b\r\nC: d\r\n e\r\n\tf\r\n\r\nbody\r\n", "<A: b\r\n><C: d\r\n e\r\n\tf\r\n>body\r\n"},
    {"A: b\r\n", "<A: b\r\n>"},
    {"A: b\r\n\r\n", "<A: b\r\n>"},
    {"\r\nA: b\r\n", "A: b\r\n"},
    {"\r\n\r\n", "\r\n"},
    {" a\r\nB: c\r\n\r\n", "< a\r\n><B: c\r\n>"},
    {"A: 3456789012345678901234567890123456789\r\n 5\r\nB: c\r\n\r\n",
     "<A: 3456789012345678901234567890123456789><B: c\r\n>"},
};

static void tell(struct lib_text *seen, enum header_part kind, struct bytes part)
{
    lib_put(seen, kind == HEADER_PART_FIELD ? "<%.*s>" : "%.*s", (int)part.len,
            (const char *)part.at);
}

static void split(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    struct header_splitter s;
    struct pool pool;
    struct bytes piece, part;
    enum header_part kind;

    (void)given;
    pool_init(&pool, 512, 2);
    header_splitter_init(&s, &pool, FIELD_MAX);
    while (lib_next_piece(in, &piece))
        while ((kind = header_splitter_take(&s, &piece, &part)) != HEADER_PART_NONE)
            tell(seen, kind, part);
    if ((kind = header_splitter_end(&s, &part)) != HEADER_PART_NONE)
        tell(seen, kind, part);
    header_splitter_done(&s);
    pool_done(&pool);
}

static void splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_run_three_ways(i, bytes_of(rows[i].in), rows[i].seen, split, NULL);
    lib_end_rows();
}

static void knows_names(void **state)
{
    (void)state;
    assert_true(header_field_is(bytes_of("Subject: x\r\n"), "subject"));
    assert_true(header_field_is(bytes_of("SUBJECT \t: x\r\n"), "Subject"));
    assert_false(header_field_is(bytes_of("Subject\r\n"), "Subject"));
    assert_false(header_field_is(bytes_of("Subjects: x\r\n"), "Subject"));
    assert_false(header_field_is(bytes_of(" Subject: x\r\n"), " Subject"));
    assert_true(bytes_is(header_field_value(bytes_of("A: b\r\n c\r\n")), " b\r\n c\r\n"));
    assert_int_equal(header_field_value(bytes_of("A\r\n")).len, 0);
}

static void takes_fields(void **state)
{
    struct bytes header = bytes_of("A: b\r\n c\r\n\td\r\nno field\r\nE: f");

    (void)state;
    assert_true(bytes_is(header_field_take(&header), "A: b\r\n c\r\n\td\r\n"));
    assert_true(bytes_is(header_field_take(&header), "no field\r\n"));
    assert_true(bytes_is(header_field_take(&header), "E: f"));
    assert_int_equal(header_field_take(&header).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits),
        cmocka_unit_test(knows_names),
        cmocka_unit_test(takes_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
