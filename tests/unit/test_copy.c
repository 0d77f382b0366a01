/* SPDX-License-Identifier: BSD-2-Clause */
/* The copy in a simulated world: readers at different places, files, limits that several share, and
 * what happens when something fails or ends in the middle. */
/* needs: proxy/io/copy.c sim */
#include "proxy/io/copy.h"

#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define CHUNK   65536
#define MILLION (1u << 20)
#define READERS 6
#define COPIES  3

struct fixture;

struct owner {
    struct fixture *f;
    struct copy *copy;
    int rooms, failures;
    uint64_t appended;
};

struct follower {
    struct reader reader; /* first */
    struct fixture *f;
    int calls;
    bool is_open;
};

struct fixture {
    struct sim *world;
    struct loop *loop;
    struct copy_limits limits;
    struct owner owners[COPIES];
    struct follower followers[READERS];
    bool is_in_call;
};

/* Octet number `at` of every message. */
static uint8_t octet(uint64_t at)
{
    return (uint8_t)(at ^ (at >> 8) * 3 ^ (at >> 16) * 7);
}

/* ---- a world with copies ---- */

static bool on_quiet(void *owner)
{
    struct fixture *f = owner;

    loop_stop(f->loop);
    return true;
}

/* Lets everything happen that can. */
static void settle(struct fixture *f)
{
    assert_int_equal(loop_run(f->loop), 0);
}

static void on_room(void *owner)
{
    struct owner *o = owner;

    assert_false(o->f->is_in_call);
    o->rooms++;
}

static void on_failed(void *owner)
{
    struct owner *o = owner;

    assert_false(o->f->is_in_call);
    assert_true(copy_error(o->copy) != 0);
    o->failures++;
}

static void on_more(struct reader *r)
{
    struct follower *w = (struct follower *)r;

    assert_false(w->f->is_in_call);
    assert_true(w->is_open);
    w->calls++;
}

static void set_up(struct fixture *f, uint64_t seed)
{
    *f = (struct fixture){.world = sim_new(seed)};
    sim_set_ways(f->world, &(struct sim_ways){.shuffles = seed % 2 == 0});
    sim_on_quiet(f->world, on_quiet, f);
    f->limits = (struct copy_limits){.memory_max_bytes = 64 * MILLION,
                                     .memory_each_bytes = 2 * CHUNK,
                                     .files_max_bytes = 64 * MILLION,
                                     .directory = "/tmp"};
    copy_limits_init(&f->limits);
    f->loop = loop_new();
    assert_non_null(f->loop);
    for (int i = 0; i < COPIES; i++)
        f->owners[i].f = f;
    for (int i = 0; i < READERS; i++)
        f->followers[i].f = f;
}

static bool begin(struct fixture *f, int which)
{
    struct owner *o = &f->owners[which];

    o->copy = copy_new(f->loop, &f->limits, on_room, on_failed, o);
    return o->copy != NULL;
}

static void follow(struct fixture *f, int which, struct owner *o)
{
    struct follower *w = &f->followers[which];

    reader_open(&w->reader, o->copy, on_more);
    w->is_open = true;
}

static void stop_following(struct follower *w)
{
    reader_close(&w->reader);
    w->is_open = false;
}

static void tear_down(struct fixture *f)
{
    for (int i = 0; i < READERS; i++)
        stop_following(&f->followers[i]);
    for (int i = 0; i < COPIES; i++)
        copy_free(&f->owners[i].copy);
    settle(f);
    assert_int_equal(f->limits.memory_used_bytes, 0);
    assert_int_equal(f->limits.files_used_bytes, 0);
    assert_true(list_is_empty(&f->limits.waiting));
    assert_int_equal(sim_open_files(f->world), 0);
    loop_free(&f->loop);
    sim_free(&f->world);
}

/* Appends up to `octets`; returns how many there was room for. */
static uint64_t append(struct owner *o, uint64_t octets, int *error_out)
{
    static uint8_t block[CHUNK];
    uint64_t done = 0;

    *error_out = 0;
    while (done < octets) {
        o->f->is_in_call = true;
        size_t room = copy_room(o->copy), len = sizeof(block);
        len = len < room ? len : room;
        len = len < octets - done ? len : (size_t)(octets - done);
        for (size_t i = 0; i < len; i++)
            block[i] = octet(o->appended + i);
        *error_out = len == 0 ? 0 : copy_append(o->copy, bytes_make(block, len));
        o->f->is_in_call = false;
        if (len == 0 || *error_out != 0)
            return done;
        o->appended += len;
        done += len;
    }
    return done;
}

/* Appends all of it, and lets jobs run where there is no room. False: it failed. */
static bool append_all(struct owner *o, uint64_t octets)
{
    int error;

    while (octets > 0) {
        uint64_t done = append(o, octets, &error);
        octets -= done;
        if (error != 0 || copy_error(o->copy) != 0)
            return false;
        settle(o->f);
        if (done == 0 && copy_room(o->copy) == 0)
            return false;
    }
    return true;
}

/* Reads up to `most` octets of what can be read now, and looks at each. */
static uint64_t read_some(struct follower *w, uint64_t most)
{
    struct bytes pieces[4];
    uint64_t done = 0;
    int count;

    w->f->is_in_call = true;
    while (done < most && (count = reader_pieces(&w->reader, pieces, 4)) > 0) {
        for (int i = 0; i < count && done < most; i++) {
            struct bytes piece = bytes_first(pieces[i], (size_t)(most - done));
            for (size_t j = 0; j < piece.len; j++)
                if (piece.at[j] != octet(w->reader.at + j))
                    fail_msg("octet %llu is wrong", (unsigned long long)(w->reader.at + j));
            reader_advance(&w->reader, piece.len);
            done += piece.len;
        }
    }
    w->f->is_in_call = false;
    return done;
}

static bool read_all(struct follower *w)
{
    while (reader_left(&w->reader) > 0) {
        if (read_some(w, UINT64_MAX) > 0)
            continue;
        int calls = w->calls;
        settle(w->f);
        if (w->calls == calls)
            return false;
    }
    return true;
}

/* ---- the tests ---- */

static void is_read_at_any_place(void **state)
{
    struct fixture f;
    struct owner *o = &f.owners[0];

    (void)state;
    set_up(&f, 1);
    assert_true(begin(&f, 0));
    for (int i = 0; i < 4; i++)
        follow(&f, i, o);
    for (unsigned round = 0; round < 40; round++) {
        assert_true(append_all(o, 30000));
        read_some(&f.followers[0], UINT64_MAX);
        read_some(&f.followers[1], 29999);
        read_some(&f.followers[2], round % 10 == 9 ? UINT64_MAX : 1);
    }
    copy_finish(o->copy);
    assert_true(copy_is_finished(o->copy));
    assert_int_equal(copy_length(o->copy), 1200000);
    follow(&f, 4, o); /* a late one */
    for (int i = 0; i < 5; i++) {
        assert_true(read_all(&f.followers[i]));
        assert_int_equal(f.followers[i].reader.at, 1200000);
    }
    reader_rewind(&f.followers[2].reader);
    assert_true(read_all(&f.followers[2]));
    tear_down(&f);
}

static void stays_in_memory(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1);
    f.limits.memory_each_bytes = 3 * CHUNK;
    assert_true(begin(&f, 0));
    follow(&f, 0, &f.owners[0]);
    assert_int_equal(f.limits.memory_used_bytes, 0);
    assert_true(append_all(&f.owners[0], 2 * CHUNK));
    assert_int_equal(f.limits.memory_used_bytes, 2 * CHUNK);
    assert_int_equal(f.limits.files_used_bytes, 0);
    assert_int_equal(sim_open_files(f.world), 0);
    assert_true(read_all(&f.followers[0]));
    assert_int_equal(f.followers[0].calls, 0); /* nothing had to be waited for */
    tear_down(&f);
}

static void spills_and_reads_back(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1);
    assert_true(begin(&f, 0));
    assert_true(append_all(&f.owners[0], 3 * MILLION + 17));
    assert_true(f.limits.memory_used_bytes <= 3 * CHUNK);
    assert_true(f.limits.files_used_bytes >= 3 * MILLION - 3 * CHUNK);
    assert_int_equal(sim_open_files(f.world), 1);
    for (int i = 0; i < 3; i++)
        follow(&f, i, &f.owners[0]);
    read_some(&f.followers[1], 1); /* asks for the file, and is not answered at once */
    assert_int_equal(f.followers[1].reader.at, 0);
    for (int i = 0; i < 3; i++)
        assert_true(read_all(&f.followers[i]));
    tear_down(&f);
}

static void shares_its_limits(void **state)
{
    struct fixture f;
    int error;

    (void)state;
    set_up(&f, 1);
    f.limits.files_max_bytes = CHUNK;
    for (int i = 0; i < 2; i++)
        assert_true(begin(&f, i));
    /* The first one fills the files, and then its own memory with all slack; so does the second. */
    assert_false(append_all(&f.owners[0], 8 * MILLION));
    assert_false(append_all(&f.owners[1], 8 * MILLION));
    assert_int_equal(copy_room(f.owners[0].copy), 0);
    assert_int_equal(copy_room(f.owners[1].copy), 0);
    assert_true(f.limits.memory_used_bytes <= 64 * (uint64_t)CHUNK);
    assert_true(begin(&f, 2));
    assert_int_equal(append(&f.owners[2], 1000, &error), 1000); /* a little may be had always */
    f.owners[0].rooms = f.owners[1].rooms = 0;
    copy_free(&f.owners[0].copy);
    settle(&f);
    assert_int_equal(f.owners[1].rooms, 1);
    assert_true(append(&f.owners[1], CHUNK, &error) > 0);
    assert_int_equal(f.owners[1].failures, 0);
    tear_down(&f);
}

/* Memory of all: who waits is woken when another gives some back. */
static void shares_its_memory(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1);
    f.limits.memory_max_bytes = 8 * CHUNK;
    f.limits.memory_each_bytes = 8 * CHUNK;
    for (int i = 0; i < 3; i++)
        assert_true(begin(&f, i));
    for (int i = 0; i < 3; i++) {
        assert_true(append_all(&f.owners[i], MILLION));
        follow(&f, i, &f.owners[i]);
    }
    assert_true(f.limits.memory_used_bytes <= (8 + 3 * 2) * CHUNK);
    for (int i = 0; i < 3; i++)
        assert_true(read_all(&f.followers[i]));
    tear_down(&f);
}

static void goes_while_a_job_runs(void **state)
{
    struct fixture f;
    int error;

    (void)state;
    for (uint64_t seed = 1; seed < 5; seed++) {
        set_up(&f, seed);
        assert_true(begin(&f, 0));
        append(&f.owners[0], 4 * CHUNK, &error); /* spilling has begun */
        assert_int_equal(error, 0);
        copy_free(&f.owners[0].copy);
        assert_null(f.owners[0].copy);
        assert_true(f.limits.memory_used_bytes > 0); /* the job needs it still */
        tear_down(&f);

        set_up(&f, seed);
        assert_true(begin(&f, 0));
        assert_true(append_all(&f.owners[0], MILLION));
        follow(&f, 0, &f.owners[0]);
        follow(&f, 1, &f.owners[0]);
        read_some(&f.followers[0], 1); /* reading back has begun */
        read_some(&f.followers[1], 1);
        stop_following(&f.followers[0]);
        if (seed > 2) {
            assert_true(read_all(&f.followers[1]));
        } else {
            stop_following(&f.followers[1]);
            copy_free(&f.owners[0].copy);
        }
        tear_down(&f);
    }
}

static void tells_failures(void **state)
{
    static const struct {
        enum sim_disk_call call;
        uint64_t nth;
        bool is_reading;
    } rows[] = {{SIM_DISK_OPEN, 1, false},
                {SIM_DISK_WRITE, 1, false},
                {SIM_DISK_WRITE, 20, false},
                {SIM_DISK_READ, 1, true},
                {SIM_DISK_READ, 3, true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct fixture f;
        struct owner *o = &f.owners[0];

        set_up(&f, 1);
        assert_true(begin(&f, 0));
        sim_disk_fail(f.world, rows[i].call, rows[i].nth, -ENOSPC);
        lib_is_true(i, "appends", append_all(o, 3 * MILLION) == rows[i].is_reading);
        if (rows[i].is_reading) {
            follow(&f, 0, o);
            lib_is_true(i, "reads", !read_all(&f.followers[0]));
        }
        settle(&f);
        lib_same_number(i, "failures", 1, o->failures);
        lib_same_number(i, "error", -ENOSPC, copy_error(o->copy));
        lib_is_true(i, "room, so that nobody waits for ever", copy_room(o->copy) > 0);
        tear_down(&f);
    }
    lib_end_rows();
}

/* True: nothing failed. */
static bool run_short_of_memory(void *given)
{
    struct fixture *f = given;
    struct owner *o = &f->owners[0];
    bool is_fine = begin(f, 0) && append_all(o, 300000);

    if (o->copy == NULL)
        return false;
    if (is_fine) {
        follow(f, 0, o);
        is_fine = read_all(&f->followers[0]);
        settle(f);
        stop_following(&f->followers[0]);
    }
    is_fine = is_fine && copy_error(o->copy) == 0;
    copy_free(&o->copy);
    settle(f);
    o->appended = 0;
    assert_int_equal(f->limits.memory_used_bytes, 0);
    assert_int_equal(f->limits.files_used_bytes, 0);
    return is_fine;
}

static void survives_shortage(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1);
    assert_true(lib_fail_each_allocation(run_short_of_memory, &f) > 5);
    tear_down(&f);
}

static void do_anything(struct fixture *f)
{
    int which = (int)sim_below(f->world, COPIES), error;
    struct owner *o = &f->owners[which];
    struct follower *w = &f->followers[which + COPIES * (int)sim_below(f->world, 2)];

    if (o->copy == NULL)
        assert_true(begin(f, which));
    switch (sim_below(f->world, 9)) {
    case 0:
        stop_following(w);
        break;
    case 1:
        if (w->is_open)
            reader_rewind(&w->reader);
        break;
    case 2:
        settle(f);
        break;
    case 3:
        if (sim_below(f->world, 4) != 0)
            break;
        stop_following(&f->followers[which]);
        stop_following(&f->followers[which + COPIES]);
        copy_free(&o->copy);
        o->appended = 0;
        break;
    case 4:
    case 5:
        if (!w->is_open)
            follow(f, (int)(w - f->followers), o);
        read_some(w, sim_below(f->world, 200000));
        break;
    default:
        append(o, sim_below(f->world, 150000), &error);
        assert_int_equal(error, 0);
        break;
    }
}

static void holds_in_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct fixture f;

        set_up(&f, seed);
        f.limits.memory_max_bytes = 6 * CHUNK;
        f.limits.files_max_bytes = MILLION;
        for (int i = 0; i < 200; i++) {
            do_anything(&f);
            /* Each may have its two chunks, and each its slack of sixteen while it spills. */
            assert_true(f.limits.memory_used_bytes <= (6 + COPIES * 18) * CHUNK);
        }
        for (int i = 0; i < COPIES; i++)
            assert_int_equal(f.owners[i].failures, 0);
        tear_down(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_at_any_place),  cmocka_unit_test(stays_in_memory),
        cmocka_unit_test(spills_and_reads_back), cmocka_unit_test(shares_its_limits),
        cmocka_unit_test(shares_its_memory),     cmocka_unit_test(goes_while_a_job_runs),
        cmocka_unit_test(tells_failures),        cmocka_unit_test(survives_shortage),
        cmocka_unit_test(holds_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
