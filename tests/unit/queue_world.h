/* SPDX-License-Identifier: BSD-2-Clause */
/* A spool that is filled by hand, and a whole worker of postern at work on it in a simulated world,
 * told as a play. */
#ifndef POSTERN_QUEUE_WORLD_H
#define POSTERN_QUEUE_WORLD_H

#include "spool/spool_format.h"
#include "spool/store.h"
#include "tests/sim/sim.h"
#include "tests/sim/stage.h"
#include "tests/unit/lib.h"

/* A message to be put into the queue before anybody works on it. */
struct queue_message {
    const char *id;        /* 16 of its digits */
    const char *from, *to; /* "joe@example.org" */
    const char *target;
    const char
        *also; /* the target of a second recipient, whom nobody has tried; NULL: there is none */
    const char *body;
    const struct view *view;      /* NULL: the body as it is */
    const struct spool_view *own; /* what the first recipient gets; NULL: that */
    enum fate fate;
    const char *reply;
    const char *listener; /* NULL: that of the configuration */
    int64_t arrived_ms;   /* before now */
    int64_t tried_ms;     /* likewise; 0: never */
    uint32_t tries;
    const char *reason; /* a filter has quarantined it; NULL: none has */
    int64_t held_ms;    /* ... before now */
    bool is_misplaced;  /* ... and its file lies in queue/ all the same */
};

struct queue_world {
    struct sim *sim;
    struct config *config;
    struct lib_text seen; /* what posternctl printed, and its last line */
};

/* `config` as stage_config() wants it. */
void queue_world_begin(struct queue_world *w, uint64_t seed, const char *config);
void queue_world_end(struct queue_world *w);
/* While no process runs. */
void queue_world_put(struct queue_world *w, const struct queue_message *m);
/* An empty file. */
void queue_world_touch(struct queue_world *w, const char *path);
/* A process from its start to its end. In the meantime the steps of the play: "wait SECONDS",
 * "jump SECONDS" of the wall clock, "ask COMMAND" of posternctl, "spoil PATH", "heal PATH", "go on"
 * of what hangs, "fail N" from the nth sync on, "stop". True: it ended as it should. */
bool queue_world_play(struct queue_world *w, const char *const *steps);
bool queue_world_has_logged(struct queue_world *w, const char *text);
/* How often the log has it. */
unsigned queue_world_count_logged(struct queue_world *w, const char *text);

#endif
