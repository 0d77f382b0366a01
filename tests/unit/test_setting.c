/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings: every kind is read, bounded, refused, defaulted and written. */
#include "proxy/base/setting.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"

#define BLOCK_BYTES 8192

enum mode { MODE_OFF, MODE_ON, MODE_AUTO };

struct pair {
    struct bytes left, right;
};

struct sample {
    struct bytes name;
    uint64_t wait_ms;
    uint64_t size_bytes;
    uint32_t count;
    uint32_t nothing;
    enum mode mode;
    bool is_open;
    struct bytes text;
    struct bytes color;
    struct netaddr address;
    unsigned ways;
    struct setting_texts words;
    struct setting_texts keywords;
    struct setting_nets nets;
    struct setting_addresses servers;
    struct setting_durations pauses;
    struct pair pair;
    struct {
        struct pair *at;
        size_t count;
    } pairs;
};

static const char *wrong_text(struct bytes value)
{
    return bytes_find(value, '%') < value.len ? "text without percent signs" : NULL;
}

static int parse_pair(const struct cf_word *words, size_t word_count, struct arena *arena,
                      void *item_out, size_t *wrong_out)
{
    struct pair *pair = item_out;
    (void)arena;
    for (*wrong_out = 0; *wrong_out < word_count && *wrong_out < 2; (*wrong_out)++)
        if (!byte_is_letter(words[*wrong_out].text.at[0]))
            return ERR_SYNTAX;
    if (word_count != 2)
        return ERR_SYNTAX;
    *pair = (struct pair){words[0].text, words[1].text};
    return 0;
}

static void put_pair(const void *item, struct buf *out)
{
    const struct pair *pair = item;
    buf_put(out, pair->left);
    buf_byte(out, ' ');
    buf_put(out, pair->right);
}

static const struct setting_type pair_type = {.expected = "two words",
                                              .item_bytes = sizeof(struct pair),
                                              .parse_words = parse_pair,
                                              .put = put_pair};

#define AT(member) SETTING_AT(sample, member)

static const unsigned way_bits[] = {1, 2, 4, 8};
static const struct setting rows[] = {
    {"wait", SETTING_DURATION, AT(wait_ms), "90s", "1s..1h", .help = "h"},
    {"size", SETTING_SIZE, AT(size_bytes), "50m", "1k..", .help = "h"},
    {"count", SETTING_COUNT, AT(count), "7", "..100", .help = "h"},
    {"nothing", SETTING_COUNT, AT(nothing), "0", "0..0", .help = "h"},
    {"mode", SETTING_CHOICE, AT(mode), "auto", "off|on|auto", .help = "h"},
    {"open", SETTING_FLAG, AT(is_open), "yes", NULL, .help = "h"},
    {"text", SETTING_TEXT, AT(text), NULL, NULL, .wrong = wrong_text, .help = "h"},
    {"color", SETTING_TEXT, AT(color), "red", "red|green", .help = "h"},
    {"address", SETTING_CUSTOM, AT(address), "127.0.0.1", NULL, .type = &setting_address,
     .help = "h"},
    {"way", SETTING_CHOICES, AT(ways), "north", "north|east|south|west", .help = "h",
     .bits = way_bits},
    {"word", SETTING_TEXTS, AT(words), NULL, NULL, .wrong = wrong_text, .help = "h"},
    {"keyword", SETTING_TEXTS, AT(keywords), NULL, "SIZE|8BITMIME", .help = "h"},
    {"net", SETTING_NETS, AT(nets), "127.0.0.0/8 ::1", NULL, .help = "h"},
    {"server", SETTING_CUSTOM_LIST, AT(servers), NULL, NULL, .type = &setting_address, .help = "h"},
    {"pause", SETTING_DURATIONS, AT(pauses), "5m 10m 1h", "1s..", .help = "h"},
    {"pair", SETTING_PHRASE, AT(pair), "left right", NULL, .type = &pair_type, .help = "h"},
    {"couple", SETTING_PHRASES, AT(pairs), NULL, NULL, .type = &pair_type, .help = "h"},
};

static const struct setting_section section = {.kind = "sample",
                                               .rows = rows,
                                               .row_count = ARRAY_LENGTH(rows),
                                               .conf_bytes = sizeof(struct sample),
                                               .is_named = true,
                                               .name_offset = AT(name)};

struct bench {
    struct pool pool;
    struct arena arena;
    struct cf_problems problems;
    struct sample sample;
    struct lib_text seen;
};

static void bench_init(struct bench *b)
{
    memset(&b->sample, 0, sizeof b->sample);
    pool_init(&b->pool, BLOCK_BYTES, 1);
    arena_init(&b->arena, &b->pool, 1 << 24);
    cf_problems_init(&b->problems, &b->arena);
    b->seen.len = 0;
    b->seen.at[0] = '\0';
}

static void bench_done(struct bench *b)
{
    arena_reset(&b->arena);
    pool_done(&b->pool);
}

/* `text`: words with one space between them, "_" is an empty one. */
static int assign(struct bench *b, const struct setting *row, const char *text)
{
    struct cf_word words[8];
    struct bytes rest = bytes_of(text), word;
    size_t count = 0;
    while ((word = text_word(&rest)).len > 0 && count < 8) {
        uint32_t column = (uint32_t)(word.at - (const uint8_t *)text) + 1;
        words[count++] = (struct cf_word){.text = bytes_is(word, "_") ? bytes_make(NULL, 0) : word,
                                          .column = column};
    }
    return setting_assign(row, &b->sample, words, count, (struct cf_place){"f", 9, 1}, &b->arena,
                          &b->problems);
}

/* Values with ", " between them, then each problem on a line. */
static void put_all(struct bench *b, const struct setting *row)
{
    struct buf out;
    buf_init(&out, &b->pool, BLOCK_BYTES);
    for (size_t i = 0; i < setting_value_count(row, &b->sample); i++) {
        buf_text(&out, i == 0 ? "" : ", ");
        setting_put_value(row, &b->sample, i, &out);
    }
    for (const struct cf_problem *p = b->problems.first; p != NULL; p = p->next) {
        buf_text(&out, "\n");
        cf_put_problem(&out, p);
    }
    lib_put(&b->seen, "%.*s", (int)buf_length(&out), (const char *)buf_bytes(&out).at);
    buf_done(&out);
}

static const struct {
    const char *key, *words, *expected;
} cases[] = {
    {"wait", "5m", "5m"},
    {"wait", "3600s", "1h"},
    {"wait", "90", "90s"},
    {"wait", "0", "0\nf:9:1: found \"0\", expected a duration (90s, 5m, 1h, 2d) from 1s to 1h"},
    {"wait", "2h", "0\nf:9:1: found \"2h\", expected a duration (90s, 5m, 1h, 2d) from 1s to 1h"},
    {"wait", "5w", "0\nf:9:1: found \"5w\", expected a duration (90s, 5m, 1h, 2d) from 1s to 1h"},
    {"size", "2048k", "2m"},
    {"size", "1023", "0\nf:9:1: found \"1023\", expected a size (64k, 50m, 4g) of at least 1k"},
    {"size", "99999999999999999999g",
     "0\nf:9:1: found \"99999999999999999999g\", expected a "
     "size (64k, 50m, 4g) of at least 1k"},
    {"count", "100", "100"},
    {"count", "101", "0\nf:9:1: found \"101\", expected a number of at most 100"},
    {"count", "-1", "0\nf:9:1: found \"-1\", expected a number of at most 100"},
    {"count", "5 x",
     "0\nf:9:3: found \"x\", expected the end of the line (a value with spaces "
     "stands in quotes)"},
    {"nothing", "0", "0"},
    {"nothing", "2", "0\nf:9:1: found \"2\", expected 0"},
    {"mode", "on", "on"},
    {"mode", "On", "off\nf:9:1: found \"On\", expected off, on or auto; did you mean \"on\"?"},
    {"mode", "later", "off\nf:9:1: found \"later\", expected off, on or auto"},
    {"mode", "autp",
     "off\nf:9:1: found \"autp\", expected off, on or auto; did you mean \"auto\"?"},
    {"open", "yes", "yes"},
    {"open", "no", "no"},
    {"open", "true", "no\nf:9:1: found \"true\", expected yes or no"},
    {"open", "ye", "no\nf:9:1: found \"ye\", expected yes or no; did you mean \"yes\"?"},
    {"text", "hello", "hello"},
    {"text", "_", "\nf:9:1: found \"\", expected a value that is not empty"},
    {"text", "a\x01z", "\nf:9:1: found \"a?z\", expected a value without control characters"},
    {"text", "a%", "\nf:9:1: found \"a%\", expected text without percent signs"},
    {"color", "GREEN", "green"},
    {"color", "rad", "\nf:9:1: found \"rad\", expected red or green; did you mean \"red\"?"},
    {"address", "[::1]:53", "[::1]:53"},
    {"address", "192.0.2.1", "192.0.2.1"},
    {"address", "x", "unknown\nf:9:1: found \"x\", expected ADDR, ADDR:PORT or [V6]:PORT"},
    {"way", "west north", "north, west"},
    {"way", "east up", "east\nf:9:6: found \"up\", expected north, east, south or west"},
    {"word", "a b c d e", "a, b, c, d, e"},
    {"word", "a % c", "a, c\nf:9:3: found \"%\", expected text without percent signs"},
    {"keyword", "size 8bitmime", "SIZE, 8BITMIME"},
    {"keyword", "8BITMIM",
     "\nf:9:1: found \"8BITMIM\", expected SIZE or 8BITMIME; did you mean "
     "\"8BITMIME\"?"},
    {"net", "10.0.0.0/8 192.0.2.1 2001:db8::/32 ::1",
     "10.0.0.0/8, 192.0.2.1, 2001:db8::/32, "
     "::1"},
    {"net", "10.0.0.1/8",
     "\nf:9:1: found \"10.0.0.1/8\", expected ADDR or ADDR/BITS, no bits "
     "set behind the prefix"},
    {"server", "192.0.2.1 [2001:db8::1]:5353", "192.0.2.1, [2001:db8::1]:5353"},
    {"server", "192.0.2.1:0",
     "\nf:9:1: found \"192.0.2.1:0\", expected ADDR, ADDR:PORT or "
     "[V6]:PORT"},
    {"pause", "1m 90s 2h", "1m, 90s, 2h"},
    {"pause", "1m 0s 2h",
     "1m, 2h\nf:9:4: found \"0s\", expected a duration (90s, 5m, 1h, 2d) of at least 1s"},
    {"pair", "a b", "a b"},
    {"couple", "a b", "a b"},
    {"couple", "a", "\nf:9:1: found \"\", expected two words"},
    {"couple", "a 2", "\nf:9:3: found \"2\", expected two words"},
    {"couple", "a b c", "\nf:9:5: found \"c\", expected two words"},
    {"couple", "a _", "\nf:9:3: found \"\", expected a value that is not empty"},
};

static void reads_and_writes(void **state)
{
    static struct bench b;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct setting *row = setting_find(&section, bytes_of(cases[i].key));
        bench_init(&b);
        bool is_fine = assign(&b, row, cases[i].words) == 0;
        put_all(&b, row);
        lib_same_text(i, cases[i].key, cases[i].expected, b.seen.at);
        lib_same_number(i, "is fine", b.problems.errors == 0, is_fine);
        bench_done(&b);
    }
    lib_end_rows();
}

static void adds_and_clears(void **state)
{
    static struct bench b;
    const struct setting *row = setting_find(&section, bytes_of("word"));
    (void)state;
    bench_init(&b);
    for (int i = 0; i < 100; i++)
        lib_same_number(0, "adds", 0, assign(&b, row, i % 2 == 0 ? "even" : "odd"));
    lib_same_number(0, "count", 100, (int64_t)setting_value_count(row, &b.sample));
    for (size_t i = 0; i < 100; i++)
        lib_same_bytes(i, "kept", bytes_of(i % 2 == 0 ? "even" : "odd"), b.sample.words.at[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        setting_default(&rows[i], &b.sample, &b.arena);
        setting_clear(&rows[i], &b.sample);
    }
    static const struct sample empty;
    lib_same_number(1, "all cleared", 0, memcmp(&b.sample, &empty, sizeof empty));
    bench_done(&b);
    lib_end_rows();
}

static void sets_defaults(void **state)
{
    static struct bench b;
    static const char *const expected[] = {"90s",
                                           "50m",
                                           "7",
                                           "0",
                                           "auto",
                                           "yes",
                                           "",
                                           "red",
                                           "127.0.0.1",
                                           "north",
                                           "",
                                           "",
                                           "127.0.0.0/8, ::1",
                                           "",
                                           "5m, 10m, 1h",
                                           "left right",
                                           ""};
    (void)state;
    bench_init(&b);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        b.seen.len = 0;
        b.seen.at[0] = '\0';
        lib_same_number(i, "result", 0, setting_default(&rows[i], &b.sample, &b.arena));
        put_all(&b, &rows[i]);
        lib_same_text(i, rows[i].key, expected[i], b.seen.at);
    }
    lib_same_number(0, "wait_ms", 90000, (int64_t)b.sample.wait_ms);
    lib_same_number(0, "size_bytes", 50 << 20, (int64_t)b.sample.size_bytes);
    lib_same_number(0, "mode", MODE_AUTO, b.sample.mode);
    lib_same_number(0, "nets", 2, (int64_t)b.sample.nets.count);
    bench_done(&b);
    lib_end_rows();
}

static void finds_keys(void **state)
{
    (void)state;
    assert_ptr_equal(setting_find(&section, bytes_of("mode")), &rows[4]);
    assert_null(setting_find(&section, bytes_of("mod")));
    assert_null(setting_find(&section, bytes_of("MODE")));
    lib_same_bytes(0, "nearest", bytes_of("mode"), setting_nearest(&section, bytes_of("mod")));
    lib_same_bytes(1, "nearest", bytes_of("keyword"),
                   setting_nearest(&section, bytes_of("keywrod")));
    lib_same_bytes(2, "nearest", bytes_of(""), setting_nearest(&section, bytes_of("tls-key")));
    lib_end_rows();
}

static bool assign_without_memory(void *given)
{
    static struct bench b;
    (void)given;
    bench_init(&b);
    int error = assign(&b, setting_find(&section, bytes_of("word")), "a b c d e");
    if (error == 0)
        error = setting_default(setting_find(&section, bytes_of("net")), &b.sample, &b.arena);
    if (error != 0)
        assert_int_equal(error, ERR_MEMORY);
    if (error == 0 && assign(&b, setting_find(&section, bytes_of("mode")), "x") == 0)
        fail_msg("takes an unknown word");
    bool is_fine = error == 0 && !b.problems.has_no_memory;
    bench_done(&b);
    return is_fine;
}

static void bears_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(assign_without_memory, NULL) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(adds_and_clears),
        cmocka_unit_test(sets_defaults),
        cmocka_unit_test(finds_keys),
        cmocka_unit_test(bears_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
