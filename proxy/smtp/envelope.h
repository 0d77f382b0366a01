/* SPDX-License-Identifier: BSD-2-Clause */
/* What MAIL said. */
#ifndef POSTERN_ENVELOPE_H
#define POSTERN_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/id.h"
#include "proxy/smtp/address.h"

struct envelope {
    struct address from; /* null: a bounce */
    struct bytes params; /* as they came: each was offered to the client, or is AUTH=<> */
    bool is_8bit;        /* BODY=8BITMIME */
    bool is_binary;      /* BODY=BINARYMIME: the body is any octets, and comes and leaves by BDAT */
    bool is_dsn;         /* RET or ENVID is in `params`, or a recipient has NOTIFY or ORCPT */
    uint64_t size_bytes; /* SIZE=, an estimate that is never trusted; 0: none */
    struct id id;        /* of the transaction */
    struct id session;   /* in which the message came; empty: in none, or not known */
};

#endif
