/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target announced in its reply to EHLO or LHLO. Pure. */
#ifndef POSTERN_CAPABILITY_H
#define POSTERN_CAPABILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/smtp/limits.h"
#include "proxy/smtp/reply.h"

/* Every keyword is one line of capability.def. */
enum capability_keyword {
#define CAPABILITY(id, name, bit, offer) CAPABILITY_##id = 1 << (bit),
#include "proxy/smtp/capability.def"
#undef CAPABILITY
};

enum capability_offer { CAPABILITY_OFFER_NEVER, CAPABILITY_OFFER_OWN, CAPABILITY_OFFER_PASSED };

struct capability_row {
    const char *name;
    uint32_t bit;
    enum capability_offer offer;
};

/* In the order in which they are said and shown; ends with a name of NULL. */
extern const struct capability_row capability_rows[];

/* Attributes of XCLIENT and XFORWARD. */
enum capability_attribute {
    ATTRIBUTE_NAME = 1 << 0,
    ATTRIBUTE_ADDR = 1 << 1,
    ATTRIBUTE_PORT = 1 << 2,
    ATTRIBUTE_PROTO = 1 << 3,
    ATTRIBUTE_HELO = 1 << 4,
    ATTRIBUTE_LOGIN = 1 << 5,
    ATTRIBUTE_DESTADDR = 1 << 6,
    ATTRIBUTE_DESTPORT = 1 << 7,
    ATTRIBUTE_REVERSE_NAME = 1 << 8,
    ATTRIBUTE_IDENT = 1 << 9,
    ATTRIBUTE_SOURCE = 1 << 10,
    ATTRIBUTE_OTHER = 1 << 11, /* any that we do not know */
    /* Dovecot's */
    ATTRIBUTE_SESSION = 1 << 12,
    ATTRIBUTE_TTL = 1 << 13,
    ATTRIBUTE_TIMEOUT = 1 << 14,
    ATTRIBUTE_CLIENT_TRANSPORT = 1 << 15,
    ATTRIBUTE_DESTNAME = 1 << 16,
    ATTRIBUTE_FORWARD = 1 << 17
};

struct capability {
    uint32_t keywords;
    uint32_t xclient;  /* attributes */
    uint32_t xforward; /* attributes */
    uint32_t sasl;     /* mechanisms of AUTH, those of sasl.def */
    struct limits limits;
};

/* `reply` is a 250 to EHLO or LHLO; its first line is no keyword. Unknown keywords are skipped.
 * Keywords and attributes may be in any case. */
struct capability capability_parse(const struct reply *reply);

/* "PIPELINING SIZE=1000 LIMITS RCPTMAX=100 AUTH=PLAIN,LOGIN": keywords, limits and mechanisms as
 * words, to be read again: unknown ones are passed over. */
void capability_put_words(struct buf *out, const struct capability *caps);
struct capability capability_read_words(struct bytes words);

/* What holds at either of them: see limits_of_both(). Attributes and mechanisms are left out. */
struct capability capability_of_both(const struct capability *a, const struct capability *b);
/* Do both announce the same keywords, limits and mechanisms? */
bool capability_bridges_same(const struct capability *a, const struct capability *b);

/* The capability_attribute bit of a name, in any case. */
uint32_t capability_attribute(struct bytes name);
void capability_put_attributes(struct buf *out, uint32_t attributes); /* " NAME" for each */
/* The capability_keyword bit of a word, in any case; 0: none that we know. */
uint32_t capability_keyword(struct bytes word);
/* All capability_keyword bits that are offered in that way. */
uint32_t capability_offered(enum capability_offer offer);

static inline bool capability_has(const struct capability *caps, uint32_t keywords)
{
    return (caps->keywords & keywords) == keywords;
}

#endif
