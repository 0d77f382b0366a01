/* SPDX-License-Identifier: BSD-2-Clause */
/* The runner within a process: what it needs of targets, tables and settings; and how workers of
 * other processes reach it. */
#ifndef POSTERN_QUEUE_H
#define POSTERN_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "spool/runner.h"

struct services;
struct route_set;
struct queue; /* one a process: the runner itself, or the way to it */

/* Sets services->queue and services->runner. Where services->runs_queue is set: starts the runner,
 * its socket for the workers and the control socket; else connects to the runner of another
 * process, and again whenever that is gone. `find_routes`: those of a listener; NULL: there is none
 * of that name. 0, or an error. */
int queue_start(struct services *services,
                struct route_set *(*find_routes)(void *owner, struct bytes listener), void *owner);
void queue_stop(struct queue *q, void (*stopped)(void *owner), void *owner);
void queue_abort(struct queue *q);
void queue_free(struct queue **q); /* after the loop has ended */

/* Tells the runner of a message that was committed, in queue/ or hold/, with these records. Never
 * fails: where the runner does not hear it, it finds the file. */
void queue_arrived(struct queue *q, const struct store_place *place, uint64_t body_bytes,
                   struct bytes records);
/* ETRN. `done` is called once, maybe within; `known` false: the runner cannot be asked (458). */
struct queue_question {
    struct runner_selection which; /* borrowed until `done` */
    void (*done)(struct queue_question *question, bool known, uint64_t count);
    void *queue_private;
};
void queue_ask(struct queue *q, struct queue_question *question);
void queue_forget(struct queue *q, struct queue_question *question); /* `done` will not be called */

#endif
