/* SPDX-License-Identifier: BSD-2-Clause */
/* A target that answers as a server should, but for what the input makes it do. It writes down what
 * it was given. */
#ifndef POSTERN_SESSION_TARGET_H
#define POSTERN_SESSION_TARGET_H

#include "tests/fuzz/pieces.h"
#include "tests/sim/sim.h"

#define SESSION_TAKEN_MAX 24

/* A message whose end it has seen. */
struct session_taken {
    struct pieces_seen content;
    int accepted;     /* recipients, by this target */
    bool is_accepted; /* it said 2xx, and that was sent; */
    bool is_held;     /* or is to be sent */
    bool is_refused;  /* it said no: it may be asked once more */
};

struct session_target {
    struct sim_peer *peer;
    struct pieces_seen in;    /* not understood yet */
    struct pieces_seen queue; /* replies that are held back */
    struct pieces_seen content;
    enum { TARGET_COMMANDS, TARGET_DATA, TARGET_CHUNK, TARGET_OVER } state;
    uint64_t chunk_left;
    bool is_last_chunk;
    bool is_holding;  /* replies wait in the queue */
    bool is_confused; /* said something that it was not asked: nothing can be told any more */
    bool is_doubtful; /* it misbehaved once: postern may not know what it has taken */
    bool has_refused; /* the message behind DATA, before its end */
    bool has_bad_chunk;
    const char *instead; /* of the next reply, once; NULL: the right one */
    unsigned caps;       /* what EHLO announces, bits */
    int accepted;
    struct session_taken taken[SESSION_TAKEN_MAX]; /* then it hangs up */
    int taken_count;
};

void session_target_begin(struct session_target *t, struct sim_peer *peer, unsigned caps);
void session_target_greet(struct session_target *t);
/* Reads and answers. True: something came. */
bool session_target_serve(struct session_target *t);
void session_target_release(struct session_target *t);               /* what was held back */
void session_target_say(struct session_target *t, const char *text); /* whatever it is */
/* 4xx or 5xx within the content, where that is allowed. */
void session_target_refuse_early(struct session_target *t);
void session_target_forget(struct session_target *t);

#endif
