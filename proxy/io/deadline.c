/* SPDX-License-Identifier: BSD-2-Clause */
/* The wheel on one libuv timer, which is started again only when it would fire too late. */
#include "proxy/io/deadline.h"

#include "proxy/io/loop_uv.h"

static void on_waking(uv_timer_t *timer);

static void wake_at(struct loop *l, uint64_t when_ms)
{
    uint64_t now_ms = uv_now(&l->uv);

    l->wake_ms = when_ms;
    if (when_ms != UINT64_MAX)
        uv_timer_start(&l->waking, on_waking, when_ms > now_ms ? when_ms - now_ms : 0, 0);
}

static void on_waking(uv_timer_t *timer)
{
    struct loop *l = timer->data;
    struct wheel_entry *entry;

    /* While callbacks run, what they set must not start the timer: it is started below. */
    l->wake_ms = 0;
    while ((entry = wheel_next_due(&l->wheel, uv_now(&l->uv))) != NULL) {
        struct deadline *d = CONTAINER_OF(entry, struct deadline, entry);

        d->use->reached(d);
    }
    wake_at(l, wheel_wake_ms(&l->wheel));
}

void deadline_wheel_open(struct loop *l)
{
    uv_timer_init(&l->uv, &l->waking);
    l->waking.data = l;
    uv_unref((uv_handle_t *)&l->waking);
    wheel_init(&l->wheel, uv_now(&l->uv));
    l->wake_ms = UINT64_MAX;
}

void deadline_init(struct deadline *d, const struct deadline_use *use)
{
    wheel_entry_init(&d->entry);
    d->use = use;
}

void deadline_set(struct loop *l, struct deadline *d, uint64_t due_ms)
{
    uint64_t tick = due_ms / WHEEL_TICK_MS + (due_ms % WHEEL_TICK_MS != 0);

    wheel_set(&l->wheel, &d->entry, due_ms);
    /* What is past already waits for the wheel's next tick. */
    if (tick <= l->wheel.now_tick)
        tick = l->wheel.now_tick + 1;
    if (tick * WHEEL_TICK_MS < l->wake_ms)
        wake_at(l, tick * WHEEL_TICK_MS);
}

void deadline_clear(struct loop *l, struct deadline *d)
{
    wheel_clear(&l->wheel, &d->entry);
}
