/* SPDX-License-Identifier: BSD-2-Clause */
/* The wheel on one libuv timer, which is started again only when it would fire too late. */
#include "proxy/io/deadline.h"

#include "proxy/io/loop_uv.h"

static void on_waking(uv_timer_t *timer);

static void wake_at(struct loop *loop, uint64_t when_ms)
{
    uint64_t now_ms = loop_now_ms(loop);

    loop->wake_ms = when_ms;
    if (when_ms != UINT64_MAX)
        uv_timer_start(&loop->waking, on_waking, when_ms > now_ms ? when_ms - now_ms : 0, 0);
}

static void on_waking(uv_timer_t *timer)
{
    struct loop *loop = timer->data;
    struct wheel_entry *entry;

    /* The timer is started below, not for each deadline that a callback sets. */
    loop->wake_ms = 0;
    while ((entry = wheel_next_due(&loop->wheel, loop_now_ms(loop))) != NULL) {
        struct deadline *deadline = CONTAINER_OF(entry, struct deadline, entry);

        deadline->use->reached(deadline);
    }
    wake_at(loop, wheel_wake_ms(&loop->wheel));
}

void deadline_wheel_open(struct loop *loop)
{
    uv_timer_init(&loop->uv, &loop->waking);
    loop->waking.data = loop;
    uv_unref((uv_handle_t *)&loop->waking);
    wheel_init(&loop->wheel, loop_now_ms(loop));
    loop->wake_ms = UINT64_MAX;
}

void deadline_init(struct deadline *deadline, const struct deadline_use *use)
{
    wheel_entry_init(&deadline->entry);
    deadline->use = use;
}

void deadline_set(struct loop *loop, struct deadline *deadline, uint64_t due_ms)
{
    uint64_t tick = due_ms / WHEEL_TICK_MS + (due_ms % WHEEL_TICK_MS != 0);

    assert(deadline->use != NULL);
    wheel_set(&loop->wheel, &deadline->entry, due_ms);
    /* A deadline that is past waits for the wheel's next tick. */
    if (tick <= loop->wheel.now_tick)
        tick = loop->wheel.now_tick + 1;
    if (tick * WHEEL_TICK_MS < loop->wake_ms)
        wake_at(loop, tick * WHEEL_TICK_MS);
}

void deadline_clear(struct loop *loop, struct deadline *deadline)
{
    assert(deadline->use != NULL);
    wheel_clear(&loop->wheel, &deadline->entry);
}
