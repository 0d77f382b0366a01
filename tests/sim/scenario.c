/* SPDX-License-Identifier: BSD-2-Clause */
/* A scenario from its seed to its end: a world, processes that live and die in it, time. */
#include "tests/sim/scenario.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BEAT_MS     5000
#define PATIENCE_MS (UINT64_C(4) * 24 * 3600 * 1000)
#define QUIET_BEATS 60 /* with an empty queue, until it is over */

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

static uint64_t mixed(uint64_t hash, uint64_t word)
{
    return (hash ^ word ^ hash >> 29) * 0x9e3779b97f4a7c15u;
}

static void trace(struct scenario *s, struct bytes octets)
{
    uint64_t hash = s->result->trace, word;

    for (; octets.len >= sizeof(word); octets = bytes_skip(octets, sizeof(word))) {
        memcpy(&word, octets.at, sizeof(word));
        hash = mixed(hash, word);
    }
    if (octets.len > 0) {
        word = octets.len;
        memcpy(&word, octets.at, octets.len);
        hash = mixed(hash, word);
    }
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

/* ---- time ---- */

static void on_beat(struct sim_event *e)
{
    struct scenario *s = CONTAINER_OF(e, struct scenario, beat);
    uint64_t now_ms = sim_now_ms(s->world);

    if (!s->is_healthy && now_ms >= s->heal_ms) {
        faults_heal(s);
        life_heal(s);
    }
    if (!s->is_healthy) {
        faults_happen(s);
        life_happen(s);
    } else {
        operator_releases(s);
    }
    s->quiet_beats =
        s->is_healthy && s->clients_busy == 0 && spool_is_drained(s) ? s->quiet_beats + 1 : 0;
    if (s->result->has_failed || s->quiet_beats >= QUIET_BEATS ||
        now_ms > s->heal_ms + PATIENCE_MS) {
        s->is_over = true;
        if (s->bad.over_ms == 0)
            s->bad.over_ms = now_ms;
        life_end(s);
    }
    scenario_later(s, &s->beat_timer, &s->beat, BEAT_MS);
}

/* ---- all of it ---- */

static void begin(struct scenario *s)
{
    life_plan(s);
    scenario_configure(s);
    faults_plan(s);
    filter_plan(s);
    s->plan.closed_by_us = sim_closed_on_loop(s->world);
    spool_watch(s);
    log_watch(s);
    s->beat.fn = on_beat;
    list_init(&s->beat.link);
    scenario_later(s, &s->beat_timer, &s->beat, BEAT_MS);
}

static void finish(struct scenario *s)
{
    struct bytes log = sim_log(s->world);

    ledger_check(s);
    if (!s->plan.has_memory_trouble && sim_closed_on_loop(s->world) != s->plan.closed_by_us)
        scenario_fail(s, "a file was closed on the loop");
    trace(s, log);
    s->result->counts[COUNT_DISK_ERRORS] += sim_disk_failures(s->world);
    for (const uint8_t *at = log.at;
         (at = memmem(at, log.len - (size_t)(at - log.at), "spooled ", 8)); at++)
        if (at == log.at || at[-1] == '\n')
            scenario_count(s, COUNT_SPOOLED);
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
    life_begin(&s);
    sim_run(s.world);
    life_free(&s);
    finish(&s);
}
