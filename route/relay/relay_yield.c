/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections that are taken back from unfinished transactions, for those who wait. */
#include "route/relay/relay_yield.h"

#include <assert.h>

#include "route/relay/relay_branch.h"
#include "route/relay/relay_branch_private.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_private.h"

#define AT_ONCE 16 /* the others wait for the next look: each one taken is looked for among all */

struct choice {
    struct relay_branch *w;
    enum relay_pace_turn turn;
    uint64_t brought;
};

static uint64_t brought_by(const struct relay_branch *w)
{
    return w->asker.carrier->copy == NULL ? 0 : copy_length(w->asker.carrier->copy);
}

/* It is the client's turn, and the end of its message has not come. */
static bool is_unfinished(const struct relay_branch *w)
{
    return w->state == RELAY_BRANCH_ACTIVE && !w->content.is_end_released && w->unanswered == 0 &&
           !w->asker.carrier->is_spooled;
}

static struct choice judge(const struct relay_link *link, bool is_claimed)
{
    struct relay *r = link->relay;
    struct choice c = {.w = link->user.who, .turn = RELAY_PACE_KEEPS};

    if (c.w == NULL || !is_unfinished(c.w))
        return c;
    assert(link->pooled.net != NULL);
    uint64_t now = loop_now_ms(r->service->loop);
    c.brought = brought_by(c.w);
    struct relay_pace_facts facts = {
        .is_slow = relay_pace_is_slow(&c.w->pace, now, c.brought, c.w->content.message.reader.at),
        .may_replay = relay_branch_may_begin_anew(c.w),
        .is_over = link->pooled.net->held > relay_pool_share(r),
        .is_claimed = is_claimed,
        .held_ms = now - c.w->pace.begun_ms,
    };
    c.turn = relay_pace_turn(&facts);
    return c;
}

static bool comes_before(const struct choice *a, const struct choice *b)
{
    return a->turn != b->turn ? a->turn < b->turn : a->brought < b->brought;
}

/* As many as are wanted, where so many are to be had; the first `claims` of them for nets that hold
 * less than their share. */
static void take_back(struct relay *r, unsigned wanted, unsigned claims)
{
    for (unsigned i = 0; i < wanted && i < AT_ONCE; i++) {
        struct choice first = {.turn = RELAY_PACE_KEEPS};
        LIST_EACH (at, &r->stock.busy) {
            struct choice c = judge(LIST_ENTRY(at, struct relay_link, pooled.in_lot), i < claims);
            if (comes_before(&c, &first))
                first = c;
        }
        if (first.turn == RELAY_PACE_KEEPS)
            break;
        relay_log_taken_back(&r->log, &first.w->branch->transaction->envelope,
                             &first.w->asker.carrier->client->client, first.turn, first.brought);
        relay_branch_yield(first.w);
    }
}

/* Those who wait for a net that holds less than its share, and to whom no connection is on its way;
 * no more than are looked for. `coming` connections have no owner yet: these waiters get them
 * first.
 */
static unsigned claims(const struct relay *r, unsigned coming)
{
    unsigned share = relay_pool_share(r), count = 0;
    struct relay_waiter *waiter = relay_line_next(&r->line, share, NULL);

    while (waiter != NULL && waiter->net->held < share && count < coming + AT_ONCE) {
        count += CONTAINER_OF(waiter, struct relay_asker, waiter)->dial == NULL;
        waiter = relay_line_next(&r->line, share, waiter);
    }
    return count > coming ? count - coming : 0;
}

void relay_yield_to_waiting(struct relay *r)
{
    unsigned ownerless = r->leaving_count + relay_share_idle_elsewhere(r);
    unsigned coming = r->dial_count + ownerless;

    if (relay_identity_proxy(r->conf) == 0) /* else each dial is its branch's */
        ownerless = coming;
    if (coming < r->line.waiting_count && !relay_share_others_may_answer(r))
        take_back(r, r->line.waiting_count - coming, claims(r, ownerless));
}

void relay_yield_to_others(struct relay *r, unsigned waiting)
{
    unsigned coming = r->leaving_count + relay_share_vacant(r) + relay_share_idle_elsewhere(r);

    if (coming < waiting)
        take_back(r, waiting - coming, waiting - coming);
}
