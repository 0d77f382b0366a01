/* SPDX-License-Identifier: BSD-2-Clause */
/* The filters of a listener or a target, in order, and the walk of one client along them: who is
 * asked when, whom that spares, what is waited for, what a broken filter means, who sees which
 * edits.
 *
 * Filters are asked side by side. The first in order that answers with a reply has the word; what
 * those behind it say is not waited for. One that may edit the content comes before those behind
 * it: they are shown the message when it has answered at END, with its edits. */
#ifndef POSTERN_CHAIN_H
#define POSTERN_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "filters/filter.h"
#include "proxy/base/bytes.h"
#include "proxy/base/id.h"
#include "proxy/io/copy.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/session.h"
#include "proxy/smtp/view.h"

struct chain {
    struct filter **filters;
    size_t count;       /* 0: there are none */
    uint32_t stages;    /* at which it is to be asked: bits by enum session_stage */
    bool reads_content; /* some filter looks at the message, or may edit it */
    size_t name_count;  /* of filters that write Authentication-Results */
};

/* `filters` is borrowed and outlives the chain. */
void chain_init(struct chain *chain, struct filter **filters, size_t count);

/* Their names in these fields: chain->name_count of them, borrowed. */
void chain_names(const struct chain *chain, struct bytes *names_out);

struct chain_walk; /* one client's; owned by who made it */

struct chain_walk_use {
    /* The answer to chain_ask(), within it or later: code 0: go on; else the client's reply,
     * borrowed. The walk may be ended, or asked again, from here. */
    void (*answered)(void *owner, const struct reply *reply);
};

/* For the log lines of a walk. */
struct chain_log {
    struct log *log;
    uint32_t sinks;
    const struct id *session;
};

/* Of whom filters are asked. */
struct chain_client {
    const struct identity *client, *origin; /* whom `exempt` spares, and whom filters judge */
    struct bytes hostname, listener;
    uint32_t edits; /* FILTER_EDIT() bits of what filters may do at most */
};

/* The arguments outlive the walk, `origin` as long as anything is asked; *about and *log are
 * copied. NULL: no memory. */
struct chain_walk *chain_walk_new(const struct chain *chain, struct loop *loop,
                                  const struct chain_client *about, const struct chain_log *log,
                                  const struct chain_walk_use *use, void *owner);
/* Ends message and session; an answer that is due does not come. */
void chain_walk_end(struct chain_walk **held);

/* Legal when no answer is due. What the question points to stays until it is answered or forgotten.
 * Stages before this one that were never asked about are asked about now. */
void chain_ask(struct chain_walk *walk, const struct session_question *question);
/* The answer to chain_ask() is not wanted any more. Filters that think go on. */
void chain_forget(struct chain_walk *walk);
/* Reverse DNS has said who the client is: filters that waited for that are asked. */
void chain_named(struct chain_walk *walk);
bool chain_is_asked(const struct chain_walk *walk); /* an answer is due */

/* ---- content ---- */

/* Legal behind DATA's answer, before any content. Filters are shown the message as `view` has it,
 * behind the lines of those before them; they read `copy` until chain_message_ended().
 * `body_max_bytes`: of a body that a filter makes; 0: no limit. */
void chain_show(struct chain_walk *walk, struct copy *copy, const struct view *view,
                uint64_t body_max_bytes);
void chain_flush(struct chain_walk *walk); /* more was appended to the copy */
/* All of the message is in the copy. To be called before END is asked about. */
void chain_whole(struct chain_walk *walk);
/* The copy goes before the message is over: filters see no more of it. Legal when no answer is due
 * about END. */
void chain_hide(struct chain_walk *walk);
/* There is room in the copy again. */
void chain_room(struct chain_walk *walk);

/* FILTER_EDIT() bits of what filters may still do to the message; meaningful from DATA's answer
 * on. */
uint32_t chain_may_edit(const struct chain_walk *walk);
/* When END was answered: the bits of what they did; the view with all edits made, which lives until
 * chain_message_ended(); and each edit of the envelope, in order. */
uint32_t chain_edited(const struct chain_walk *walk);
const struct view *chain_view(const struct chain_walk *walk);
void chain_each_edit(const struct chain_walk *walk,
                     void (*fn)(void *owner, const struct filter_edit *edit), void *owner);
/* A filter has said that the message is to be thrown away. */
bool chain_discards(const struct chain_walk *walk);

/* The message is over. Calling it without one is fine. */
void chain_message_ended(struct chain_walk *walk);

/* The lines that go in front of the message, those of the last filter first; all are there when
 * DATA was answered. */
void chain_put_lines(const struct chain_walk *walk, struct buf *out);
/* "NAME:WORD", a line for each: what the filters said of this message, for log_put_list(). */
void chain_put_words(const struct chain_walk *walk, struct buf *out);

#endif
