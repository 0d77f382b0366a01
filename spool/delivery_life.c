/* SPDX-License-Identifier: BSD-2-Clause */
/* How deliveries begin and end, and the files that they share. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/delivery_private.h"

struct delivery *delivery_new(struct runner *r)
{
    struct list *first = list_first(&r->spare);
    struct delivery *d =
        first != NULL ? LIST_ENTRY(first, struct delivery, in_runner) : mem_alloc(sizeof(*d));
    struct pool pool;

    if (d == NULL)
        return NULL;
    if (first != NULL) {
        list_remove(first);
        pool = d->pool;
    } else {
        pool_init(&pool, 4096, 2);
    }
    *d = (struct delivery){.runner = r};
    d->pool = pool;
    arena_init(&d->arena, &d->pool, SIZE_MAX);
    arena_init(&d->again, &d->pool, SIZE_MAX);
    list_append(&r->deliveries, &d->in_runner);
    r->delivery_count++;
    return d;
}

void delivery_leave_file(struct delivery *d)
{
    struct delivery_file *file = d->file;

    assert(file != NULL && file->users != 0);
    d->file = NULL;
    if (--file->users != 0)
        return;
    d->known->is_busy = false;
    mem_free(file);
}

void delivery_recycle(struct delivery *d)
{
    struct runner *r = d->runner;

    assert(d->file == NULL && r->delivery_count != 0);
    if (d->carrier.transaction != NULL)
        carrier_let_go(&d->carrier);
    if (d->carrier.copy != NULL)
        copy_free(&d->carrier.copy);
    deadline_clear(r->host.loop, &d->deadline);
    if (d->writing.is_aside) {
        assert(r->aside_count != 0);
        r->aside_count--;
    }
    mem_free(d->body.at);
    arena_reset(&d->again);
    arena_reset(&d->arena);
    list_remove(&d->in_runner);
    list_append(&r->spare, &d->in_runner);
    r->delivery_count--;
    runner_pump_later(r);
    runner_may_stop(r);
}

void delivery_free_spare(struct runner *r)
{
    LIST_EACH (link, &r->spare) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, in_runner);
        list_remove(link);
        pool_done(&d->pool);
        mem_free(d);
    }
}

void delivery_done(struct delivery *d, enum schedule_result result)
{
    delivery_leave_file(d);
    schedule_report(d->entry, result, runner_now_s(d->runner));
    delivery_recycle(d);
}

/* ---- files ---- */

/* Of another delivery of the message that is under way, where that lets others use it. */
struct delivery_file *delivery_find_file(struct runner *r, const struct runner_message *known)
{
    LIST_EACH (link, &r->deliveries) {
        const struct delivery *d = LIST_ENTRY(link, struct delivery, in_runner);
        if (d->known != known)
            continue;
        bool has_asked = d->carrier.transaction != NULL;
        bool may_join = has_asked && !d->file->is_of_copy && !d->file->is_in_use &&
                        !d->file->is_gone && !d->writing.is_stuck;
        return may_join ? d->file : NULL;
    }
    return NULL;
}

struct delivery_file *delivery_new_file(void)
{
    struct delivery_file *file = mem_zalloc(sizeof(*file));

    if (file != NULL)
        file->taken.fd = -1;
    return file;
}

void delivery_join(struct delivery *d, struct delivery_file *file)
{
    assert(d->file == NULL);
    d->file = file;
    d->joins = file->users != 0;
    file->is_shared = d->joins;
    file->users++;
    d->known->is_busy = true;
}

void delivery_release_file(struct delivery *d)
{
    assert(d->file->is_in_use);
    d->file->is_in_use = false;
    LIST_EACH (link, &d->runner->deliveries) {
        struct delivery *other = LIST_ENTRY(link, struct delivery, in_runner);
        if (other->file != d->file || other->state != DELIVERY_WAITING)
            continue;
        other->state = DELIVERY_RESTING;
        deadline_set(d->runner->host.loop, &other->deadline, 0);
        return;
    }
}
