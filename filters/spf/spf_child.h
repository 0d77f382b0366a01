/* SPDX-License-Identifier: BSD-2-Clause */
/* postern's side of the evaluator: one program for each process. It is started, asked, killed when
 * it hangs, and started again when it is gone. */
#ifndef POSTERN_SPF_CHILD_H
#define POSTERN_SPF_CHILD_H

#include "filters/spf/spf_wire.h"
#include "proxy/base/list.h"
#include "proxy/io/loop.h"

#define SPF_CALLS_MAX     1024 /* that wait; further ones get no reply */
#define SPF_SENT_MAX      16   /* of them the evaluator has so many */
#define SPF_HANG_MS       1000 /* two of these without a reply: it hangs */
#define SPF_DEATHS_MAX    2    /* a domain that killed it so often is not asked about again */
#define SPF_KILLERS_MAX   64   /* remembered domains */
#define SPF_KILLER_KEPT_S 3600
#define SPF_REQUESTS_MAX  1000000 /* then it is replaced by a new one */

struct spf_child;

/* One request, embedded in its owner; the message and the domain are the owner's. */
struct spf_call {
    struct list link; /* while it waits, or is about to be told; in no list: it was sent */
    bool is_told;     /* that it gets no reply, or why; not counted among those that wait */
    struct bytes message;
    uint32_t number;     /* that of the message; no other call has it at the same time */
    struct bytes domain; /* whose policy may be what kills the evaluator */
    /* Called once, later. NULL: there is no reply, for now. The owner may be freed by this. */
    void (*answered)(struct spf_call *call, const struct spf_reply *reply);
};

/* For the log: the program ended while it evaluated a policy of `domain`, or it does not start
 * (error other than 0). */
typedef void spf_child_trouble(void *owner, struct bytes domain, int error);

/* `path`: the program; borrowed. NULL: no memory. A program that does not start is tried again. */
struct spf_child *spf_child_new(struct loop *loop, const char *path, spf_child_trouble *trouble,
                                void *owner);
/* Legal when no call waits. Frees the child when the program has ended. */
void spf_child_close(struct spf_child **held);

void spf_child_ask(struct spf_child *child, struct spf_call *call);
/* Legal when the call was asked and not answered. */
void spf_child_forget(struct spf_child *child, struct spf_call *call);

#endif
