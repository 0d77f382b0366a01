/* SPDX-License-Identifier: BSD-2-Clause */
/* What a listener may offer its clients. */
#include "proxy/offer.h"

void offer_init(struct offer *o, const struct route_set *routes)
{
    size_t warm_count = 0;

    *o = (struct offer){.is_known = false};
    o->target_count = route_set_targets(routes, &o->targets);
    for (size_t i = 0; i < o->target_count; i++) {
        if (o->targets[i]->ops->warm == NULL)
            continue;
        o->warmed = warm_count++ == 0 ? o->targets[i] : NULL;
    }
}

uint32_t offer_bridged(struct offer *o, uint32_t generation)
{
    if (o->is_known && o->generation == generation)
        return o->bridged;
    o->is_known = true;
    o->generation = generation;
    o->bridged = UINT32_MAX;
    for (size_t i = 0; i < o->target_count; i++)
        o->bridged &= o->targets[i]->ops->capabilities(o->targets[i]);
    return o->bridged;
}

void offer_warm(const struct offer *o)
{
    if (o->warmed != NULL)
        o->warmed->ops->warm(o->warmed);
}
