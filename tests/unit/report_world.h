/* SPDX-License-Identifier: BSD-2-Clause */
/* A simulated spool with one message that was refused: the cause of a report. */
#ifndef POSTERN_REPORT_WORLD_H
#define POSTERN_REPORT_WORLD_H

#include "proxy/io/loop.h"
#include "spool/runner_report.h"
#include "tests/unit/lib.h"

#define REPORT_WORLD_TEXT "From: Ann <ann@example.com>\r\nSubject: hello\r\n\r\nHow are you?\r\n"

struct report_world {
    struct pool pool;
    struct arena arena;
    struct loop *loop;
    struct store *store;
    struct bounce_conf conf;
};

void report_world_begin(struct report_world *w);
int report_world_end(struct report_world *w); /* 0: an exit code */
struct address report_world_joe(void);        /* the recipient */
void report_world_put(struct report_world *w, struct store_place *place_out);
/* A descriptor, locked. */
int report_world_take(struct report_world *w, const struct store_place *place,
                      struct spool_message *message_out);

#endif
