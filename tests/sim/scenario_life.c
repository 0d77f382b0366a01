/* SPDX-License-Identifier: BSD-2-Clause */
/* Postern's processes in a scenario: one of them, or a worker and a runner; generations that
 * overlap; posternctl at work on the spool itself. They are stopped, aborted and killed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/io/work.h"
#include "proxy/worker.h"
#include "tests/sim/index_truth.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define STEPS_MAX       4000
#define CALLS_MAX       150
#define COLD_CALLS_MAX  60
#define NEAR_CALLS_MAX  12
#define AWAY_MAX_MS     40000
#define LIVES_MAX       6 /* that have ended: from then on nobody is killed */
#define TOGETHER_MAX    5
#define IMPATIENCE_MS   25000
#define HANGS_MAX_BEATS 12
#define HANG_MAX_MS     65000 /* that is */

enum role { ROLE_ALL, ROLE_WORKER, ROLE_RUNNER, ROLE_COLD };

/* One process. */
struct life {
    struct list link;
    struct scenario *scenario;
    struct sim_process *process;
    enum role role;
    uint32_t generation;
    bool was_cut; /* by the power, with others */
    /* of ROLE_COLD */
    char request[96];
    int code;
    void (*answered)(void *owner, int code);
    void *owner;
};

static struct sim_process *current(const struct scenario *s, int place)
{
    return s->life.places[place].now == NULL ? NULL : s->life.places[place].now->process;
}

/* ---- what a process does ---- */

static int serve(void *owner)
{
    const struct life *l = owner;
    struct scenario *s = l->scenario;
    struct worker_task task = {.is_alone = l->role == ROLE_ALL,
                               .runs_queue = l->role != ROLE_WORKER,
                               .number = l->role == ROLE_WORKER,
                               .generation = l->generation};

    filter_stage(s);
    if (s->plan.limits.directory_names > 0)
        task.store_limits = &s->plan.limits;
    return stage_run_task(s->config, &task);
}

static int work_cold(void *owner)
{
    struct life *l = owner;

    return stage_run_cold(l->scenario->config, l->request, &l->code);
}

/* ---- death ---- */

static void note_death(struct scenario *s, bool is_power)
{
    struct death *d = sim_alloc(sizeof(*d));

    *d = (struct death){.at_ms = sim_now_ms(s->world), .is_power = is_power};
    list_append(&s->deaths, &d->link);
    scenario_count(s, is_power ? COUNT_POWER_CUTS : COUNT_KILLS);
    if (s->is_loud)
        printf("%9llu %s\n", (unsigned long long)d->at_ms, is_power ? "power cut" : "kill");
}

static void plan_death(struct life *l)
{
    struct scenario *s = l->scenario;

    if (!s->life.may_die || s->is_healthy || s->life.count >= LIVES_MAX)
        return;
    if (l->role == ROLE_COLD) {
        if (scenario_chance(s, 30))
            sim_process_kill_at_call(l->process, 1 + scenario_below(s, COLD_CALLS_MAX));
    } else if (scenario_chance(s, 40)) {
        sim_process_kill_at_step(l->process, 1 + scenario_below(s, STEPS_MAX));
    } else if (scenario_chance(s, 70)) {
        sim_process_kill_at_call(l->process, 1 + scenario_below(s, CALLS_MAX));
    }
}

/* Whoever works on the queue has but few calls to go: those of what it is asked now. */
void life_endanger(struct scenario *s)
{
    struct sim_process *p = current(s, s->plan.is_split ? 1 : 0);

    if (p != NULL && s->life.may_die && !s->is_healthy && s->life.count < LIVES_MAX &&
        scenario_chance(s, 30))
        sim_process_kill_at_call(p, 1 + scenario_below(s, NEAR_CALLS_MAX));
}

/* Of one of them; or the power fails, and all go. */
static void die(struct scenario *s)
{
    bool is_power = scenario_chance(s, 50);

    note_death(s, is_power);
    if (!is_power)
        return;
    LIST_EACH (link, &s->life.lives)
        LIST_ENTRY(link, struct life, link)->was_cut = true;
    sim_power_cut(s->world);
}

/* ---- beginning and end ---- */

static void on_end(void *owner, const struct sim_process_end *end);

static struct life *life_new(struct scenario *s, enum role role)
{
    struct life *l = sim_alloc(sizeof(*l));

    l->scenario = s;
    l->role = role;
    l->generation = s->life.generation;
    list_append(&s->life.lives, &l->link);
    return l;
}

static void run(struct life *l)
{
    struct scenario *s = l->scenario;
    const char *lie;

    sim_disk_set_trouble(s->world, 0); /* it shall start */
    mem_fail_nth(0);
    lie = index_lie(s->world);
    if (lie != NULL)
        scenario_fail(s, "the index is wrong about %s", lie);
    l->process = sim_process_start(s->world, l->role == ROLE_COLD ? work_cold : serve, l, on_end);
    plan_death(l);
}

static enum role role_of(const struct scenario *s, int place)
{
    return !s->plan.is_split ? ROLE_ALL : place == 0 ? ROLE_WORKER : ROLE_RUNNER;
}

static void start_server(struct scenario *s, int place)
{
    s->life.places[place].now = life_new(s, role_of(s, place));
    run(s->life.places[place].now);
}

static void on_restart(struct sim_event *e)
{
    struct scenario_place *p = CONTAINER_OF(e, struct scenario_place, restart);

    if (p->scenario->is_over)
        return;
    if (list_is_empty(&p->scenario->life.lives))
        faults_stop_long(p->scenario);
    start_server(p->scenario, p->number);
}

static void later(struct scenario *s, struct sim_timer *t, struct sim_event *e, uint64_t ms)
{
    list_remove(&t->link);
    scenario_later(s, t, e, ms);
}

static void restart(struct scenario_place *p)
{
    struct scenario *s = p->scenario;
    uint64_t away_ms = scenario_below(s, AWAY_MAX_MS);

    scenario_count(s, COUNT_RESTARTS);
    scenario_later(s, &p->timer, &p->restart, away_ms);
    if (s->plan.has_cold && !s->is_healthy && scenario_chance(s, 50))
        later(s, &s->life.cold_timer, &s->life.cold, scenario_below(s, away_ms + 1));
}

static void on_cold(struct sim_event *e)
{
    operator_interferes(CONTAINER_OF(e, struct scenario, life.cold));
}

/* Whoever holds a place is replaced, unless all is over. */
static void on_end(void *owner, const struct sim_process_end *end)
{
    struct life *l = owner;
    struct scenario *s = l->scenario;

    list_remove(&l->link);
    s->life.count++;
    if (end->is_killed && !l->was_cut)
        die(s);
    else if (!end->is_killed && end->code != 0 && sim_disk_failures(s->world) == 0)
        scenario_fail(s, "exit code %d", end->code);
    if (l->role == ROLE_COLD)
        l->answered(l->owner, end->is_killed ? OPERATOR_UNANSWERED : l->code);
    for (int i = 0; i < SCENARIO_PLACES; i++) {
        struct scenario_place *p = &s->life.places[i];
        if (p->now != l)
            continue;
        p->now = NULL;
        if (!s->is_over)
            restart(p);
    }
    free(l);
    if (s->result->has_failed || (s->is_over && list_is_empty(&s->life.lives)))
        sim_stop(s->world);
}

bool life_is_starting(const struct scenario *s)
{
    LIST_EACH (link, &s->life.lives)
        if (!sim_process_is_serving(LIST_ENTRY(link, struct life, link)->process))
            return true;
    return false;
}

bool life_may_be_cold(const struct scenario *s)
{
    return s->plan.has_cold && !s->is_over;
}

void life_start_cold(struct scenario *s, const char *request,
                     void (*answered)(void *owner, int code), void *owner)
{
    struct life *l = life_new(s, ROLE_COLD);

    snprintf(l->request, sizeof(l->request), "text %.*s", (int)strcspn(request, "\n"), request);
    l->code = OPERATOR_UNANSWERED;
    l->answered = answered;
    l->owner = owner;
    scenario_count(s, COUNT_COLD);
    run(l);
}

/* ---- signals ---- */

/* As the master does: the next one has begun when the one before is told. */
static void reload(struct scenario *s)
{
    unsigned count = 0;

    LIST_EACH (link, &s->life.lives)
        count++;
    if (count >= TOGETHER_MAX)
        return;
    s->life.generation++;
    scenario_count(s, COUNT_RELOADS);
    for (int i = 0; i < SCENARIO_PLACES; i++) {
        struct sim_process *old = current(s, i);
        if (old == NULL)
            continue;
        start_server(s, i);
        sim_process_signal(old, SIGQUIT);
    }
}

static void signal_all(struct scenario *s, int number)
{
    for (int i = 0; i < SCENARIO_PLACES; i++)
        if (current(s, i) != NULL)
            sim_process_signal(current(s, i), number);
}

static void on_abort(struct sim_event *e)
{
    struct scenario *s = CONTAINER_OF(e, struct scenario, life.abort);

    if (s->is_healthy)
        return;
    scenario_count(s, COUNT_ABORTS);
    signal_all(s, s->plan.is_split ? SIGUSR2 : SIGTERM);
}

static void stop(struct scenario *s)
{
    uint64_t patience_ms = scenario_chance(s, 50) ? 10 : IMPATIENCE_MS;

    signal_all(s, SIGTERM);
    if (s->plan.has_aborts)
        later(s, &s->life.abort_timer, &s->life.abort, scenario_below(s, patience_ms));
}

void life_end(struct scenario *s)
{
    LIST_EACH (link, &s->life.lives) {
        struct life *l = LIST_ENTRY(link, struct life, link);
        if (l->role != ROLE_COLD)
            sim_process_signal(l->process, SIGTERM);
    }
    if (list_is_empty(&s->life.lives))
        sim_stop(s->world);
}

/* ---- the disk takes its time ---- */

static void let_go_on(struct scenario *s)
{
    if (s->is_loud)
        printf("%9llu the disk goes on\n", (unsigned long long)sim_now_ms(s->world));
    sim_disk_go_on(s->world);
    s->life.hang_beats = 0;
}

static void make_hang(struct scenario *s, bool is_of_boxes)
{
    const char *path = is_of_boxes ? "/mail" : STAGE_SPOOL;

    if (!sim_disk_hang(s->world, path))
        return;
    if (s->is_loud)
        printf("%9llu %s hangs\n", (unsigned long long)sim_now_ms(s->world), path);
    scenario_count(s, COUNT_HANGS);
    s->life.hangs_boxes = is_of_boxes;
    s->life.hang_beats = 1 + (unsigned)scenario_below(s, HANGS_MAX_BEATS);
}

static void look_at_hang(struct scenario *s)
{
    if (s->life.hang_beats == 0) {
        if (scenario_chance(s, 10))
            make_hang(s, s->plan.has_boxes && scenario_chance(s, 50));
        return;
    }
    if (s->life.hangs_boxes && sim_disk_hung(s->world) > WORK_THREADS / 2)
        scenario_fail(s, "Maildirs that hang have more than half of the threads");
    if (--s->life.hang_beats == 0)
        let_go_on(s);
}

/* ---- all of it ---- */

void life_plan(struct scenario *s)
{
    static const uint32_t windows[] = {0, 0, 0, 1000, 64}, slow_ms[] = {0, 0, 20, 300, 3000};
    struct sim_ways ways = {.shuffles = true,
                            .cuts = scenario_chance(s, 50),
                            .interleaves = scenario_chance(s, 50),
                            .shakes = true};

    ways.window_bytes = windows[scenario_below(s, ARRAY_LENGTH(windows))];
    ways.slow_ms = slow_ms[scenario_below(s, ARRAY_LENGTH(slow_ms))];
    sim_set_ways(s->world, &ways);
    s->plan.is_split = scenario_chance(s, 20);
    s->plan.has_reloads = scenario_chance(s, 20);
    s->plan.has_cold = scenario_chance(s, 30);
    s->plan.has_aborts = scenario_chance(s, 30);
    s->plan.has_hangs = scenario_chance(s, 10);
    s->plan.disk_slack_ms = ways.interleaves ? UINT64_C(4) * ways.slow_ms : 0;
    if (s->plan.has_hangs)
        s->plan.disk_slack_ms += HANG_MAX_MS;
    s->life.may_die = scenario_chance(s, 75);
}

void life_begin(struct scenario *s)
{
    struct scenario_life *life = &s->life;

    list_init(&life->lives);
    life->abort.fn = on_abort;
    list_init(&life->abort.link);
    life->cold.fn = on_cold;
    list_init(&life->cold.link);
    list_init(&life->abort_timer.link);
    list_init(&life->cold_timer.link);
    for (int i = 0; i < SCENARIO_PLACES; i++) {
        struct scenario_place *p = &life->places[i];
        *p = (struct scenario_place){.scenario = s, .number = i, .restart.fn = on_restart};
        list_init(&p->restart.link);
        if (i == 0 || s->plan.is_split)
            start_server(s, i);
    }
    if (s->plan.crowds_boxes)
        make_hang(s, true);
}

void life_happen(struct scenario *s)
{
    if (s->plan.has_hangs)
        look_at_hang(s);
    if (s->plan.has_reloads && scenario_chance(s, 4))
        reload(s);
    if (scenario_chance(s, s->plan.has_aborts ? 2 : 1))
        stop(s);
}

/* From now on nobody dies, and nothing takes long. */
void life_heal(struct scenario *s)
{
    struct sim_ways ways = s->world->ways;

    ways.slow_ms = 0;
    sim_set_ways(s->world, &ways);
    let_go_on(s);
    LIST_EACH (link, &s->life.lives) {
        struct life *l = LIST_ENTRY(link, struct life, link);
        sim_process_kill_at_step(l->process, 0);
        sim_process_kill_at_call(l->process, 0);
    }
}

void life_free(struct scenario *s)
{
    LIST_EACH (link, &s->life.lives) {
        struct life *l = LIST_ENTRY(link, struct life, link);
        sim_process_kill(l->process);
        free(l);
    }
}
