/* SPDX-License-Identifier: BSD-2-Clause */
/* Limits that a mail server announces: SIZE (RFC 1870) and LIMITS (RFC 9422). Pure. */
#ifndef POSTERN_LIMITS_H
#define POSTERN_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

#define LIMITS_VALUE_MAX 999999 /* RFC 9422 4: six digits */

/* 0: none was announced. */
struct limits {
    uint64_t size_bytes;
    uint32_t mails;   /* MAILMAX: transactions of one connection */
    uint32_t rcpts;   /* RCPTMAX: RCPTs of one transaction */
    uint32_t domains; /* RCPTDOMAINMAX: their different domains */
};

/* What stands behind SIZE; what is no number is no limit. */
void limits_read_size(struct limits *limits, struct bytes value);
/* One word behind LIMITS, "RCPTMAX=100"; unknown names and bad values are passed over. */
void limits_read_word(struct limits *limits, struct bytes word);
/* " MAILMAX=20 RCPTMAX=100", those of LIMITS that there are. */
void limits_put(struct buf *out, const struct limits *limits);

/* A transaction goes to any of these two. The size of either binds; of the others the smaller one,
 * where both announce it. */
struct limits limits_of_both(const struct limits *a, const struct limits *b);

/* The RCPTs of one transaction, as they are counted. */
struct limits_used {
    uint32_t rcpts;
    struct buf domains; /* a hash of each */
};
void limits_used_init(struct limits_used *used, struct pool *pool);
void limits_used_reset(struct limits_used *used); /* for another transaction; frees what it held */
/* Counts one more recipient, in this domain. False: it is one too many, and is not counted. */
bool limits_use(struct limits_used *used, const struct limits *limits, struct bytes domain);

#endif
