/* SPDX-License-Identifier: BSD-2-Clause */
/* Time as a loop counts it. */
#include <time.h>

#include "proxy/io/loop_uv.h"

#define LATE_MS 1000 /* a busy machine may be as late as that; more is a gap */

/* A process that was stopped (a paused container, a debugger) finds all its deadlines past, and has
 * not read what arrived meanwhile. So time stood still for it: what has come is read, and what was
 * begun goes on. */
uint64_t loop_now_ms(const struct loop *loop)
{
    struct loop_clock *clock = loop->clock;
    uint64_t now_ms = uv_now(&loop->uv);

    if (now_ms > clock->due_by_ms && now_ms - clock->due_by_ms > LATE_MS)
        clock->gaps_ms += now_ms - clock->due_by_ms;
    clock->due_by_ms = now_ms;
    return now_ms - clock->gaps_ms;
}

void loop_clock_wait(struct loop *loop)
{
    int timeout_ms = uv_backend_timeout(&loop->uv);

    (void)loop_now_ms(loop);
    loop->clock->due_by_ms = timeout_ms < 0 ? UINT64_MAX : uv_now(&loop->uv) + (uint64_t)timeout_ms;
}

uint64_t loop_precise_us(const struct loop *loop)
{
    return uv_hrtime() / 1000 - loop->clock->gaps_ms * 1000;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    struct timespec now;

    (void)loop;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void loop_clock_open(struct loop *loop)
{
    loop->clock = &loop->own_clock;
    loop->clock->due_by_ms = UINT64_MAX;
}
