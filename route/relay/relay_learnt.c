/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target announces in its replies to EHLO. */
#include "route/relay/relay_learnt.h"

#include "route/relay/relay_memory.h"
#include "route/relay/relay_private.h"

void relay_learnt_note(struct relay *r, const struct capability *caps)
{
    struct relay_learnt *learnt = &r->learnt;

    if (!learnt->has_caps || learnt->caps.keywords != caps->keywords)
        r->service->caps_generation++;
    learnt->caps = *caps;
    learnt->has_caps = true;
    if (!capability_has(caps, CAPABILITY_XCLIENT) || r->conf->is_implicit)
        return;
    learnt->has_announced_xclient = true;
    if (r->service->memory != NULL)
        relay_memory_note_xclient(r->service->memory, r->target.name);
}

bool relay_learnt_has_xclient(struct relay *r)
{
    struct relay_learnt *learnt = &r->learnt;

    if (!learnt->has_announced_xclient && r->service->memory != NULL)
        learnt->has_announced_xclient =
            relay_memory_has_xclient(r->service->memory, r->target.name);
    return learnt->has_announced_xclient;
}
