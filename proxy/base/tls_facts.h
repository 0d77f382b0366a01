/* SPDX-License-Identifier: BSD-2-Clause */
/* What is known of a connection that is encrypted by TLS. Pure. */
#ifndef POSTERN_TLS_FACTS_H
#define POSTERN_TLS_FACTS_H

#include <stdbool.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

struct tls_facts {
    const char *version; /* "TLSv1.3"; a constant, as the cipher's name is */
    const char *cipher;
    unsigned bits;            /* of the cipher's key */
    bool is_resumed;          /* by a ticket of an earlier session */
    struct bytes server_name; /* which server the client has asked for; empty: it has not said */
    /* Of the peer's certificate, printable ASCII. Empty: it has none, or one that was not verified.
     */
    struct bytes subject, issuer;
    struct bytes common_name; /* the subject's, in UTF-8 without control characters; empty likewise,
                                 or where it has none */
};

/* A copy with texts of its own, all in one block: mem_free() it. NULL: no memory. */
struct tls_facts *tls_facts_copy(const struct tls_facts *facts);
/* VERSION/CIPHER/BITS: one word for log lines. */
void tls_facts_put(struct buf *out, const struct tls_facts *facts);

#endif
