/* SPDX-License-Identifier: BSD-2-Clause */
/* Parameters of MAIL and RCPT: kept as they came, or refused. */
#include "proxy/smtp/params.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

struct row {
    struct bytes input;
    const char *seen; /* keyword, or keyword=value, each in brackets; what ended it; what is left */
};

static const struct row rows[] = {
    {LITERAL(""), "end"},
    {LITERAL("   "), "end"},
    {LITERAL("SIZE=1"), "[SIZE=1]end"},
    {LITERAL("  SIZE=1  BODY=8BITMIME "), "[SIZE=1][BODY=8BITMIME]end"},
    {LITERAL("SMTPUTF8"), "[SMTPUTF8]end"},
    {LITERAL("SMTPUTF8 SIZE=2"), "[SMTPUTF8][SIZE=2]end"},
    {LITERAL("size=1 SiZe=2"), "[size=1][SiZe=2]end"},
    {LITERAL("8-B=x a1-=y"), "[8-B=x][a1-=y]end"},
    {LITERAL("AUTH=<> RET=HDRS"), "[AUTH=<>][RET=HDRS]end"},
    {LITERAL("ORCPT=rfc822;joe+2Bx@example.org"), "[ORCPT=rfc822;joe+2Bx@example.org]end"},
    /* Postfix's encoder leaves "=" alone */
    {LITERAL("ORCPT=rfc822;SRS0=HHH=TT=a=b@c"), "[ORCPT=rfc822;SRS0=HHH=TT=a=b@c]end"},
    {LITERAL("A=!~"), "[A=!~]end"},
    {LITERAL("A=="), "[A==]end"},
    {LITERAL("SIZE="), "syntax: SIZE="},
    {LITERAL("SIZE= 1"), "syntax: SIZE= 1"},
    {LITERAL("=1"), "syntax: =1"},
    {LITERAL("-A=1"), "syntax: -A=1"},
    {LITERAL("A_B=1"), "syntax: A_B=1"},
    {LITERAL("A=1 B!"), "[A=1]syntax:  B!"},
    {LITERAL("A\tB"), "syntax: A\\tB"},
    {LITERAL("A=1\tB=2"), "syntax: A=1\\tB=2"},
    {LITERAL("\tA"), "syntax: \\tA"},
    {LITERAL("A=\xc3\xa4"), "syntax: A=\\xc3\\xa4"},
    {LITERAL("A=x\xff"), "syntax: A=x\\xff"},
    {LITERAL("A=x\x7f"), "syntax: A=x\\x7f"},
    {LITERAL("A=x\0y"), "syntax: A=x\\x00y"},
    {LITERAL("\0"), "syntax: \\x00"},
    {LITERAL("\xe4=1"), "syntax: \\xe4=1"},
};

static void test_rows(void **state)
{
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(rows[i].input);
        struct bytes rest = guard.bytes;
        struct param param;
        int error;

        seen.len = 0;
        while ((error = params_next(&rest, &param)) == 0) {
            lib_put(&seen, "[");
            lib_put_bytes(&seen, param.keyword);
            lib_put(&seen, param.has_value ? "=" : "");
            lib_put_bytes(&seen, param.value);
            lib_put(&seen, "]");
        }
        lib_put(&seen, error == ERR_NOT_FOUND ? "end" : "syntax: ");
        lib_put_bytes(&seen, rest);
        lib_is_true(i, "error", error == ERR_NOT_FOUND || error == ERR_SYNTAX);
        lib_same_text(i, "parameters", rows[i].seen, seen.at);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

/* ---- RFC 3461 ---- */

static const struct {
    bool (*is_right)(struct bytes value);
    struct bytes value;
    bool expected;
} values[] = {
    {params_is_ret, LITERAL("FULL"), true},
    {params_is_ret, LITERAL("hdrs"), true},
    {params_is_ret, LITERAL("NONE"), false},
    {params_is_ret, LITERAL(""), false},
    {params_is_envid, LITERAL("QQ314159"), true},
    {params_is_envid, LITERAL("a+2Bb+20c+7e"), true},
    {params_is_envid, LITERAL("SRS0=HHH=TT"), true},
    {params_is_envid, LITERAL(""), false},
    {params_is_envid, LITERAL("a+0D+0Ab"), false},
    {params_is_envid, LITERAL("a+7F"), false},
    {params_is_envid, LITERAL("a+C3"), false},
    {params_is_envid, LITERAL("a+"), false},
    {params_is_envid, LITERAL("a+2"), false},
    {params_is_envid, LITERAL("a+2G"), false},
    {params_is_auth, LITERAL("<>"), true},
    {params_is_auth, LITERAL("e+3Dmc2@example.com"), true},
    {params_is_auth, LITERAL("joe=x@example.com"), true},
    {params_is_auth, LITERAL(""), false},
    {params_is_auth, LITERAL("joe+"), false},
    {params_is_auth, LITERAL("joe+0D+0A"), false},
    {params_is_notify, LITERAL("NEVER"), true},
    {params_is_notify, LITERAL("success"), true},
    {params_is_notify, LITERAL("DELAY,FAILURE,SUCCESS"), true},
    {params_is_notify, LITERAL("NEVER,DELAY"), false},
    {params_is_notify, LITERAL("FAILURE,failure"), false},
    {params_is_notify, LITERAL("DELAY,SUCCESS,DELAY"), false},
    {params_is_notify, LITERAL("DELAY,"), false},
    {params_is_notify, LITERAL(",DELAY"), false},
    {params_is_notify, LITERAL(""), false},
    {params_is_orcpt, LITERAL("rfc822;joe+2Bx@example.org"), true},
    {params_is_orcpt, LITERAL("utf-8;j\\x{e4}o@example.org"), true},
    {params_is_orcpt, LITERAL("x-local;a"), true},
    {params_is_orcpt, LITERAL("rfc822"), false},
    {params_is_orcpt, LITERAL("rfc822;"), false},
    {params_is_orcpt, LITERAL(";joe"), false},
    {params_is_orcpt, LITERAL("rf c;joe"), false},
    {params_is_orcpt, LITERAL("rfc822;joe+0Ax"), false},
    {params_is_orcpt, LITERAL("rfc822;jo\xc3\xa4"), false},
};

static void test_values(void **state)
{
    uint8_t long_one[501];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        struct lib_guard guard = lib_guard_copy(values[i].value);
        lib_same_number(i, "is right", values[i].expected, values[i].is_right(guard.bytes));
        lib_guard_free(&guard);
    }
    memset(long_one, 'x', sizeof(long_one));
    memcpy(long_one, "rfc822;", 7);
    assert_true(params_is_envid(bytes_make(long_one + 7, 100)));
    assert_false(params_is_envid(bytes_make(long_one + 7, 101)));
    assert_true(params_is_orcpt(bytes_make(long_one, 500)));
    assert_false(params_is_orcpt(bytes_make(long_one, 501)));
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_values)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
