/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages that a filter has quarantined, or an operator holds: what operators see of them, and
 * what they may do. */
/* needs: tests/unit/queue_world.c shell proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c sim */
#include <stdio.h>

#include "tests/unit/queue_world.h"

static const char config[] = "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\n"
                             "[maildir \"box\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
                             "[route]\n@box.test box\n";

#define HEADER "Subject: one\r\n"
#define BODY   "\r\nhello\r\n"

static const struct view edited = {
    {(const uint8_t *)"Subject: two\r\n", 14}, 0, sizeof(HEADER) - 1, sizeof(HEADER BODY) - 1};

static const struct queue_message held = {.id = "06H4TZ0BC00F3X04",
                                          .from = "ann@elsewhere.test",
                                          .to = "joe@box.test",
                                          .target = "box",
                                          .body = HEADER BODY,
                                          .view = &edited,
                                          .reason = "Eicar test"};

static bool is_in(struct queue_world *w, const char *folder)
{
    struct bytes octets;
    char path[100];

    snprintf(path, sizeof(path), "/spool/%s/%s", folder, held.id);
    return sim_file(w->sim, path, &octets);
}

static const char *delivered(struct queue_world *w)
{
    return sim_file_below(w->sim, "/mail", 0);
}

static void is_shown(void **state)
{
    static struct queue_world w;
    struct queue_message m = held;

    (void)state;
    m.held_ms = 7200 * 1000;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &m);
    assert_true(queue_world_play(
        &w, (const char *const[]){"wait 1", "ask queue", "ask show 06H4TZ0BC00F3X04",
                                  "ask cat 06H4TZ0BC00F3X04", "wait 86400", "stop", NULL}));
    const char *line = strstr(w.seen.at, " 06H4TZ0BC00F3X04  quarantined  box ");
    assert_non_null(line);
    assert_non_null(strstr(line, "Eicar test\n"));
    assert_non_null(strstr(w.seen.at, " held:       yes\n held_by:    filter\n held_since: 20"));
    assert_non_null(strstr(w.seen.at, " reason:     Eicar test\n"));
    assert_non_null(strstr(w.seen.at, " Subject: two\r\n \r\n hello\r\n"));
    assert_null(delivered(&w));
    assert_true(is_in(&w, "hold"));
    queue_world_end(&w);
}

/* Then it is the operator's, who still reads why. */
static void may_be_held_by_an_operator(void **state)
{
    static struct queue_world w;

    (void)state;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &held);
    assert_true(queue_world_play(&w, (const char *const[]){"wait 1", "ask hold 06H4TZ0BC00F3X04",
                                                           "ask queue", "ask show 06H4TZ0BC00F3X04",
                                                           "wait 1", "stop", NULL}));
    assert_non_null(strstr(w.seen.at, " 06H4TZ0BC00F3X04  held         box "));
    assert_non_null(strstr(w.seen.at, " held_by:    operator\n"));
    assert_non_null(strstr(w.seen.at, " reason:     Eicar test\n"));
    queue_world_end(&w);
}

static void is_released_as_it_was_edited(void **state)
{
    static struct queue_world w;
    struct bytes file;

    (void)state;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &held);
    assert_true(queue_world_play(&w, (const char *const[]){"wait 1", "ask release 06H4TZ0BC00F3X04",
                                                           "wait 100", "stop", NULL}));
    assert_non_null(delivered(&w));
    assert_true(sim_file(w.sim, delivered(&w), &file));
    assert_non_null(memmem(file.at, file.len, "\nSubject: two\n\nhello\n", 21));
    assert_null(memmem(file.at, file.len, "Subject: one", 12));
    assert_false(is_in(&w, "hold"));
    queue_world_end(&w);
}

static void is_deleted(void **state)
{
    static struct queue_world w;

    (void)state;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &held);
    assert_true(queue_world_play(&w, (const char *const[]){"wait 1", "ask delete 06H4TZ0BC00F3X04",
                                                           "wait 100", "ask queue", "stop", NULL}));
    assert_null(strstr(strchr(w.seen.at, '.'), held.id));
    assert_null(delivered(&w));
    assert_false(is_in(&w, "hold"));
    queue_world_end(&w);
}

/* Wherever its file lies: the record counts. */
static void is_not_delivered_from_the_queue(void **state)
{
    static struct queue_world w;
    struct queue_message m = held;

    (void)state;
    m.is_misplaced = true;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &m);
    assert_true(is_in(&w, "queue/000001"));
    assert_true(queue_world_play(&w, (const char *const[]){"wait 1000", "stop", NULL}));
    assert_null(delivered(&w));
    assert_true(is_in(&w, "hold"));
    assert_false(is_in(&w, "queue/000001"));
    queue_world_end(&w);
}

/* The disk cuts it short between the record and the move. Where the message lies says in the end
 * what the record says, whatever is asked of it meanwhile. */
static void is_held_in_the_end(void **state)
{
    static const char config_down[] = "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\n"
                                      "[relay \"a\"]\naddress = 198.51.100.1:25\n"
                                      "[route]\n@a.test a\n";
    static struct queue_world w;
    const struct queue_message m = {
        .id = held.id, .from = held.from, .to = "joe@a.test", .target = "a", .body = held.body};

    (void)state;
    queue_world_begin(&w, 1, config_down);
    queue_world_put(&w, &m);
    assert_true(queue_world_play(
        &w, (const char *const[]){"wait 1", "spoil /spool/hold", "ask hold 06H4TZ0BC00F3X04",
                                  "ask reroute 06H4TZ0BC00F3X04", "wait 1", "heal /spool/hold",
                                  "wait 60", "stop", NULL}));
    assert_non_null(strstr(w.seen.at, " 06H4TZ0BC00F3X04: Input/output error\n"));
    assert_true(is_in(&w, "hold"));
    assert_false(is_in(&w, "queue/000001"));
    queue_world_end(&w);
}

/* ---- time ---- */

#define DAY_MS INT64_C(86400000)

static const struct {
    const char *name;
    int64_t held_ms;
    const char *steps[6];
    bool stays;
} lives[] = {
    {"its time is over at the start", 31 * DAY_MS, {"wait 10"}, false},
    {"... or passes", 29 * DAY_MS, {"wait 80000"}, true},
    {"", 29 * DAY_MS, {"wait 87000"}, false},
    {"the clock is set ahead", 0, {"jump 8640000", "wait 100000"}, true},
    {"the hold lies in the future, since the clock was set back",
     -100 * DAY_MS,
     {"wait 2500000"},
     true},
    {"", -100 * DAY_MS, {"wait 2600000"}, false},
    {"an operator holds it", 29 * DAY_MS, {"ask hold 06H4TZ0BC00F3X04", "wait 9000000"}, true},
};

static void expires(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(lives); i++) {
        static struct queue_world w;
        struct queue_message m = held;
        const char *steps[10] = {"wait 1"};
        size_t count = 1;

        m.held_ms = lives[i].held_ms;
        for (; lives[i].steps[count - 1] != NULL; count++)
            steps[count] = lives[i].steps[count - 1];
        steps[count] = "stop";
        queue_world_begin(&w, 1, config);
        queue_world_put(&w, &m);
        assert_true(queue_world_play(&w, steps));
        lib_is_true(i, lives[i].name, is_in(&w, "hold") == lives[i].stays);
        lib_is_true(i, "a line",
                    queue_world_has_logged(
                        &w, "expired transaction=06H4TZ0BC00F3X04 by=quarantine-expire nrcpt=1 "
                            "reason=\"Eicar test\"\n") == !lives[i].stays);
        lib_is_true(i, "nothing delivered", delivered(&w) == NULL);
        queue_world_end(&w);
    }
    lib_end_rows();
}

/* A disk that takes no removal now: it is tried again. */
static void expires_in_the_end(void **state)
{
    static struct queue_world w;
    struct queue_message m = held;

    (void)state;
    m.held_ms = 29 * DAY_MS;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &m);
    assert_true(
        queue_world_play(&w, (const char *const[]){"wait 80000", "spoil /spool/hold", "wait 10000",
                                                   "heal /spool/hold", "wait 1000", "stop", NULL}));
    assert_false(is_in(&w, "hold"));
    queue_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_shown),
        cmocka_unit_test(may_be_held_by_an_operator),
        cmocka_unit_test(is_released_as_it_was_edited),
        cmocka_unit_test(is_deleted),
        cmocka_unit_test(is_not_delivered_from_the_queue),
        cmocka_unit_test(is_held_in_the_end),
        cmocka_unit_test(expires),
        cmocka_unit_test(expires_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
