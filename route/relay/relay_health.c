/* SPDX-License-Identifier: BSD-2-Clause */
/* The circuit of each address: a failed attempt opens it, only a probe closes it again. */
#include "route/relay/relay_health.h"

#include "route/relay/relay_connect.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_pool.h"

static uint64_t now_ms(const struct relay *r)
{
    return loop_now_ms(r->service->loop);
}

static bool needs_probe(const struct relay *r)
{
    return !r->is_closing && (r->places.down_count != 0 || r->places.state == RELAY_PLACES_FAILED);
}

static void arm(struct relay *r)
{
    if (needs_probe(r))
        deadline_set(r->service->loop, &r->probe_deadline,
                     now_ms(r) + r->conf->times.health_interval_ms);
}

void relay_health_probe(struct relay *r)
{
    if (r->is_closing)
        return;
    if (r->places.state == RELAY_PLACES_FAILED)
        relay_resolve_again(r);
    else
        relay_resolve(r); /* it may have moved meanwhile */
    for (unsigned i = 0; i < r->places.count; i++)
        if (r->places.at[i].is_down)
            relay_connect_probe(r, &r->places.at[i].to);
}

static void on_probe(struct deadline *deadline)
{
    struct relay *r = CONTAINER_OF(deadline, struct relay, probe_deadline);

    relay_health_probe(r);
    arm(r);
}

static const struct deadline_use probe_use = {.reached = on_probe};

void relay_health_init(struct relay *r)
{
    deadline_init(&r->probe_deadline, &probe_use);
}

void relay_health_done(struct relay *r)
{
    deadline_clear(r->service->loop, &r->probe_deadline);
    loop_unpost(r->service->loop, &r->up_post);
}

/* A target that serves others at this address and will not greet one more is busy, not down. */
static bool serves_others(const struct relay *r, const struct stream_target *to)
{
    LIST_EACH (at, &r->links) {
        const struct relay_link *link = LIST_ENTRY(at, struct relay_link, in_relay);
        bool is_greeted = link->state == RELAY_LINK_BUSY || link->state == RELAY_LINK_BOUND ||
                          link->state == RELAY_LINK_IDLE;
        if (is_greeted && relay_place_equal(&link->to, to))
            return true;
    }
    return false;
}

void relay_health_failed(struct relay *r, const struct stream_target *to, int error,
                         const struct reply *reply)
{
    struct relay_place *place = relay_place_find(r, to);

    if (place == NULL || place->is_down ||
        (reply != NULL && reply->code != 0 && serves_others(r, to)))
        return;
    place->is_down = true;
    place->down_since_ms = now_ms(r);
    r->places.down_count++;
    relay_log_down(r, to, error, reply);
    if (r->places.down_count == 1)
        arm(r);
}

static void on_up_post(void *owner)
{
    struct relay *r = owner;

    if (r->service->came_up != NULL)
        r->service->came_up(r->service->owner, &r->target);
}

/* Soon: branches may be in the midst of something. */
static void tell_up(struct relay *r)
{
    loop_post(r->service->loop, &r->up_post, on_up_post, r);
}

void relay_health_worked(struct relay *r, const struct stream_target *to)
{
    struct relay_place *place = relay_place_find(r, to);

    if (place == NULL || !place->is_down)
        return;
    place->is_down = false;
    r->places.down_count--;
    relay_log_up(r, to, (now_ms(r) - place->down_since_ms) / 1000);
    relay_pool_serve_later(r);
    tell_up(r);
}

void relay_health_unresolved(struct relay *r)
{
    relay_log_down_unresolved(r);
    arm(r);
}

void relay_health_resolved(struct relay *r)
{
    relay_log_up(r, NULL, 0);
    tell_up(r);
}

bool relay_health_is_down(const struct relay *r)
{
    const struct relay_places *places = &r->places;

    return places->state == RELAY_PLACES_FAILED ||
           (places->state == RELAY_PLACES_KNOWN && places->down_count == places->count);
}
