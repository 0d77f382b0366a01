/* SPDX-License-Identifier: BSD-2-Clause */
/* Dots: the end of content and nothing else ends it, wherever the input is cut; and the way back.
 */
#include "proxy/smtp/dot.h"

#include "tests/unit/lib.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* ---- rows ---- */

/* Seen: the content, then what became of it: "end" or "more", "bare" where a bare newline was met,
 * and what was left behind the end. */
struct row {
    struct bytes wire;
    const char *seen;
};

static const struct row rows[] = {
    {LITERAL(".\r\n"), " end"},
    {LITERAL("\r\n.\r\n"), "\\r\\n end"},
    {LITERAL("a\r\n.\r\n"), "a\\r\\n end"},
    {LITERAL("a\r\nb\r\n.\r\nQUIT\r\n"), "a\\r\\nb\\r\\n end left QUIT\\r\\n"},
    {LITERAL("a\r\n.\r\n.\r\n"), "a\\r\\n end left .\\r\\n"},
    {LITERAL("a"), "a more"},
    {LITERAL("a\r\n"), "a\\r\\n more"},
    {LITERAL("a\r\n."), "a\\r\\n more"},
    {LITERAL("a\r\n.\r"), "a\\r\\n more"},
    {LITERAL("a\r"), "a more"},
    /* stuffed dots */
    {LITERAL("..\r\n.\r\n"), ".\\r\\n end"},
    {LITERAL("...\r\n.\r\n"), "..\\r\\n end"},
    {LITERAL("a\r\n..\r\n.\r\n"), "a\\r\\n.\\r\\n end"},
    {LITERAL("a\r\n..b.c\r\n.\r\n"), "a\\r\\n.b.c\\r\\n end"},
    {LITERAL("a\r\n.b\r\n.\r\n"), "a\\r\\nb\\r\\n end"},
    {LITERAL("a.\r\n.\r\n"), "a.\\r\\n end"},
    {LITERAL("a\r\n. \r\n.\r\n"), "a\\r\\n \\r\\n end"},
    /* NUL and octets over 127 pass */
    {LITERAL("a\0\xff\x80.\r\n.\r\n"), "a\\x00\\xff\\x80.\\r\\n end"},
    {LITERAL("\r\n.\0\r\n.\r\n"), "\\r\\n\\x00\\r\\n end"},
    /* what is no end, each with a command behind it */
    {LITERAL(".\nMAIL\r\n.\r\n"), "\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a.\nMAIL\r\n.\r\n"), "a.\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\n.\r\nMAIL\r\n.\r\n"), "a\\r\\n.\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\r.\r\nMAIL\r\n.\r\n"), "a .\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\r\n.\r\r\nMAIL\r\n.\r\n"), "a\\r\\n \\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\r\n.\nMAIL\r\n.\r\n"), "a\\r\\n\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\n.\nMAIL\r\n.\r\n"), "a\\r\\n.\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\r.\rMAIL\r\n.\r\n"), "a . MAIL\\r\\n end bare"},
    {LITERAL("a\r\n.\rMAIL\r\n.\r\n"), "a\\r\\n MAIL\\r\\n end bare"},
    {LITERAL("a\r\n\r.\r\nMAIL\r\n.\r\n"), "a\\r\\n .\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\r\n.\r.\r\nMAIL\r\n.\r\n"), "a\\r\\n .\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\r\r\n.\r\n"), "a \\r\\n end bare"},
    {LITERAL("a\n\r\n.\r\n"), "a\\r\\n\\r\\n end bare"},
    {LITERAL("a\r\n\n.\r\nMAIL\r\n.\r\n"), "a\\r\\n\\r\\n.\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\r\0\n.\r\nMAIL\r\n.\r\n"), "a \\x00\\r\\n.\\r\\nMAIL\\r\\n end bare"},
    {LITERAL("a\n..\r\n.\r\n"), "a\\r\\n..\\r\\n end bare"},
    {LITERAL("\n.\r\n.\r\n"), "\\r\\n.\\r\\n end bare"},
    {LITERAL("\r.\r\n.\r\n"), " .\\r\\n end bare"},
    {LITERAL("\n\n\r\r.\r\n"), "\\r\\n\\r\\n  .\\r\\n more bare"},
};

static void put_end(struct lib_text *seen, const struct dot *d)
{
    lib_put(seen, "%s%s", d->state == DOT_ENDED ? " end" : " more",
            d->has_bare_newline ? " bare" : "");
}

static void decode(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    struct bytes piece, content;
    bool is_told = false;
    struct dot d;

    (void)given;
    dot_init(&d);
    while (lib_next_piece(in, &piece)) {
        while (piece.len > 0 && d.state != DOT_ENDED) {
            piece = bytes_skip(piece, dot_decode(&d, piece, &content));
            lib_put_bytes(seen, content);
        }
        if (d.state != DOT_ENDED)
            continue;
        if (!is_told)
            put_end(seen, &d);
        is_told = true;
        if (piece.len > 0 && strstr(seen->at, " left ") == NULL)
            lib_put(seen, " left ");
        lib_put_bytes(seen, piece);
        assert_int_equal(dot_decode(&d, piece, &content), 0);
        assert_int_equal(content.len, 0);
    }
    if (!is_told)
        put_end(seen, &d);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_run_three_ways(i, rows[i].wire, rows[i].seen, decode, NULL);
    lib_end_rows();
}

/* ---- against the definition ---- */

static bool is_line_start(struct bytes wire, size_t at)
{
    return at == 0 || (at >= 2 && wire.at[at - 2] == '\r' && wire.at[at - 1] == '\n');
}

/* What dot.h says, octet by octet, with the whole input at hand. Returns the octets taken. A CR at
 * the very end is left open. */
static size_t define(struct bytes wire, struct lib_octets *content, bool *is_ended, bool *is_bare)
{
    content->len = 0;
    *is_ended = *is_bare = false;
    for (size_t i = 0; i < wire.len; i++) {
        uint8_t before = i > 0 ? wire.at[i - 1] : 0, c = wire.at[i];
        uint8_t behind = i + 1 < wire.len ? wire.at[i + 1] : 0;

        if (c == '.' && is_line_start(wire, i)) {
            if (i + 2 < wire.len && behind == '\r' && wire.at[i + 2] == '\n') {
                *is_ended = true;
                return i + 3;
            }
        } else if (c == '\n' && before != '\r') {
            *is_bare = true;
            lib_add(content, bytes_of("\r\n"));
        } else if (c == '\n') {
            lib_add(content, bytes_of("\r\n"));
        } else if (c == '\r' && i + 1 < wire.len && behind != '\n') {
            *is_bare = true;
            lib_add(content, bytes_of(" "));
        } else if (c != '\r') {
            lib_add(content, bytes_make(&c, 1));
        }
    }
    return wire.len;
}

static void feed(struct dot *d, struct bytes piece, size_t *taken, struct lib_octets *content)
{
    while (piece.len > 0 && d->state != DOT_ENDED) {
        struct bytes run;
        size_t used = dot_decode(d, piece, &run);

        assert_in_range(used, 1, piece.len);
        assert_true(run.len <= used + 1);
        lib_add(content, run);
        *taken += used;
        piece = bytes_skip(piece, used);
    }
}

/* The input cut in two at `cut`. */
static bool is_as_defined(size_t row, struct bytes wire, size_t cut)
{
    static struct lib_octets expected, actual;
    bool is_ended, is_bare;
    size_t taken = 0, expected_taken = define(wire, &expected, &is_ended, &is_bare);
    struct dot d;

    actual.len = 0;
    dot_init(&d);
    feed(&d, bytes_first(wire, cut), &taken, &actual);
    feed(&d, bytes_skip(wire, cut), &taken, &actual);
    return lib_same_bytes(row, "content", bytes_make(expected.at, expected.len),
                          bytes_make(actual.at, actual.len)) &&
           lib_same_number(row, "ended", is_ended, d.state == DOT_ENDED) &&
           lib_same_number(row, "bare newline", is_bare, d.has_bare_newline) &&
           lib_same_number(row, "taken", (int64_t)expected_taken, (int64_t)taken);
}

/* Every text of up to eight octets out of those that mean something and one that does not. */
static void test_all_short_texts(void **state)
{
    static const uint8_t alphabet[4] = {'\r', '\n', '.', 'a'};
    uint8_t wire[8];

    (void)state;
    for (size_t len = 0; len <= sizeof(wire); len++) {
        for (size_t number = 0; number < (size_t)1 << (2 * len); number++) {
            for (size_t i = 0; i < len; i++)
                wire[i] = alphabet[number >> (2 * i) & 3];
            for (size_t cut = 0; cut <= len; cut++)
                if (!is_as_defined(number, bytes_make(wire, len), cut))
                    break;
        }
    }
    lib_end_rows();
}

/* What means something, at every place of a long text: at, before and behind the edges of blocks.
 */
static void test_every_place(void **state)
{
    static const char *const marks[] = {"\r\n.\r\n", "\r\n..", "\n", "\r", "\n.\r\n", "\r.\r\n"};
    uint8_t wire[333];

    (void)state;
    for (size_t mark = 0; mark < ARRAY_LENGTH(marks); mark++) {
        size_t len = strlen(marks[mark]);

        for (size_t at = 0; at + len <= sizeof(wire); at++) {
            memset(wire, 'x', sizeof(wire));
            memcpy(wire + at, marks[mark], len);
            for (size_t cut = 0; cut <= sizeof(wire); cut += at < 4 || at > 300 ? 1 : 37)
                if (!is_as_defined(mark * 1000 + at, bytes_make(wire, sizeof(wire)), cut))
                    break;
        }
    }
    lib_end_rows();
}

/* Ordinary text is one run, whatever its length. */
static void test_long_runs(void **state)
{
    static uint8_t wire[100000];
    struct bytes content;
    struct dot d;

    (void)state;
    for (size_t i = 0; i < sizeof(wire); i++)
        wire[i] = (uint8_t) "some text\r\n"[i % 11];
    dot_init(&d);
    assert_int_equal(dot_decode(&d, bytes_make(wire, 99990), &content), 99990);
    assert_ptr_equal(content.at, wire);
    assert_int_equal(content.len, 99990);
    assert_int_equal(d.state, DOT_LINE_START);
}

/* ---- the way back ---- */

/* Writes `content` in steps of `step` octets on the wire, with at most `max` runs at a time. */
static void stuff(struct bytes content, int max, size_t step, struct lib_octets *wire)
{
    struct dot_stuffer s = {.is_inside_line = false};
    struct bytes runs[8];

    wire->len = 0;
    while (content.len > 0) {
        size_t covered, left = step, planned = 0;
        int count = dot_stuff(&s, content, runs, max, &covered);

        assert_in_range(count, 1, max);
        assert_true(covered <= content.len);
        for (int i = 0; i < count; i++) {
            struct bytes piece = bytes_first(runs[i], left);

            assert_true(runs[i].len > 0);
            if (runs[i].at != dot_extra)
                planned += runs[i].len;
            lib_add(wire, piece);
            left -= piece.len;
        }
        assert_int_equal(planned, covered);
        content = bytes_skip(content, dot_stuffer_wrote(&s, runs, count, step - left));
    }
    assert_false(s.is_dot_sent);
    lib_add(wire, bytes_of(s.is_inside_line ? "\r\n.\r\n" : ".\r\n"));
}

/* What stuffing makes of a content: every line that begins with a dot gets one more. */
static void define_stuffed(struct bytes content, struct lib_octets *wire)
{
    wire->len = 0;
    for (size_t i = 0; i < content.len; i++) {
        if (content.at[i] == '.' && is_line_start(content, i))
            lib_add(wire, bytes_of("."));
        lib_add(wire, bytes_make(content.at + i, 1));
    }
    lib_add(wire, bytes_of(content.len > 0 && content.at[content.len - 1] != '\n' ? "\r\n.\r\n"
                                                                                  : ".\r\n"));
}

static void check_round_trip(size_t row, struct bytes content, int max, size_t step)
{
    static struct lib_octets expected, wire, back;
    bool is_whole_line = content.len == 0 || content.at[content.len - 1] == '\n';
    size_t taken = 0;
    struct dot d;

    define_stuffed(content, &expected);
    stuff(content, max, step, &wire);
    if (!lib_same_bytes(row, "stuffed", bytes_make(expected.at, expected.len),
                        bytes_make(wire.at, wire.len)))
        return;
    back.len = 0;
    dot_init(&d);
    feed(&d, bytes_make(wire.at, wire.len), &taken, &back);
    lib_same_number(row, "all taken", (int64_t)wire.len, (int64_t)taken);
    lib_same_number(row, "ended", DOT_ENDED, d.state);
    lib_same_number(row, "bare newline", 0, d.has_bare_newline);
    lib_same_bytes(row, "back again", content,
                   bytes_make(back.at, back.len - (is_whole_line ? 0 : 2)));
}

/* Does it become a lone dot when its NULs are dropped, of which there are some? */
static bool hides_dot(struct bytes line)
{
    size_t nuls = 0, dots = 0;

    for (size_t i = 0; i < line.len; i++) {
        nuls += line.at[i] == '\0';
        dots += line.at[i] == '.';
    }
    return nuls > 0 && dots == 1 && nuls + dots == line.len;
}

/* The same of the wire, as it came and as it is understood; up to the end of data. */
static bool has_hidden_dot(struct bytes wire)
{
    bool has = false;

    while (wire.len > 0) {
        struct bytes line = bytes_first(wire, bytes_find(wire, '\r'));

        if (line.len == 1 && line.at[0] == '.')
            break;
        has = has || hides_dot(line);
        if (line.len > 0 && line.at[0] == '.')
            has = has || hides_dot(bytes_skip(line, 1));
        wire = bytes_skip(wire, line.len + 2);
    }
    return has;
}

static bool finds_hidden_dot(struct bytes wire, size_t step)
{
    struct bytes content;
    struct dot d;

    dot_init(&d);
    while (wire.len > 0 && d.state != DOT_ENDED)
        wire = bytes_skip(wire, dot_decode(&d, bytes_first(wire, step), &content));
    return d.has_hidden_dot;
}

/* Every text of up to seven of these, whole and in pieces. */
static void test_hidden_dots(void **state)
{
    static const char alphabet[4] = {'\0', '.', '\n', 'a'};
    uint8_t wire[7 * 2 + 5];

    (void)state;
    for (size_t number = 0; number < (size_t)1 << 14; number++) {
        size_t len = 0;

        for (size_t i = 0; i < 7; i++) {
            char c = alphabet[number >> (2 * i) & 3];
            if (c == '\n')
                wire[len++] = '\r';
            wire[len++] = (uint8_t)c;
        }
        memcpy(wire + len, "\r\n.\r\n", 5);
        struct bytes all = bytes_make(wire, len + 5);
        bool expected = has_hidden_dot(all);
        for (size_t step = 1; step <= all.len; step += step < 5 ? 1 : 7)
            if (!lib_same_number(number, "hidden", expected, finds_hidden_dot(all, step)))
                break;
    }
    lib_end_rows();
}

static void test_round_trips(void **state)
{
    static const char *const contents[] = {
        "",
        ".",
        "..",
        "a",
        "\r\n",
        ".\r\n",
        "..\r\n",
        "a\r\n.\r\n",
        "a\r\n.b\r\n..c\r\n.",
        ".\r\n.\r\n.\r\n.\r\n",
        "a.b\r\nc.\r\n.d\r\n",
        "\r\n\r\n.\r\n\r\n..\r\n",
        "no end",
        "From: x\r\n\r\n.leading\r\n.\r\nMAIL FROM:<>\r\n..\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(contents); i++)
        for (int max = 1; max <= 8; max++)
            for (size_t step = 1; step <= strlen(contents[i]) * 2 + 1; step++)
                check_round_trip(i, bytes_of(contents[i]), max, step);
    lib_end_rows();
}

/* Texts out of pieces chosen by chance, written in steps chosen by chance. */
static void test_random_round_trips(void **state)
{
    static const char *const pieces[] = {"\r\n",
                                         ".",
                                         "a",
                                         "\r\n.",
                                         "some words",
                                         "..",
                                         "a long piece of text that fills a block of sixty-four"};
    struct lib_random chance = {.state = 20261122};
    static struct lib_octets content;

    (void)state;
    for (size_t round = 0; round < 5000; round++) {
        content.len = 0;
        for (size_t n = lib_random_below(&chance, 24); n > 0; n--)
            lib_add(&content, bytes_of(pieces[lib_random_below(&chance, ARRAY_LENGTH(pieces))]));
        check_round_trip(round, bytes_make(content.at, content.len),
                         1 + (int)lib_random_below(&chance, 8), 1 + lib_random_below(&chance, 300));
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_all_short_texts),
        cmocka_unit_test(test_every_place),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_hidden_dots),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_random_round_trips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
