/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue at work in a simulated world: what stands in the spool, what operators see of it, and
 * what time does to it. */
/* needs: tests/unit/queue_world.c shell proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c sim */
#include "tests/unit/queue_world.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"

static const char config[] = "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\n"
                             "[relay \"a\"]\naddress = 198.51.100.1:25\nretry = 5m 1h\n"
                             "[maildir \"box\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
                             "[route]\n@a.test a\n@box.test box\n";

static const struct queue_message first = {.id = "06H4TZ0BC00F3X04",
                                           .from = "ann@a.test",
                                           .to = "joe@a.test",
                                           .target = "a",
                                           .body = "Subject: one\r\n\r\nhello\r\n"};

/* ---- listing ---- */

static const char *const look[] = {"wait 1", "ask queue", "wait 100", "stop", NULL};

/* A file where a directory could be, and one among the messages: what lies behind them is found all
 * the same, and it is told. */
static void lists_past_strays(void **state)
{
    static struct queue_world w;
    struct queue_message second = first;

    (void)state;
    second.id = "06H4TZ0BC00F3X05";
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &first);
    queue_world_touch(&w, "/spool/queue/000001/x");
    queue_world_touch(&w, "/spool/queue/000002");
    queue_world_put(&w, &second);
    assert_true(queue_world_play(&w, look));
    assert_non_null(strstr(w.seen.at, first.id));
    assert_non_null(strstr(w.seen.at, second.id));
    assert_non_null(strstr(w.seen.at, "\n.65 "));
    assert_int_equal(queue_world_count_logged(&w, "queue-stray path=/spool/queue/000001/x\n"), 1);
    assert_int_equal(queue_world_count_logged(&w, "queue-stray path=/spool/queue/000002\n"), 1);
    queue_world_end(&w);
}

/* A directory and a file that are bad. */
static void lists_past_damage(void **state)
{
    static const char *const spoilt[] = {"/spool/queue/000001",
                                         "/spool/queue/000001/06H4TZ0BC00F3X04"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(spoilt); i++) {
        static struct queue_world w;
        struct queue_message second = first;

        second.id = "06H4TZ0BC00F3X05";
        queue_world_begin(&w, 1, config);
        queue_world_put(&w, &first);
        queue_world_put(&w, &second);
        assert_true(sim_disk_spoil(w.sim, spoilt[i], -EIO));
        assert_true(queue_world_play(&w, look));
        lib_is_true(i, "the good one is listed", strstr(w.seen.at, second.id) != NULL);
        lib_is_true(i, "the bad one is told", strstr(w.seen.at, "\n.65 ") != NULL);
        lib_same_number(i, "and logged once", 1,
                        queue_world_count_logged(&w, i == 0 ? "queue-not-read path="
                                                            : "queue-file transaction="));
        queue_world_end(&w);
    }
    lib_end_rows();
}

/* ---- what is said of them ---- */

/* It was returned, and the report cannot be written: nothing is to be tried at a target. */
static void tells_no_time_where_there_is_none(void **state)
{
    static struct queue_world w;

    (void)state;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &first);
    assert_true(queue_world_play(
        &w, (const char *const[]){"wait 1", "fail 2", "ask bounce 06H4TZ0BC00F3X04", "wait 5",
                                  "ask queue", "fail 0", "wait 100", "stop", NULL}));
    const char *line = strstr(w.seen.at, "\n 06H4TZ0BC00F3X04  waiting");
    char next[32] = "";
    assert_non_null(line);
    assert_int_equal(sscanf(line, "%*s waiting a %*s %31s", next), 1);
    assert_string_equal(next, "-");
    queue_world_end(&w);
}

/* ---- reports ---- */

static unsigned files_below(struct queue_world *w, const char *directory)
{
    unsigned count = 0;

    while (sim_file_below(w->sim, directory, count) != NULL)
        count++;
    return count;
}

/* A report on mail for a Maildir does not become a Maildir that is named by the sender. */
static void returns_nothing_into_maildirs(void **state)
{
    static const char table[] = "postmaster box\n";
    static struct queue_world w;
    struct queue_message m = first;
    char text[1000];

    (void)state;
    m.from = "ann@elsewhere.test";
    m.to = "joe@box.test";
    m.target = "box";
    m.fate = FATE_REFUSED;
    m.reply = "550 5.1.1 no";
    snprintf(text, sizeof(text), "%s%s", config, table);
    queue_world_begin(&w, 1, text);
    queue_world_put(&w, &m);
    assert_true(queue_world_play(&w, (const char *const[]){"wait 100", "stop", NULL}));
    assert_int_equal(files_below(&w, "/mail/elsewhere.test"), 0);
    assert_int_equal(files_below(&w, "/mail/mx.test/postmaster/new"), 1);
    assert_int_equal(files_below(&w, "/spool/hold"), 0);
    queue_world_end(&w);
}

/* ---- time ---- */

#define DAYS_MS(n) ((n)*INT64_C(86400000))

static const struct queue_message deferred = {.id = "06H4TZ0BC00F3X04",
                                              .from = "ann@a.test",
                                              .to = "joe@box.test",
                                              .target = "box",
                                              .body = "Subject: one\r\n\r\nhello\r\n",
                                              .fate = FATE_DEFERRED,
                                              .reply = "451 4.2.0 later",
                                              .tries = 1,
                                              .tried_ms = 1};

struct time_row {
    const char *what;
    const char *jump; /* while it waits */
    int64_t arrived_ms, tried_ms;
    const char *target;
    unsigned delivered, expired; /* within a retry or two */
};

static const struct time_row time_rows[] = {
    {"six days forward", "jump 518400", 1, 1, "box", 1, 0},
    {"six days back", "jump -518400", 1, 1, "box", 1, 0},
    {"set back while we were away", "wait 1", DAYS_MS(-6), DAYS_MS(-6), "box", 1, 0},
    {"a long stop of ours", "wait 1", DAYS_MS(6), DAYS_MS(6), "box", 1, 0},
    {"its last try was lately", "wait 1", DAYS_MS(6), 1, "box", 1, 0},
    {"a long stop, and nobody there", "wait 1", DAYS_MS(6), DAYS_MS(6), "a", 0, 1},
    {"forward, and nobody there", "jump 518400", 1, 1, "a", 0, 0},
};

/* Clocks may be set: nothing expires untried, and nothing waits for longer than a pause. */
static void keeps_its_own_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(time_rows); i++) {
        static struct queue_world w;
        const struct time_row *row = &time_rows[i];
        struct queue_message m = deferred;

        m.arrived_ms = row->arrived_ms;
        m.tried_ms = row->tried_ms;
        m.target = row->target;
        queue_world_begin(&w, 1, config);
        queue_world_put(&w, &m);
        assert_true(queue_world_play(
            &w, (const char *const[]){"wait 1", row->jump, "wait 400", "stop", NULL}));
        lib_same_number(i, row->what, row->delivered, queue_world_count_logged(&w, "\ndelivered "));
        lib_same_number(i, row->what, row->expired, queue_world_count_logged(&w, "\nexpired "));
        queue_world_end(&w);
    }
    lib_end_rows();
}

/* ---- what cannot be written ---- */

#define CONCURRENCY 4 /* of a target of which nothing is known */

static const char *const spoilt_later[] = {"wait 1",
                                           "spoil /spool/queue/000001",
                                           "spoil /spool/queue/000002",
                                           "spoil /spool/queue/000003",
                                           "spoil /spool/queue/000004",
                                           "go on",
                                           "wait 100",
                                           "ask queue",
                                           "heal /spool/queue/000001",
                                           "heal /spool/queue/000002",
                                           "heal /spool/queue/000003",
                                           "heal /spool/queue/000004",
                                           "wait 200",
                                           "stop",
                                           NULL};

/* As many messages as their target takes at once were delivered, and cannot be removed. The next
 * one gets its turn all the same, and they are removed when that is possible again. */
static void gives_way_to_others(void **state)
{
    static struct queue_world w;
    struct queue_message m = deferred;
    char id[ID_LENGTH + 1] = "06H4TZ0BC00F3X00";

    (void)state;
    m.fate = FATE_OPEN;
    m.tries = 0;
    m.tried_ms = 0;
    m.id = id;
    queue_world_begin(&w, 1, config);
    assert_int_equal(disk_make_directories("/mail"), 0);
    for (int i = 0; i <= CONCURRENCY; i++) {
        queue_world_put(&w, &m);
        id[ID_LENGTH - 1]++;
    }
    assert_true(sim_disk_hang(w.sim, "/mail"));
    assert_true(queue_world_play(&w, spoilt_later));
    assert_int_equal(files_below(&w, "/mail/box.test/joe/new"), CONCURRENCY + 1);
    assert_non_null(strstr(w.seen.at, "06H4TZ0BC00F3X03"));
    assert_null(strstr(w.seen.at, "06H4TZ0BC00F3X04"));
    assert_int_equal(queue_world_count_logged(&w, "\ndelivered "), CONCURRENCY + 1);
    assert_int_equal(files_below(&w, "/spool/queue"), 0);
    queue_world_end(&w);
}

#define STUCK           "06H4TZ0BC00F3X04"
#define STUCK_DIRECTORY "/spool/queue/000001"
#define STUCK_FILE      STUCK_DIRECTORY "/" STUCK

struct operator_row {
    const char *spoilt; /* while it was under way */
    const char *first, *then;
    const char *answer;
    bool is_there, is_stuck; /* afterwards */
};

static const struct operator_row operator_rows[] = {
    {"spoil " STUCK_FILE, "wait 1", "ask delete " STUCK, " deleted:    " STUCK, false, false},
    {"spoil " STUCK_DIRECTORY, "wait 1", "ask delete " STUCK, STUCK ": Input/output", true, true},
    {"spoil " STUCK_FILE, "wait 1", "ask hold " STUCK, STUCK ": Input/output", true, true},
    {"spoil " STUCK_FILE, "wait 1", "ask bounce " STUCK, STUCK ": Input/output", true, true},
    {"spoil " STUCK_FILE, "wait 1", "ask reroute " STUCK, STUCK ": Input/output", true, true},
    {"spoil " STUCK_FILE, "wait 1", "ask flush " STUCK, " flushed:    1\n", true, true},
    {"spoil " STUCK_FILE, "heal " STUCK_FILE, "ask flush " STUCK, "1\n", true, false},
    {"spoil " STUCK_FILE, "heal " STUCK_FILE, "ask flush --all", "1\n", true, false},
    {"spoil " STUCK_FILE, "heal " STUCK_FILE, "ask hold " STUCK, "Input/output", true, false},
};

/* One of its targets has it, and that cannot be written. An operator can delete it, and have it
 * written when the disk is well again; else he hears from the disk itself what is wrong. It is
 * delivered once. */
static void obeys_operators(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(operator_rows); i++) {
        static struct queue_world w;
        const struct operator_row *row = &operator_rows[i];
        struct queue_message m = first;

        m.target = "box";
        m.also = "a";
        queue_world_begin(&w, 1, config);
        assert_int_equal(disk_make_directories("/mail"), 0);
        queue_world_put(&w, &m);
        assert_true(sim_disk_hang(w.sim, "/mail"));
        assert_true(queue_world_play(
            &w, (const char *const[]){"wait 1", row->spoilt, "go on", "wait 100", row->first,
                                      row->then, "wait 5", "ask queue", "stop", NULL}));
        lib_is_true(i, row->answer, strstr(w.seen.at, row->answer) != NULL);
        lib_is_true(i, "it is stuck", (strstr(w.seen.at, " running ") != NULL) == row->is_stuck);
        lib_is_true(i, "it is there", (files_below(&w, "/spool") > 1) == row->is_there);
        lib_same_number(i, "deliveries", 1, files_below(&w, "/mail/a.test/joe/new"));
        lib_same_number(i, "... told", !row->is_stuck,
                        queue_world_count_logged(&w, "\ndelivered "));
        queue_world_end(&w);
    }
    lib_end_rows();
}

struct member_row {
    const char *first, *second; /* where the members of the list are */
    const char *then[2];
};

static const struct member_row member_rows[] = {
    {"a", "box", {"a", "box"}},   {"box", "a", {"box", "a"}},  {"box", NULL, {"box"}},
    {"a", "gone", {"a", "box"}},  {"gone", "a", {"box", "a"}}, {"gone", "gone", {"a", "box"}},
    {"box", "box", {"a", "box"}},
};

/* Of the nth recipient that posternctl has shown. */
static bool is_shown_at(struct queue_world *w, unsigned nth, const char *target)
{
    static const char to[] = "\n <joe@list.test> ";
    const char *at = w->seen.at - 1;
    char word[16] = "";

    for (unsigned i = 0; at != NULL && i <= nth; i++)
        at = strstr(at + 1, to);
    return at != NULL && sscanf(at + sizeof(to) - 1, "%15s", word) == 1 &&
           strcmp(word, target) == 0;
}

/* A list of one address at two targets: each member comes to another one. */
static void keeps_members_apart(void **state)
{
    static const char *const steps[] = {
        "wait 1", "ask reroute 06H4TZ0BC00F3X04", "ask show 06H4TZ0BC00F3X04", "wait 1", "stop",
        NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(member_rows); i++) {
        static struct queue_world w;
        const struct member_row *row = &member_rows[i];
        struct queue_message m = first;
        char text[1000];

        m.to = "joe@list.test";
        m.target = row->first;
        m.also = row->second;
        m.reason = "held, so that nobody tries it";
        snprintf(text, sizeof(text), "%s@list.test a, box\n", config);
        queue_world_begin(&w, 1, text);
        queue_world_put(&w, &m);
        assert_true(queue_world_play(&w, steps));
        for (unsigned n = 0; n < 2 && row->then[n] != NULL; n++)
            lib_is_true(i, row->then[n], is_shown_at(&w, n, row->then[n]));
        queue_world_end(&w);
    }
    lib_end_rows();
}

/* ---- death ---- */

/* Killed at any call of the disk. Where the Maildir has it twice in the end, the line that tells of
 * the second time says so; where the first life had not begun with it, nothing is said. False: the
 * first life came to its end. */
static bool delivers_after_death(uint64_t nth, unsigned *doubled)
{
    static struct queue_world w;
    struct queue_message m = deferred;

    m.fate = FATE_OPEN;
    m.tries = 0;
    m.tried_ms = 0;
    queue_world_begin(&w, nth, config);
    queue_world_put(&w, &m);
    sim_kill_at_call(w.sim, nth);
    bool has_ended = queue_world_play(&w, (const char *const[]){"wait 20", "stop", NULL});
    sim_kill_at_call(w.sim, 0);
    unsigned before = files_below(&w, "/mail/box.test/joe/new");
    sim_forget_log(w.sim);
    assert_true(queue_world_play(&w, (const char *const[]){"wait 20", "stop", NULL}));
    unsigned after = files_below(&w, "/mail/box.test/joe/new");
    bool is_told = queue_world_count_logged(&w, " duplicate=possible") != 0;
    lib_is_true(nth, "it arrives", after != 0);
    lib_is_true(nth, "twice, and that is told", after < 2 || is_told);
    lib_is_true(nth, "it had begun", !is_told || queue_world_has_logged(&w, "\nunclean "));
    *doubled += before == 1 && after == 2;
    queue_world_end(&w);
    return !has_ended;
}

static void tells_what_may_be_double(void **state)
{
    unsigned doubled = 0;
    uint64_t nth = 1;

    (void)state;
    while (delivers_after_death(nth, &doubled))
        nth++;
    lib_end_rows();
    assert_true(nth > 20 && doubled != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_past_strays),
        cmocka_unit_test(lists_past_damage),
        cmocka_unit_test(tells_no_time_where_there_is_none),
        cmocka_unit_test(returns_nothing_into_maildirs),
        cmocka_unit_test(keeps_its_own_time),
        cmocka_unit_test(gives_way_to_others),
        cmocka_unit_test(obeys_operators),
        cmocka_unit_test(keeps_members_apart),
        cmocka_unit_test(tells_what_may_be_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
