/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the outbound machine share. */
#ifndef POSTERN_OUTBOUND_PRIVATE_H
#define POSTERN_OUTBOUND_PRIVATE_H

#include <assert.h>

#include "proxy/smtp/outbound.h"

/* outbound_hello.c: GREETING, EHLO, HELO, STARTTLS, AUTH, XCLIENT and LOGIN, one command at a time.
 * The reply function returns whether it has filled in *ev. */
void outbound_hello_enter(struct outbound *o, enum outbound_state next);
bool outbound_hello_reply(struct outbound *o, const struct reply *reply, struct outbound_event *ev);

/* What outbound_auth_failed() has left to be said. */
bool outbound_hello_fail(struct outbound *o, struct outbound_event *ev);
/* Gives the memory of `out` back. What AUTH says does not stay in it. */
void outbound_drop_out(struct outbound *o);

/* outbound_say.c */
/* Begins the transaction of `job` on a connection that is ready for it. */
void outbound_say_envelope(struct outbound *o);
/* Whatever may be said now; called after every call and every answer. */
void outbound_say_more(struct outbound *o);
/* Closes a DATA in which no recipient stands. */
void outbound_say_lone_dot(struct outbound *o);
/* Is one of this kind among the commands that have no answer yet? */
bool outbound_has_sent(const struct outbound *o, enum outbound_sent_kind kind);
/* From now on RCPTs are answered with `reply`. `heard`: the target's words, to be kept, or NULL. */
void outbound_refuse(struct outbound *o, struct reply reply, const struct reply *heard);
void outbound_refuse_identity(struct outbound *o, const struct reply *heard);

/* outbound.c */
/* Makes the last event, and returns true. `reply` NULL: nothing was heard. */
bool outbound_go_away(struct outbound *o, enum outbound_gone why, const struct reply *reply,
                      struct outbound_event *ev);
/* The same, for outbound_next() to report. */
void outbound_go_away_later(struct outbound *o, enum outbound_gone why);

/* Takes the first of the waiting recipients; legal when there are some. */
static inline struct recipient *outbound_take_waiting(struct outbound *o)
{
    struct list *link = list_first(&o->rcpts.waiting);

    assert(link != NULL);
    list_remove(link);
    return LIST_ENTRY(link, struct recipient, in_outbound);
}

/* Does a password stand in `out`? */
static inline bool outbound_says_secret(const struct outbound *o)
{
    return o->state == OUT_AUTH || o->state == OUT_LOGIN;
}

static inline unsigned outbound_class(const struct reply *reply)
{
    return reply->code / 100;
}

/* RFC 3463 3.8: X.7.Y is security or policy, here the target's verdict on the client. */
static inline bool outbound_is_policy(const struct reply *reply)
{
    return reply->enhanced[0] != 0 && reply->enhanced[1] == 7;
}

#endif
