/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads and expands macros. A macro is  "%{" letter *DIGIT ["r"] *delimiter "}". */
#include "filters/spf/spf_macro.h"

#define LETTERS_OF_NAMES "slodiphv"
#define LETTERS_OF_TEXTS "slodiphvcrt"
#define DELIMITERS       ".-+,/_="
#define KEEP_MAX         255 /* more parts than a domain has */
#define VALUE_MAX        2048

struct macro {
    uint8_t letter; /* in lower case */
    bool escapes;   /* it was in upper case */
    bool is_reversed;
    unsigned keep;       /* parts, counted from the right; 0: all */
    unsigned delimiters; /* bits by position in DELIMITERS */
};

static bool is_one_of(uint8_t c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

static bool take(struct bytes *rest, uint8_t c)
{
    if (rest->len == 0 || byte_lower(rest->at[0]) != c)
        return false;
    *rest = bytes_skip(*rest, 1);
    return true;
}

/* Takes a macro, of which "%{" is taken already. False: it is none. */
static bool take_macro(struct bytes *rest, const char *letters, struct macro *macro_out)
{
    struct macro m = {0};
    bool has_digits = false;

    if (rest->len == 0 || !is_one_of(byte_lower(rest->at[0]), letters))
        return false;
    m.letter = byte_lower(rest->at[0]);
    m.escapes = m.letter != rest->at[0];
    *rest = bytes_skip(*rest, 1);
    for (; rest->len > 0 && byte_is_digit(rest->at[0]); *rest = bytes_skip(*rest, 1)) {
        has_digits = true;
        if (m.keep < KEEP_MAX)
            m.keep = m.keep * 10 + (unsigned)(rest->at[0] - '0');
    }
    if (has_digits && m.keep == 0)
        return false;
    m.is_reversed = take(rest, 'r');
    for (; rest->len > 0 && is_one_of(rest->at[0], DELIMITERS); *rest = bytes_skip(*rest, 1))
        m.delimiters |= 1u << (strchr(DELIMITERS, rest->at[0]) - DELIMITERS);
    if (m.delimiters == 0)
        m.delimiters = 1; /* the dot */
    *macro_out = m;
    return take(rest, '}');
}

/* ---- syntax ---- */

/* *( "%{" ... "}" / "%%" / "%_" / "%-" / literal ). *tail_out: the literals behind the last macro
 * or escape; *ends_in_macro_out: that was a macro, with nothing behind it. */
static bool is_string(struct bytes text, const char *letters, struct bytes *tail_out,
                      bool *ends_in_macro_out)
{
    struct macro macro;

    *tail_out = text;
    *ends_in_macro_out = false;
    while (text.len > 0) {
        uint8_t c = text.at[0];

        text = bytes_skip(text, 1);
        if (c <= 32 || c > 126)
            return false;
        *ends_in_macro_out = false;
        if (c != '%')
            continue;
        if (take(&text, '{')) {
            if (!take_macro(&text, letters, &macro))
                return false;
            *ends_in_macro_out = text.len == 0;
        } else if (!take(&text, '%') && !take(&text, '_') && !take(&text, '-')) {
            return false;
        }
        *tail_out = text;
    }
    return true;
}

/* Letters, digits and hyphens, no hyphen at an end, not all digits. */
static bool is_top_label(struct bytes label)
{
    bool has_other = false;

    if (label.len == 0 || label.at[0] == '-' || label.at[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = label.at[i];

        if (!byte_is_letter(c) && !byte_is_digit(c) && c != '-')
            return false;
        has_other = has_other || !byte_is_digit(c);
    }
    return has_other;
}

bool spf_macro_is_domain(struct bytes text)
{
    struct bytes tail;
    bool ends_in_macro;
    size_t dot;

    if (text.len == 0 || !is_string(text, LETTERS_OF_NAMES, &tail, &ends_in_macro))
        return false;
    if (ends_in_macro)
        return true;
    if (tail.len > 0 && tail.at[tail.len - 1] == '.')
        tail = bytes_first(tail, tail.len - 1);
    for (dot = tail.len; dot > 0 && tail.at[dot - 1] != '.'; dot--)
        continue;
    return dot > 0 && is_top_label(bytes_skip(tail, dot));
}

bool spf_macro_is_string(struct bytes text)
{
    struct bytes tail;
    bool ends_in_macro;

    return is_string(text, LETTERS_OF_TEXTS, &tail, &ends_in_macro);
}

bool spf_macro_is_explanation(struct bytes text)
{
    while (text.len > 0) {
        struct bytes word = bytes_first(text, bytes_find(text, ' '));

        if (!spf_macro_is_string(word))
            return false;
        text = bytes_skip(text, word.len < text.len ? word.len + 1 : word.len);
    }
    return true;
}

bool spf_macro_wants_name(struct bytes text)
{
    for (; text.len >= 3; text = bytes_skip(text, 1)) {
        if (text.at[0] != '%')
            continue;
        if (text.at[1] == '{' && byte_lower(text.at[2]) == 'p')
            return true;
        text = bytes_skip(text, 1); /* "%%{p}" is none */
    }
    return false;
}

/* ---- values ---- */

static void put_nibbles(struct buf *out, const struct netaddr *address)
{
    static const char digits[] = "0123456789ABCDEF";

    for (int i = 0; i < 32; i++) {
        uint8_t octet = address->octets[i / 2];

        if (i > 0)
            buf_byte(out, '.');
        buf_byte(out, (uint8_t)digits[i % 2 == 0 ? octet >> 4 : octet & 15]);
    }
}

static struct bytes local_part(const struct spf_subject *s)
{
    return s->local.len == 0 ? bytes_of("postmaster") : s->local;
}

static void put_value(struct buf *out, uint8_t letter, const struct spf_scope *scope)
{
    const struct spf_subject *s = scope->subject;
    bool is_ip6 = s->client.family == NETADDR_IPV6;
    char text[NETADDR_TEXT_MAX];

    switch (letter) {
    case 's':
        buf_put(out, local_part(s));
        buf_byte(out, '@');
        buf_put(out, s->sender_domain);
        return;
    case 'l':
        buf_put(out, local_part(s));
        return;
    case 'o':
        buf_put(out, s->sender_domain);
        return;
    case 'd':
        buf_put(out, scope->domain);
        return;
    case 'i':
        if (is_ip6)
            put_nibbles(out, &s->client);
        else
            buf_text(out, netaddr_text(&s->client, text));
        return;
    case 'p':
        buf_put(out, scope->confirmed);
        return;
    case 'v':
        buf_text(out, is_ip6 ? "ip6" : "in-addr");
        return;
    case 'h':
        buf_put(out, s->helo);
        return;
    case 'c':
        buf_text(out, netaddr_text(&s->client, text));
        return;
    case 'r':
        buf_put(out, s->receiver);
        return;
    }
    assert(letter == 't'); /* no check lets another one through */
    buf_decimal(out, s->wall_s);
}

/* ---- transforming ---- */

static bool is_delimiter(const struct macro *m, uint8_t c)
{
    const char *found = c == 0 ? NULL : strchr(DELIMITERS, c);

    return found != NULL && (m->delimiters & 1u << (found - DELIMITERS)) != 0;
}

/* Takes the first part, or the last one where the order is reversed. */
static struct bytes take_part(struct bytes *rest, const struct macro *m)
{
    size_t len = 0;
    struct bytes part;

    if (m->is_reversed) {
        while (len < rest->len && !is_delimiter(m, rest->at[rest->len - 1 - len]))
            len++;
        part = bytes_skip(*rest, rest->len - len);
        *rest = bytes_first(*rest, rest->len - (len < rest->len ? len + 1 : len));
        return part;
    }
    while (len < rest->len && !is_delimiter(m, rest->at[len]))
        len++;
    part = bytes_first(*rest, len);
    *rest = bytes_skip(*rest, len < rest->len ? len + 1 : len);
    return part;
}

/* RFC 3986 2.3: what needs no escape. */
static void put_escaped(struct buf *out, struct bytes part)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < part.len; i++) {
        uint8_t c = part.at[i];

        if (byte_is_letter(c) || byte_is_digit(c) || is_one_of(c, "-._~")) {
            buf_byte(out, c);
            continue;
        }
        buf_byte(out, '%');
        buf_byte(out, (uint8_t)digits[c >> 4]);
        buf_byte(out, (uint8_t)digits[c & 15]);
    }
}

static void put_parts(struct buf *out, const struct macro *m, struct bytes value)
{
    size_t count = 1;

    for (size_t i = 0; i < value.len; i++)
        count += is_delimiter(m, value.at[i]);
    for (size_t left = count; left > 0; left--) {
        struct bytes part = take_part(&value, m);

        if (m->keep != 0 && left > m->keep)
            continue;
        if (m->escapes)
            put_escaped(out, part);
        else
            buf_put(out, part);
        if (left > 1)
            buf_byte(out, '.');
    }
}

static void put_macro(struct buf *out, const struct macro *m, const struct spf_scope *scope)
{
    struct buf value;

    buf_init(&value, out->pool, VALUE_MAX);
    put_value(&value, m->letter, scope);
    if (value.has_failed)
        out->has_failed = true;
    else
        put_parts(out, m, buf_bytes(&value));
    buf_done(&value);
}

void spf_macro_expand(struct buf *out, struct bytes text, const struct spf_scope *scope)
{
    struct macro macro;

    while (text.len > 0) {
        struct bytes literal = bytes_first(text, bytes_find(text, '%'));

        buf_put(out, literal);
        text = bytes_skip(text, literal.len);
        if (text.len == 0)
            return;
        assert(text.len >= 2);
        text = bytes_skip(text, 1);
        if (take(&text, '%')) {
            buf_byte(out, '%');
        } else if (take(&text, '_')) {
            buf_byte(out, ' ');
        } else if (take(&text, '-')) {
            buf_text(out, "%20");
        } else {
            bool is_macro = take(&text, '{') && take_macro(&text, LETTERS_OF_TEXTS, &macro);

            assert(is_macro);
            if (is_macro)
                put_macro(out, &macro, scope);
        }
    }
}
