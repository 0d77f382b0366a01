/* SPDX-License-Identifier: BSD-2-Clause */
/* A filter wants the message, or what goes to one target, to be kept in the spool. */
/* needs: tests/unit/transaction_play.c */
#include "tests/unit/transaction_play.h"

struct row {
    const char *quarantined;
    char ways[2];
    enum kind kinds[2];
    enum unkept unkept;
    const char *expected; /* as play_describe() */
    int ended, appeared;
};

static const struct row rows[] = {
    /* of the whole message: nobody gets it */
    {"all", {ACCEPTS, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q HH c", 0, 0},
    {"all", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, KEPT, "250Q HH c", 0, 0},
    {"all", {ACCEPTS, ACCEPTS}, {MAILDIR, MAILDIR}, KEPT, "250Q HH c", 0, 0},
    {"all", {BREAKS, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q HH c", 0, 0},
    {"all", {BREAKS, BREAKS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q HH c", 0, 0},
    {"all", {REFUSES_EARLY, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q HH c", 0, 0},
    {"all", {REFUSES_RCPT, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q -H c", 0, 0},
    {"all", {REFUSES_EARLY, REFUSES_EARLY}, {SPOOLABLE, SPOOLABLE}, KEPT, "550 --", 0, 0},
    /* of one target: the other one's word counts for the rest */
    {"0", {ACCEPTS, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q H- p c", 1, 0},
    {"1", {ACCEPTS, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q -H p c", 1, 0},
    {"0", {ACCEPTS, BREAKS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q HS c", 0, 0},
    {"0", {BREAKS, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q H- p c", 1, 0},
    {"0", {ACCEPTS, REFUSES}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q HB p c", 1, 0},
    {"0", {ACCEPTS, VANISHES}, {SPOOLABLE, SPOOLABLE}, KEPT, "250Q HS p c", 1, 0},
    {"1", {ACCEPTS, ACCEPTS}, {SPOOLABLE, MAILDIR}, KEPT, "250Q -H p c", 1, 0},
    {"0", {ACCEPTS, ACCEPTS}, {SPOOLABLE, MAILDIR}, KEPT, "250Q H- c", 0, 1},
    /* all or nothing: only if the relay has taken it */
    {"1", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, KEPT, "250Q -H p c", 1, 0},
    {"1", {DEFERS, ACCEPTS}, {TEMPFAIL, MAILDIR}, KEPT, "450 -- p", 1, 0},
    {"1", {REFUSES, ACCEPTS}, {TEMPFAIL, MAILDIR}, KEPT, "451 -- p", 1, 0},
    {"1", {BREAKS, ACCEPTS}, {TEMPFAIL, MAILDIR}, KEPT, "451 --", 0, 0},
    {"0", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, KEPT, "250Q H- c", 0, 1},
    /* what is not kept cannot be held */
    {"all", {ACCEPTS, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, UNKEPT_BEFORE, "451 --", 0, 0},
    {"1", {ACCEPTS, ACCEPTS}, {SPOOLABLE, SPOOLABLE}, UNKEPT_AFTER, "451 --", 0, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static struct lib_text seen;
        struct play p;
        play_begin(&p);
        memcpy(p.ways, rows[i].ways, sizeof(p.ways));
        memcpy(p.kinds, rows[i].kinds, sizeof(p.kinds));
        p.unkept = rows[i].unkept;
        p.quarantined = rows[i].quarantined;
        play_address_apart(&p);
        assert_true(play(&p));
        lib_is_true(i, "settled", p.is_settled);
        seen.len = 0;
        play_describe(&p, &seen);
        lib_same_text(i, "outcome", rows[i].expected, seen.at);
        lib_same_number(i, "ends", rows[i].ended, p.ended);
        lib_same_number(i, "appeared", rows[i].appeared, p.appeared);
        play_end(&p);
    }
    lib_end_rows();
}

/* In a list each leg stands for itself, as ever. */
static void test_list(void **state)
{
    static const struct {
        char ways[2];
        const char *quarantined, *expected;
    } lists[] = {
        {{ACCEPTS, ACCEPTS}, "all", "250Q HH c"},
        {{ACCEPTS, ACCEPTS}, "1", "250Q -H p c"},
        {{ACCEPTS, DEFERS_RCPT}, "1", "250Q -H p c"},
        {{ACCEPTS, DEFERS_RCPT}, "0", "250Q HS c"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        static struct lib_text seen;
        struct play p;
        play_begin(&p);
        memcpy(p.ways, lists[i].ways, sizeof(p.ways));
        p.quarantined = lists[i].quarantined;
        play_address_list(&p);
        assert_true(play(&p));
        seen.len = 0;
        play_describe(&p, &seen);
        lib_same_text(i, "outcome", lists[i].expected, seen.at);
        play_end(&p);
    }
    lib_end_rows();
}

/* The spool cannot take it: never 250. */
static void test_spool_fails(void **state)
{
    static const struct {
        const char *quarantined;
        int prepare_error, commit_error;
        unsigned code;
        int ended;
    } fails[] = {
        {"all", 0, ERR_FULL, 452, 0},
        {"all", 0, ERR_MEMORY, 451, 0},
        {"1", ERR_FULL, 0, 452, 0},
        {"1", 0, ERR_FULL, 452, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(fails); i++) {
        struct play p;
        play_begin(&p);
        memcpy(p.ways, "aa", 2);
        p.quarantined = fails[i].quarantined;
        p.prepare_error = fails[i].prepare_error;
        p.commit_error = fails[i].commit_error;
        play_address_apart(&p);
        assert_true(play(&p));
        lib_is_true(i, "settled", p.is_settled);
        lib_same_number(i, "code", fails[i].code, p.t.outcome.code);
        lib_same_number(i, "ends", fails[i].ended, p.ended);
        lib_same_number(i, "duplicate", fails[i].ended, p.rcpts[0]->branch->facts.may_be_duplicate);
        play_end(&p);
    }
    lib_end_rows();
}

/* Said twice, and by both: the first reason counts, and nobody is counted out twice. */
static void test_twice(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    memcpy(p.ways, "aa", 2);
    p.quarantined = "0";
    play_address_apart(&p);
    p.withholds_commit = true;
    for (int i = 0; i < 2; i++)
        play_answer_rcpt(&p, i);
    transaction_data(&p.t);
    play_drain(&p);
    assert_int_equal(transaction_go(&p.t), TRANSACTION_GO_AHEAD);
    const struct target *first = p.rcpts[0]->branch->target;
    assert_int_equal(transaction_quarantine(&p.t, first, bytes_of("one")), 0);
    assert_int_equal(transaction_quarantine(&p.t, first, bytes_of("two")), 0);
    assert_int_equal(p.t.counts.targets, 1);
    assert_int_equal(transaction_quarantine(&p.t, NULL, bytes_of("three")), 0);
    assert_int_equal(transaction_quarantine(&p.t, NULL, bytes_of("four")), 0);
    assert_int_equal(p.t.counts.targets, 0);
    assert_true(bytes_is(p.t.quarantine.reason, "three"));
    assert_true(bytes_is(p.rcpts[0]->branch->destination->quarantine.reason, "one"));
    transaction_abandon(&p.t);
    play_drain(&p);
    play_end(&p);
}

/* A recipient that a filter adds afterwards. */
static void test_included(void **state)
{
    static const char *const whose[] = {"all", "1", "0"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(whose); i++) {
        static struct lib_text seen;
        const struct address to = {.local = bytes_of("late")};
        struct play p;
        play_begin(&p);
        memcpy(p.ways, "aa", 2);
        p.withholds_commit = true;
        play_address_apart(&p);
        for (int target = 0; target < 2; target++)
            play_answer_rcpt(&p, target);
        transaction_data(&p.t);
        play_drain(&p);
        assert_int_equal(transaction_go(&p.t), TRANSACTION_GO_AHEAD);
        const struct target *which = i == 0 ? NULL : p.rcpts[whose[i][0] - '0']->branch->target;
        assert_int_equal(transaction_quarantine(&p.t, which, bytes_of("virus")), 0);
        struct routed_leg leg = play_leg(&p, 1);
        struct routed routed = {.legs = &leg, .leg_count = 1};
        assert_int_equal(transaction_include(&p.t, &to, bytes_of(""), &routed), 0);
        const struct recipient *late =
            LIST_ENTRY(p.t.recipients.prev, struct recipient, in_transaction);
        seen.len = 0;
        lib_put(&seen, "%s",
                late->final == FATE_HELD && late->branch->state == BRANCH_DONE ? "held"
                                                                               : "goes on");
        lib_same_text(i, whose[i], i == 2 ? "goes on" : "held", seen.at);
        transaction_abandon(&p.t);
        play_drain(&p);
        play_end(&p);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),        cmocka_unit_test(test_list),
        cmocka_unit_test(test_spool_fails), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_included),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
