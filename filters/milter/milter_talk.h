/* SPDX-License-Identifier: BSD-2-Clause */
/* The conversation with a milter over one connection, from the mail server's side. Pure: it is told
 * what happens and what comes in; what is to be sent lies in `out`, and milter_talk_take() says
 * what came of it.
 *
 * A question is one stage; what the milter has not heard before it (CONNECT, HELO, MAIL) is told
 * first, so that a new connection in the middle of a session needs nothing of its owner. Content is
 * sent without waiting for the answers: they are read as they come, and the first that is final
 * decides. */
#ifndef POSTERN_MILTER_TALK_H
#define POSTERN_MILTER_TALK_H

#include "filters/milter/milter_answer.h"
#include "filters/milter/milter_macros.h"
#include "proxy/smtp/event.h"

/* What every talk with this milter goes by. */
struct milter_choice {
    uint32_t version, actions;              /* offered: 2, 3, 4 or 6; bits of SMFIF_* */
    struct bytes lists[MILTER_STAGE_COUNT]; /* names of macros; `at` NULL: the usual ones */
};

struct milter_verdict {
    enum filter_opinion opinion; /* never FILTER_FAILED */
    bool is_of_session;          /* whatever was asked: the client's, not the message's */
    struct reply reply;
};

enum milter_talk_state {
    MILTER_TALK_NEW,
    MILTER_TALK_OPTIONS, /* ours are sent */
    MILTER_TALK_OPEN,
    MILTER_TALK_SPENT, /* answers may come that nobody waits for: for the message under way it can
                          still be asked at END, for another one it is useless */
    MILTER_TALK_BROKEN
};

/* A command whose answer is waited for. */
enum milter_step {
    MILTER_STEP_NONE,
    MILTER_STEP_CONNECT,
    MILTER_STEP_HELO,
    MILTER_STEP_MAIL,
    MILTER_STEP_RCPT,
    MILTER_STEP_DATA,
    MILTER_STEP_UNKNOWN,
    MILTER_STEP_FIELD,
    MILTER_STEP_HEADER_END,
    MILTER_STEP_BODY,
    MILTER_STEP_END
};

/* How far the message is told. */
struct milter_talk_message {
    struct bytes end_macros; /* for the end of the header */
    bool is_begun;           /* the milter was told of it, or did not want to be */
    bool is_sent;            /* some command of it was sent, and no final answer came */
    bool is_header_over;
    bool is_cut_short; /* by a line that is no field: the empty line behind it is still to come */
    bool is_decided;   /* `verdict` */
    bool skips[MILTER_STEP_END + 1];
    unsigned due[MILTER_STEP_END + 1]; /* answers to content that have not come */
    bool has_body, has_whole_body;     /* a new body has begun, has ended with another edit */
    struct milter_verdict verdict;
};

struct milter_talk {
    const struct milter_choice *choice;
    enum milter_talk_state state;
    struct milter_terms terms; /* from MILTER_TALK_OPEN on */
    struct buf out;            /* to be sent; its owner takes octets off it */
    struct milter_reader in;
    struct milter_texts texts;
    struct arena of_connection, of_message, of_question;
    enum session_stage asked; /* SESSION_STAGE_NONE: nothing */
    struct milter_about about;
    enum milter_step step; /* what `asked` waits for */
    bool has_told_own;     /* the command of the very stage that is asked */
    bool has_told_connect, has_told_helo;
    struct milter_talk_message message;
    bool has_verdict; /* for milter_talk_take() to hand out */
    struct milter_verdict verdict;
    const char *problem; /* why it is broken */
};

enum milter_talk_event_kind {
    MILTER_TALK_MORE,  /* nothing more comes of what was given */
    MILTER_TALK_READY, /* the options are agreed on: `terms`; `bits`: steps that it wanted and was
                          not offered */
    MILTER_TALK_PROGRESS, /* it is at work */
    MILTER_TALK_EDIT,     /* edit; for END, before its verdict */
    MILTER_TALK_IGNORED,  /* likewise, but it may not do this */
    MILTER_TALK_VERDICT,  /* verdict: the answer to milter_talk_ask() */
    MILTER_TALK_FAILED    /* problem; comes once, and is the last */
};

struct milter_talk_event {
    enum milter_talk_event_kind kind;
    struct filter_edit edit; /* borrowed until the next call */
    struct milter_verdict verdict;
    uint32_t bits;
    const char *problem;
};

/* `choice` and the pools outlive it. */
void milter_talk_init(struct milter_talk *talk, const struct milter_choice *choice,
                      struct pool *small, struct pool *medium);
void milter_talk_done(struct milter_talk *talk);
/* Legal when new. Offers our options. */
void milter_talk_begin(struct milter_talk *talk);

/* Legal when nothing is asked, and milter_talk_is_usable(). `about` is borrowed; what is needed
 * later is copied. At END all content has been given. */
void milter_talk_ask(struct milter_talk *talk, enum session_stage stage,
                     const struct milter_about *about);
/* Content, after DATA was answered: fields raw, with folds and CRLF, then the body in any pieces.
 */
void milter_talk_field(struct milter_talk *talk, struct bytes field);
void milter_talk_body(struct milter_talk *talk, struct bytes piece);
/* The message is over: nothing more is asked about it, and no answer is wanted any more. */
void milter_talk_end_message(struct milter_talk *talk);
/* The client is gone. */
void milter_talk_quit(struct milter_talk *talk);

/* Takes octets off `*in` until something has come of them. Nothing of *event_out but the kind and
 * what is named there is set. */
void milter_talk_take(struct milter_talk *talk, struct bytes *in,
                      struct milter_talk_event *event_out);

/* May a message be begun? */
bool milter_talk_is_usable(const struct milter_talk *talk);
/* Is an answer due, whether anybody asked or not? */
bool milter_talk_is_due(const struct milter_talk *talk);

#endif
