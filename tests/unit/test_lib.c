/* SPDX-License-Identifier: BSD-2-Clause */
/* The helpers that other tests trust. */
#include "tests/unit/lib.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/mem.h"

struct ways {
    size_t runs, most_pieces;
};

/* Consumes whole lines only, and what is left at the end. */
static void read_lines(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    struct ways *ways = *(struct ways *const *)given;
    struct bytes piece;
    size_t pieces = 0;

    while (lib_next_piece(in, &piece)) {
        size_t line = bytes_find(piece, '\n');

        pieces++;
        if (line == piece.len) {
            lib_unread(in, piece.len);
            continue;
        }
        lib_put(seen, "[");
        lib_put_bytes(seen, bytes_first(piece, line));
        lib_put(seen, "]");
        lib_unread(in, piece.len - line - 1);
    }
    ways->runs++;
    if (pieces > ways->most_pieces)
        ways->most_pieces = pieces;
}

static void cuts_in_every_way(void **state)
{
    static const struct {
        const char *input, *expected;
        size_t runs;
    } rows[] = {
        {"", "", 1},       {"\n", "[]", 1}, {"a\n", "[a]", 3}, {"ab\nc\r\n\nd", "[ab][c\\r][]", 9},
        {"no end", "", 7},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct ways ways = {0}, *given = &ways;

        lib_run_three_ways(i, bytes_of(rows[i].input), rows[i].expected, read_lines, &given);
        lib_same_number(i, "runs", (int64_t)rows[i].runs, (int64_t)ways.runs);
        lib_is_true(i, "byte by byte", ways.most_pieces >= strlen(rows[i].input));
    }
    lib_end_rows();
}

static bool allocate_three(void *given)
{
    size_t *failures = given;
    void *blocks[3];
    bool is_fine = true;

    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++) {
        blocks[i] = mem_alloc(i);
        *failures += blocks[i] == NULL ? 1 : 0;
        is_fine = is_fine && blocks[i] != NULL;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        mem_free(blocks[i]);
    return is_fine;
}

static void fails_each_allocation_once(void **state)
{
    size_t failures = 0;

    (void)state;
    assert_int_equal(lib_fail_each_allocation(allocate_three, &failures), 3);
    assert_int_equal(failures, 3);
}

/* The octet behind a guarded copy ends the process that reads it. */
static void guards_the_end(void **state)
{
    struct lib_guard guard = lib_guard_copy(bytes_of("abc"));
    int status = 0;
    pid_t child;

    (void)state;
    assert_memory_equal(guard.bytes.at, "abc", 3);
    child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*(const volatile uint8_t *)(guard.bytes.at + guard.bytes.len) & 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    lib_guard_free(&guard);
}

static void names_octets(void **state)
{
    static struct lib_text text;

    (void)state;
    lib_put_bytes(&text, bytes_make("a\0\r\n\t\\\"\xff", 8));
    assert_string_equal(text.at, "a\\x00\\r\\n\\t\\\\\\\"\\xff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_in_every_way),
        cmocka_unit_test(fails_each_allocation_once),
        cmocka_unit_test(guards_the_end),
        cmocka_unit_test(names_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
