/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens between reading the configuration and serving: sockets, privileges, the pid. */
#ifndef POSTERN_MASTER_H
#define POSTERN_MASTER_H

#include <stdbool.h>

#include "proxy/config.h"

/* Makes the spool directory, opens the listeners, detaches, drops privileges, serves. Returns an
 * exit code of sysexits.h; what went wrong before serving is told on stderr. */
int master_run(const struct config *config, bool wants_daemon);

#endif
