/* SPDX-License-Identifier: BSD-2-Clause */
/* What the control_*.c files, and nobody else, know of a command that runs. */
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

struct control_command {
    const char *name;
    const char *arguments; /* for the usage line */
    int words_min, words_max;
    bool needs_queue; /* all of it must have been read */
    /* What is wrong with the arguments; NULL: nothing. */
    const char *(*check)(const struct bytes *words, int count);
    /* One step: some lines, or a job, or the end. Not called while is_waiting. */
    void (*step)(struct control_run *run);
};

struct control_request {
    bool is_json;
    const struct control_command *command;
    struct bytes words[CONTROL_WORDS_MAX]; /* behind the command */
    int word_count;
};

struct control_reader { /* who takes the answer */
    void (*news)(void *owner);
    void *owner;
    struct loop_post post;
};

struct control_content { /* of cat */
    uint8_t *at;         /* ours */
    size_t len, told;
};

struct control_ids {
    struct runner_walk walk; /* finds them */
    struct bytes target;     /* of one target alone; empty: all */
    struct work work;        /* puts them in order */
    struct id *at;           /* ours */
    size_t count, capacity, next;
    bool has_failed; /* no memory */
};

/* Since when messages wait, by targets. */
struct control_oldest {
    struct runner_walk walk;
    struct control_oldest_of {
        const struct schedule_target *target;
        int64_t arrived_s;
    } * at; /* ours */
    size_t count, capacity;
};

struct control_run {
    struct services *services;
    struct runner *runner;
    struct arena arena; /* of the words */
    struct control_request asked;
    bool is_waiting; /* for a job of the runner, or until the queue is read */
    bool has_begun;  /* commands' own: the first step was taken */
    bool is_done;    /* the last line is in `out` */
    bool is_orphan;  /* nobody wants to hear of it any more */
    struct buf out;
    struct control_reader reader;
    struct deadline deadline; /* looks whether the queue is read */
    uint64_t arrivals;        /* that came before the request */
    /* commands' own */
    struct runner_request act;
    struct runner_fsck fsck;
    struct runner_flush flush;
    struct control_content content;
    struct control_ids ids;
    uint64_t failed;              /* of reroute: how many could not be */
    struct control_oldest oldest; /* of targets */
    size_t target_at;             /* likewise */
};

/* The last line: `text` may be NULL. */
void control_finish(struct control_run *run, int code, const char *text);
/* The same with a name in front of it: "NAME: TEXT". */
void control_finish_with(struct control_run *run, int code, struct bytes name, const char *text);
/* ... for an error of the runner's or the system's. */
void control_finish_error(struct control_run *run, struct bytes name, int error);
/* `out` has something that no step has put there. */
void control_news(struct control_run *run);
/* A job is over: steps go on. `run` may be gone after this. */
void control_wake(struct control_run *run);

/* The ids of what lies in the queue, or of one target's queue, as it is now, each once and in the
 * order of arrival: run->ids, when steps go on. What comes and goes meanwhile does not matter. */
void control_collect(struct control_run *run, struct bytes target);

/* What waits for that target; NULL: nothing ever did. */
struct schedule_target *control_find_queue(const struct control_run *run, struct bytes name);

/* control_commands.c: ends with a row that has no name. */
extern const struct control_command control_commands[];
/* control_show.c */
void control_step_show(struct control_run *run);
void control_step_cat(struct control_run *run);
/* control_targets.c */
void control_step_targets(struct control_run *run);

#endif
