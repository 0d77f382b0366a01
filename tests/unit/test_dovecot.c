/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection to Dovecot's auth service where memory is short: with each allocation failing once
 * a login is refused at most, nobody is let in whom the server has not let in, and soon afterwards
 * all is well. */
/* needs: sim proxy/dovecot.c */
#include "proxy/dovecot.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/io/loop.h"
#include "proxy/smtp/sasl.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define PEERS_MAX    8
#define ATTEMPTS_MAX 4    /* that fail, one after the other, since one allocation did */
#define PAUSE_MS     1100 /* between them: a connection that was lost is tried again */

struct world {
    struct sim *sim;
    struct loop *loop;
    struct log *log;
    struct dovecot *dovecot;
    struct dovecot_call call;
    unsigned attempts, wrong;
    bool is_granted; /* by the server */
    bool is_in, is_over;
};

/* ---- the client ---- */

static void on_settled(struct dovecot_call *call)
{
    (void)call;
}

static void on_answered(struct dovecot_call *call, const struct dovecot_auth_said *said)
{
    struct world *w = CONTAINER_OF(call, struct world, call);

    if (said != NULL && said->kind == DOVECOT_AUTH_CHALLENGE) {
        assert_true(bytes_is(said->challenge, "bm9uY2U="));
        (void)dovecot_continue(call, bytes_of("c2VjcmV0"));
    } else if (said != NULL) {
        assert_int_equal(said->kind, DOVECOT_AUTH_OK);
        assert_true(w->is_granted && bytes_is(said->user, "joe"));
        w->is_in = true;
    }
}

static const struct dovecot_call_use use = {.settled = on_settled, .answered = on_answered};

static void attempt(struct world *w)
{
    static const struct identity nobody = {.helo = {.len = 0}};
    const struct dovecot_auth_client client = {.who = &nobody, .session = bytes_of("session")};
    const struct dovecot_request request = {.mechanism = SASL_CRAM_MD5, .client = &client};

    w->attempts++;
    if (dovecot_is_settled(w->dovecot))
        (void)dovecot_begin(w->dovecot, &w->call, &use, &request);
    else
        dovecot_await(w->dovecot, &w->call, &use);
}

/* ---- the server ---- */

static void on_line(struct world *w, struct sim_peer *p, struct bytes line)
{
    unsigned id = line.len < 6 ? 0 : (unsigned)strtoul((const char *)line.at + 5, NULL, 10);
    char text[120] = "";

    if (bytes_start_with_nocase(line, "CPID\t"))
        snprintf(text, sizeof(text), "VERSION\t1\t2\nMECH\tCRAM-MD5\nSPID\t9\nDONE\n");
    else if (bytes_start_with_nocase(line, "AUTH\t"))
        snprintf(text, sizeof(text), "CONT\t%u\tbm9uY2U=\n", id);
    else if (bytes_start_with_nocase(line, "CONT\t"))
        snprintf(text, sizeof(text), "OK\t%u\tuser=joe\n", id);
    w->is_granted = w->is_granted || bytes_start_with_nocase(line, "CONT\t");
    sim_send(p, bytes_of(text));
}

/* False: there was nothing to do. */
static bool serve(struct world *w, struct sim_peer *p)
{
    if (sim_peer_state(p) == SIM_PEER_ASKED) {
        sim_accept(p);
        return true;
    }
    if (sim_peer_state(p) != SIM_PEER_OPEN || sim_received(p).len == 0)
        return false;
    for (struct bytes in = sim_received(p); in.len != 0; in = sim_received(p)) {
        size_t end = bytes_find(in, '\n');
        assert_true(end < in.len); /* lines are sent whole, or not at all */
        on_line(w, p, bytes_first(in, end));
        sim_take(p, end + 1);
    }
    return true;
}

/* ---- both ---- */

static bool on_quiet(void *owner)
{
    struct world *w = owner;
    struct sim_peer *p;

    for (unsigned i = 0; (p = sim_target(w->sim, i)) != NULL; i++)
        if (serve(w, p))
            return true;
    if (w->is_over)
        return false;
    if (w->is_in || w->attempts == ATTEMPTS_MAX) {
        w->is_over = true;
        dovecot_forget(&w->call);
        dovecot_close(w->dovecot);
        loop_stop(w->loop);
        return true;
    }
    if (w->call.server != NULL)
        return false;
    if (w->attempts != 0)
        sim_wait(w->sim, PAUSE_MS);
    attempt(w);
    return true;
}

static void play(struct world *w)
{
    const struct dovecot_services services = {.loop = w->loop, .log = w->log, .log_sinks = 1};
    uint64_t began_ms = sim_now_ms(w->sim);

    w->dovecot = dovecot_new(&services, bytes_of("/auth"));
    if (w->dovecot == NULL)
        return;
    loop_run(w->loop);
    dovecot_free(w->dovecot);
    assert_true(w->is_in);
    assert_in_range(sim_now_ms(w->sim) - began_ms, 0, ATTEMPTS_MAX * PAUSE_MS);
}

static bool run(void *given)
{
    static const struct log_sink sink = {.kind = LOG_TO_STDERR};
    struct world w = {.sim = sim_new(1)};
    int error;

    (void)given;
    sim_ask_targets(w.sim, true);
    sim_on_quiet(w.sim, on_quiet, &w);
    w.loop = loop_new();
    if (w.loop != NULL)
        w.log = log_new(w.loop, &sink, 1, false, &error);
    if (w.log != NULL)
        play(&w);
    log_free(&w.log);
    loop_free(&w.loop);
    sim_free(&w.sim);
    return w.is_in && w.attempts <= 2;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(run, NULL) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
