/* SPDX-License-Identifier: BSD-2-Clause */
/* Facts about targets: lines that are read, replaced, bounded, aged and written. */
/* needs: route/relay/relay_facts.c route/relay/relay_announced.c */
#include "route/relay/relay_facts.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"

#define HOUR 3600

struct bench {
    struct pool pool;
    struct relay_facts facts;
};

static void bench_init(struct bench *b)
{
    pool_init(&b->pool, 1024, 4);
    relay_facts_init(&b->facts, (struct hash_key){{1, 2}}, &b->pool);
}

static void bench_done(struct bench *b)
{
    relay_facts_done(&b->facts);
    lib_same_number(0, "blocks that are out", 0, (int64_t)b->pool.taken);
    pool_done(&b->pool);
}

/* All lines, with "; " between them. */
static void put_image(struct bench *b, int64_t now_s, struct lib_text *out)
{
    uint8_t *octets = NULL;
    size_t len = 0;
    lib_same_number(0, "image", 0, relay_facts_image(&b->facts, now_s, &octets, &len));
    for (size_t i = 0; i < len; i++) {
        if (octets[i] != '\n')
            lib_put(out, "%c", octets[i]);
        else if (i + 1 < len)
            lib_put(out, "; ");
    }
    mem_free(octets);
}

#define OLD "550+205.1.1+20no+0D+0A"
#define NEW "550+205.2.1+20gone+0D+0A"

/* Lines that are learnt at the second that stands in front of them, and what is written at last. */
static const struct {
    const char *what;
    struct {
        int64_t now_s;
        const char *line;
        enum relay_facts_result result;
    } said[5];
    int64_t now_s;
    const char *image;
} rows[] = {
    {"xclient",
     {{5, "t xclient", RELAY_FACTS_XCLIENT}, {6, "t xclient", RELAY_FACTS_NOTHING}},
     1000 * HOUR,
     "t xclient"},
    {"xclient of a target by the name of a kind",
     {{5, "accepted xclient", RELAY_FACTS_XCLIENT}},
     9,
     "accepted xclient"},
    {"both",
     {{5, "accepted 5 t a@b", RELAY_FACTS_NEWS}, {6, "refused 6 t c@b " OLD, RELAY_FACTS_NEWS}},
     7,
     "accepted 5 t a@b; refused 6 t c@b " OLD},
    {"of two targets",
     {{5, "accepted 5 t a@b", RELAY_FACTS_NEWS}, {5, "accepted 5 u a@b", RELAY_FACTS_NEWS}},
     7,
     "accepted 5 t a@b; accepted 5 u a@b"},
    {"again, soon: no news",
     {{5, "accepted 5 t a@b", RELAY_FACTS_NEWS},
      {5 + 3 * HOUR, "accepted 10805 t a@b", RELAY_FACTS_NOTHING}},
     9,
     "accepted 5 t a@b"},
    {"again, later: its time begins anew",
     {{5, "accepted 5 t a@b", RELAY_FACTS_NEWS},
      {6 + 3 * HOUR, "accepted 10806 t a@b", RELAY_FACTS_NEWS}},
     4 * HOUR,
     "accepted 10806 t a@b"},
    {"a contrary answer replaces",
     {{5, "accepted 5 t a@b", RELAY_FACTS_NEWS}, {6, "refused 6 t a@b " OLD, RELAY_FACTS_NEWS}},
     7,
     "refused 6 t a@b " OLD},
    {"... in the other direction too",
     {{5, "refused 5 t a@b " OLD, RELAY_FACTS_NEWS}, {6, "accepted 6 t a@b", RELAY_FACTS_NEWS}},
     7,
     "accepted 6 t a@b"},
    {"what is older does not",
     {{6, "accepted 6 t a@b", RELAY_FACTS_NEWS}, {7, "refused 5 t a@b " OLD, RELAY_FACTS_NOTHING}},
     7,
     "accepted 6 t a@b"},
    {"what is of the future is replaced",
     {{6, "accepted 9999 t a@b", RELAY_FACTS_NEWS}, {7, "refused 7 t a@b " OLD, RELAY_FACTS_NEWS}},
     8,
     "refused 7 t a@b " OLD},
    {"open ends a refusal",
     {{5, "refused 5 t a@b " OLD, RELAY_FACTS_NEWS}, {6, "open 6 t a@b", RELAY_FACTS_NEWS}},
     7,
     "open 6 t a@b"},
    {"open is no news otherwise",
     {{5, "open 5 t a@b", RELAY_FACTS_NOTHING},
      {5, "accepted 5 t c@b", RELAY_FACTS_NEWS},
      {6, "open 6 t c@b", RELAY_FACTS_NOTHING}},
     7,
     "accepted 5 t c@b"},
    {"accepted ones live for a day",
     {{5, "accepted 5 t a@b", RELAY_FACTS_NEWS}},
     24 * HOUR + 4,
     "accepted 5 t a@b"},
    {"... not longer", {{5, "accepted 5 t a@b", RELAY_FACTS_NEWS}}, 24 * HOUR + 5, ""},
    {"refused ones for an hour",
     {{5, "refused 5 t a@b " OLD, RELAY_FACTS_NEWS}},
     HOUR + 4,
     "refused 5 t a@b " OLD},
    {"... not longer", {{5, "refused 5 t a@b " NEW, RELAY_FACTS_NEWS}}, HOUR + 5, ""},
    {"the far future is as old", {{9, "refused 999999 t a@b " NEW, RELAY_FACTS_NEWS}}, 9, ""},
    {"announced",
     {{5, "ehlo 5 t SIZE=7 LIMITS RCPTMAX=2 NEWER", RELAY_FACTS_ANNOUNCED},
      {6, "t xclient", RELAY_FACTS_XCLIENT},
      {6, "ehlo 6 t SIZE=7 LIMITS RCPTMAX=2 NEWER", RELAY_FACTS_NOTHING}},
     1000 * HOUR,
     "t xclient; ehlo 5 t SIZE=7 LIMITS RCPTMAX=2 NEWER"},
    {"announced anew, and nothing at all",
     {{5, "ehlo 5 t SIZE=7", RELAY_FACTS_ANNOUNCED}, {6, "ehlo 6 t ", RELAY_FACTS_ANNOUNCED}},
     9,
     "ehlo 6 t "},
    {"announced by one who heard it earlier",
     {{6, "ehlo 6 t DSN", RELAY_FACTS_ANNOUNCED}, {7, "ehlo 5 t", RELAY_FACTS_NOTHING}},
     9,
     "ehlo 6 t DSN"},
    {"announced in the future",
     {{6, "ehlo 99 t DSN", RELAY_FACTS_ANNOUNCED}, {7, "ehlo 7 t SIZE", RELAY_FACTS_ANNOUNCED}},
     9,
     "ehlo 7 t SIZE"},
    {"announced by nobody",
     {{5, "ehlo", RELAY_FACTS_NOTHING},
      {5, "ehlo 5", RELAY_FACTS_NOTHING},
      {5, "ehlo x t DSN", RELAY_FACTS_NOTHING},
      {5, "ehlo xclient", RELAY_FACTS_XCLIENT}},
     9,
     "ehlo xclient"},
    {"rubbish",
     {{5, "", RELAY_FACTS_NOTHING},
      {5, "t", RELAY_FACTS_NOTHING},
      {5, "t xclient more", RELAY_FACTS_NOTHING},
      {5, "accepted x t a@b", RELAY_FACTS_NOTHING},
      {5, "accepted 5 t", RELAY_FACTS_NOTHING}},
     9,
     ""},
    {"more rubbish",
     {{5, "accepted 5 t a@b more", RELAY_FACTS_NOTHING},
      {5, "refused 5 t a@b", RELAY_FACTS_NOTHING},
      {5, "refused 5 t a@b " OLD " x", RELAY_FACTS_NOTHING},
      {5, "accepted 5 t  a@b", RELAY_FACTS_NOTHING},
      {5, "shunned 5 t a@b", RELAY_FACTS_NOTHING}},
     9,
     ""},
};

static void learns(void **state)
{
    static struct lib_text seen;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct bench b;
        bench_init(&b);
        for (size_t k = 0; k < 5 && rows[i].said[k].line != NULL; k++)
            lib_same_number(
                i, rows[i].said[k].line, rows[i].said[k].result,
                relay_facts_learn(&b.facts, bytes_of(rows[i].said[k].line), rows[i].said[k].now_s));
        seen.len = 0;
        seen.at[0] = '\0';
        put_image(&b, rows[i].now_s, &seen);
        lib_same_text(i, rows[i].what, rows[i].image, seen.at);
        bench_done(&b);
    }
    lib_end_rows();
}

static void is_bounded(void **state)
{
    static struct lib_text seen;
    struct relay_remember two = {.accepted_ms = 10000, .refused_ms = 5000, .count = 2};
    struct bench b;
    (void)state;
    bench_init(&b);
    relay_facts_learn(&b.facts, bytes_of("accepted 1 t a@b"), 1);
    relay_facts_learn(&b.facts, bytes_of("accepted 2 t b@b"), 2);
    relay_facts_learn(&b.facts, bytes_of("accepted 3 u z@b"), 3);
    relay_facts_learn(&b.facts, bytes_of("accepted 3 t c@b"), 3);
    lib_is_true(0, "limit", relay_facts_limit(&b.facts, bytes_of("t"), &two) != NULL);
    put_image(&b, 3, &seen);
    lib_same_text(0, "the oldest has gone", "accepted 2 t b@b; accepted 3 t c@b; accepted 3 u z@b",
                  seen.at);
    relay_facts_learn(&b.facts, bytes_of("accepted 4 t b@b"), 4); /* said again, it is the newest */
    relay_facts_learn(&b.facts, bytes_of("accepted 5 t d@b"), 5);
    seen.len = 0;
    put_image(&b, 5, &seen);
    lib_same_text(1, "one for one", "accepted 4 t b@b; accepted 5 t d@b; accepted 3 u z@b",
                  seen.at);
    seen.len = 0;
    put_image(&b, 14, &seen);
    lib_same_text(2, "its own time", "accepted 5 t d@b; accepted 3 u z@b", seen.at);
    bench_done(&b);
    lib_end_rows();
}

static struct address address_of(const char *local, const char *domain)
{
    return (struct address){.local = bytes_of(local), .domain = bytes_of(domain)};
}

static void finds(void **state)
{
    struct address rcpt = address_of("Joe Doe", "Example.Test");
    struct address others[] = {address_of("joe doe", "example.test"),
                               address_of("Joe Doe", "example.tes"), address_of("Joe", "")};
    struct address same = address_of("Joe Doe", "EXAMPLE.test");
    struct reply reply = {.code = 550, .wire = bytes_of("550-5.1.1 a\r\n550 5.1.1 b=\r\n")};
    enum relay_fact_kind kind = RELAY_FACT_OPEN;
    struct bytes words = bytes_of("");
    struct buf line;
    struct bench b;
    (void)state;
    bench_init(&b);
    buf_init(&line, &b.pool, RELAY_FACTS_LINE_MAX);
    relay_facts_put(&b.facts, &line, RELAY_FACT_REFUSED, 7, bytes_of("a b"), &rcpt, &reply);
    lib_same_bytes(0, "line",
                   bytes_of("refused 7 a+20b \"Joe+20Doe\"@example.test "
                            "550-5.1.1+20a+0D+0A550+205.1.1+20b+3D+0D+0A"),
                   buf_bytes(&line));
    lib_same_number(0, "learn", RELAY_FACTS_NEWS, relay_facts_learn(&b.facts, buf_bytes(&line), 7));
    buf_done(&line);
    lib_is_true(0, "found", relay_facts_find(&b.facts, bytes_of("a b"), &same, 8, &kind, &words));
    lib_same_number(0, "kind", RELAY_FACT_REFUSED, kind);
    lib_same_bytes(0, "words", bytes_of("550-5.1.1+20a+0D+0A550+205.1.1+20b+3D+0D+0A"), words);
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        lib_is_true(1 + i, "is another",
                    !relay_facts_find(&b.facts, bytes_of("a b"), &others[i], 8, &kind, &words));
    lib_is_true(8, "another target",
                !relay_facts_find(&b.facts, bytes_of("a"), &same, 8, &kind, &words));
    lib_is_true(9, "too old",
                !relay_facts_find(&b.facts, bytes_of("a b"), &same, 7 + HOUR, &kind, &words));
    bench_done(&b);
    lib_end_rows();
}

/* Who asks whether a line would be news hears what would come of it. */
static void foretells(void **state)
{
    static const char *const known[][2] = {{"", ""},
                                           {"accepted 5 t a@b", ""},
                                           {"refused 5 t a@b " OLD, ""},
                                           {"refused 5 t a@b " OLD, "open 5 t a@b"}};
    static const int64_t times[] = {4, 5, 5 + HOUR / 8, 6 + HOUR / 8, 6 + 3 * HOUR};
    struct address rcpt = address_of("a", "B");
    struct reply reply = {.code = 550, .wire = bytes_of("550 5.1.1 no\r\n")};
    size_t news = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(known) * 3 * ARRAY_LENGTH(times); i++) {
        int64_t now_s = times[i / (ARRAY_LENGTH(known) * 3)];
        enum relay_fact_kind kind = (enum relay_fact_kind)(i / ARRAY_LENGTH(known) % 3);
        struct buf line;
        struct bench b;
        bench_init(&b);
        for (size_t k = 0; k < 2; k++)
            relay_facts_learn(&b.facts, bytes_of(known[i % ARRAY_LENGTH(known)][k]), 5);
        bool is_news = relay_facts_would_learn(&b.facts, kind, now_s, bytes_of("t"), &rcpt);
        buf_init(&line, &b.pool, RELAY_FACTS_LINE_MAX);
        relay_facts_put(&b.facts, &line, kind, now_s, bytes_of("t"), &rcpt, &reply);
        lib_same_number(i, known[i % ARRAY_LENGTH(known)][0],
                        relay_facts_learn(&b.facts, buf_bytes(&line), now_s) == RELAY_FACTS_NEWS,
                        is_news);
        news += is_news;
        buf_done(&line);
        bench_done(&b);
    }
    lib_is_true(0, "both come about", news > 10 && news < 50);
    lib_end_rows();
}

/* Of words that are too long the first line is kept. */
static void cuts_words(void **state)
{
    static char wire[2000];
    static char expected[4000] = "refused 7 t a@b 550+20";
    struct address rcpt = address_of("a", "b");
    struct reply reply = {.code = 550};
    struct buf line;
    struct bench b;
    (void)state;
    memset(wire, 'x', sizeof wire - 1);
    memcpy(wire, "550-", 4);
    memcpy(wire + 100, "\r\n550 5.1.1 more\r\n", 18);
    reply.wire = bytes_make((const uint8_t *)wire, 600);
    bench_init(&b);
    buf_init(&line, &b.pool, RELAY_FACTS_LINE_MAX);
    relay_facts_put(&b.facts, &line, RELAY_FACT_REFUSED, 7, bytes_of("t"), &rcpt, &reply);
    memset(expected + strlen(expected), 'x', 96);
    strcat(expected, "+0D+0A");
    lib_same_bytes(0, "one line of many", bytes_of(expected), buf_bytes(&line));
    buf_reset(&line);
    wire[100] = wire[101] = 'x';
    relay_facts_put(&b.facts, &line, RELAY_FACT_REFUSED, 7, bytes_of("t"), &rcpt, &reply);
    lib_is_true(1, "one long line", !line.has_failed && buf_length(&line) < 600);
    buf_done(&line);
    bench_done(&b);
    lib_end_rows();
}

static bool run_starved(void *given)
{
    static const char *const lines[] = {"t xclient", "accepted 5 t a@b", "refused 6 t a@b " OLD,
                                        "accepted 6 u a@b"};
    struct relay_remember one = {.accepted_ms = 1000, .refused_ms = 1000, .count = 1};
    uint8_t *octets = NULL;
    size_t len = 0;
    bool is_fine = true;
    struct bench b;
    (void)given;
    bench_init(&b);
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
        is_fine &= relay_facts_learn(&b.facts, bytes_of(lines[i]), 6) != RELAY_FACTS_NO_MEMORY;
    const struct relay_facts_target *t = relay_facts_limit(&b.facts, bytes_of("t"), &one);
    is_fine &= t != NULL && t->has_xclient;
    is_fine &= relay_facts_limit(&b.facts, bytes_of("v"), &one) != NULL;
    is_fine &= relay_facts_image(&b.facts, 6, &octets, &len) == 0;
    mem_free(octets);
    bench_done(&b);
    return is_fine;
}

static void survives_want_of_memory(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(run_starved, NULL) > 8);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns),     cmocka_unit_test(is_bounded),
        cmocka_unit_test(finds),      cmocka_unit_test(foretells),
        cmocka_unit_test(cuts_words), cmocka_unit_test(survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
