/* SPDX-License-Identifier: BSD-2-Clause */
/* What other processes of the host have of the target, as a scenario says it. */
#ifndef POSTERN_RELAY_OTHERS_H
#define POSTERN_RELAY_OTHERS_H

#include "route/relay/relay_service.h"
#include "tests/unit/lib.h"
#include "tests/unit/relay_world.h"

struct relay_others {
    uint32_t ours[RELAY_SHARE_COUNTS], theirs[RELAY_SHARE_COUNTS];
    struct relay_sharing sharing;
};

static void *others_join(void *owner, struct bytes target)
{
    (void)target;
    return owner;
}

static void others_leave(void *counts)
{
    (void)counts;
}

static void others_add(void *counts, enum relay_share_count what, int32_t change)
{
    struct relay_others *o = counts;
    o->ours[what] += (uint32_t)change;
}

static uint32_t others_sum(const void *counts, enum relay_share_count what)
{
    const struct relay_others *o = counts;
    return o->ours[what] + o->theirs[what];
}

/* There are no words: each process finds out itself what is down. */
static uint64_t others_key(void *owner, const char *kind, struct bytes target, struct bytes address)
{
    (void)owner, (void)kind, (void)target, (void)address;
    return 0;
}

static uint32_t others_word(const void *owner, uint64_t key)
{
    (void)owner, (void)key;
    return 0;
}

static bool others_change(void *owner, uint64_t key, uint32_t old, uint32_t value)
{
    (void)owner, (void)key, (void)old, (void)value;
    return false;
}

/* NULL: the scenario has no others. */
static const struct relay_sharing *others_begin(struct relay_others *o,
                                                const struct relay_step *first)
{
    *o = (struct relay_others){.sharing = {.join = others_join,
                                           .leave = others_leave,
                                           .add = others_add,
                                           .sum = others_sum,
                                           .key = others_key,
                                           .word = others_word,
                                           .change = others_change,
                                           .owner = o}};
    return first->verb == OTHERS || first->verb == TOLD ? &o->sharing : NULL;
}

static void others_step(struct relay_others *o, size_t row, const struct relay_step *step)
{
    enum relay_share_count what = RELAY_SHARE_LIVE_WAITS;

    if (step->verb == TOLD) {
        lib_same_number(row, "told", step->number, o->ours[RELAY_SHARE_LIVE_WAITS]);
        return;
    }
    if (strcmp(step->text, "connections") == 0)
        what = RELAY_SHARE_CONNECTIONS;
    else if (strcmp(step->text, "idle") == 0)
        what = RELAY_SHARE_IDLE;
    o->theirs[what] = (uint32_t)step->number;
}

/* The relay has gone. */
static void others_end(const struct relay_others *o, size_t row)
{
    for (size_t i = 0; i < RELAY_SHARE_COUNTS; i++)
        lib_same_number(row, "counted at the end", 0, o->ours[i]);
}

#endif
