/* SPDX-License-Identifier: BSD-2-Clause */
/* Keywords and attributes are searched one by one in two small tables: EHLO is rare on kept
 * connections. */
#include "proxy/smtp/capability.h"

#include "proxy/base/text.h"
#include "proxy/smtp/sasl.h"

const struct capability_row capability_rows[] = {
#define CAPABILITY(id, name, bit, offer) {name, CAPABILITY_##id, CAPABILITY_OFFER_##offer},
#include "proxy/smtp/capability.def"
#undef CAPABILITY
    {.name = NULL},
};

static const struct {
    const char *name;
    uint32_t bit;
} attributes[] = {
    {"NAME", ATTRIBUTE_NAME},
    {"ADDR", ATTRIBUTE_ADDR},
    {"PORT", ATTRIBUTE_PORT},
    {"PROTO", ATTRIBUTE_PROTO},
    {"HELO", ATTRIBUTE_HELO},
    {"LOGIN", ATTRIBUTE_LOGIN},
    {"DESTADDR", ATTRIBUTE_DESTADDR},
    {"DESTPORT", ATTRIBUTE_DESTPORT},
    {"REVERSE_NAME", ATTRIBUTE_REVERSE_NAME},
    {"IDENT", ATTRIBUTE_IDENT},
    {"SOURCE", ATTRIBUTE_SOURCE},
    {"SESSION", ATTRIBUTE_SESSION},
    {"TTL", ATTRIBUTE_TTL},
    {"TIMEOUT", ATTRIBUTE_TIMEOUT},
    {"CLIENT-TRANSPORT", ATTRIBUTE_CLIENT_TRANSPORT},
    {"DESTNAME", ATTRIBUTE_DESTNAME},
    {"FORWARD", ATTRIBUTE_FORWARD},
};

uint32_t capability_attribute(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(attributes); i++)
        if (bytes_is_nocase(name, attributes[i].name))
            return attributes[i].bit;
    return ATTRIBUTE_OTHER;
}

void capability_put_attributes(struct buf *out, uint32_t bits)
{
    for (size_t i = 0; i < ARRAY_LENGTH(attributes); i++)
        if ((bits & attributes[i].bit) != 0)
            buf_cat(out, " ", attributes[i].name, NULL);
}

static uint32_t read_attributes(struct bytes rest)
{
    uint32_t found = 0;

    for (struct bytes word = text_word(&rest); word.len > 0; word = text_word(&rest))
        found |= capability_attribute(word);
    return found;
}

uint32_t capability_keyword(struct bytes word)
{
    for (const struct capability_row *row = capability_rows; row->name != NULL; row++)
        if (bytes_is_nocase(word, row->name))
            return row->bit;
    return 0;
}

uint32_t capability_offered(enum capability_offer offer)
{
    uint32_t bits = 0;

    for (const struct capability_row *row = capability_rows; row->name != NULL; row++)
        if (row->offer == offer)
            bits |= row->bit;
    return bits;
}

/* `line`: without its code. */
static void read_line(struct capability *caps, struct bytes line)
{
    uint32_t keyword = capability_keyword(text_word(&line));

    caps->keywords |= keyword;
    if (keyword == CAPABILITY_XCLIENT)
        caps->xclient |= read_attributes(line);
    else if (keyword == CAPABILITY_XFORWARD)
        caps->xforward |= read_attributes(line);
    else if (keyword == CAPABILITY_SIZE)
        limits_read_size(&caps->limits, text_word(&line));
    else if (keyword == CAPABILITY_LIMITS)
        for (struct bytes word = text_word(&line); word.len > 0; word = text_word(&line))
            limits_read_word(&caps->limits, word);
    else if (keyword == CAPABILITY_AUTH)
        for (struct bytes word = text_word(&line); word.len > 0; word = text_word(&line))
            caps->sasl |= sasl_mechanism(word);
}

void capability_put_words(struct buf *out, const struct capability *caps)
{
    const char *between = "";

    for (const struct capability_row *row = capability_rows; row->name != NULL; row++) {
        if ((caps->keywords & row->bit) == 0)
            continue;
        buf_cat(out, between, row->name, NULL);
        between = " ";
        if (row->bit == CAPABILITY_SIZE && caps->limits.size_bytes != 0) {
            buf_byte(out, '=');
            buf_decimal(out, caps->limits.size_bytes);
        } else if (row->bit == CAPABILITY_LIMITS) {
            limits_put(out, &caps->limits);
        } else if (row->bit == CAPABILITY_AUTH) {
            sasl_put(out, caps->sasl, "=", ",");
        }
    }
}

struct capability capability_of_both(const struct capability *a, const struct capability *b)
{
    return (struct capability){.keywords = a->keywords & b->keywords,
                               .limits = limits_of_both(&a->limits, &b->limits)};
}

bool capability_bridges_same(const struct capability *a, const struct capability *b)
{
    return a->keywords == b->keywords && a->sasl == b->sasl &&
           a->limits.size_bytes == b->limits.size_bytes && a->limits.mails == b->limits.mails &&
           a->limits.rcpts == b->limits.rcpts && a->limits.domains == b->limits.domains;
}

static uint32_t read_sasl(struct bytes names)
{
    uint32_t found = 0;

    while (names.len != 0) {
        size_t end = bytes_find(names, ',');
        found |= sasl_mechanism(bytes_first(names, end));
        names = bytes_skip(names, end < names.len ? end + 1 : end);
    }
    return found;
}

struct capability capability_read_words(struct bytes words)
{
    struct capability caps = {.keywords = 0};

    for (struct bytes word = text_word(&words); word.len > 0; word = text_word(&words)) {
        struct bytes name = bytes_first(word, bytes_find(word, '='));
        uint32_t keyword = capability_keyword(name);
        caps.keywords |= keyword;
        if (keyword == CAPABILITY_SIZE && name.len < word.len)
            limits_read_size(&caps.limits, bytes_skip(word, name.len + 1));
        else if (keyword == CAPABILITY_AUTH && name.len < word.len)
            caps.sasl |= read_sasl(bytes_skip(word, name.len + 1));
        else if (keyword == 0)
            limits_read_word(&caps.limits, word);
    }
    return caps;
}

struct capability capability_parse(const struct reply *reply)
{
    struct capability caps = {.keywords = 0};
    struct bytes rest = reply->wire;
    size_t end = bytes_find(rest, '\n');

    while (end < rest.len) {
        struct bytes line;

        rest = bytes_skip(rest, end + 1);
        end = bytes_find(rest, '\n');
        line = bytes_first(rest, end);
        if (line.len > 0 && line.at[line.len - 1] == '\r')
            line.len--;
        if (line.len > 4)
            read_line(&caps, bytes_skip(line, 4));
    }
    return caps;
}
