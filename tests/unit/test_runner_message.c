/* SPDX-License-Identifier: BSD-2-Clause */
/* What a file says of a try that the runner does not know of. */
/* needs: shell proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include "spool/runner_private.h"
#include "tests/unit/lib.h"

/* Another runner has tried it meanwhile: it waits from then on, if its target may have it. */
static void sees_tries_of_others(void **state)
{
    static const struct {
        enum fate fate;
        bool may_be_duplicate; /* the file says so */
        int64_t tried_ms;
        bool knows_duplicate;
        int64_t known_s;
        bool is_outdated;
    } rows[] = {
        {FATE_OPEN, false, 0, false, 0, false},
        {FATE_DEFERRED, false, 7000, false, 5, false}, /* sooner than it could be: no harm */
        {FATE_UNKNOWN, false, 7000, false, 5, true},
        {FATE_DEFERRED, true, 7000, false, 7, true},
        {FATE_DEFERRED, true, 7999, true, 7, false},
        {FATE_UNKNOWN, true, 8000, true, 7, true},
        {FATE_UNKNOWN, true, 6000, true, 7, true}, /* the wall clock was set back */
        {FATE_ACCEPTED, true, 8000, true, 7, false},
    };
    struct schedule *schedule = schedule_new((struct hash_key){{1, 2}}, 10);
    struct schedule_entry entry = {.target = schedule_target_of(schedule, bytes_of("a"))};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct spool_recipient recipients[] = {
            {.queue = bytes_of("b"), .fate = FATE_UNKNOWN, .tried_ms = 99000},
            {.queue = bytes_of("a"),
             .fate = rows[i].fate,
             .may_be_duplicate = rows[i].may_be_duplicate,
             .tried_ms = rows[i].tried_ms}};
        struct spool_message message = {.recipients = recipients, .recipient_count = 2};

        entry.may_be_duplicate = rows[i].knows_duplicate;
        entry.tried_s = rows[i].known_s;
        lib_is_true(i, "is outdated", runner_is_outdated(&entry, &message) == rows[i].is_outdated);
    }
    lib_end_rows();
    schedule_free(&schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_tries_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
