/* SPDX-License-Identifier: BSD-2-Clause */
/* RFC 5321 4.1.2:  esmtp-param   = esmtp-keyword ["=" esmtp-value]
 *                  esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *                  esmtp-value   = 1*(%d33-60 / %d62-126)
 * "=" is taken inside a value too: Postfix does not encode it in ORCPT and AUTH. */
#include "proxy/smtp/params.h"

#include "proxy/base/error.h"
#include "proxy/smtp/capability.h"

static size_t keyword_length(struct bytes text)
{
    size_t len = 0;

    while (len < text.len && (byte_is_letter(text.at[len]) || byte_is_digit(text.at[len]) ||
                              (text.at[len] == '-' && len > 0)))
        len++;
    return len;
}

static size_t value_length(struct bytes text)
{
    size_t len = 0;

    while (len < text.len && text.at[len] >= 33 && text.at[len] <= 126)
        len++;
    return len;
}

int params_next(struct bytes *rest, struct param *param_out)
{
    struct bytes in = *rest;
    struct param param = {.has_value = false};

    while (in.len > 0 && in.at[0] == ' ')
        in = bytes_skip(in, 1);
    if (in.len == 0) {
        *rest = in;
        return ERR_NOT_FOUND;
    }
    param.keyword = bytes_first(in, keyword_length(in));
    in = bytes_skip(in, param.keyword.len);
    if (in.len > 0 && in.at[0] == '=') {
        in = bytes_skip(in, 1);
        param.has_value = true;
        param.value = bytes_first(in, value_length(in));
        in = bytes_skip(in, param.value.len);
    }
    if (param.keyword.len == 0 || (param.has_value && param.value.len == 0) ||
        (in.len > 0 && in.at[0] != ' '))
        return ERR_SYNTAX;
    *param_out = param;
    *rest = in;
    return 0;
}

bool params_is_of_author(const struct param *param)
{
    return bytes_is_nocase(param->keyword, "AUTH");
}

/* What is none of the values is an error of the parameter, not a parameter that is unknown. */
static uint32_t keywords_of_body(struct bytes value)
{
    if (bytes_is_nocase(value, "BINARYMIME"))
        return CAPABILITY_BINARYMIME;
    bool is_known = bytes_is_nocase(value, "8BITMIME") || bytes_is_nocase(value, "7BIT");
    return is_known ? CAPABILITY_8BITMIME : CAPABILITY_8BITMIME | CAPABILITY_BINARYMIME;
}

uint32_t params_keywords(const struct param *param)
{
    if (bytes_is_nocase(param->keyword, "SIZE"))
        return CAPABILITY_SIZE;
    if (bytes_is_nocase(param->keyword, "RET") || bytes_is_nocase(param->keyword, "ENVID") ||
        bytes_is_nocase(param->keyword, "NOTIFY"))
        return CAPABILITY_DSN;
    if (bytes_is_nocase(param->keyword, "ORCPT")) /* Dovecot says and takes it without DSN */
        return CAPABILITY_DSN | CAPABILITY_XRCPTFORWARD;
    if (bytes_is_nocase(param->keyword, "XRCPTFORWARD"))
        return CAPABILITY_XRCPTFORWARD;
    if (bytes_is_nocase(param->keyword, "SMTPUTF8"))
        return CAPABILITY_SMTPUTF8;
    if (params_is_of_author(param))
        return CAPABILITY_AUTH;
    if (bytes_is_nocase(param->keyword, "REQUIRETLS"))
        return CAPABILITY_REQUIRETLS;
    return bytes_is_nocase(param->keyword, "BODY") ? keywords_of_body(param->value) : 0;
}

bool params_has(struct bytes params, uint32_t keyword)
{
    struct param param;

    while (params_next(&params, &param) == 0)
        if ((params_keywords(&param) & keyword) != 0)
            return true;
    return false;
}

bool params_is_given(struct bytes value)
{
    return value.len != 0;
}

bool params_is_absent(struct bytes value)
{
    return value.len == 0;
}

/* ---- RFC 3461 ---- */

#define ENVID_MAX 100
#define ORCPT_MAX 500
#define AUTH_MAX  500

static int hex_digit(uint8_t digit)
{
    if (byte_is_digit(digit))
        return digit - '0';
    digit = byte_lower(digit);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool is_printable_xtext(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < 33 || value.at[i] > 126)
            return false;
        if (value.at[i] != '+')
            continue;
        int high = i + 2 < value.len ? hex_digit(value.at[i + 1]) : -1;
        int low = i + 2 < value.len ? hex_digit(value.at[i + 2]) : -1;
        if (high < 0 || low < 0 || high * 16 + low < 32 || high * 16 + low > 126)
            return false;
        i += 2;
    }
    return value.len != 0;
}

bool params_is_ret(struct bytes value)
{
    return bytes_is_nocase(value, "FULL") || bytes_is_nocase(value, "HDRS");
}

bool params_is_envid(struct bytes value)
{
    return value.len <= ENVID_MAX && is_printable_xtext(value);
}

bool params_is_auth(struct bytes value)
{
    return bytes_is(value, "<>") || (value.len <= AUTH_MAX && is_printable_xtext(value));
}

/* Bits of enum params_notify; 0: an unknown word. */
static unsigned notify_word(struct bytes word)
{
    if (bytes_is_nocase(word, "SUCCESS"))
        return PARAMS_NOTIFY_SUCCESS;
    if (bytes_is_nocase(word, "FAILURE"))
        return PARAMS_NOTIFY_FAILURE;
    return bytes_is_nocase(word, "DELAY") ? PARAMS_NOTIFY_DELAY : 0;
}

/* All words of the list. False: one is unknown, or stands there twice. */
static bool notify_words(struct bytes list, unsigned *words_out)
{
    for (*words_out = 0;;) {
        struct bytes word = bytes_first(list, bytes_find(list, ','));
        unsigned which = notify_word(word);
        if (which == 0 || (*words_out & which) != 0)
            return false;
        *words_out |= which;
        if (word.len == list.len)
            return true;
        list = bytes_skip(list, word.len + 1);
    }
}

bool params_is_notify(struct bytes value)
{
    unsigned words;

    return bytes_is_nocase(value, "NEVER") || notify_words(value, &words);
}

bool params_notifies(struct bytes params, enum params_notify what)
{
    unsigned words = PARAMS_NOTIFY_FAILURE | PARAMS_NOTIFY_DELAY;
    struct param param;

    while (params_next(&params, &param) == 0)
        if (bytes_is_nocase(param.keyword, "NOTIFY"))
            notify_words(param.value, &words);
    return (words & what) != 0;
}

/* addr-type ";" xtext, the type an atom. */
bool params_is_orcpt(struct bytes value)
{
    struct bytes type = bytes_first(value, bytes_find(value, ';'));

    if (value.len > ORCPT_MAX || type.len == 0 || type.len == value.len)
        return false;
    for (size_t i = 0; i < type.len; i++)
        if (!byte_is_letter(type.at[i]) && !byte_is_digit(type.at[i]) && type.at[i] != '-')
            return false;
    return is_printable_xtext(bytes_skip(value, type.len + 1));
}
