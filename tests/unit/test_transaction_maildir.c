/* SPDX-License-Identifier: BSD-2-Clause */
/* What the disk does to a message, recipient by recipient: the commit of a Maildir, and a file of
 * the spool that cannot be read. */
/* needs: tests/unit/transaction_play.c */
#include "tests/unit/transaction_play.h"

/* Both recipients go to one maildir, which has been asked to do what `p` withholds. */
static void play_maildir(struct play *p, enum transaction_policy policy)
{
    struct routed_leg to;

    p->t.policy = policy;
    p->kinds[0] = MAILDIR;
    to = play_leg(p, 0);
    p->rcpts[0] = play_add(p, &to, 1);
    p->rcpts[1] = play_add(p, &to, 1);
    assert_true(play(p));
}

static void feed_maildir(struct play *p, enum event_kind kind, struct recipient *rcpt, int error,
                         bool may_be_there)
{
    play_feed(p, (struct event){.kind = kind,
                                .branch = p->rcpts[0]->branch,
                                .rcpt = rcpt,
                                .error = error,
                                .may_be_there = may_be_there});
    play_drain(p);
}

/* Nobody has an outcome before the disk says so, and each has its own. */
static void test_queued_commits(void **state)
{
    static const struct {
        int error;
        bool may_be_there;
        enum fate fate;
        unsigned code;
    } rows[] = {
        {0, false, FATE_ACCEPTED, 250},
        {ERR_MEMORY, false, FATE_DEFERRED, 451},
        {ERR_FULL, false, FATE_DEFERRED, 452},
        {ERR_MEMORY, true, FATE_UNKNOWN, 451},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct play p;
        play_begin(&p);
        p.withholds_appear = true;
        play_maildir(&p, TRANSACTION_QUEUED);
        lib_same_number(i, "asked", 1, p.appeared);
        lib_same_number(i, "before", FATE_OPEN, p.rcpts[0]->final);
        feed_maildir(&p, EV_COMMITTED, p.rcpts[0], rows[i].error, rows[i].may_be_there);
        lib_same_number(i, "fate", rows[i].fate, p.rcpts[0]->final);
        lib_same_number(i, "code", rows[i].code, p.rcpts[0]->reply.code);
        lib_same_number(i, "other", FATE_OPEN, p.rcpts[1]->final);
        lib_is_true(i, "waits", !p.is_settled);
        feed_maildir(&p, EV_COMMITTED, NULL, 0, false);
        lib_same_number(i, "other", FATE_ACCEPTED, p.rcpts[1]->final);
        lib_same_number(i, "fate at the end", rows[i].fate, p.rcpts[0]->final);
        lib_is_true(i, "settled", p.is_settled);
        play_end(&p);
    }
    lib_end_rows();
}

/* Who cannot be prepared is deferred, and the others appear. */
static void test_queued_prepares(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.withholds_undo = true;
    play_maildir(&p, TRANSACTION_QUEUED);
    feed_maildir(&p, EV_PREPARED, p.rcpts[0], ERR_FULL, false);
    assert_int_equal(p.rcpts[0]->final, FATE_DEFERRED);
    assert_int_equal(p.appeared, 0);
    feed_maildir(&p, EV_PREPARED, NULL, 0, false);
    assert_int_equal(p.appeared, 1);
    assert_true(p.is_settled);
    assert_int_equal(p.rcpts[0]->final, FATE_DEFERRED);
    assert_int_equal(p.rcpts[1]->final, FATE_ACCEPTED);
    play_end(&p);
    /* nobody */
    play_begin(&p);
    p.undo_error = ERR_MEMORY;
    play_maildir(&p, TRANSACTION_QUEUED);
    assert_true(p.is_settled);
    assert_int_equal(p.appeared, 0);
    assert_int_equal(p.dropped, 1);
    assert_int_equal(p.rcpts[0]->final, FATE_DEFERRED);
    assert_int_equal(p.rcpts[1]->final, FATE_DEFERRED);
    play_end(&p);
}

/* A client waits: it hears that it failed, and what is there comes twice. */
static void test_live_commits(void **state)
{
    static const struct {
        int errors[2];
        bool may_be_there, is_duplicate; /* the first one */
        unsigned code;
    } rows[] = {
        {{0, 0}, false, false, 250},
        {{ERR_MEMORY, ERR_MEMORY}, false, false, 451},
        {{ERR_MEMORY, ERR_MEMORY}, true, true, 451},
        {{0, ERR_FULL}, false, true, 452},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct play p;
        play_begin(&p);
        p.withholds_appear = true;
        play_maildir(&p, TRANSACTION_LIVE);
        feed_maildir(&p, EV_COMMITTED, p.rcpts[0], rows[i].errors[0], rows[i].may_be_there);
        lib_is_true(i, "waits", !p.is_settled);
        feed_maildir(&p, EV_COMMITTED, NULL, rows[i].errors[1], false);
        lib_is_true(i, "settled", p.is_settled);
        lib_same_number(i, "code", rows[i].code, p.t.outcome.code);
        lib_same_number(i, "duplicate", rows[i].is_duplicate,
                        p.rcpts[0]->branch->facts.may_be_duplicate);
        play_end(&p);
    }
    lib_end_rows();
}

/* We are to end, now, and the disk is at work: what it has done counts. */
static void test_abandoned_while_committing(void **state)
{
    static const enum transaction_policy policies[] = {TRANSACTION_LIVE, TRANSACTION_QUEUED};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct play p;
        int error = i % 2 == 0 ? 0 : ERR_MEMORY;
        play_begin(&p);
        p.withholds_appear = true;
        play_maildir(&p, policies[i / 2]);
        transaction_abandon(&p.t);
        play_drain(&p);
        lib_is_true(i, "waits", !p.is_settled && p.dropped == 0);
        feed_maildir(&p, EV_COMMITTED, NULL, error, false);
        lib_is_true(i, "settled", p.is_settled);
        lib_same_number(i, "fate", error == 0 ? FATE_ACCEPTED : FATE_DEFERRED, p.rcpts[0]->final);
        play_end(&p);
    }
    lib_end_rows();
}

/* It hangs for so long that the client is told something; or nobody is there any more. */
static void test_committing_takes_too_long(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.withholds_appear = true;
    play_maildir(&p, TRANSACTION_LIVE);
    play_feed(&p, (struct event){.kind = EV_DEADLINE});
    play_drain(&p);
    assert_true(p.is_settled);
    assert_int_equal(p.t.outcome.code, 451);
    assert_true(p.rcpts[0]->branch->facts.may_be_duplicate);
    play_end(&p);

    play_begin(&p);
    p.withholds_appear = true;
    play_maildir(&p, TRANSACTION_LIVE);
    play_feed(&p, (struct event){.kind = EV_LOST});
    play_drain(&p);
    assert_false(p.is_settled);
    feed_maildir(&p, EV_COMMITTED, NULL, 0, false);
    assert_true(p.is_settled);
    assert_true(p.rcpts[0]->branch->facts.may_be_duplicate);
    play_end(&p);
}

/* NOTIFY=SUCCESS: the report that is owed is made durable when the message is there, and the client
 * hears nothing before. */
static void test_live_reports(void **state)
{
    static const struct {
        const char *from, *params;
        int prepare_error, appear_error, commit_error;
        bool is_prepared, is_committed, is_duplicate;
        int appeared;
        unsigned code;
    } rows[] = {
        {"joe", "NOTIFY=SUCCESS", 0, 0, 0, true, true, false, 1, 250},
        {"joe", "NOTIFY=DELAY,success ORCPT=x;y", 0, 0, 0, true, true, false, 1, 250},
        {"joe", "", 0, 0, 0, false, false, false, 1, 250},
        {"joe", "NOTIFY=FAILURE", 0, 0, 0, false, false, false, 1, 250},
        {"joe", "NOTIFY=NEVER", 0, 0, 0, false, false, false, 1, 250},
        {"", "NOTIFY=SUCCESS", 0, 0, 0, false, false, false, 1, 250},
        {"joe", "NOTIFY=SUCCESS", ERR_FULL, 0, 0, true, false, false, 0, 452},
        {"joe", "NOTIFY=SUCCESS", 0, ERR_MEMORY, 0, true, false, false, 1, 451},
        {"joe", "NOTIFY=SUCCESS", 0, 0, ERR_MEMORY, true, true, true, 1, 451},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct play p;
        play_begin(&p);
        p.t.envelope.from.local = bytes_of(rows[i].from);
        p.t.envelope.is_dsn = true;
        p.prepare_error = rows[i].prepare_error;
        p.withholds_commit = true;
        p.withholds_appear = true;
        p.kinds[0] = MAILDIR;
        struct routed_leg to = play_leg(&p, 0);
        p.rcpts[0] = play_add(&p, &to, 1);
        p.rcpts[1] = play_add(&p, &to, 1);
        p.rcpts[0]->params = bytes_of(rows[i].params);
        lib_is_true(i, "stands", play(&p));
        lib_same_number(i, "prepared", rows[i].is_prepared, p.was_prepared);
        lib_same_number(i, "appears", rows[i].appeared, p.appeared);
        lib_is_true(i, "the message comes first", !p.was_committed);
        if (p.appeared != 0)
            feed_maildir(&p, EV_COMMITTED, NULL, rows[i].appear_error, false);
        lib_same_number(i, "committed", rows[i].is_committed, p.was_committed);
        lib_same_number(i, "settled", !rows[i].is_committed, p.is_settled);
        if (p.was_committed) {
            lib_same_number(i, "for", OUTCOME_REPORT, outcome_disposition(&p.t, p.rcpts[0]));
            play_feed(&p, (struct event){.kind = EV_COMMITTED, .error = rows[i].commit_error});
            play_drain(&p);
        }
        lib_is_true(i, "settled at last", p.is_settled);
        lib_same_number(i, "code", rows[i].code, p.t.outcome.code);
        lib_same_number(i, "duplicate", rows[i].is_duplicate,
                        p.rcpts[0]->branch->facts.may_be_duplicate);
        play_end(&p);
    }
    lib_end_rows();
}

/* A relay without DSN, and one that may not be spooled beside a Maildir: who is told of what. */
static void test_live_reports_of_relays(void **state)
{
    static const struct {
        enum kind kinds[2];
        bool lacks_dsn; /* the first one */
        bool is_committed;
        enum outcome_disposition told[2];
    } rows[] = {
        {{SPOOLABLE, SPOOLABLE}, true, true, {OUTCOME_REPORT, OUTCOME_NOTHING}},
        {{SPOOLABLE, SPOOLABLE}, false, false, {OUTCOME_NOTHING, OUTCOME_NOTHING}},
        {{SPOOLABLE, MAILDIR}, true, true, {OUTCOME_REPORT, OUTCOME_REPORT}},
        {{TEMPFAIL, MAILDIR}, false, true, {OUTCOME_NOTHING, OUTCOME_REPORT}},
        {{TEMPFAIL, MAILDIR}, true, true, {OUTCOME_REPORT, OUTCOME_REPORT}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct play p;
        play_begin(&p);
        p.t.envelope.from.local = bytes_of("joe");
        p.t.envelope.is_dsn = true;
        memcpy(p.kinds, rows[i].kinds, sizeof(p.kinds));
        play_address_apart(&p);
        for (int j = 0; j < 2; j++)
            p.rcpts[j]->params = bytes_of("NOTIFY=SUCCESS");
        p.rcpts[0]->branch->lacks_dsn = rows[i].lacks_dsn;
        lib_is_true(i, "settled", play(&p) && p.is_settled);
        lib_same_number(i, "code", 250, p.t.outcome.code);
        lib_same_number(i, "committed", rows[i].is_committed, p.was_committed);
        for (int j = 0; j < 2; j++)
            lib_same_number(i, "told", rows[i].told[j], outcome_disposition(&p.t, p.rcpts[j]));
        play_end(&p);
    }
    lib_end_rows();
}

/* The file of the spool cannot be read any more: a try that failed, for all that have no answer or
 * no outcome yet. */
static void test_queued_cannot_be_read(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.t.policy = TRANSACTION_QUEUED;
    struct routed_leg to = play_leg(&p, 0);
    p.rcpts[0] = play_add(&p, &to, 1);
    p.rcpts[1] = play_add(&p, &to, 1);
    transaction_data(&p.t);
    play_drain(&p);
    play_answer_rcpt(&p, 0);
    play_feed(&p, (struct event){.kind = EV_COPY, .error = ERR_MEMORY});
    play_drain(&p);
    assert_int_equal(p.dropped, 1);
    assert_int_equal(p.rcpts[0]->final, FATE_DEFERRED);
    assert_int_equal(p.rcpts[1]->envelope, FATE_DEFERRED);
    assert_int_equal(p.rcpts[1]->reply.code, 451);
    assert_int_equal(transaction_go(&p.t), TRANSACTION_GO_AHEAD);
    transaction_end(&p.t);
    play_drain(&p);
    assert_true(p.is_settled);
    play_end(&p);
    /* behind the end of data */
    play_begin(&p);
    p.t.policy = TRANSACTION_QUEUED;
    p.ways[0] = HANGS;
    play_address_apart(&p);
    assert_true(play(&p));
    play_feed(&p, (struct event){.kind = EV_COPY, .error = ERR_MEMORY});
    play_drain(&p);
    assert_true(p.is_settled);
    assert_int_equal(p.rcpts[0]->final, FATE_UNKNOWN);
    assert_int_equal(p.rcpts[1]->final, FATE_ACCEPTED);
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queued_commits),
        cmocka_unit_test(test_queued_prepares),
        cmocka_unit_test(test_live_commits),
        cmocka_unit_test(test_abandoned_while_committing),
        cmocka_unit_test(test_committing_takes_too_long),
        cmocka_unit_test(test_live_reports),
        cmocka_unit_test(test_live_reports_of_relays),
        cmocka_unit_test(test_queued_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
