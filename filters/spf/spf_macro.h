/* SPDX-License-Identifier: BSD-2-Clause */
/* The macros of SPF (RFC 7208 7): their syntax, and what they stand for. Pure. */
#ifndef POSTERN_SPF_MACRO_H
#define POSTERN_SPF_MACRO_H

#include <stdbool.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"

/* Whom a check is about. */
struct spf_subject {
    struct netaddr client;
    struct bytes helo;
    struct bytes local, sender_domain; /* of the sender; an empty local part means postmaster */
    struct bytes domain;               /* whose policy is asked */
    struct bytes receiver;             /* our own name */
    uint64_t wall_s;
};

/* What macros stand for at one place of the evaluation. */
struct spf_scope {
    const struct spf_subject *subject;
    struct bytes domain;    /* %{d}: whose record it is */
    struct bytes confirmed; /* %{p}: the client's confirmed name, or "unknown" */
};

/* domain-spec: ends in a top label or a macro; without the letters c, r, t. */
bool spf_macro_is_domain(struct bytes text);
/* macro-string, all letters; the value of an unknown modifier. */
bool spf_macro_is_string(struct bytes text);
/* The text of an explanation: words between spaces. */
bool spf_macro_is_explanation(struct bytes text);
/* Does %{p} stand in it? It costs questions to DNS. */
bool spf_macro_wants_name(struct bytes text);
/* Legal when one of the checks above holds. What does not fit into `out` makes buf.has_failed. */
void spf_macro_expand(struct buf *out, struct bytes text, const struct spf_scope *scope);

#endif
