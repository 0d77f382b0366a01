/* SPDX-License-Identifier: BSD-2-Clause */
/* What a listener may offer its clients: what every target can do that its tables lead to. */
#ifndef POSTERN_OFFER_H
#define POSTERN_OFFER_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/smtp/session.h"
#include "route/route.h"

struct offer {
    struct target *const *targets; /* that the tables lead to */
    size_t target_count;
    struct target *warmed; /* the only one of them that can be warmed; NULL: none, or several */
    struct session_targets all; /* what all of them have */
    uint32_t generation;        /* relay_service.caps_generation that this was found at */
    bool is_known;              /* `all` is set */
};

void offer_init(struct offer *o, const struct route_set *routes); /* borrowed */
/* What postern bridges to every target. `generation` changes when that of some target does. */
const struct session_targets *offer_of_targets(struct offer *o, uint32_t generation);
/* A client has come: the target that it will need gets a connection ready. */
void offer_warm(const struct offer *o);

#endif
