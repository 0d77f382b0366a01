/* SPDX-License-Identifier: BSD-2-Clause */
/* What XCLIENT says of a client, attribute by attribute, right and wrong. */
#include "proxy/base/error.h"
#include "proxy/smtp/identity.h"
#include "tests/unit/lib.h"

/* ---- the identity as text ---- */

static const char *const name_states[] = {"pending", "confirmed", "unavailable", "temporary"};

static void show(const struct identity *who, struct lib_text *seen)
{
    char client[NETADDR_TEXT_MAX], local[NETADDR_TEXT_MAX];

    lib_put(seen, "%s > %s ", netaddr_text_with_port(&who->client, client),
            netaddr_text_with_port(&who->local, local));
    lib_put(seen, "%s", name_states[who->name_state]);
    lib_put(seen, " name=");
    lib_put_bytes(seen, who->name);
    lib_put(seen, " reverse=");
    lib_put_bytes(seen, who->reverse_name);
    lib_put(seen, " helo=");
    lib_put_bytes(seen, who->helo);
    lib_put(seen, " login=");
    lib_put_bytes(seen, who->login);
    lib_put(seen, " reference=");
    lib_put_bytes(seen, who->reference);
    lib_put(seen, " %s %u",
            who->is_lmtp    ? "LMTP"
            : who->is_esmtp ? "ESMTP"
                            : "SMTP",
            who->hops_left);
    if (who->transport.len + who->destination.len + who->forwarded.len + who->patience_s == 0)
        return;
    lib_put(seen, " %us transport=", (unsigned)who->patience_s);
    lib_put_bytes(seen, who->transport);
    lib_put(seen, " destination=");
    lib_put_bytes(seen, who->destination);
    lib_put(seen, " forwarded=");
    lib_put_bytes(seen, who->forwarded);
}

static struct identity front(void)
{
    struct identity who = {
        .name_state = IDENTITY_NAME_CONFIRMED,
        .name = bytes_of("front.example"),
        .reverse_name = bytes_of("front.example"),
        .helo = bytes_of("helo.example"),
        .login = bytes_of("joe"),
        .reference = bytes_of("ref"),
        .transport = bytes_of("insecure"),
        .destination = bytes_of("old.example"),
        .forwarded = bytes_of("b2xk"),
        .patience_s = 9,
        .is_esmtp = true,
    };
    assert_int_equal(netaddr_parse_with_port(bytes_of("192.0.2.9:1234"), 0, &who.client), 0);
    assert_int_equal(netaddr_parse_with_port(bytes_of("192.0.2.1:25"), 0, &who.local), 0);
    return who;
}

/* ---- rows ---- */

/* What is said of who is in front, before it has said anything, and behind the rest of a row. */
#define PEER  "192.0.2.9:1234 > 192.0.2.1:25 "
#define NAMED "confirmed name=front.example reverse=front.example"
#define LOST  " helo= login= reference= SMTP 0" /* what is forgotten where it is not said again */

#define FIFTY     "0123456789abcdefghijABCDEFGHIJ0123456789abcdefghij"
#define LONG_WORD FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY /* over 255 octets */

struct row {
    const char *argument;
    int error;
    const char *seen; /* NULL: as front() */
};

static const struct row rows[] = {
    /* whose values are these? */
    {"ADDR=198.51.100.7", 0, "198.51.100.7:0 > 192.0.2.1:25 pending name= reverse=" LOST},
    {"ADDR=198.51.100.7 PORT=77", 0, "198.51.100.7:77 > 192.0.2.1:25 pending name= reverse=" LOST},
    {"PORT=77 ADDR=198.51.100.7", 0, "198.51.100.7:77 > 192.0.2.1:25 pending name= reverse=" LOST},
    {"PORT=77", 0, "192.0.2.9:77 > 192.0.2.1:25 " NAMED LOST},
    {"ADDR=198.51.100.7 NAME=a.example", 0,
     "198.51.100.7:0 > 192.0.2.1:25 confirmed name=a.example reverse=a.example" LOST},
    {"NAME=a.example REVERSE_NAME=b.example", 0,
     PEER "confirmed name=a.example reverse=b.example" LOST},
    {"REVERSE_NAME=b.example NAME=a.example", 0,
     PEER "confirmed name=a.example reverse=a.example" LOST},
    {"NAME=[UNAVAILABLE]", 0, PEER "unavailable name= reverse=" LOST},
    {"NAME=[TempUnavail]", 0, PEER "temporary name= reverse=" LOST},
    {"REVERSE_NAME=[unavailable]", 0, PEER "confirmed name=front.example reverse=" LOST},
    {"REVERSE_NAME=[TEMPUNAVAIL]", 0, PEER "confirmed name=front.example reverse=" LOST},
    {"HELO=x.example", 0, PEER NAMED " helo=x.example login= reference= SMTP 0"},
    {"HELO=[UNAVAILABLE]", 0, PEER NAMED LOST},
    {"PROTO=esmtp", 0, PEER NAMED " helo= login= reference= ESMTP 0"},
    {"PROTO=SMTP", 0, PEER NAMED LOST},
    {"LOGIN=ann", 0, PEER NAMED " helo= login=ann reference= SMTP 0"},
    {"LOGIN=[UNAVAILABLE]", 0, PEER NAMED LOST},
    {"SESSION=abc/1", 0, PEER NAMED " helo= login= reference=abc/1 SMTP 0"},
    {"SESSION=[UNAVAILABLE]", 0, PEER NAMED LOST},
    {"TTL=7", 0, PEER NAMED " helo= login= reference= SMTP 7"},
    {"TTL=1000", 0, PEER NAMED " helo= login= reference= SMTP 255"},
    {"TTL=0", ERR_RANGE, NULL},
    {"TTL=00", ERR_RANGE, NULL},
    {"TTL=", ERR_SYNTAX, NULL},
    {"TTL=-1", ERR_SYNTAX, NULL},
    {"TTL=[UNAVAILABLE]", ERR_SYNTAX, NULL},
    {"TTL=99999999999", ERR_SYNTAX, NULL},
    {"TIMEOUT=30", 0, PEER NAMED LOST " 30s transport= destination= forwarded="},
    {"TIMEOUT=99999999999", 0, PEER NAMED LOST " 4294967295s transport= destination= forwarded="},
    {"TIMEOUT=x", ERR_SYNTAX, NULL},
    {"CLIENT-TRANSPORT=TLS DESTNAME=mx.example", 0,
     PEER NAMED LOST " 0s transport=TLS destination=mx.example forwarded="},
    {"CLIENT-TRANSPORT=[UNAVAILABLE] DESTNAME=[UNAVAILABLE] FORWARD=[UNAVAILABLE]", 0,
     PEER NAMED LOST},
    {"CLIENT-TRANSPORT=T+0AS", 0, PEER NAMED LOST " 0s transport=T?S destination= forwarded="},
    {"DESTNAME=a..b", ERR_SYNTAX, NULL},
    {"FORWARD=YT1iYw+3D+3D", 0, PEER NAMED LOST " 0s transport= destination= forwarded=YT1iYw=="},
    {"FORWARD=" LONG_WORD, 0, PEER NAMED LOST " 0s transport= destination= forwarded=" LONG_WORD},
    {"FORWARD=a+09b", 0, PEER NAMED LOST " 0s transport= destination= forwarded=a?b"},
    /* addresses */
    {"ADDR=IPV6:2001:DB8::7", 0, "[2001:db8::7]:0 > 192.0.2.1:25 pending name= reverse=" LOST},
    {"ADDR=ipv6:2001:db8::7", 0, "[2001:db8::7]:0 > 192.0.2.1:25 pending name= reverse=" LOST},
    {"ADDR=IPV6:::ffff:198.51.100.7", 0,
     "198.51.100.7:0 > 192.0.2.1:25 pending name= reverse=" LOST},
    {"ADDR=[unavailable]", 0, "unknown > 192.0.2.1:25 pending name= reverse=" LOST},
    {"ADDR=2001:db8::7", ERR_SYNTAX, NULL},
    {"ADDR=::ffff:198.51.100.7", ERR_SYNTAX, NULL},
    {"ADDR=IPV6:198.51.100.7", ERR_SYNTAX, NULL},
    {"ADDR=IPV6:", ERR_SYNTAX, NULL},
    {"ADDR=IPV6:[2001:db8::7]", ERR_SYNTAX, NULL},
    {"ADDR=IPV6:[UNAVAILABLE]", ERR_SYNTAX, NULL},
    {"ADDR=[198.51.100.7]", ERR_SYNTAX, NULL},
    {"ADDR=198.51.100", ERR_SYNTAX, NULL},
    {"ADDR=198.51.100.7:25", ERR_SYNTAX, NULL},
    {"ADDR=[TEMPUNAVAIL]", ERR_SYNTAX, NULL},
    {"ADDR=", ERR_SYNTAX, NULL},
    {"DESTADDR=198.51.100.1", 0, "192.0.2.9:1234 > 198.51.100.1:0 " NAMED LOST},
    {"DESTADDR=198.51.100.1 DESTPORT=587", 0, "192.0.2.9:1234 > 198.51.100.1:587 " NAMED LOST},
    {"DESTADDR=IPV6:2001:db8::1 DESTPORT=[UNAVAILABLE]", 0,
     "192.0.2.9:1234 > [2001:db8::1]:0 " NAMED LOST},
    {"DESTADDR=[UNAVAILABLE]", 0, "192.0.2.9:1234 > unknown " NAMED LOST},
    {"DESTADDR=2001:db8::1", ERR_SYNTAX, NULL},
    /* ports */
    {"PORT=65535", 0, "192.0.2.9:65535 > 192.0.2.1:25 " NAMED LOST},
    {"PORT=[UNAVAILABLE]", 0, "192.0.2.9:0 > 192.0.2.1:25 " NAMED LOST},
    {"PORT=65536", ERR_SYNTAX, NULL},
    {"PORT=000025", ERR_SYNTAX, NULL},
    {"PORT=25x", ERR_SYNTAX, NULL},
    {"PORT=unknown", ERR_SYNTAX, NULL},
    {"DESTPORT=65536", ERR_SYNTAX, NULL},
    /* names: what a PTR record may hold */
    {"NAME=a_b.example", 0, PEER "confirmed name=a_b.example reverse=a_b.example" LOST},
    {"NAME=IPV6:2001:db8::1", ERR_SYNTAX, NULL},
    {"NAME=a..example", ERR_SYNTAX, NULL},
    {"NAME=a.example+0D+0AMAIL", ERR_SYNTAX, NULL},
    {"NAME=192.0.2.1", ERR_SYNTAX, NULL},
    {"REVERSE_NAME=a+20b", ERR_SYNTAX, NULL},
    /* xtext, and what is none */
    {"LOGIN=a+2Bb+3dc", 0, PEER NAMED " helo= login=a+b=c reference= SMTP 0"},
    {"LOGIN=a+2", 0, PEER NAMED " helo= login=a+2 reference= SMTP 0"},
    {"LOGIN=a+b=c", 0, PEER NAMED " helo= login=a+b=c reference= SMTP 0"},
    {"+5BNAME=x", ERR_SYNTAX, NULL},
    {"LOGIN=+5BUNAVAILABLE]", 0, PEER NAMED LOST},
    {"ADDR=198.51.100+2E7", 0, "198.51.100.7:0 > 192.0.2.1:25 pending name= reverse=" LOST},
    /* control characters, other alphabets, what means something in headers */
    {"LOGIN=a+00b+0Ac+7Fd+C3+A4e+20f", 0, PEER NAMED " helo= login=a?b?c?d??e f reference= SMTP 0"},
    {"LOGIN=\xc3\xa4", 0, PEER NAMED " helo= login=?? reference= SMTP 0"},
    {"SESSION=a+0D+0Ab", 0, PEER NAMED " helo= login= reference=a??b SMTP 0"},
    {"HELO=a+20<b>(c)+5C\";@", 0,
     PEER NAMED " helo=a??b??c?????"
                " login= reference= SMTP 0"},
    {"HELO=[192.0.2.1]", 0, PEER NAMED " helo=[192.0.2.1] login= reference= SMTP 0"},
    {"HELO=+00+0D+0A", 0, PEER NAMED " helo=??? login= reference= SMTP 0"},
    /* the form of a command */
    {"", ERR_SYNTAX, NULL},
    {"ADDR", ERR_SYNTAX, NULL},
    {"ADDR 198.51.100.7", ERR_SYNTAX, NULL},
    {"=198.51.100.7", ERR_SYNTAX, NULL},
    {"LOGIN=", ERR_SYNTAX, NULL},
    {"FOO=bar", ERR_SYNTAX, NULL},
    {"IDENT=bar", ERR_SYNTAX, NULL},
    {"SOURCE=LOCAL", ERR_SYNTAX, NULL},
    {"PROTO=lmtp", 0, PEER NAMED " helo= login= reference= LMTP 0"},
    {"PROTO=LMTPS", ERR_SYNTAX, NULL},
    {"PROTO=[UNAVAILABLE]", ERR_SYNTAX, NULL},
    {"addr=198.51.100.7\tpOrT=7", 0, "198.51.100.7:7 > 192.0.2.1:25 pending name= reverse=" LOST},
    {"ADDR=198.51.100.6 ADDR=198.51.100.7", 0,
     "198.51.100.7:0 > 192.0.2.1:25 pending name= reverse=" LOST},
    /* all, or nothing */
    {"ADDR=198.51.100.7 PORT=x", ERR_SYNTAX, NULL},
    {"ADDR=198.51.100.7 TTL=0", ERR_RANGE, NULL},
    {"ADDR=198.51.100.7 LOGIN=ann FOO=bar", ERR_SYNTAX, NULL},
};

static void test_xclient(void **state)
{
    struct pool pool;
    struct arena arena;
    static struct lib_text expected, seen;

    (void)state;
    pool_init(&pool, 1024, 1);
    arena_init(&arena, &pool, 1 << 20);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].argument));
        struct identity who = front(), before = front();
        uint32_t given;

        lib_same_number(i, "error", rows[i].error,
                        identity_read_xclient(guard.bytes, &arena, &who, &given));
        expected.len = seen.len = 0;
        show(&who, &seen);
        if (rows[i].seen == NULL)
            show(&before, &expected);
        else
            lib_put(&expected, "%s", rows[i].seen);
        lib_same_text(i, rows[i].argument, expected.at, seen.at);
        lib_guard_free(&guard);
        arena_reset(&arena);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* ---- XFORWARD ---- */

static const struct row forwarded_rows[] = {
    {"ADDR=198.51.100.7", 0, "198.51.100.7:0 |unavailable|||[UNAVAILABLE]|REMOTE"},
    {"ADDR=198.51.100.7 PORT=9 NAME=a.example HELO=b.example PROTO=ESMTPSA IDENT=4X SOURCE=LOCAL",
     0, "198.51.100.7:9 a.example|confirmed|b.example|4X|ESMTPSA|LOCAL"},
    {"ADDR=IPV6:2001:db8::7", 0, "2001:db8::7:0 |unavailable|||[UNAVAILABLE]|REMOTE"},
    {"ADDR=[UNAVAILABLE] NAME=[UNAVAILABLE]", 0, "unknown:0 |unavailable|||[UNAVAILABLE]|REMOTE"},
    {"SOURCE=[UNAVAILABLE]", 0, "unknown:0 |unavailable|||[UNAVAILABLE]|LOCAL"},
    {"SOURCE=remote", 0, "unknown:0 |unavailable|||[UNAVAILABLE]|REMOTE"},
    {"IDENT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE]", 0,
     "unknown:0 |unavailable|||[UNAVAILABLE]|REMOTE"},
    {"HELO=a+20b", 0, "unknown:0 |unavailable|a?b||[UNAVAILABLE]|REMOTE"},
    {"SOURCE=NOWHERE", ERR_SYNTAX, NULL},
    {"PROTO=A+20B", ERR_SYNTAX, NULL},
    {"PROTO=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ERR_SYNTAX, NULL},
    {"LOGIN=joe", ERR_SYNTAX, NULL},
    {"DESTADDR=198.51.100.7", ERR_SYNTAX, NULL},
    {"TTL=3", ERR_SYNTAX, NULL},
    {"ADDR=2001:db8::7", ERR_SYNTAX, NULL},
    {"NAME=a..example", ERR_SYNTAX, NULL},
    {"PORT=unknown", ERR_SYNTAX, NULL},
    {"", ERR_SYNTAX, NULL},
};

static void show_forwarded(const struct identity *who, struct lib_text *seen)
{
    char client[NETADDR_TEXT_MAX];

    lib_put(seen, "%s:%u ", netaddr_text(&who->client, client), who->client.port);
    lib_put_bytes(seen, who->name);
    lib_put(seen, "|%s|", name_states[who->name_state]);
    lib_put_bytes(seen, who->helo);
    lib_put(seen, "|");
    lib_put_bytes(seen, who->reference);
    lib_put(seen, "|");
    lib_put_bytes(seen, identity_protocol(who));
    lib_put(seen, "|%s", who->is_local ? "LOCAL" : "REMOTE");
}

static void test_xforward(void **state)
{
    struct pool pool;
    struct arena arena;
    static struct lib_text seen;

    (void)state;
    pool_init(&pool, 1024, 1);
    arena_init(&arena, &pool, 1 << 20);
    for (size_t i = 0; i < ARRAY_LENGTH(forwarded_rows); i++) {
        const struct row *row = &forwarded_rows[i];
        struct identity who = identity_unknown();

        lib_same_number(i, "error", row->error,
                        identity_read_xforward(bytes_of(row->argument), &arena, &who));
        seen.len = 0;
        show_forwarded(&who, &seen);
        lib_same_text(i, row->argument,
                      row->seen != NULL ? row->seen
                                        : "unknown:0 |unavailable|||[UNAVAILABLE]|REMOTE",
                      seen.at);
    }
    arena_reset(&arena);
    pool_done(&pool);
    lib_end_rows();
}

/* A value has up to 255 octets as it is sent. */
static void test_long_values(void **state)
{
    char argument[300];
    struct pool pool;
    struct arena arena;

    (void)state;
    pool_init(&pool, 1024, 1);
    arena_init(&arena, &pool, 1 << 20);
    for (size_t len = 254; len <= 257; len++) {
        struct identity who = front();
        uint32_t given;

        memset(argument, 'a', sizeof(argument));
        memcpy(argument, "HELO=", 5);
        lib_same_number(len, "error", len > 255 ? ERR_SYNTAX : 0,
                        identity_read_xclient(bytes_make(argument, 5 + len), &arena, &who, &given));
    }
    arena_reset(&arena);
    pool_done(&pool);
    lib_end_rows();
}

static bool read_and_copy(void *unused)
{
    struct identity who = front();
    struct identity *copy = NULL;
    struct pool pool;
    struct arena arena;
    uint32_t given;

    (void)unused;
    pool_init(&pool, 128, 0);
    arena_init(&arena, &pool, 4096);
    int error = identity_read_xclient(
        bytes_of("ADDR=198.51.100.7 NAME=a.example HELO=b+2Ec LOGIN=d"), &arena, &who, &given);
    if (error == 0)
        copy = identity_copy(&who);
    assert_true(error == 0 || error == ERR_MEMORY);
    arena_reset(&arena);
    pool_done(&pool);
    if (copy == NULL)
        return false;
    assert_true(bytes_is(copy->name, "a.example") && bytes_is(copy->helo, "b.c") &&
                bytes_is(copy->login, "d") && copy->reference.len == 0);
    mem_free(copy);
    return true;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(read_and_copy, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xclient),
        cmocka_unit_test(test_xforward),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
