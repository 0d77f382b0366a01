/* SPDX-License-Identifier: BSD-2-Clause */
/* Keywords and attributes are looked up in two small tables: EHLO is rare on kept connections. */
#include "proxy/smtp/capability.h"

#include "proxy/base/text.h"

struct named_bit {
    const char *name;
    uint32_t bit;
};

static const struct named_bit keywords[] = {
    {"PIPELINING", CAPABILITY_PIPELINING},
    {"SIZE", CAPABILITY_SIZE},
    {"8BITMIME", CAPABILITY_8BITMIME},
    {"ENHANCEDSTATUSCODES", CAPABILITY_ENHANCEDSTATUSCODES},
    {"CHUNKING", CAPABILITY_CHUNKING},
    {"XCLIENT", CAPABILITY_XCLIENT},
    {"XFORWARD", CAPABILITY_XFORWARD},
    {"ETRN", CAPABILITY_ETRN},
    {"DSN", CAPABILITY_DSN},
    {"SMTPUTF8", CAPABILITY_SMTPUTF8},
};

static const struct named_bit attributes[] = {
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
};

static uint32_t find(const struct named_bit *table, size_t count, struct bytes word,
                     uint32_t otherwise)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_is_nocase(word, table[i].name))
            return table[i].bit;
    return otherwise;
}

static uint16_t read_attributes(struct bytes rest)
{
    uint32_t found = 0;

    for (struct bytes word = text_word(&rest); word.len > 0; word = text_word(&rest))
        found |= find(attributes, ARRAY_LENGTH(attributes), word, ATTRIBUTE_OTHER);
    return (uint16_t)found;
}

uint32_t capability_keyword(struct bytes word)
{
    return find(keywords, ARRAY_LENGTH(keywords), word, 0);
}

/* `line` is what stands behind the code. */
static void read_line(struct capability *c, struct bytes line)
{
    uint32_t keyword = capability_keyword(text_word(&line));

    c->keywords |= keyword;
    if (keyword == CAPABILITY_XCLIENT)
        c->xclient |= read_attributes(line);
    else if (keyword == CAPABILITY_XFORWARD)
        c->xforward |= read_attributes(line);
}

struct capability capability_parse(const struct reply *r)
{
    struct capability c = {.keywords = 0};
    struct bytes rest = r->wire;
    size_t end = bytes_find(rest, '\n');

    while (end < rest.len) {
        struct bytes line;

        rest = bytes_skip(rest, end + 1);
        end = bytes_find(rest, '\n');
        line = bytes_first(rest, end);
        if (line.len > 0 && line.at[line.len - 1] == '\r')
            line.len--;
        if (line.len > 4)
            read_line(&c, bytes_skip(line, 4));
    }
    return c;
}
