/* SPDX-License-Identifier: BSD-2-Clause */
/* What edits make of a header, and of the lines of a body. */
/* needs: tests/unit/edit_words.c */
#include "filters/edits.h"

#include <stdio.h>

#include "tests/unit/edit_words.h"
#include "tests/unit/lib.h"

static const char header[] = "X-Seen: 1\r\nA: 1\r\nB: 1\r\n more\r\nA: 2\r\n";
#define ABOVE 11 /* octets of its first field */

static struct pool pool;

/* The octets above our own Received in brackets. */
static const struct header_row {
    const char *title, *edits, *made;
} header_rows[] = {
    {"nothing", "", "[X-Seen: 1\n]A: 1\nB: 1\n more\nA: 2\n"},
    {"added", "add C 3", "[X-Seen: 1\n]A: 1\nB: 1\n more\nA: 2\nC: 3\n"},
    {"on top, and below what is above", "insert 0 C 3|insert 3 D 4",
     "[C: 3\nX-Seen: 1\n]D: 4\nA: 1\nB: 1\n more\nA: 2\n"},
    {"a Received above what was shown has a number, too",
     "insert 0 C 3|insert 1 D 4|insert 3 E 5|insert 5 F 6",
     "[C: 3\nD: 4\nE: 5\nX-Seen: 1\n]F: 6\nA: 1\nB: 1\n more\nA: 2\n"},
    {"below it where nothing else is",
     "delete 1 X-Seen|delete 1 A|delete 1 B|delete 2 A|insert 1 C 3", "[]C: 3\n"},
    {"beyond the last", "insert 4000000000 C 3", "[X-Seen: 1\n]A: 1\nB: 1\n more\nA: 2\nC: 3\n"},
    {"changed, by name and number, its case as given", "change 2 a two|change 0 B one",
     "[X-Seen: 1\n]A: 1\nB: one\na: two\n"},
    {"numbers stay as they were shown when one goes", "delete 1 A|change 2 A two",
     "[X-Seen: 1\n]B: 1\n more\nA: two\n"},
    {"beyond the last it is added, but not deleted", "change 3 A 3|delete 9 A",
     "[X-Seen: 1\n]A: 1\nB: 1\n more\nA: 2\nA: 3\n"},
    {"all that is above goes", "delete 1 X-Seen", "[]A: 1\nB: 1\n more\nA: 2\n"},
};

static void put(struct lib_text *seen, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] != '\r')
            lib_put(seen, "%c", text.at[i]);
}

/* False: no memory. */
static bool make(const struct header_row *row, struct lib_text *seen)
{
    struct bytes rest = bytes_of(row->edits);
    struct arena arena;
    struct edits edits;
    struct filter_edit edit;
    struct buf out;
    size_t above = ABOVE;
    bool is_made = true;

    arena_init(&arena, &pool, 1 << 20);
    edits_init(&edits, &arena);
    while (is_made && rest.len > 0) {
        assert_true(edit_words_next(&rest, &edit));
        is_made = edits_add(&edits, &edit) == 0;
    }
    buf_init(&out, &pool, 4096);
    is_made = is_made && edits_put_header(&edits, bytes_of(header), &above, &out);
    if (is_made) {
        lib_put(seen, "[");
        put(seen, bytes_first(buf_bytes(&out), above));
        lib_put(seen, "]");
        put(seen, bytes_skip(buf_bytes(&out), above));
    }
    buf_done(&out);
    arena_reset(&arena);
    return is_made;
}

static void headers(void **state)
{
    (void)state;
    pool_init(&pool, 1024, 4);
    for (size_t i = 0; i < ARRAY_LENGTH(header_rows); i++) {
        struct lib_text seen = {.len = 0};
        assert_true(make(&header_rows[i], &seen));
        lib_same_text(i, header_rows[i].title, header_rows[i].made, seen.at);
    }
    pool_done(&pool);
    lib_end_rows();
}

static bool make_one(void *given)
{
    struct lib_text seen = {.len = 0};
    bool is_made;

    (void)given;
    pool_init(&pool, 1024, 0);
    is_made = make(&header_rows[5], &seen);
    pool_done(&pool);
    return is_made;
}

static void without_memory(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(make_one, NULL) > 0);
}

/* ---- lines ---- */

static const struct {
    const char *body, *made;
} line_rows[] = {
    {"", ""},
    {"a\r\nb\r\n", "a\r\nb\r\n"},
    {"a", "a\r\n"},
    {"a\nb\n", "a\r\nb\r\n"},
    {"a\rb\r\r\nc\r", "a b \r\nc\r\n"},
    {"\n\n.\n", "\r\n\r\n.\r\n"},
    {"\r\n\r\n", "\r\n\r\n"},
    {"a\r\n.\rb", "a\r\n. b\r\n"},
};

/* In pieces of this size. */
static void put_lines(struct lib_text *seen, struct bytes body, size_t size)
{
    struct line_ends ends = {.is_in_line = false};
    struct bytes run;

    while (body.len > 0) {
        struct bytes piece = bytes_first(body, size);
        body = bytes_skip(body, piece.len);
        while ((run = line_ends_take(&ends, &piece)).len > 0)
            lib_put(seen, "%.*s", (int)run.len, (const char *)run.at);
    }
    run = line_ends_finish(&ends);
    lib_put(seen, "%.*s", (int)run.len, (const char *)run.at);
}

static void lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(line_rows); i++)
        for (size_t size = 1; size < 9; size++) {
            struct lib_text seen = {.len = 0};
            put_lines(&seen, bytes_of(line_rows[i].body), size);
            lib_same_text(i, line_rows[i].body, line_rows[i].made, seen.at);
        }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
