/* SPDX-License-Identifier: BSD-2-Clause */
/* What keeps a server from starting, found before it starts: --check, a start and a reload agree.
 */
#ifndef POSTERN_STARTUP_H
#define POSTERN_STARTUP_H

#include "proxy/config/config.h"

/* Reads the configuration and looks for all that a start needs, on this host, too. Files are judged
 * as the account that they will be opened by, and nothing is made; what a running server holds is
 * no fault, what this host lacks for now a warning. All that is wrong is in config->problems. 0, or
 * the exit code of the first kind of fault, which is EX_CONFIG for whatever --check finds. */
int startup_read(struct config *config, const struct flags *flags);
/* We do listen: says so on stderr, where no log line does. */
void startup_tell(struct config *config);

#endif
