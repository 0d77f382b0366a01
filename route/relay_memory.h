/* SPDX-License-Identifier: BSD-2-Clause */
/* Which targets have announced XCLIENT, kept in `targets` of the spool directory across restarts.
 */
#ifndef POSTERN_RELAY_MEMORY_H
#define POSTERN_RELAY_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"

struct relay_memory;

/* Reads the file, which may be missing; blocks, so only at start. `directory` is copied.
 * NULL: no memory, or it cannot be read: *error_out. */
struct relay_memory *relay_memory_new(struct loop *l, struct log *log, uint32_t log_sinks,
                                      struct bytes directory, int *error_out);
/* A job that runs is waited for by the loop, so: after the loop has ended. */
void relay_memory_free(struct relay_memory **m);

bool relay_memory_has_xclient(const struct relay_memory *m, struct bytes target);
/* The first time for this target the file is written: new file, sync, rename. */
void relay_memory_note_xclient(struct relay_memory *m, struct bytes target);

#endif
