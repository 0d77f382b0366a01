/* SPDX-License-Identifier: BSD-2-Clause */
/* Follows one address through the tables, rewriting after rewriting, to its targets. */
#include "proxy/base/error.h"
#include "route/route_private.h"
#include "route/target_group.h"

static struct reply no_reply(void)
{
    return (struct reply){.code = 0};
}

static void refuse(struct route_walk *walk, struct reply reply)
{
    if (walk->refusal.code == 0)
        walk->refusal = reply;
}

static void note_trouble(struct route_walk *walk, enum route_trouble trouble,
                         const struct route_step *step, enum reply_id reply)
{
    if (walk->trouble == ROUTE_TROUBLE_NONE) {
        walk->trouble = trouble;
        walk->step = step;
    }
    refuse(walk, reply_own(reply));
}

/* ---- steps and legs so far ---- */

/* Makes a key of an address at a target (`target` NULL: of a step), the same for any case of the
 * domain. 0 or ERR_MEMORY. */
static int make_key(struct route_walk *walk, const struct address *address, bool is_name,
                    const struct target *target, struct bytes *key_out)
{
    size_t len = 1 + sizeof(target) + address->domain.len + 1 + address->local.len;
    uint8_t *key = arena_alloc(walk->arena, len), *at = key;
    if (key == NULL)
        return ERR_MEMORY;
    *at++ = is_name;
    memcpy(at, &target, sizeof(target));
    at += sizeof(target);
    for (size_t i = 0; i < address->domain.len; i++)
        *at++ = byte_lower(address->domain.at[i]);
    *at++ = 0; /* which no domain has */
    if (address->local.len > 0)
        memcpy(at, address->local.at, address->local.len);
    assert(at + address->local.len == key + len);
    *key_out = bytes_make(key, len);
    return 0;
}

/* Adds the first step or leg to `seen`, which is needed only when there is a second one. */
static int note(struct route_walk *walk, struct hash_entry *seen, const struct address *address,
                bool is_name, const struct target *target)
{
    struct bytes key;
    if (seen->key.len != 0)
        return 0;
    if (make_key(walk, address, is_name, target, &key) != 0)
        return ERR_MEMORY;
    return hash_table_add(&walk->seen, seen, key);
}

/* ---- which line ---- */

static bool find_address(const struct route_set *set, const struct address *address,
                         const struct route_table **table_out, struct route_match *match_out)
{
    for (size_t i = 0; i < set->table_count; i++) {
        if (!route_table_find(set->tables[i], address, match_out))
            continue;
        *table_out = set->tables[i];
        return true;
    }
    return false;
}

bool route_set_find_name(const struct route_set *set, struct bytes name,
                         const struct route_table **table_out, struct route_match *match_out)
{
    for (size_t i = 0; i < set->table_count; i++) {
        if (!route_table_find_name(set->tables[i], name, match_out))
            continue;
        *table_out = set->tables[i];
        return true;
    }
    return false;
}

/* Finds a line user@DOMAIN in the tables, one with a target if possible. */
static const struct route_rule *find_domain(const struct route_set *set, struct bytes domain,
                                            const struct route_table **table_out)
{
    const struct route_rule *found = NULL;
    for (size_t i = 0; i < set->table_count && domain.len > 0; i++) {
        const struct route_rule *rule = route_table_find_domain(set->tables[i], domain);
        size_t count;
        if (rule == NULL)
            continue;
        if (found == NULL ||
            route_rule_actions(set->tables[i], rule, &count)->kind == ROUTE_ACTION_TARGET) {
            found = rule;
            *table_out = set->tables[i];
        }
        if (route_rule_actions(*table_out, found, &count)->kind == ROUTE_ACTION_TARGET)
            break;
    }
    return found;
}

/* Finds a line for the name alone, else one for any domain. */
static bool find_postmaster(const struct route_set *set, struct route_step *step)
{
    const struct address bare = {.local = step->address.local};
    return route_set_find_name(set, bare.local, &step->table, &step->match) ||
           find_address(set, &bare, &step->table, &step->match);
}

/* The target of a postmaster that no line matches: the first of the domain, else the first of
 * all. */
static struct target *stand_in(const struct route_set *set, const struct route_step *step)
{
    const struct route_table *table = NULL;
    const struct route_rule *rule = find_domain(set, step->address.domain, &table);
    size_t count;
    if (rule != NULL) {
        const struct route_action *action = route_rule_actions(table, rule, &count);
        if (action->kind == ROUTE_ACTION_TARGET)
            return action->target;
    }
    return set->target_count > 0 ? set->targets[0] : NULL;
}

/* False: no line matches. */
static bool find_line(const struct route_set *set, struct route_step *step)
{
    const struct route_table *unused;
    struct bytes domain = step->address.domain;
    if (step->is_name) {
        if (route_set_find_name(set, step->address.local, &step->table, &step->match))
            return true;
        return address_is_postmaster(&step->address) && find_postmaster(set, step);
    }
    if (domain.len > 0 && find_address(set, &step->address, &step->table, &step->match))
        return true;
    if (!address_is_postmaster(&step->address) ||
        (domain.len > 0 && find_domain(set, domain, &unused) == NULL))
        return false;
    if (find_postmaster(set, step))
        return true;
    step->stand_in = stand_in(set, step);
    return step->stand_in != NULL;
}

/* Postmaster is never refused for want of a route, if the tables know the domain. */
static bool is_owed_a_route(const struct route_set *set, const struct route_step *first)
{
    const struct route_table *unused;
    return address_is_postmaster(&first->address) &&
           (first->address.domain.len == 0 || first->match.rule != NULL ||
            find_domain(set, first->address.domain, &unused) != NULL);
}

static enum reply_id reply_to_unknown(const struct route_walk *walk, const struct route_step *step)
{
    const struct route_table *unused;
    if (step->is_name || is_owed_a_route(walk->set, walk->first))
        return REPLY_ROUTE_FAILED;
    if (step->address.domain.len == 0)
        return REPLY_NEED_DOMAIN;
    return find_domain(walk->set, step->address.domain, &unused) != NULL ? REPLY_USER_UNKNOWN
                                                                         : REPLY_RELAYING_DENIED;
}

/* ---- legs ---- */

/* `table` NULL: no line matched. */
static void set_mailbox(struct address *to, const struct route_table *table)
{
    struct bytes local = table == NULL ? to->local : route_table_strip(table, to->local);

    to->keeps_case = table != NULL && table->source->is_case_sensitive;
    to->mailbox = address_mailbox(to, local);
}

static int add_leg(struct route_walk *walk, const struct route_step *step,
                   const struct route_action *by, struct target *target)
{
    struct route_walk_leg *first = walk->first_leg, *leg;
    struct address to = step->address;
    struct bytes key = {.len = 0};
    set_mailbox(&to, step->table);
    target = target_group_choose(target, to.mailbox);
    if (first != NULL) {
        if (note(walk, &first->seen, &first->leg.to, false, first->leg.target) != 0 ||
            make_key(walk, &step->address, false, target, &key) != 0)
            return ERR_MEMORY;
        if (hash_table_find(&walk->seen, key) != NULL)
            return 0;
    }
    leg = arena_alloc(walk->arena, sizeof(*leg));
    if (leg == NULL || (first != NULL && hash_table_add(&walk->seen, &leg->seen, key) != 0))
        return ERR_MEMORY;
    leg->leg = (struct routed_leg){
        .target = target,
        .to = to,
        .can_prepare = target->can_prepare,
        .may_spool = target->may_spool,
        .answers_each = target->answers_each,
    };
    leg->step = step;
    leg->by = by;
    if (walk->last_leg == NULL)
        walk->first_leg = leg;
    else
        walk->last_leg->next = leg;
    walk->last_leg = leg;
    walk->leg_count++;
    walk->has_relay = walk->has_relay || target->kind->is_relay;
    if (target->can_prepare)
        return 0;
    if (walk->firm_count < 2)
        walk->firm[walk->firm_count] = leg;
    walk->firm_count++;
    walk->has_tempfail = walk->has_tempfail || !target->may_spool;
    return 0;
}

/* ---- steps ---- */

/* `key`: of make_key(), or empty for the first step. NULL: no memory. */
static struct route_step *add_step(struct route_walk *walk, struct route_step *parent,
                                   const struct address *address, bool is_name, struct bytes key)
{
    struct route_step *step = arena_alloc(walk->arena, sizeof(*step));
    if (step == NULL || (key.len != 0 && hash_table_add(&walk->seen, &step->seen, key) != 0))
        return NULL;
    step->parent = parent;
    step->address = *address;
    step->is_name = is_name;
    step->has_own_local = parent == NULL;
    step->is_vouched = parent != NULL && parent->is_vouched;
    step->depth = parent == NULL ? 0 : parent->depth + 1;
    if (walk->last == NULL)
        walk->first = step;
    else
        walk->last->next = step;
    walk->last = step;
    walk->step_count++;
    return step;
}

static const struct route_step *find_step(const struct route_walk *walk, struct bytes key)
{
    struct hash_entry *found = hash_table_find(&walk->seen, key);
    return found == NULL ? NULL : CONTAINER_OF(found, struct route_step, seen);
}

static bool is_above(const struct route_step *step, const struct route_step *below)
{
    while (below != NULL && below != step)
        below = below->parent;
    return below != NULL;
}

static struct address rewritten(const struct address *from, const struct route_action *action)
{
    const struct address *to = action->address;
    struct address address = *from;
    if (to->local.len > 0) {
        address.local = to->local;
        address.keeps_dots = to->keeps_dots;
    }
    if (to->domain.len > 0) {
        address.domain = to->domain;
        address.is_literal = to->is_literal;
    }
    return address;
}

static int visit(struct route_walk *walk, struct route_step *step);

/* Goes on with the rewritten address, unless it was visited before. */
static int rewrite(struct route_walk *walk, struct route_step *step,
                   const struct route_action *action)
{
    bool is_name = action->kind == ROUTE_ACTION_NAME;
    struct address address = rewritten(&step->address, action);
    struct bytes key;
    if (note(walk, &walk->first->seen, &walk->first->address, walk->first->is_name, NULL) != 0 ||
        make_key(walk, &address, is_name, NULL, &key) != 0)
        return ERR_MEMORY;
    const struct route_step *again = find_step(walk, key);
    if (again != NULL && !is_above(again, step))
        return 0; /* its targets are known */
    if (again != NULL) {
        walk->again = again;
        walk->by = action;
        note_trouble(walk, ROUTE_TROUBLE_LOOP, step, REPLY_MAIL_LOOPS_BACK);
        return 0;
    }
    if (step->depth >= ROUTE_DEPTH_MAX || walk->step_count >= ROUTE_STEPS_MAX) {
        note_trouble(walk, step->depth >= ROUTE_DEPTH_MAX ? ROUTE_TROUBLE_LONG : ROUTE_TROUBLE_WIDE,
                     step, REPLY_MAIL_LOOPS_BACK);
        return 0;
    }
    struct route_step *to = add_step(walk, step, &address, is_name, key);
    if (to == NULL)
        return ERR_MEMORY;
    to->by = action;
    to->has_own_local = step->has_own_local && action->address->local.len == 0;
    return visit(walk, to);
}

static int perform(struct route_walk *walk, struct route_step *step,
                   const struct route_action *action)
{
    switch (action->kind) {
    case ROUTE_ACTION_TARGET:
        return add_leg(walk, step, action, action->target);
    case ROUTE_ACTION_ADDRESS:
    case ROUTE_ACTION_NAME:
        return rewrite(walk, step, action);
    case ROUTE_ACTION_REPLY:
        refuse(walk, *action->reply);
        return 0;
    case ROUTE_ACTION_DISCARD:
        walk->is_discarded = true;
        return 0;
    }
    return 0;
}

/* Recurses, at most ROUTE_DEPTH_MAX deep. */
static int visit(struct route_walk *walk, struct route_step *step)
{
    size_t count;
    assert(step->depth <= ROUTE_DEPTH_MAX && walk->step_count <= ROUTE_STEPS_MAX);
    if (!find_line(walk->set, step)) {
        note_trouble(walk, ROUTE_TROUBLE_NOWHERE, step, reply_to_unknown(walk, step));
        return 0;
    }
    if (step->stand_in != NULL)
        return add_leg(walk, step, NULL, step->stand_in);
    if (step->match.rule->pattern == ROUTE_PATTERN_ADDRESS && !step->match.is_stripped)
        step->is_vouched = true;
    const struct route_action *actions = route_rule_actions(step->table, step->match.rule, &count);
    int error = 0;
    for (size_t i = 0; i < count && error == 0 && walk->refusal.code == 0; i++)
        error = perform(walk, step, &actions[i]);
    return error;
}

int route_walk(const struct route_set *set, const struct address *address,
               enum route_walk_start start, struct arena *arena, struct route_walk *walk_out)
{
    *walk_out = (struct route_walk){.set = set, .arena = arena};
    hash_table_init(&walk_out->seen, set->key);
    struct route_step *step =
        add_step(walk_out, NULL, address, start == ROUTE_WALK_NAME, bytes_make(NULL, 0));
    int error = step == NULL ? ERR_MEMORY : visit(walk_out, step);
    hash_table_done(&walk_out->seen);
    return error;
}

/* ---- the result ---- */

static enum reply_id refuses(const struct routed_leg *leg)
{
    const struct target_kind *kind = leg->target->kind;
    return kind->refuses == NULL ? REPLY_OK : kind->refuses(leg->target, &leg->to);
}

bool route_walk_is_unsafe(const struct route_walk *walk)
{
    return walk->firm_count > 1 && walk->has_tempfail;
}

struct reply route_walk_refusal(const struct route_walk *walk)
{
    if (walk->refusal.code != 0)
        return walk->refusal;
    for (const struct route_walk_leg *leg = walk->first_leg; leg != NULL; leg = leg->next) {
        enum reply_id refusal = refuses(&leg->leg);
        if (refusal != REPLY_OK)
            return reply_own(refusal);
    }
    if (route_walk_is_unsafe(walk))
        return reply_own(REPLY_ROUTE_FAILED);
    return no_reply();
}

/* RFC 5321 leaves the meaning of a local part to the last host, but many hosts take such a one for
 * a route. */
static bool is_routed_local(struct bytes local)
{
    for (size_t i = 0; i < local.len; i++)
        if (local.at[i] == '%' || local.at[i] == '!' || local.at[i] == '@')
            return true;
    return false;
}

/* The line that matched the client's own address decides. */
bool route_walk_names_domain(const struct route_walk *walk)
{
    const struct route_step *first = walk->first;
    if (first->match.rule == NULL || first->address.domain.len == 0)
        return true;
    switch ((enum route_pattern)first->match.rule->pattern) {
    case ROUTE_PATTERN_ADDRESS:
    case ROUTE_PATTERN_DOMAIN:
    case ROUTE_PATTERN_SUBDOMAIN:
    case ROUTE_PATTERN_NAME:
        return true;
    case ROUTE_PATTERN_USER:
    case ROUTE_PATTERN_ALL:
    case ROUTE_PATTERN_COUNT:
        return false;
    }
    return false;
}

enum reply_id route_walk_guard(const struct route_walk *walk, const struct route_client *client)
{
    if (!walk->has_relay)
        return REPLY_OK;
    for (const struct route_walk_leg *leg = walk->first_leg; leg != NULL; leg = leg->next)
        if (client->rejects_routed && leg->leg.target->kind->is_relay && leg->step->has_own_local &&
            !leg->step->is_vouched && is_routed_local(leg->leg.to.local))
            return REPLY_ROUTED_RECIPIENT;
    return client->may_relay || route_walk_names_domain(walk) ? REPLY_OK : REPLY_RELAYING_DENIED;
}
