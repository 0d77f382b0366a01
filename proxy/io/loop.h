/* SPDX-License-Identifier: BSD-2-Clause */
/* One event loop with what hangs off it: clock, deadlines, read buffer, pools. */
#ifndef POSTERN_LOOP_H
#define POSTERN_LOOP_H

#include <stdint.h>

#include "proxy/base/hash.h"
#include "proxy/base/mem.h"

struct loop; /* opaque: libuv's in the server, the simulator's in tests */

/* NULL: no memory or no descriptors. One thread owns a loop and all that hangs off it. */
struct loop *loop_new(void);
/* Runs until loop_stop(), then until every handle is closed. 0, or the first error. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Everything that was made on it must have been closed; asserts that nothing is left. */
void loop_free(struct loop **l);

uint64_t loop_now_ms(const struct loop *l);     /* monotonic, of this turn */
uint64_t loop_precise_us(const struct loop *l); /* monotonic, now: for durations in log lines */
int64_t loop_wall_ms(const struct loop *l);     /* Unix time */
uint64_t loop_random(struct loop *l);           /* unpredictable; seeded in the simulator */
struct hash_key loop_hash_key(struct loop *l);

/* Calls fn(owner) once, later in this turn or the next, outside every callback. `post` is
 * embedded in its owner; posting it again before it ran does nothing. */
struct loop_post {
    struct loop_post *next;
    void (*fn)(void *owner);
    void *owner;
    int is_posted;
};
void loop_post(struct loop *l, struct loop_post *post, void (*fn)(void *owner), void *owner);
void loop_unpost(struct loop *l, struct loop_post *post); /* not posted: nothing happens */

/* Calls fn(owner, number) in the loop when the process gets the signal. At most 8 of them. */
int loop_on_signal(struct loop *l, int number, void (*fn)(void *owner, int number), void *owner);

/* Blocks for everybody on this loop: 1 KiB for arenas and lines, 4 KiB for buffers, 64 KiB for
 * message content. */
struct loop_pools {
    struct pool small;  /* 1,024 octets */
    struct pool medium; /* 4,096 octets */
    struct pool chunk;  /* 65,536 octets */
};
struct loop_pools *loop_pools(struct loop *l);

#endif
