/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks SPF records against the grammar of RFC 7208 12, strictly. */
#include "filters/spf/spf_record.h"

#include "filters/spf/spf_macro.h"
#include "proxy/base/text.h"

static const char version[] = "v=spf1";

static const struct mechanism_name {
    const char *name;
    enum spf_mechanism mechanism;
} mechanisms[] = {
    {"all", SPF_ALL}, {"include", SPF_INCLUDE}, {"a", SPF_A},     {"mx", SPF_MX},
    {"ptr", SPF_PTR}, {"ip4", SPF_IP4},         {"ip6", SPF_IP6}, {"exists", SPF_EXISTS},
};

bool spf_record_is_policy(struct bytes text)
{
    size_t len = sizeof(version) - 1;

    return bytes_start_with_nocase(text, version) && (text.len == len || text.at[len] == ' ');
}

/* Terms are separated by spaces, and by nothing else. */
static struct bytes take_word(struct bytes *rest)
{
    struct bytes word;

    while (rest->len > 0 && rest->at[0] == ' ')
        *rest = bytes_skip(*rest, 1);
    word = bytes_first(*rest, bytes_find(*rest, ' '));
    *rest = bytes_skip(*rest, word.len);
    return word;
}

/* ---- prefixes ---- */

/* Takes "/" and a number from the end of *text; a number that is none stays, and makes the domain
 * in front of it wrong. False: the number is too large, or begins with 0. */
static bool take_prefix(struct bytes *text, unsigned max, uint8_t *bits_out)
{
    size_t slash = text->len;
    uint64_t bits;
    struct bytes digits;

    while (slash > 0 && byte_is_digit(text->at[slash - 1]))
        slash--;
    if (slash == 0 || slash == text->len || text->at[slash - 1] != '/')
        return true;
    digits = bytes_skip(*text, slash);
    if ((digits.len > 1 && digits.at[0] == '0') || text_decimal(digits, max, &bits) != 0)
        return false;
    *bits_out = (uint8_t)bits;
    *text = bytes_first(*text, slash - 1);
    return true;
}

static bool ends_in_slash(struct bytes text)
{
    return text.len > 0 && text.at[text.len - 1] == '/';
}

/* [ "/" bits4 ] [ "//" bits6 ] */
static bool take_both_prefixes(struct bytes *text, struct spf_term *term)
{
    struct bytes with = *text;

    term->bits4 = 32;
    term->bits6 = 128;
    if (!take_prefix(text, 128, &term->bits6))
        return false;
    if (text->len == with.len)
        return true;
    if (ends_in_slash(*text)) {
        *text = bytes_first(*text, text->len - 1);
        return take_prefix(text, 32, &term->bits4);
    }
    term->bits6 = 128;
    *text = with;
    return take_prefix(text, 32, &term->bits4);
}

/* ---- mechanisms ---- */

static bool read_address(struct spf_term *term, struct bytes text)
{
    bool is_ip6 = term->mechanism == SPF_IP6;
    struct netaddr *net = &term->net.net;

    term->net.bits = is_ip6 ? 128 : 32;
    if (!take_prefix(&text, term->net.bits, &term->net.bits) || netaddr_parse(text, net) != 0)
        return false;
    if ((bytes_find(text, ':') < text.len) != is_ip6)
        return false;
    if (is_ip6 && net->family == NETADDR_IPV4) { /* mapped: here it is the net of IPv6 */
        memmove(net->octets + 12, net->octets, 4);
        memset(net->octets, 0, 10);
        memset(net->octets + 10, 0xff, 2);
        net->family = NETADDR_IPV6;
    }
    return true;
}

/* What follows the name: [ ":" domain-spec ] [ prefixes ] */
static bool read_argument(struct spf_term *term, struct bytes text)
{
    bool has_value = text.len > 0 && text.at[0] == ':';
    bool has_prefixes = term->mechanism == SPF_A || term->mechanism == SPF_MX;

    if (term->mechanism == SPF_ALL)
        return text.len == 0;
    if (term->mechanism == SPF_IP4 || term->mechanism == SPF_IP6)
        return has_value && read_address(term, bytes_skip(text, 1));
    if (has_prefixes && !take_both_prefixes(&text, term))
        return false;
    if (!has_value)
        return text.len == 0 && term->mechanism != SPF_INCLUDE && term->mechanism != SPF_EXISTS;
    term->domain = text.len == 0 ? text : bytes_skip(text, 1);
    return spf_macro_is_domain(term->domain);
}

static bool read_mechanism(struct bytes word, struct spf_term *term_out)
{
    struct spf_term term = {.qualifier = '+', .text = word};
    size_t len = 0;

    if (word.len > 0 && strchr("+-~?", word.at[0]) != NULL && word.at[0] != 0) {
        term.qualifier = word.at[0];
        word = bytes_skip(word, 1);
    }
    while (len < word.len && word.at[len] != ':' && word.at[len] != '/')
        len++;
    for (size_t i = 0; i < ARRAY_LENGTH(mechanisms); i++) {
        if (!bytes_is_nocase(bytes_first(word, len), mechanisms[i].name))
            continue;
        term.mechanism = mechanisms[i].mechanism;
        *term_out = term;
        return read_argument(term_out, bytes_skip(word, len));
    }
    return false;
}

/* ---- modifiers ---- */

/* name "=" value: ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ). */
static bool is_modifier(struct bytes word, struct bytes *name_out, struct bytes *value_out)
{
    size_t len = 0;

    for (; len < word.len && word.at[len] != '='; len++) {
        uint8_t c = word.at[len];

        if (!byte_is_letter(c) &&
            (len == 0 || !(byte_is_digit(c) || c == '-' || c == '_' || c == '.')))
            return false;
    }
    if (len == 0 || len == word.len)
        return false;
    *name_out = bytes_first(word, len);
    *value_out = bytes_skip(word, len + 1);
    return true;
}

/* A modifier that we know may stand once. */
static bool keep_once(struct bytes value, struct bytes *kept)
{
    if (kept->len > 0 || !spf_macro_is_domain(value))
        return false;
    *kept = value;
    return true;
}

static bool read_modifier(struct spf_record *record, struct bytes name, struct bytes value)
{
    if (bytes_is_nocase(name, "redirect"))
        return keep_once(value, &record->redirect);
    if (bytes_is_nocase(name, "exp"))
        return keep_once(value, &record->explanation);
    return spf_macro_is_string(value);
}

bool spf_record_check(struct bytes text, struct spf_record *record_out, struct bytes *fault_out)
{
    struct spf_record record = {.terms = bytes_skip(text, sizeof(version) - 1)};
    struct bytes rest = record.terms;
    struct spf_term term;

    assert(spf_record_is_policy(text));
    for (struct bytes word = take_word(&rest); word.len > 0; word = take_word(&rest)) {
        struct bytes name, value;
        bool is_fine = is_modifier(word, &name, &value) ? read_modifier(&record, name, value)
                                                        : read_mechanism(word, &term);

        if (!is_fine) {
            *fault_out = word;
            return false;
        }
    }
    *record_out = record;
    return true;
}

bool spf_record_next(struct bytes *terms, struct spf_term *term_out)
{
    struct bytes name, value;

    for (struct bytes word = take_word(terms); word.len > 0; word = take_word(terms))
        if (!is_modifier(word, &name, &value))
            return read_mechanism(word, term_out);
    return false;
}
