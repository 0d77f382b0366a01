/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes wrong in a scenario beside its clients and targets, and when all is well again. */
#include "tests/sim/scenario.h"

#define TROUBLE_MS   600000 /* things go wrong for so long at most */
#define DOWN_MAX_MS  900000
#define ALLOCATIONS  400
#define PLENTY_BYTES (UINT64_C(1) << 40)

/* A few messages reach what takes thousands otherwise. */
static void plan_limits(struct scenario *s)
{
    s->plan.limits = (struct store_limits){
        .directory_names = 1 + (uint32_t)scenario_below(s, 6),
        .index_messages_min = 1 + (uint32_t)scenario_below(s, 3),
        .index_quiet_s = 1 + (uint32_t)scenario_below(s, 30),
        .records_bytes = 100 + scenario_below(s, 2000),
    };
}

void faults_plan(struct scenario *s)
{
    s->targets.announces = (unsigned)scenario_below(s, 32);
    s->targets.trouble_percent = scenario_chance(s, 30) ? 0 : (unsigned)scenario_below(s, 100);
    s->heal_ms = sim_now_ms(s->world) + scenario_below(s, TROUBLE_MS);
    for (int i = 0; i < SCENARIO_TARGETS; i++)
        if (scenario_chance(s, 15))
            s->targets.down_until_ms[i] = sim_now_ms(s->world) + scenario_below(s, DOWN_MAX_MS);
    s->plan.has_filter = scenario_chance(s, 30);
    s->plan.has_operator = scenario_chance(s, 30);
    s->plan.has_memory_trouble = scenario_chance(s, 15);
    s->plan.has_disk_trouble = scenario_chance(s, 25);
    s->plan.likes_boxes = s->plan.has_operator && s->plan.has_boxes && scenario_chance(s, 30);
    if (scenario_chance(s, 40))
        plan_limits(s);
}

void faults_heal(struct scenario *s)
{
    s->is_healthy = true;
    mem_fail_nth(0);
    sim_disk_set_trouble(s->world, 0);
    sim_disk_set_free(s->world, PLENTY_BYTES);
    sim_kill_at_step(s->world, 0);
    sim_kill_at_call(s->world, 0);
}

/* Outages of targets and of the disk, which may also be full for a while. */
void faults_happen(struct scenario *s)
{
    for (int i = 0; i < s->targets.count; i++)
        if (scenario_chance(s, 2))
            s->targets.down_until_ms[i] = sim_now_ms(s->world) + scenario_below(s, DOWN_MAX_MS);
    if (s->plan.has_operator && scenario_chance(s, 10))
        operator_interferes(s);
    if (s->plan.has_memory_trouble && scenario_chance(s, 30))
        mem_fail_nth(1 + scenario_below(s, ALLOCATIONS));
    if (!s->plan.has_disk_trouble || !scenario_chance(s, 30))
        return;
    sim_disk_set_trouble(s->world,
                         scenario_chance(s, 50) ? 0 : UINT32_C(4000) << scenario_below(s, 7));
    sim_disk_set_free(s->world, scenario_chance(s, 80) ? PLENTY_BYTES : scenario_below(s, 100000));
}
