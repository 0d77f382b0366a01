/* SPDX-License-Identifier: BSD-2-Clause */
/* Small readings and writings. */
#include "proxy/base/text.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define UNTOUCHED 4711

static void reads_numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        int error;
        uint64_t number;
    } rows[] = {
        {"0", 0, 0, 0},
        {"7", 7, 0, 7},
        {"8", 7, ERR_RANGE, 0},
        {"007", 7, 0, 7},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, ERR_RANGE, 0},
        {"18446744073709551620", UINT64_MAX, ERR_RANGE, 0},
        {"99999999999999999999999", UINT64_MAX, ERR_RANGE, 0},
        {"99999999999999999999999x", UINT64_MAX, ERR_SYNTAX, 0},
        {"", 9, ERR_SYNTAX, 0},
        {"-1", 9, ERR_SYNTAX, 0},
        {"+1", 9, ERR_SYNTAX, 0},
        {" 1", 9, ERR_SYNTAX, 0},
        {"1 ", 9, ERR_SYNTAX, 0},
        {"1.0", 9, ERR_SYNTAX, 0},
        {"0x1", 9, ERR_SYNTAX, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].text));
        uint64_t number = UNTOUCHED;

        lib_same_number(i, rows[i].text, rows[i].error,
                        text_decimal(guard.bytes, rows[i].max, &number));
        lib_same_number(i, "number", (int64_t)(rows[i].error == 0 ? rows[i].number : UNTOUCHED),
                        (int64_t)number);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

struct unit_row {
    const char *text;
    int error;
    uint64_t value;
    const char *again; /* as it is written; NULL: as it was read */
};

static void check_units(const struct unit_row *rows, size_t count,
                        int (*parse)(struct bytes text, uint64_t *value_out),
                        void (*put)(struct buf *out, uint64_t value))
{
    struct pool pool;
    struct buf buf;

    pool_init(&pool, 64, 1);
    buf_init(&buf, &pool, 64);
    for (size_t i = 0; i < count; i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].text));
        uint64_t value = UNTOUCHED;
        int error = parse(guard.bytes, &value);

        lib_guard_free(&guard);
        lib_same_number(i, rows[i].text, rows[i].error, error);
        if (error != 0) {
            lib_same_number(i, "untouched", UNTOUCHED, (int64_t)value);
            continue;
        }
        lib_same_number(i, rows[i].text, (int64_t)rows[i].value, (int64_t)value);
        buf_reset(&buf);
        put(&buf, value);
        lib_same_bytes(i, "written again",
                       bytes_of(rows[i].again == NULL ? rows[i].text : rows[i].again),
                       buf_bytes(&buf));
        lib_same_number(i, "read again", 0, parse(buf_bytes(&buf), &value));
        lib_same_number(i, "the same again", (int64_t)rows[i].value, (int64_t)value);
    }
    buf_done(&buf);
    pool_done(&pool);
    lib_end_rows();
}

static void reads_durations(void **state)
{
    static const struct unit_row rows[] = {
        {"0", 0, 0, NULL},
        {"0d", 0, 0, "0"},
        {"1", 0, 1000, "1s"},
        {"90s", 0, 90000, NULL},
        {"5m", 0, 300000, NULL},
        {"300", 0, 300000, "5m"},
        {"60m", 0, 3600000, "1h"},
        {"90m", 0, 5400000, NULL},
        {"36h", 0, 129600000, NULL},
        {"48h", 0, 172800000, "2d"},
        {"213503982334d", 0, 213503982334ull * 86400000, NULL},
        {"213503982335d", ERR_RANGE, 0, NULL},
        {"18446744073709551s", 0, 18446744073709551000u, NULL},
        {"18446744073709552s", ERR_RANGE, 0, NULL},
        {"", ERR_SYNTAX, 0, NULL},
        {"s", ERR_SYNTAX, 0, NULL},
        {"5w", ERR_SYNTAX, 0, NULL},
        {"5M", ERR_SYNTAX, 0, NULL},
        {"5ms", ERR_SYNTAX, 0, NULL},
        {"5 m", ERR_SYNTAX, 0, NULL},
        {"1h30m", ERR_SYNTAX, 0, NULL},
        {"-5m", ERR_SYNTAX, 0, NULL},
        {"1.5h", ERR_SYNTAX, 0, NULL},
    };

    (void)state;
    check_units(rows, ARRAY_LENGTH(rows), text_duration_ms, text_put_duration);
}

static void reads_sizes(void **state)
{
    static const struct unit_row rows[] = {
        {"0", 0, 0, NULL},
        {"1", 0, 1, NULL},
        {"1000", 0, 1000, NULL},
        {"64k", 0, 65536, NULL},
        {"1024", 0, 1024, "1k"},
        {"1024k", 0, 1048576, "1m"},
        {"50m", 0, 52428800, NULL},
        {"4g", 0, 4294967296, NULL},
        {"4097m", 0, 4296015872, NULL},
        {"17179869183g", 0, 17179869183ull << 30, NULL},
        {"17179869184g", ERR_RANGE, 0, NULL},
        {"18446744073709551615", 0, UINT64_MAX, NULL},
        {"", ERR_SYNTAX, 0, NULL},
        {"k", ERR_SYNTAX, 0, NULL},
        {"5s", ERR_SYNTAX, 0, NULL},
        {"5kb", ERR_SYNTAX, 0, NULL},
        {"5t", ERR_SYNTAX, 0, NULL},
    };

    (void)state;
    check_units(rows, ARRAY_LENGTH(rows), text_size_bytes, text_put_size);
}

#define A10 "aaaaaaaaaa"
#define A60 A10 A10 A10 A10 A10 A10

static void knows_host_names(void **state)
{
    static const struct {
        const char *text;
        bool expected;
    } rows[] = {
        {"localhost", true},
        {"mail.example.net", true},
        {"MAIL.Example.NET", true},
        {"1and1.example", true},
        {"3.example.net", true},
        {"_dmarc.example.net", true},
        {"x--y.example", true},
        {"a.b", true},
        {"x1", true},
        {A60 "aaa.example", true},
        {A60 "." A60 "." A60 "." A60 "." A10 "a", true}, /* 255 */
        {A60 "." A60 "." A60 "." A60 "." A10 "aa", false},
        {A60 "aaaa.example", false},
        {"", false},
        {".", false},
        {"example.net.", false},
        {".example.net", false},
        {"mail..example.net", false},
        {"-mail.example.net", false},
        {"mail-.example.net", false},
        {"mail.example.net-", false},
        {"192.0.2.1", false},
        {"example.25", false},
        {"25", false},
        {"mail example.net", false},
        {"mail\r\n.example.net", false},
        {"mail+example.net", false},
        {"[192.0.2.1]", false},
        {"m\xc3\xa4il.example.net", false},
        {"mail.example.net/25", false},
        {"mail:25", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].text));

        lib_same_number(i, rows[i].text, rows[i].expected, text_is_host_name(guard.bytes));
        lib_guard_free(&guard);
    }
    lib_is_true(0, "NUL", !text_is_host_name(bytes_make("a\0b", 3)));
    lib_end_rows();
}

static void writes_xtext(void **state)
{
    static const struct {
        struct bytes input;
        const char *expected;
    } rows[] = {
#define INPUT(text) {.at = (const uint8_t *)(text), .len = sizeof(text) - 1}
        {INPUT(""), ""},
        {INPUT("mail.example.net"), "mail.example.net"},
        {INPUT("a b"), "a+20b"},
        {INPUT("a+b=c"), "a+2Bb+3Dc"},
        {INPUT("!~"), "!~"},
        {INPUT("\x20\x21\x7e\x7f"), "+20!~+7F"},
        {INPUT("\r\n\0\xff"), "+0D+0A+00+FF"},
#undef INPUT
    };
    struct pool pool;
    struct buf buf;

    (void)state;
    pool_init(&pool, 64, 1);
    buf_init(&buf, &pool, 64);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        buf_reset(&buf);
        text_put_xtext(&buf, rows[i].input);
        lib_same_bytes(i, "xtext", bytes_of(rows[i].expected), buf_bytes(&buf));
        lib_same_number(i, "length", (int64_t)strlen(rows[i].expected),
                        (int64_t)text_xtext_length(rows[i].input));
    }
    buf_done(&buf);
    pool_done(&pool);
    lib_end_rows();
}

static void reads_xtext(void **state)
{
    static const struct {
        const char *xtext, *expected; /* NULL: it is none */
    } rows[] = {
        {"", ""},       {"a", "a"},   {"a=b", "a=b"}, {"+20a+2B+3d+0A", " a+=\n"},
        {"a+2", NULL},  {"a+", NULL}, {"+2x", NULL},  {"+g0", NULL},
        {"++20", NULL},
    };
    struct pool pool;
    struct arena arena;

    (void)state;
    pool_init(&pool, 256, 1);
    arena_init(&arena, &pool, 1 << 20);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].xtext));
        struct bytes text = bytes_of("untouched");
        int error = text_from_xtext(guard.bytes, &arena, &text);
        lib_same_number(i, "error", rows[i].expected == NULL ? ERR_SYNTAX : 0, error);
        lib_same_bytes(i, rows[i].xtext,
                       bytes_of(rows[i].expected == NULL ? "untouched" : rows[i].expected), text);
        lib_guard_free(&guard);
    }
    arena_reset(&arena);
    pool_done(&pool);
    lib_end_rows();
}

static void writes_dates(void **state)
{
    static const struct {
        int64_t wall_s;
        const char *expected;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 +0000"},
        {-1, "Thu, 01 Jan 1970 00:00:00 +0000"},
        {86399, "Thu, 01 Jan 1970 23:59:59 +0000"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 +0000"},
        {1000000000, "Sun, 09 Sep 2001 01:46:40 +0000"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 +0000"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 +0000"},
        {1735689600, "Wed, 01 Jan 2025 00:00:00 +0000"},
        {1795319264, "Sun, 22 Nov 2026 03:47:44 +0000"},
        {2147483648, "Tue, 19 Jan 2038 03:14:08 +0000"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 +0000"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 +0000"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 +0000"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000"},
        {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 +0000"},
    };
    struct pool pool;
    struct buf buf;

    (void)state;
    pool_init(&pool, 64, 1);
    buf_init(&buf, &pool, 64);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        buf_reset(&buf);
        text_put_date(&buf, rows[i].wall_s);
        lib_same_bytes(i, "date", bytes_of(rows[i].expected), buf_bytes(&buf));
    }
    buf_done(&buf);
    pool_done(&pool);
    lib_end_rows();
}

static void takes_words(void **state)
{
    static const struct {
        const char *text;
        const char *words; /* each with a bar behind it */
        const char *trimmed;
    } rows[] = {
        {"", "", ""},
        {" \t ", "", ""},
        {"one", "one|", "one"},
        {" one\ttwo  three ", "one|two|three|", "one\ttwo  three"},
        {"a\nb", "a\nb|", "a\nb"},
        {"\ta", "a|", "a"},
    };
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].text));
        struct bytes rest = guard.bytes, word;

        seen.len = 0;
        seen.at[0] = '\0';
        while ((word = text_word(&rest)).len > 0)
            lib_put(&seen, "%.*s|", (int)word.len, (const char *)word.at);
        lib_same_text(i, "words", rows[i].words, seen.at);
        lib_same_number(i, "rest", 0, (int64_t)rest.len);
        lib_same_bytes(i, "trimmed", bytes_of(rows[i].trimmed), text_trim(guard.bytes));
        lib_guard_free(&guard);
    }
    lib_end_rows();
    assert_int_equal(text_trim(bytes_make(NULL, 0)).len, 0);
}

static void measures_distance(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned distance;
    } rows[] = {
        {"", "", 0},
        {"listen-port", "listen-port", 0},
        {"", "abc", 3},
        {"", "abcd", 4},
        {"a", "b", 1},
        {"listen-prot", "listen-port", 2},
        {"listenport", "listen-port", 1},
        {"lisen-ports", "listen-port", 2},
        {"kitten", "sitting", 3},
        {"sunday", "saturday", 3},
        {"abcdef", "abcxyz", 3},
        {"abcdef", "uvwxyz", 4},
        {"abcdefg", "defg", 3},
        {"abcdefgh", "defgh", 3},
        {"abcdefgh", "efgh", 4},
        {"xabcdefghij", "abcdefghijx", 2},
        {"intention", "execution", 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard a = lib_guard_copy(bytes_of(rows[i].a));
        struct lib_guard b = lib_guard_copy(bytes_of(rows[i].b));

        lib_same_number(i, "distance", rows[i].distance, text_distance(a.bytes, b.bytes));
        lib_same_number(i, "other way", rows[i].distance, text_distance(b.bytes, a.bytes));
        lib_guard_free(&a);
        lib_guard_free(&b);
    }
    lib_end_rows();
}

#define WORD_MAX 8

/* The whole table of the textbook, as a second opinion. */
static unsigned whole_distance(struct bytes a, struct bytes b)
{
    unsigned table[WORD_MAX + 1][WORD_MAX + 1] = {{0}};

    for (unsigned i = 0; i <= a.len; i++) {
        for (unsigned j = 0; j <= b.len; j++) {
            unsigned best = i == 0 ? j : i;

            if (i > 0 && j > 0) {
                best = table[i - 1][j - 1] + (a.at[i - 1] != b.at[j - 1]);
                best = best < table[i - 1][j] + 1 ? best : table[i - 1][j] + 1;
                best = best < table[i][j - 1] + 1 ? best : table[i][j - 1] + 1;
            }
            table[i][j] = best;
        }
    }
    return table[a.len][b.len] > 3 ? 4 : table[a.len][b.len];
}

static void agrees_with_the_whole_table(void **state)
{
    struct lib_random random = {.state = 11};

    (void)state;
    for (int turn = 0; turn < 20000; turn++) {
        uint8_t letters[2][WORD_MAX];
        struct bytes words[2];

        for (int w = 0; w < 2; w++) {
            for (int i = 0; i < WORD_MAX; i++)
                letters[w][i] = (uint8_t)('a' + lib_random_below(&random, 3));
            words[w] = bytes_make(letters[w], lib_random_below(&random, WORD_MAX + 1));
        }
        assert_int_equal(text_distance(words[0], words[1]), whole_distance(words[0], words[1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers),     cmocka_unit_test(reads_durations),
        cmocka_unit_test(reads_sizes),       cmocka_unit_test(knows_host_names),
        cmocka_unit_test(writes_xtext),      cmocka_unit_test(reads_xtext),
        cmocka_unit_test(writes_dates),      cmocka_unit_test(takes_words),
        cmocka_unit_test(measures_distance), cmocka_unit_test(agrees_with_the_whole_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
