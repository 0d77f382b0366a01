/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target announced last, as a line: "ehlo WALL-SECONDS TARGET WORD...". Pure. */
#ifndef POSTERN_RELAY_ANNOUNCED_H
#define POSTERN_RELAY_ANNOUNCED_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/smtp/capability.h"

struct relay_announced {
    int64_t at_s;
    bool is_held;      /* see relay_facts_hold() */
    uint32_t words_at; /* in the line */
    uint32_t line_len;
    uint8_t line[];
};

/* A line, taken to pieces. */
struct relay_announced_said {
    int64_t at_s;
    struct bytes target; /* as xtext */
    struct bytes words;
};

/* False: it says something else. */
bool relay_announced_read(struct bytes line, struct relay_announced_said *said_out);
/* `said`: of this very line. The caller frees. NULL: no memory. */
struct relay_announced *relay_announced_new(struct bytes line,
                                            const struct relay_announced_said *said);
struct bytes relay_announced_words(const struct relay_announced *announced);
struct bytes relay_announced_line(const struct relay_announced *announced);
/* Writes a line, without its end. */
void relay_announced_put(struct buf *out, int64_t now_s, struct bytes target,
                         const struct capability *caps);

#endif
