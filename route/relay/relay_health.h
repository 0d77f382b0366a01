/* SPDX-License-Identifier: BSD-2-Clause */
/* The circuit of one address: open while the address counts as down. There is one for all processes
 * of the host, whoever finds out; of those that would probe one does, and one says what came of it.
 * Without other processes, or where there is no place to say so, it is our own. */
#ifndef POSTERN_RELAY_HEALTH_H
#define POSTERN_RELAY_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

struct relay_sharing;

struct relay_health {
    const struct relay_sharing *sharing; /* NULL: there are no others */
    uint64_t down, probed, why;          /* keys of words that all processes know */
    uint32_t own_down;                   /* what we would have said there; 0: nothing */
    int own_why;                         /* likewise */
};

/* `address` as text; empty: that of the target's names. `sharing` is borrowed. */
void relay_health_init(struct relay_health *h, const struct relay_sharing *sharing,
                       struct bytes target, struct bytes address);
bool relay_health_is_down(const struct relay_health *h);
uint32_t relay_health_down_seconds(const struct relay_health *h, uint64_t now_ms);
/* It cannot be reached. True: nobody knew. */
bool relay_health_open(struct relay_health *h, uint64_t now_ms);
/* Why: an error, or the code of the reply that was no greeting; 0: not known. */
void relay_health_note_why(struct relay_health *h, int why);
int relay_health_why(const struct relay_health *h);
/* It can. True: it counted as down, and nobody has said that it does not. */
bool relay_health_close(struct relay_health *h);
/* While it is down, true once in an interval, for one process: that one probes. */
bool relay_health_take_turn(struct relay_health *h, uint64_t now_ms, uint64_t interval_ms);

#endif
