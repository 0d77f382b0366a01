/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the chain share: one client's walk along it. */
#ifndef POSTERN_CHAIN_PRIVATE_H
#define POSTERN_CHAIN_PRIVATE_H

#include "filters/chain.h"
#include "filters/edits.h"
#include "filters/filter_conf.h"
#include "proxy/base/arena.h"
#include "proxy/base/mem.h"
#include "proxy/io/copy.h"
#include "proxy/io/deadline.h"
#include "proxy/smtp/header_field.h"
#include "proxy/smtp/view.h"

#define CHAIN_BIT(stage) (1U << (stage))
#define CHAIN_FOR_SESSION                                                                          \
    (CHAIN_BIT(SESSION_STAGE_CONNECT) | CHAIN_BIT(SESSION_STAGE_HELO)) /* stages before MAIL */

/* What a filter found. */
struct finding {
    enum session_stage stage;
    struct reply refusal; /* code 0: none */
    struct bytes word, lines;
    bool is_through; /* no more questions */
    bool discards;
};

/* How far a filter has seen the message. */
struct feed {
    struct view view; /* what it is shown */
    size_t lines_at;  /* octets of view.lines that it has seen */
    struct reader reader;
    struct header_splitter splitter;
    struct bytes field;    /* one that it had no room for; in the splitter */
    bool has_seen_start;   /* of the copy's range */
    bool is_full;          /* until filter_more() */
    bool is_open;          /* it is shown the message */
    bool is_over;          /* it has seen all of it */
    bool waits_to_append;  /* for room in the copy */
    size_t appended_bytes; /* of the piece of a body that waits for the rest of its room */
};

struct seat {
    struct filter_seat seat;
    struct chain_walk *walk;
    struct deadline deadline;
    uint32_t asked;            /* stages that are done, or in question */
    enum session_stage asking; /* SESSION_STAGE_NONE: the filter has answered */
    bool is_in_ask;
    struct finding of_session, of_message;
    struct feed feed;
    struct edits edits;         /* those that count, or may come to count */
    enum reply_id edit_failure; /* why they cannot be made; REPLY_OK: they can */
};

struct chain_walk {
    const struct chain *chain;
    struct loop *loop;
    struct chain_client about;
    struct chain_log log;
    const struct chain_walk_use *use;
    void *owner;
    struct arena session, message;      /* words of filters */
    struct session_question question;   /* SESSION_STAGE_NONE: no answer is due */
    const struct transaction *envelope; /* of the message; NULL: there is none */
    struct copy *copy;                  /* its content; NULL: none yet */
    uint64_t body_max_bytes;            /* of a new body */
    struct view view; /* with the edits so far, and the lines of so many filters */
    size_t included;
    struct buf header;       /* what stands in the copy of it, once it was seen */
    uint64_t header_bytes;   /* octets of it, whether or not there was room for them */
    bool has_header;         /* view.lines have all of the header */
    bool is_whole;           /* the copy has all of the message */
    struct loop_post post;   /* chain_room() */
    struct loop_post naming; /* chain_named() */
    size_t shown;            /* filters that are shown the message; the others wait */
    struct seat seats[];
};

static inline struct seat *chain_seat(struct filter_seat *seat)
{
    return CONTAINER_OF(seat, struct seat, seat);
}

static inline const struct filter *chain_filter(const struct seat *s)
{
    return s->seat.filter;
}

bool chain_is_spared(const struct seat *s);
/* It has said that it needs no more questions. */
bool chain_is_through(const struct seat *s);
/* FILTER_EDIT() bits of what it may still do to the message. */
uint32_t chain_edits_of(const struct seat *s);
/* Asks whatever is due, and tells the owner when all have answered. Legal while an answer is due.
 * The walk may be gone after this. */
void chain_advance(struct chain_walk *walk);

/* What it puts in front of the message. */
struct bytes chain_lines_of(const struct seat *s);

/* Of chain_content.c. The view gets the lines of the filters before number `count`, the later ones
 * on top. ERR_MEMORY. */
int chain_include_lines(struct chain_walk *walk, size_t count);
/* The next filters are shown the message, up to the first that may edit it. */
void chain_show_next(struct chain_walk *walk);
bool chain_has_seen_all(const struct seat *s);
void chain_content_ended(struct chain_walk *walk);
/* Of chain_edit.c. The filter has agreed: its edits of the content are made. REPLY_OK, or why the
 * message cannot be edited so. */
enum reply_id chain_make_edits(struct seat *s);

#endif
