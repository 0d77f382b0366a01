/* SPDX-License-Identifier: BSD-2-Clause */
/* One delivery: a message of the queue to one of its targets, carried as a bridge carries one. */
#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/closing.h"
#include "proxy/io/disk.h"
#include "route/target_group.h"
#include "spool/delivery_private.h"

#define LOCKED_S 1 /* until the next try of a message that somebody else has locked */

/* ---- the transaction ---- */

static struct delivery *delivery_of(struct carrier *carrier)
{
    return CONTAINER_OF(carrier, struct delivery, carrier);
}

/* All of the content is there from the start. Its end follows as soon as every recipient was
 * answered. */
static void advance(struct delivery *d)
{
    if (d->transaction.state != TX_GOING)
        return;
    switch (transaction_go(&d->transaction)) {
    case TRANSACTION_GO_WAIT:
        break;
    case TRANSACTION_GO_AHEAD:
        transaction_end(&d->transaction);
        break;
    case TRANSACTION_GO_NONE:
        transaction_abandon(&d->transaction);
        break;
    }
}

static void on_perform_all(struct carrier *carrier)
{
    struct delivery *d = delivery_of(carrier);
    struct action todo;

    assert(d->state == DELIVERY_CARRYING);
    advance(d);
    while (transaction_next(&d->transaction, &todo))
        carrier_perform(carrier, &todo);
}

static void on_settled(struct carrier *carrier)
{
    assert(delivery_of(carrier)->state == DELIVERY_CARRYING);
    delivery_finish(delivery_of(carrier));
}

/* No connection came about. A recipient without an answer was therefore not tried. */
static void forget_untried(struct delivery *d, const struct branch *branch)
{
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct recipient *rcpt = d->asked[i];
        bool is_open = rcpt != NULL && rcpt->branch == branch && rcpt->final == FATE_OPEN &&
                       (rcpt->envelope == FATE_OPEN || rcpt->envelope == FATE_ACCEPTED);
        if (is_open)
            d->asked[i] = NULL;
    }
}

static bool is_own(const struct reply *reply, enum reply_id id)
{
    struct reply own = reply_own(id);
    return reply->code == own.code && memcmp(reply->enhanced, own.enhanced, 3) == 0;
}

static void miss(struct delivery *d, const struct event *ev)
{
    bool is_down = is_own(&ev->reply, REPLY_TARGET_DOWN);

    if (!is_down && !is_own(&ev->reply, REPLY_TARGET_BUSY))
        return;
    if (d->tried == DELIVERY_ASKED)
        d->tried = is_down ? DELIVERY_NO_TARGET : DELIVERY_NO_ROOM;
    forget_untried(d, ev->branch);
}

static void on_feed(struct carrier *carrier, const struct event *ev)
{
    struct delivery *d = delivery_of(carrier);

    if (ev->kind == EV_BROKEN && !ev->is_end_sent)
        miss(d, ev);
    transaction_feed(&d->transaction, ev);
}

static const struct carrier_ops carrier_ops = {
    .feed = on_feed, .perform_all = on_perform_all, .settled = on_settled};

/* ---- beginning ---- */

static void on_copy_room(void *owner)
{
    (void)owner; /* only what there is room for is ever appended */
}

static void on_copy_unkept(void *owner, int error)
{
    (void)owner; /* a body that is kept in memory is never written to a file */
    (void)error;
}

static void on_copy_failed(void *owner)
{
    struct delivery *d = owner;

    if (d->state != DELIVERY_CARRYING)
        return;
    delivery_log_failed(d, "read", copy_error(d->carrier.copy));
    d->tried = DELIVERY_FAILED_HERE;
    carrier_report(&d->carrier,
                   &(struct event){.kind = EV_COPY, .error = copy_error(d->carrier.copy)});
}

static const struct copy_use copy_use = {
    .room = on_copy_room, .unkept = on_copy_unkept, .failed = on_copy_failed};

/* A copy of what the first job has read. False: no memory, or no room in the copies now. */
static bool copy_from_memory(struct delivery *d)
{
    struct loop *l = d->runner->host.loop;
    size_t len = (size_t)d->message.head.body_bytes;
    struct copy *copy = copy_new(l, d->runner->host.copies,
                                 copy_net_of(d->runner->host.copies, NULL), &copy_use, d);

    if (copy == NULL)
        return false;
    if (copy_room(copy) < len || copy_append(copy, bytes_make(d->body.at, len)) != 0) {
        copy_free(&copy);
        return false;
    }
    copy_finish(copy);
    d->carrier.copy = copy;
    mem_free(d->body.at);
    d->body.at = NULL;
    return true;
}

static bool make_copy(struct delivery *d)
{
    if (d->body.at != NULL && copy_from_memory(d))
        return true;
    if (d->file->is_shared)
        return false;
    d->carrier.copy = copy_of_file(d->runner->host.loop, d->runner->host.copies, d->file->taken.fd,
                                   SPOOL_HEAD_BYTES, d->message.head.body_bytes, &copy_use, d);
    d->file->is_of_copy = d->carrier.copy != NULL;
    return d->file->is_of_copy;
}

static bool ask(struct delivery *d, struct target *target, uint32_t index)
{
    const struct spool_recipient *s = &d->message.recipients[index];
    struct recipient *rcpt = transaction_add(&d->transaction, &s->original);
    struct routed_leg leg = {.target = target_group_choose(target, s->to.mailbox),
                             .to = s->to,
                             .can_prepare = target->can_prepare};
    struct routed routed = {.legs = &leg, .leg_count = 1};

    if (rcpt == NULL)
        return false;
    rcpt->params = s->params;
    transaction_feed(&d->transaction,
                     &(struct event){.kind = EV_ROUTED, .rcpt = rcpt, .routed = &routed});
    rcpt->is_unverified = s->is_unverified;
    d->carrier.spooled_identity |= s->identity;
    d->asked[index] = rcpt;
    return true;
}

static bool show_own(struct delivery *d, const struct target *target, const struct spool_view *own)
{
    if (own->is_in_front)
        return transaction_prepend(&d->transaction, target, own->view.lines) == 0;
    return transaction_show(&d->transaction, target, &own->view) == 0;
}

/* What the recipients that were asked for get. Where a group fails over they have several
 * branches. */
static bool show(struct delivery *d, uint32_t view)
{
    if (transaction_show(&d->transaction, NULL, &d->message.view) != 0)
        return false;
    LIST_EACH (link, &d->transaction.branches) {
        const struct branch *b = LIST_ENTRY(link, struct branch, in_transaction);
        if (view != 0 && !show_own(d, b->target, &d->message.views[view - 1]))
            return false;
    }
    return true;
}

static bool is_left(const struct spool_recipient *s, const struct target *target)
{
    return runner_is_open(s) && bytes_equal(s->queue, target->name);
}

static uint32_t least_tries(const struct delivery *d, const struct target *target)
{
    uint32_t least = UINT32_MAX;

    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = &d->message.recipients[i];
        if (is_left(s, target) && s->tries < least)
            least = s->tries;
    }
    return least;
}

/* Asks for the recipients of this target that were tried least often and get the same as the first
 * of them, as many as one transaction takes. Recipients that are deferred again and again therefore
 * do not get in the way of the others. */
static bool ask_all(struct delivery *d, struct target *target)
{
    uint32_t count = 0, tries = least_tries(d, target), view = 0;

    d->asked = arena_alloc(&d->arena, (d->message.recipient_count + 1) * sizeof(*d->asked));
    if (d->asked == NULL)
        return false;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = &d->message.recipients[i];
        bool is_next = is_left(s, target) && s->tries == tries && (count == 0 || s->view == view);
        if (!is_next)
            continue;
        if (count++ == target->queue->recipients_max)
            break;
        view = s->view;
        if (!ask(d, target, i))
            return false;
    }
    return show(d, view);
}

static bool begin(struct delivery *d, struct target *target)
{
    carrier_init(&d->carrier, &carrier_ops, d->runner->host.loop, &d->message.client);
    if (d->message.has_origin)
        d->carrier.origin = &d->message.origin;
    d->carrier.session = &d->message.envelope.session;
    d->carrier.hostname = d->message.hostname;
    d->carrier.is_spooled = true;
    d->carrier.spooled_wall_ms = d->message.arrived_ms;
    if (!make_copy(d))
        return false;
    transaction_init(&d->transaction, &d->arena, &d->message.envelope, &d->message.client);
    d->transaction.policy = TRANSACTION_QUEUED;
    d->transaction.envelope.id = d->message.head.id;
    d->carrier.transaction = &d->transaction;
    return ask_all(d, target);
}

/* The message cannot be delivered as it is. The runner forgets it. */
static void drop_known(struct delivery *d, int error)
{
    struct runner *r = d->runner;
    struct runner_message *known = d->known;
    struct store_place place = d->place;

    if (d->fate == DELIVERY_BAD)
        delivery_log_bad(d, error);
    else if (error != -ENOENT)
        delivery_log_failed(d, "read", error);
    delivery_leave_file(d);
    schedule_report(d->entry, SCHEDULE_PUT_BACK, runner_now_s(r));
    runner_forget(r, known);
    delivery_recycle(d);
    if (error == ERR_RANGE)
        runner_ignore(r, &place);
}

/* The runner forgets the message and learns it anew from the file. */
static void learn_anew(struct delivery *d)
{
    struct runner *r = d->runner;

    delivery_leave_file(d);
    schedule_report(d->entry, SCHEDULE_PUT_BACK, runner_now_s(r));
    runner_forget(r, d->known);
    runner_learn(r, &d->place, &d->message);
    delivery_recycle(d);
}

/* Nothing was tried. The entry is due again after a pause. */
static void put_back(struct runner *r, struct schedule_entry *e)
{
    int64_t now_s = runner_now_s(r);

    if (e->is_look)
        e->look_s = now_s + LOCKED_S;
    else
        e->due_s = now_s + LOCKED_S;
    schedule_report(e, SCHEDULE_PUT_BACK, now_s);
}

static void leave_locked(struct delivery *d)
{
    delivery_leave_file(d);
    put_back(d->runner, d->entry);
    delivery_recycle(d);
}

/* The records were not read, so nothing can be written. A file that another delivery has open stays
 * open. */
static void leave_failed(struct delivery *d)
{
    delivery_log_failed(d, "read", d->error);
    if (d->joins && d->file->users == 1)
        closing_begin(d->runner->host.loop, NULL, d->file->taken.fd);
    delivery_done(d, SCHEDULE_FAILED_HERE);
}

static void leave_unread(struct delivery *d)
{
    bool is_over = d->fate == DELIVERY_BAD || d->error == -ENOENT || d->error == ERR_RANGE;

    if (is_over && !d->joins)
        drop_known(d, d->error);
    else if (d->error == -EAGAIN && !d->joins)
        leave_locked(d);
    else
        leave_failed(d);
}

/* No target is asked. This counts as a try for the recipients all the same. */
static void fail_here(struct delivery *d, const char *what, int error)
{
    delivery_log_failed(d, what, error);
    d->carrier.transaction = NULL;
    d->tried = DELIVERY_FAILED_HERE;
    delivery_finish(d);
}

static void done_take(struct work *w)
{
    struct delivery *d = CONTAINER_OF(w, struct delivery, work);
    struct runner *r = d->runner;
    struct target *target;

    assert(d->state == DELIVERY_TAKING);
    if (d->joins)
        delivery_release_file(d);
    if (d->error != 0) {
        leave_unread(d);
        return;
    }
    if (d->fate == DELIVERY_OUTDATED) {
        learn_anew(d);
        return;
    }
    if (d->file->was_torn && !d->joins)
        delivery_log_torn(d);
    target = r->host.find_target(r->host.owner, schedule_target_name(d->entry->target));
    if (d->is_look || target == NULL || r->is_stopping) {
        delivery_finish(d);
    } else if (d->body.error != 0) {
        fail_here(d, "read", d->body.error);
    } else if (begin(d, target)) {
        d->state = DELIVERY_CARRYING;
        d->tried = DELIVERY_ASKED;
        transaction_data(&d->transaction);
        carrier_drain(&d->carrier);
    } else {
        fail_here(d, "begin", ERR_MEMORY);
    }
}

static void on_deadline(struct deadline *deadline)
{
    delivery_finish(CONTAINER_OF(deadline, struct delivery, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* False: the message cannot be delivered now; the entry is to be put back. */
static bool start(struct runner *r, struct schedule_entry *e)
{
    struct runner_message *known = runner_find(r, &e->id);
    struct delivery_file *file = NULL;
    struct delivery *d;

    assert(known != NULL);
    if (known->is_busy && e->is_look)
        return false;
    file = known->is_busy ? delivery_find_file(r, known) : delivery_new_file();
    if (file == NULL)
        return false;
    d = delivery_new(r);
    if (d == NULL) {
        if (!known->is_busy)
            mem_free(file);
        return false;
    }
    d->known = known;
    d->entry = e;
    d->is_look = e->is_look;
    d->up_count = r->up_count;
    d->place = known->place;
    d->work = (struct work){.run = delivery_take, .done = done_take};
    deadline_init(&d->deadline, &deadline_use);
    delivery_join(d, file);
    if (work_run(r->host.loop, &d->work) != 0) {
        delivery_leave_file(d);
        delivery_recycle(d);
        return false;
    }
    file->is_in_use = d->joins;
    return true;
}

void delivery_start(struct runner *r, struct schedule_entry *e)
{
    assert(e->state == SCHEDULE_RUNNING);
    if (!start(r, e))
        put_back(r, e);
}

void delivery_abort_all(struct runner *r)
{
    LIST_EACH (link, &r->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, in_runner);
        if (d->state == DELIVERY_CARRYING) {
            transaction_abandon(&d->transaction);
            carrier_drain(&d->carrier);
        } else {
            delivery_hurry(d);
        }
    }
}
