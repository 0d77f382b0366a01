/* SPDX-License-Identifier: BSD-2-Clause */
/* A report is durable before its cause says so: the disk fails, the process dies, the power is cut
 * at each call, and there is one report in the end. */
/* needs: tests/unit/report_world.c spool/runner_report.c spool/store.c spool/store_list.c */
/* needs: spool/store_message.c spool/store_commit.c spool/store_draft.c spool/store_rewrite.c */
/* needs: spool/runner_shown.c spool/spool_index.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include "spool/runner_report.h"

#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/io/disk.h"
#include "route/relay/relay_conf.h"
#include "tests/sim/sim.h"
#include "tests/unit/report_world.h"

static int make(struct report_world *w, int fd, const struct store_place *cause,
                const struct spool_message *message, struct store_place *place_out)
{
    static const bool is_due[] = {true};
    struct runner_report report = {.store = w->store,
                                   .conf = &w->conf,
                                   .relay = bytes_of("bounces"),
                                   .message = message,
                                   .fd = fd,
                                   .kind = BOUNCE_FAILED,
                                   .is_due = is_due,
                                   .now_ms = 1795318061000,
                                   .place = *cause};
    int error = runner_report_make(&report);

    if (error == 0) {
        assert_int_equal(report.result, BOUNCE_MADE);
        *place_out = report.place;
    }
    return error;
}

static void record(struct report_world *w, int fd, const struct spool_message *message)
{
    struct spool_writer writer = {.id = message->head.id, .at = message->records_end};
    struct buf records;

    buf_init(&records, &w->pool, 1000);
    writer.out = &records;
    spool_put_reported(&writer, 0);
    assert_int_equal(store_append(fd, message->records_end, buf_bytes(&records)), 0);
    buf_done(&records);
}

/* ---- what is made ---- */

static bool see(void *owner, const struct store_found *found)
{
    assert_null(found->stray);
    lib_put(owner, "%s %u\n", found->place.id.text, (unsigned)found->place.directory);
    return true;
}

static void check_report(struct report_world *w, const struct store_place *place)
{
    struct spool_message report;
    uint8_t body[4096];
    int fd = report_world_take(w, place, &report);

    assert_true(report.is_report && address_is_null(&report.envelope.from));
    assert_int_equal(report.recipients[0].identity, IDENTITY_KIND_NONE);
    assert_int_equal(report.recipient_count, 1);
    assert_true(bytes_is(report.recipients[0].to.local, "ann"));
    assert_true(bytes_is(report.recipients[0].target, "bounces"));
    assert_int_equal(report.recipients[0].fate, FATE_OPEN);
    assert_true(report.head.body_bytes < sizeof(body));
    assert_int_equal(disk_read_at(fd, SPOOL_HEAD_BYTES, body, report.head.body_bytes), 0);
    assert_non_null(
        memmem(body, report.head.body_bytes, REPORT_WORLD_TEXT, strlen(REPORT_WORLD_TEXT)));
    disk_close(fd);
}

/* A message that was refused and is taken, in a world of its own. */
struct cause {
    struct sim *sim;
    struct report_world w;
    struct store_place place;
    struct spool_message message;
    int fd;
};

static void begin(struct cause *c, uint64_t seed)
{
    c->sim = sim_new(seed);
    report_world_begin(&c->w);
    report_world_put(&c->w, &c->place);
    c->fd = report_world_take(&c->w, &c->place, &c->message);
}

static int make_of(struct cause *c, struct store_place *place_out)
{
    return make(&c->w, c->fd, &c->place, &c->message, place_out);
}

static void end(struct cause *c)
{
    disk_close(c->fd);
    assert_int_equal(sim_open_files(c->sim), 1); /* the store's */
    report_world_end(&c->w);
    sim_free(&c->sim);
}

static void test_made(void **state)
{
    static struct lib_text seen, again;
    struct store_place place, second;
    struct cause c;

    (void)state;
    begin(&c, 1);
    assert_int_equal(make_of(&c, &place), 0);
    assert_int_equal(place.directory, c.place.directory);
    check_report(&c.w, &place);
    assert_int_equal(store_list(c.w.store, see, &seen), 0);
    assert_int_equal(make_of(&c, &second), 0); /* is there already */
    assert_string_equal(second.id.text, place.id.text);
    assert_int_equal(store_list(c.w.store, see, &again), 0);
    assert_string_equal(again.at, seen.at);
    end(&c);
}

/* What the cause said of it was lost, and it is held. */
static void test_made_and_held(void **state)
{
    static struct lib_text seen, again;
    struct store_place place, held;
    struct cause c;

    (void)state;
    begin(&c, 1);
    assert_int_equal(make_of(&c, &place), 0);
    assert_int_equal(store_move(c.w.store, &place, STORE_HOLD, 0, &held), 0);
    assert_int_equal(store_list(c.w.store, see, &seen), 0);
    assert_int_equal(make_of(&c, &place), 0);
    assert_int_equal(place.folder, STORE_HOLD);
    assert_int_equal(store_list(c.w.store, see, &again), 0);
    assert_string_equal(again.at, seen.at);
    end(&c);
}

/* Nobody can be told: nothing is written. */
static void test_held(void **state)
{
    static const bool is_due[] = {true};
    struct runner_report report;
    struct cause c;

    (void)state;
    begin(&c, 1);
    c.w.conf.to = BOUNCE_TO_NONE;
    report = (struct runner_report){.store = c.w.store,
                                    .conf = &c.w.conf,
                                    .message = &c.message,
                                    .fd = c.fd,
                                    .kind = BOUNCE_FAILED,
                                    .is_due = is_due,
                                    .place = c.place};
    assert_int_equal(runner_report_make(&report), 0);
    assert_int_equal(report.result, BOUNCE_HELD);
    end(&c);
}

/* ---- the disk fails, memory is short ---- */

static bool try_with_failure(enum sim_disk_call call, uint64_t nth)
{
    static struct lib_text seen;
    struct store_place place;
    struct cause c;
    int error;

    begin(&c, nth);
    sim_disk_fail(c.sim, call, nth, -EIO);
    error = make_of(&c, &place);
    sim_disk_fail(c.sim, call, 0, 0);
    assert_true(error == 0 || error == -EIO);
    seen.len = 0;
    assert_int_equal(store_list(c.w.store, see, &seen), 0);
    assert_int_equal(seen.len, (error == 0 ? 2 : 1) * (ID_LENGTH + 3));
    assert_int_equal(make_of(&c, &place), 0);
    check_report(&c.w, &place);
    end(&c);
    return error == 0;
}

static void test_disk_trouble(void **state)
{
    (void)state;
    for (int call = 0; call < SIM_DISK_CALLS; call++) {
        uint64_t nth = 1;
        while (!try_with_failure((enum sim_disk_call)call, nth))
            nth++;
        lib_is_true((size_t)call, "it can fail", nth > 1 || call == SIM_DISK_READ);
    }
    lib_end_rows();
}

static bool make_with_failures(void *given)
{
    struct store_place place;
    int error = make_of(given, &place);

    assert_true(error == 0 || error == ERR_MEMORY || error == -ENOMEM);
    return error == 0;
}

static void test_no_memory(void **state)
{
    struct cause c;

    (void)state;
    begin(&c, 1);
    assert_true(lib_fail_each_allocation(make_with_failures, &c) > 3);
    end(&c);
}

/* ---- the process dies, the power is cut ---- */

/* Outlives the processes. */
struct told {
    struct store_place cause, place;
    bool has_cause, is_made;
};

static int live(void *owner)
{
    struct told *told = owner;
    struct spool_message message;
    struct report_world w;
    int fd;

    report_world_begin(&w);
    report_world_put(&w, &told->cause);
    told->has_cause = true;
    fd = report_world_take(&w, &told->cause, &message);
    assert_int_equal(make(&w, fd, &told->cause, &message, &told->place), 0);
    told->is_made = true;
    record(&w, fd, &message);
    disk_close(fd);
    return report_world_end(&w);
}

/* What the next process does with what it finds: what is said to be reported is there. */
static int resume(void *owner)
{
    static struct lib_text seen;
    struct told *told = owner;
    struct spool_message message;
    struct store_place place;
    struct report_world w;
    int fd;

    report_world_begin(&w);
    fd = report_world_take(&w, &told->cause, &message);
    if (!message.recipients[0].is_reported) {
        assert_int_equal(make(&w, fd, &told->cause, &message, &place), 0);
        if (told->is_made)
            assert_string_equal(place.id.text, told->place.id.text);
        told->place = place;
        told->is_made = true;
        record(&w, fd, &message);
    }
    disk_close(fd);
    check_report(&w, &told->place);
    seen.len = 0;
    assert_int_equal(store_list(w.store, see, &seen), 0);
    assert_int_equal(seen.len, 2 * (ID_LENGTH + 3)); /* the cause, and one report */
    return report_world_end(&w);
}

/* False: it came to its end before it could be killed. */
static bool die(uint64_t nth, uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    static struct told told;
    bool is_killed;
    int code;

    told = (struct told){.has_cause = false};
    sim_kill_at_call(sim, nth);
    is_killed = !sim_process(sim, live, &told, &code);
    if (seed % 2 == 0)
        sim_power_cut(sim);
    if (told.has_cause) {
        assert_true(sim_process(sim, resume, &told, &code));
        sim_power_cut(sim);
        assert_true(sim_process(sim, resume, &told, &code));
    }
    sim_free(&sim);
    return is_killed;
}

static void test_survives(void **state)
{
    uint64_t nth = 1;

    (void)state;
    for (bool is_killed = true; is_killed; nth++)
        for (uint64_t seed = 1; seed <= 12; seed++)
            is_killed = die(nth, seed);
    assert_true(nth > 20);
}

/* The directory cannot be synced, nor the name taken back; the second try goes well. */
static int live_in_trouble(void *owner)
{
    struct told *told = owner;
    struct sim *sim = sim_current();
    struct spool_message message;
    struct report_world w;
    int fd;

    report_world_begin(&w);
    report_world_put(&w, &told->cause);
    fd = report_world_take(&w, &told->cause, &message);
    sim_disk_fail(sim, SIM_DISK_SYNC, 2, -EIO);
    sim_disk_fail(sim, SIM_DISK_NAME, 2, -EIO);
    assert_int_equal(make(&w, fd, &told->cause, &message, &told->place), -EIO);
    sim_disk_fail(sim, SIM_DISK_SYNC, 0, 0);
    sim_disk_fail(sim, SIM_DISK_NAME, 0, 0);
    assert_int_equal(make(&w, fd, &told->cause, &message, &told->place), 0);
    told->is_made = true;
    record(&w, fd, &message);
    disk_close(fd);
    return report_world_end(&w);
}

static void test_no_trust_in_a_name(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct sim *sim = sim_new(seed);
        struct told told = {.has_cause = true};
        int code;

        assert_true(sim_process(sim, live_in_trouble, &told, &code));
        sim_power_cut(sim);
        assert_true(sim_process(sim, resume, &told, &code));
        sim_free(&sim);
    }
}

/* ---- the cause cannot be read ---- */

/* The report on it says so, and has nothing of it. */
static void check_without(struct report_world *w, int fd, const struct store_place *cause,
                          const struct spool_message *message)
{
    static const char words[] = "cannot be read any more";
    struct store_place place;
    struct spool_message report;
    uint8_t body[4096];

    assert_int_equal(make(w, fd, cause, message, &place), 0);
    disk_close(fd);
    sim_disk_fail(sim_current(), SIM_DISK_READ, 0, 0);
    fd = report_world_take(w, &place, &report);
    assert_true(report.head.body_bytes < sizeof(body));
    assert_int_equal(disk_read_at(fd, SPOOL_HEAD_BYTES, body, report.head.body_bytes), 0);
    assert_null(memmem(body, report.head.body_bytes, "Subject: hello", 14));
    assert_non_null(memmem(body, report.head.body_bytes, words, strlen(words)));
    disk_close(fd);
}

/* Something happens to the message after it was taken. */
static void report_after(void (*harm)(struct sim *sim))
{
    struct sim *sim = sim_new(1);
    struct spool_message message;
    struct store_place cause;
    struct report_world w;

    report_world_begin(&w);
    report_world_put(&w, &cause);
    int fd = report_world_take(&w, &cause, &message);
    harm(sim);
    check_without(&w, fd, &cause, &message);
    report_world_end(&w);
    sim_free(&sim);
}

static void fail_reads(struct sim *sim)
{
    sim_disk_fail(sim, SIM_DISK_READ, 1, -EIO);
}

static void test_unreadable(void **state)
{
    (void)state;
    report_after(fail_reads);
}

/* Of a damaged message nothing is returned, not even the part that is whole. */
static void flip_a_bit(struct sim *sim)
{
    assert_true(sim_file_flip(sim, sim_file_below(sim, "/spool/queue", 0),
                              8 * (SPOOL_HEAD_BYTES + strlen(REPORT_WORLD_TEXT) - 3)));
}

static void test_damaged(void **state)
{
    (void)state;
    report_after(flip_a_bit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made),
        cmocka_unit_test(test_made_and_held),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_disk_trouble),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_survives),
        cmocka_unit_test(test_no_trust_in_a_name),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
