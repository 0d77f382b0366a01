/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target announced in its reply to EHLO or LHLO. Pure. */
#ifndef POSTERN_CAPABILITY_H
#define POSTERN_CAPABILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/smtp/reply.h"

enum capability_keyword {
    CAPABILITY_PIPELINING = 1 << 0,
    CAPABILITY_SIZE = 1 << 1,
    CAPABILITY_8BITMIME = 1 << 2,
    CAPABILITY_ENHANCEDSTATUSCODES = 1 << 3,
    CAPABILITY_CHUNKING = 1 << 4,
    CAPABILITY_XCLIENT = 1 << 5,
    CAPABILITY_XFORWARD = 1 << 6,
    CAPABILITY_DSN = 1 << 7,
    CAPABILITY_ETRN = 1 << 8,
    CAPABILITY_SMTPUTF8 = 1 << 9
};

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
    ATTRIBUTE_OTHER = 1 << 11 /* any that we do not know */
};

struct capability {
    uint32_t keywords;
    uint16_t xclient;  /* attributes */
    uint16_t xforward; /* attributes */
};

/* `r` is a 250 to EHLO or LHLO; its first line is no keyword. Unknown keywords are passed over;
 * keywords and attributes in any case, up to the very end of the line. */
struct capability capability_parse(const struct reply *r);

/* The capability_keyword bit of a word, in any case; 0: none that we know. */
uint32_t capability_keyword(struct bytes word);

static inline bool capability_has(const struct capability *c, uint32_t keywords)
{
    return (c->keywords & keywords) == keywords;
}

#endif
