/* SPDX-License-Identifier: BSD-2-Clause */
/* max-connections and idle-connections hold for all processes of a host together. */
#include "route/relay/relay_share.h"

#include <assert.h>

#include "route/relay/relay_private.h"

#define LOOK_MS     100
#define STARVING_MS 50
#define ANSWER_MS   200 /* for the others to see that we wait, and to close what lies idle */

static const struct relay_sharing *sharing_of(const struct relay *r)
{
    return r->service->sharing;
}

static enum relay_share_count own_waiting(const struct relay *r)
{
    return sharing_of(r)->is_queue ? RELAY_SHARE_QUEUE_WAITS : RELAY_SHARE_LIVE_WAITS;
}

static uint32_t sum(const struct relay *r, enum relay_share_count what)
{
    return sharing_of(r)->sum(r->share.counts, what);
}

static unsigned connections(const struct relay *r)
{
    return r->link_count + r->reserved;
}

/* ---- looking at the others ---- */

static uint32_t others_waiting(const struct relay *r)
{
    return sum(r, RELAY_SHARE_LIVE_WAITS) + sum(r, RELAY_SHARE_QUEUE_WAITS) - r->share.told_waiting;
}

static void tell_idle(struct relay *r)
{
    int32_t change = (int32_t)r->stock.idle_count - (int32_t)r->share.told_idle;

    if (change != 0)
        sharing_of(r)->add(r->share.counts, RELAY_SHARE_IDLE, change);
    r->share.told_idle = r->stock.idle_count;
}

/* Our part of those that are too many, rounded up. */
static unsigned surplus(const struct relay *r)
{
    uint64_t all = sum(r, RELAY_SHARE_IDLE), most = r->conf->limits.idle_connections;

    return all <= most ? 0 : (unsigned)((r->stock.idle_count * (all - most) + all - 1) / all);
}

static void look_later(struct relay *r)
{
    deadline_set(r->service->loop, &r->share.looking, loop_now_ms(r->service->loop) + LOOK_MS);
}

static void on_looking(struct deadline *deadline)
{
    struct relay *r = CONTAINER_OF(deadline, struct relay, share.looking);

    r->share.others = others_waiting(r);
    tell_idle(r);
    if (r->share.others != 0) {
        relay_stock_make_way(r);
        r->share.ops->others_wait(r, r->share.others);
    } else {
        relay_stock_thin_out(r, surplus(r));
    }
    tell_idle(r);
    if (r->share.told_connections != 0)
        look_later(r);
}

static const struct deadline_use looking_use = {.reached = on_looking};

static void on_starving(struct deadline *deadline)
{
    struct relay *r = CONTAINER_OF(deadline, struct relay, share.starving);

    r->share.is_starving = false;
    r->share.ops->starving(r);
}

static const struct deadline_use starving_use = {.reached = on_starving};

/* New ones who wait do not put the look off. */
void relay_share_look_later(struct relay *r)
{
    if (r->share.is_starving)
        return;
    r->share.is_starving = true;
    deadline_set(r->service->loop, &r->share.starving, loop_now_ms(r->service->loop) + STARVING_MS);
}

/* ---- life ---- */

void relay_share_join(struct relay *r, const struct relay_share_ops *ops)
{
    r->share.ops = ops;
    deadline_init(&r->share.looking, &looking_use);
    deadline_init(&r->share.starving, &starving_use);
    if (sharing_of(r) != NULL)
        r->share.counts = sharing_of(r)->join(sharing_of(r)->owner, r->target.name);
}

void relay_share_stop(struct relay *r)
{
    deadline_clear(r->service->loop, &r->share.looking);
    deadline_clear(r->service->loop, &r->share.starving);
    relay_share_wait(r, false);
    if (r->share.told_idle != 0)
        sharing_of(r)->add(r->share.counts, RELAY_SHARE_IDLE, -(int32_t)r->share.told_idle);
    r->share.told_idle = 0;
}

void relay_share_leave(struct relay *r)
{
    if (r->share.counts != NULL)
        sharing_of(r)->leave(r->share.counts);
}

/* ---- counting ---- */

static void add_connections(struct relay *r, int32_t change)
{
    sharing_of(r)->add(r->share.counts, RELAY_SHARE_CONNECTIONS, change);
    if (r->share.told_connections == 0 && !r->is_closing)
        look_later(r);
    assert(change >= 0 || r->share.told_connections >= (unsigned)-change);
    r->share.told_connections += (unsigned)change;
}

void relay_share_tell(struct relay *r)
{
    int32_t change = (int32_t)connections(r) - (int32_t)r->share.told_connections;

    if (r->share.counts == NULL || change == 0)
        return;
    add_connections(r, change);
}

void relay_share_wait(struct relay *r, bool waits)
{
    if (r->share.counts == NULL || waits == r->share.told_waiting)
        return;
    sharing_of(r)->add(r->share.counts, own_waiting(r), waits ? 1 : -1);
    r->share.told_waiting = waits;
    r->share.told_ms = loop_now_ms(r->service->loop);
}

/* The runner takes half at most while live mail waits. */
static unsigned own_limit(const struct relay *r)
{
    unsigned most = r->conf->limits.max_connections;
    bool is_halved =
        r->share.counts != NULL && sharing_of(r)->is_queue && sum(r, RELAY_SHARE_LIVE_WAITS) != 0;

    return is_halved ? most / 2 : most;
}

bool relay_share_reserve(struct relay *r)
{
    if (connections(r) >= own_limit(r))
        return false;
    if (r->share.counts == NULL)
        return true;
    relay_share_tell(r);
    add_connections(r, 1);
    if (sum(r, RELAY_SHARE_CONNECTIONS) <= r->conf->limits.max_connections)
        return true;
    relay_share_tell(r);
    return false;
}

unsigned relay_share_vacant(const struct relay *r)
{
    uint32_t most = r->conf->limits.max_connections, all = relay_share_connections(r);

    return all < most ? most - all : 0;
}

bool relay_share_is_full(const struct relay *r)
{
    if (connections(r) >= own_limit(r))
        return true;
    return r->share.counts != NULL &&
           sum(r, RELAY_SHARE_CONNECTIONS) >= r->conf->limits.max_connections;
}

bool relay_share_is_over(const struct relay *r, unsigned more)
{
    uint32_t others = r->share.others;

    return others != 0 && !r->share.has_turn && connections(r) + more > own_limit(r) / (1 + others);
}

bool relay_share_others_may_answer(const struct relay *r)
{
    return r->share.told_waiting && loop_now_ms(r->service->loop) - r->share.told_ms < ANSWER_MS;
}

unsigned relay_share_idle_elsewhere(const struct relay *r)
{
    return r->share.counts == NULL ? 0 : sum(r, RELAY_SHARE_IDLE) - r->share.told_idle;
}

unsigned relay_share_used_elsewhere(const struct relay *r)
{
    uint32_t all, idle = relay_share_idle_elsewhere(r); /* told later than connections are */

    if (r->share.counts == NULL)
        return 0;
    all = sum(r, RELAY_SHARE_CONNECTIONS) - r->share.told_connections;
    return all > idle ? all - idle : 0;
}

unsigned relay_share_connections(const struct relay *r)
{
    return r->share.counts == NULL ? r->link_count : sum(r, RELAY_SHARE_CONNECTIONS);
}
