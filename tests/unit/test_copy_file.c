/* SPDX-License-Identifier: BSD-2-Clause */
/* The job on the whole of a copy, and copies of files that were there before. */
/* needs: tests/unit/copy_world.c proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include <errno.h>

#include "proxy/base/hash.h"
#include "proxy/io/disk.h"
#include "tests/unit/copy_world.h"

/* ---- the job on the whole ---- */

struct whole {
    struct copy_job_on_image job;
    struct copy_world *f;
    int calls, result;
    bool writes, breaks;
    struct copy_image seen; /* as `run` found it */
    uint64_t sum;           /* of all of the message */
};

/* What lies in the file and the pieces are the whole message, and the sum is right. */
static void look_at_image(struct whole *w, const struct copy_image *image)
{
    static uint8_t block[CHUNK];
    uint64_t at = 0, sum = 0;

    for (; at < image->file_bytes; at += CHUNK) {
        uint64_t left = image->file_bytes - at;
        size_t len = left < CHUNK ? (size_t)left : CHUNK;
        assert_int_equal(disk_read_at(image->fd, HEAD + at, block, len), 0);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(block[i], octet(at + i));
        sum = hash_chain(sum, bytes_make(block, len));
    }
    assert_int_equal(image->sum, sum);
    at = image->file_bytes;
    for (size_t i = 0; i < image->piece_count; i++) {
        struct bytes piece = image->pieces[i];
        assert_true(piece.len == CHUNK || (i + 1 == image->piece_count && piece.len > 0));
        for (size_t j = 0; j < piece.len; j++)
            assert_int_equal(piece.at[j], octet(at + j));
        at += piece.len;
        sum = hash_chain(sum, piece);
    }
    assert_int_equal(at, image->length);
    w->sum = sum;
}

static void run_whole(struct copy_job_on_image *job)
{
    struct whole *w = (struct whole *)job;
    struct copy_image *image = &job->image;

    w->seen = *image;
    look_at_image(w, image);
    image->is_broken = image->is_broken || w->breaks;
    job->error = w->result;
    if (!w->writes || image->file_bytes == image->length)
        return;
    if (image->fd < 0)
        image->fd = draft_open(image->drafts);
    assert_int_equal(disk_write_pieces_at(image->fd, HEAD + image->file_bytes, image->pieces,
                                          (int)image->piece_count),
                     0);
    image->file_bytes = image->length;
    image->sum = w->sum;
}

static void done_whole(struct copy_job_on_image *job)
{
    struct whole *w = (struct whole *)job;

    assert_false(w->f->is_in_call);
    w->calls++;
}

static void start_whole(struct whole *w, struct copy_world *f, struct owner *o)
{
    w->f = f;
    w->calls = 0;
    w->job.run = run_whole;
    w->job.done = done_whole;
    f->is_in_call = true;
    copy_run(o->copy, &w->job);
    f->is_in_call = false;
}

static void run_and_wait(struct whole *w, struct copy_world *f, struct owner *o, int error)
{
    start_whole(w, f, o);
    copy_world_settle(f);
    assert_int_equal(w->calls, 1);
    assert_int_equal(w->job.error, error);
}

static void writes_no_octet_twice(void **state)
{
    static const uint64_t sizes[] = {0, 1, CHUNK, CHUNK + 1, 3 * CHUNK, MILLION, MILLION + 17};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct copy_world f;
        struct owner *o = &f.owners[0];
        struct whole w = {.writes = true};

        copy_world_begin(&f, i + 1);
        f.limits.head_bytes = HEAD;
        assert_true(copy_world_new(&f, 0));
        assert_true(copy_world_append_all(o, sizes[i]));
        copy_finish(o->copy);
        copy_world_follow(&f, 0, o);
        copy_world_read(&f.followers[0], 100);
        run_and_wait(&w, &f, o, 0);
        lib_same_number(i, "had spilled", sizes[i] > CHUNK, w.seen.file_bytes > 0);
        lib_same_number(i, "files", (int64_t)sizes[i], (int64_t)f.limits.files_used_bytes);
        /* Slow readers go on, in what is in memory and in what is not. */
        lib_is_true(i, "reads", copy_world_read_all(&f.followers[0]));
        reader_rewind(&f.followers[0].reader);
        lib_is_true(i, "reads again", copy_world_read_all(&f.followers[0]));
        run_and_wait(&w, &f, o, 0);
        lib_same_number(i, "pieces", 0, (int64_t)w.seen.piece_count);
        lib_same_number(i, "octets in the file", (int64_t)sizes[i], (int64_t)w.seen.file_bytes);
        copy_world_end(&f);
    }
    lib_end_rows();
}

static void runs_behind_other_jobs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct copy_world f;
        struct owner *o = &f.owners[0];
        struct whole w = {.writes = true};
        int error;

        copy_world_begin(&f, seed);
        f.limits.head_bytes = HEAD;
        assert_true(copy_world_new(&f, 0));
        assert_true(copy_world_append_all(o, MILLION));
        copy_world_append(o, 8 * CHUNK, &error); /* is being spilled */
        copy_finish(o->copy);
        for (int i = 0; i < READERS; i++) {
            copy_world_follow(&f, i, o);
            copy_world_read(&f.followers[i], 1); /* waits for the file */
        }
        start_whole(&w, &f, o);
        assert_int_equal(w.calls, 0);
        for (int i = 0; i < READERS; i++)
            assert_true(copy_world_read_all(&f.followers[i]));
        copy_world_settle(&f);
        assert_int_equal(w.calls, 1);
        assert_int_equal(w.job.error, 0);
        copy_world_end(&f);
    }
}

static void tells_what_became_of_the_job(void **state)
{
    struct copy_world f;
    struct owner *o = &f.owners[0];
    struct whole w = {.result = -ENOSPC};

    (void)state;
    copy_world_begin(&f, 1);
    f.limits.head_bytes = HEAD;
    assert_true(copy_world_new(&f, 0));
    assert_true(copy_world_append_all(o, 100));
    copy_finish(o->copy);
    run_and_wait(&w, &f, o, -ENOSPC);
    assert_int_equal(copy_error(o->copy), 0); /* the message itself is well */
    w.result = 0;
    w.breaks = true;
    run_and_wait(&w, &f, o, 0);
    assert_false(w.seen.is_broken);
    run_and_wait(&w, &f, o, 0);
    assert_true(w.seen.is_broken);
    copy_world_end(&f);

    /* A copy that has failed. */
    copy_world_begin(&f, 1);
    assert_true(copy_world_new(&f, 0));
    assert_true(copy_world_append_all(o, MILLION));
    copy_finish(o->copy);
    sim_disk_fail(f.world, SIM_DISK_READ, 1, -EROFS);
    copy_world_follow(&f, 0, o);
    assert_false(copy_world_read_all(&f.followers[0]));
    copy_world_settle(&f);
    w.seen.length = 1;
    run_and_wait(&w, &f, o, -EROFS);
    assert_int_equal(w.seen.length, 1); /* it did not run */
    assert_int_equal(o->failures, 1);
    copy_world_end(&f);
}

static bool run_whole_short_of_memory(void *given)
{
    struct copy_world *f = given;
    struct owner *o = &f->owners[0];
    struct whole w = {.writes = true};
    bool is_fine = copy_world_new(f, 0) && copy_world_append_all(o, 3 * CHUNK + 5);

    if (o->copy == NULL)
        return false;
    copy_finish(o->copy);
    start_whole(&w, f, o);
    copy_world_settle(f);
    assert_int_equal(w.calls, 1);
    if (w.job.error == 0)
        assert_int_equal(f->limits.files_used_bytes, o->appended);
    is_fine = is_fine && w.job.error == 0;
    copy_free(&o->copy);
    copy_world_settle(f);
    o->appended = 0;
    assert_int_equal(f->limits.files_used_bytes, 0);
    return is_fine;
}

static void runs_short_of_memory(void **state)
{
    struct copy_world f;

    (void)state;
    copy_world_begin(&f, 1);
    f.limits.head_bytes = HEAD;
    f.limits.memory_each_bytes = 8 * CHUNK;
    assert_true(lib_fail_each_allocation(run_whole_short_of_memory, &f) > 5);
    copy_world_end(&f);
}

/* ---- a file that was there before ---- */

static int make_file(uint64_t at, uint64_t length)
{
    int fd = disk_open_unnamed("/tmp");

    assert_true(fd >= 0);
    for (uint64_t i = 0; i < length; i++) {
        uint8_t one = octet(i);
        assert_int_equal(disk_write_at(fd, at + i, bytes_make(&one, 1)), 0);
    }
    return fd;
}

static void reads_a_file(void **state)
{
    static const uint64_t sizes[] = {0, 1, 4096, CHUNK, CHUNK + 1, 200000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct copy_world f;
        struct owner *o = &f.owners[0];

        copy_world_begin(&f, 1);
        o->copy = copy_of_file(f.loop, &f.limits, make_file(123, sizes[i]), 123, sizes[i],
                               &copy_world_use, o);
        assert_non_null(o->copy);
        assert_true(copy_is_finished(o->copy));
        assert_int_equal(copy_length(o->copy), sizes[i]);
        for (int j = 0; j < 2; j++) {
            copy_world_follow(&f, j, o);
            lib_is_true(i, "reads", copy_world_read_all(&f.followers[j]));
        }
        reader_rewind(&f.followers[1].reader);
        if (sizes[i] > 0) { /* the file is shorter than was said, or cannot be read */
            sim_disk_fail(f.world, SIM_DISK_READ, 1, -EIO);
            lib_is_true(i, "fails", !copy_world_read_all(&f.followers[1]));
            copy_world_settle(&f);
            lib_same_number(i, "failures", 1, o->failures);
        }
        assert_int_equal(f.limits.files_used_bytes, 0);
        copy_world_end(&f);
    }
    lib_end_rows();
}

/* The last close of an unnamed file takes as long as it is large. */
static void closes_no_file_on_the_loop(void **state)
{
    (void)state;
    for (int is_given = 0; is_given < 2; is_given++) {
        struct copy_world f;
        struct owner *o = &f.owners[0];

        copy_world_begin(&f, 1);
        if (is_given) {
            o->copy = copy_of_file(f.loop, &f.limits, make_file(0, 5), 0, 5, &copy_world_use, o);
        } else {
            assert_true(copy_world_new(&f, 0));
            assert_true(copy_world_append_all(o, MILLION));
        }
        copy_world_follow(&f, 0, o);
        assert_true(copy_world_read_all(&f.followers[0]));
        copy_world_stop_following(&f.followers[0]);
        copy_free(&o->copy);
        assert_int_equal(sim_open_files(f.world), 1);
        copy_world_settle(&f);
        assert_int_equal(sim_open_files(f.world), 0);
        assert_int_equal(sim_closed_on_loop(f.world), 0);
        copy_world_end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_no_octet_twice),
        cmocka_unit_test(runs_behind_other_jobs),
        cmocka_unit_test(tells_what_became_of_the_job),
        cmocka_unit_test(runs_short_of_memory),
        cmocka_unit_test(reads_a_file),
        cmocka_unit_test(closes_no_file_on_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
