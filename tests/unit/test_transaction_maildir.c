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
        cmocka_unit_test(test_queued_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
