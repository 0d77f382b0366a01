/* SPDX-License-Identifier: BSD-2-Clause */
/* Verbs, the argument of MAIL and RCPT, and what HELO may say. */
#include "proxy/smtp/command.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

struct verb_row {
    struct bytes line;
    enum verb verb;
    const char *argument;
};

static const struct verb_row verb_rows[] = {
    {LITERAL("HELO a"), VERB_HELO, "a"},
    {LITERAL("EHLO a"), VERB_EHLO, "a"},
    {LITERAL("MAIL FROM:<>"), VERB_MAIL, "FROM:<>"},
    {LITERAL("RCPT TO:<a@b> X=y"), VERB_RCPT, "TO:<a@b> X=y"},
    {LITERAL("DATA"), VERB_DATA, ""},
    {LITERAL("bdat 5 LAST"), VERB_BDAT, "5 LAST"},
    {LITERAL("RSET"), VERB_RSET, ""},
    {LITERAL("NOOP"), VERB_NOOP, ""},
    {LITERAL("QUIT"), VERB_QUIT, ""},
    {LITERAL("VRFY joe"), VERB_VRFY, "joe"},
    {LITERAL("HELP"), VERB_HELP, ""},
    {LITERAL("EXPN list"), VERB_EXPN, "list"},
    {LITERAL("TURN"), VERB_TURN, ""},
    {LITERAL("SEND FROM:<>"), VERB_SEND, "FROM:<>"},
    {LITERAL("SOML FROM:<>"), VERB_SOML, "FROM:<>"},
    {LITERAL("SAML FROM:<>"), VERB_SAML, "FROM:<>"},
    {LITERAL("etrn #a"), VERB_ETRN, "#a"},
    {LITERAL("Atrn a.test"), VERB_ATRN, "a.test"},
    {LITERAL("quit"), VERB_QUIT, ""},
    {LITERAL("qUiT"), VERB_QUIT, ""},
    {LITERAL("DATA   "), VERB_DATA, ""},
    {LITERAL("NOOP \t a b \t"), VERB_NOOP, "a b"},
    {LITERAL("HELO\ta"), VERB_HELO, "a"},
    {LITERAL(""), VERB_UNKNOWN, ""},
    {LITERAL(" "), VERB_UNKNOWN, ""},
    {LITERAL(" QUIT"), VERB_UNKNOWN, "QUIT"},
    {LITERAL("QUI"), VERB_UNKNOWN, ""},
    {LITERAL("QUITT"), VERB_UNKNOWN, ""},
    {LITERAL("QUIT\0"), VERB_UNKNOWN, ""},
    {LITERAL("MAILFROM:<>"), VERB_UNKNOWN, ""},
    {LITERAL("XCLIENT ADDR=192.0.2.1"), VERB_XCLIENT, "ADDR=192.0.2.1"},
    {LITERAL("xcLient\tADDR=192.0.2.1"), VERB_XCLIENT, "ADDR=192.0.2.1"},
    {LITERAL("xforward"), VERB_XFORWARD, ""},
    {LITERAL("XCLIENTS ADDR=192.0.2.1"), VERB_UNKNOWN, "ADDR=192.0.2.1"},
    {LITERAL("\xd1UIT"), VERB_UNKNOWN, ""},
    {LITERAL("\x11UIT"), VERB_UNKNOWN, ""},
    {LITERAL("DAT!"), VERB_UNKNOWN, ""},
};

static void test_verbs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(verb_rows); i++) {
        struct lib_guard guard = lib_guard_copy(verb_rows[i].line);
        struct bytes argument;

        lib_same_number(i, "verb", verb_rows[i].verb, command_verb(guard.bytes, &argument));
        lib_same_bytes(i, "argument", bytes_of(verb_rows[i].argument), argument);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

struct path_row {
    struct bytes argument;
    const char *prefix;
    int error;
    const char *seen; /* the path as it is written, and the parameters */
};

static const struct path_row path_rows[] = {
    {LITERAL("FROM:<a@b.example>"), "FROM:", 0, "<a@b.example>"},
    {LITERAL("from:<a@b.example>"), "FROM:", 0, "<a@b.example>"},
    {LITERAL("FROM: <a@b.example>"), "FROM:", 0, "<a@b.example>"},
    {LITERAL("FROM:\t <a@b.example>"), "FROM:", 0, "<a@b.example>"},
    {LITERAL("FROM:<> SIZE=1"), "FROM:", 0, "<> SIZE=1"},
    {LITERAL("FROM:<>  SIZE=1  BODY=7BIT "), "FROM:", 0, "<> SIZE=1  BODY=7BIT"},
    {LITERAL("FROM:<>\tSIZE=1"), "FROM:", 0, "<> SIZE=1"},
    {LITERAL("TO:<postmaster>"), "TO:", 0, "<postmaster>"},
    {LITERAL("TO:<@x.example,@y.example:a@b.example> N=1"), "TO:", 0, "<a@b.example> N=1"},
    {LITERAL("TO:<\"a > b\"@c.example> N=1"), "TO:", 0, "<\"a > b\"@c.example> N=1"},
    {LITERAL("FROM:<>SIZE=1"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM:<a@b>>"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM:<a@b> <c@d>"), "FROM:", 0, "<a@b> <c@d>"},
    {LITERAL("TO:<a@b>"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM:"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM: "), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM :<>"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM:a@b.example"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM:<a@b"), "FROM:", ERR_SYNTAX, ""},
    {LITERAL("FROM:<j\xc3\xb6@b>"), "FROM:", ERR_RANGE, ""},
    {LITERAL(""), "FROM:", ERR_SYNTAX, ""},
};

static void test_paths(void **state)
{
    static struct lib_text seen;
    struct arena arena;
    struct pool pool;

    (void)state;
    pool_init(&pool, 4096, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(path_rows); i++) {
        const struct path_row *row = &path_rows[i];
        struct lib_guard guard = lib_guard_copy(row->argument);
        struct address address;
        struct bytes params;
        struct buf out;
        int error;

        arena_init(&arena, &pool, 65536);
        buf_init(&out, &pool, 4096);
        seen.len = 0;
        lib_put(&seen, "%s", "");
        error = command_path(guard.bytes, row->prefix, &arena, &address, &params);
        if (error == 0) {
            address_put(&out, &address);
            lib_put(&seen, "<%.*s>%s", (int)buf_length(&out), (const char *)buf_bytes(&out).at,
                    params.len > 0 ? " " : "");
            lib_put_bytes(&seen, params);
        }
        lib_same_number(i, "error", row->error, error);
        lib_same_text(i, "path", row->seen, seen.at);
        buf_done(&out);
        arena_reset(&arena);
        lib_guard_free(&guard);
    }
    pool_done(&pool);
    lib_end_rows();
}

struct helo_row {
    struct bytes argument;
    bool is_fine;
};

static const struct helo_row helo_rows[] = {
    {LITERAL("client.example.org"), true},
    {LITERAL("x"), true},
    {LITERAL("[192.0.2.1]"), true},
    {LITERAL("[IPv6:2001:db8::1]"), true},
    {LITERAL("under_score!"), true},
    {LITERAL(""), false},
    {LITERAL("a b"), true},
    {LITERAL("a\tb"), true},
    {LITERAL("\xc3\xa4"), true},
    {LITERAL("a\x7f"), false},
    {LITERAL("a\x1b"), false},
    {LITERAL("a\0b"), false},
    {LITERAL("a\rb"), false},
};

static void test_helo_arguments(void **state)
{
    uint8_t text[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(helo_rows); i++)
        lib_same_number(i, "is fine", helo_rows[i].is_fine,
                        command_is_helo_argument(helo_rows[i].argument));
    memset(text, 'a', sizeof(text));
    lib_is_true(100, "255 octets", command_is_helo_argument(bytes_make(text, 255)));
    lib_is_true(101, "not 256", !command_is_helo_argument(bytes_make(text, 256)));
    lib_end_rows();
}

struct etrn_row {
    struct bytes argument;
    int error;
    enum command_etrn_form form;
    const char *name;
};

static const struct etrn_row etrn_rows[] = {
    {LITERAL("example.org"), 0, COMMAND_ETRN_DOMAIN, "example.org"},
    {LITERAL("localhost"), 0, COMMAND_ETRN_DOMAIN, "localhost"},
    {LITERAL("@Example.org"), 0, COMMAND_ETRN_SUBDOMAINS, "Example.org"},
    {LITERAL("@com"), 0, COMMAND_ETRN_SUBDOMAINS, "com"},
    {LITERAL("#branch office"), ERR_NOT_FOUND, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("#branch-1!"), 0, COMMAND_ETRN_TARGET, "branch-1!"},
    {LITERAL("##"), 0, COMMAND_ETRN_TARGET, "#"},
    {LITERAL(""), ERR_NOT_FOUND, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("a.test b.test"), ERR_NOT_FOUND, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("@"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("#"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("@@a.test"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("a.test."), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("-a.test"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("[192.0.2.1]"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("192.0.2.1"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("joe@a.test"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("#\xc3\xa4"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
    {LITERAL("\xc3\xa4.test"), ERR_SYNTAX, COMMAND_ETRN_DOMAIN, ""},
};

static void test_etrn_arguments(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(etrn_rows); i++) {
        struct lib_guard guard = lib_guard_copy(etrn_rows[i].argument);
        enum command_etrn_form form = COMMAND_ETRN_DOMAIN;
        struct bytes name = bytes_make(NULL, 0);

        lib_same_number(i, "error", etrn_rows[i].error, command_etrn(guard.bytes, &form, &name));
        lib_same_number(i, "form", etrn_rows[i].form, form);
        lib_is_true(i, "name", bytes_is(name, etrn_rows[i].name));
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_helo_arguments),
        cmocka_unit_test(test_etrn_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
