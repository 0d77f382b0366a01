/* SPDX-License-Identifier: BSD-2-Clause */
/* The layout of a file of the spool: README.md in numbers. Private to spool/spool_*.c. */
#ifndef POSTERN_SPOOL_FORMAT_PRIVATE_H
#define POSTERN_SPOOL_FORMAT_PRIVATE_H

#include <assert.h>

#include "proxy/base/hash.h"
#include "spool/spool_format.h"

/* Little end first, whatever the machine. */
static inline void spool_store_number(uint8_t *at, uint64_t number, size_t octets)
{
    assert(octets <= sizeof(number));
    for (size_t i = 0; i < octets; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

static inline uint64_t spool_load_number(const uint8_t *at, size_t octets)
{
    uint64_t number = 0;

    assert(octets <= sizeof(number));
    for (size_t i = 0; i < octets; i++)
        number |= (uint64_t)at[i] << (8 * i);
    return number;
}

#define SPOOL_MAGIC       "POSTERN\n"
#define SPOOL_MAGIC_BYTES 8

/* In the octet that says SMTP (0), ESMTP (1) or LMTP (2). */
#define SPOOL_PROTOCOL_TLS 4U

enum head_offset {
    HEAD_MAGIC = 0,
    HEAD_VERSION = 8,
    HEAD_ID = 16,
    HEAD_BODY_BYTES = 32,
    HEAD_BODY_SUM = 40,
    HEAD_SUM = 56
};

enum record_offset {
    RECORD_SUM = 0,
    RECORD_LENGTH = 8,
    RECORD_TYPE = 12,
    RECORD_FOLLOWS = 14, /* 1: it was written in one go with the record before it; else 0 */
    RECORD_HEAD_BYTES = 16
};

enum record_type {
    RECORD_MESSAGE = 1,
    RECORD_RECIPIENT,
    RECORD_OUTCOME,
    RECORD_REPORTED,
    RECORD_WARNED,
    RECORD_REROUTED,
    RECORD_HOLD,
    RECORD_VIEW,
    RECORD_SESSION
};

#define MESSAGE_BITS_AT 4 /* in the content of a MESSAGE */
enum message_bits {
    MESSAGE_IS_HELD = 1,
    MESSAGE_IS_REPORT = 2,
    MESSAGE_IS_8BIT = 4,
    MESSAGE_IS_DSN = 8,
    MESSAGE_IS_BINARY = 16
};

enum view_bits { VIEW_IS_IN_FRONT = 1 };

enum recipient_bits {
    RECIPIENT_MAY_BE_DUPLICATE = 1,
    RECIPIENT_IS_RELAYED = 2,
    RECIPIENT_IS_REPORTED = 4,
    RECIPIENT_IS_WARNED = 8,
    RECIPIENT_IS_UNVERIFIED = 16,
    RECIPIENT_IS_DELIVERED = 32
};

enum address_bits { ADDRESS_IS_LITERAL = 1, ADDRESS_KEEPS_CASE = 2, ADDRESS_KEEPS_DOTS = 4 };

/* ---- what a content is made of ---- */

void spool_add_number(struct buf *out, uint64_t number, size_t octets);
void spool_add_text(struct buf *out, struct bytes text);
void spool_add_address(struct buf *out, const struct address *address);
/* Fate, booleans, tries, tried_ms of a recipient. */
void spool_add_tries(struct buf *out, const struct spool_recipient *s);

/* A content that is taken piece by piece from its start. Once a piece was missing, all that follows
 * is empty. Texts are copied into the arena. */
struct spool_content {
    struct bytes left;
    struct arena *arena;
    bool is_short, has_no_memory;
};

struct bytes spool_take(struct spool_content *content, size_t octets);
uint64_t spool_take_number(struct spool_content *content, size_t octets);
struct bytes spool_take_text(struct spool_content *content);
void spool_take_address(struct spool_content *content, struct address *address);
void spool_take_tries(struct spool_content *content, struct spool_recipient *s);
int spool_content_error(
    const struct spool_content *content); /* 0, ERR_MEMORY, or short: ERR_SYNTAX */

/* ---- sums ---- */

/* The sum of a whole record at `offset` of the file of this id: of all that follows the sum
 * itself. */
uint64_t spool_record_sum(const struct id *id, uint64_t offset, struct bytes record);

#endif
