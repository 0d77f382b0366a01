/* SPDX-License-Identifier: BSD-2-Clause */
/* queue: what waits, message by message, or how much of what age for which target. */
#include <stdlib.h>
#include <sysexits.h>

#include "proxy/control/control_private.h"

bool control_has_target(const struct control_run *run, struct bytes name)
{
    return targets_find(&run->services->targets, name) != NULL;
}

const char *control_check_queue(const struct bytes *words, int count)
{
    return count == 0 || bytes_is(words[0], "--shape") ? NULL : "bad arguments";
}

/* ---- one entry ---- */

struct entry_state {
    const char *name;
    bool is_timed; /* it is tried at `due_s` */
};

static struct entry_state state_of(const struct control_run *run,
                                   const struct schedule_entry *entry, bool is_quarantined)
{
    bool has_target = control_has_target(run, schedule_target_name(entry->target));

    switch ((enum schedule_state)entry->state) {
    case SCHEDULE_WAITING: /* due_s is INT64_MAX where only a report is to be made */
        return has_target ? (struct entry_state){"waiting", entry->due_s != INT64_MAX}
                          : (struct entry_state){"no-target", false};
    case SCHEDULE_READY:
        if (!has_target)
            return (struct entry_state){"no-target", false};
        return schedule_is_down(entry->target) ? (struct entry_state){"target-down", false}
                                               : (struct entry_state){"ready", true};
    case SCHEDULE_RUNNING:
        return (struct entry_state){"running", true};
    case SCHEDULE_HELD:
        break;
    }
    return (struct entry_state){is_quarantined ? "quarantined" : "held", false};
}

static const char queue_header[] = " ID                STATE        TARGET                     AGE "
                                   " NEXT  TRIES       SIZE  RCPTS  FROM                      "
                                   "LAST REPLY\n";

/* The latest words on those for whom it waits. */
static struct bytes last_reply(const struct control_run *run, const struct schedule_entry *entry,
                               const struct spool_message *message)
{
    const struct spool_recipient *last = NULL;

    for (uint32_t i = 0; message != NULL && i < message->recipient_count; i++) {
        const struct spool_recipient *s = &message->recipients[i];
        if (s->reply.len != 0 && (last == NULL || s->tried_ms > last->tried_ms) &&
            runner_is_for(run->runner, entry, s))
            last = s;
    }
    return last == NULL ? bytes_make(NULL, 0) : last->reply;
}

/* `message` NULL: its file cannot be read now. */
static void put_words(struct control_run *run, struct control_row *row,
                      const struct schedule_entry *entry, const struct spool_message *message,
                      const struct spool_hold *hold)
{
    struct bytes reply = last_reply(run, entry, message);

    if (message != NULL)
        control_put_address(run, row, "from", 24, &message->envelope.from);
    else
        control_put_text(row, "from", 24, "");
    control_put(row, "reason", CONTROL_JSON_ONLY, hold->reason);
    control_put(row, "reply", CONTROL_JSON_ONLY, reply);
    if (row->style == CONTROL_ROW) /* for people: why it is held, or else why it waits */
        control_put(row, "reply", CONTROL_REST, hold->reason.len != 0 ? hold->reason : reply);
}

static void put_entry(struct control_run *run, const struct schedule_entry *entry,
                      const struct spool_message *message)
{
    int64_t now_s = loop_wall_ms(run->services->loop) / 1000;
    int64_t wait_s = entry->due_s - runner_now_s(run->runner);
    struct spool_hold hold = {.since_ms = 0};
    bool is_quarantined = runner_find_hold(run->runner, &entry->id, &hold);
    struct entry_state state = state_of(run, entry, is_quarantined);
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_ROW);
    control_put_text(&row, "id", 16, entry->id.text);
    control_put_text(&row, "state", 11, state.name);
    control_put(&row, "target", 24, schedule_target_name(entry->target));
    control_put_age(&row, "age", -4, now_s - entry->arrived_s);
    control_put_time(&row, "arrived", CONTROL_JSON_ONLY, entry->arrived_s);
    control_put_age(&row, "next_try_in", -4, state.is_timed ? wait_s : CONTROL_NO_AGE);
    control_put_number(&row, "tries", -5, entry->tries);
    control_put_number(&row, "size", -9, entry->body_bytes);
    control_put_number(&row, "recipients", -5, entry->recipient_count);
    control_put_bool(&row, "duplicate_possible", CONTROL_JSON_ONLY, entry->may_be_duplicate);
    control_put_time(&row, "quarantined_since", CONTROL_JSON_ONLY, hold.since_ms / 1000);
    put_words(run, &row, entry, message, &hold);
    control_row_end(&row);
}

/* ---- all of them ---- */

/* Puts all entries of a message in one step, so that none of them can go meanwhile. */
static void put_message(struct control_run *run, const struct id *id,
                        const struct spool_message *message)
{
    struct control_totals *totals = &run->totals;
    const struct schedule_entry *first = runner_next_of(run->runner, id, NULL);

    if (first == NULL)
        return;
    if (totals->messages++ == 0 && !run->asked.is_json)
        buf_text(&run->out, queue_header);
    totals->bytes += first->body_bytes;
    for (const struct schedule_entry *entry = first; entry != NULL;
         entry = runner_next_of(run->runner, id, entry)) {
        totals->recipients += entry->recipient_count;
        put_entry(run, entry, message);
    }
}

static void on_read(struct runner_request *request)
{
    struct control_run *run = CONTAINER_OF(request, struct control_run, act);

    put_message(run, &request->id, request->error == 0 ? request->message : NULL);
    control_wake(run);
}

/* Who sent it, and the last words, stand in its file alone. */
static void read_next(struct control_run *run)
{
    run->act = (struct runner_request){
        .act = RUNNER_SHOW, .id = run->ids.at[run->ids.next++], .done = on_read};
    run->is_waiting = true;
    runner_request(run->runner, &run->act);
}

static void put_count(struct buf *out, const char *before, uint64_t count, const char *what)
{
    buf_text(out, before);
    buf_decimal(out, count);
    buf_cat(out, " ", what, count == 1 ? "" : "s", NULL);
}

static void put_totals(struct control_run *run)
{
    struct buf *out = &run->out;

    if (run->totals.messages == 0) {
        buf_text(out, " queue is empty\n");
        return;
    }
    put_count(out, " -- ", run->totals.messages, "message");
    put_count(out, ", ", run->totals.recipients, "recipient");
    put_count(out, ", ", run->totals.bytes, "octet");
    buf_byte(out, '\n');
}

/* Files that cannot be listed do not stop the list, but the exit code tells of them. */
static void finish(struct control_run *run)
{
    if (!run->asked.is_json)
        put_totals(run);
    if (runner_stray_count(run->runner) == 0)
        control_finish(run, 0, NULL);
    else
        control_finish(run, EX_DATAERR,
                       "something in the spool cannot be read or is no message: see the log, fsck");
}

/* ---- --shape ---- */

#define FIRST_AGE_S 300 /* each column has twice the age of the one before */

static const char *const age_names[CONTROL_AGES] = {"5m",   "10m",  "20m",  "40m",   "80m",
                                                    "160m", "320m", "640m", "1280m", "older"};
static const char shape_header[] =
    " TARGET                    TOTAL     5m    10m    20m    40m    80m   160m   320m   640m  "
    "1280m  OLDER\n";

/* The first is of all targets. NULL: no memory. */
static struct control_shape_of *find_or_add(struct control_shape *shape,
                                            const struct schedule_target *target)
{
    for (size_t i = shape->count; i-- != 0;)
        if (shape->at[i].target == target)
            return &shape->at[i];
    struct control_shape_of *grown =
        mem_make_room(shape->at, shape->count, &shape->capacity, sizeof(*grown));
    if (grown == NULL)
        return NULL;
    shape->at = grown;
    shape->at[shape->count] = (struct control_shape_of){.target = target};
    return &shape->at[shape->count++];
}

static void add(struct control_shape *shape, const struct schedule_target *target, size_t age)
{
    struct control_shape_of *of = find_or_add(shape, target);

    shape->has_failed = shape->has_failed || of == NULL;
    if (of == NULL)
        return;
    of->messages++;
    of->of_age[age]++;
}

static size_t age_of(const struct control_run *run, const struct schedule_entry *entry)
{
    int64_t age_s = loop_wall_ms(run->services->loop) / 1000 - entry->arrived_s;
    size_t age = 0;

    while (age + 1 < CONTROL_AGES && age_s >= (int64_t)FIRST_AGE_S << age)
        age++;
    return age;
}

static void note_shape(struct runner_walk *walk, const struct list *entries)
{
    struct control_run *run = CONTAINER_OF(walk, struct control_run, shape.walk);
    const struct schedule_entry *first =
        LIST_ENTRY(entries->next, struct schedule_entry, in_message);

    add(&run->shape, NULL, age_of(run, first));
    LIST_EACH (link, entries)
        add(&run->shape, LIST_ENTRY(link, struct schedule_entry, in_message)->target,
            age_of(run, first));
}

static void on_shape_noted(struct runner_walk *walk)
{
    control_wake(CONTAINER_OF(walk, struct control_run, shape.walk));
}

static int compare_shapes(const void *a, const void *b)
{
    const struct control_shape_of *one = a, *other = b;

    if ((one->target == NULL) != (other->target == NULL))
        return one->target == NULL ? -1 : 1;
    return one->messages == other->messages ? 0 : one->messages > other->messages ? -1 : 1;
}

static void put_shape(struct control_run *run, const struct control_shape_of *of)
{
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_ROW);
    control_put(&row, "target", 24,
                of->target == NULL ? bytes_of("TOTAL") : schedule_target_name(of->target));
    control_put_number(&row, "messages", -6, of->messages);
    for (size_t age = 0; age < CONTROL_AGES; age++)
        control_put_number(&row, age_names[age], -5, of->of_age[age]);
    control_row_end(&row);
}

static void put_shapes(struct control_run *run)
{
    struct control_shape *shape = &run->shape;
    bool is_text = !run->asked.is_json;

    if (shape->count != 0) {
        qsort(shape->at, shape->count, sizeof(*shape->at), compare_shapes);
        buf_text(&run->out, is_text ? shape_header : "");
    } else if (is_text) {
        buf_text(&run->out, " queue is empty\n");
    }
    for (size_t i = 0; i < shape->count; i++)
        if (is_text || shape->at[i].target != NULL)
            put_shape(run, &shape->at[i]);
}

static void step_shape(struct control_run *run)
{
    if (!run->has_begun) {
        run->has_begun = run->is_waiting = true;
        run->shape.walk = (struct runner_walk){.meet = note_shape, .done = on_shape_noted};
        runner_walk(run->runner, &run->shape.walk);
    } else if (run->shape.has_failed) {
        control_finish(run, EX_OSERR, "out of memory");
    } else {
        put_shapes(run);
        control_finish(run, 0, NULL);
    }
}

void control_step_queue(struct control_run *run)
{
    static const struct bytes all = {NULL, 0};

    if (run->asked.word_count != 0) {
        step_shape(run);
    } else if (!run->has_begun) {
        run->has_begun = true;
        control_collect(run, all);
    } else if (run->ids.next < run->ids.count) {
        read_next(run);
    } else {
        finish(run);
    }
}
