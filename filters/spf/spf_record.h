/* SPDX-License-Identifier: BSD-2-Clause */
/* One SPF record (RFC 7208 12): the whole of it is checked before anything of it counts. Pure. */
#ifndef POSTERN_SPF_RECORD_H
#define POSTERN_SPF_RECORD_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"

enum spf_mechanism {
    SPF_ALL,
    SPF_INCLUDE,
    SPF_A,
    SPF_MX,
    SPF_PTR,
    SPF_IP4,
    SPF_IP6,
    SPF_EXISTS,
    SPF_REDIRECT /* a modifier, but evaluated like a mechanism when no other matched */
};

/* Borrows from the record. */
struct spf_term {
    enum spf_mechanism mechanism;
    uint8_t qualifier;    /* + - ~ ? */
    struct bytes text;    /* as it stands in the record */
    struct bytes domain;  /* a domain-spec; empty: the domain whose record it is */
    struct netmask net;   /* SPF_IP4, SPF_IP6 */
    uint8_t bits4, bits6; /* SPF_A, SPF_MX: prefixes */
};

struct spf_record {
    struct bytes terms;                 /* what follows the version */
    struct bytes redirect, explanation; /* domain-specs; empty: there is no such modifier */
};

/* "v=spf1", then a space or nothing more. Everything else is no business of SPF. */
bool spf_record_is_policy(struct bytes text);
/* Legal when the text is a policy. False: not a valid record; *fault_out is the term that is
 * wrong. */
bool spf_record_check(struct bytes text, struct spf_record *record_out, struct bytes *fault_out);
/* Takes the next mechanism of a checked record's terms; modifiers are passed over. False: no more.
 */
bool spf_record_next(struct bytes *terms, struct spf_term *term_out);

#endif
