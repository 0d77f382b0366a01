/* SPDX-License-Identifier: BSD-2-Clause */
/* How other threads have something done on a loop, and wait for it. Nothing of the loop's is ever
 * touched by them. */
#ifndef POSTERN_CROSSING_H
#define POSTERN_CROSSING_H

#include <stdbool.h>

#include "proxy/io/loop.h"

struct crossing; /* one for each loop */

/* One thing to do; begins the caller's own struct, which stands on the stack of the thread that
 * waits. The loop may use all that the caller's stack holds until it has answered. */
struct crossing_call {
    struct crossing_call *next;
    struct crossing_wait *wait; /* on that stack, too */
};

/* `run` is called on the loop; it, or somebody later, answers. NULL: see *error_out. */
struct crossing *crossing_new(struct loop *loop,
                              void (*run)(void *owner, struct crossing_call *call), void *owner,
                              int *error_out);
/* From any thread but the loop's: waits until the call was answered. False: nobody saw it, for the
 * crossing is closed. */
bool crossing_enter(struct crossing *crossing, struct crossing_call *call);
/* On the loop. The call is gone after this. */
void crossing_answer(struct crossing *crossing, struct crossing_call *call);
/* On the loop. Calls that nobody has seen end now, and those that come later at once; whoever holds
 * one has to answer it still. */
void crossing_close(struct crossing *crossing);
/* After the loop has ended, when no thread comes any more. */
void crossing_free(struct crossing **held);

#endif
