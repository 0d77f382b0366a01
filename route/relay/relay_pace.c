/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a transaction moves while it holds a connection, and which one gives its connection up.
 */
#include "route/relay/relay_pace.h"

#include <assert.h>

void relay_pace_begin(struct relay_pace *p, uint64_t now_ms)
{
    *p = (struct relay_pace){.begun_ms = now_ms, .since_ms = now_ms, .asked_ms = now_ms};
}

void relay_pace_asked(struct relay_pace *p, uint64_t now_ms)
{
    p->asked_ms = now_ms;
}

void relay_pace_answered(struct relay_pace *p, uint64_t now_ms)
{
    assert(p->asked_ms <= now_ms);
    p->since_ms += now_ms - p->asked_ms;
}

bool relay_pace_is_slow(struct relay_pace *p, uint64_t now_ms, uint64_t brought, uint64_t taken)
{
    uint64_t moved = brought - p->mark + (uint64_t)p->recipients * RELAY_PACE_RECIPIENT;

    assert(p->mark <= brought && p->since_ms <= now_ms);
    if (now_ms - p->since_ms < RELAY_PACE_WINDOW_MS)
        return false;
    if (moved < RELAY_PACE_BYTES)
        return true;
    p->since_ms = now_ms;
    p->mark = taken;
    p->recipients = 0;
    return false;
}

enum relay_pace_turn relay_pace_turn(const struct relay_pace_facts *f)
{
    if (f->is_slow && f->may_replay)
        return RELAY_PACE_SLOW;
    if (!f->is_claimed)
        return RELAY_PACE_KEEPS;
    if (f->is_over && f->may_replay && f->held_ms >= RELAY_PACE_OVER_MS)
        return RELAY_PACE_OVER;
    if (f->is_slow)
        return RELAY_PACE_REFUSED_SLOW;
    if (f->is_over && f->held_ms >= RELAY_PACE_LONG_MS)
        return RELAY_PACE_REFUSED_LONG;
    return RELAY_PACE_KEEPS;
}
