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

const struct session_targets *offer_of_targets(struct offer *o, uint32_t generation)
{
    if (o->is_known && o->generation == generation)
        return &o->all;
    o->is_known = true;
    o->generation = generation;
    struct capability all = {.keywords = UINT32_MAX};
    for (size_t i = 0; i < o->target_count; i++) {
        struct capability one = o->targets[i]->ops->capabilities(o->targets[i]);
        all = i == 0 ? one : capability_of_both(&all, &one);
    }
    o->all = (struct session_targets){.bridged = all.keywords, .limits = all.limits};
    return &o->all;
}

void offer_warm(const struct offer *o)
{
    if (o->warmed != NULL)
        o->warmed->ops->warm(o->warmed);
}
