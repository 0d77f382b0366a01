/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole worker of postern in the current world: all but main() and the sockets. */
#ifndef POSTERN_SIM_STAGE_H
#define POSTERN_SIM_STAGE_H

#include "proxy/config/config.h"

#define STAGE_SPOOL "/spool" /* [core] spool-directory */

/* A configuration of `text` behind a [core] that needs nothing of this host. It can serve any
 * number of runs. NULL: it has errors; they were printed. */
struct config *stage_config(const char *text);
/* The filter of every listener, of this target alone, from now on. Its ops.free() frees nothing.
 * NULL: there are those that the configuration names. */
struct filter;
void stage_filter(const struct config *config, struct filter *filter);
void stage_target_filter(const struct config *config, struct filter *filter, struct bytes target);
/* Serves until a signal ends it (sim_signal). Returns worker_run()'s exit code. */
int stage_run(const struct config *config);
/* The same with more to do: all of the task but listeners and `started`. */
struct worker_task;
int stage_run_task(const struct config *config, struct worker_task *task);

/* posternctl without a server: *code_out is the one that the answer ends with, if there is one. */
int stage_run_cold(const struct config *config, const char *request, int *code_out);

#endif
