/* SPDX-License-Identifier: BSD-2-Clause */
/* A message of which something is to be reported, and the report. */
#ifndef POSTERN_BOUNCE_WORLD_H
#define POSTERN_BOUNCE_WORLD_H

#include "spool/bounce.h"

#define BOUNCE_WORLD_RECIPIENTS 3

/* One message and what became of it; a test changes what it is about. */
struct bounce_world {
    struct pool pool;
    struct arena arena;
    struct bounce_conf conf;
    struct spool_message message;
    struct spool_recipient recipients[BOUNCE_WORLD_RECIPIENTS];
    bool is_due[BOUNCE_WORLD_RECIPIENTS];
    struct bounce_job job;
    struct spool_message report;
    struct buf content;
    enum bounce_result result;
};

extern const char bounce_world_original[]; /* the content as it is at first */

/* From ann@example.com to three recipients; the first was refused by 192.0.2.1, and is due. Tests
 * change what they are about. */
void bounce_world_open(struct bounce_world *s);
void bounce_world_close(struct bounce_world *s);
struct address bounce_world_address(const char *text); /* "local@domain" */
void bounce_world_content(struct bounce_world *s, struct bytes content);
int bounce_world_make(struct bounce_world *s); /* once more */
bool bounce_world_has(const struct bounce_world *s, const char *text);
/* What holds of every report, whatever went in. */
void bounce_world_check_lines(size_t row, const struct bounce_world *s);
/* A text of `len` octets, `before` and then `piece` over and over, in the arena. */
struct bytes bounce_world_repeat(struct bounce_world *s, const char *before, const char *piece,
                                 size_t len);

#endif
