/* SPDX-License-Identifier: BSD-2-Clause */
/* targets: the health, connections, capabilities and queue of each. */
#include "proxy/config/smtpd_conf.h"
#include "proxy/control/control_private.h"
#include "proxy/smtp/capability.h"
#include "route/route.h"
#include "route/target_kind.h"

#define WORDS_MAX 1024 /* of all keywords and limits */

static const char header[] =
    " NAME                      KIND     STATE   CONNS  IDLE  MESSAGES  RUNNING  "
    "HELD  OLDEST  ACCEPTED  REFUSED  CAPABILITIES\n";

static int64_t oldest_of(const struct control_run *run, const struct schedule_target *target)
{
    const struct control_oldest *oldest = &run->oldest;

    for (size_t i = 0; i < oldest->count; i++)
        if (oldest->at[i].target == target)
            return oldest->at[i].arrived_s;
    return INT64_MAX;
}

/* What waits in one queue, or in several. */
struct waiting {
    struct schedule_counts counts;
    int64_t oldest_s;
};

static void add_queue(const struct control_run *run, struct bytes name, struct waiting *sum)
{
    struct schedule_target *target = control_find_queue(run, name);

    if (target == NULL)
        return;
    struct schedule_counts counts = schedule_count(target);
    sum->counts.messages += counts.messages;
    sum->counts.running += counts.running;
    sum->counts.held += counts.held;
    sum->counts.concurrency += counts.concurrency;
    if (oldest_of(run, target) < sum->oldest_s)
        sum->oldest_s = oldest_of(run, target);
}

/* `target` NULL: it exists no more. A message that waits for several members counts at each. */
static void put_queue(struct control_run *run, struct control_row *row, struct bytes name,
                      const struct target *target)
{
    struct waiting sum = {.oldest_s = INT64_MAX};
    int64_t now_s = loop_wall_ms(run->services->loop) / 1000;

    add_queue(run, name, &sum);
    for (size_t i = 0; target != NULL && i < target->member_count; i++)
        add_queue(run, target->members[i]->name, &sum);
    control_put_number(row, "messages", -8, sum.counts.messages);
    control_put_number(row, "running", -7, sum.counts.running);
    control_put_number(row, "held", -4, sum.counts.held);
    control_put_number(row, "concurrency", CONTROL_JSON_ONLY, sum.counts.concurrency);
    int64_t oldest_s = sum.oldest_s;
    control_put_age(row, "oldest", -6, oldest_s == INT64_MAX ? CONTROL_NO_AGE : now_s - oldest_s);
}

static void put_announced(struct control_run *run, struct control_row *row,
                          const struct capability *caps)
{
    struct buf words;

    buf_init(&words, &loop_pools(run->services->loop)->small, WORDS_MAX);
    capability_put_words(&words, caps);
    control_put(row, "capabilities", CONTROL_REST, buf_bytes(&words));
    buf_done(&words);
}

static bool leads_to(const struct route_set *routes, const struct target *target)
{
    struct target *const *targets;
    size_t count = route_set_targets(routes, &targets);

    for (size_t i = 0; i < count; i++)
        if (targets[i] == target)
            return true;
    return false;
}

/* What the listener does not announce because this target does not. */
static void put_withheld_from(struct control_row *row, const struct smtpd_conf *listener,
                              const struct capability *caps)
{
    uint32_t settled = smtpd_conf_keywords(&listener->keywords.announce) |
                       smtpd_conf_keywords(&listener->keywords.hide);
    if (listener->fronts.xclient.count == 0) /* nobody may say it there */
        settled |= CAPABILITY_XRCPTFORWARD;
    if (listener->tls.mode == SMTPD_TLS_NONE)
        settled |= CAPABILITY_REQUIRETLS;
    uint32_t missing = capability_offered(CAPABILITY_OFFER_PASSED) & ~settled & ~caps->keywords;

    for (const struct capability_row *known = capability_rows; known->name != NULL; known++) {
        if ((missing & known->bit) == 0)
            continue;
        control_open_object(row, CONTROL_ROW);
        control_put_text(row, "keyword", 20, known->name);
        control_put_text(row, "reason", 14, caps->keywords == 0 ? "not seen yet" : "not announced");
        control_put(row, "listener", CONTROL_REST, listener->section);
        control_close_object(row);
    }
}

static void put_withheld(struct control_run *run, struct control_row *row, struct target *target)
{
    const struct services *services = run->services;
    const struct config *config = services->config;
    const struct target *named = target->group == NULL ? target : target->group;
    struct capability caps = target->ops->capabilities(target);

    control_open_array(row, "withheld");
    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *listener = config->smtpds[i];
        const struct route_set *routes = services_find_routes(services, listener->section);
        if (routes != NULL && leads_to(routes, named))
            put_withheld_from(row, listener, &caps);
    }
    control_close_array(row);
}

/* `nth`: of the addresses of a target; false: it has no more. `target` NULL: it exists no more. */
static bool next_address(struct target *target, unsigned nth, struct target_address *address_out)
{
    return target != NULL && target->ops->address != NULL &&
           target->ops->address(target, nth, address_out);
}

static void put_address(struct control_row *row, const struct target_address *address)
{
    control_put_text(row, "address", 22, address->text);
    control_put_text(row, "state", CONTROL_REST, address->state);
    control_put_number(row, "weight", CONTROL_JSON_ONLY, address->weight);
    control_put_number(row, "down_seconds", CONTROL_JSON_ONLY, address->down_seconds);
}

/* Text names them where there are several: a single one is as its target is. */
static void put_addresses(struct control_row *row, struct target *target)
{
    struct target_address address;
    bool is_told = row->style == CONTROL_JSON || next_address(target, 1, &address);

    control_open_array(row, "endpoints");
    for (unsigned i = 0; is_told && next_address(target, i, &address); i++) {
        control_open_object(row, CONTROL_ROW);
        put_address(row, &address);
        control_close_object(row);
    }
    control_close_array(row);
}

/* `target` NULL: it exists no more. */
static void put_target(struct control_run *run, struct bytes name, struct target *target)
{
    struct target_view view = {.state = "gone"};
    struct control_row row;

    if (target != NULL)
        view = target->ops->view(target);
    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_ROW);
    control_put(&row, "name", 24, name);
    control_put_text(&row, "kind", 7, target == NULL ? "-" : target->kind->section->kind);
    control_put_text(&row, "state", 7, view.state);
    control_put_number(&row, "connections", -5, view.connections);
    control_put_number(&row, "idle", -4, view.idle);
    control_put_number(&row, "waiting", CONTROL_JSON_ONLY, view.waiting);
    control_put_number(&row, "addresses", CONTROL_JSON_ONLY, view.addresses);
    control_put_number(&row, "addresses_down", CONTROL_JSON_ONLY, view.addresses_down);
    put_queue(run, &row, name, target);
    control_put_number(&row, "accepted", -8, view.accepted);
    control_put_number(&row, "refused", -7, view.refused);
    put_announced(run, &row, &view.announced);
    put_addresses(&row, target);
    if (target != NULL && target->member_count == 0) /* a group's members say it */
        put_withheld(run, &row, target);
    control_row_end(&row);
}

/* The nth of the targets that do not exist any more, but for which messages wait. */
static struct schedule_target *find_gone(const struct control_run *run, size_t nth)
{
    const struct targets *targets = &run->services->targets;
    struct schedule *schedule = runner_schedule(run->runner);
    struct schedule_target *target = schedule == NULL ? NULL : schedule_next_target(schedule, NULL);

    for (; target != NULL; target = schedule_next_target(schedule, target)) {
        bool is_gone = targets_find(targets, schedule_target_name(target)) == NULL &&
                       schedule_count(target).messages != 0;
        if (is_gone && nth-- == 0)
            break;
    }
    return target;
}

/* Searches from the end, since neighbours mostly have the same target. NULL: no memory. */
static struct control_oldest_of *find_or_add(struct control_oldest *oldest,
                                             const struct schedule_target *target)
{
    for (size_t i = oldest->count; i-- != 0;)
        if (oldest->at[i].target == target)
            return &oldest->at[i];
    struct control_oldest_of *grown =
        mem_make_room(oldest->at, oldest->count, &oldest->capacity, sizeof(*grown));
    if (grown == NULL)
        return NULL;
    oldest->at = grown;
    oldest->at[oldest->count] =
        (struct control_oldest_of){.target = target, .arrived_s = INT64_MAX};
    return &oldest->at[oldest->count++];
}

static void note_age(struct runner_walk *walk, const struct list *entries)
{
    struct control_oldest *oldest = CONTAINER_OF(walk, struct control_oldest, walk);

    LIST_EACH (link, entries) {
        const struct schedule_entry *entry = LIST_ENTRY(link, struct schedule_entry, in_message);
        struct control_oldest_of *of = find_or_add(oldest, entry->target);
        if (of != NULL && entry->arrived_s < of->arrived_s)
            of->arrived_s = entry->arrived_s;
    }
}

static void on_ages_noted(struct runner_walk *walk)
{
    control_wake(CONTAINER_OF(walk, struct control_run, oldest.walk));
}

void control_step_targets(struct control_run *run)
{
    if (!run->has_begun) {
        run->has_begun = run->is_waiting = true;
        run->oldest.walk = (struct runner_walk){.meet = note_age, .done = on_ages_noted};
        runner_walk(run->runner, &run->oldest.walk);
        return;
    }

    const struct targets *targets = &run->services->targets;
    size_t at = run->target_at++;

    if (at == 0 && !run->asked.is_json)
        buf_text(&run->out, header);
    if (at < targets->count) {
        struct target *target = targets->all[at];
        put_target(run, target->name, target);
        for (size_t i = 0; i < target->member_count; i++)
            put_target(run, target->members[i]->name, target->members[i]);
        return;
    }
    const struct schedule_target *gone = find_gone(run, at - targets->count);
    if (gone != NULL)
        put_target(run, schedule_target_name(gone), NULL);
    else
        control_finish(run, 0, NULL);
}
