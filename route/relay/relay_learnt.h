/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target announces in its replies to EHLO. */
#ifndef POSTERN_RELAY_LEARNT_H
#define POSTERN_RELAY_LEARNT_H

#include <stdbool.h>

#include "proxy/smtp/capability.h"

struct relay;

struct relay_learnt {
    struct capability caps;                 /* of the last EHLO on a connection of nobody's */
    bool has_announced_xclient;             /* to this process */
    const struct relay_facts_target *known; /* of all processes; NULL: nothing is remembered */
};

/* On a connection that carries no client's identity. */
void relay_learnt_note(struct relay *r, const struct capability *caps);
/* What it announced last, as far as this process knows, or another has told it. No keywords:
 * unknown. */
struct capability relay_learnt_caps(const struct relay *r);
/* Ever, as far as this process knows, or another has told it. */
bool relay_learnt_has_xclient(const struct relay *r);

#endif
