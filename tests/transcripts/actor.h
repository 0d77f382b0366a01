/* SPDX-License-Identifier: BSD-2-Clause */
/* One actor of a script, and what it heard. */
#ifndef POSTERN_ACTOR_H
#define POSTERN_ACTOR_H

#include "tests/sim/sim.h"

struct actor {
    struct sim_peer *peer; /* NULL: has not begun */
    char *heard;
    size_t length;
    bool takes_chunks, chunk_is_last, is_ended;
    bool has_answered; /* a chunk, by itself */
    bool is_ignored;   /* what it hears is not looked at */
    uint64_t chunk_left;
};

/* Notes it as heard. */
void actor_hear(struct actor *a, struct bytes octets);
/* Takes what has come. */
void actor_listen(struct actor *a);
/* Of what was heard. */
void actor_forget(struct actor *a, size_t octets);

#endif
