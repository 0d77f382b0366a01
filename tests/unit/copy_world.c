/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies that are fed and read, and looked at. */
#include "tests/unit/copy_world.h"

static bool on_quiet(void *owner)
{
    struct copy_world *f = owner;

    loop_stop(f->loop);
    return true;
}

void copy_world_settle(struct copy_world *f)
{
    assert_int_equal(loop_run(f->loop), 0);
}

void copy_world_pass(struct copy_world *f, uint64_t ms)
{
    sim_wait(f->world, ms);
    copy_world_settle(f);
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

static void on_unkept(void *owner, int error)
{
    struct owner *o = owner;

    assert_false(o->f->is_in_call);
    assert_true(error != 0);
    o->unkept = error;
    copy_let_go(o->copy);
}

static void on_refused(void *owner)
{
    struct owner *o = owner;

    assert_false(o->f->is_in_call);
    o->refusals++;
    o->appended = 0;
    copy_free(&o->copy);
}

static bool on_is_ending(void *owner)
{
    struct owner *o = owner;
    return o->is_ending;
}

const struct copy_use copy_world_use = {.room = on_room,
                                        .unkept = on_unkept,
                                        .failed = on_failed,
                                        .refused = on_refused,
                                        .is_ending = on_is_ending};

static void on_more(struct reader *r)
{
    struct follower *w = (struct follower *)r;

    assert_false(w->f->is_in_call);
    assert_true(w->is_open);
    w->calls++;
}

static const struct draft_folder drafts = {.directory = "/tmp"};

void copy_world_begin(struct copy_world *f, uint64_t seed)
{
    *f = (struct copy_world){.world = sim_new(seed)};
    sim_set_ways(f->world, &(struct sim_ways){.shuffles = seed % 2 == 0});
    sim_on_quiet(f->world, on_quiet, f);
    f->limits = (struct copy_limits){.memory_max_bytes = 64 * MILLION,
                                     .memory_each_bytes = 2 * CHUNK,
                                     .files_max_bytes = 64 * MILLION,
                                     .drafts = &drafts};
    f->loop = loop_new();
    assert_non_null(f->loop);
    assert_int_equal(copy_limits_init(&f->limits, f->loop), 0);
    for (int i = 0; i < COPIES; i++)
        f->owners[i].f = f;
    for (int i = 0; i < READERS; i++)
        f->followers[i].f = f;
}

bool copy_world_new(struct copy_world *f, int which)
{
    struct owner *o = &f->owners[which];

    o->copy =
        copy_new(f->loop, &f->limits, copy_net_of(&f->limits, &o->client), &copy_world_use, o);
    return o->copy != NULL;
}

void copy_world_follow(struct copy_world *f, int which, struct owner *o)
{
    struct follower *w = &f->followers[which];

    reader_open(&w->reader, o->copy, on_more);
    w->is_open = true;
}

void copy_world_stop_following(struct follower *w)
{
    reader_close(&w->reader);
    w->is_open = false;
}

void copy_world_end(struct copy_world *f)
{
    for (int i = 0; i < READERS; i++)
        copy_world_stop_following(&f->followers[i]);
    for (int i = 0; i < COPIES; i++)
        copy_free(&f->owners[i].copy);
    copy_world_settle(f);
    assert_int_equal(f->limits.memory_used_bytes, 0);
    assert_int_equal(f->limits.files_used_bytes, 0);
    assert_true(list_is_empty(&f->limits.waiting));
    assert_true(list_is_empty(&f->limits.unfinished));
    assert_null(f->limits.favoured);
    assert_int_equal(f->limits.modest_lacking, 0);
    for (size_t i = 0; i < COPY_NETS; i++) {
        assert_int_equal(f->limits.nets[i].memory_bytes, 0);
        assert_int_equal(f->limits.nets[i].files_bytes, 0);
        assert_int_equal(f->limits.nets[i].envelope_bytes, 0);
        assert_int_equal(f->limits.nets[i].lacking, 0);
    }
    copy_limits_done(&f->limits);
    assert_int_equal(sim_open_files(f->world), 0);
    loop_free(&f->loop);
    sim_free(&f->world);
}

uint64_t copy_world_append(struct owner *o, uint64_t octets, int *error_out)
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

bool copy_world_append_all(struct owner *o, uint64_t octets)
{
    int error;

    while (octets > 0) {
        uint64_t done = copy_world_append(o, octets, &error);
        octets -= done;
        if (error != 0 || copy_error(o->copy) != 0)
            return false;
        copy_world_settle(o->f);
        if (done == 0 && copy_room(o->copy) == 0)
            return false;
    }
    return true;
}

uint64_t copy_world_read(struct follower *w, uint64_t most)
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

bool copy_world_read_all(struct follower *w)
{
    while (reader_left(&w->reader) > 0) {
        if (copy_world_read(w, UINT64_MAX) > 0)
            continue;
        int calls = w->calls;
        copy_world_settle(w->f);
        if (w->calls == calls)
            return false;
    }
    return true;
}
