/* SPDX-License-Identifier: BSD-2-Clause */
/* The copy in a simulated world: readers at different places, files, limits that several share, and
 * what happens when something fails or ends in the middle. */
/* needs: tests/unit/copy_world.c proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include "proxy/io/copy.h"

#include <errno.h>

#include "tests/unit/copy_world.h"

static void is_read_at_any_place(void **state)
{
    struct copy_world f;
    struct owner *o = &f.owners[0];

    (void)state;
    copy_world_begin(&f, 1);
    assert_true(copy_world_new(&f, 0));
    for (int i = 0; i < 4; i++)
        copy_world_follow(&f, i, o);
    for (unsigned round = 0; round < 40; round++) {
        assert_true(copy_world_append_all(o, 30000));
        copy_world_read(&f.followers[0], UINT64_MAX);
        copy_world_read(&f.followers[1], 29999);
        copy_world_read(&f.followers[2], round % 10 == 9 ? UINT64_MAX : 1);
    }
    copy_finish(o->copy);
    assert_true(copy_is_finished(o->copy));
    assert_int_equal(copy_length(o->copy), 1200000);
    copy_world_follow(&f, 4, o); /* a late one */
    for (int i = 0; i < 5; i++) {
        assert_true(copy_world_read_all(&f.followers[i]));
        assert_int_equal(f.followers[i].reader.at, 1200000);
    }
    reader_rewind(&f.followers[2].reader);
    assert_true(copy_world_read_all(&f.followers[2]));
    copy_world_end(&f);
}

/* A range reaches what was appended behind the message; who reads to its end does not. */
static void is_read_in_ranges(void **state)
{
    struct copy_world f;
    struct owner *o = &f.owners[0];
    const uint64_t message = 5 * CHUNK + 11, all = message + 3 * CHUNK;
    const uint64_t ends[][2] = {{0, COPY_END},  {CHUNK + 7, COPY_END},  {0, 10},
                                {message, all}, {message - 5, all - 1}, {message, message}};

    (void)state;
    copy_world_begin(&f, 1);
    assert_true(copy_world_new(&f, 0));
    copy_world_follow(&f, 0, o); /* before the end of the message is known */
    assert_true(copy_world_append_all(o, message));
    copy_end_message(o->copy);
    assert_true(copy_world_append_all(o, 3 * CHUNK));
    copy_finish(o->copy);
    assert_int_equal(copy_length(o->copy), all);
    assert_int_equal(copy_message_length(o->copy), message);
    assert_true(copy_world_read_all(&f.followers[0]));
    assert_int_equal(f.followers[0].reader.at, message);
    copy_world_stop_following(&f.followers[0]);
    for (int i = 0; i < READERS; i++) {
        struct reader *reader = &f.followers[i].reader;
        copy_world_follow(&f, i, o);
        reader_set_range(reader, ends[i][0], ends[i][1]);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(reader->at, ends[i][0]);
            assert_true(copy_world_read_all(&f.followers[i]));
            assert_int_equal(reader->at, ends[i][1] == COPY_END ? message : ends[i][1]);
            assert_int_equal(reader_left(reader), 0);
            reader_rewind(reader);
        }
    }
    copy_world_end(&f);
}

static void stays_in_memory(void **state)
{
    struct copy_world f;

    (void)state;
    copy_world_begin(&f, 1);
    f.limits.memory_each_bytes = 3 * CHUNK;
    assert_true(copy_world_new(&f, 0));
    copy_world_follow(&f, 0, &f.owners[0]);
    assert_int_equal(f.limits.memory_used_bytes, 0);
    assert_true(copy_world_append_all(&f.owners[0], 2 * CHUNK));
    assert_int_equal(f.limits.memory_used_bytes, 2 * CHUNK);
    assert_int_equal(f.limits.files_used_bytes, 0);
    assert_int_equal(sim_open_files(f.world), 0);
    assert_true(copy_world_read_all(&f.followers[0]));
    assert_int_equal(f.followers[0].calls, 0); /* nothing had to be waited for */
    copy_world_end(&f);
}

static void spills_and_reads_back(void **state)
{
    struct copy_world f;

    (void)state;
    copy_world_begin(&f, 1);
    assert_true(copy_world_new(&f, 0));
    assert_true(copy_world_append_all(&f.owners[0], 3 * MILLION + 17));
    assert_true(f.limits.memory_used_bytes <= 3 * CHUNK);
    assert_true(f.limits.files_used_bytes >= 3 * MILLION - 3 * CHUNK);
    assert_int_equal(sim_open_files(f.world), 1);
    for (int i = 0; i < 3; i++)
        copy_world_follow(&f, i, &f.owners[0]);
    copy_world_read(&f.followers[1], 1); /* asks for the file, and is not answered at once */
    assert_int_equal(f.followers[1].reader.at, 0);
    for (int i = 0; i < 3; i++)
        assert_true(copy_world_read_all(&f.followers[i]));
    copy_world_end(&f);
}

/* Memory of all: who waits is woken when another gives some back. */
static void shares_its_memory(void **state)
{
    struct copy_world f;

    (void)state;
    copy_world_begin(&f, 1);
    f.limits.memory_max_bytes = 8 * CHUNK;
    f.limits.memory_each_bytes = 8 * CHUNK;
    for (int i = 0; i < 3; i++)
        assert_true(copy_world_new(&f, i));
    for (int i = 0; i < 3; i++) {
        assert_true(copy_world_append_all(&f.owners[i], MILLION));
        copy_world_follow(&f, i, &f.owners[i]);
    }
    assert_true(f.limits.memory_used_bytes <= (8 + 3 * 2) * CHUNK);
    for (int i = 0; i < 3; i++)
        assert_true(copy_world_read_all(&f.followers[i]));
    copy_world_end(&f);
}

static void goes_while_a_job_runs(void **state)
{
    struct copy_world f;
    int error;

    (void)state;
    for (uint64_t seed = 1; seed < 5; seed++) {
        copy_world_begin(&f, seed);
        assert_true(copy_world_new(&f, 0));
        copy_world_append(&f.owners[0], 4 * CHUNK, &error); /* spilling has begun */
        assert_int_equal(error, 0);
        copy_free(&f.owners[0].copy);
        assert_null(f.owners[0].copy);
        assert_true(f.limits.memory_used_bytes > 0); /* the job needs it still */
        copy_world_end(&f);

        copy_world_begin(&f, seed);
        assert_true(copy_world_new(&f, 0));
        assert_true(copy_world_append_all(&f.owners[0], MILLION));
        copy_world_follow(&f, 0, &f.owners[0]);
        copy_world_follow(&f, 1, &f.owners[0]);
        copy_world_read(&f.followers[0], 1); /* reading back has begun */
        copy_world_read(&f.followers[1], 1);
        copy_world_stop_following(&f.followers[0]);
        if (seed > 2) {
            assert_true(copy_world_read_all(&f.followers[1]));
        } else {
            copy_world_stop_following(&f.followers[1]);
            copy_free(&f.owners[0].copy);
        }
        copy_world_end(&f);
    }
}

static void tells_failures(void **state)
{
    static const struct {
        enum sim_disk_call call;
        uint64_t nth;
    } rows[] = {{SIM_DISK_READ, 1}, {SIM_DISK_READ, 3}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct copy_world f;
        struct owner *o = &f.owners[0];

        copy_world_begin(&f, 1);
        assert_true(copy_world_new(&f, 0));
        sim_disk_fail(f.world, rows[i].call, rows[i].nth, -ENOSPC);
        lib_is_true(i, "appends", copy_world_append_all(o, 3 * MILLION));
        copy_world_follow(&f, 0, o);
        lib_is_true(i, "reads", !copy_world_read_all(&f.followers[0]));
        copy_world_settle(&f);
        lib_same_number(i, "failures", 1, o->failures);
        lib_same_number(i, "error", -ENOSPC, copy_error(o->copy));
        lib_is_true(i, "room, so that nobody waits for ever", copy_room(o->copy) > 0);
        copy_world_end(&f);
    }
    lib_end_rows();
}

/* ---- copies that are let go ---- */

/* Appends what there is room for, and lets everything happen that can. */
static uint64_t append_on(struct owner *o)
{
    int error;
    uint64_t done = copy_world_append(o, MILLION, &error);

    assert_int_equal(error, 0);
    copy_world_settle(o->f);
    return done;
}

/* The file cannot be made, or not be continued: the message goes on as fast as its readers. */
static void goes_on_without_a_file(void **state)
{
    static const struct {
        enum sim_disk_call call;
        uint64_t nth;
        int error;
    } rows[] = {
        {SIM_DISK_OPEN, 1, -ENOSPC}, {SIM_DISK_WRITE, 1, -EROFS}, {SIM_DISK_WRITE, 20, -EIO}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct copy_world f;
        struct owner *o = &f.owners[0];

        copy_world_begin(&f, 1);
        f.limits.memory_each_bytes = 8 * CHUNK;
        assert_true(copy_world_new(&f, 0));
        copy_world_follow(&f, 0, o);
        copy_world_follow(&f, 1, o);
        sim_disk_fail(f.world, rows[i].call, rows[i].nth, rows[i].error);
        while (o->appended < 8 * MILLION) {
            append_on(o);
            copy_world_read(&f.followers[0], UINT64_MAX);
            copy_world_read(&f.followers[1], 70000);
            copy_world_settle(&f);
            lib_is_true(i, "bounded", f.limits.memory_used_bytes <= (8 + 16 + 1) * CHUNK);
        }
        lib_same_number(i, "why", rows[i].error, o->unkept);
        lib_is_true(i, "freed", !copy_is_whole(o->copy));
        copy_finish(o->copy);
        for (int j = 0; j < 2; j++)
            lib_is_true(i, "reads", copy_world_read_all(&f.followers[j]));
        lib_same_number(i, "failures", 0, o->failures);
        copy_world_end(&f);
    }
    lib_end_rows();
}

/* Nobody may need it again: nothing is written, and 256 KiB are how far its writer may be ahead. */
static void waits_for_the_slowest_reader(void **state)
{
    struct copy_world f;
    struct owner *o = &f.owners[0];

    (void)state;
    copy_world_begin(&f, 1);
    f.limits.memory_each_bytes = 8 * CHUNK;
    assert_true(copy_world_new(&f, 0));
    copy_let_go(o->copy);
    copy_world_follow(&f, 0, o);
    copy_world_follow(&f, 1, o);
    assert_int_equal(append_on(o), 8 * CHUNK); /* copy-memory: all of it is kept */
    assert_true(copy_is_whole(o->copy));
    assert_true(copy_waits_for_readers(o->copy));
    copy_world_read(&f.followers[0], UINT64_MAX); /* one of two */
    copy_world_settle(&f);
    assert_int_equal(append_on(o), 0);
    assert_int_equal(o->rooms, 0);
    copy_world_read(&f.followers[1], 4 * CHUNK); /* 256 KiB are left to read */
    copy_world_settle(&f);
    assert_int_equal(append_on(o), 0);
    copy_world_read(&f.followers[1], 1);
    copy_world_settle(&f);
    assert_int_equal(o->rooms, 1);
    assert_int_equal(append_on(o), CHUNK);
    assert_false(copy_is_whole(o->copy));
    copy_world_stop_following(&f.followers[1]); /* who has gone is not waited for */
    copy_world_settle(&f);
    assert_int_equal(o->rooms, 2);
    assert_int_equal(append_on(o), 3 * CHUNK);  /* it has read eight of nine */
    copy_world_stop_following(&f.followers[0]); /* nobody is left: all of it may come, and goes */
    assert_true(copy_world_append_all(o, 3 * MILLION));
    assert_true(f.limits.memory_used_bytes <= 2 * CHUNK);
    assert_int_equal(f.limits.files_used_bytes, 0);
    assert_int_equal(sim_open_files(f.world), 0);
    copy_world_end(&f);
}

/* Where the memory of all is used up each has its two chunks. */
static void is_let_go_in_two_chunks(void **state)
{
    struct copy_world f;
    struct owner *o = &f.owners[0];

    (void)state;
    copy_world_begin(&f, 1);
    f.limits.memory_max_bytes = CHUNK;
    assert_true(copy_world_new(&f, 0));
    copy_let_go(o->copy);
    copy_world_follow(&f, 0, o);
    while (o->appended < 2 * MILLION) {
        append_on(o);
        assert_true(f.limits.memory_used_bytes <= 2 * CHUNK);
        assert_true(copy_world_read(&f.followers[0], 50000) > 0);
        copy_world_settle(&f);
    }
    assert_true(copy_world_read_all(&f.followers[0]));
    copy_world_end(&f);
}

/* Whoever wants all of a finished message finds out himself whether its file can be written. */
static void finishes_before_it_is_unkept(void **state)
{
    struct copy_world f;
    struct owner *o = &f.owners[0];
    int error;

    (void)state;
    copy_world_begin(&f, 1);
    assert_true(copy_world_new(&f, 0));
    sim_disk_fail(f.world, SIM_DISK_WRITE, 1, -ENOSPC);
    copy_world_append(o, 5 * CHUNK, &error);
    copy_finish(o->copy);
    copy_world_settle(&f);
    assert_int_equal(o->unkept, 0);
    assert_true(copy_is_whole(o->copy));
    copy_world_follow(&f, 0, o);
    assert_true(copy_world_read_all(&f.followers[0]));
    copy_world_end(&f);
}

/* True: nothing failed. */
static bool run_short_of_memory(void *given)
{
    struct copy_world *f = given;
    struct owner *o = &f->owners[0];
    bool is_fine = copy_world_new(f, 0) && copy_world_append_all(o, 300000);

    if (o->copy == NULL)
        return false;
    if (is_fine) {
        copy_world_follow(f, 0, o);
        is_fine = copy_world_read_all(&f->followers[0]);
        copy_world_settle(f);
        copy_world_stop_following(&f->followers[0]);
    }
    is_fine = is_fine && copy_error(o->copy) == 0 && o->unkept == 0;
    o->unkept = 0;
    copy_free(&o->copy);
    copy_world_settle(f);
    o->appended = 0;
    assert_int_equal(f->limits.memory_used_bytes, 0);
    assert_int_equal(f->limits.files_used_bytes, 0);
    return is_fine;
}

static void survives_shortage(void **state)
{
    struct copy_world f;

    (void)state;
    copy_world_begin(&f, 1);
    assert_true(lib_fail_each_allocation(run_short_of_memory, &f) > 5);
    copy_world_end(&f);
}

static void do_anything(struct copy_world *f)
{
    int which = (int)sim_below(f->world, COPIES), error;
    struct owner *o = &f->owners[which];
    struct follower *w = &f->followers[which + COPIES * (int)sim_below(f->world, 2)];

    if (o->copy == NULL)
        assert_true(copy_world_new(f, which));
    switch (sim_below(f->world, 9)) {
    case 0:
        copy_world_stop_following(w);
        break;
    case 1:
        if (w->is_open)
            reader_rewind(&w->reader);
        break;
    case 2:
        copy_world_settle(f);
        break;
    case 3:
        if (sim_below(f->world, 4) != 0)
            break;
        copy_world_stop_following(&f->followers[which]);
        copy_world_stop_following(&f->followers[which + COPIES]);
        copy_free(&o->copy);
        o->appended = 0;
        break;
    case 4:
    case 5:
        if (!w->is_open)
            copy_world_follow(f, (int)(w - f->followers), o);
        copy_world_read(w, sim_below(f->world, 200000));
        break;
    default:
        copy_world_append(o, sim_below(f->world, 150000), &error);
        assert_int_equal(error, 0);
        break;
    }
}

static void holds_in_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct copy_world f;

        copy_world_begin(&f, seed);
        f.limits.memory_max_bytes = 6 * CHUNK;
        f.limits.files_max_bytes = MILLION;
        for (int i = 0; i < 200; i++) {
            do_anything(&f);
            /* Each may have its two chunks, and each its slack of sixteen while it spills. */
            assert_true(f.limits.memory_used_bytes <= (6 + COPIES * 18) * CHUNK);
        }
        for (int i = 0; i < COPIES; i++)
            assert_int_equal(f.owners[i].failures, 0);
        copy_world_end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_at_any_place),
        cmocka_unit_test(is_read_in_ranges),
        cmocka_unit_test(stays_in_memory),
        cmocka_unit_test(spills_and_reads_back),

        cmocka_unit_test(shares_its_memory),
        cmocka_unit_test(goes_while_a_job_runs),
        cmocka_unit_test(tells_failures),
        cmocka_unit_test(goes_on_without_a_file),
        cmocka_unit_test(waits_for_the_slowest_reader),
        cmocka_unit_test(is_let_go_in_two_chunks),
        cmocka_unit_test(finishes_before_it_is_unkept),
        cmocka_unit_test(survives_shortage),
        cmocka_unit_test(holds_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
