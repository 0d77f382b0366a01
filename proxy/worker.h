/* SPDX-License-Identifier: BSD-2-Clause */
/* One process at work: its listeners, on the services that they share. */
#ifndef POSTERN_WORKER_H
#define POSTERN_WORKER_H

#include <stdbool.h>

#include "proxy/config/config.h"
#include "proxy/io/deadline.h"
#include "proxy/services.h"
#include "proxy/smtpd.h"

struct worker {
    const struct worker_task *task;
    struct services services;
    struct smtpd *smtpds;
    size_t smtpd_count;
    struct deadline deadline; /* of shutting down */
    struct deadline answer;   /* its loop turns: that is told again */
    bool is_closing;          /* no new sessions */
    bool is_stopping;         /* ... and those that run shall end */
    bool is_impatient;        /* ... at once: a second signal came, or shutdown-timeout is over */
    bool is_quiet;            /* no session is left, and the queue ends what it has begun */
    bool is_ended;    /* the queue has ended too, and connections to targets are being closed */
    char process[24]; /* its name in log lines */
};

/* One listening socket, opened by the master before privileges were dropped. */
struct worker_listener {
    const struct smtpd_conf *smtpd;
    int fd;
};

enum worker_news {
    WORKER_SERVES,  /* said once */
    WORKER_ANSWERS, /* its loop turns: said again and again, see answer_ms */
    WORKER_STOPS    /* no new sessions; said once, before the rest ends */
};

/* What this process is to do. All of it outlives the worker. */
struct worker_task {
    const struct worker_listener *listeners;
    size_t listener_count;
    bool runs_queue;       /* deliver what is spooled, and listen at the control socket */
    bool is_alone;         /* the only process (workers = 0): it refuses HUP */
    bool is_cold;          /* posternctl without a server: nothing is served or delivered */
    uint32_t number;       /* of the worker, from 1; 0: the runner */
    uint32_t generation;   /* of the configuration, from 1 */
    struct shared *shared; /* NULL: the limits are our own */
    const struct store_limits *store_limits; /* NULL: the server's */
    void (*tells)(void *owner, enum worker_news news);
    uint64_t answer_ms;                                  /* 0: nobody asks whether it still runs */
    void (*cold_started)(void *owner, struct worker *w); /* is_cold: in the place of tells() */
    void *owner;
};

/* Serves until a signal ends it. Returns an exit code of sysexits.h; what kept it from starting is
 * told on stderr. Signals: TERM, INT stop (see core.shutdown-timeout), and told again at once; QUIT
 * retires: no new sessions, running ones end in their own time; USR1 opens log files again. Under a
 * master it is USR2 that means at once: a terminal or a service manager may well send TERM to each
 * process as well as to the master. */
int worker_run(const struct config *config, const struct worker_task *task);

/* As TERM would. */
void worker_stop(struct worker *w);
#endif
