/* SPDX-License-Identifier: BSD-2-Clause */
/* One socket of postern-milter in a process of its own: the loop, which has the filters, and beside
 * it the threads of libmilter, each of which hands over what it hears and waits (milterd_mta). */
#ifndef POSTERN_MILTERD_H
#define POSTERN_MILTERD_H

#include "filters/chain.h"
#include "proxy/base/list.h"
#include "proxy/config/config.h"
#include "proxy/io/crossing.h"
#include "proxy/io/deadline.h"
#include "proxy/services.h"

#define MILTERD_CLIENTS_MAX 4096 /* connections of mail servers; one more is told to try later */

struct milterd {
    const struct milter_server_conf *conf;
    struct bytes listen; /* one of conf->listen */
    struct services services;
    struct chain chain;
    struct bytes *names; /* its filters' in Authentication-Results */
    struct crossing *crossing;
    struct list clients; /* struct milterd_client.in_milterd */
    unsigned client_count;
    unsigned message_count; /* that have begun and are not over */
    void (*message_over)(struct milterd *d);
    struct deadline deadline;
    struct loop_post ending;
    bool is_stopping; /* no new messages */
    bool is_ended;
    int exit_code;
};

/* Serves until a signal ends it. An exit code of sysexits.h; what kept it from starting is told on
 * stderr. Signals: TERM, INT stop when no message is under way, at the latest after
 * core.shutdown-timeout, and told again at once; USR1 opens log files again; HUP does nothing. */
int milterd_run(const struct config *config, const struct milter_server_conf *conf,
                struct bytes listen);

#endif
