/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything on one loop: listeners, targets, and the services that they share. */
#ifndef POSTERN_WORKER_H
#define POSTERN_WORKER_H

#include <stdbool.h>

#include "proxy/base/id.h"
#include "proxy/config.h"
#include "proxy/io/copy.h"
#include "proxy/io/deadline.h"
#include "proxy/io/dns.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "proxy/smtpd.h"
#include "proxy/storage.h"
#include "proxy/targets.h"

struct worker {
    const struct config *config;
    struct pool pool;
    struct arena arena; /* for the life of the worker */
    struct loop *loop;
    struct log *log;
    struct log_sink sinks[LOG_SINKS_MAX];
    int sink_count;
    uint32_t log_sinks; /* of [core] logger */
    struct dns *dns;
    struct relay_service relays;
    struct targets targets;
    struct copy_limits copies;
    struct storage storage;
    struct smtpd *smtpds;
    size_t smtpd_count;
    struct id_source ids;
    struct deadline deadline; /* of shutting down */
    bool is_stopping;
    bool is_impatient; /* ... at once: told twice, or shutdown-timeout is over */
    bool is_quiet;     /* no session is left; connections to targets are being closed */
};

/* One listening socket, opened by the master before privileges were dropped. */
struct worker_listener {
    const struct smtpd_conf *smtpd;
    int fd;
};

/* Serves until a signal ends it; `started` is called once it does. Returns an exit code of
 * sysexits.h; what kept it from starting is told on stderr. */
int worker_run(const struct config *config, const struct worker_listener *listeners,
               size_t listener_count, void (*started)(void *owner), void *owner);

/* The bit of the sink of this name; empty: those of [core] logger. */
uint32_t worker_log_sinks(const struct worker *w, struct bytes logger);
struct id worker_next_id(struct worker *w);
/* A session has ended: the last one ends the loop of a worker that is stopping. */
void worker_forget_session(struct worker *w);

#endif
