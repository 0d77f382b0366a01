/* SPDX-License-Identifier: BSD-2-Clause */
/* One routing table: how lines are read, and which one matches. */
/* needs: tests/unit/route_world.c */
#include "proxy/base/error.h"
#include "tests/unit/lib.h"
#include "tests/unit/route_world.h"

static struct route_table *compile(struct route_world *w, const char *text)
{
    struct route_table_names names = route_world_names(w);
    struct route_table *table = NULL;
    assert_true(route_world_init(w, bytes_of(text)));
    names.owner = w;
    if (route_table_new(w->tables[0], &names, route_world_key(), &w->arena, &w->problems, &table) !=
        0)
        return NULL;
    return table;
}

/* The number of the line that matches, 0: none. */
static const struct {
    const char *lines, *address;
    unsigned line;
    bool is_stripped;
} matches[] = {
    {"joe@a.example store", "joe@a.example", 1, false},
    {"joe@a.example store", "JOE@A.Example", 1, false},
    {"Joe@A.example store", "joe@a.example", 1, false},
    {"joe@a.example store", "jo@a.example", 0, false},
    {"joe@a.example store", "joe@b.a.example", 0, false},
    {"joe@a.example store", "xjoe@a.example", 0, false},
    {"@a.example store", "joe@a.example", 1, false},
    {"@a.example store", "joe@b.a.example", 0, false},
    {"@.a.example store", "joe@a.example", 0, false},
    {"@.a.example store", "joe@b.a.example", 1, false},
    {"@.a.example store", "joe@c.b.A.EXAMPLE", 1, false},
    {"@.a.example store", "joe@ba.example", 0, false},
    {"@.example store", "joe@a.example", 1, false},
    {"joe@ store", "joe@anything.example", 1, false},
    {"joe@ store", "joe@[192.0.2.1]", 1, false},
    {"joe@ store", "jo@anything.example", 0, false},
    {"@ store", "whoever@wherever.example", 1, false},
    {"joe store", "joe@a.example", 0, false},
    /* literals */
    {"joe@[192.0.2.1] store", "joe@[192.0.2.1]", 1, false},
    {"@[192.0.2.1] store", "joe@[192.0.2.1]", 1, false},
    {"@[IPv6:2001:db8::1] store", "joe@[IPV6:2001:DB8::1]", 1, false},
    {"@.1] store\n@ relay", "joe@a.example", 0, false}, /* the line is no line */
    {"@[192.0.2.1] store", "joe@[192.0.2.2]", 0, false},
    /* quotes */
    {"\"a%b@a.example\" store", "a%b@a.example", 1, false},
    {"\"\\\"a b\\\"@a.example\" store", "\"a b\"@a.example", 1, false},
    {"\"\\\"joe\\\"@a.example\" store", "joe@a.example", 1, false},
    {"joe@a.example store", "\"joe\"@a.example", 1, false},
    {"joe@a.example store", "\"j\\oe\"@a.example", 1, false},
    {"\"\\\"a@b\\\"@a.example\" store", "\"a@b\"@a.example", 1, false},
    /* the first line wins */
    {"joe@a.example store\n@a.example relay", "joe@a.example", 1, false},
    {"@a.example relay\njoe@a.example store", "joe@a.example", 1, false},
    {"@ relay\njoe@ store\n@a.example store", "joe@a.example", 1, false},
    {"joe@ store\n@ relay", "jane@a.example", 2, false},
    {"@.example store\n@.b.example relay", "joe@a.b.example", 1, false},
    {"@.b.example relay\n@.example store", "joe@a.b.example", 1, false},
    {"x@y store\njoe@a.example relay\njoe@a.example store", "joe@a.example", 2, false},
    {"JOE@a.example relay\njoe@A.example store", "joe@a.example", 1, false},
    /* case */
    {"case-sensitive yes\nJoe@a.example store\njoe@a.example relay", "joe@A.example", 3, false},
    {"case-sensitive yes\nJoe@a.example store", "joe@a.example", 0, false},
    {"case-sensitive yes\nJoe@ store", "Joe@a.example", 2, false},
    {"case-sensitive yes\nJoe@ store", "JOE@a.example", 0, false},
    {"case-sensitive yes\n@A.example store", "JOE@a.Example", 2, false},
    {"case-sensitive yes\npostmaster@a.example store", "PostMaster@a.example", 2, false},
    /* delimiters */
    {"joe@a.example store", "joe+x@a.example", 0, false},
    {"recipient-delimiter +\njoe@a.example store", "joe+x@a.example", 2, true},
    {"recipient-delimiter +\njoe@a.example store", "joe+@a.example", 2, true},
    {"recipient-delimiter +\njoe@a.example store", "joe-x@a.example", 0, false},
    {"recipient-delimiter -\njoe@a.example store", "joe-x-y@a.example", 2, true},
    {"recipient-delimiter +\njoe@ store", "joe+x@a.example", 2, true},
    {"recipient-delimiter +\njoe+x@a.example store\njoe@a.example relay", "joe+x@a.example", 2,
     false},
    {"recipient-delimiter +\njoe@a.example relay\njoe+x@a.example store", "joe+x@a.example", 2,
     true},
    {"recipient-delimiter +\n@a.example relay\njoe@a.example store", "joe+x@a.example", 2, false},
    {"recipient-delimiter +\n+x@a.example store", "+x@a.example", 2, false},
    {"recipient-delimiter +\nx@a.example store", "+x@a.example", 0, false},
};

static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(matches); i++) {
        struct route_world w;
        struct route_table *table = compile(&w, matches[i].lines);
        struct route_match match = {.rule = NULL};
        struct address address;
        if (table != NULL) {
            assert_int_equal(
                address_parse_mailbox(bytes_of(matches[i].address), &w.arena, &address), 0);
            route_table_find(table, &address, &match);
            lib_is_true(i, "same as line by line", match.rule == route_world_find(table, &address));
        }
        lib_same_number(i, "line", matches[i].line,
                        match.rule == NULL ? 0 : match.rule->line->place.line);
        lib_same_number(i, "stripped", matches[i].is_stripped, match.is_stripped);
        route_world_done(&w);
    }
    lib_end_rows();
}

static void test_names(void **state)
{
    static const struct {
        const char *lines, *name;
        unsigned line;
    } rows[] = {
        {"joe store", "joe", 1},
        {"joe store", "JOE", 1},
        {"joe store", "jo", 0},
        {"joe@ store\n@ relay", "joe", 0},
        {"jane store\njoe store\njoe relay", "joe", 2},
        {"joe.doe store", "joe.doe", 1},
        {"recipient-delimiter +\njoe store", "joe+x", 2},
        {"case-sensitive yes\njoe store", "Joe", 0},
        {"case-sensitive yes\npostmaster store", "Postmaster", 2},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct route_world w;
        struct route_table *table = compile(&w, rows[i].lines);
        struct route_match match = {.rule = NULL};
        assert_non_null(table);
        route_table_find_name(table, bytes_of(rows[i].name), &match);
        lib_same_number(i, "line", rows[i].line,
                        match.rule == NULL ? 0 : match.rule->line->place.line);
        route_world_done(&w);
    }
    lib_end_rows();
}

static void test_domains(void **state)
{
    struct route_world w;
    const struct route_table *table = compile(&w, "joe@a.example discard\njim@A.example store\n"
                                                  "jon@a.example relay\n@b.example store\n"
                                                  "joe@[192.0.2.1] store\njoe@ store");
    const struct route_rule *rule;

    (void)state;
    assert_non_null(table);
    rule = route_table_find_domain(table, bytes_of("a.EXAMPLE"));
    assert_non_null(rule);
    assert_int_equal(rule->line->place.line, 2);
    assert_non_null(route_table_find_domain(table, bytes_of("[192.0.2.1]")));
    assert_null(route_table_find_domain(table, bytes_of("b.example")));
    assert_null(route_table_find_domain(table, bytes_of("c.example")));
    route_world_done(&w);
}

/* What a right-hand side becomes: T target, A address, N name, R reply, D discard. */
static void test_actions(void **state)
{
    static const struct {
        const char *line, *actions, *what;
    } rows[] = {
        {"@ store", "T", "store"},
        {"@ \"store\"", "T", "store"},
        {"@ mx.example", "T", "mx.example"},
        {"@ relay.example", "T", "relay.example"},
        {"@ joe", "N", "joe"},
        {"@ \"joe.doe\"", "N", "joe.doe"},
        {"@ joe@b.example", "A", "joe@b.example"},
        {"@ \"joe@b.example\"", "A", "joe@b.example"},
        {"@ @b.example", "A", "@b.example"},
        {"@ @[192.0.2.1]", "A", "@[192.0.2.1]"},
        {"@ joe@", "A", "joe@"},
        {"@ joe.doe@", "A", "joe.doe@"},
        {"@ reject \"550 5.1.1 gone\"", "R", "550 5.1.1 gone"},
        {"@ reject \"521 gone\"", "R", "521 5.0.0 gone"},
        {"@ defer \"450 4.2.1 later\"", "R", "450 4.2.1 later"},
        {"@ discard", "D", ""},
        {"@ \"discard\"", "N", "discard"},
        {"@ store, relay", "TT", "store"},
        {"@ store,relay,joe", "TTN", "store"},
        {"@ joe, @b.example, mx.example", "NAT", "joe"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static const char letters[] = "TANRD";
        struct route_world w;
        struct route_table *table = compile(&w, rows[i].line);
        char kinds[8] = "";
        struct buf text;
        size_t count;
        if (!lib_is_true(i, "is read", table != NULL)) {
            route_world_done(&w);
            continue;
        }
        const struct route_action *actions = route_rule_actions(table, table->rules, &count);
        for (size_t k = 0; k < count && k < 7; k++)
            kinds[k] = letters[actions[k].kind];
        lib_same_text(i, "actions", rows[i].actions, kinds);
        buf_init(&text, &w.pool, 1000);
        if (actions[0].kind == ROUTE_ACTION_TARGET)
            buf_put(&text, actions[0].target->name);
        else if (actions[0].kind == ROUTE_ACTION_REPLY)
            reply_put_text(&text, actions[0].reply);
        else if (actions[0].kind != ROUTE_ACTION_DISCARD) {
            buf_put(&text, actions[0].address->local);
            if (actions[0].kind == ROUTE_ACTION_ADDRESS)
                buf_byte(&text, '@');
            buf_put(&text, actions[0].address->domain);
        }
        lib_same_bytes(i, "what", bytes_of(rows[i].what), buf_bytes(&text));
        buf_done(&text);
        route_world_done(&w);
    }
    lib_end_rows();
}

#define PATTERNS "user@domain, @domain, @.domain, user@, user or @, in the form of RFC 5321\n"
#define TARGETS  "the name of a [relay] or [maildir], a host, an address, or a local name\n"
#define REJECT   "a reply in quotes: reject \"550 5.1.1 text\"\n"

static void test_problems(void **state)
{
    static const struct {
        const char *lines, *problems;
    } rows[] = {
        {"joe@a@b store", "t:1:1: found \"joe@a@b\", expected " PATTERNS},
        {"\n  @. store", "t:2:3: found \"@.\", expected " PATTERNS},
        {"@a..b store", "t:1:1: found \"@a..b\", expected " PATTERNS},
        {"@.[192.0.2.1] store", "t:1:1: found \"@.[192.0.2.1]\", expected " PATTERNS},
        {"@[300.0.2.1] store", "t:1:1: found \"@[300.0.2.1]\", expected " PATTERNS},
        {"joe@b@ store", "t:1:1: found \"joe@b@\", expected " PATTERNS},
        {"@@ store", "t:1:1: found \"@@\", expected " PATTERNS},
        {"\"\" store", "t:1:1: found \"\", expected " PATTERNS},
        {"\"a b@c\" store", "t:1:1: found \"a b@c\", expected " PATTERNS},
        {"j\xc3\xb6@a.example store", "t:1:1: found \"j\xc3\xb6@a.example\", expected " PATTERNS},
        {"@b\xc3\xbc.example store", "t:1:1: found \"@b\xc3\xbc.example\", expected " PATTERNS},
        {"@ @", "t:1:3: found \"@\", expected " TARGETS},
        {"@ @.b.example", "t:1:3: found \"@.b.example\", expected " TARGETS},
        {"@ \"|/bin/cat -x\"", "t:1:3: found \"|/bin/cat -x\", expected " TARGETS},
        {"@ 192.0.2.1", "t:1:3: found \"192.0.2.1\", expected " TARGETS},
        {"@ joe@b@c", "t:1:3: found \"joe@b@c\", expected " TARGETS},
        {"@ \"\"", "t:1:3: found \"\", expected " TARGETS},
        {"@ \"\\\"\\\"@b.example\"", "t:1:3: found \"\"\"@b.example\", expected " TARGETS},
        {"@ store relay", "t:1:9: found \"relay\", expected a comma or the end of the line\n"},
        {"@ reject", "t:1:3: found \"reject\", expected " REJECT},
        {"@ reject \"450 later\"", "t:1:10: found \"450 later\", expected " REJECT},
        {"@ reject \"550\" \"gone\"", "t:1:16: found \"gone\", expected " REJECT},
        {"@ reject \"5xx gone\"", "t:1:10: found \"5xx gone\", expected " REJECT},
        {"@ defer \"550 gone\"",
         "t:1:9: found \"550 gone\", expected a reply in quotes: defer \"450 4.2.1 text\"\n"},
        {"@ store, discard",
         "t:1:10: found \"discard\", expected a target: what stands here has to stand alone\n"},
        {"@ reject \"550 x\", store",
         "t:1:3: found \"reject\", expected a target: what stands here has to stand alone\n"},
        {"@@ @@\n@@ @",
         "t:1:1: found \"@@\", expected " PATTERNS "t:1:4: found \"@@\", expected " TARGETS
         "t:2:1: found \"@@\", expected " PATTERNS "t:2:4: found \"@\", expected " TARGETS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct route_world w;
        char text[2000];
        lib_is_true(i, "is refused", compile(&w, rows[i].lines) == NULL);
        route_world_problems(&w, text, sizeof(text));
        lib_same_text(i, "problems", rows[i].problems, text);
        route_world_done(&w);
    }
    lib_end_rows();
}

/* Lines and addresses out of few parts, so that much matches: as found line by line. */
static void test_against_line_by_line(void **state)
{
    static const char *const locals[] = {"a", "b", "A", "a+b", "b+a", "+a", "a+", "ab"};
    static const char *const domains[] = {"x", "X.y", "y", "z.x.y", "x.z", "xy", "[192.0.2.1]"};
    struct lib_random chance = {1};

    (void)state;
    for (size_t round = 0; round < 300; round++) {
        static struct lib_text lines;
        struct route_world w;
        lines.len = 0;
        lib_put(&lines, "%s%s", lib_random_below(&chance, 2) ? "case-sensitive yes\n" : "",
                lib_random_below(&chance, 2) ? "recipient-delimiter +\n" : "");
        for (uint64_t n = lib_random_below(&chance, 40); n > 0; n--) {
            const char *local = locals[lib_random_below(&chance, ARRAY_LENGTH(locals))];
            const char *domain = domains[lib_random_below(&chance, ARRAY_LENGTH(domains))];
            uint64_t kind = lib_random_below(&chance, 20);
            if (kind < 9)
                lib_put(&lines, "%s@%s store\n", local, domain);
            else if (kind < 12)
                lib_put(&lines, "@%s store\n", domain);
            else if (kind < 15)
                lib_put(&lines, "@.%s store\n", domain[0] == '[' ? "y" : domain);
            else if (kind < 19)
                lib_put(&lines, "%s@ store\n", local);
            else if (n == 1)
                lib_put(&lines, "@ store\n");
        }
        const struct route_table *table = compile(&w, lines.at);
        assert_non_null(table);
        for (size_t l = 0; l < ARRAY_LENGTH(locals); l++)
            for (size_t d = 0; d < ARRAY_LENGTH(domains); d++) {
                struct address address = {.local = bytes_of(locals[l]),
                                          .domain = bytes_of(domains[d])};
                struct route_match match = {.rule = NULL};
                route_table_find(table, &address, &match);
                if (match.rule != route_world_find(table, &address))
                    fail_msg("round %zu: %s@%s in\n%s", round, locals[l], domains[d], lines.at);
            }
        route_world_done(&w);
    }
}

/* Longer than any address: nothing matches, nothing is read too far. */
static void test_limits(void **state)
{
    static uint8_t text[1000];
    struct route_world w;
    const struct route_table *table = compile(&w, "joe@ store\njoe@a.example store");
    struct route_match match;
    struct address address = {.local = bytes_make(text, sizeof(text)),
                              .domain = bytes_of("a.example")};

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_non_null(table);
    assert_false(route_table_find(table, &address, &match));
    address = (struct address){.local = bytes_of("joe"), .domain = bytes_make(text, sizeof(text))};
    assert_true(route_table_find(table, &address, &match));
    assert_int_equal(match.rule->line->place.line, 1);
    assert_false(route_table_find_name(table, bytes_make(text, sizeof(text)), &match));
    route_world_done(&w);
}

static bool load(void *given)
{
    struct route_table *table = NULL;
    struct route_world w;
    int error = ERR_MEMORY;

    (void)given;
    if (route_world_init(&w, bytes_of("joe@a.example store\n\"\\\"a b\\\"@b.example\" @c.example\n"
                                      "@ reject \"550 5.1.1 gone\"\njim@a.example mx.example\n"
                                      "a@b store\nc@d store\ne@f store, relay"))) {
        struct route_table_names names = route_world_names(&w);
        error =
            route_table_new(w.tables[0], &names, route_world_key(), &w.arena, &w.problems, &table);
        /* A section's name that finds no memory is looked up as something else. */
        assert_true(error == 0 || error == ERR_MEMORY || error == ERR_SYNTAX);
    }
    assert_int_equal(table != NULL, error == 0);
    route_world_done(&w);
    return error == 0;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(load, NULL) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_domains),  cmocka_unit_test(test_actions),
        cmocka_unit_test(test_problems), cmocka_unit_test(test_against_line_by_line),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
