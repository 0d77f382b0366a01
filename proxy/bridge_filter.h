/* SPDX-License-Identifier: BSD-2-Clause */
/* The filters beside one client: those of its listener, and those of targets of the transaction. */
#ifndef POSTERN_BRIDGE_FILTER_H
#define POSTERN_BRIDGE_FILTER_H

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/smtp/transaction.h"

struct bridge;
struct bridge_filters; /* NULL in a bridge: nobody was asked yet */

/* SESSION_ACT_FILTER: answers the session, now or later. */
void bridge_filter_ask(struct bridge *b);
/* Feeds EV_ROUTED, now or when the filters of the targets have answered. `routed` lies in the mail
 * arena. */
void bridge_filter_route(struct bridge *b, struct recipient *rcpt, struct routed *routed);
void bridge_filter_named(struct bridge *b); /* the client's name is known */
/* Forgets a question that the session no longer waits for, and a message whose sender was refused.
 */
void bridge_filter_forget_late(struct bridge *b);
/* Takes octets off `*content` and hands out what stays in the message, in pieces. False: all are
 * taken. */
bool bridge_filter_take(struct bridge *b, struct bytes *content, struct bytes *kept_out);
/* How many octets it holds back. */
size_t bridge_filter_held(const struct bridge *b);
/* The message is whole: the last octets that stay. */
struct bytes bridge_filter_last(struct bridge *b);
/* There was no memory to hold octets back: the message cannot be completed. */
bool bridge_filter_has_failed(const struct bridge *b);
void bridge_filter_flush(struct bridge *b); /* more is in the copy */
void bridge_filter_whole(struct bridge *b); /* everything is */
/* May a filter replace the body? Then the copy is not finished before they have answered. */
bool bridge_filter_may_append(const struct bridge *b);
void bridge_filter_room(struct bridge *b); /* there is room in the copy for that */
/* The message was refused, and its copy goes. What filters were asked about it has its answer. */
void bridge_filter_stop(struct bridge *b);
void bridge_filter_message_ended(struct bridge *b);
void bridge_filter_end(struct bridge *b); /* the session is over */
/* What filters said of the message, for its log line. */
void bridge_filter_put_words(const struct bridge *b, struct buf *out);

#endif
