/* SPDX-License-Identifier: BSD-2-Clause */
/* Watches the free space of the spool directory (core.spool-reserve). */
#ifndef POSTERN_STORAGE_H
#define POSTERN_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/deadline.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "proxy/io/work.h"

struct storage {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    const char *directory;
    uint64_t reserve_bytes;
    bool is_low; /* MAIL gets 452 4.3.1 */
    struct deadline deadline;
    struct work work;
    uint64_t free_bytes; /* the job's */
    int error;           /* the job's */
    bool is_closing;
};

/* Looks at once, and every five seconds. The other members are the caller's to set. */
void storage_start(struct storage *s);
void storage_stop(struct storage *s); /* a job that runs is waited for by the loop */

#endif
