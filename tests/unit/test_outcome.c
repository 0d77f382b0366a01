/* SPDX-License-Identifier: BSD-2-Clause */
/* Every pair of fates: what the client is told, and what is spooled. */
/* needs: tests/unit/transaction_play.c */
#include "tests/unit/transaction_play.h"

static const char all_ways[] = "adruleRD";

/* Rows: what the first target does; columns: the second. Each has a recipient of its own. */
static const char *const apart[8][8] = {
    {"250 --", "250Q -S c", "250Q -B c", "250Q -S c", "250Q -S p c", "250Q -B p c", "250 --",
     "250 --"},
    {"250Q S- c", "450 --", "450 --", "250Q SS c", "250Q SS p c", "450 -- p", "450 --", "450 --"},
    {"250Q B- c", "450 --", "550 --", "250Q BS c", "250Q BS p c", "550 -- p", "550 --", "550 --"},
    {"250Q S- c", "250Q SS c", "250Q SB c", "250Q SS c", "250Q SS p c", "250Q SB p c", "250Q S- c",
     "250Q S- c"},
    {"250Q S- p c", "250Q SS p c", "250Q SB p c", "250Q SS p c", "250Q SS c", "250Q SB c",
     "250Q S- c", "250Q S- c"},
    {"250Q B- p c", "450 -- p", "550 -- p", "250Q BS p c", "250Q BS c", "550 --", "550 --",
     "550 --"},
    {"250 --", "450 --", "550 --", "250Q -S c", "250Q -S c", "550 --", "none", "none"},
    {"250 --", "450 --", "550 --", "250Q -S c", "250Q -S c", "550 --", "none", "none"},
};

/* One recipient goes to both. */
static const char *const listed[8][8] = {
    {"250 --", "250Q -S c", "250Q -B c", "250Q -S c", "250Q -S p c", "250Q -B p c", "250Q -B p c",
     "250Q -S p c"},
    {"250Q S- c", "450 --", "450 --", "250Q SS c", "250Q SS p c", "450 -- p", "450 -- p",
     "450 -- p"},
    {"250Q B- c", "450 --", "550 --", "250Q BS c", "250Q BS p c", "550 -- p", "550 -- p",
     "450 -- p"},
    {"250Q S- c", "250Q SS c", "250Q SB c", "250Q SS c", "250Q SS p c", "250Q SB p c",
     "250Q SB p c", "250Q SS p c"},
    {"250Q S- p c", "250Q SS p c", "250Q SB p c", "250Q SS p c", "250Q SS c", "250Q SB c",
     "250Q SB c", "250Q SS c"},
    {"250Q B- p c", "450 -- p", "550 -- p", "250Q BS p c", "250Q BS c", "550 --", "550 --",
     "450 --"},
    {"250Q B- p c", "450 -- p", "550 -- p", "250Q BS p c", "250Q BS c", "550 --", "none", "none"},
    {"250Q S- p c", "450 -- p", "450 -- p", "250Q SS p c", "250Q SS c", "450 --", "none", "none"},
};

static void play_table(const char *const expected[8][8], bool is_list)
{
    static struct lib_text seen;

    for (size_t i = 0; i < 64; i++) {
        struct play p;
        play_begin(&p);
        p.ways[0] = all_ways[i / 8];
        p.ways[1] = all_ways[i % 8];
        if (is_list)
            play_address_list(&p);
        else
            play_address_apart(&p);
        seen.len = 0;
        if (!play(&p)) {
            lib_put(&seen, "none");
        } else {
            play_describe(&p, &seen);
            lib_is_true(i, "settled", p.is_settled);
        }
        lib_same_text(i, "outcome", expected[i / 8][i % 8], seen.at);
        play_end(&p);
    }
    lib_end_rows();
}

static void test_apart(void **state)
{
    (void)state;
    play_table(apart, false);
}

static void test_list(void **state)
{
    (void)state;
    play_table(listed, true);
}

/* ---- a relay that may not be spooled, and a maildir ---- */

static const struct row {
    char way;
    bool is_list;
    int undo_error, appear_error;
    const char *expected; /* outcome; ends of data that the relay got; maildirs that appeared */
} rows[] = {
    {ACCEPTS, false, 0, 0, "250 -- ended 1 appeared 1"},
    {DEFERS, false, 0, 0, "450 -- ended 1 appeared 0"},
    {REFUSES, false, 0, 0, "550 -- ended 1 appeared 0"},
    {VANISHES, false, 0, 0, "451 -- ended 1 appeared 0"},
    {BREAKS, false, 0, 0, "451 -- ended 0 appeared 0"},
    {REFUSES_EARLY, false, 0, 0, "550 -- ended 0 appeared 0"},
    {REFUSES_RCPT, false, 0, 0, "250 -- ended 0 appeared 1"},
    {DEFERS_RCPT, false, 0, 0, "250 -- ended 0 appeared 1"},
    {ACCEPTS, true, 0, 0, "250 -- ended 1 appeared 1"},
    {DEFERS, true, 0, 0, "450 -- ended 1 appeared 0"},
    {REFUSES, true, 0, 0, "550 -- ended 1 appeared 0"},
    {VANISHES, true, 0, 0, "451 -- ended 1 appeared 0"},
    {BREAKS, true, 0, 0, "451 -- ended 0 appeared 0"},
    {REFUSES_EARLY, true, 0, 0, "550 -- ended 0 appeared 0"},
    {REFUSES_RCPT, true, 0, 0, "none"},
    {DEFERS_RCPT, true, 0, 0, "none"},
    {ACCEPTS, false, ERR_FULL, 0, "452 -- ended 0 appeared 0"},
    {ACCEPTS, false, ERR_MEMORY, 0, "451 -- ended 0 appeared 0"},
    {ACCEPTS, false, 0, ERR_FULL, "452 -- ended 1 appeared 1"},
    {ACCEPTS, true, 0, ERR_MEMORY, "451 -- ended 1 appeared 1"},
};

static void play_row(size_t i, enum kind kind, const char *expected)
{
    static struct lib_text seen;
    const struct row *row = &rows[i];
    struct play p;

    play_begin(&p);
    p.ways[0] = row->way;
    p.kinds[0] = kind;
    p.kinds[1] = MAILDIR;
    p.undo_error = row->undo_error;
    p.appear_error = row->appear_error;
    if (row->is_list)
        play_address_list(&p);
    else
        play_address_apart(&p);
    seen.len = 0;
    if (play(&p)) {
        play_describe(&p, &seen);
        lib_put(&seen, " ended %d appeared %d", p.ended, p.appeared);
    } else {
        lib_put(&seen, "none");
    }
    lib_same_text(i, "outcome", expected, seen.at);
    play_end(&p);
}

static void test_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        play_row(i, TEMPFAIL, rows[i].expected);
    lib_end_rows();
}

/* The same rows where the relay may be spooled: the maildir stands for itself. */
static void test_spooled_beside_maildir(void **state)
{
    static const char *const expected[] = {
        "250 -- ended 1 appeared 1",    "250Q S- c ended 1 appeared 1",
        "250Q B- c ended 1 appeared 1", "250Q S- c ended 1 appeared 1",
        "250Q S- c ended 0 appeared 1", "250Q B- c ended 0 appeared 1",
        "250 -- ended 0 appeared 1",    "250 -- ended 0 appeared 1",
        "250 -- ended 1 appeared 1",    "250Q S- c ended 1 appeared 1",
        "250Q B- c ended 1 appeared 1", "250Q S- c ended 1 appeared 1",
        "250Q S- c ended 0 appeared 1", "250Q B- c ended 0 appeared 1",
        "250Q B- c ended 0 appeared 1", "250Q S- c ended 0 appeared 1",
        "452 -- ended 0 appeared 0",    "451 -- ended 0 appeared 0",
        "452 -- ended 1 appeared 1",    "451 -- ended 1 appeared 1",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        play_row(i, SPOOLABLE, expected[i]);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apart),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_spooled_beside_maildir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
