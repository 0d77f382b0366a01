/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files about a client's filters share. */
#ifndef POSTERN_BRIDGE_FILTER_PRIVATE_H
#define POSTERN_BRIDGE_FILTER_PRIVATE_H

#include "filters/chain.h"
#include "proxy/bridge.h"
#include "proxy/bridge_filter.h"
#include "proxy/smtp/header_strip.h"

/* The filters of one target beside a transaction; in the mail arena. */
struct target_walk {
    struct list in_filters;
    struct bridge_filters *of;
    struct target *target;
    struct chain_walk *walk;
    struct reply refusal; /* the last answer; code 0: go on */
    bool is_shown;        /* it reads the message */
};

static inline struct target_walk *target_walk_of(struct list *link)
{
    return LIST_ENTRY(link, struct target_walk, in_filters);
}

struct bridge_filters {
    struct bridge *bridge;
    struct chain_walk *own; /* NULL: the listener has no filters */
    struct list targets;    /* struct target_walk */
    struct session_question about;
    unsigned open;           /* chains that have not answered */
    struct routed *routed;   /* what is fed when they have; NULL: the session has asked */
    struct routed_leg *legs; /* of `routed` */
    struct reply refusal;    /* of the whole command; in the mail arena; code 0: none */
    struct header_strip strip;
    bool may_append; /* a filter may put another body behind the message */
};

/* bridge_filter_content.c, at DATA's answer. What filters may do decides what is held back. They
 * are shown the message from here on; those of targets behind listener's filters that may edit it
 * when these have. 0 or an error. */
int bridge_filter_begin_content(struct bridge_filters *f);
void bridge_filter_show_targets(struct bridge_filters *f);
void bridge_filter_hide(struct bridge_filters *f); /* the copy goes */

/* bridge_filter_edit.c, when the listener's filters have agreed at END, and when those of a target
 * have. 0 or an error. */
int bridge_filter_take_content(struct bridge_filters *f);
int bridge_filter_take_target_content(struct target_walk *t);
/* When all have answered, at DATA and at END: who gets the message. REPLY_OK, or why it cannot be
 * done so. */
enum reply_id bridge_filter_take_fates(struct bridge_filters *f);

#endif
