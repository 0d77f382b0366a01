/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of Dovecot's auth service: what is understood, what is refused, and what we say. */
#include "proxy/smtp/dovecot_auth.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"
#include "proxy/smtp/sasl.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

struct row {
    struct bytes line;
    int error;
    enum dovecot_auth_kind kind;
    uint32_t number; /* id, version or mechanism */
    enum dovecot_auth_failure failure;
    const char *text; /* user or challenge */
};

static const struct row rows[] = {
    {LITERAL(""), 0, DOVECOT_AUTH_OTHER, 0, 0, ""},
    {LITERAL("SPID\t7"), 0, DOVECOT_AUTH_OTHER, 0, 0, ""},
    {LITERAL("DONE"), 0, DOVECOT_AUTH_READY, 0, 0, ""},
    {LITERAL("DONE\tx"), 0, DOVECOT_AUTH_READY, 0, 0, ""},
    {LITERAL("done"), 0, DOVECOT_AUTH_OTHER, 0, 0, ""},
    {LITERAL("VERSION\t1\t2"), 0, DOVECOT_AUTH_VERSION, 1, 0, ""},
    {LITERAL("VERSION"), ERR_SYNTAX, DOVECOT_AUTH_VERSION, 0, 0, ""},
    {LITERAL("VERSION\t99999999999\t0"), ERR_SYNTAX, DOVECOT_AUTH_VERSION, 0, 0, ""},
    {LITERAL("MECH\tPLAIN\tplaintext"), 0, DOVECOT_AUTH_MECHANISM, SASL_PLAIN, 0, ""},
    {LITERAL("MECH\tscram-sha-256"), 0, DOVECOT_AUTH_MECHANISM, SASL_SCRAM_SHA_256, 0, ""},
    {LITERAL("MECH\tLOGIN\tplaintext\tprivate"), 0, DOVECOT_AUTH_MECHANISM, 0, 0, ""},
    {LITERAL("MECH\tEXTERNAL"), 0, DOVECOT_AUTH_MECHANISM, 0, 0, ""},
    {LITERAL("MECH"), 0, DOVECOT_AUTH_MECHANISM, 0, 0, ""},
    {LITERAL("CONT\t1\t"), 0, DOVECOT_AUTH_CHALLENGE, 1, 0, ""},
    {LITERAL("CONT\t4294967295\tAAA="), 0, DOVECOT_AUTH_CHALLENGE, 4294967295, 0, "AAA="},
    {LITERAL("CONT\t1\tAAA=\rAAA"), ERR_SYNTAX, DOVECOT_AUTH_CHALLENGE, 1, 0, NULL},
    {LITERAL("CONT\t4294967296\tAAA="), ERR_SYNTAX, DOVECOT_AUTH_OTHER, 0, 0, ""},
    {LITERAL("CONT"), ERR_SYNTAX, DOVECOT_AUTH_OTHER, 0, 0, ""},
    {LITERAL("OK\t1\tuser=joe"), 0, DOVECOT_AUTH_OK, 1, 0, "joe"},
    {LITERAL("OK\t1\ta\tuser=j=e\tb=user"), 0, DOVECOT_AUTH_OK, 1, 0, "j=e"},
    {LITERAL("OK\t1\tuser=joe\tnologin"), 0, DOVECOT_AUTH_FAILED, 1, DOVECOT_AUTH_DISABLED, "joe"},
    {LITERAL("OK\t1\tnologin=y\tproxy=y\tuser=joe"), 0, DOVECOT_AUTH_OK, 1, 0, "joe"},
    {LITERAL("OK\t1\tusers=joe"), ERR_SYNTAX, DOVECOT_AUTH_OK, 1, 0, ""},
    {LITERAL("OK\t1"), ERR_SYNTAX, DOVECOT_AUTH_OK, 1, 0, ""},
    {LITERAL("OK\t1\tuser=j\x01t"), ERR_SYNTAX, DOVECOT_AUTH_OK, 1, 0, NULL},
    {LITERAL("OK\t-1\tuser=joe"), ERR_SYNTAX, DOVECOT_AUTH_OTHER, 0, 0, ""},
    {LITERAL("FAIL\t9"), 0, DOVECOT_AUTH_FAILED, 9, DOVECOT_AUTH_REFUSED, ""},
    {LITERAL("FAIL\t9\tuser=joe\tauthz"), 0, DOVECOT_AUTH_FAILED, 9, DOVECOT_AUTH_REFUSED, "joe"},
    {LITERAL("FAIL\t9\ttemp"), 0, DOVECOT_AUTH_FAILED, 9, DOVECOT_AUTH_TEMPORARY, ""},
    {LITERAL("FAIL\t9\tcode=temp_fail"), 0, DOVECOT_AUTH_FAILED, 9, DOVECOT_AUTH_TEMPORARY, ""},
    {LITERAL("FAIL\t9\tuser_disabled"), 0, DOVECOT_AUTH_FAILED, 9, DOVECOT_AUTH_DISABLED, ""},
    {LITERAL("FAIL\t9\tcode=user_disabled"), 0, DOVECOT_AUTH_FAILED, 9, DOVECOT_AUTH_DISABLED, ""},
    {LITERAL("FAIL\t9\tuser=\x01"), 0, DOVECOT_AUTH_FAILED, 9, DOVECOT_AUTH_REFUSED, ""},
    {LITERAL("FAIL\t"), ERR_SYNTAX, DOVECOT_AUTH_OTHER, 0, 0, ""},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(rows[i].line);
        struct dovecot_auth_said said;
        int error = dovecot_auth_read(guard.bytes, &said);

        lib_same_number(i, "error", rows[i].error, error);
        lib_same_number(i, "kind", (int64_t)rows[i].kind, (int64_t)said.kind);
        lib_same_number(i, "number", rows[i].number, said.id + said.version + said.mechanism);
        lib_same_number(i, "failure", (int64_t)rows[i].failure, (int64_t)said.failure);
        if (rows[i].text != NULL)
            lib_same_bytes(i, "text", bytes_of(rows[i].text),
                           said.challenge.len != 0 ? said.challenge : said.user);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

static void test_what_we_say(void **state)
{
    struct identity who = {
        .client = {.family = NETADDR_IPV4, .port = 1000, .octets = {192, 0, 2, 7}},
        .local = {.family = NETADDR_IPV6, .port = 25, .octets = {[15] = 1}},
        .is_secured = true};
    const struct dovecot_auth_client client = {.who = &who, .session = bytes_of("S1")};
    struct pool pool;
    struct buf out;

    (void)state;
    pool_init(&pool, 1024, 1);
    buf_init(&out, &pool, 1024);
    dovecot_auth_put_hello(&out, 7);
    dovecot_auth_put_request(&out, 4294967295, SASL_LOGIN, &client);
    buf_byte(&out, '\n');
    who = (struct identity){.is_secured = false};
    dovecot_auth_put_request(&out, 1, SASL_PLAIN, &client);
    buf_byte(&out, '\n');
    dovecot_auth_put_continue(&out, 1);
    buf_byte(&out, '\n');
    dovecot_auth_put_cancel(&out, 1);
    lib_same_bytes(0, "lines",
                   bytes_of("VERSION\t1\t1\nCPID\t7\n"
                            "AUTH\t4294967295\tLOGIN\tservice=smtp\tnologin\tlip=::1\tlport=25\t"
                            "rip=192.0.2.7\trport=1000\tsecured\tsession=S1\n"
                            "AUTH\t1\tPLAIN\tservice=smtp\tnologin\tsession=S1\n"
                            "CONT\t1\t\nCANCEL\t1\n"),
                   buf_bytes(&out));
    lib_end_rows();
    buf_done(&out);
    pool_done(&pool);
}

static void test_base64(void **state)
{
    static const struct {
        struct bytes text;
        bool is_right;
    } texts[] = {
        {LITERAL(""), true},         {LITERAL("AAAA"), true},  {LITERAL("+/9z"), true},
        {LITERAL("AAA="), true},     {LITERAL("AA=="), true},  {LITERAL("A==="), false},
        {LITERAL("===="), false},    {LITERAL("AAA"), false},  {LITERAL("AA=A"), false},
        {LITERAL("AA-A"), false},    {LITERAL("AA A"), false}, {LITERAL("AA==AAAA"), false},
        {LITERAL("AAA\xc3"), false}, {LITERAL("="), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        lib_same_number(i, "is right", texts[i].is_right, sasl_is_base64(texts[i].text));
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_what_we_say),
        cmocka_unit_test(test_base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
