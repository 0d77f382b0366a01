/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operator asks of one message. Jobs that hold the message's lock do it. */
#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/runner_private.h"
#include "spool/runner_report.h"
#include "spool/runner_shown.h"
#include "spool/spool_index.h"

#define OPERATOR_REPLY "554 5.0.0 Returned by the operator of this host"

struct acting {
    struct work work;
    struct runner *runner;
    struct runner_request *request;
    struct runner_message *known;
    struct pool pool; /* of `arena`; not one of the loop's, because jobs use it */
    struct arena arena;
    int fd; /* locked; -1: none */
    struct store_place place, next;
    struct spool_message message;
    uint8_t *content;
    size_t content_bytes;
    bool *is_changed; /* message.recipient_count */
    struct runner_report report;
    int64_t now_ms;
    int error;
    bool may_have_written; /* the file may tell of the request, whatever has failed since */
    bool is_gone;          /* the file is removed */
    bool is_in_queue_too;  /* see store_end_move() */
    bool is_lent; /* the file is lent by deliveries that keep its lock, see delivery_lend() */
};

/* ---- jobs ---- */

/* A message can be looked at while it is delivered: its file only gets more records. */
static bool is_look(const struct runner_request *request)
{
    return request->act == RUNNER_SHOW || request->act == RUNNER_CAT;
}

static int cat(struct acting *a)
{
    return runner_shown_read(a->fd, &a->message, UINT64_MAX, &a->content, &a->content_bytes);
}

static int change_file(struct acting *a, struct bytes records)
{
    struct store_taken taken = {.fd = a->fd};
    const struct store_change change = {
        .place = &a->place, .message = &a->message, .records = records, .is_synced = true};

    a->may_have_written = true;
    int error = store_change(a->runner->host.store, &change, &taken);

    if (taken.fd != a->fd)
        disk_close(a->fd);
    a->fd = taken.fd;
    return error;
}

static int append(struct acting *a, void (*put)(struct spool_writer *writer, struct acting *a))
{
    struct buf records;
    struct spool_writer writer = {
        .id = a->message.head.id, .at = a->message.records_end, .out = &records};
    int error = ERR_MEMORY;

    buf_init(&records, &a->pool, SPOOL_RECORDS_MAX);
    put(&writer, a);
    if (!records.has_failed)
        error = a->place.folder != STORE_QUEUE
                    ? 0
                    : spool_index_forget(a->runner->host.store, a->place.directory);
    if (error == 0)
        error = change_file(a, buf_bytes(&records));
    buf_done(&records);
    return error;
}

static void put_hold(struct spool_writer *writer, struct acting *a)
{
    spool_put_hold(writer, &a->message);
}

/* The record is written first, then the file is moved. A message counts as held if either says so:
 * a crash between the two leaves it held. */
static int change_folder(struct acting *a, enum store_folder folder)
{
    int error;

    if (!a->message.is_held) /* else the reason stays, though it is the operator's hold now */
        a->message.hold = (struct spool_hold){.since_ms = a->now_ms};
    a->message.is_held = folder == STORE_HOLD;
    a->message.hold.by = SPOOL_HELD_BY_OPERATOR;
    error = append(a, put_hold);
    if (error != 0 || a->place.folder == folder)
        return error;
    if (folder == STORE_QUEUE) { /* an index may know it from before */
        error = spool_index_forget(a->runner->host.store, a->next.directory);
        if (error != 0)
            return error;
    }
    return store_move(a->runner->host.store, &a->place, folder, a->next.directory, &a->place);
}

static int remove_file(struct acting *a)
{
    const struct store *store = a->runner->host.store;
    int error = store_remove(store, &a->place);

    if (error != 0)
        return error;
    a->is_gone = true;
    if (a->place.folder == STORE_QUEUE)
        return store_sync(store, a->place.directory);
    return store_sync_folder(store, a->place.folder);
}

static void put_refused(struct spool_writer *writer, struct acting *a)
{
    for (uint32_t i = 0; i < a->message.recipient_count; i++)
        if (a->is_changed[i])
            spool_put_outcome(writer, i, &a->message.recipients[i]);
}

/* The refusal is durable before anybody is told. Nothing that was returned is therefore delivered,
 * and a missing report is made by the next delivery. */
static int refuse_and_report(struct acting *a)
{
    if (runner_report_foresee(&a->report) == BOUNCE_HELD)
        return -EADDRNOTAVAIL;
    int error = append(a, put_refused);
    a->report.fd = a->fd;
    return error == 0 ? runner_report_make(&a->report) : error;
}

static int bounce(struct acting *a)
{
    int error = a->report.message == NULL ? 0 : refuse_and_report(a);

    return error == 0 ? remove_file(a) : error;
}

static void put_rerouted(struct spool_writer *writer, struct acting *a)
{
    for (uint32_t i = 0; i < a->message.recipient_count; i++)
        if (a->is_changed[i])
            spool_put_rerouted(writer, i, &a->message.recipients[i]);
}

/* An operator may have released it meanwhile, or held it himself. */
static bool is_quarantined(const struct acting *a)
{
    return a->message.is_held && a->message.hold.by == SPOOL_HELD_BY_FILTER;
}

static int act(struct acting *a)
{
    switch (a->request->act) {
    case RUNNER_SHOW:
    case RUNNER_BOUNCE:
    case RUNNER_REROUTE: /* the loop prepares these, and a second job follows */
        break;
    case RUNNER_CAT:
        return cat(a);
    case RUNNER_HOLD:
        return change_folder(a, STORE_HOLD);
    case RUNNER_RELEASE:
        return change_folder(a, STORE_QUEUE);
    case RUNNER_DELETE:
        return remove_file(a);
    case RUNNER_EXPIRE:
        return is_quarantined(a) ? remove_file(a) : 0;
    }
    return 0;
}

static bool has_second_job(const struct acting *a)
{
    return a->request->act == RUNNER_REROUTE || a->request->act == RUNNER_BOUNCE;
}

static void close_file(struct acting *a)
{
    if (a->fd >= 0)
        disk_close(a->fd);
    a->fd = -1;
}

static void run_act(struct work *w)
{
    struct acting *a = CONTAINER_OF(w, struct acting, work);

    a->error = is_look(a->request) ? store_look(a->runner->host.store, &a->place, &a->fd)
                                   : store_take(a->runner->host.store, &a->place, &a->fd);
    if (a->error != 0)
        return;
    a->error = store_read(a->fd, &a->place.id, &a->arena, &a->message);
    if (a->error == 0 && !is_look(a->request))
        a->error = store_end_move(a->runner->host.store, &a->place, a->fd, a->message.is_held);
    a->is_in_queue_too = a->error == -EAGAIN;
    if (a->error == 0)
        a->error = act(a);
    if (a->error != 0 || !has_second_job(a))
        close_file(a);
}

static void run_second(struct work *w)
{
    struct acting *a = CONTAINER_OF(w, struct acting, work);

    if (a->error == 0)
        a->error = a->request->act == RUNNER_BOUNCE ? bounce(a) : append(a, put_rerouted);
    close_file(a);
}

static void run_lent(struct work *w)
{
    struct acting *a = CONTAINER_OF(w, struct acting, work);
    a->error = remove_file(a);
}

/* ---- on the loop ---- */

static void log_act(struct acting *a)
{
    static const char *const events[] = {
        [RUNNER_HOLD] = "held",      [RUNNER_RELEASE] = "released", [RUNNER_DELETE] = "deleted",
        [RUNNER_BOUNCE] = "bounced", [RUNNER_REROUTE] = "rerouted", [RUNNER_EXPIRE] = "expired"};
    const struct runner_host *host = &a->runner->host;

    assert((size_t)a->request->act < ARRAY_LENGTH(events));
    bool is_expiry = a->request->act == RUNNER_EXPIRE;
    bool has_done = a->error == 0 && (!is_expiry || a->is_gone);
    if (!has_done || events[a->request->act] == NULL)
        return;
    struct log_line line =
        log_begin(host->log, host->log_sinks, LOG_LEVEL_INFO, events[a->request->act]);
    if (a->message.envelope.session.text[0] != '\0')
        log_put_text(&line, "session", a->message.envelope.session.text);
    log_put_text(&line, "transaction", a->request->id.text);
    log_put_text(&line, "by", is_expiry ? "quarantine-expire" : "operator");
    if (is_expiry) {
        log_put_number(&line, "nrcpt", a->message.recipient_count);
        log_put(&line, "reason", a->message.hold.reason);
    }
    if (a->request->act == RUNNER_BOUNCE && a->report.result == BOUNCE_MADE)
        log_put_text(&line, "report", a->report.place.id.text);
    log_end(&line);
}

/* Updates what the runner knows of the message. */
static void update(struct acting *a)
{
    struct runner *r = a->runner;

    if (is_look(a->request))
        return;
    if (a->is_lent) {
        delivery_take_back(r, a->known, a->is_gone || a->error == -ENOENT);
        return;
    }
    assert(a->known->is_busy);
    a->known->is_busy = false;
    if (a->is_in_queue_too) { /* its name there is the one to go by */
        runner_forget(r, a->known);
        runner_look_again(r);
    } else if (a->is_gone || a->error == -ENOENT) {
        runner_forget(r, a->known);
    } else if (a->error == 0) {
        runner_forget(r, a->known);
        runner_learn(r, &a->place, &a->message);
    } else if (a->may_have_written) { /* the file tells what came of it, and ends a hold */
        runner_forget(r, a->known);
        runner_arrived(r, &a->place);
    }
    if (a->request->act == RUNNER_BOUNCE && a->error == 0 && a->report.result == BOUNCE_MADE)
        runner_arrived(r, &a->report.place);
    runner_pump_later(r);
}

static void finish(struct acting *a)
{
    struct runner *r = a->runner;
    struct runner_request *request = a->request;

    update(a);
    log_act(a);
    request->error = a->error;
    if (a->error == 0) {
        request->message = &a->message;
        request->content = a->content;
        request->content_bytes = a->content_bytes;
    } else {
        mem_free(a->content);
    }
    request->done(request); /* it may be gone after this */
    arena_reset(&a->arena);
    pool_done(&a->pool);
    mem_free(a);
    runner_job_done(r);
}

static void done_second(struct work *w)
{
    finish(CONTAINER_OF(w, struct acting, work));
}

/* How many other recipients of this list, of the same address, have that target. */
static uint32_t others_at(const struct acting *a, const struct spool_recipient *s,
                          struct bytes target)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < a->message.recipient_count; i++) {
        const struct spool_recipient *other = &a->message.recipients[i];
        if (other != s && bytes_equal(other->target, target) &&
            address_is_same(&other->to, &s->to) && address_is_same(&other->original, &s->original))
            count++;
    }
    return count;
}

/* The recipient of a list is one of its members and stays that member, though the tables are asked
 * for the list. Members with one address lie at several targets, one at each. NULL: the list has no
 * such member any more. */
static const struct routed_leg *choose_leg(const struct acting *a, const struct spool_recipient *s,
                                           const struct routed *routed)
{
    const struct routed_leg *best = NULL;
    uint32_t least = UINT32_MAX;

    if (routed->leg_count == 1)
        return &routed->legs[0];
    for (int i = 0; i < routed->leg_count; i++) {
        const struct routed_leg *leg = &routed->legs[i];
        if (!address_is_same(&leg->to, &s->to))
            continue;
        bool is_elsewhere = !bytes_equal(leg->target->name, s->target);
        uint32_t count = 2 * others_at(a, s, leg->target->name) + is_elsewhere;
        if (count < least) {
            least = count;
            best = leg;
        }
    }
    return best;
}

/* Routes by the tables, or as the operator says. False: there is no route for this recipient. */
static bool route_anew(struct acting *a, struct spool_recipient *s)
{
    const struct runner_host *host = &a->runner->host;
    struct routed routed = {.leg_count = 0};

    if (a->request->to.len != 0) {
        s->target = a->request->to;
        return host->find_target(host->owner, s->target) != NULL;
    }
    host->route(host->owner, a->message.listener, &s->original, &a->arena, &routed);
    if (routed.reply.code != 0 || routed.is_discarded)
        return false;
    const struct routed_leg *leg = choose_leg(a, s, &routed);
    if (leg == NULL)
        return false;
    s->target = target_section(leg->target);
    s->to = leg->to;
    return true;
}

static bool is_from(const struct runner_request *request, const struct spool_recipient *s)
{
    return request->from.len == 0 || bytes_equal(s->target, request->from) ||
           bytes_equal(s->queue, request->from);
}

static int route_all(struct acting *a)
{
    for (uint32_t i = 0; i < a->message.recipient_count; i++) {
        struct spool_recipient *s = &a->message.recipients[i];
        if (!runner_is_open(s) || !is_from(a->request, s))
            continue;
        if (!route_anew(a, s))
            return -EHOSTUNREACH;
        a->is_changed[i] = true;
    }
    return 0;
}

/* A report lies in the directory of its cause; the report of a held message lies at a new place. */
static void refuse_all(struct acting *a)
{
    const struct runner_host *host = &a->runner->host;
    struct spool_message *m = &a->message;
    bool is_any = false;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct spool_recipient *s = &m->recipients[i];
        if (runner_is_open(s)) {
            s->fate = FATE_REFUSED;
            s->reply = bytes_of(OPERATOR_REPLY);
            s->remote = bytes_make(NULL, 0);
        }
        a->is_changed[i] = runner_is_due(s) && s->fate == FATE_REFUSED;
        is_any = is_any || a->is_changed[i];
    }
    if (!is_any)
        return;
    a->report = (struct runner_report){
        .store = host->store,
        .conf = &host->bounce,
        .message = m,
        .kind = BOUNCE_FAILED,
        .is_due = a->is_changed,
        .now_ms = loop_wall_ms(host->loop),
        .place = a->place.folder == STORE_QUEUE ? a->place : a->next,
    };
    runner_report_address(host, &a->arena, &a->report);
}

static int prepare_second(struct acting *a)
{
    size_t count = (size_t)a->message.recipient_count + 1;

    a->is_changed = arena_alloc(&a->arena, count * sizeof(*a->is_changed));
    if (a->is_changed == NULL)
        return ERR_MEMORY;
    runner_assign_queues(a->runner, &a->message);
    if (a->request->act == RUNNER_REROUTE)
        return route_all(a);
    refuse_all(a);
    return 0;
}

static void done_act(struct work *w)
{
    struct acting *a = CONTAINER_OF(w, struct acting, work);

    if (a->error != 0 || !has_second_job(a)) {
        finish(a);
        return;
    }
    a->error = prepare_second(a);
    a->work = (struct work){.run = run_second, .done = done_second};
    if (work_run(a->runner->host.loop, &a->work) == 0)
        return;
    a->error = ERR_MEMORY;
    close_file(a);
    finish(a);
}

static int start_job(struct acting *a, void (*run)(struct work *w))
{
    struct runner *r = a->runner;

    a->work = (struct work){.run = run, .done = done_act};
    if (work_run(r->host.loop, &a->work) != 0)
        return ERR_MEMORY;
    r->job_count++;
    return 0;
}

/* Deliveries have the message. If they wait only because the file cannot be written, the file can
 * be removed. Every other request would have to write too, so the outcomes that wait are written
 * first. */
static int begin_busy(struct acting *a)
{
    struct runner *r = a->runner;
    int error = delivery_write_error(r, a->known);

    if (error == 0)
        return -EAGAIN;
    if (a->request->act == RUNNER_DELETE) {
        error = start_job(a, run_lent);
        a->is_lent = error == 0;
        if (a->is_lent)
            a->place = delivery_lend(r, a->known);
        return error;
    }
    LIST_EACH (link, &a->known->entries)
        delivery_write_now(r, LIST_ENTRY(link, struct schedule_entry, in_message));
    return error;
}

/* Why nothing can be done now; 0: it can. */
static int begin(struct acting *a)
{
    struct runner *r = a->runner;
    struct runner_message *known = runner_find(r, &a->request->id);

    if (known == NULL || list_is_empty(&known->entries))
        return -ENOENT;
    a->known = known;
    if (r->is_stopping)
        return -EAGAIN;
    if (known->is_busy && !is_look(a->request))
        return begin_busy(a);
    a->place = known->place;
    a->next = store_next_place(r->host.store, &a->request->id);
    int error = start_job(a, run_act);
    if (error == 0 && !is_look(a->request))
        known->is_busy = true;
    return error;
}

static void refuse(void *owner)
{
    struct runner_request *request = owner;
    request->done(request);
}

void runner_request(struct runner *r, struct runner_request *request)
{
    struct acting *a = mem_zalloc(sizeof(*a));

    assert(request->done != NULL);
    request->error = ERR_MEMORY;
    if (a != NULL) {
        a->runner = r;
        a->request = request;
        a->fd = -1;
        a->now_ms = loop_wall_ms(r->host.loop);
        pool_init(&a->pool, 4096, 2);
        arena_init(&a->arena, &a->pool, SIZE_MAX);
        request->error = begin(a);
        if (request->error == 0)
            return;
        mem_free(a);
    }
    loop_post(r->host.loop, &request->post, refuse, request);
}
