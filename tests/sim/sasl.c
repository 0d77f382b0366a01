/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sasl.h"

#include <stdarg.h>
#include <stdio.h>

#include "proxy/base/hash.h"
#include "proxy/smtp/sasl.h"
#include "tests/sim/world.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct sasl_text sasl_text_of(const char *format, ...)
{
    struct sasl_text text;
    va_list list;

    va_start(list, format);
    int len = vsnprintf(text.at, sizeof(text.at), format, list);
    va_end(list);
    if (len < 0 || (size_t)len >= sizeof(text.at))
        sim_fault("a line of AUTH is too long");
    text.len = (size_t)len;
    return text;
}

void sasl_encode(const struct sasl_text *text, char line_out[SASL_LINE_SIZE])
{
    const uint8_t *at = (const uint8_t *)text->at;
    char *out = line_out;

    for (size_t i = 0; i < text->len; i += 3) {
        size_t left = text->len - i;
        unsigned octets =
            at[i] << 16 | (left > 1 ? at[i + 1] << 8 : 0) | (left > 2 ? at[i + 2] : 0);
        *out++ = digits[octets >> 18];
        *out++ = digits[octets >> 12 & 63];
        *out++ = left > 1 ? digits[octets >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[octets & 63] : '=';
    }
    *out = '\0';
}

bool sasl_decode(struct bytes line, struct sasl_text *text_out)
{
    unsigned bits = 0, count = 0;

    text_out->len = 0;
    if (!sasl_is_base64(line) || line.len / 4 * 3 > SASL_TEXT_MAX)
        return false;
    for (size_t i = 0; i < line.len && line.at[i] != '='; i++) {
        bits = bits << 6 | (unsigned)(strchr(digits, line.at[i]) - digits);
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        text_out->at[text_out->len++] = (char)(bits >> count & 255);
    }
    text_out->at[text_out->len] = '\0';
    return true;
}

struct sasl_text sasl_proof(enum sasl_side side, const char *password, struct bytes challenge)
{
    uint64_t hash = hash_chain(hash_chain(1, bytes_of(password)), challenge);

    return sasl_text_of("%c=%016llx", side == SASL_CLIENT ? 'p' : 'v',
                        (unsigned long long)hash_chain(hash, bytes_make(&side, sizeof(side))));
}
