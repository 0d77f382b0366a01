/* SPDX-License-Identifier: BSD-2-Clause */
/* libmilter, which talks to mail servers: it has its own threads, and one socket per process. */
#ifndef POSTERN_MILTERD_MTA_H
#define POSTERN_MILTERD_MTA_H

#include "filters/chain.h"
#include "proxy/base/bytes.h"
#include "proxy/io/crossing.h"

/* Listens; nobody is served yet. `chain` says what mail servers have to tell. 0, or EX_UNAVAILABLE,
 * told on stderr. */
int milterd_mta_open(struct bytes listen, uint32_t socket_mode, const struct chain *chain);
/* Serves in threads that last as long as the process; each callback enters the crossing as a struct
 * milterd_call. They are not told to stop: smfi_stop() may wait for five seconds, and whoever ends
 * the process needs it for nothing. 0 or -errno. */
int milterd_mta_start(struct crossing *crossing);

#endif
