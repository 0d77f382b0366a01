/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the outbound machine share. */
#ifndef POSTERN_OUTBOUND_PRIVATE_H
#define POSTERN_OUTBOUND_PRIVATE_H

#include "proxy/smtp/outbound.h"

/* outbound_hello.c: GREETING, EHLO, HELO and XCLIENT, one command at a time. The reply function
 * returns whether it has filled in *ev. */
void outbound_hello_enter(struct outbound *o, enum outbound_state next);
bool outbound_hello_reply(struct outbound *o, const struct reply *r, struct outbound_event *ev);

/* outbound_say.c: the first command of a transaction; whatever may be said now, after every call
 * and every answer; the dot that closes a DATA in which nobody stands. */
void outbound_say_envelope(struct outbound *o);
void outbound_say_more(struct outbound *o);
void outbound_say_lone_dot(struct outbound *o);
/* Among the commands that have no answer yet. */
bool outbound_has_sent(const struct outbound *o, enum outbound_sent_kind kind);
/* From now on RCPTs are answered with `reply`. `heard`, or NULL, is kept: the target's words. */
void outbound_say_no(struct outbound *o, struct reply reply, const struct reply *heard);
void outbound_say_no_identity(struct outbound *o, const struct reply *heard);

/* outbound.c */
/* The last event: always returns true. `r` NULL: nothing was heard. */
bool outbound_go_away(struct outbound *o, enum outbound_gone why, const struct reply *r,
                      struct outbound_event *ev);
/* The same, to be told by outbound_next(). */
void outbound_go_away_later(struct outbound *o, enum outbound_gone why);

/* The first of the recipients that wait, of which there are some. */
static inline struct recipient *outbound_take_waiting(struct outbound *o)
{
    struct list *link = list_first(&o->waiting);

    list_remove(link);
    return LIST_ENTRY(link, struct recipient, in_outbound);
}

static inline unsigned outbound_class(const struct reply *r)
{
    return r->code / 100;
}

/* RFC 3463 3.8: X.7.Y is security or policy, here the target's word on the client. */
static inline bool outbound_is_policy(const struct reply *r)
{
    return r->enhanced[0] != 0 && r->enhanced[1] == 7;
}

#endif
