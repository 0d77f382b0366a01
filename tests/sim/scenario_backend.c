/* SPDX-License-Identifier: BSD-2-Clause */
/* A relay with balance = hash: which of its backends a mailbox of the scenario belongs to. */
#include "proxy/base/rendezvous.h"
#include "proxy/smtp/address.h"
#include "tests/sim/scenario.h"

/* A message may be on its way to another one for so long, since its own was away: until it has a
 * connection, and one that is slow has done with it. */
#define FAILOVER_MS 600000

static int own_backend(const char *to)
{
    static const struct {
        const char *name;
        uint32_t weight;
    } backends[SCENARIO_BACKENDS] = {{"", 1}, {"198.51.100.2:25", 1}, {"198.51.100.3:25", 2}};
    struct bytes text = bytes_of(to);
    size_t at = bytes_find(text, '@');
    const struct address address = {.local = bytes_first(text, at),
                                    .domain = bytes_skip(text, at + 1)};
    uint64_t mailbox = address_mailbox(&address, address.local);
    struct rendezvous_claim best;
    int own = 0;

    for (int i = 1; i < SCENARIO_BACKENDS; i++) {
        struct rendezvous_node node =
            rendezvous_node(bytes_of(backends[i].name), backends[i].weight);
        struct rendezvous_claim claim = rendezvous_claim(&node, mailbox);
        if (own != 0 && !rendezvous_beats(&claim, &best))
            continue;
        best = claim;
        own = i;
    }
    return own;
}

uint64_t backend_outage_ms(const struct scenario *s, int target, const char *to)
{
    bool is_alone = target == 1 && s->targets.has_group && !s->targets.fails_over;
    return is_alone ? s->targets.backend_failed_ms[own_backend(to)] : s->targets.failed_ms[target];
}

void backend_check(struct scenario *s, int backend, const char *to)
{
    int own = own_backend(to);
    uint64_t failed_ms = s->targets.backend_failed_ms[own];
    bool was_away = failed_ms != 0 && sim_now_ms(s->world) - failed_ms <= FAILOVER_MS;

    if (s->plan.has_memory_trouble) /* for want of it a connection may look lost */
        was_away = true;
    if (!s->targets.has_group || backend == own || (s->targets.fails_over && was_away))
        return;
    scenario_fail(s, "backend %d gets mail for %s, which belongs to %d", backend, to, own);
}
