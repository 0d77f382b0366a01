/* SPDX-License-Identifier: BSD-2-Clause */
/* What reaches a terminal of the octets of others. */
/* needs: proxy/control/control_screen.c */
#include "proxy/control/control_screen.h"

#include <stdlib.h>

#include "tests/unit/lib.h"

#define ROW(in, out)                                                                               \
    {                                                                                              \
        in, sizeof(in) - 1, out                                                                    \
    }

static const struct {
    const char *in;
    size_t len;
    const char *out;
} rows[] = {
    ROW("", ""),
    ROW("a line\nand\ta TAB\r\n", "a line\nand\ta TAB\r\n"),
    ROW("\033]0;title\007\033[2J", "\\x1b]0;title\\x07\\x1b[2J"),
    ROW("over\rwritten", "over\\x0dwritten"),
    ROW("\r\r\n\r", "\\x0d\r\n\\x0d"),
    ROW("a\0b\177", "a\\x00b\\x7f"),
    ROW("gr\303\274n \342\202\254 \360\237\230\200", "gr\303\274n \342\202\254 \360\237\230\200"),
    ROW("\233", "\\x9b"), /* CSI in Latin-1 */
    ROW("\302\233"
        "31m\302\240",
        "\\xc2\\x9b31m\302\240"), /* and in UTF-8 */
    ROW("\377\300\200\301\277", "\\xff\\xc0\\x80\\xc1\\xbf"),
    ROW("\303", "\\xc3"),
    ROW("\303\303\274", "\\xc3\303\274"),
    ROW("\342\202a\342\202\n", "\\xe2\\x82a\\xe2\\x82\n"),
    ROW("\340\202\202", "\\xe0\\x82\\x82"),
    ROW("\355\240\200", "\\xed\\xa0\\x80"), /* a surrogate */
    ROW("\360\202\202\254", "\\xf0\\x82\\x82\\xac"),
    ROW("\364\220\200\200\365", "\\xf4\\x90\\x80\\x80\\xf5"),
    ROW("\342\202\r\n\303\r", "\\xe2\\x82\r\n\\xc3\\x0d"),
};

static void check(size_t row, size_t cut)
{
    struct control_screen s = {.held_len = 0};
    struct bytes in = bytes_make(rows[row].in, rows[row].len);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    while (in.len > cut) {
        control_screen_put(&s, bytes_first(in, cut), out);
        in = bytes_skip(in, cut);
    }
    control_screen_put(&s, in, out);
    control_screen_end(&s, out);
    fclose(out);
    lib_same_text(row, "shown", rows[row].out, text);
    free(text);
}

static void test_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        for (size_t cut = 1; cut < 6; cut++)
            check(i, cut);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
