/* SPDX-License-Identifier: BSD-2-Clause */
/* What a branch tells its carrier, and how the two part. */
#ifndef POSTERN_RELAY_TELL_H
#define POSTERN_RELAY_TELL_H

#include <stdbool.h>

#include "proxy/smtp/event.h"
#include "route/relay/relay_branch.h"

/* The recipients that rcpt() has brought so far, in order; `r` NULL: the first. NULL: no more. */
struct recipient *relay_tell_next(const struct relay_branch *w, const struct recipient *r);

#define RELAY_EACH_RECIPIENT(r, w)                                                                 \
    for (struct recipient *r = relay_tell_next(w, NULL); r != NULL; r = relay_tell_next(w, r))

/* Its RCPT was accepted, by every target of its list, and it is not lost since. */
bool relay_tell_stands(const struct recipient *r);
/* The reply in the target's stead, where it does not see the client on this connection; REPLY_OK:
 * there is none. */
enum reply_id relay_tell_guard(const struct relay_branch *w, const struct recipient *r);

static inline bool relay_tell_is_guarded(const struct relay_branch *w, const struct recipient *r)
{
    return relay_tell_guard(w, r) != REPLY_OK;
}

/* Each reports. False: the branch is gone, its memory perhaps too. */
bool relay_tell_answer(struct relay_branch *w, struct recipient *r, enum fate fate,
                       const struct reply *reply);
/* One that stood is lost after all: asked for again, and then refused. The last one ends the
 * branch. */
bool relay_tell_fallen(struct relay_branch *w, struct recipient *r, enum fate fate,
                       const struct reply *reply);
/* What could not be told when it became known: guards, and a failure. */
bool relay_tell_due(struct relay_branch *w);
/* The same, soon: legal anywhere. */
void relay_tell_later(struct relay_branch *w);

/* Each reports, and the branch is gone. */
void relay_tell_last(struct relay_branch *w, struct event *ev);
void relay_tell_broken(struct relay_branch *w, const struct reply *reply, bool is_end_sent);

/* Nothing points at it any more. */
void relay_tell_detach(struct relay_branch *w);
/* The transaction on its connection is given up; the connection lives on where it can. */
void relay_tell_release(struct relay_branch *w);

#endif
