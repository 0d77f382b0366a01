/* SPDX-License-Identifier: BSD-2-Clause */
/* The circuit of one address, in words that all processes of the host know. */
#include "route/relay/relay_health.h"

#include "route/relay/relay_service.h"

/* A moment as a word. All processes have one monotonic clock, but for gaps in which one was
 * stopped; 0 says that there is none. */
static uint32_t moment(uint64_t ms)
{
    uint32_t low = (uint32_t)ms;
    return low == 0 ? 1 : low;
}

static uint32_t word(const struct relay_health *h, uint64_t key)
{
    return h->sharing == NULL ? 0 : h->sharing->word(h->sharing->owner, key);
}

static bool change(const struct relay_health *h, uint64_t key, uint32_t old, uint32_t value)
{
    return h->sharing != NULL && h->sharing->change(h->sharing->owner, key, old, value);
}

void relay_health_init(struct relay_health *h, const struct relay_sharing *sharing,
                       struct bytes target, struct bytes address)
{
    *h = (struct relay_health){.sharing = sharing};
    if (sharing == NULL)
        return;
    h->down = sharing->key(sharing->owner, "down", target, address);
    h->probed = sharing->key(sharing->owner, "probed", target, address);
    h->why = sharing->key(sharing->owner, "why", target, address);
}

bool relay_health_is_down(const struct relay_health *h)
{
    return h->own_down != 0 || word(h, h->down) != 0;
}

/* Over a month the display starts anew. A process that was stopped for a while is behind the
 * others. */
uint32_t relay_health_down_seconds(const struct relay_health *h, uint64_t now_ms)
{
    uint32_t since = h->own_down != 0 ? h->own_down : word(h, h->down);
    int32_t passed_ms = (int32_t)(moment(now_ms) - since);
    return since == 0 || passed_ms < 0 ? 0 : (uint32_t)passed_ms / 1000;
}

bool relay_health_open(struct relay_health *h, uint64_t now_ms)
{
    uint32_t since = moment(now_ms);

    if (relay_health_is_down(h))
        return false;
    if (change(h, h->down, 0, since)) {
        change(h, h->probed, word(h, h->probed), since);
        return true;
    }
    if (word(h, h->down) != 0) /* at the same moment */
        return false;
    h->own_down = since;
    return true;
}

void relay_health_note_why(struct relay_health *h, int why)
{
    h->own_why = why;
    change(h, h->why, word(h, h->why), (uint32_t)why);
}

/* What others found may be newer. */
int relay_health_why(const struct relay_health *h)
{
    int why = (int)word(h, h->why);
    return why != 0 ? why : h->own_why;
}

bool relay_health_close(struct relay_health *h)
{
    uint32_t since = word(h, h->down);
    bool was_own = h->own_down != 0;

    h->own_down = 0;
    if (since == 0)
        return was_own;
    change(h, h->probed, word(h, h->probed), 0);
    return change(h, h->down, since, 0);
}

/* Timers of several processes never run at the same moment: a tenth of the interval is not much. */
bool relay_health_take_turn(struct relay_health *h, uint64_t now_ms, uint64_t interval_ms)
{
    uint32_t last = word(h, h->probed), now = moment(now_ms);

    if (h->own_down != 0)
        return true;
    if (!relay_health_is_down(h))
        return false;
    return (uint32_t)(now - last) >= interval_ms - interval_ms / 10 &&
           change(h, h->probed, last, now);
}
