/* SPDX-License-Identifier: BSD-2-Clause */
/* The process that leads the others: sockets, privileges, the pid file, workers and the runner,
 * signals. */
#ifndef POSTERN_MASTER_H
#define POSTERN_MASTER_H

#include "proxy/config/config.h"

/* Makes the spool directory, opens the listeners, detaches, starts the processes, or with workers =
 * 0 serves itself; leads them until a signal ends it. TERM and INT end all (again: at once), HUP
 * reads the configuration anew by the same flags, USR1 is for all. Takes the configuration over.
 * Returns an exit code of sysexits.h; what went wrong before serving is told on stderr. */
int master_run(struct config *config, const struct flags *flags);

#endif
