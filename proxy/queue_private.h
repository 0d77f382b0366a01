/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the queue share. */
#ifndef POSTERN_QUEUE_PRIVATE_H
#define POSTERN_QUEUE_PRIVATE_H

#include "proxy/io/channel.h"
#include "proxy/queue.h"
#include "proxy/services.h"

#define QUEUE_PATH_MAX (STORE_PATH_MAX + 16)

struct queue {
    struct services *services;
    struct control *control;
    struct channel_listener *listener; /* the runner's: for all workers */
    struct channel *channel;           /* a worker's: to the runner; NULL: not connected */
    char path[QUEUE_PATH_MAX];         /* of the runner's socket */
    struct deadline deadline;          /* a worker's: connects again, gives up on questions */
    struct list questions;             /* a worker's, struct asked.in_queue: for an answer */
    struct list waiting;               /* the runner's: until what has arrived is read */
    struct list asked;                 /* the runner's, struct heard.in_queue: by workers */
    uint64_t sequence;                 /* of the last one */
    void (*stopped)(void *owner);
    void *owner;
    struct loop_post post;
    bool is_stopping;
};

/* queue_talk.c: between the processes, lines of text:
 *   arrived DIRECTORY ID BODY [RECORDS]  to the runner: a message was committed there; octets of
 *                            its body; its records as they are, where there is room for them
 *   again                    to the runner: some may have arrived unheard; it tells what was
 *                            learnt lately
 *   up NAME                  to the runner: that target was found there again; NAME is xtext
 *   learnt LINE              both ways: see relay_memory.h
 *   ask NUMBER KIND [TEXT]   to the runner: KIND is a number of enum runner_selector, TEXT xtext
 *   answer NUMBER COUNT      back; COUNT "-": it cannot be said */

/* The runner's side. */
int queue_talk_listen(struct queue *q);
/* A worker's side: connects, now and whenever the runner is back. */
void queue_talk_connect(struct queue *q);
void queue_talk_stop(struct queue *q);
/* True: it was sent. */
bool queue_talk_arrived(struct queue *q, const struct store_place *place, uint64_t body_bytes,
                        struct bytes records);
bool queue_talk_up(struct queue *q, struct bytes target);
void queue_talk_ask(struct queue *q, struct queue_question *question);
void queue_talk_forget(struct queue *q, struct queue_question *question);
bool queue_talk_learnt(struct queue *q, struct bytes line); /* false: the runner is not there */

#endif
