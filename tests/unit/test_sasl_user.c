/* SPDX-License-Identifier: BSD-2-Clause */
/* As whom a client authenticates itself, by what it says to somebody else. */
#include <stdio.h>
#include <string.h>

#include "proxy/smtp/sasl.h"
#include "proxy/smtp/sasl_user.h"
#include "tests/unit/lib.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648 4. */
static size_t encode(const char *text, size_t len, char *out)
{
    size_t used = 0;

    for (size_t i = 0; i < len; i += 3) {
        unsigned three = 0;
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (i + k < len ? (uint8_t)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            out[used++] = i + k > len ? '=' : alphabet[three >> (18 - 6 * k) & 63];
    }
    return used;
}

#define T(mechanism, text, user)                                                                   \
    {                                                                                              \
        SASL_##mechanism, text, sizeof(text) - 1, user                                             \
    }

static void test_names(void **state)
{
    static const struct {
        uint32_t mechanism;
        const char *text;
        size_t len;
        const char *user;
    } rows[] = {
        T(PLAIN, "\0joe\0secret", "joe"),
        T(PLAIN, "ceo\0joe\0secret", "joe"), /* whose password it is */
        T(PLAIN, "\0joe@example.org\0", "joe@example.org"),
        T(PLAIN, "\0j\xc3\xb6\xc3\xa9\0p", "j\xc3\xb6\xc3\xa9"),
        T(PLAIN, "joe", ""),
        T(PLAIN, "joe\0secret", ""),
        T(PLAIN, "", ""),
        T(PLAIN, "\0\0secret", ""),
        T(PLAIN, "\0joe\r\nMAIL\0secret", ""),
        T(PLAIN, "\0j\x7f\0secret", ""),
        T(OTP, "ceo\0joe", "joe"),
        T(LOGIN, "joe", "joe"),
        T(LOGIN, "jo", "jo"),
        T(LOGIN, "j", "j"),
        T(LOGIN, "", ""),
        T(SCRAM_SHA_256, "n,,n=joe,r=abc", "joe"),
        T(SCRAM_SHA_1, "y,a=ceo,n=joe,r=abc", "joe"),
        T(SCRAM_SHA_512, "n,,n=a=2Cb=3Dc=2D,r=abc", "a,b=c=2D"),
        T(SCRAM_SHA_256, "n,,r=abc,n=joe,", ""),
        T(SCRAM_SHA_256, "n,,m=x,n=joe,r=abc", ""),
        T(SCRAM_SHA_256, "n,,n=joe", ""),
        T(SCRAM_SHA_256, "n,a=joe", ""),
        T(OAUTHBEARER, "n,a=joe=3D,\1auth=Bearer t\1\1", "joe="),
        T(OAUTHBEARER, "n,,\1auth=Bearer a=joe,\1\1", ""),
        T(XOAUTH2, "user=joe\1auth=Bearer t\1\1", "joe"),
        T(XOAUTH2, "auth=x\1user=joe\1", ""),
        T(XOAUTH2, "user=joe", ""),
        T(CRAM_MD5, "joe smith 0123456789abcdef", "joe smith"),
        T(CRAM_MD5, "joe", ""),
        T(DIGEST_MD5, "username=\"joe\",realm=\"x\"", ""),
        T(GSSAPI, "joe", ""),
        T(NTLM, "NTLMSSP", ""),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        uint8_t user[SASL_USER_MAX];
        char response[128];
        size_t len = encode(rows[i].text, rows[i].len, response);
        struct bytes base64 = bytes_make(response, len);

        assert_true(sasl_is_base64(base64));
        lib_same_bytes(i, sasl_name(rows[i].mechanism), bytes_of(rows[i].user),
                       bytes_make(user, sasl_user(rows[i].mechanism, base64, user)));
    }
    lib_end_rows();
}

static void test_length(void **state)
{
    char text[SASL_USER_MAX + 2], response[400];
    uint8_t user[SASL_USER_MAX];

    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t len = SASL_USER_MAX - 1; len <= SASL_USER_MAX + 1; len++) {
        size_t octets = encode(text, len, response);
        size_t wanted = len <= SASL_USER_MAX ? len : 0;
        assert_int_equal(sasl_user(SASL_LOGIN, bytes_make(response, octets), user), wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_length)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
