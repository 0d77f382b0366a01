/* SPDX-License-Identifier: BSD-2-Clause */
/* What is remembered of targets, and when the file is written, on the simulated disk. */
/* needs: sim route/relay/relay_announced.c route/relay/relay_facts.c route/relay/relay_memory.c */
#include "route/relay/relay_memory.h"

#include <errno.h>
#include <stdio.h>

#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#include "proxy/base/error.h"
#include "proxy/io/disk.h"

#define TARGET bytes_of("t")

struct bench {
    struct sim *sim;
    struct loop *loop;
    struct log *log;
    struct relay_memory *memory;
    struct arena mail;
    size_t at; /* of the steps */
    bool is_alone;
    struct lib_text told;
};

static bool on_learnt(void *owner, struct bytes line)
{
    struct bench *b = owner;
    if (b->is_alone)
        return false;
    lib_put(&b->told, "%.*s; ", (int)line.len, (const char *)line.at);
    return true;
}

static const struct relay_memory_events events = {.learnt = on_learnt};

static struct reply reply_of(const char *wire, int a, int b, int c)
{
    struct reply reply = {
        .code = (uint16_t)((wire[0] - '0') * 100 + (wire[1] - '0') * 10 + wire[2] - '0'),
        .enhanced = {(uint8_t)a, (uint8_t)b, (uint8_t)c},
        .wire = bytes_of(wire)};
    return reply;
}

static struct address address_of(const char *local)
{
    return (struct address){.local = bytes_of(local), .domain = bytes_of("Example.TEST")};
}

static void note(struct bench *b, const char *local, bool names_domain, const char *wire, int x,
                 int y, int z)
{
    struct address rcpt = address_of(local);
    struct reply reply = reply_of(wire, x, y, z);
    relay_memory_note(b->memory, TARGET, &rcpt, names_domain, &reply);
}

/* "nothing", "accepted", or the words. */
static void same_recall(struct bench *b, size_t row, const char *local, const char *expected)
{
    struct address rcpt = address_of(local);
    struct reply reply = {.wire = bytes_of("")};
    struct bytes got = bytes_of("nothing");
    enum relay_recall recall = relay_memory_recall(b->memory, TARGET, &rcpt, &b->mail, &reply);
    if (recall == RELAY_RECALL_ACCEPTED)
        got = bytes_of("accepted");
    else if (recall == RELAY_RECALL_REFUSED)
        got = reply.wire;
    lib_same_bytes(row, local, bytes_of(expected), got);
}

static void same_file(struct bench *b, size_t row, const char *expected)
{
    struct bytes octets = bytes_of("(none)");
    sim_file(b->sim, "/spool/targets", &octets);
    lib_same_bytes(row, "file", bytes_of(expected), octets);
}

/* ---- a process ---- */

static void start(struct bench *b, bool writes)
{
    int error = 0;
    b->at = 0;
    b->loop = loop_new();
    assert_non_null(b->loop);
    b->log = log_new(b->loop, &(struct log_sink){.kind = LOG_TO_STDERR}, 1, false, &error);
    arena_init(&b->mail, &loop_pools(b->loop)->small, SIZE_MAX);
    b->memory = relay_memory_new(b->loop, b->log, 1, bytes_of("/spool"), writes, &error);
    assert_non_null(b->memory);
    relay_memory_tell(b->memory, &events, b);
}

static void end(struct bench *b)
{
    relay_memory_free(&b->memory);
    arena_reset(&b->mail);
    log_free(&b->log);
    loop_free(&b->loop);
}

/* Runs it until `step` says that it is over. */
static void run(struct bench *b, bool (*step)(void *owner))
{
    sim_on_quiet(b->sim, step, b);
    loop_run(b->loop);
    sim_on_quiet(b->sim, NULL, NULL);
}

static bool stop(struct bench *b)
{
    relay_memory_close(b->memory);
    loop_stop(b->loop);
    return true;
}

static struct bench *bench_new(void)
{
    static struct bench b;
    b = (struct bench){.sim = sim_new(1)};
    disk_make_directories("/spool");
    return &b;
}

/* ---- tests ---- */

/* What is kept of an answer, and what of that an outage recalls. */
static const struct {
    const char *local;
    bool names_domain;
    const char *wire;
    int enhanced[3];
    const char *recalled;
} answers[] = {
    {"a", true, "250 2.1.5 Ok\r\n", {2, 1, 5}, "accepted"},
    {"b", true, "251 gone elsewhere\r\n", {0, 0, 0}, "accepted"},
    {"c", false, "250 2.1.5 Ok\r\n", {2, 1, 5}, "nothing"},
    {"d", false, "550 5.1.1 who?\r\n", {5, 1, 1}, "550 5.1.1 who?\r\n"},
    {"e",
     true,
     "550-5.1.2 no\r\n550 5.1.2 host\r\n",
     {5, 1, 2},
     "550-5.1.2 no\r\n550 5.1.2 host\r\n"},
    {"f", true, "553 5.1.6 moved\r\n", {5, 1, 6}, "553 5.1.6 moved\r\n"},
    {"g", true, "556 5.1.10 null MX\r\n", {5, 1, 10}, "556 5.1.10 null MX\r\n"},
    {"h", true, "550 5.2.1 disabled\r\n", {5, 2, 1}, "550 5.2.1 disabled\r\n"},
    /* of the client, the sender, the message, the moment: never */
    {"i", true, "550 5.7.1 not you\r\n", {5, 7, 1}, "nothing"},
    {"j", true, "550 5.1.7 sender\r\n", {5, 1, 7}, "nothing"},
    {"k", true, "550 5.1.8 sender\r\n", {5, 1, 8}, "nothing"},
    {"l", true, "450 4.1.1 later\r\n", {4, 1, 1}, "nothing"},
    {"m", true, "550 who?\r\n", {0, 0, 0}, "nothing"},
    {"n", true, "501 5.1.1 odd\r\n", {5, 1, 1}, "nothing"},
    {"o", true, "550 5.2.2 full\r\n", {5, 2, 2}, "nothing"},
    /* again: only what counts replaces */
    {"a", true, "450 4.2.0 later\r\n", {4, 2, 0}, "accepted"},
    {"a", true, "550 5.7.1 not you\r\n", {5, 7, 1}, "accepted"},
    {"a", true, "550 5.1.1 gone\r\n", {5, 1, 1}, "550 5.1.1 gone\r\n"},
    {"d", true, "250 Ok\r\n", {0, 0, 0}, "accepted"},
    {"h", false, "250 Ok\r\n", {0, 0, 0}, "nothing"},
    {"A", true, "451 4.0.0 never heard of\r\n", {4, 0, 0}, "nothing"},
};

static bool note_all(void *owner)
{
    struct bench *b = owner;
    if (b->at++ > 0)
        return stop(b);
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        const int *e = answers[i].enhanced;
        note(b, answers[i].local, answers[i].names_domain, answers[i].wire, e[0], e[1], e[2]);
        same_recall(b, i, answers[i].local, answers[i].recalled);
    }
    return true;
}

static bool recall_all(void *owner)
{
    struct bench *b = owner;
    same_recall(b, 100, "a", "550 5.1.1 gone\r\n");
    same_recall(b, 100, "b", "accepted");
    same_recall(b, 100, "d", "accepted");
    same_recall(b, 100, "e", "550-5.1.2 no\r\n550 5.1.2 host\r\n");
    same_recall(b, 100, "h", "nothing");
    return stop(b);
}

static void test_answers(void **state)
{
    struct bench *b = bench_new();
    (void)state;
    start(b, true);
    run(b, note_all);
    end(b);
    start(b, true); /* it is all still known */
    run(b, recall_all);
    end(b);
    sim_free(&b->sim);
    lib_end_rows();
}

/* The file is written soon after the first news, then once a second at most. */
static bool write_slowly(void *owner)
{
    struct bench *b = owner;
    switch (b->at++) {
    case 0:
        same_file(b, 0, "(none)");
        note(b, "a", true, "250 Ok\r\n", 0, 0, 0);
        return true;
    case 1:
        lib_is_true(1, "written at once",
                    sim_file(b->sim, "/spool/targets", &(struct bytes){.len = 0}));
        note(b, "b", true, "250 Ok\r\n", 0, 0, 0);
        return true;
    case 2: {
        struct bytes octets = bytes_of("");
        sim_file(b->sim, "/spool/targets", &octets);
        lib_is_true(2, "not twice in a second", memmem(octets.at, octets.len, "b@", 2) == NULL);
        relay_memory_note_xclient(b->memory, TARGET);
        return true;
    }
    case 3: {
        struct bytes octets = bytes_of("");
        sim_file(b->sim, "/spool/targets", &octets);
        lib_is_true(3, "but XCLIENT at once",
                    memmem(octets.at, octets.len, "t xclient\n", 10) == octets.at);
        note(b, "c", true, "250 Ok\r\n", 0, 0, 0);
        sim_wait(b->sim, 3000);
        return true;
    }
    case 4: {
        struct bytes octets = bytes_of("");
        sim_file(b->sim, "/spool/targets", &octets);
        lib_is_true(4, "later", memmem(octets.at, octets.len, "c@", 2) != NULL);
        note(b, "d", true, "250 Ok\r\n", 0, 0, 0);
        note(b, "d", true, "250 Ok\r\n", 0, 0, 0);
        return true;
    }
    }
    return stop(b);
}

static bool has_xclient(struct bench *b, struct bytes target)
{
    const struct relay_remember how = {
        .accepted_ms = 86400000, .refused_ms = 3600000, .count = 100000};
    const struct relay_facts_target *t = relay_memory_limit(b->memory, target, &how);

    return t != NULL && t->has_xclient;
}

static bool see_d(void *owner)
{
    struct bench *b = owner;
    same_recall(b, 9, "d", "accepted");
    lib_is_true(9, "xclient", has_xclient(b, TARGET));
    lib_is_true(9, "of no other", !has_xclient(b, bytes_of("u")));
    return stop(b);
}

static void test_writing(void **state)
{
    struct bench *b = bench_new();
    (void)state;
    start(b, true);
    run(b, write_slowly);
    end(b);
    start(b, true);
    run(b, see_d);
    end(b);
    sim_free(&b->sim);
    lib_end_rows();
}

/* What one process learns it tells; what it hears it does not tell on, and the one that keeps the
 * file writes both. */
static bool talk(void *owner)
{
    struct bench *b = owner;
    switch (b->at++) {
    case 0:
        note(b, "a", true, "250 Ok\r\n", 0, 0, 0);
        relay_memory_hear(b->memory, bytes_of("refused 1 t x@example.test 550+205.1.1+20no+0D+0A"));
        relay_memory_hear(b->memory, bytes_of("t xclient"));
        relay_memory_hear(b->memory, bytes_of("nonsense"));
        return true;
    }
    lib_is_true(0, "heard", has_xclient(b, TARGET));
    size_t len = b->told.len;
    relay_memory_tell_recent(b->memory, on_learnt, b); /* x's refusal is of long ago */
    lib_is_true(1, "recent", strncmp(b->told.at + len, "t xclient; ", 11) == 0);
    lib_same_bytes(2, "recent", bytes_make((const uint8_t *)b->told.at, len),
                   bytes_of(b->told.at + len + 11));
    b->told.at[len] = '\0';
    return stop(b);
}

static void test_others(void **state)
{
    struct bench *b = bench_new();
    char expected[100];
    (void)state;
    for (int writes = 0; writes < 2; writes++) {
        start(b, writes == 1);
        b->told.len = 0;
        long long now_s = (long long)(sim_wall_ms(b->sim) / 1000);
        snprintf(expected, sizeof expected, "accepted %lld t a@example.test; ", now_s);
        run(b, talk);
        lib_same_text((size_t)writes, "told", expected, b->told.at);
        if (writes == 0)
            same_file(b, 0, "(none)");
        else
            lib_is_true(1, "a file", sim_file(b->sim, "/spool/targets", &(struct bytes){.len = 0}));
        end(b);
    }
    sim_free(&b->sim);
    lib_end_rows();
}

/* Nobody is there to be told: it comes again, once. */
static bool talk_to_nobody(void *owner)
{
    struct bench *b = owner;
    switch (b->at++) {
    case 0:
        b->is_alone = true;
        note(b, "a", true, "250 Ok\r\n", 0, 0, 0);
        note(b, "b", true, "250 Ok\r\n", 0, 0, 0);
        note(b, "b", true, "550 5.1.1 gone\r\n", 5, 1, 1);
        relay_memory_note_xclient(b->memory, TARGET);
        sim_wait(b->sim, 5000);
        return true;
    case 1:
        lib_same_text(0, "told", "", b->told.at);
        b->is_alone = false;
        sim_wait(b->sim, 2000);
        return true;
    case 2:
        lib_is_true(1, "XCLIENT", strstr(b->told.at, "t xclient; accepted ") == b->told.at);
        lib_is_true(1, "a", strstr(b->told.at, " t a@example.test; refused ") != NULL);
        lib_is_true(1, "b", strstr(b->told.at, " t b@example.test 550+205.1.1+20gone") != NULL);
        lib_is_true(1, "b is not two", strstr(b->told.at, "t b@example.test; ") == NULL);
        b->told = (struct lib_text){.len = 0};
        sim_wait(b->sim, 5000);
        return true;
    }
    lib_same_text(2, "told", "", b->told.at);
    return stop(b);
}

static void test_nobody(void **state)
{
    struct bench *b = bench_new();
    (void)state;
    start(b, false);
    run(b, talk_to_nobody);
    end(b);
    sim_free(&b->sim);
    lib_end_rows();
}

/* A disk that fails is told once, and tried again after a while. */
static bool fail_once(void *owner)
{
    struct bench *b = owner;
    struct bytes log = sim_log(b->sim);
    switch (b->at++) {
    case 0:
        sim_disk_fail(b->sim, SIM_DISK_SYNC, 1, -EIO);
        note(b, "a", true, "250 Ok\r\n", 0, 0, 0);
        return true;
    case 1:
        lib_is_true(1, "logged",
                    log.len != 0 && memmem(log.at, log.len, "targets-not-written", 19) != NULL);
        sim_forget_log(b->sim);
        sim_disk_fail(b->sim, SIM_DISK_SYNC, 1, 0);
        note(b, "b", true, "250 Ok\r\n", 0, 0, 0);
        sim_wait(b->sim, 50000);
        return true;
    case 2:
        same_file(b, 2, "(none)");
        sim_wait(b->sim, 20000);
        return true;
    case 3:
        lib_is_true(3, "there", sim_file(b->sim, "/spool/targets", &(struct bytes){.len = 0}));
        lib_is_true(3, "silent", log.len == 0);
        return stop(b);
    }
    return stop(b);
}

static void test_bad_disk(void **state)
{
    struct bench *b = bench_new();
    (void)state;
    start(b, true);
    run(b, fail_once);
    end(b);
    sim_free(&b->sim);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),  cmocka_unit_test(test_writing),
        cmocka_unit_test(test_others),   cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_bad_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
