/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration file's grammar: items, words, places, and every complaint. */
#include "proxy/base/cf.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define BLOCK_BYTES 8192

/* What reading saw: one line an item (`S 1:2 kind "name"`, `A 2:1 key@1 word@5 "quoted"@9`), one
 * a problem; `E` is the end. */
struct reading {
    struct pool pool;
    struct arena arena;
    struct cf_problems problems;
    struct lib_text seen;
};

static void reading_init(struct reading *r)
{
    pool_init(&r->pool, BLOCK_BYTES, 1);
    arena_init(&r->arena, &r->pool, 1 << 24);
    cf_problems_init(&r->problems, &r->arena);
    r->seen.len = 0;
    r->seen.at[0] = '\0';
}

static void reading_done(struct reading *r)
{
    arena_reset(&r->arena);
    pool_done(&r->pool);
}

static void put_item(struct reading *r, const struct cf_item *item)
{
    if (item->kind == CF_END) {
        lib_put(&r->seen, "E\n");
        return;
    }
    lib_put(&r->seen, "%c %u:%u", "SA"[item->kind], item -> place.line, item->place.column);
    for (size_t i = 0; i < item->word_count; i++) {
        const char *quote = item->words[i].is_quoted ? "\"" : "";
        lib_put(&r->seen, " %s", quote);
        lib_put_bytes(&r->seen, item->words[i].text);
        lib_put(&r->seen, "%s@%u", quote, item->words[i].column);
    }
    lib_put(&r->seen, "\n");
}

static void put_problems(struct reading *r)
{
    struct buf line;
    buf_init(&line, &r->pool, BLOCK_BYTES);
    for (const struct cf_problem *p = r->problems.first; p != NULL; p = p->next) {
        cf_put_problem(&line, p);
        lib_put(&r->seen, "%.*s\n", (int)buf_length(&line), (const char *)buf_bytes(&line).at);
        buf_reset(&line);
    }
    buf_done(&line);
}

static int read_all(struct reading *r, struct bytes text, bool is_flag)
{
    struct cf_reader reader;
    struct cf_item item = {.kind = CF_SECTION};
    bool is_route = true;
    int error = 0;
    cf_reader_init(&reader, text, "f", &r->arena, &r->problems);
    reader.is_flag = is_flag;
    while (error == 0 && item.kind != CF_END) {
        error = cf_next(&reader, is_route, &item);
        if (error == 0)
            put_item(r, &item);
        if (error == 0 && item.kind == CF_SECTION)
            is_route = item.word_count > 0 && bytes_is(item.words[0].text, "route");
    }
    cf_reader_done(&reader);
    put_problems(r);
    return error;
}

static void check(size_t row, struct bytes input, bool is_flag, const char *expected)
{
    static struct reading r;
    struct lib_guard guard = lib_guard_copy(input);
    reading_init(&r);
    lib_same_number(row, "result", 0, read_all(&r, guard.bytes, is_flag));
    lib_same_text(row, "items and problems", expected, r.seen.at);
    reading_done(&r);
    lib_guard_free(&guard);
}

struct row {
    const char *input;
    const char *expected;
};

static void reads_items(void **state)
{
    static const struct row rows[] = {
        {"", "E\n"},
        {"\n\r\n  \t# nothing\n#", "E\n"},
        {"\xEF\xBB\xBF[core]\n", "S 1:2 core@2\nE\n"},
        {"[core]\nlogger = syslog\n", "S 1:2 core@2\nA 2:1 logger@1 syslog@10\nE\n"},
        {"[core]\r\nlogger=syslog\r\n", "S 1:2 core@2\nA 2:1 logger@1 syslog@8\nE\n"},
        {"[core]\n\tlogger\tsyslog # and no more\n", "S 1:2 core@2\nA 2:2 logger@2 syslog@9\nE\n"},
        {"[ smtpd  \"mx\" ] # x\n", "S 1:3 smtpd@3 \"mx\"@10\nE\n"},
        {"[smtpd\"mx\"]\n", "S 1:2 smtpd@2 \"mx\"@7\nE\n"},
        /* what follows on the line of a section belongs to it */
        {"[core] a = b\n[core][syslog]c d", "S 1:2 core@2\nA 1:8 a@8 b@12\nS 2:2 core@2\n"
                                            "S 2:8 syslog@8\nA 2:15 c@15 d@17\nE\n"},
        /* the last line without an end */
        {"[core]\na b", "S 1:2 core@2\nA 2:1 a@1 b@3\nE\n"},
        {"a b c d", "A 1:1 a@1 b@3 c@5 d@7\nE\n"},
        {"a = \"b\"\"c\"d\"\"", "A 1:1 a@1 \"b\"@5 \"c\"@8 d@11 \"\"@12\nE\n"},
        {"a \"#=[]{}\" b#c", "A 1:1 a@1 \"#=[]{}\"@3 b@12\nE\n"},
        {"a \"q\\\"\\\\\\x\"", "A 1:1 a@1 \"q\\\"\\\\x\"@3\nE\n"},
        /* a quoted pair takes any character, the end of a line too */
        {"a \"x\\\ny\" z\nb c", "A 1:1 a@1 \"x\\ny\"@3 z@4\nA 3:1 b@1 c@3\nE\n"},
        {"a [::1]:25 ]x[", "A 1:1 a@1 [::1]:25@3 ]x[@12\nE\n"},
        {"joe@a,b@c x,y , z", "A 1:1 joe@a,b@c@1 x,y@11 ,@15 z@17\nE\n"},
        /* a pattern may be quoted in a route, and only there */
        {"\"file\" joe", "A 1:1 \"file\"@1 joe@8\nE\n"},
        /* columns are characters */
        {"j\xC3\xB6\xE2\x82\xAC\xF0\x9F\x98\x80 x",
         "A 1:1 j\\xc3\\xb6\\xe2\\x82\\xac\\xf0\\x9f\\x98\\x80@1 x@6\nE\n"},
        {"a {~!$%&'()*+,-./:;<>?^`|}", "A 1:1 a@1 {~!$%&'()*+,-./:;<>?^`|}@3\nE\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        check(i, bytes_of(rows[i].input), false, rows[i].expected);
    lib_end_rows();
}

static void complains(void **state)
{
    static const struct row rows[] = {
        {"a\nb c", "A 2:1 b@1 c@3\nE\nf:1:2: found the end of the line, expected a word\n"},
        {"a =  # x", "E\nf:1:9: found the end of the line, expected a word\n"},
        {"a = b = c", "E\nf:1:7: found \"=\", expected a word\n"},
        {"= c", "E\nf:1:1: found \"=\", expected a key or a section\n"},
        {"a b\\c", "E\nf:1:4: found \"\\\", expected a word\n"},
        {"a \"b", "E\nf:1:5: found the end of the line, expected a closing quote\n"},
        {"a \"b\r\nc d",
         "A 2:1 c@1 d@3\nE\nf:1:5: found the end of the line, expected a closing quote\n"},
        {"a \"b\rc\"", "E\nf:1:5: found a control character, expected a closing quote\n"},
        {"a \"b\\", "E\nf:1:6: found the end of the line, expected a character after \"\\\"\n"},
        {"a \x01", "E\nf:1:3: found a control character, expected a word\n"},
        {"a b\x7F", "E\nf:1:4: found a control character, expected a word\n"},
        {"a b\rc", "E\nf:1:4: found a control character, expected a word\n"},
        {"[", "S 1:2\nE\nf:1:2: found the end of the line, expected the name of a section\n"},
        {"[]", "S 1:2\nE\nf:1:2: found \"]\", expected the name of a section\n"},
        {"[core\na b", "S 1:2\nA 2:1 a@1 b@3\nE\n"
                       "f:1:6: found the end of the line, expected a name in quotes or \"]\"\n"},
        {"[smtpd foo]\n", "S 1:2\nE\nf:1:8: found \"f\", expected a name in quotes or \"]\"\n"},
        {"[smtpd \"foo\" x]\n", "S 1:2\nE\nf:1:14: found \"x\", expected \"]\"\n"},
        {"[smtpd \"foo]\nx y", "S 1:2\nA 2:1 x@1 y@3\nE\n"
                               "f:1:13: found the end of the line, expected a closing quote\n"},
        {"[core]\n\"a\" b", "S 1:2 core@2\nE\nf:2:1: found \"\"\", expected a key or a section\n"},
        {"a@[b] c",
         "E\nf:1:3: found \"[\", expected a space or \"=\" (what holds brackets stands in "
         "quotes)\n"},
        {"a]b c", "E\nf:1:2: found \"]\", expected a space or \"=\" (what holds brackets stands in "
                  "quotes)\n"},
        /* octets that are not UTF-8: cut short, alone, too long, a surrogate, beyond 10FFFF */
        {"a \xC3", "E\nf:1:3: found octet 0xC3, expected text in UTF-8\n"},
        {"a \x80", "E\nf:1:3: found octet 0x80, expected text in UTF-8\n"},
        {"a \xC0\xAF", "E\nf:1:3: found octet 0xC0, expected text in UTF-8\n"},
        {"a \xE0\x80\xAF", "E\nf:1:3: found octet 0xE0, expected text in UTF-8\n"},
        {"a \xED\xA0\x80", "E\nf:1:3: found octet 0xED, expected text in UTF-8\n"},
        {"a \xF4\x90\x80\x80", "E\nf:1:3: found octet 0xF4, expected text in UTF-8\n"},
        {"a \xF0\x9F\x98", "E\nf:1:3: found octet 0xF0, expected text in UTF-8\n"},
        {"a \"\xFF\"\nb c", "A 2:1 b@1 c@3\nE\nf:1:4: found octet 0xFF, expected text in UTF-8\n"},
        {"# \xE4\nb c", "A 2:1 b@1 c@3\nE\nf:1:3: found octet 0xE4, expected text in UTF-8\n"},
        {"[\xE4]\nb c",
         "S 1:2\nA 2:1 b@1 c@3\nE\nf:1:2: found octet 0xE4, expected text in UTF-8\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        check(i, bytes_of(rows[i].input), false, rows[i].expected);
    lib_end_rows();
}

static void refuses_nul(void **state)
{
    (void)state;
    check(0, bytes_make("a \0", 3), false, "E\nf:1:3: found octet 0x00, expected text in UTF-8\n");
    check(1, bytes_make("a \"\0\"", 5), false,
          "E\nf:1:4: found octet 0x00, expected text in UTF-8\n");
    lib_end_rows();
}

static void reads_flags(void **state)
{
    static const struct row rows[] = {
        {"a=b", "A 1:1 a@1 b@3\nE\n"},
        {"a=b c", "A 1:1 a@1 b@3 c@5\nE\n"},
        {"\"a b\"=c", "A 1:1 \"a b\"@1 c@7\nE\n"},
        {"a b", "E\nf:1:3: found \"b\", expected \"=\"\n"},
        {"a=b#c", "E\nf:1:4: found \"#\", expected a word\n"},
        {"a=", "E\nf:1:3: found the end of the argument, expected a word\n"},
        {"a", "E\nf:1:2: found the end of the argument, expected \"=\"\n"},
        {"[a]=b", "E\nf:1:1: found \"[\", expected a key or a section\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        check(i, bytes_of(rows[i].input), true, rows[i].expected);
    lib_end_rows();
}

/* Whatever is written as a word is read as that word. */
static void writes_words(void **state)
{
    static const struct row rows[] = {
        {"25", "25"},
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"[::1]:25", "[::1]:25"},
        {"a=b", "\"a=b\""},
        {"a#b", "\"a#b\""},
        {"a\tb", "\"a\tb\""},
        {"a\nb\r", "\"a\\\nb\\\r\""},
        {"\xC3\xA4", "\xC3\xA4"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static struct reading r;
        struct cf_reader reader;
        struct cf_item item;
        struct buf out;
        reading_init(&r);
        buf_init(&out, &r.pool, BLOCK_BYTES);
        cf_put_word(&out, bytes_of(rows[i].input), false);
        lib_same_bytes(i, "written", bytes_of(rows[i].expected), buf_bytes(&out));
        buf_reset(&out);
        buf_text(&out, "key ");
        cf_put_word(&out, bytes_of(rows[i].input), i % 2 == 0);
        cf_reader_init(&reader, buf_bytes(&out), "f", &r.arena, &r.problems);
        lib_same_number(i, "result", 0, cf_next(&reader, false, &item));
        if (lib_same_number(i, "words", 2, (int64_t)item.word_count))
            lib_same_bytes(i, "read again", bytes_of(rows[i].input), item.words[1].text);
        cf_reader_done(&reader);
        buf_done(&out);
        reading_done(&r);
    }
    lib_end_rows();
}

static void hints(void **state)
{
    static const struct {
        const char *word;
        const char *names[4];
        const char *nearest; /* "": none */
    } rows[] = {
        {"loger", {"hostname", "logger", "log-format"}, "logger"},
        {"YES", {"no", "yes"}, "yes"},
        {"listen-prot", {"listen-port", "name"}, "listen-port"},
        {"tls", {"name", "split"}, ""},
        {"x", {"y"}, ""},
        {"ab", {"abc", "b"}, "abc"},
        {"relays", {"relay", "smtpd"}, "relay"},
        {"", {"a"}, ""},
        {"completely-different", {"incomplete-reference"}, ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct cf_nearest nearest;
        cf_nearest_init(&nearest, bytes_of(rows[i].word));
        for (size_t k = 0; k < 4 && rows[i].names[k] != NULL; k++)
            cf_nearest_offer(&nearest, bytes_of(rows[i].names[k]));
        lib_same_bytes(i, "nearest", bytes_of(rows[i].nearest), cf_nearest_name(&nearest));
    }
    lib_end_rows();
}

static void shows_problems(void **state)
{
    static struct reading r;
    struct cf_place place = {.file = "f", .line = 3, .column = 7};
    static const char long_word[] = "0123456789012345678901234567890123456789012345678901234567"
                                    "\xC3\xA4\xC3\xA4";
    (void)state;
    reading_init(&r);
    cf_error(&r.problems, place, bytes_of("a\nb"), bytes_of("c"), bytes_of("d"));
    cf_error(&r.problems, place, bytes_of("a\nb"), bytes_of("c"), bytes_of("d"));
    cf_warning(&r.problems, place, cf_phrase(&r.problems, "to ", bytes_of("x"), " it goes"));
    cf_fault(&r.problems, (struct cf_place){.file = "g"}, bytes_of("a loop"));
    cf_error(&r.problems, place, bytes_of(long_word), bytes_of("less"), bytes_make(NULL, 0));
    put_problems(&r);
    lib_same_text(0, "problems",
                  "f:3:7: found \"a?b\", expected c; did you mean \"d\"?\n"
                  "f:3:7: warning: to \"x\" it goes\n"
                  "g: a loop\n"
                  "f:3:7: found \"0123456789012345678901234567890123456789012345678901234567"
                  "\xC3\xA4...\", expected less\n",
                  r.seen.at);
    lib_same_number(0, "errors", 3, r.problems.errors);
    lib_same_number(0, "warnings", 1, r.problems.warnings);
    for (uint32_t i = 0; i < 2 * CF_PROBLEMS_MAX; i++)
        cf_fault(&r.problems, (struct cf_place){.file = "h", .line = i + 1}, bytes_of("x"));
    lib_same_number(1, "kept", CF_PROBLEMS_MAX, r.problems.kept);
    lib_same_number(1, "errors", 3 + 2 * CF_PROBLEMS_MAX, r.problems.errors);
    reading_done(&r);
    lib_end_rows();
}

static bool read_without_memory(void *given)
{
    static struct reading r;
    (void)given;
    reading_init(&r);
    int error =
        read_all(&r, bytes_of("[a \"b\\c\"]\nd e f g h i j k l m n o p q r s t u\nx\n"), false);
    bool is_fine = error == 0 && !r.problems.has_no_memory && r.problems.kept == 1;
    if (error != 0)
        assert_int_equal(error, ERR_MEMORY);
    if (error == 0)
        assert_int_equal(r.problems.errors, 1);
    reading_done(&r);
    return is_fine;
}

static void bears_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(read_without_memory, NULL) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_items),    cmocka_unit_test(complains),
        cmocka_unit_test(refuses_nul),    cmocka_unit_test(reads_flags),
        cmocka_unit_test(writes_words),   cmocka_unit_test(hints),
        cmocka_unit_test(shows_problems), cmocka_unit_test(bears_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
