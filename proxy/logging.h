/* SPDX-License-Identifier: BSD-2-Clause */
/* The logs that a configuration names: stderr, syslog, the journal, and its logfiles. */
#ifndef POSTERN_LOGGING_H
#define POSTERN_LOGGING_H

#include "proxy/config/config.h"
#include "proxy/io/log.h"

/* The three that always exist, then the logfiles in the order of the configuration. Returns how
 * many, or ERR_RANGE: more than LOG_SINKS_MAX. What they point at is the configuration's. */
int logging_sinks(const struct config *config, struct log_sink sinks_out[LOG_SINKS_MAX]);
/* The bit of the sink of this name; empty: those of [core] logger. */
uint32_t logging_mask(const struct config *config, struct bytes logger);

#endif
