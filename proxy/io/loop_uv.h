/* SPDX-License-Identifier: BSD-2-Clause */
/* A loop on libuv. Private to the .c files of proxy/io. */
#ifndef POSTERN_LOOP_UV_H
#define POSTERN_LOOP_UV_H

#include <uv.h>

#include "proxy/base/list.h"
#include "proxy/base/wheel.h"
#include "proxy/io/loop.h"

#define LOOP_READ_BYTES   65536
#define LOOP_RECORD_BYTES 16384 /* the content of a TLS record */
#define LOOP_CIPHER_BYTES                                                                          \
    (LOOP_READ_BYTES + 8192) /* as much encrypted, and records of TLS's own                        \
                              */
#define LOOP_SIGNALS_MAX  8
#define LOOP_RANDOMS_KEPT 32

struct loop_signal {
    uv_signal_t handle;
    void (*fn)(void *owner, int number);
    void *owner;
};

/* Called at the end of every turn, just before the loop waits. */
struct loop_turn_end {
    struct list link;
    void (*fn)(struct loop_turn_end *end);
};

/* Of the stream that is at work, and empty in between. Those for TLS cost memory when it is used.
 */
struct loop_buffers {
    uint8_t read[LOOP_READ_BYTES];
    uint8_t plain[LOOP_READ_BYTES];    /* what was decrypted */
    uint8_t record[LOOP_RECORD_BYTES]; /* what is to be encrypted together */
    uint8_t cipher[LOOP_CIPHER_BYTES]; /* ... and what became of it */
    size_t cipher_len;
};

/* Time as the loop counts it: without the gaps in which the process was stopped. */
struct loop_clock {
    uint64_t gaps_ms;   /* their sum */
    uint64_t due_by_ms; /* by libuv's clock: the loop was to run again by then; UINT64_MAX: not */
};

struct loop {
    uv_loop_t uv;
    struct loop_clock *clock; /* own_clock: reading it may find a gap */
    struct loop_clock own_clock;
    uv_prepare_t turn_end;
    uv_idle_t posting; /* active while anything is posted, so that the loop does not wait */
    uv_timer_t waking; /* for the wheel */
    struct wheel wheel;
    uint64_t wake_ms; /* when `waking` fires; UINT64_MAX: it does not */
    struct loop_post *posted, **posted_end;
    struct loop_post *due_posts; /* the batch that runs now */
    struct list turn_ends;
    uint32_t turn_number;
    struct loop_handshakes {
        uint32_t turn_number, count; /* steps in that turn */
    } handshakes;
    unsigned stray_count; /* see listener.c */
    unsigned signal_count, random_count;
    struct loop_signal signals[LOOP_SIGNALS_MAX];
    uint64_t randoms[LOOP_RANDOMS_KEPT];
    struct hash_key hash_key;
    struct loop_pools pools;
    struct loop_buffers buffers;
};

/* loop_clock.c */
void loop_clock_open(struct loop *loop);
/* The loop waits now, until a timer is due at the latest. */
void loop_clock_wait(struct loop *loop);

/* deadline.c: the timer behind the wheel. */
void deadline_wheel_open(struct loop *loop);

#endif
