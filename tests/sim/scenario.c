/* SPDX-License-Identifier: BSD-2-Clause */
/* A scenario from its seed to its end: a world, processes that live and die in it, time. */
#include "tests/sim/scenario.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/worker.h"
#include "tests/sim/stage.h"

#define BEAT_MS     5000
#define PATIENCE_MS (UINT64_C(4) * 24 * 3600 * 1000)
#define QUIET_BEATS 60 /* with an empty queue, until it is over */
#define STEPS_MAX   4000
#define CALLS_MAX   150
#define AWAY_MAX_MS 40000
#define LIVES_MAX   6

/* ---- chance, and what is told ---- */

uint64_t scenario_below(struct scenario *s, uint64_t end)
{
    return sim_below(s->world, end);
}

bool scenario_chance(struct scenario *s, unsigned percent)
{
    return scenario_below(s, 100) < percent;
}

void scenario_fail(struct scenario *s, const char *format, ...)
{
    va_list list;

    s->result->has_failed = true;
    printf("seed %llu, %llu ms: ", (unsigned long long)s->seed,
           (unsigned long long)sim_now_ms(s->world));
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
}

static void trace(struct scenario *s, struct bytes octets)
{
    uint64_t hash = s->result->trace;

    for (size_t i = 0; i < octets.len; i++)
        hash = (hash ^ octets.at[i]) * 0x100000001b3u;
    s->result->trace = hash;
}

void scenario_heard(struct scenario *s, const char *who, unsigned number, struct bytes octets)
{
    uint64_t now_ms = sim_now_ms(s->world);

    trace(s, bytes_make(&now_ms, sizeof(now_ms)));
    trace(s, octets);
    if (s->is_loud)
        printf("%9llu %s%u %.*s\n", (unsigned long long)now_ms, who, number,
               (int)bytes_find(octets, '\r'), (const char *)octets.at);
}

void scenario_count(struct scenario *s, enum scenario_count what)
{
    s->result->counts[what]++;
}

void scenario_later(struct scenario *s, struct sim_timer *t, struct sim_event *e, uint64_t ms)
{
    sim_at(s->world, t, e, ms);
}

/* ---- one life after the other ---- */

static int serve(void *owner)
{
    struct scenario *s = owner;
    struct smtpd_judge filter = {.owner = s, .judge = message_judge};
    struct worker_task task = {.is_alone = true, .runs_queue = true};

    if (s->plan.has_filter)
        task.judge = &filter;
    if (s->plan.limits.directory_names > 0)
        task.store_limits = &s->plan.limits;
    return stage_run_task(s->config, &task);
}

static void note_death(struct scenario *s, bool is_power)
{
    struct death *d = sim_alloc(sizeof(*d));

    *d = (struct death){.at_ms = sim_now_ms(s->world), .is_power = is_power};
    list_append(&s->deaths, &d->link);
    scenario_count(s, is_power ? COUNT_POWER_CUTS : COUNT_KILLS);
    if (s->is_loud)
        printf("%9llu %s\n", (unsigned long long)d->at_ms, is_power ? "power cut" : "kill");
}

static void plan_death(struct scenario *s)
{
    if (scenario_chance(s, 40))
        sim_process_kill_at_step(s->life.server, 1 + scenario_below(s, STEPS_MAX));
    else if (scenario_chance(s, 70))
        sim_process_kill_at_call(s->life.server, 1 + scenario_below(s, CALLS_MAX));
}

static void on_server_end(void *owner, const struct sim_process_end *end);

static void start_server(struct scenario *s)
{
    sim_disk_set_trouble(s->world, 0); /* it shall start */
    mem_fail_nth(0);
    s->life.server = sim_process_start(s->world, serve, s, on_server_end);
    if (s->life.may_die && !s->is_healthy && s->life.count < LIVES_MAX)
        plan_death(s);
}

static void on_restart(struct sim_event *e)
{
    struct scenario *s = CONTAINER_OF(e, struct scenario, life.restart);

    if (!s->is_over)
        start_server(s);
}

/* It begins again, unless all is over and it came to its end as it should. */
static void on_server_end(void *owner, const struct sim_process_end *end)
{
    struct scenario *s = owner;

    s->life.server = NULL;
    s->life.count++;
    if (end->is_killed) {
        bool is_power = scenario_chance(s, 50);
        note_death(s, is_power);
        if (is_power)
            sim_power_cut(s->world);
    } else if (end->code != 0 && sim_disk_failures(s->world) == 0) {
        scenario_fail(s, "exit code %d", end->code);
    }
    if (s->is_over || s->result->has_failed) {
        sim_stop(s->world);
        return;
    }
    scenario_count(s, COUNT_RESTARTS);
    scenario_later(s, &s->life.timer, &s->life.restart, scenario_below(s, AWAY_MAX_MS));
}

/* ---- time ---- */

static void on_beat(struct sim_event *e)
{
    struct scenario *s = CONTAINER_OF(e, struct scenario, beat);
    uint64_t now_ms = sim_now_ms(s->world);

    if (!s->is_healthy && now_ms >= s->heal_ms)
        faults_heal(s);
    if (!s->is_healthy)
        faults_happen(s);
    else
        operator_releases(s);
    s->quiet_beats =
        s->is_healthy && s->clients_busy == 0 && spool_is_drained(s) ? s->quiet_beats + 1 : 0;
    if (s->result->has_failed || s->quiet_beats >= QUIET_BEATS ||
        now_ms > s->heal_ms + PATIENCE_MS) {
        s->is_over = true;
        if (s->life.server == NULL)
            sim_stop(s->world);
        sim_signal(s->world, SIGTERM);
        return;
    }
    if (!s->is_healthy && scenario_chance(s, 1))
        sim_signal(s->world, SIGTERM);
    scenario_later(s, &s->beat_timer, &s->beat, BEAT_MS);
}

/* ---- all of it ---- */

static void begin(struct scenario *s)
{
    static const uint32_t windows[] = {0, 0, 0, 1000, 64};
    struct sim_ways ways = {
        .shuffles = true, .cuts = scenario_chance(s, 50), .interleaves = scenario_chance(s, 50)};

    ways.window_bytes = windows[scenario_below(s, ARRAY_LENGTH(windows))];
    sim_set_ways(s->world, &ways);
    scenario_configure(s);
    faults_plan(s);
    spool_watch(s);
    log_watch(s);
    s->beat.fn = on_beat;
    list_init(&s->beat.link);
    s->life.restart.fn = on_restart;
    list_init(&s->life.restart.link);
    scenario_later(s, &s->beat_timer, &s->beat, BEAT_MS);
}

static void finish(struct scenario *s)
{
    struct bytes log = sim_log(s->world);

    ledger_check(s);
    trace(s, log);
    s->result->counts[COUNT_DISK_ERRORS] += sim_disk_failures(s->world);
    for (const uint8_t *at = log.at;
         (at = memmem(at, log.len - (size_t)(at - log.at), "spooled ", 8)); at++)
        if (at == log.at || at[-1] == '\n')
            scenario_count(s, COUNT_SPOOLED);
    if (s->is_loud)
        printf("%.*s", (int)log.len, (const char *)log.at);
    sim_free(&s->world);
    clients_free(s);
    servers_free(s);
    messages_free(s);
    ledger_free(s);
    spool_free(s);
    operator_free(s);
}

void scenario_run(uint64_t seed, bool is_loud, struct scenario_result *result)
{
    struct scenario s = {
        .world = sim_new(seed), .result = result, .seed = seed, .is_loud = is_loud};
    struct list *lists[] = {&s.messages, &s.deliveries, &s.deaths,   &s.clients,
                            &s.servers,  &s.files,      &s.troubles, &s.requests};

    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
        list_init(lists[i]);
    result->has_failed = false;
    result->trace = 0xcbf29ce484222325u;
    scenario_count(&s, COUNT_SCENARIOS);
    begin(&s);
    clients_start(&s);
    servers_start(&s);
    s.life.may_die = scenario_chance(&s, 75);
    start_server(&s);
    sim_run(s.world);
    finish(&s);
}
