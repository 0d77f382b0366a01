/* SPDX-License-Identifier: BSD-2-Clause */
/* A listener's tables: rewriting, lists, guards, postmaster, what is refused at load. */
/* needs: tests/unit/route_world.c route/route.c route/route_walk.c */
/* needs: route/route_check.c route/route_explain.c route/target_group.c */
#include "proxy/base/error.h"
#include "tests/unit/lib.h"
#include "tests/unit/route_world.h"

/* NULL: see w->problems. */
static struct route_set *load(struct route_world *w, const char *text)
{
    struct route_directory directory = route_world_directory(w);
    struct route_set *set = NULL;
    assert_true(route_world_init(w, bytes_of(text)));
    int error = route_set_new(w->tables, w->table_count, &directory, route_world_key(), &w->arena,
                              &w->problems, &set);
    assert_int_equal(error, set == NULL ? ERR_SYNTAX : 0);
    return set;
}

static void put_address(struct lib_text *text, struct route_world *w, const struct address *a)
{
    struct buf out;
    buf_init(&out, &w->pool, 1000);
    address_put(&out, a);
    lib_put_bytes(text, buf_bytes(&out));
    buf_done(&out);
}

static void put_reply(struct lib_text *text, const struct reply *reply)
{
    lib_put(text, "%u %u.%u.%u", reply->code, reply->enhanced[0], reply->enhanced[1],
            reply->enhanced[2]);
}

/* "relay1:joe@a.example store:joe@a.example guard 550 5.7.1" */
static void put_routed(struct lib_text *text, struct route_world *w, const struct routed *routed)
{
    text->len = 0;
    lib_put(text, "%s", routed->is_discarded ? "discarded" : "");
    if (routed->reply.code != 0)
        put_reply(text, &routed->reply);
    for (int i = 0; i < routed->leg_count; i++) {
        const struct routed_leg *leg = &routed->legs[i];
        lib_put(text, "%s%s%.*s:", i > 0 ? " " : "", leg->to.keeps_case ? "*" : "",
                (int)leg->target->name.len, (const char *)leg->target->name.at);
        put_address(text, w, &leg->to);
        assert_int_equal(leg->can_prepare, leg->target->can_prepare);
    }
    if (routed->guard != REPLY_OK) {
        struct reply guard = reply_own(routed->guard);
        lib_put(text, " guard ");
        put_reply(text, &guard);
    }
}

struct row {
    const char *tables, *address, *expected;
};

static void check_rows(const struct row *rows, size_t count, struct route_client client)
{
    for (size_t i = 0; i < count; i++) {
        static struct lib_text text;
        struct route_world w;
        struct route_set *set = load(&w, rows[i].tables);
        struct address address;
        struct routed routed;
        if (set == NULL) {
            char problems[1000];
            route_world_problems(&w, problems, sizeof(problems));
            lib_same_text(i, "problems", "", problems);
        } else {
            assert_int_equal(address_parse_mailbox(bytes_of(rows[i].address), &w.arena, &address),
                             0);
            route_resolve(set, &address, &client, &w.arena, &routed);
            put_routed(&text, &w, &routed);
            lib_same_text(i, rows[i].address, rows[i].expected, text.at);
        }
        route_world_done(&w);
    }
    lib_end_rows();
}

static const struct row routes[] = {
    {"@ relay", "Joe@A.Example", "relay:Joe@A.Example"},
    {"@ mx.example", "joe@a.example", "mx.example:joe@a.example"},
    {"@ store", "\"a b\"@a.example", "store:\\\"a b\\\"@a.example"},
    {"joe@a.example discard", "joe@a.example", "discarded"},
    {"joe@a.example reject \"550 5.1.2 x\"", "joe@a.example", "550 5.1.2"},
    {"joe@a.example defer \"450 4.2.1 x\"", "joe@a.example", "450 4.2.1"},
    /* no line */
    {"joe@a.example store", "joe@b.example", "550 5.7.1"},
    {"joe@a.example store", "jim@A.example", "550 5.1.1"},
    {"joe@a.example store", "jim@x.a.example", "550 5.7.1"},
    {"joe store", "joe@a.example", "550 5.7.1"},
    {"joe store", "joe", "553 5.1.3"},
    {"@ store", "joe", "553 5.1.3"},
    {"x@y store\n--\njoe@a.example store", "jim@a.example", "550 5.1.1"},
    /* tables in order */
    {"joe@a.example store1\n--\n@a.example store2", "joe@a.example", "store1:joe@a.example"},
    {"@a.example store1\n--\njoe@a.example store2", "joe@a.example", "store1:joe@a.example"},
    {"x@y store1\n--\njoe@a.example store2", "joe@a.example", "store2:joe@a.example"},
    {"case-sensitive yes\nJoe@a.example store1\n--\n@ store2", "joe@a.example",
     "store2:joe@a.example"},
    {"case-sensitive yes\nJoe@a.example store1\n--\n@ store2", "Joe@a.example",
     "*store1:Joe@a.example"},
    {"recipient-delimiter +\njoe@a.example store1\n--\njoe+x@a.example store2", "joe+x@a.example",
     "store1:joe+x@a.example"},
    {"joe@a.example store1\n--\nrecipient-delimiter +\njoe@a.example store2", "joe+x@a.example",
     "store2:joe+x@a.example"},
    /* rewriting */
    {"joe@a.example jim@b.example\n@b.example relay", "JOE@a.example", "relay:jim@b.example"},
    {"@a.example @b.example\n@b.example relay", "Joe@a.example", "relay:Joe@b.example"},
    {"joe@ jim@\n@a.example relay", "joe@A.example", "relay:jim@A.example"},
    {"@a.example @[192.0.2.1]\n@[192.0.2.1] relay", "joe@a.example", "relay:joe@[192.0.2.1]"},
    {"joe@[192.0.2.1] jim@\n@[192.0.2.1] relay", "joe@[192.0.2.1]", "relay:jim@[192.0.2.1]"},
    {"@b.example store\n--\n@a.example @b.example", "joe@a.example", "store:joe@b.example"},
    {"@a @b\n@b @c\n@c @d\n@d store", "x@a", "store:x@d"},
    {"joe@a.example jim@b.example", "joe@a.example", "550 5.7.1"},
    {"joe@a.example jim@b.example\njon@b.example store", "joe@a.example", "550 5.1.1"},
    {"@a.example @b.example\njoe@b.example discard", "joe@a.example", "discarded"},
    {"recipient-delimiter +\njoe@a.example jim@b.example\n@b.example store", "joe+x@a.example",
     "store:jim@b.example"},
    {"joe@a.example @b.example\njim@b.example @a.example\n@ store", "joe@a.example",
     "store:joe@b.example"},
    /* local names */
    {"root@ joe\njoe store", "root@a.example", "store:joe@a.example"},
    {"root@ \"joe.doe\"\njoe.doe store", "root@a.example", "store:joe.doe@a.example"},
    {"root@ admin\nadmin joe\n--\njoe relay", "root@a.example", "relay:joe@a.example"},
    {"root@ joe\njoe joe@b.example\n@b.example relay", "root@a.example", "relay:joe@b.example"},
    {"root@ joe\njoe joe@\n@a.example relay", "root@a.example", "relay:joe@a.example"},
    /* lists */
    {"@ store, relay", "joe@a.example", "store:joe@a.example relay:joe@a.example"},
    {"@ store1, store2, store1", "joe@a.example", "store1:joe@a.example store2:joe@a.example"},
    {"l@a.example joe@b.example, store, jim@b.example\n@b.example store2", "l@a.example",
     "store2:joe@b.example store:l@a.example store2:jim@b.example"},
    {"l@a m@a, n@a\nm@a x@b, store\nn@a x@b, y@b\n@b store2\n", "l@a",
     "store2:x@b store:m@a store2:y@b"},
    {"l@a m@a, n@a\nm@a x@b\nn@a x@b\n@b relay", "l@a", "relay:x@b"},
    {"l@a store, x@b\nx@b reject \"550 5.1.1 x\"", "l@a", "550 5.1.1"},
    {"l@a store, x@b\nx@b discard", "l@a", "store:l@a"},
    {"l@a x@b, y@b\n@b discard", "l@a", "discarded"},
    {"l@a store, x@nowhere", "l@a", "550 5.7.1"},
    /* the path of a Maildir */
    {"@ store", "/etc@a", "553 5.1.3"},
    {"@ relay", "/etc@a", "relay:/etc@a"},
    {"@ relay, store", "/etc@a", "553 5.1.3"},
    {"\"/etc@a\" joe@a\n@a store", "/etc@a", "store:joe@a"},
};

static void test_routes(void **state)
{
    (void)state;
    check_rows(routes, ARRAY_LENGTH(routes), (struct route_client){.may_relay = true});
}

static void test_postmaster(void **state)
{
    static const struct row rows[] = {
        {"@a store1\npostmaster store2", "postmaster", "store2:postmaster"},
        {"postmaster@ store1\n@ store\npostmaster store2", "PostMaster", "store2:PostMaster"},
        {"postmaster joe\njoe relay", "postmaster", "relay:joe"},
        {"postmaster joe@a\n@a relay", "postmaster", "relay:joe@a"},
        {"@a store1\n@ relay", "postmaster", "relay:postmaster"},
        {"@a store1\npostmaster@ relay\n@ store", "postmaster", "relay:postmaster"},
        {"joe@a store1\n@b relay", "postmaster", "store1:postmaster"},
        {"joe@a store1\n@b relay", "postmaster@b", "relay:postmaster@b"},
        {"joe@a store1\njim@b relay", "postmaster@B", "relay:postmaster@B"},
        {"joe@a store1\njon@b x@a\njim@b relay", "postmaster@b", "relay:postmaster@b"},
        {"joe@a store1\njon@b joe@a", "postmaster@b", "store1:postmaster@b"},
        {"joe@a store1\njim@b relay\n--\npostmaster store2", "postmaster@b", "store2:postmaster@b"},
        {"joe@a store1", "postmaster@c", "550 5.7.1"},
        {"postmaster store1", "postmaster@c", "550 5.7.1"},
        {"postmaster@a reject \"550 5.1.1 x\"\nx@a store", "postmaster@a", "550 5.1.1"},
        {"joe@a discard", "postmaster", "451 4.3.0"},
        {"joe@a discard", "postmaster@a", "451 4.3.0"},
        {"postmaster@a joe@nowhere", "postmaster@a", "451 4.3.0"},
        {"postmaster@a postmaster@b\njoe@b store", "postmaster@a", "store:postmaster@b"},
        {"", "postmaster", "451 4.3.0"},
        {"", "joe@a", "550 5.7.1"},
        {"root@ postmaster\n@ store", "root@a", "store:postmaster@a"},
        {"case-sensitive yes\npostmaster@a store\nx@a relay", "POSTMASTER@a",
         "*store:POSTMASTER@a"},
        /* nobody relays by it */
        {"@ relay", "postmaster@a", "relay:postmaster@a guard 550 5.7.1"},
        {"@ relay", "postmaster", "relay:postmaster"},
    };

    (void)state;
    check_rows(rows, ARRAY_LENGTH(rows), (struct route_client){.rejects_routed = true});
}

#define DENIED " guard 550 5.7.1"
#define ROUTED " guard 553 5.1.3"

static void test_guards(void **state)
{
    static const struct row strangers[] = {
        {"@ relay", "joe@a", "relay:joe@a" DENIED},
        {"joe@ relay", "joe@a", "relay:joe@a" DENIED},
        {"@ store", "joe@a", "store:joe@a"},
        {"@ store, relay", "joe@a", "store:joe@a relay:joe@a" DENIED},
        {"@a relay\n@ store", "joe@a", "relay:joe@a"},
        {"@.a relay", "joe@b.a", "relay:joe@b.a"},
        {"joe@a relay", "joe@a", "relay:joe@a"},
        {"@a @b\n@ relay", "joe@a", "relay:joe@b"},
        {"@b relay\n@ @b", "joe@a", "relay:joe@b" DENIED},
        {"joe@ x@b\n@b relay", "joe@a", "relay:x@b" DENIED},
        /* routed recipients come first */
        {"@ relay", "joe%b@a", "relay:joe%b@a" ROUTED},
        {"@a relay", "joe%b@a", "relay:joe%b@a" ROUTED},
        {"@a relay", "b!joe@a", "relay:b!joe@a" ROUTED},
        {"@a relay", "\"joe@b\"@a", "relay:\\\"joe@b\\\"@a" ROUTED},
        {"@a store", "joe%b@a", "store:joe%b@a"},
        {"@a store, relay", "joe%b@a", "store:joe%b@a relay:joe%b@a" ROUTED},
        {"\"joe%b@a\" relay", "JOE%b@a", "relay:JOE%b@a"},
        {"joe%b@ relay", "joe%b@a", "relay:joe%b@a" ROUTED},
        {"joe%b@a @c\n@c relay", "joe%b@a", "relay:joe%b@c"},
        {"@c @a\njoe%b@a relay", "joe%b@c", "relay:joe%b@a"},
        {"@a x@b\n@b relay", "joe%b@a", "relay:x@b"},
        {"@a x%y@b\n@b relay", "joe@a", "relay:x%y@b"},
        {"recipient-delimiter +\njoe@a relay", "joe+x%y@a", "relay:joe+x%y@a" ROUTED},
        {"recipient-delimiter +\njoe@a x@\nx@a relay", "joe+x%y@a", "relay:x@a"},
    };
    static const struct row friends[] = {
        {"@ relay", "joe@a", "relay:joe@a"},
        {"@ relay", "joe%b@a", "relay:joe%b@a"},
    };

    (void)state;
    check_rows(strangers, ARRAY_LENGTH(strangers), (struct route_client){.rejects_routed = true});
    check_rows(friends, ARRAY_LENGTH(friends), (struct route_client){.may_relay = true});
}

#define NAMES                                                                                      \
    "the name of a [relay] or [maildir], a host, an address, or a local name that some line "      \
    "matches"
#define SPOOL "one relay at most in a list where one has on-failure = tempfail\n"

static const struct {
    const char *tables, *problems;
    bool is_loaded;
} problems[] = {
    /* loops */
    {"@a @b\n@b @a", "t:1:1: a loop: \"@a\" leads to \"@b\", which leads to \"@a\"\n", false},
    {"@z store\n@a @b\n@c @a\n@b @c",
     "t:2:1: a loop: \"@a\" leads to \"@b\", which leads to \"@c\", which leads to \"@a\"\n",
     false},
    {"@a @A", "t:1:1: a loop: \"@a\" leads to \"@a\"\n", false},
    {"joe@ joe@", "t:1:1: a loop: \"joe@\" leads to \"joe@\"\n", false},
    {"joe@ jim@\njim@ joe@", "t:1:1: a loop: \"joe@\" leads to \"jim@\", which leads to \"joe@\"\n",
     false},
    {"joe@a @b\n@b @a", "t:1:1: a loop: \"joe@a\" leads to \"@b\", which leads to \"joe@a\"\n",
     false},
    {"joe jim\njim joe", "t:1:1: a loop: \"joe\" leads to \"jim\", which leads to \"joe\"\n",
     false},
    {"joe@a joe\njoe joe@a",
     "t:1:1: a loop: \"joe@a\" leads to \"joe\", which leads to \"joe@a\"\n", false},
    {"@.a x@\n@ store", "t:1:1: a loop: \"@.a\" leads to \"@.a\"\n", false},
    {"@ x@", "t:1:1: a loop: \"@\" leads to \"@\"\n", false},
    {"@ @b", "t:1:1: a loop: \"@\" leads to \"@\"\n", false},
    {"l@a store, m@a\nm@a l@a", "t:1:1: a loop: \"l@a\" leads to \"m@a\", which leads to \"l@a\"\n",
     false},
    {"@a @b\n--\n@b @a", "t:1:1: a loop: \"@a\" leads to \"@b\", which leads to \"@a\"\n", false},
    /* none */
    {"joe@a @b\njim@b @a\n@ store", "", true},
    {"joe@a store\njoe@a joe@b\njoe@b joe@a", "", true},
    /* lists */
    {"@ relay1, relay2", "t:1:11: found \"relay2\", expected " SPOOL, false},
    {"@ relay1, store, mx.example", "t:1:18: found \"mx.example\", expected " SPOOL, false},
    {"l@a x@b, y@b\n@b relay", "t:1:10: found \"y@b\", expected " SPOOL, false},
    {"l@a store, m@a\nm@a relay1, x@b\n@b relay2", "t:2:13: found \"x@b\", expected " SPOOL, false},
    {"@a relay, @b\njoe@b relay2\n@b store", "t:1:11: found \"@b\", expected " SPOOL, false},
    {"joe@ relay, x@\n@a store\nx@b relay2\n@ store", "t:1:13: found \"x@\", expected " SPOOL,
     false},
    {"@a relay, @b\n@b store\njoe@c relay2", "", true},
    {"@ relay, relay", "", true},
    {"l@a relay, m@a\nm@a l@b\n@b store", "", true},
    /* names */
    {"@ joe", "t:1:3: found \"joe\", expected " NAMES "\n", false},
    {"@ rellay", "t:1:3: found \"rellay\", expected " NAMES "; did you mean \"relay\"?\n", false},
    {"@ jonathan\njonatan store",
     "t:1:3: found \"jonathan\", expected " NAMES "; did you mean \"jonatan\"?\n", false},
    {"@ store, joe", "t:1:10: found \"joe\", expected " NAMES "\n", false},
    {"@ store\njoe@a jim", "t:2:7: found \"jim\", expected " NAMES "\n", false},
    {"root@ postmaster", "t:1:7: found \"postmaster\", expected " NAMES "\n", false},
    /* warnings */
    {"joe@a joe@b", "t:1:7: warning: no line matches \"joe@b\": such mail is refused\n", true},
    {"joe@a @b", "", true},
    /* bad lines come alone */
    {"@ @\njoe@a jim",
     "t:1:3: found \"@\", expected the name of a [relay] or [maildir], a "
     "host, an address, or a local name\n",
     false},
};

static void test_problems(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(problems); i++) {
        struct route_world w;
        char text[2000];
        bool is_loaded = load(&w, problems[i].tables) != NULL;
        lib_same_number(i, "is loaded", problems[i].is_loaded, is_loaded);
        route_world_problems(&w, text, sizeof(text));
        lib_same_text(i, "problems", problems[i].problems, text);
        route_world_done(&w);
    }
    lib_end_rows();
}

/* A chain of `count` rewritings: l0@a -> l1@a -> ... -> store. */
static const char *chain(unsigned count)
{
    static struct lib_text text;
    text.len = 0;
    for (unsigned i = 0; i < count; i++)
        lib_put(&text, "l%u@a l%u@a\n", i, i + 1);
    lib_put(&text, "l%u@a store\n", count);
    return text.at;
}

static void test_limits(void **state)
{
    const struct row longest[] = {{chain(32), "l0@a", "store:l32@a"}};
    struct route_world w;
    char text[200];

    (void)state;
    check_rows(longest, 1, (struct route_client){.may_relay = true});
    assert_null(load(&w, chain(33)));
    route_world_problems(&w, text, sizeof(text));
    assert_string_equal(text, "t:1:1: rewritten more than 32 times without an end\n");
    route_world_done(&w);
}

/* Two members at each of 25 steps: 2^25 ways, 50 addresses. */
static void test_many_ways(void **state)
{
    static struct lib_text text;

    (void)state;
    for (unsigned i = 0; i < 25; i++)
        lib_put(&text, "l%u@a l%u@a, m%u@a\nm%u@a l%u@a, m%u@a\n", i, i + 1, i + 1, i, i + 1,
                i + 1);
    lib_put(&text, "@a store\n");
    const struct row rows[] = {{text.at, "l0@a", "store:l25@a store:m25@a"}};
    check_rows(rows, 1, (struct route_client){.may_relay = true});
}

/* What only some addresses come to is found when they come. */
static void test_hidden_troubles(void **state)
{
    static const struct row rows[] = {
        {"recipient-delimiter +\n@a relay, @b\nj@b store\n--\nj+x@b relay2\n@b store", "j@a",
         "relay:j@a store:j@b"},
    };

    (void)state;
    check_rows(rows, ARRAY_LENGTH(rows), (struct route_client){.may_relay = true});
}

static void test_targets(void **state)
{
    struct route_world w;
    const struct route_set *set =
        load(&w, "@a relay1\njoe@ relay2\nx@b store, relay1, relay1\n@c mx.example\n--\n"
                 "@d relay3\njim@ @d\n@ reject \"550 x\"");
    static const char *const names[] = {"relay1", "relay2", "store", "mx.example", "relay3"};
    struct target *const *targets;

    (void)state;
    assert_non_null(set);
    assert_int_equal(route_set_targets(set, &targets), ARRAY_LENGTH(names));
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        lib_same_bytes(i, "name", bytes_of(names[i]), targets[i]->name);
    lib_end_rows();
    route_world_done(&w);
}

static void test_many_targets(void **state)
{
    static struct lib_text text;
    struct route_world w;
    struct target *const *targets;

    (void)state;
    text.len = 0;
    for (unsigned i = 0; i < 500; i++)
        lib_put(&text, "x%u@ h%u.example\n", i, i);
    const struct route_set *set = load(&w, text.at);
    assert_non_null(set);
    assert_int_equal(route_set_targets(set, &targets), 500);
    route_world_done(&w);
}

static const struct row explanations[] = {
    {"@b relay\n--\n@a.example joe@b\nrecipient-delimiter +\njim@c store, relay\n@ relay",
     "x@a.example",
     "x@a.example\n"
     "    [route]: none of 1 line matches\n"
     "    [route]: t:3:1: @a.example joe@b\n"
     "joe@b\n"
     "    [route]: t:1:1: @b relay\n"
     "=> relay \"relay\" gets joe@b\n"
     "while relay \"relay\" is away: 451 4.4.1 No connection to the next host, try again later\n"},
    {"recipient-delimiter +\njim@c store, relay", "jim+%@c",
     "jim+%@c\n"
     "    [route]: t:2:1: jim@c store, relay\n"
     "        matches by the local part in front of the recipient delimiter: \"jim\"\n"
     "=> maildir \"store\" gets jim+%@c\n"
     "=> relay \"relay\" gets jim+%@c\n"
     "routed-recipients: unless the relay itself judges the client by XCLIENT or PROXY: "
     "553 5.1.3 Routed addresses are not accepted\n"
     "while relay \"relay\" is away: 451 4.4.1 No connection to the next host, try again later\n"},
    {"@ relay", "x@y",
     "x@y\n"
     "    [route]: t:1:1: @ relay\n"
     "=> relay \"relay\" gets x@y\n"
     "relay-from: for clients outside it, unless the relay itself judges them: "
     "550 5.7.1 relaying denied\n"
     "while relay \"relay\" is away: 451 4.4.1 No connection to the next host, try again later\n"},
    {"a@b store\nc@d discard", "x@y",
     "x@y\n"
     "    [route]: none of 2 lines matches\n"
     "no line matches\n"
     "=> 550 5.7.1 relaying denied\n"},
    {"a@b store", "postmaster@b",
     "postmaster@b\n"
     "    [route]: none of 1 line matches\n"
     "    postmaster is never refused for want of a route: maildir \"store\"\n"
     "=> maildir \"store\" gets postmaster@b\n"},
    {"a@ joe\njoe reject \"550 5.1.1 not him\"", "a@b",
     "a@b\n"
     "    [route]: t:1:1: a@ joe\n"
     "joe (a local name)\n"
     "    [route]: t:2:1: joe reject \"550 5.1.1 not him\"\n"
     "=> 550 5.1.1 not him\n"},
    {"@ discard", "a@b", "a@b\n    [route]: t:1:1: @ discard\n=> discarded\n"},
};

static void test_explanations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(explanations); i++) {
        static const struct route_client client = {.rejects_routed = true};
        struct route_world w;
        struct route_set *set = load(&w, explanations[i].tables);
        struct address address;
        struct buf text;
        assert_non_null(set);
        assert_int_equal(
            address_parse_mailbox(bytes_of(explanations[i].address), &w.arena, &address), 0);
        buf_init(&text, &w.pool, 10000);
        route_explain(set, &address, &client, &w.arena, &text);
        buf_byte(&text, 0);
        lib_same_text(i, "explanation", explanations[i].expected,
                      (const char *)buf_bytes(&text).at);
        buf_done(&text);
        route_world_done(&w);
    }
    lib_end_rows();
}

static const char failing_tables[] = "l@a joe@b, store, @c\n@b relay\n@c store\n@d jim\njim store";

static bool load_failing(void *given)
{
    struct route_set *set = NULL;
    struct route_world w;
    int error = ERR_MEMORY;

    (void)given;
    if (route_world_init(&w, bytes_of(failing_tables))) {
        struct route_directory directory = route_world_directory(&w);
        error = route_set_new(w.tables, w.table_count, &directory, route_world_key(), &w.arena,
                              &w.problems, &set);
    }
    assert_int_equal(set != NULL, error == 0);
    route_world_done(&w);
    return error == 0;
}

/* Domains that some line leads somewhere. */
static void test_known_domains(void **state)
{
    static const struct {
        const char *domain;
        bool is_known;
    } rows[] = {
        {"a.test", true},     {"A.Test", true},     {"www.a.test", false}, {"b.test", true},
        {"x.c.test", true},   {"c.test", false},    {"no.test", false},    {"half.test", true},
        {"gone.test", false}, {"late.test", false}, {"other.test", false}, {"test", false},
    };
    struct route_world w;
    struct route_set *set = load(&w, "@a.test relay\njoe@b.test relay\n@.c.test relay\n"
                                     "@no.test reject \"550 no\"\njoe@half.test relay\n"
                                     "@half.test reject \"550 no\"\n@gone.test discard\n"
                                     "@late.test reject \"550 no\"\n--\n@late.test relay\n");

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_same_number(i, rows[i].domain, rows[i].is_known,
                        route_set_knows_domain(set, bytes_of(rows[i].domain)));
    route_world_done(&w);
    set = load(&w, "@a.test reject \"550 no\"\n@ relay\n");
    lib_is_true(100, "all", route_set_knows_domain(set, bytes_of("b.test")));
    lib_is_true(101, "all but one", !route_set_knows_domain(set, bytes_of("a.test")));
    route_world_done(&w);
    lib_end_rows();
}

struct failing {
    const struct route_set *set;
};

static bool resolve_failing(void *given)
{
    const struct failing *f = given;
    const struct address address = {.local = bytes_of("l"), .domain = bytes_of("a")};
    const struct route_client client = {.may_relay = true};
    struct routed routed;
    struct pool pool;
    struct arena mail;

    pool_init(&pool, 64, 0); /* blocks so small that each allocation is one */
    arena_init(&mail, &pool, SIZE_MAX);
    route_resolve(f->set, &address, &client, &mail, &routed);
    bool is_whole = routed.reply.code == 0;
    assert_int_equal(is_whole ? routed.leg_count : routed.reply.code, is_whole ? 3 : 451);
    arena_reset(&mail);
    pool_done(&pool);
    return is_whole;
}

static void test_failing_allocations(void **state)
{
    struct route_world w;
    struct failing f = {.set = load(&w, failing_tables)};

    (void)state;
    assert_true(lib_fail_each_allocation(resolve_failing, &f) > 5);
    route_world_done(&w);
    assert_true(lib_fail_each_allocation(load_failing, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),          cmocka_unit_test(test_postmaster),
        cmocka_unit_test(test_guards),          cmocka_unit_test(test_problems),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_many_ways),
        cmocka_unit_test(test_hidden_troubles), cmocka_unit_test(test_targets),
        cmocka_unit_test(test_known_domains),   cmocka_unit_test(test_many_targets),
        cmocka_unit_test(test_explanations),    cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
