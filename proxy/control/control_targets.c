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

static void put_queue(struct control_run *run, struct control_row *row, struct bytes name)
{
    struct schedule_target *target = control_find_queue(run, name);
    struct schedule_counts counts = {.messages = 0};
    int64_t now_s = loop_wall_ms(run->services->loop) / 1000;

    if (target != NULL)
        counts = schedule_count(target);
    control_put_number(row, "messages", -8, counts.messages);
    control_put_number(row, "running", -7, counts.running);
    control_put_number(row, "held", -4, counts.held);
    control_put_number(row, "concurrency", CONTROL_JSON_ONLY, counts.concurrency);
    int64_t oldest_s = target == NULL ? INT64_MAX : oldest_of(run, target);
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
    uint32_t settled =
        smtpd_conf_keywords(&listener->announce) | smtpd_conf_keywords(&listener->hide);
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
    struct capability caps = target->ops->capabilities(target);

    control_open_array(row, "withheld");
    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *listener = config->smtpds[i];
        const struct route_set *routes =
            services->find_routes(services->routes_owner, listener->section);
        if (routes != NULL && leads_to(routes, target))
            put_withheld_from(row, listener, &caps);
    }
    control_close_array(row);
}

/* `target` NULL: it does not exist any more. */
static void put_target(struct control_run *run, struct bytes name, struct target *target,
                       const struct target_view *view)
{
    const char *kind = target == NULL ? "-" : target->kind->section->kind;
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_ROW);
    control_put(&row, "name", 24, name);
    control_put_text(&row, "kind", 7, kind);
    control_put_text(&row, "state", 7, view->state);
    control_put_number(&row, "connections", -5, view->connections);
    control_put_number(&row, "idle", -4, view->idle);
    control_put_number(&row, "waiting", CONTROL_JSON_ONLY, view->waiting);
    control_put_number(&row, "addresses", CONTROL_JSON_ONLY, view->addresses);
    control_put_number(&row, "addresses_down", CONTROL_JSON_ONLY, view->addresses_down);
    put_queue(run, &row, name);
    control_put_number(&row, "accepted", -8, view->accepted);
    control_put_number(&row, "refused", -7, view->refused);
    put_announced(run, &row, &view->announced);
    if (target != NULL)
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
        struct target_view view = target->ops->view(target);
        put_target(run, target->name, target, &view);
        return;
    }
    const struct schedule_target *gone = find_gone(run, at - targets->count);
    if (gone != NULL)
        put_target(run, schedule_target_name(gone), NULL, &(struct target_view){.state = "gone"});
    else
        control_finish(run, 0, NULL);
}
