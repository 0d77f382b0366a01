/* SPDX-License-Identifier: BSD-2-Clause */
/* A conversation of `posternctl probe` with a target that does all right, and wants AUTH: what is
 * found out where an allocation fails is true, or it is said that it has failed; and nobody reads
 * the password, which the target repeats. */
/* needs: sim proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c route/carrier.c */
/* needs: route/outgoing.c route/relay/ */
#include "route/relay/relay_talk.h"

#include <stdio.h>

#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "route/relay/relay_conf.h"
#include "route/relay/relay_service.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define PASSWORD "sesame"
#define PLAIN    "AGpvZQBzZXNhbWU=" /* "\0joe\0sesame" in base64 */

struct world {
    const struct relay_talk_job *job;
    struct sim *sim;
    struct loop *loop;
    struct log *log;
    struct relay_service service;
    struct relay_conf conf;
    struct relay_talk_result result;
    struct pool pool;
    struct arena arena;
    size_t chunk; /* octets of it that are still to come */
    unsigned overs, failures;
    bool is_secured, is_let_in, is_content;
    bool has_ending; /* the content had what it is about */
    bool is_begun, is_over;
};

/* ---- the target ---- */

static const char *answer(struct world *w, struct bytes line)
{
    if (bytes_start_with_nocase(line, "EHLO"))
        return w->is_secured ? "250-t\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n"
                             : "250-t\r\n250 STARTTLS\r\n";
    if (bytes_is(line, "STARTTLS\r\n")) {
        w->is_secured = true;
        return "220 go\r\n";
    }
    if (bytes_is(line, "AUTH PLAIN " PLAIN "\r\n")) {
        w->is_let_in = true;
        return "235 welcome, " PLAIN "\r\n";
    }
    if (bytes_is(line, "QUIT\r\n"))
        return "221 bye\r\n";
    assert_true(w->is_let_in);
    if (bytes_is(line, "DATA\r\n")) {
        w->is_content = true;
        return "354 go\r\n";
    }
    if (bytes_start_with_nocase(line, "BDAT ")) {
        w->chunk = (size_t)(line.at[5] - '0');
        return "";
    }
    return "250 ok\r\n";
}

/* An honest one ends content at nothing but a dot between two whole line ends. */
static void hear_content(struct world *w, struct sim_peer *p)
{
    struct bytes heard = sim_received(p);
    const char end[] = "\r\n.\r\n";
    const uint8_t *at = memmem(heard.at, heard.len, end, strlen(end));
    size_t len = at == NULL ? 0 : (size_t)(at - heard.at) + strlen(end);

    if (bytes_is(heard, ".\r\n"))
        len = heard.len;
    if (len == 0)
        return;
    w->has_ending = memmem(heard.at, len, "\n.\n", 3) != NULL;
    sim_take(p, len);
    w->is_content = false;
    sim_send(p, bytes_of("250 taken\r\n"));
}

static void hear_chunk(struct world *w, struct sim_peer *p)
{
    struct bytes part = bytes_first(sim_received(p), w->chunk);

    sim_take(p, part.len);
    w->chunk -= part.len;
    if (w->chunk == 0)
        sim_send(p, bytes_of("250 chunk\r\n"));
}

static bool serve(struct world *w, struct sim_peer *p)
{
    struct bytes heard;
    size_t end;

    if (sim_peer_state(p) == SIM_PEER_ASKED) {
        sim_accept(p);
        sim_send(p, bytes_of("220 t\r\n"));
        return true;
    }
    if (sim_peer_state(p) != SIM_PEER_OPEN)
        return false;
    heard = sim_received(p);
    end = bytes_find(heard, '\n');
    if (w->is_content && heard.len != 0) {
        hear_content(w, p);
        return sim_received(p).len < heard.len;
    }
    if (w->chunk != 0 && heard.len != 0) {
        hear_chunk(w, p);
        return true;
    }
    if (end == heard.len) {
        if (sim_has_eof(p) || sim_was_reset(p))
            sim_close(p);
        return false;
    }
    const char *text = answer(w, bytes_first(heard, end + 1));
    sim_take(p, end + 1);
    sim_send(p, bytes_of(text));
    return true;
}

/* ---- the conversation ---- */

static void on_step(void *owner, const struct relay_talk_step *step)
{
    struct world *w = owner;

    assert_int_equal(w->overs, 0);
    w->failures += !step->is_good;
    if (step->said.len != 0)
        assert_null(memmem(step->said.at, step->said.len, "c2VzYW1l", 8));
}

static void on_secured(void *owner, const struct stream *stream, const struct tls_facts *facts,
                       uint64_t us)
{
    (void)owner;
    (void)stream;
    (void)facts;
    (void)us;
}

static void on_over(void *owner, const struct relay_talk_result *result)
{
    struct world *w = owner;

    w->overs++;
    w->result = *result;
}

static const struct relay_talk_events events = {
    .step = on_step, .secured = on_secured, .over = on_over};

static bool on_quiet(void *owner)
{
    static struct stream_target to;
    struct world *w = owner;
    struct sim_peer *p = sim_target(w->sim, 0);

    if (!w->is_begun) {
        w->is_begun = true;
        netaddr_parse_with_port(bytes_of("192.0.2.25"), 25, &to.address);
        if (relay_talk_new(&w->service, &w->conf, &to, w->job, &events, w) != NULL)
            return true;
        w->is_over = true;
        loop_stop(w->loop);
        return true;
    }
    if (p != NULL && serve(w, p))
        return true;
    if (w->overs == 0 || w->is_over)
        return false;
    w->is_over = true;
    loop_stop(w->loop);
    return true;
}

/* ---- what was found out ---- */

static bool make(struct world *w)
{
    static const struct log_sink sink = {.kind = LOG_TO_STDERR};
    int error;

    w->loop = loop_new();
    w->log = w->loop == NULL ? NULL : log_new(w->loop, &sink, 1, false, &error);
    if (w->log == NULL ||
        relay_conf_implicit(bytes_of("relay"), bytes_of("postern.test"), &w->arena, &w->conf) != 0)
        return false;
    w->service = (struct relay_service){.loop = w->loop, .log = w->log, .log_sinks = 1};
    w->conf.auth.user = bytes_of("joe");
    w->conf.auth.password.path = bytes_of("/password");
    w->conf.auth.password.text = bytes_of(PASSWORD);
    return true;
}

/* The target is honest, and takes mail. */
static bool is_true(const struct world *w)
{
    const struct relay_talk_result *r = &w->result;
    bool is_content = w->job->aim == RELAY_TALK_CHUNK || w->job->aim == RELAY_TALK_SMUGGLE;

    assert_false(r->is_smuggled || r->is_refused);
    assert_int_equal(r->is_good, w->failures == 0);
    if (r->is_good && !(r->is_greeted && r->is_answered && r->is_written == is_content))
        fail_msg("aim %d: all is good, but greeted %d, answered %d, written %d", w->job->aim,
                 r->is_greeted, r->is_answered, r->is_written);
    if (r->is_good && w->job->aim == RELAY_TALK_SMUGGLE)
        assert_true(w->has_ending);
    return r->is_good;
}

static bool run(void *given)
{
    struct world w = {.job = given, .sim = sim_new(1)};
    bool is_fine = false;

    sim_ask_targets(w.sim, true);
    sim_on_quiet(w.sim, on_quiet, &w);
    pool_init(&w.pool, 4096, 2);
    arena_init(&w.arena, &w.pool, SIZE_MAX);
    if (make(&w)) {
        loop_run(w.loop);
        is_fine = w.overs == 1 && is_true(&w);
    }
    log_free(&w.log);
    loop_free(&w.loop);
    arena_reset(&w.arena);
    pool_done(&w.pool);
    sim_free(&w.sim);
    return is_fine;
}

static void test_no_memory(void **state)
{
    static const enum relay_talk_aim aims[] = {RELAY_TALK_ENVELOPE, RELAY_TALK_PIPELINE,
                                               RELAY_TALK_CHUNK, RELAY_TALK_SMUGGLE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(aims); i++) {
        struct relay_talk_job job = {.aim = aims[i],
                                     .ending = bytes_of("\n.\n"),
                                     .to = {.local = bytes_of("a"), .domain = bytes_of("to.test")}};
        assert_true(lib_fail_each_allocation(run, &job) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
