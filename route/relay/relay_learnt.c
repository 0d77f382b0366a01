/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target announces in its replies to EHLO. */
#include "route/relay/relay_learnt.h"

#include "route/relay/relay_memory.h"
#include "route/relay/relay_private.h"

void relay_learnt_note(struct relay *r, const struct capability *caps)
{
    struct relay_learnt *learnt = &r->learnt;
    struct relay_memory *memory = r->service->memory;

    bool is_news = memory != NULL && !r->conf->is_implicit
                       ? relay_memory_note_announced(memory, r->target.name, caps)
                       : !capability_bridges_same(&learnt->caps, caps);

    learnt->caps = *caps;
    r->service->caps_generation += is_news;
    if (!capability_has(caps, CAPABILITY_XCLIENT) || r->conf->is_implicit)
        return;
    learnt->has_announced_xclient = true;
    if (memory != NULL)
        relay_memory_note_xclient(memory, r->target.name);
}

struct capability relay_learnt_caps(const struct relay *r)
{
    struct capability caps;

    if (r->service->memory != NULL &&
        relay_memory_announced(r->service->memory, r->target.name, &caps))
        return caps;
    return r->learnt.caps;
}

bool relay_learnt_has_xclient(const struct relay *r)
{
    const struct relay_learnt *learnt = &r->learnt;

    return learnt->has_announced_xclient || (learnt->known != NULL && learnt->known->has_xclient);
}
