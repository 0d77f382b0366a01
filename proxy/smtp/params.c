/* SPDX-License-Identifier: BSD-2-Clause */
/* RFC 5321 4.1.2:  esmtp-param   = esmtp-keyword ["=" esmtp-value]
 *                  esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *                  esmtp-value   = 1*(%d33-60 / %d62-126)
 * "=" is taken inside a value too: Postfix does not encode it in ORCPT and AUTH. */
#include "proxy/smtp/params.h"

#include "proxy/base/error.h"
#include "proxy/smtp/capability.h"

static size_t keyword_length(struct bytes b)
{
    size_t len = 0;

    while (len < b.len &&
           (byte_is_letter(b.at[len]) || byte_is_digit(b.at[len]) || (b.at[len] == '-' && len > 0)))
        len++;
    return len;
}

static size_t value_length(struct bytes b)
{
    size_t len = 0;

    while (len < b.len && b.at[len] >= 33 && b.at[len] <= 126)
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

uint32_t params_keyword(const struct param *param)
{
    if (bytes_is_nocase(param->keyword, "SIZE"))
        return CAPABILITY_SIZE;
    return bytes_is_nocase(param->keyword, "BODY") ? CAPABILITY_8BITMIME : 0;
}
