/* SPDX-License-Identifier: BSD-2-Clause */
/* One message and two targets that do what they are told to: drives a transaction to its end. */
#ifndef POSTERN_TRANSACTION_PLAY_H
#define POSTERN_TRANSACTION_PLAY_H

#include "tests/unit/lib.h"

#include "proxy/base/error.h"
#include "proxy/smtp/event.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/transaction.h"

#define PLAY_ID "0123456789BCDFGH"

/* What a target does with its recipient. */
enum way {
    ACCEPTS = 'a', /* at the end of data */
    DEFERS = 'd',
    REFUSES = 'r',
    VANISHES = 'u', /* behind the end of data, before its reply */
    BREAKS = 'l',   /* before the end of data */
    REFUSES_EARLY = 'e' /* in the content */,
    REFUSES_RCPT = 'R',
    DEFERS_RCPT = 'D',
    HANGS = 'h' /* never says anything to the end of data */
};

enum kind { SPOOLABLE, TEMPFAIL, MAILDIR };

/* When the copy is let go, as its file cannot be written: before what happens in the content, or
 * after that. */
enum unkept { KEPT, UNKEPT_BEFORE, UNKEPT_AFTER };

struct play {
    struct pool pool;
    struct arena arena;
    struct identity client;
    struct transaction t;
    struct recipient *rcpts[2];
    char ways[2];
    enum kind kinds[2];
    enum unkept unkept;
    const char *quarantined; /* "0", "1": filters of that target say so; "all": the listener's */
    int prepare_error, commit_error; /* of the spool file */
    int undo_error, appear_error;    /* of maildirs: at prepare, at commit */
    bool withholds_prepare, withholds_commit;
    bool withholds_undo, withholds_appear; /* the test says how it went */
    bool was_prepared, was_committed;      /* the spool file was asked for */
    int appeared, ended, dropped;          /* maildirs, ends of data, branches */
    bool is_settled;
};

void play_begin(struct play *p);
void play_end(struct play *p);
void play_feed(struct play *p, struct event ev);
void play_drain(struct play *p);
struct routed_leg play_leg(const struct play *p, int target);
struct recipient *play_add(struct play *p, const struct routed_leg *legs, int count);
/* A recipient for each target, or one for both. */
void play_address_apart(struct play *p);
void play_address_list(struct play *p);
void play_answer_rcpt(struct play *p, int target);
void play_answer_end(struct play *p, struct branch *b);
/* Up to where the end of data is released, or further. False: no recipient stands. */
bool play(struct play *p);
/* "250Q S- p c": the code and whether it has our id; what is left of either recipient; whether the
 * spool file was prepared, and committed. */
void play_describe(const struct play *p, struct lib_text *text);
/* TRANSACTION_EACH: likewise, with a code for each RCPT, or "-" where none was accepted. */
void play_describe_each(const struct play *p, struct lib_text *text);

#endif
