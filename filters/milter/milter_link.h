/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to a milter: address after address until one is connected, then the talk over it,
 * its deadlines, and how much may be under way. */
#ifndef POSTERN_MILTER_LINK_H
#define POSTERN_MILTER_LINK_H

#include "filters/milter/milter_conf.h"
#include "filters/milter/milter_dial.h"
#include "filters/milter/milter_talk.h"
#include "proxy/io/deadline.h"
#include "proxy/io/loop.h"
#include "proxy/io/stream.h"

/* What all connections to one milter share. */
struct milter_service {
    struct loop *loop;
    struct dns *dns;
    const struct milter_conf *conf;
    char *const *paths; /* see milter_dial.h */
};

struct milter_link;

/* What the owner hears. It may close the link from within each of these but `unreached`. */
struct milter_link_events {
    /* link->to could not be connected to; another address follows, or `failed`. */
    void (*unreached)(void *owner, const struct milter_link *link, int error);
    /* `beyond`: steps that were not offered. */
    void (*agreed)(void *owner, const struct milter_link *link, uint32_t beyond);
    void (*verdict)(void *owner, const struct milter_verdict *verdict);
    /* False: no room; the same comes again after milter_link_go_on(). */
    bool (*edit)(void *owner, const struct filter_edit *edit);
    void (*ignored)(void *owner, enum filter_edit_kind kind);
    void (*more)(void *owner); /* there is room for what was not taken */
    /* The link is gone. `problem`: why, a constant. */
    void (*failed)(void *owner, const char *problem);
};

enum milter_link_state { MILTER_LINK_DIALLING, MILTER_LINK_OPEN, MILTER_LINK_CLOSED };

struct milter_link {
    const struct milter_service *service;
    enum milter_link_state state;
    struct stream *stream; /* NULL: none now */
    unsigned streams;      /* with those that are closing */
    struct stream_target to;
    struct milter_dial dial;
    struct milter_talk talk;
    struct deadline deadline;
    struct loop_post post; /* content is written once a turn */
    const struct milter_link_events *events;
    void *owner;
    struct buf held; /* the piece of a new body for which there was no room */
    bool is_held;    /* `held` has to be given again */
    bool wants_more; /* content was not taken */
};

/* NULL: no memory, or no address can be connected to; `unreached` may have been called. */
struct milter_link *milter_link_open(const struct milter_service *service,
                                     const struct milter_link_events *events, void *owner);
/* See milter_talk.h. `verdict` or `failed` may come within this call. */
void milter_link_ask(struct milter_link *link, enum session_stage stage,
                     const struct milter_about *about);
/* False: there is no room; `more` is called when there is. */
bool milter_link_field(struct milter_link *link, struct bytes field);
bool milter_link_body(struct milter_link *link, struct bytes piece);
void milter_link_go_on(struct milter_link *link);
void milter_link_end_message(struct milter_link *link);
/* Behind QUIT, where that is due. No event follows; the link may be gone. */
void milter_link_close(struct milter_link *link);

/* "192.0.2.1:25", "unix:/run/milter" */
void milter_link_put_address(const struct stream_target *to, struct buf *out);

#endif
