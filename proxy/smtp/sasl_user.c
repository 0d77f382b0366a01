/* SPDX-License-Identifier: BSD-2-Clause */
/* As whom a client authenticates itself. Only the name is decoded: the rest is a secret. */
#include "proxy/smtp/sasl_user.h"

#include <stdbool.h>
#include <string.h>

#include "proxy/smtp/sasl.h"

#define NONE SIZE_MAX

/* Where this octet comes next in what is decoded; NONE: nowhere. */
static size_t find(struct bytes base64, size_t from, int octet)
{
    for (int at = sasl_decoded(base64, from); at != -1; at = sasl_decoded(base64, ++from))
        if (at == octet)
            return from;
    return NONE;
}

static bool begins_with(struct bytes base64, size_t from, const char *text)
{
    for (; *text != '\0'; text++, from++)
        if (sasl_decoded(base64, from) != (uint8_t)*text)
            return false;
    return true;
}

/* How many octets there are. */
static size_t length(struct bytes base64)
{
    size_t end = base64.len / 4 * 3;

    while (end > 0 && sasl_decoded(base64, end - 1) == -1)
        end--;
    return end;
}

/* Control characters would end a line, or a word. */
static size_t take(struct bytes base64, size_t from, size_t end, uint8_t *out)
{
    size_t len = 0;

    if (from == NONE || end == NONE || end - from > SASL_USER_MAX)
        return 0;
    for (; from < end; from++) {
        int octet = sasl_decoded(base64, from);
        if (octet < ' ' || octet == 127)
            return 0;
        out[len++] = (uint8_t)octet;
    }
    return len;
}

/* PLAIN (RFC 4616), OTP (RFC 2444): for whom, NUL, who, perhaps NUL and more. Some servers do not
 * look at the first. */
static size_t user_of_pair(struct bytes response, bool needs_more, uint8_t *out)
{
    size_t nul = find(response, 0, 0);

    if (nul == NONE)
        return 0;
    size_t end = find(response, nul + 1, 0);
    if (end == NONE && needs_more) /* "who", NUL, and the password */
        return 0;
    return take(response, nul + 1, end == NONE ? length(response) : end, out);
}

/* RFC 5802 5.1: "=2C" is a comma and "=3D" an equals sign. */
static size_t undo_escapes(uint8_t *name, size_t len)
{
    size_t kept = 0;

    for (size_t i = 0; i < len; i++) {
        bool is_escape = name[i] == '=' && i + 2 < len;
        bool is_comma = is_escape && memcmp(name + i, "=2C", 3) == 0;
        bool is_equals = is_escape && memcmp(name + i, "=3D", 3) == 0;

        name[kept++] = is_comma ? ',' : name[i];
        i += is_comma || is_equals ? 2 : 0;
    }
    return kept;
}

/* In the field behind so many commas, where that begins with `key`. */
static size_t user_of_field(struct bytes response, unsigned commas, const char *key, uint8_t *out)
{
    size_t at = 0;

    for (; commas > 0 && at != NONE; commas--) {
        at = find(response, at, ',');
        at += at != NONE;
    }
    if (at == NONE || !begins_with(response, at, key))
        return 0;
    at += strlen(key);
    return undo_escapes(out, take(response, at, find(response, at, ','), out));
}

/* Google's and Microsoft's: "user=who", an octet 1, and the token. */
static size_t user_of_xoauth2(struct bytes response, uint8_t *out)
{
    static const char key[] = "user=";
    size_t from = sizeof(key) - 1;

    return begins_with(response, 0, key) ? take(response, from, find(response, from, 1), out) : 0;
}

/* CRAM-MD5 (RFC 2195): who, a space, and what proves it. */
static size_t user_of_cram(struct bytes response, uint8_t *out)
{
    size_t last = NONE;

    for (size_t at = find(response, 0, ' '); at != NONE; at = find(response, at + 1, ' '))
        last = at;
    return take(response, 0, last, out);
}

size_t sasl_user(uint32_t mechanism, struct bytes response, uint8_t *out)
{
    switch ((enum sasl_mechanism)mechanism) {
    case SASL_PLAIN:
    case SASL_OTP:
        return user_of_pair(response, mechanism == SASL_PLAIN, out);
    case SASL_LOGIN:
        return take(response, 0, length(response), out);
    case SASL_SCRAM_SHA_1:
    case SASL_SCRAM_SHA_256:
    case SASL_SCRAM_SHA_512: /* RFC 5802 7: "n,a=for whom,n=who,r=.." */
        return user_of_field(response, 2, "n=", out);
    case SASL_OAUTHBEARER: /* RFC 7628 3.1: "n,a=who," */
        return user_of_field(response, 1, "a=", out);
    case SASL_XOAUTH2:
        return user_of_xoauth2(response, out);
    case SASL_CRAM_MD5:
        return user_of_cram(response, out);
    case SASL_DIGEST_MD5: /* it can be written so that two read two names */
    case SASL_GSSAPI:
    case SASL_GSS_SPNEGO:
    case SASL_NTLM:
        break;
    }
    return 0;
}
