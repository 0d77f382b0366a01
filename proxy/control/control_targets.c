/* SPDX-License-Identifier: BSD-2-Clause */
/* targets: their health, connections, capabilities, and what waits for them. */
#include <stdio.h>

#include "proxy/control/control_private.h"
#include "proxy/smtp/capability.h"
#include "route/target_kind.h"

static const char header[] =
    " NAME                      KIND     STATE   CONNS  IDLE  MESSAGES  RUNNING  "
    "HELD  OLDEST  ACCEPTED  REFUSED  CAPABILITIES\n";

static int64_t oldest_of(const struct control_run *run, const struct schedule_target *t)
{
    const struct control_oldest *o = &run->oldest;

    for (size_t i = 0; i < o->count; i++)
        if (o->at[i].target == t)
            return o->at[i].arrived_s;
    return INT64_MAX;
}

static void put_queue(struct control_run *run, struct control_row *row, struct bytes name)
{
    struct schedule_target *t = control_find_queue(run, name);
    struct schedule_counts counts = {.messages = 0};
    int64_t now_s = loop_wall_ms(run->services->loop) / 1000;

    if (t != NULL)
        counts = schedule_count(t);
    control_put_number(row, "messages", -8, counts.messages);
    control_put_number(row, "running", -7, counts.running);
    control_put_number(row, "held", -4, counts.held);
    control_put_number(row, "concurrency", CONTROL_JSON_ONLY, counts.concurrency);
    int64_t oldest_s = t == NULL ? INT64_MAX : oldest_of(run, t);
    control_put_age(row, "oldest", -6, oldest_s == INT64_MAX ? CONTROL_NO_AGE : now_s - oldest_s);
}

static void put_keywords(struct control_row *row, uint32_t bits)
{
    char text[128] = "";
    size_t len = 0;

    for (const struct capability_row *known = capability_rows; known->name != NULL; known++) {
        if ((bits & known->bit) == 0)
            continue;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len == 0 ? "" : " ",
                                known->name);
    }
    control_put_text(row, "capabilities", CONTROL_REST, text);
}

static void put_target(struct control_run *run, struct bytes name, const char *kind,
                       const struct target_view *view)
{
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
    put_keywords(&row, view->keywords);
    control_row_end(&row);
}

/* Messages wait for a name that no target bears any more: the nth of those. */
static struct schedule_target *find_gone(const struct control_run *run, size_t nth)
{
    const struct targets *targets = &run->services->targets;
    struct schedule *s = runner_schedule(run->runner);
    struct schedule_target *t = s == NULL ? NULL : schedule_next_target(s, NULL);

    for (; t != NULL; t = schedule_next_target(s, t)) {
        bool is_gone = targets_find(targets, schedule_target_name(t)) == NULL &&
                       schedule_count(t).messages != 0;
        if (is_gone && nth-- == 0)
            break;
    }
    return t;
}

/* Neighbours are mostly of the same target. NULL: no memory, its age is not told. */
static struct control_oldest_of *place_of(struct control_oldest *o, const struct schedule_target *t)
{
    for (size_t i = o->count; i-- != 0;)
        if (o->at[i].target == t)
            return &o->at[i];
    struct control_oldest_of *grown = mem_make_room(o->at, o->count, &o->capacity, sizeof(*grown));
    if (grown == NULL)
        return NULL;
    o->at = grown;
    o->at[o->count] = (struct control_oldest_of){.target = t, .arrived_s = INT64_MAX};
    return &o->at[o->count++];
}

static void note_age(struct runner_walk *w, const struct list *entries)
{
    struct control_oldest *o = CONTAINER_OF(w, struct control_oldest, walk);

    LIST_EACH (link, entries) {
        const struct schedule_entry *e = LIST_ENTRY(link, struct schedule_entry, in_message);
        struct control_oldest_of *of = place_of(o, e->target);
        if (of != NULL && e->arrived_s < of->arrived_s)
            of->arrived_s = e->arrived_s;
    }
}

static void on_ages_noted(struct runner_walk *w)
{
    control_wake(CONTAINER_OF(w, struct control_run, oldest.walk));
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
        put_target(run, target->name, target->kind->section->kind, &view);
        return;
    }
    const struct schedule_target *gone = find_gone(run, at - targets->count);
    if (gone != NULL)
        put_target(run, schedule_target_name(gone), "-", &(struct target_view){.state = "gone"});
    else
        control_finish(run, 0, NULL);
}
