/* SPDX-License-Identifier: BSD-2-Clause */
/* An event loop and what belongs to it: clock, posts, signals, chance, pools. */
#ifndef POSTERN_LOOP_H
#define POSTERN_LOOP_H

#include <stdint.h>

#include "proxy/base/hash.h"
#include "proxy/base/mem.h"

struct loop; /* opaque: libuv's in the server, the simulator's in tests */

/* NULL: no memory or no descriptors. One thread owns a loop and all that belongs to it. */
struct loop *loop_new(void);
/* Runs until loop_stop(), then until every handle is closed. 0, or the first error. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Legal when everything that was made on the loop has been closed. */
void loop_free(struct loop **held);

/* Monotonic, of this turn; it stands still while the process is stopped for more than a second, for
 * deadlines, and for what is measured by loop_precise_us(). */
uint64_t loop_now_ms(const struct loop *loop);
uint64_t loop_precise_us(const struct loop *loop); /* monotonic, now: for durations in log lines */
int64_t loop_wall_ms(const struct loop *loop);     /* Unix time */
uint64_t loop_random(struct loop *loop);           /* unpredictable; seeded in the simulator */
struct hash_key loop_hash_key(struct loop *loop);

/* Calls fn(owner) once, later in this turn or in the next one, outside every callback. `post` is
 * embedded in its owner; posting it again before it has run does nothing. */
struct loop_post {
    struct loop_post *next;
    void (*fn)(void *owner);
    void *owner;
    int is_posted;
};
void loop_post(struct loop *loop, struct loop_post *post, void (*fn)(void *owner), void *owner);
void loop_unpost(struct loop *loop,
                 struct loop_post *post); /* does nothing to one that is not posted */

/* Calls fn(owner, number) in the loop when the process gets the signal. For at most 8 signals. */
int loop_on_signal(struct loop *loop, int number, void (*fn)(void *owner, int number), void *owner);

/* Blocks for all users of this loop: 1 KiB for arenas and lines, 4 KiB for buffers, 64 KiB for
 * message content. */
struct loop_pools {
    struct pool small;  /* 1,024 octets */
    struct pool medium; /* 4,096 octets */
    struct pool chunk;  /* 65,536 octets */
};
struct loop_pools *loop_pools(struct loop *loop);

#endif
