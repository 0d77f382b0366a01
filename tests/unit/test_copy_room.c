/* SPDX-License-Identifier: BSD-2-Clause */
/* What copies share: who waits for room, who goes beyond the limit, who is refused. */
/* needs: tests/unit/copy_world.c proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include "proxy/io/copy.h"

#include "tests/unit/copy_world.h"

#define SLACK (16 * CHUNK) /* that a copy may have in memory while it cannot be written */

/* Three copies, whose clients are in nets of their own. */
static void begin(struct copy_world *f)
{
    static const char *const clients[COPIES] = {"192.0.2.1", "198.51.100.1", "2001:db8::1"};

    copy_world_begin(f, 1);
    for (int i = 0; i < COPIES; i++) {
        assert_int_equal(netaddr_parse(bytes_of(clients[i]), &f->owners[i].client), 0);
        assert_true(copy_world_new(f, i));
    }
}

/* Nobody else waits: it may go beyond the limit. */
static void the_oldest_finishes(void **state)
{
    struct copy_world f;
    int error;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = CHUNK;
    copy_world_append(&f.owners[1], MILLION, &error); /* the younger one comes first */
    copy_world_append(&f.owners[0], MILLION, &error);
    assert_true(copy_world_append_all(&f.owners[0], 8 * MILLION));
    assert_ptr_equal(f.limits.favoured, f.owners[0].copy);
    assert_false(copy_world_append_all(&f.owners[1], 8 * MILLION));
    assert_true(f.limits.files_used_bytes < 10 * MILLION);

    copy_finish(f.owners[0].copy); /* its room is held still */
    copy_world_pass(&f, 2000);
    assert_int_equal(copy_room(f.owners[1].copy), 0);
    f.owners[1].rooms = 0;
    copy_free(&f.owners[0].copy);
    copy_world_settle(&f);
    assert_int_equal(f.owners[1].rooms, 1);
    assert_true(copy_world_append_all(&f.owners[1], 8 * MILLION));
    assert_int_equal(f.owners[0].refusals + f.owners[1].refusals, 0);
    copy_world_end(&f);
}

static void who_needs_no_file_leaves_it_to_others(void **state)
{
    struct copy_world f;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = 0;
    assert_true(copy_world_append_all(&f.owners[0], 2 * MILLION));
    assert_false(copy_world_append_all(&f.owners[1], 2 * MILLION));
    copy_let_go(f.owners[0].copy);
    copy_world_settle(&f);
    assert_true(copy_world_append_all(&f.owners[1], 2 * MILLION));
    copy_world_end(&f);
}

static void waits_five_seconds(void **state)
{
    struct copy_world f;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = CHUNK;
    assert_true(copy_world_append_all(&f.owners[0], 2 * MILLION));
    assert_false(copy_world_append_all(&f.owners[1], 2 * MILLION));
    for (int i = 0; i < 4; i++) {
        copy_world_pass(&f, 1000);
        assert_true(copy_world_append_all(&f.owners[0], CHUNK)); /* this one is alive */
    }
    assert_int_equal(f.owners[1].refusals, 0);
    copy_world_pass(&f, 2500);
    assert_int_equal(f.owners[1].refusals, 1);
    assert_int_equal(f.owners[0].refusals, 0);
    copy_world_end(&f);
}

/* A limit that is reached harms nobody as long as nobody asks for more. */
static void may_be_idle_while_nobody_lacks_room(void **state)
{
    struct copy_world f;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = MILLION;
    assert_true(copy_world_append_all(&f.owners[0], 3 * MILLION));
    assert_int_equal(f.limits.files_used_bytes >= MILLION, 1);
    copy_world_pass(&f, 3600000);
    assert_int_equal(f.owners[0].refusals, 0);
    copy_world_end(&f);
}

static void what_is_idle_makes_room(void **state)
{
    struct copy_world f;
    int error;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = 4 * MILLION;
    for (int i = 0; i < 2; i++)
        assert_true(copy_world_append_all(&f.owners[i], 3 * MILLION));
    copy_world_pass(&f, 4500);
    copy_world_append(&f.owners[1], CHUNK, &error);
    copy_world_append(&f.owners[2], 2 * MILLION, &error); /* more than finds room */
    copy_world_settle(&f);
    f.owners[2].rooms = 0;
    copy_world_pass(&f, 1500);
    assert_int_equal(f.owners[0].refusals, 1); /* that was idle for longer */
    assert_int_equal(f.owners[1].refusals, 0);
    assert_int_equal(f.owners[2].refusals, 0);
    assert_true(copy_world_append_all(&f.owners[2], MILLION));
    copy_world_end(&f);
}

/* Less than a chunk in five seconds is as good as nothing, also of what goes beyond the limit. */
static void what_drips_makes_room(void **state)
{
    struct copy_world f;
    int error;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = 4 * MILLION;
    assert_true(copy_world_append_all(&f.owners[0], 6 * MILLION + 1)); /* within a chunk */
    assert_ptr_equal(f.limits.favoured, f.owners[0].copy);
    assert_false(copy_world_append_all(&f.owners[1], 2 * MILLION));
    for (int i = 0; i < 6; i++) {
        copy_world_pass(&f, 1000);
        if (f.owners[0].refusals == 0)
            copy_world_append(&f.owners[0], 1, &error);
    }
    assert_int_equal(f.owners[0].refusals, 1);
    assert_int_equal(f.owners[1].refusals, 0);
    assert_true(copy_world_append_all(&f.owners[1], MILLION));
    copy_world_end(&f);
}

static void ends_with_its_client(void **state)
{
    struct copy_world f;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = CHUNK;
    assert_true(copy_world_append_all(&f.owners[0], 2 * MILLION));
    for (int i = 1; i < 3; i++)
        assert_false(copy_world_append_all(&f.owners[i], 2 * MILLION));
    f.owners[2].is_ending = true;
    copy_world_pass(&f, 1500);
    assert_int_equal(f.owners[0].refusals, 0);
    assert_int_equal(f.owners[1].refusals, 0);
    assert_int_equal(f.owners[2].refusals, 1);
    copy_world_end(&f);
}

/* A client in the same net as the first one's; a third of another net finds room at once. */
static void a_net_gives_back_what_is_over_its_part(void **state)
{
    struct copy_world f;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = 8 * MILLION;
    copy_free(&f.owners[1].copy);
    assert_int_equal(netaddr_parse(bytes_of("192.0.2.250"), &f.owners[1].client), 0);
    assert_true(copy_world_new(&f, 1));
    assert_true(copy_world_append_all(&f.owners[0], 3 * MILLION));
    assert_true(copy_world_append_all(&f.owners[1], 16 * MILLION)); /* goes beyond the limit */
    assert_ptr_equal(f.limits.favoured, f.owners[1].copy);
    assert_false(copy_world_append_all(&f.owners[2], 3 * MILLION));
    copy_world_pass(&f, 1500);
    assert_int_equal(f.owners[0].refusals, 1);
    assert_int_equal(f.owners[2].refusals, 0);
    copy_world_end(&f);
}

/* As long as others lack room, nothing of what they would find goes to a net that has its part. */
static void a_net_that_has_its_part_gets_nothing(void **state)
{
    struct copy_world f;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = 8 * MILLION;
    assert_true(copy_world_append_all(&f.owners[0], 4 * MILLION));
    assert_true(copy_world_append_all(&f.owners[1], 8 * MILLION)); /* beyond the limit */
    assert_false(copy_world_append_all(&f.owners[2], 2 * MILLION));
    assert_int_equal(f.limits.modest_lacking, 1);
    f.limits.files_max_bytes = 14 * MILLION;
    assert_false(copy_world_append_all(&f.owners[0], 2 * MILLION));
    assert_true(copy_world_append_all(&f.owners[2], MILLION));
    assert_int_equal(f.limits.modest_lacking, 0);
    copy_world_end(&f);
}

/* Who waits for a slow target is not refused for that. */
static void waits_for_readers_without_an_end(void **state)
{
    struct copy_world f;
    int error;

    (void)state;
    begin(&f);
    copy_world_follow(&f, 0, &f.owners[0]);
    copy_let_go(f.owners[0].copy);
    copy_world_append(&f.owners[0], 8 * MILLION, &error);
    assert_true(copy_waits_for_readers(f.owners[0].copy));
    f.owners[0].is_ending = true;
    copy_world_pass(&f, 3600000);
    assert_int_equal(f.owners[0].refusals, 0);
    copy_world_end(&f);
}

/* Envelopes take memory that copies share, and each net has its part of it. */
static void counts_envelopes(void **state)
{
    struct copy_world f;
    struct copy_net *one, *other;

    (void)state;
    begin(&f);
    one = copy_net_of(&f.limits, &f.owners[0].client);
    other = copy_net_of(&f.limits, &f.owners[2].client);
    f.limits.memory_max_bytes = 8 * CHUNK;
    f.limits.memory_each_bytes = 8 * CHUNK;
    assert_true(copy_may_envelope_grow(&f.limits, one));
    copy_count_envelope(&f.limits, one, 2 * CHUNK);
    assert_false(copy_may_envelope_grow(&f.limits, one));
    assert_true(copy_may_envelope_grow(&f.limits, other));
    assert_true(copy_world_append_all(&f.owners[1], MILLION));
    copy_world_settle(&f);
    assert_true(f.owners[1].appended - f.limits.files_used_bytes <= 7 * CHUNK); /* it spilled */
    copy_count_envelope(&f.limits, one, 6 * CHUNK);
    assert_false(copy_may_envelope_grow(&f.limits, other));
    copy_count_envelope(&f.limits, one, -8 * CHUNK);
    assert_true(copy_may_envelope_grow(&f.limits, one));
    assert_true(copy_may_envelope_grow(&f.limits, other));
    copy_world_end(&f);
}

/* Clients that fill all there is, again and again: what is used stays below the limits and one
 * message, and every client but those who are refused finishes. */
static void nobody_waits_for_ever(void **state)
{
    struct copy_world f;
    struct lib_random random = {.state = 5};
    int finished = 0, refused = 0;

    (void)state;
    begin(&f);
    f.limits.files_max_bytes = 4 * MILLION;
    f.limits.memory_max_bytes = MILLION;
    for (int turn = 0; turn < 3000; turn++) {
        int which = (int)(lib_random_next(&random) % COPIES), error;
        struct owner *o = &f.owners[which];

        if (o->copy == NULL && !copy_world_new(&f, which))
            fail();
        copy_world_append(o, lib_random_next(&random) % MILLION, &error);
        assert_int_equal(error, 0);
        if (o->appended > 6 * MILLION) {
            copy_finish(o->copy);
            copy_free(&o->copy);
            o->appended = 0;
            finished++;
        }
        copy_world_pass(&f, lib_random_next(&random) % 500);
        assert_true(f.limits.files_used_bytes <= (4 + 7 + 3) * MILLION);
        assert_true(f.limits.memory_used_bytes <= MILLION + COPIES * (uint64_t)(SLACK + CHUNK));
    }
    for (int i = 0; i < COPIES; i++)
        refused += f.owners[i].refusals;
    assert_true(finished > 20);
    assert_true(refused > 0);
    copy_world_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_finishes),
        cmocka_unit_test(who_needs_no_file_leaves_it_to_others),
        cmocka_unit_test(waits_five_seconds),
        cmocka_unit_test(may_be_idle_while_nobody_lacks_room),
        cmocka_unit_test(what_is_idle_makes_room),
        cmocka_unit_test(what_drips_makes_room),
        cmocka_unit_test(ends_with_its_client),
        cmocka_unit_test(a_net_gives_back_what_is_over_its_part),
        cmocka_unit_test(a_net_that_has_its_part_gets_nothing),
        cmocka_unit_test(waits_for_readers_without_an_end),
        cmocka_unit_test(counts_envelopes),
        cmocka_unit_test(nobody_waits_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
