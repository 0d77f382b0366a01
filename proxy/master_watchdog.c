/* SPDX-License-Identifier: BSD-2-Clause */
/* The service manager's watchdog: it hears from us while all processes that serve have answered
 * lately. Each of them counts in the shared mapping as long as its loop turns. */
#include "proxy/master_private.h"

#define PARTS 4 /* of the watchdog's time: processes answer once in each, and we look as often */
#define LATE  2 /* after so many parts a process hangs: we are silent before the time is over */

uint64_t master_watchdog_part_ms(const struct notify *n)
{
    return n->watchdog_ms == 0 ? 0 : n->watchdog_ms / PARTS + 1;
}

static bool answers(const struct master *m, struct master_child *child, uint64_t now_ms)
{
    uint32_t answers = shared_answers(m->shared, child->column);

    if (answers != child->answers || child->answered_ms < child->started_ms)
        child->answered_ms = now_ms;
    child->answers = answers;
    return now_ms - child->answered_ms < LATE * master_watchdog_part_ms(&m->notify);
}

/* A process that has died hangs nowhere: it is started again when that is due. */
static bool all_answer(const struct master *m, uint64_t now_ms)
{
    const struct master_generation *g = m->serving;
    bool do_all = true;

    for (size_t i = 0; i < g->child_count; i++)
        if (g->children[i].pid != 0 && !answers(m, &g->children[i], now_ms))
            do_all = false;
    return do_all;
}

uint64_t master_watchdog_due_ms(const struct master *m)
{
    return m->notify.watchdog_ms == 0 || m->serving == NULL ? UINT64_MAX : m->watchdog_due_ms;
}

void master_watchdog_wake(struct master *m, uint64_t now_ms)
{
    if (master_watchdog_due_ms(m) > now_ms)
        return;
    m->watchdog_due_ms = now_ms + master_watchdog_part_ms(&m->notify);
    if (all_answer(m, now_ms))
        notify_say(&m->notify, "WATCHDOG=1");
}
