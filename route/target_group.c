/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups: targets that are several, one for each address of a relay with balance = hash. */
#include "route/target_group.h"

#include <assert.h>

#include "proxy/base/mem.h"

/* ---- whose a mailbox is ---- */

static bool is_down(struct target *target)
{
    return target->ops != NULL && target->ops->is_down != NULL && target->ops->is_down(target);
}

enum eligible { ELIGIBLE_ALL, ELIGIBLE_UP };

/* NULL: none is eligible. */
static struct target *best_member(const struct target *group, uint64_t mailbox,
                                  enum eligible eligible)
{
    struct rendezvous_claim best;
    struct target *found = NULL;

    for (size_t i = 0; i < group->member_count; i++) {
        struct target *member = group->members[i];
        struct rendezvous_claim claim = rendezvous_claim(&member->node, mailbox);
        if (found != NULL && !rendezvous_beats(&claim, &best))
            continue;
        if (eligible == ELIGIBLE_UP && is_down(member))
            continue;
        found = member;
        best = claim;
    }
    return found;
}

struct target *target_group_choose(struct target *target, uint64_t mailbox)
{
    if (target->member_count == 0)
        return target;
    struct target *found = target->fails_over ? best_member(target, mailbox, ELIGIBLE_UP) : NULL;
    return found != NULL ? found : best_member(target, mailbox, ELIGIBLE_ALL);
}

const struct target *target_group_queue(const struct target *target, uint64_t mailbox)
{
    return target->member_count == 0 || target->fails_over
               ? target
               : best_member(target, mailbox, ELIGIBLE_ALL);
}

/* ---- what is asked of all members ---- */

static void on_probe(struct target *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i]->ops->probe(group->members[i]);
}

static struct capability on_capabilities(struct target *group)
{
    struct capability all = {.keywords = 0};

    for (size_t i = 0; i < group->member_count; i++) {
        struct capability one = group->members[i]->ops->capabilities(group->members[i]);
        all = i == 0 ? one : capability_of_both(&all, &one);
    }
    return all;
}

static void on_warm(struct target *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i]->ops->warm(group->members[i]);
}

static bool on_is_down(struct target *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        if (!group->members[i]->ops->is_down(group->members[i]))
            return false;
    return true;
}

/* Up: one of them is known to be, which is what it says of a target with several addresses, too. */
static struct target_view on_view(struct target *group)
{
    struct target_view all = {.state = on_is_down(group) ? "down" : "unknown",
                              .announced = on_capabilities(group)};

    for (size_t i = 0; i < group->member_count; i++) {
        struct target_view one = group->members[i]->ops->view(group->members[i]);
        if (strcmp(one.state, "up") == 0)
            all.state = "up";
        all.connections += one.connections;
        all.idle += one.idle;
        all.waiting += one.waiting;
        all.addresses += one.addresses;
        all.addresses_down += one.addresses_down;
        all.accepted += one.accepted;
        all.refused += one.refused;
    }
    return all;
}

static void on_close(struct target *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i]->ops->close(group->members[i]);
}

static void on_abort(struct target *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i]->ops->abort(group->members[i]);
}

static void on_free(struct target *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i]->ops->free(group->members[i]);
    mem_free(group->members);
    mem_free(group);
}

/* No branch goes to a group. */
static const struct target_ops group_ops = {
    .probe = on_probe,
    .capabilities = on_capabilities,
    .warm = on_warm,
    .is_down = on_is_down,
    .view = on_view,
    .close = on_close,
    .abort = on_abort,
    .free = on_free,
};

/* ---- life ---- */

static size_t count_members(const struct target_kind *kind, const void *conf)
{
    size_t count = 0;

    while (kind->member != NULL && kind->member(conf, count) != NULL)
        count++;
    return count;
}

static void add_member(struct target *group, struct target *member)
{
    member->group = group;
    group->members[group->member_count++] = member;
}

struct target *target_group_describe(const struct target_kind *kind, const void *conf,
                                     struct arena *arena)
{
    size_t count = count_members(kind, conf);
    struct target *all = arena_alloc(arena, (count + 1) * sizeof(*all));
    struct target **members = arena_alloc(arena, (count + 1) * sizeof(struct target *));

    if (all == NULL || members == NULL)
        return NULL;
    *all = kind->describe(conf);
    all->members = members;
    for (size_t i = 0; i < count; i++) {
        all[1 + i] = kind->describe(kind->member(conf, i));
        add_member(all, &all[1 + i]);
    }
    return all;
}

static struct target *open_group(const struct target_kind *kind, struct target_services *services,
                                 const void *conf, size_t count)
{
    struct target *group = mem_alloc(sizeof(*group));

    if (group == NULL)
        return NULL;
    *group = kind->describe(conf);
    group->ops = &group_ops;
    group->members = mem_zalloc(count * sizeof(struct target *));
    for (size_t i = 0; group->members != NULL && i < count; i++) {
        struct target *member = kind->open(services, kind->member(conf, i));
        if (member == NULL)
            break;
        add_member(group, member);
    }
    if (group->member_count == count)
        return group;
    on_free(group);
    return NULL;
}

struct target *target_group_open(const struct target_kind *kind, struct target_services *services,
                                 const void *conf)
{
    size_t count = count_members(kind, conf);

    return count == 0 ? kind->open(services, conf) : open_group(kind, services, conf, count);
}
