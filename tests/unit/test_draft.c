/* SPDX-License-Identifier: BSD-2-Clause */
/* Drafts without a name and with one, on a simulated disk: they get their name or vanish, whatever
 * call fails. */
/* needs: sim */
#include "proxy/io/draft.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define PLACE "/drafts"

static const struct draft_folder places[] = {{.directory = PLACE},
                                             {.directory = PLACE, .has_names = true}};

static struct sim *begin(bool has_names)
{
    struct sim *world = sim_new(1);

    if (has_names)
        sim_disk_without_unnamed(world);
    assert_int_equal(disk_make_directories(PLACE), 0);
    assert_int_equal(disk_make_directories("/goal"), 0);
    return world;
}

static void end(struct sim *world)
{
    assert_null(sim_file_below(world, PLACE, 0));
    assert_int_equal(sim_open_files(world), 0);
    sim_free(&world);
}

static bool is_file(struct sim *world, const char *path, const char *text)
{
    struct bytes octets;
    return sim_file(world, path, &octets) && bytes_is(octets, text);
}

static void are_linked_or_vanish(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct draft_folder *place = &places[i];
        struct sim *world = begin(place->has_names);
        int one = draft_open(place), two = draft_open(place), three = draft_open(place);

        assert_true(one >= 0 && two >= 0 && three >= 0);
        assert_int_equal(disk_write_at(one, 0, bytes_of("one")), 0);
        assert_int_equal(disk_write_at(two, 0, bytes_of("two")), 0);
        assert_int_equal(draft_link(place, one, "/goal/one"), 0);
        assert_int_equal(draft_link(place, two, "/goal/one"), -EEXIST);
        assert_int_equal(draft_link(place, two, "/nowhere/two"), -ENOENT);
        assert_int_equal(draft_link(place, two, "/goal/two"), 0);
        assert_int_equal(disk_write_at(one, 3, bytes_of(" and more")), 0); /* it is open still */
        draft_close(place, three);
        draft_close(place, two);
        draft_close(place, one);
        assert_true(is_file(world, "/goal/one", "one and more"));
        assert_true(is_file(world, "/goal/two", "two"));
        assert_null(sim_file_below(world, "/goal", 2));
        end(world);
    }
}

/* The name is taken back when it cannot be made durable; the descriptor serves on. */
static void lives_on_without_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct draft_folder *place = &places[i];
        struct sim *world = begin(place->has_names);
        int fd = draft_open(place);
        char into[4] = "";

        assert_int_equal(disk_write_at(fd, 0, bytes_of("abc")), 0);
        assert_int_equal(draft_link(place, fd, "/goal/one"), 0);
        assert_int_equal(disk_unlink("/goal/one"), 0);
        assert_int_equal(disk_read_at(fd, 0, into, 3), 0);
        assert_string_equal(into, "abc");
        draft_close(place, fd);
        end(world);
    }
}

/* Each call of the disk fails in turn: there is no draft, or it can be used. */
static void fails_without_a_trace(void **state)
{
    static const enum sim_disk_call calls[] = {SIM_DISK_OPEN, SIM_DISK_NAME};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct draft_folder *place = &places[i];
        for (size_t j = 0; j < ARRAY_LENGTH(calls); j++) {
            struct sim *world = begin(place->has_names);
            sim_disk_fail(world, calls[j], 1, -ENOSPC);
            int fd = draft_open(place);
            sim_disk_fail(world, calls[j], 1, 0);
            assert_int_equal(fd, calls[j] == SIM_DISK_OPEN || place->has_names ? -ENOSPC : fd);
            if (fd >= 0)
                draft_close(place, fd);
            /* What could not be removed then does not stand in the way. */
            for (int k = 0; k < 3; k++) {
                fd = draft_open(place);
                assert_true(fd >= 0);
                draft_close(place, fd);
            }
            if (place->has_names && calls[j] == SIM_DISK_NAME) {
                assert_string_equal(sim_file_below(world, PLACE, 0), PLACE "/new0");
                assert_int_equal(disk_unlink(PLACE "/new0"), 0);
            }
            end(world);
        }
    }
}

/* A name that could not be removed is another draft's later. */
static void takes_the_place_of_what_was_left(void **state)
{
    const struct draft_folder *place = &places[1];
    struct sim *world = begin(true);
    int fd = draft_open(place), again;

    (void)state;
    assert_int_equal(disk_write_at(fd, 0, bytes_of("old")), 0);
    sim_disk_fail(world, SIM_DISK_NAME, 1, -EIO);
    draft_close(place, fd);
    sim_disk_fail(world, SIM_DISK_NAME, 1, 0);
    again = draft_open(place);
    assert_int_equal(again, fd);
    assert_int_equal(draft_link(place, again, "/goal/new"), 0);
    draft_close(place, again);
    assert_true(is_file(world, "/goal/new", ""));
    end(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_linked_or_vanish),
        cmocka_unit_test(lives_on_without_its_name),
        cmocka_unit_test(fails_without_a_trace),
        cmocka_unit_test(takes_the_place_of_what_was_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
