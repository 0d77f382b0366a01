/* SPDX-License-Identifier: BSD-2-Clause */
/* What the disk, the clock and the client do to a message; who may share it; deliveries of the
 * spool. */
/* needs: tests/unit/transaction_play.c */
#include "tests/unit/transaction_play.h"

#include "proxy/base/mem.h"

/* ---- what the disk, the clock, and the client do ---- */

static void test_spool_fails(void **state)
{
    static const struct {
        char ways[2];
        int prepare_error, commit_error;
        unsigned code;
        int ended;
        bool is_duplicate; /* of the second, which had it */
    } fails[] = {
        {{BREAKS, ACCEPTS}, ERR_FULL, 0, 452, 0, false},
        {{BREAKS, ACCEPTS}, ERR_MEMORY, 0, 451, 0, false},
        {{BREAKS, ACCEPTS}, 0, ERR_FULL, 452, 1, true},
        {{DEFERS, ACCEPTS}, 0, ERR_MEMORY, 451, 2, true},
        {{BREAKS, BREAKS}, 0, ERR_FULL, 452, 0, false},
        {{VANISHES, REFUSES}, 0, ERR_MEMORY, 451, 2, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(fails); i++) {
        struct play p;
        play_begin(&p);
        memcpy(p.ways, fails[i].ways, 2);
        p.prepare_error = fails[i].prepare_error;
        p.commit_error = fails[i].commit_error;
        play_address_apart(&p);
        assert_true(play(&p));
        lib_is_true(i, "settled", p.is_settled);
        lib_same_number(i, "code", fails[i].code, p.t.outcome.code);
        lib_same_number(i, "ends", fails[i].ended, p.ended);
        lib_same_number(i, "duplicate", fails[i].is_duplicate,
                        p.rcpts[1]->branch->facts.may_be_duplicate);
        play_end(&p);
    }
    lib_end_rows();
}

/* Nothing is left that could be spooled: what all have taken is well, and else none shall have it.
 */
static void test_copy_is_not_kept(void **state)
{
    static const struct {
        char ways[2];
        enum kind kind; /* of the second */
        enum unkept when;
        unsigned code;
        int ended;
        bool is_duplicate; /* of the first */
    } rows[] = {
        {{ACCEPTS, ACCEPTS}, SPOOLABLE, UNKEPT_BEFORE, 250, 2, false},
        {{BREAKS, ACCEPTS}, SPOOLABLE, UNKEPT_BEFORE, 451, 0, false},
        {{BREAKS, ACCEPTS}, SPOOLABLE, UNKEPT_AFTER, 452, 0, false}, /* it was needed already */
        {{BREAKS, BREAKS}, SPOOLABLE, UNKEPT_BEFORE, 451, 0, false},
        {{ACCEPTS, VANISHES}, SPOOLABLE, UNKEPT_BEFORE, 451, 2, true},
        {{ACCEPTS, DEFERS}, SPOOLABLE, UNKEPT_BEFORE, 450, 2, true},
        {{ACCEPTS, REFUSES}, SPOOLABLE, UNKEPT_BEFORE, 451, 2, true},
        {{REFUSES, REFUSES}, SPOOLABLE, UNKEPT_BEFORE, 451, 1, false}, /* the second has no end */
        {{ACCEPTS, REFUSES_EARLY}, SPOOLABLE, UNKEPT_BEFORE, 451, 0, false},
        {{ACCEPTS, REFUSES_RCPT}, SPOOLABLE, UNKEPT_BEFORE, 250, 1, false},
        {{ACCEPTS, ACCEPTS}, MAILDIR, UNKEPT_BEFORE, 452, 0, false},
        {{REFUSES_EARLY, ACCEPTS}, MAILDIR, UNKEPT_AFTER, 452, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct play p;
        play_begin(&p);
        memcpy(p.ways, rows[i].ways, 2);
        p.kinds[1] = rows[i].kind;
        p.unkept = rows[i].when;
        play_address_apart(&p);
        assert_true(play(&p));
        lib_is_true(i, "settled", p.is_settled);
        lib_is_true(i, "no spool", !p.was_prepared && !p.was_committed);
        lib_same_number(i, "code", rows[i].code, p.t.outcome.code);
        lib_same_number(i, "ends", rows[i].ended, p.ended);
        lib_same_number(i, "duplicate", rows[i].is_duplicate,
                        p.rcpts[0]->branch->facts.may_be_duplicate);
        lib_same_number(i, "appeared", 0, p.appeared);
        play_end(&p);
    }
    lib_end_rows();
}

/* Is there anybody who may need the message as a whole? */
static void test_wants_copy(void **state)
{
    static const struct {
        enum kind kinds[2];
        bool is_lost; /* the first */
        bool wants;
        bool lacks_dsn; /* the first, whose success is to be reported */
        bool is_refused_unkept;
    } rows[] = {
        {{SPOOLABLE, SPOOLABLE}, false, true, false, false},
        {{TEMPFAIL, SPOOLABLE}, false, false, false, false}, /* the second has no place there */
        {{TEMPFAIL, SPOOLABLE}, false, true, true, true},
        {{TEMPFAIL, MAILDIR}, false, true, false, true},
        {{TEMPFAIL, MAILDIR}, true, true, false, true},
        {{SPOOLABLE, TEMPFAIL}, true, true, false, true}, /* the first is to be spooled */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct play p;
        play_begin(&p);
        memcpy(p.kinds, rows[i].kinds, sizeof(p.kinds));
        play_address_apart(&p);
        play_drain(&p);
        play_answer_rcpt(&p, 0);
        play_answer_rcpt(&p, 1);
        if (rows[i].is_lost)
            play_feed(&p, (struct event){.kind = EV_BROKEN,
                                         .branch = p.rcpts[0]->branch,
                                         .reply = reply_own(REPLY_TARGET_LOST)});
        play_drain(&p);
        p.t.envelope.from.local = bytes_of("joe");
        p.t.envelope.is_dsn = rows[i].lacks_dsn;
        p.rcpts[0]->params = bytes_of("NOTIFY=SUCCESS");
        p.rcpts[0]->branch->lacks_dsn = rows[i].lacks_dsn;
        lib_same_number(i, "wants", rows[i].wants, transaction_wants_copy(&p.t));
        play_feed(&p, (struct event){.kind = EV_UNKEPT, .error = ERR_FULL});
        play_drain(&p);
        lib_same_number(i, "refused", rows[i].is_refused_unkept ? 452 : 0, p.t.refusal.code);
        play_end(&p);
    }
    lib_end_rows();
}

/* Maildirs wait for it: what can be undone is undone. */
static void test_spool_fails_before_maildirs(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.ways[0] = BREAKS;
    p.kinds[1] = MAILDIR;
    p.commit_error = ERR_FULL;
    play_address_list(&p);
    assert_true(play(&p));
    assert_true(p.is_settled);
    assert_int_equal(p.t.outcome.code, 452);
    assert_int_equal(p.appeared, 0);
    play_end(&p);
}

/* After the release: 'd' the deadline, 's' we are to end, 'g' the client is gone. */
static const struct {
    char event;
    char ways[2];
    enum kind kind; /* of both */
    const char *expected;
} late[] = {
    {'d', {HANGS, ACCEPTS}, SPOOLABLE, "250Q S- c unknown"},
    {'d', {HANGS, HANGS}, SPOOLABLE, "250Q SS c unknown"},
    {'d', {HANGS, REFUSES}, SPOOLABLE, "250Q SB c unknown"},
    {'s', {HANGS, ACCEPTS}, SPOOLABLE, "250Q S- c unknown"},
    {'g', {HANGS, ACCEPTS}, SPOOLABLE, "waits"},
    {'g', {HANGS, REFUSES}, SPOOLABLE, "waits"},
};

static void test_after_the_release(void **state)
{
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(late); i++) {
        struct play p;
        play_begin(&p);
        memcpy(p.ways, late[i].ways, 2);
        play_address_apart(&p);
        assert_true(play(&p));
        assert_false(p.is_settled);
        if (late[i].event == 's')
            assert_true(transaction_hurry(&p.t));
        else
            play_feed(&p, (struct event){.kind = late[i].event == 'd' ? EV_DEADLINE : EV_LOST});
        play_drain(&p);
        seen.len = 0;
        if (p.is_settled) {
            play_describe(&p, &seen);
            lib_put(&seen, p.rcpts[0]->final == FATE_UNKNOWN ? " unknown" : " lost");
        } else {
            lib_put(&seen, "waits");
        }
        lib_same_text(i, "outcome", late[i].expected, seen.at);
        play_end(&p);
    }
    lib_end_rows();
}

/* The client is gone behind the release: every target gets its end, and nothing is spooled. */
static void test_client_gone(void **state)
{
    static const char lasts[] = {DEFERS, REFUSES, VANISHES};

    (void)state;
    for (size_t i = 0; i < sizeof(lasts); i++) {
        struct play p;
        play_begin(&p);
        p.ways[0] = HANGS;
        play_address_apart(&p);
        assert_true(play(&p));
        play_feed(&p, (struct event){.kind = EV_LOST});
        p.ways[0] = lasts[i];
        play_answer_end(&p, p.rcpts[0]->branch);
        play_drain(&p);
        lib_is_true(i, "settled", p.is_settled);
        lib_is_true(i, "spooled", !p.was_committed && !p.was_prepared);
        lib_is_true(i, "duplicate", p.rcpts[1]->branch->facts.may_be_duplicate);
        play_end(&p);
    }
    lib_end_rows();
}

/* ... while it is being spooled: that cannot be undone, and comes twice. */
static void test_client_gone_while_spooling(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.ways[0] = BREAKS;
    p.withholds_commit = true;
    play_address_apart(&p);
    assert_true(play(&p));
    play_feed(&p, (struct event){.kind = EV_LOST});
    play_feed(&p, (struct event){.kind = EV_COMMITTED});
    play_drain(&p);
    assert_true(p.is_settled);
    assert_true(p.rcpts[0]->branch->facts.may_be_duplicate);
    assert_true(p.rcpts[1]->branch->facts.may_be_duplicate);
    play_end(&p);
}

static void test_client_gone_before(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.ways[0] = BREAKS;
    p.withholds_prepare = true;
    play_address_apart(&p);
    assert_true(play(&p));
    assert_true(p.was_prepared);
    play_feed(&p, (struct event){.kind = EV_LOST});
    play_drain(&p);
    assert_true(p.is_settled);
    assert_int_equal(p.ended, 0);
    assert_int_equal(p.t.outcome.code, 0);
    assert_false(p.was_committed);
    play_feed(&p, (struct event){.kind = EV_PREPARED}); /* too late */
    play_drain(&p);
    play_end(&p);
}

/* A disk that hangs: the second deadline ends it. */
static void test_disk_hangs(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.ways[0] = HANGS;
    p.withholds_commit = true;
    play_address_apart(&p);
    assert_true(play(&p));
    play_feed(&p, (struct event){.kind = EV_DEADLINE});
    play_drain(&p);
    assert_true(p.was_committed);
    assert_false(p.is_settled);
    assert_true(transaction_hurry(&p.t));
    play_drain(&p);
    assert_false(p.is_settled);
    play_feed(&p, (struct event){.kind = EV_DEADLINE});
    play_drain(&p);
    assert_true(p.is_settled);
    assert_int_equal(p.t.outcome.code, 451);
    assert_true(p.rcpts[1]->branch->facts.may_be_duplicate);
    play_feed(&p, (struct event){.kind = EV_COMMITTED}); /* too late */
    play_end(&p);
}

static void test_cannot_hurry(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.ways[0] = HANGS;
    p.kinds[0] = TEMPFAIL;
    p.kinds[1] = MAILDIR;
    play_address_apart(&p);
    assert_true(play(&p));
    assert_false(transaction_hurry(&p.t));
    play_feed(&p, (struct event){.kind = EV_DEADLINE});
    play_drain(&p);
    assert_true(p.is_settled);
    assert_int_equal(p.t.outcome.code, 451);
    play_end(&p);
}

/* ---- who may share a transaction ---- */

static void test_split(void **state)
{
    static const struct {
        bool splits;
        enum kind kinds[2];
        bool fits;
    } pairs[] = {
        {true, {SPOOLABLE, SPOOLABLE}, true}, {true, {SPOOLABLE, MAILDIR}, true},
        {true, {SPOOLABLE, TEMPFAIL}, false}, {true, {TEMPFAIL, SPOOLABLE}, false},
        {true, {TEMPFAIL, TEMPFAIL}, false},  {true, {TEMPFAIL, MAILDIR}, true},
        {true, {MAILDIR, MAILDIR}, true},     {false, {SPOOLABLE, SPOOLABLE}, false},
        {false, {SPOOLABLE, MAILDIR}, false}, {false, {MAILDIR, MAILDIR}, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
        struct play p;
        play_begin(&p);
        p.t.splits = pairs[i].splits;
        memcpy(p.kinds, pairs[i].kinds, sizeof(p.kinds));
        play_address_apart(&p);
        lib_same_number(i, "fits", pairs[i].fits, p.rcpts[1]->branch != NULL);
        lib_same_number(i, "code", pairs[i].fits ? 0 : 452, p.rcpts[1]->reply.code);
        play_end(&p);
    }
    lib_end_rows();
}

/* A relay whose recipient was refused makes room. */
static void test_makes_room(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    p.kinds[0] = TEMPFAIL;
    p.ways[0] = REFUSES_RCPT;
    struct routed_leg to = play_leg(&p, 0), other = play_leg(&p, 1);
    p.rcpts[0] = play_add(&p, &to, 1);
    play_drain(&p);
    play_answer_rcpt(&p, 0);
    p.rcpts[1] = play_add(&p, &other, 1);
    assert_non_null(p.rcpts[1]->branch);
    play_end(&p);
}

/* Without memory for one leg of a list none of it is accepted, whatever the targets say. */
static void test_leg_without_memory(void **state)
{
    bool is_whole = false;
    int deferred = 0;

    (void)state;
    for (unsigned nth = 1; !is_whole; nth++) {
        struct play p;
        play_begin(&p);
        pool_init(&p.pool, 64, 0); /* so that each allocation is one of its own */
        struct routed_leg legs[] = {play_leg(&p, 0), play_leg(&p, 1), play_leg(&p, 0)};
        mem_fail_nth(nth);
        struct recipient *head = play_add(&p, legs, 3);
        mem_fail_nth(0);
        is_whole = head != NULL && head->envelope == FATE_OPEN;
        for (struct recipient *r = head; !is_whole && r != NULL; r = r->next_in_list, deferred++)
            assert_int_equal(r->envelope, FATE_DEFERRED);
        assert_true(!is_whole || head->next_in_list->branch != NULL);
        play_end(&p);
    }
    assert_true(deferred > 3);
}

/* ---- deliveries of the spool ---- */

static void test_queued(void **state)
{
    static const char ways[] = {ACCEPTS, DEFERS, REFUSES, VANISHES};
    static const enum fate fates[] = {FATE_ACCEPTED, FATE_DEFERRED, FATE_REFUSED, FATE_UNKNOWN};

    (void)state;
    for (size_t i = 0; i < sizeof(ways) * sizeof(ways); i++) {
        struct play p;
        play_begin(&p);
        p.t.policy = TRANSACTION_QUEUED;
        p.kinds[0] = TEMPFAIL;
        p.kinds[1] = TEMPFAIL;
        p.ways[0] = ways[i / 4];
        p.ways[1] = ways[i % 4];
        play_address_apart(&p);
        assert_true(play(&p));
        lib_is_true(i, "settled", p.is_settled);
        lib_is_true(i, "spool", !p.was_prepared && !p.was_committed);
        lib_same_number(i, "first", fates[i / 4], p.rcpts[0]->final);
        lib_same_number(i, "second", fates[i % 4], p.rcpts[1]->final);
        play_end(&p);
    }
    lib_end_rows();
}

/* As the runner does it: everything at once, and the target goes before it has answered all. */
static void test_queued_breaks(void **state)
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
    assert_int_equal(transaction_go(&p.t), TRANSACTION_GO_WAIT);
    play_answer_rcpt(&p, 0);
    play_feed(&p, (struct event){.kind = EV_BROKEN,
                                 .branch = p.rcpts[0]->branch,
                                 .reply = reply_own(REPLY_TARGET_LOST)});
    assert_int_equal(p.rcpts[0]->final, FATE_LOST);
    assert_int_equal(p.rcpts[1]->envelope, FATE_DEFERRED);
    assert_int_equal(transaction_go(&p.t), TRANSACTION_GO_AHEAD);
    transaction_end(&p.t);
    play_drain(&p);
    assert_true(p.is_settled);
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spool_fails),
        cmocka_unit_test(test_spool_fails_before_maildirs),
        cmocka_unit_test(test_copy_is_not_kept),
        cmocka_unit_test(test_wants_copy),
        cmocka_unit_test(test_after_the_release),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_client_gone_while_spooling),
        cmocka_unit_test(test_client_gone_before),
        cmocka_unit_test(test_disk_hangs),
        cmocka_unit_test(test_cannot_hurry),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_makes_room),
        cmocka_unit_test(test_leg_without_memory),
        cmocka_unit_test(test_queued),
        cmocka_unit_test(test_queued_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
