/* SPDX-License-Identifier: BSD-2-Clause */
/* What the control_*.c files share: a command that runs. */
#ifndef POSTERN_CONTROL_PRIVATE_H
#define POSTERN_CONTROL_PRIVATE_H

#include "proxy/base/arena.h"
#include "proxy/control/control.h"
#include "proxy/control/control_print.h"
#include "proxy/io/deadline.h"
#include "proxy/io/work.h"
#include "proxy/services.h"
#include "spool/runner.h"

#define CONTROL_WORDS_MAX 6

struct control_run;

enum control_needs {
    CONTROL_NEEDS_NOTHING,
    CONTROL_NEEDS_QUEUE /* it runs when the whole queue was read */
};

struct control_command {
    const char *name;
    const char *arguments; /* for the usage line */
    int words_min, words_max;
    enum control_needs needs;
    /* What is wrong with the arguments; NULL: nothing. */
    const char *(*check)(const struct bytes *words, int count);
    /* One step: makes some lines, begins a job, or ends. Not called while is_waiting. */
    void (*step)(struct control_run *run);
};

struct control_request {
    bool is_json;
    const struct control_command *command;
    struct bytes words[CONTROL_WORDS_MAX]; /* the arguments */
    int word_count;
};

struct control_reader { /* the caller, who takes the answer */
    void (*news)(void *owner);
    void *owner;
    struct loop_post post;
};

struct control_content { /* of cat */
    uint8_t *at;         /* owned */
    size_t len, told;
};

struct control_ids {
    struct runner_walk walk; /* collects the ids */
    struct bytes target;     /* of this target alone; empty: all */
    struct work work;        /* sorts them */
    struct id *at;           /* owned */
    size_t count, capacity, next;
    bool has_failed; /* no memory */
};

/* For each target, since when its oldest message waits. */
struct control_oldest {
    struct runner_walk walk;
    struct control_oldest_of {
        const struct schedule_target *target;
        int64_t arrived_s;
    } * at; /* owned */
    size_t count, capacity;
};

/* queue: what was listed. */
struct control_totals {
    uint64_t messages, bytes, recipients;
};

/* queue --shape: how many messages of what age wait for each target. */
#define CONTROL_AGES 10
struct control_shape {
    struct runner_walk walk;
    struct control_shape_of {
        const struct schedule_target *target; /* NULL: of all */
        uint64_t messages, of_age[CONTROL_AGES];
    } * at; /* owned */
    size_t count, capacity;
    bool has_failed; /* no memory */
};

struct control_run {
    struct services *services;
    struct runner *runner;
    struct arena arena; /* holds the words */
    struct control_request asked;
    bool is_waiting; /* for a job of the runner, or until the queue is read */
    bool has_begun;  /* set by commands: the first step was taken */
    bool is_done;    /* the last line is in `out` */
    bool is_orphan;  /* nobody wants the answer any more */
    struct buf out;
    struct control_reader reader;
    struct deadline deadline; /* when to look again whether the queue was read */
    uint64_t arrivals;        /* messages that came before the request */
    /* of single commands */
    struct runner_request act;
    struct runner_fsck fsck;
    struct runner_flush flush;
    struct control_content content;
    struct control_ids ids;
    struct control_totals totals;
    struct control_shape shape;
    uint64_t failed;              /* reroute: how many messages could not be rerouted */
    struct control_oldest oldest; /* targets */
    size_t target_at;             /* targets: the next one */
};

/* Puts the last line; `text` may be NULL. */
void control_finish(struct control_run *run, int code, const char *text);
/* The same with a name in front of it: "NAME: TEXT". */
void control_finish_with(struct control_run *run, int code, struct bytes name, const char *text);
/* The same for an error of the runner or the system. */
void control_finish_error(struct control_run *run, struct bytes name, int error);
/* `out` got something outside of a step. */
void control_news(struct control_run *run);
/* A job is over, and steps go on. `run` may be gone after this. */
void control_wake(struct control_run *run);

/* Collects in run->ids the ids of the messages in the queue, or in one target's queue: each once,
 * in the order of arrival. They are there when steps go on; messages may come and go meanwhile. */
void control_collect(struct control_run *run, struct bytes target);

/* The queue of that target; NULL: no message ever waited for it. */
struct schedule_target *control_find_queue(const struct control_run *run, struct bytes name);

/* control_commands.c: ends with a row that has no name. */
extern const struct control_command control_commands[];
/* control_queue.c */
bool control_has_target(const struct control_run *run, struct bytes name); /* is it configured? */
const char *control_check_queue(const struct bytes *words, int count);
void control_step_queue(struct control_run *run);
/* control_show.c */
void control_put_address(struct control_run *run, struct control_row *row, const char *key,
                         int width, const struct address *address);
void control_step_show(struct control_run *run);
void control_step_cat(struct control_run *run);
/* control_targets.c */
void control_step_targets(struct control_run *run);
/* control_where.c */
const char *control_check_where(const struct bytes *words, int count);
void control_step_where(struct control_run *run);

#endif
