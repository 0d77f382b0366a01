/* SPDX-License-Identifier: BSD-2-Clause */
/* Mailbox addresses of RFC 5321 4.1.2, and what clients use for them: read, and written so that a
 * target reads the same. Pure. */
#ifndef POSTERN_ADDRESS_H
#define POSTERN_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

#define ADDRESS_DOMAIN_MAX 255
#define ADDRESS_PATH_MAX   1024 /* with the angle brackets; as long as a line, for VERP and SRS */

/* The null sender has neither part; `postmaster` alone has no domain. `local` has no quotes
 * and quoted pairs, so that it can be compared; `domain` is as it was written, a literal with its
 * brackets, but without a final dot. */
struct address {
    struct bytes local;
    struct bytes domain;
    bool is_literal;
    bool keeps_dots;  /* written without quotes, though its dots ask for them */
    bool keeps_case;  /* routed by a case-sensitive table: a Maildir's path keeps the case, too */
    uint64_t mailbox; /* routed: its address_mailbox(); 0: not known */
};

static inline bool address_is_null(const struct address *a)
{
    return a->local.len == 0 && a->domain.len == 0;
}

/* The local part as it is written, the domain in any case. */
static inline bool address_is_same(const struct address *a, const struct address *b)
{
    return bytes_equal(a->local, b->local) && bytes_equal_nocase(a->domain, b->domain);
}

/* Reads a path at the start of `in`: "<" [source-route ":"] mailbox ">", "<>", "<local>".
 * Source routes are read and dropped (RFC 5321 appendix F.2). Octets over 127 are ERR_RANGE,
 * since SMTPUTF8 is not announced. The local part is copied into `arena` where it had quoted
 * pairs; else the parts point into `in`. *used_out: octets of the path. 0, ERR_SYNTAX,
 * ERR_TOO_LONG, ERR_RANGE, ERR_MEMORY. */
int address_parse_path(struct bytes in, struct arena *arena, struct address *address_out,
                       size_t *used_out);
/* The same without angle brackets and source route, all of `in`, which may not be empty: for
 * tables and the command line. */
int address_parse_mailbox(struct bytes in, struct arena *arena, struct address *address_out);
/* A copy whose parts live in `arena`. 0 or ERR_MEMORY. */
int address_copy(struct arena *arena, const struct address *a, struct address *copy_out);

/* Writes local@domain, with the local part quoted where RFC 5321 asks for it (not for keeps_dots);
 * never longer than what was read. For the null sender writes nothing. Adds no "<" and ">", which
 * only a quoted local part may hold. */
void address_put(struct buf *out, const struct address *a);

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]": no other tag was ever registered. */
bool address_is_literal(struct bytes domain);
bool address_is_postmaster(const struct address *a); /* the local part, any case */
/* A number that stands for the mailbox, never 0, the same for ever: with hash_chain(), the hash of
 * `local` (all of the local part, or what stands in front of the recipient delimiter) goes on over
 * the domain, each in blocks of 256 octets. The domain is in lower case, `local` too unless the
 * address keeps its case. */
uint64_t address_mailbox(const struct address *a, struct bytes local);

#endif
