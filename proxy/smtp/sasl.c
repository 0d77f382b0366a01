/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxy/smtp/sasl.h"

enum seen { SEEN_HIDDEN, SEEN_SHOWN };

static const struct {
    const char *name;
    uint32_t bit;
    enum seen seen;
} mechanisms[] = {
#define SASL(id, name, bit, seen) {name, SASL_##id, SEEN_##seen},
#include "proxy/smtp/sasl.def"
#undef SASL
};

static bool is_digit(uint8_t c)
{
    return byte_is_letter(c) || byte_is_digit(c) || c == '+' || c == '/';
}

bool sasl_is_base64(struct bytes text)
{
    size_t digits = text.len;

    if (text.len % 4 != 0)
        return false;
    while (digits > 0 && text.len - digits < 2 && text.at[digits - 1] == '=')
        digits--;
    for (size_t i = 0; i < digits; i++)
        if (!is_digit(text.at[i]))
            return false;
    return true;
}

static int sextet(uint8_t c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c == '\0' ? NULL : strchr(alphabet, c);

    return found == NULL ? -1 : (int)(found - alphabet);
}

int sasl_decoded(struct bytes base64, size_t i)
{
    size_t at = i / 3 * 4 + i % 3;
    unsigned shift = 2 * (unsigned)(i % 3);

    if (at + 1 >= base64.len)
        return -1;
    int left = sextet(base64.at[at]), right = sextet(base64.at[at + 1]);
    return left < 0 || right < 0 ? -1 : (left << (shift + 2) | right >> (4 - shift)) & 255;
}

uint32_t sasl_mechanism(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(mechanisms); i++)
        if (bytes_is_nocase(name, mechanisms[i].name))
            return mechanisms[i].bit;
    return 0;
}

const char *sasl_name(uint32_t mechanism)
{
    size_t i = 0;

    while (mechanisms[i].bit != mechanism)
        i++;
    return mechanisms[i].name;
}

uint32_t sasl_shown(void)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(mechanisms); i++)
        if (mechanisms[i].seen == SEEN_SHOWN)
            bits |= mechanisms[i].bit;
    return bits;
}

void sasl_put(struct buf *out, uint32_t bits, const char *first, const char *before)
{
    const char *between = first;

    for (size_t i = 0; i < ARRAY_LENGTH(mechanisms); i++) {
        if ((bits & mechanisms[i].bit) == 0)
            continue;
        buf_cat(out, between, mechanisms[i].name, NULL);
        between = before;
    }
}
