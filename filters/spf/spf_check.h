/* SPDX-License-Identifier: BSD-2-Clause */
/* One check of a domain's policy: rounds of the evaluator and of DNS, until there is a result. */
#ifndef POSTERN_SPF_CHECK_H
#define POSTERN_SPF_CHECK_H

#include "filters/spf/spf_child.h"
#include "proxy/io/deadline.h"
#include "proxy/io/dns.h"

/* What all checks of a process share; the users' to set, except for `checks`. */
struct spf_service {
    struct loop *loop;
    struct dns *dns;
    struct spf_child *child;
    uint32_t checks; /* that were begun: the number of the next one */
};

/* Embedded in its owner. */
struct spf_check {
    struct spf_service *service;
    struct spf_call call;
    struct dns_query *query; /* NULL: DNS is not asked */
    bool is_called;          /* the evaluator is asked */
    struct deadline deadline;
    struct netaddr client;
    struct spf_name domain;
    unsigned answers;
    enum spf_type type; /* what DNS is asked for */
    struct spf_name name;
    struct buf message;
    /* Called once, later, unless the check is cancelled; the owner may be freed by this. The reply
     * is borrowed, and is a result. */
    void (*done)(struct spf_check *check, const struct spf_reply *reply);
};

/* Nothing of the subject is kept. False: no memory, and `done` is not called. */
bool spf_check_begin(struct spf_check *check, struct spf_service *service,
                     const struct spf_subject *subject, bool wants_explanation, uint64_t timeout_ms,
                     void (*done)(struct spf_check *check, const struct spf_reply *reply));
/* Legal when the check was begun and `done` was not called. */
void spf_check_cancel(struct spf_check *check);

#endif
