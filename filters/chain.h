/* SPDX-License-Identifier: BSD-2-Clause */
/* The filters of a listener or a target, in order, and the walk of one client along them: who is
 * asked when, whom that spares, what is waited for, what a broken filter means.
 *
 * Filters are asked side by side. The first in order that answers with a reply has the word; what
 * those behind it say is not waited for. */
#ifndef POSTERN_CHAIN_H
#define POSTERN_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "filters/filter.h"
#include "proxy/base/bytes.h"
#include "proxy/base/id.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/session.h"

struct chain {
    struct filter **filters;
    size_t count;       /* 0: there are none */
    uint32_t stages;    /* at which it is to be asked: bits by enum session_stage */
    bool reads_content; /* some filter looks at what passes by */
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

/* The arguments outlive the walk, `origin` as long as anything is asked. `client` is whom `exempt`
 * spares, `origin` whom filters judge. NULL: no memory. */
struct chain_walk *chain_walk_new(const struct chain *chain, struct loop *loop,
                                  const struct identity *client, const struct identity *origin,
                                  const struct chain_log *log, const struct chain_walk_use *use,
                                  void *owner);
/* Ends message and session; an answer that is due does not come. */
void chain_walk_end(struct chain_walk **held);

/* Legal when no answer is due. What the question points to stays until it is answered or forgotten.
 * Stages before this one that were never asked about are asked about now. */
void chain_ask(struct chain_walk *walk, const struct session_question *question);
/* The answer to chain_ask() is not wanted any more. Filters that think go on. */
void chain_forget(struct chain_walk *walk);
bool chain_is_asked(const struct chain_walk *walk); /* an answer is due */
/* Legal when chain->reads_content: content of the message, as it goes to the targets. */
void chain_content(struct chain_walk *walk, struct bytes content);
/* The message is over. Calling it without one is fine. */
void chain_message_ended(struct chain_walk *walk);

/* The lines that go in front of the message, in the order of the filters; all are there when DATA
 * was answered. */
void chain_put_lines(const struct chain_walk *walk, struct buf *out);
/* "NAME:WORD,NAME:WORD": what the filters said of this message, for the log. */
void chain_put_words(const struct chain_walk *walk, struct buf *out);

#endif
