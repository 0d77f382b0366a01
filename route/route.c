/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of one listener: compiling, checking and asking all of them. */
#include "route/route.h"

#include "proxy/base/error.h"
#include "route/route_private.h"

#define FIRST_TARGETS 8

/* ---- targets ---- */

static size_t probe(struct target *const *slots, size_t slot_count, const struct target *target)
{
    uint64_t hash = (uint64_t)(uintptr_t)target * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(hash >> 32) & (slot_count - 1);
    for (size_t left = slot_count; slots[at] != NULL && slots[at] != target; left--) {
        assert(left > 0);
        at = (at + 1) & (slot_count - 1);
    }
    return at;
}

/* The smaller arrays stay in the arena; together they are no larger than the new ones. */
static int grow(struct route_set *set, struct arena *arena)
{
    size_t capacity = set->target_capacity == 0 ? FIRST_TARGETS : 2 * set->target_capacity;
    struct target **targets = arena_alloc(arena, capacity * sizeof(*targets));
    struct target **slots = arena_alloc(arena, 2 * capacity * sizeof(*slots));
    if (targets == NULL || slots == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < set->target_count; i++) {
        targets[i] = set->targets[i];
        slots[probe(slots, 2 * capacity, targets[i])] = targets[i];
    }
    set->targets = targets;
    set->target_capacity = capacity;
    set->slots = slots;
    set->slot_count = 2 * capacity;
    return 0;
}

static int add_target(struct route_set *set, struct target *target, struct arena *arena)
{
    if (set->target_count == set->target_capacity && grow(set, arena) != 0)
        return ERR_MEMORY;
    struct target **slot = &set->slots[probe(set->slots, set->slot_count, target)];
    if (*slot != NULL)
        return 0;
    *slot = target;
    assert(set->target_count < set->target_capacity);
    set->targets[set->target_count++] = target;
    return 0;
}

static int add_targets(struct route_set *set, const struct route_table *table, struct arena *arena)
{
    size_t count = table->rules[table->rule_count].first_action;
    const struct target *previous = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct route_action *action = &table->actions[i];
        if (action->kind != ROUTE_ACTION_TARGET || action->target == previous)
            continue;
        if (add_target(set, action->target, arena) != 0)
            return ERR_MEMORY;
        previous = action->target;
    }
    return 0;
}

size_t route_set_targets(const struct route_set *set, struct target *const **targets_out)
{
    *targets_out = set->targets;
    return set->target_count;
}

/* ---- loading ---- */

/* Reads all tables even after an error, so that all errors are reported at once. */
static int read_tables(struct route_set *set, struct route_source *const *sources, size_t count,
                       const struct route_directory *directory, struct arena *arena,
                       struct cf_problems *problems)
{
    struct route_table_names names = {.owner = directory->owner,
                                      .find = directory->find,
                                      .find_implicit = directory->find_implicit,
                                      .expected = directory->expected};
    bool is_bad = false;
    set->tables = arena_alloc(arena, count * sizeof(struct route_table *));
    if (set->tables == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        int error = route_table_new(sources[i], &names, set->key, arena, problems,
                                    &set->tables[set->table_count]);
        if (error == 0)
            error = add_targets(set, set->tables[set->table_count++], arena);
        if (error == ERR_MEMORY)
            return error;
        is_bad = is_bad || error != 0;
    }
    return is_bad ? ERR_SYNTAX : 0;
}

int route_set_new(struct route_source *const *sources, size_t count,
                  const struct route_directory *directory, struct hash_key key, struct arena *arena,
                  struct cf_problems *problems, struct route_set **set_out)
{
    struct route_set *set = arena_alloc(arena, sizeof(*set));
    if (set == NULL)
        return ERR_MEMORY;
    set->key = key;
    int error = read_tables(set, sources, count, directory, arena, problems);
    if (error == 0)
        error = route_check(set, directory, problems);
    if (error == 0 && problems->has_no_memory)
        error = ERR_MEMORY;
    if (error == 0)
        *set_out = set;
    return error;
}

/* ---- asking ---- */

static int walk_to(const struct route_set *set, const struct address *to, struct arena *mail,
                   struct route_walk *walk_out)
{
    struct address address;
    int error = address_copy(mail, to, &address);
    return error != 0 ? error : route_walk(set, &address, ROUTE_WALK_ADDRESS, mail, walk_out);
}

static int answer(const struct route_walk *walk, const struct route_client *client,
                  struct arena *mail, struct routed *routed_out)
{
    *routed_out = (struct routed){.reply = route_walk_refusal(walk)};
    routed_out->is_discarded = routed_out->reply.code == 0 && walk->leg_count == 0;
    if (routed_out->reply.code != 0 || routed_out->is_discarded)
        return 0;
    struct routed_leg *legs = arena_alloc(mail, (size_t)walk->leg_count * sizeof(*legs));
    if (legs == NULL)
        return ERR_MEMORY;
    for (const struct route_walk_leg *leg = walk->first_leg; leg != NULL; leg = leg->next)
        legs[routed_out->leg_count++] = leg->leg;
    assert(routed_out->leg_count == walk->leg_count);
    routed_out->legs = legs;
    routed_out->guard = route_walk_guard(walk, client);
    routed_out->names_domain = route_walk_names_domain(walk);
    return 0;
}

static struct routed failed(void)
{
    return (struct routed){.reply = reply_own(REPLY_ROUTE_FAILED)};
}

void route_resolve(const struct route_set *set, const struct address *to,
                   const struct route_client *client, struct arena *mail, struct routed *routed_out)
{
    struct route_walk walk;
    if (walk_to(set, to, mail, &walk) != 0 || answer(&walk, client, mail, routed_out) != 0)
        *routed_out = failed();
}

static struct route_lead lead_to(const struct route_walk_leg *leg)
{
    const struct route_step *step = leg->step;
    if (step->match.rule == NULL)
        return (struct route_lead){.table = NULL};
    return (struct route_lead){.table = step->table->source, .line = step->match.rule->line->place};
}

void route_locate(const struct route_set *set, const struct address *to, struct arena *mail,
                  struct routed *routed_out, const struct route_lead **leads_out)
{
    static const struct route_client client = {.may_relay = true};
    struct route_lead *leads = NULL;
    struct route_walk walk;
    size_t count = 0;
    if (walk_to(set, to, mail, &walk) == 0 && answer(&walk, &client, mail, routed_out) == 0)
        leads = arena_alloc(mail, ((size_t)walk.leg_count + 1) * sizeof(*leads));
    if (leads == NULL) {
        *routed_out = failed();
        return;
    }
    for (const struct route_walk_leg *leg = walk.first_leg; leg != NULL; leg = leg->next)
        leads[count++] = lead_to(leg);
    *leads_out = leads;
}

static bool leads_somewhere(const struct route_table *table, const struct route_rule *rule)
{
    size_t count;
    const struct route_action *actions = route_rule_actions(table, rule, &count);
    return actions->kind != ROUTE_ACTION_REPLY && actions->kind != ROUTE_ACTION_DISCARD;
}

bool route_set_knows_domain(const struct route_set *set, struct bytes domain)
{
    struct address anybody = {.domain = domain};
    bool is_decided = false; /* by the first line that matches any recipient there */
    for (size_t i = 0; i < set->table_count; i++) {
        const struct route_table *table = set->tables[i];
        const struct route_rule *rule = route_table_find_domain(table, domain);
        struct route_match match;
        if (rule != NULL && leads_somewhere(table, rule))
            return true;
        if (is_decided || !route_table_find(table, &anybody, &match))
            continue;
        if (leads_somewhere(table, match.rule))
            return true;
        is_decided = true;
    }
    return false;
}
