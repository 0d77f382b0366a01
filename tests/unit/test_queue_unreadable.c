/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages of the queue whose body cannot be read any more, while nothing can be recorded without
 * it: a sync of their file has failed, and a new file would need the body. */
/* needs: tests/unit/queue_world.c shell proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c sim */
#include <errno.h>

#include "proxy/io/disk.h"
#include "tests/unit/queue_world.h"

#define HOURS_MS(n) ((n)*INT64_C(3600000))
#define REPORT      " report="
#define ID          "06H4TZ0BC00F3X04"
#define SYNCS       20 /* until all is written */
#define FILE_PATH   "/spool/queue/000001/" ID

/* Nobody listens there. */
static const char config[] = "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\n"
                             "[relay \"a\"]\naddress = 198.51.100.1:25\nexpire = 1h\n"
                             "[relay \"b\"]\naddress = 198.51.100.2:25\nexpire = 3h\n"
                             "[route]\n@a.test a\n";

/* The time of its first recipient is over. */
static const struct queue_message message = {.id = ID,
                                             .from = "ann@a.test",
                                             .to = "joe@a.test",
                                             .target = "a",
                                             .also = "b",
                                             .arrived_ms = HOURS_MS(2),
                                             .body = "Subject: one\r\n\r\nhello\r\n"};

static void begin(struct queue_world *w)
{
    queue_world_begin(w, 1, config);
    queue_world_put(w, &message);
    assert_true(sim_disk_lose(w->sim, FILE_PATH, SPOOL_HEAD_BYTES, SPOOL_HEAD_BYTES + 1));
}

static bool is_there(struct queue_world *w)
{
    struct bytes octets;

    return sim_file(w->sim, FILE_PATH, &octets);
}

static int distrust(void *owner)
{
    int fd = disk_open_append(FILE_PATH), error = disk_mark(fd, DISK_MARK_UNSYNCED);

    (void)owner;
    disk_close(fd);
    return error;
}

/* The report that the first line names, and all others, as far as the log goes. */
static bool names_one_report(struct queue_world *w)
{
    struct bytes log = sim_log(w->sim);
    const uint8_t *first = memmem(log.at, log.len, REPORT, strlen(REPORT)), *at = first;
    bool is_one = first != NULL;

    while (is_one && at != NULL) {
        is_one = memcmp(at, first, strlen(REPORT ID)) == 0;
        log = bytes_skip(log, (size_t)(at + 1 - log.at));
        at = memmem(log.at, log.len, REPORT, strlen(REPORT));
    }
    return is_one;
}

/* Nobody is told before the time of all is over, since every restart would tell him again; then one
 * report tells of all. */
static void returns_all_at_once(void **state)
{
    static struct queue_world w;
    int code;

    (void)state;
    begin(&w);
    assert_true(sim_process(w.sim, distrust, NULL, &code));
    assert_int_equal(code, 0);
    assert_true(queue_world_play(&w, (const char *const[]){"wait 900", "stop", NULL}));
    assert_int_equal(queue_world_count_logged(&w, "\nexpired "), 0);
    assert_true(is_there(&w));
    assert_true(queue_world_play(&w, (const char *const[]){"wait 3000", "stop", NULL}));
    assert_int_equal(queue_world_count_logged(&w, "\nexpired transaction=" ID), 2);
    assert_false(is_there(&w));
    assert_true(names_one_report(&w));
    queue_world_end(&w);
}

/* The report on its first recipient is made, and a sync fails that would record it. */
static void returns_the_rest(void **state)
{
    static const char *const steps[] = {"wait 900", "fail 0", "wait 4000", "stop", NULL};
    unsigned played = 0;

    (void)state;
    for (unsigned nth = 1; nth <= SYNCS; nth++) {
        static struct queue_world w;

        begin(&w);
        sim_disk_fail(w.sim, SIM_DISK_SYNC, nth, -EIO);
        if (queue_world_play(&w, steps)) { /* else it cannot start */
            played++;
            lib_is_true(nth, "it is gone", !is_there(&w));
            lib_same_number(nth, "told", 2,
                            queue_world_count_logged(&w, "\nexpired transaction=" ID));
        }
        queue_world_end(&w);
    }
    lib_end_rows();
    assert_true(played > SYNCS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_all_at_once),
        cmocka_unit_test(returns_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
