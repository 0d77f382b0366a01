/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies in a simulated world, their owners and readers. */
#ifndef POSTERN_COPY_WORLD_H
#define POSTERN_COPY_WORLD_H

#include "proxy/io/copy.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define CHUNK   65536
#define MILLION (1u << 20)
#define READERS 6
#define COPIES  3
#define HEAD    64

struct copy_world;

struct owner {
    struct copy_world *f;
    struct copy *copy;
    struct netaddr client;
    int rooms, failures, refusals;
    bool is_ending; /* its client says nothing more */
    int unkept;     /* why its file could not be written */
    uint64_t appended;
};

struct follower {
    struct reader reader; /* first */
    struct copy_world *f;
    int calls;
    bool is_open;
};

struct copy_world {
    struct sim *world;
    struct loop *loop;
    struct copy_limits limits;
    struct owner owners[COPIES];
    struct follower followers[READERS];
    bool is_in_call;
};

/* Octet number `at` of every message. */
static inline uint8_t octet(uint64_t at)
{
    return (uint8_t)(at ^ (at >> 8) * 3 ^ (at >> 16) * 7);
}

void copy_world_begin(struct copy_world *f, uint64_t seed);
void copy_world_end(struct copy_world *f);    /* looks whether everything was given back */
void copy_world_settle(struct copy_world *f); /* lets everything happen that can */
void copy_world_pass(struct copy_world *f, uint64_t ms); /* ... in that time */
bool copy_world_new(struct copy_world *f, int which);
void copy_world_follow(struct copy_world *f, int which, struct owner *o);
void copy_world_stop_following(struct follower *w);
extern const struct copy_use copy_world_use;
/* Appends up to `octets`; returns how many there was room for. */
uint64_t copy_world_append(struct owner *o, uint64_t octets, int *error_out);
/* Appends all of it, and lets jobs run where there is no room. False: it failed. */
bool copy_world_append_all(struct owner *o, uint64_t octets);
/* Reads up to `most` octets of what can be read now, and looks at each. */
uint64_t copy_world_read(struct follower *w, uint64_t most);
bool copy_world_read_all(struct follower *w);

#endif
