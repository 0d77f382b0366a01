/* SPDX-License-Identifier: BSD-2-Clause */
/* A client that hears of each recipient (LMTP): what it is told of each, and what is spooled. */
/* needs: tests/unit/transaction_play.c */
#include "tests/unit/transaction_play.h"

#include <stdlib.h>

/* What comes of a recipient, whatever becomes of the other. */
static const struct {
    char way;
    const char *code, *left;
} ways[] = {
    {ACCEPTS, "250", "-"},    {DEFERS, "450", "-"},    {REFUSES, "550", "-"},
    {VANISHES, "250Q", "S"},  {BREAKS, "250Q", "S"},   {REFUSES_EARLY, "550", "-"},
    {REFUSES_RCPT, "-", "-"}, {DEFERS_RCPT, "-", "-"},
};

static void begin(struct play *p, const char two_ways[2])
{
    play_begin(p);
    p->t.policy = TRANSACTION_EACH;
    memcpy(p->ways, two_ways, 2);
}

static void test_apart(void **state)
{
    static struct lib_text expected, seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(ways) * ARRAY_LENGTH(ways); i++) {
        size_t one = i / ARRAY_LENGTH(ways), two = i % ARRAY_LENGTH(ways);
        bool is_any_broken = ways[one].way == BREAKS || ways[two].way == BREAKS;
        bool is_spooled = ways[one].left[0] == 'S' || ways[two].left[0] == 'S';
        bool is_any_firm = strchr("adru", ways[one].way) != NULL || strchr("adru", ways[two].way);
        struct play p;

        begin(&p, (const char[]){ways[one].way, ways[two].way});
        play_address_apart(&p);
        expected.len = seen.len = 0;
        if (play(&p)) {
            lib_is_true(i, "settled", p.is_settled);
            play_describe_each(&p, &seen);
            lib_put(&expected, "%s %s %s%s%s%s", ways[one].code, ways[two].code, ways[one].left,
                    ways[two].left, is_any_broken && is_any_firm ? " p" : "",
                    is_spooled ? " c" : "");
        }
        lib_same_text(i, "outcome", expected.at, seen.at);
        play_end(&p);
    }
    lib_end_rows();
}

/* One recipient that goes to both is told what an SMTP client would be told. */
static void test_list(void **state)
{
    static struct lib_text live, each;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(ways) * ARRAY_LENGTH(ways); i++) {
        struct play p;
        live.len = each.len = 0;
        begin(&p, (const char[]){ways[i / 8].way, ways[i % 8].way});
        p.t.policy = TRANSACTION_LIVE;
        play_address_list(&p);
        if (play(&p))
            play_describe(&p, &live);
        play_end(&p);
        begin(&p, (const char[]){ways[i / 8].way, ways[i % 8].way});
        play_address_list(&p);
        if (play(&p))
            play_describe_each(&p, &each);
        play_end(&p);
        lib_same_text(i, "outcome", live.at, each.at);
    }
    lib_end_rows();
}

static const struct row {
    const char *name;
    char ways[2];
    enum kind kinds[2];
    bool is_list;
    int prepare_error, commit_error, undo_error, appear_error;
    enum unkept unkept;
    const char *expected; /* and the maildirs that appeared */
} rows[] = {
    {"relays that may not be spooled stand side by side",
     "ll",
     {TEMPFAIL, TEMPFAIL},
     .expected = "451 451 -- 0"},
    {"one is lost, the other is not", "ua", {TEMPFAIL, SPOOLABLE}, .expected = "451 250 -- 0"},
    {"the other is spooled", "lu", {TEMPFAIL, SPOOLABLE}, .expected = "451 250Q -S c 0"},
    {"a maildir beside a relay that refuses",
     "ra",
     {SPOOLABLE, MAILDIR},
     .expected = "550 250 -- 1"},
    {"a maildir that cannot be written",
     "aa",
     {SPOOLABLE, MAILDIR},
     .undo_error = ERR_FULL,
     .expected = "250 452 -- 0"},
    {"a maildir that cannot be renamed",
     "aa",
     {SPOOLABLE, MAILDIR},
     .appear_error = ERR_MEMORY,
     .expected = "250 451 -- 1"},
    {"a list: the relay that may not be spooled is lost, the maildir does not appear",
     "ua",
     {TEMPFAIL, MAILDIR},
     true,
     .expected = "451 -- 0"},
    {"a list: it accepts", "aa", {TEMPFAIL, MAILDIR}, true, .expected = "250 -- 1"},
    {"a list: the spool cannot serve the relay, the maildir does not appear",
     "ua",
     {SPOOLABLE, MAILDIR},
     true,
     .commit_error = ERR_FULL,
     .expected = "451 -- c 0"},
    {"a list: the maildir cannot be renamed when the spool's file is written",
     "ua",
     {SPOOLABLE, MAILDIR},
     true,
     .appear_error = ERR_MEMORY,
     .expected = "451 -- c 1"},
    {"... nor could it be without one",
     "aa",
     {SPOOLABLE, MAILDIR},
     true,
     .appear_error = ERR_MEMORY,
     .expected = "451 -- 1"},
    {"the spool cannot serve the one: the other has it",
     "ua",
     {SPOOLABLE, SPOOLABLE},
     .commit_error = ERR_FULL,
     .expected = "451 250 -- c 0"},
    {"... nor be prepared",
     "la",
     {SPOOLABLE, SPOOLABLE},
     .prepare_error = ERR_FULL,
     .expected = "451 250 -- p 0"},
    {"... and then the other is lost, too",
     "lu",
     {SPOOLABLE, SPOOLABLE},
     .prepare_error = ERR_FULL,
     .expected = "451 451 -- p 0"},
    {"the copy is not kept",
     "au",
     {SPOOLABLE, SPOOLABLE},
     .unkept = UNKEPT_BEFORE,
     .expected = "250 451 -- 0"},
    {"... which a leg of a list would need",
     "ad",
     {SPOOLABLE, SPOOLABLE},
     true,
     .unkept = UNKEPT_BEFORE,
     .expected = "450 -- 0"},
    {"... and was needed already",
     "la",
     {SPOOLABLE, SPOOLABLE},
     .unkept = UNKEPT_AFTER,
     .expected = "451 250 -- 0"},
};

static void test_rows(void **state)
{
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const struct row *row = &rows[i];
        struct play p;

        begin(&p, row->ways);
        memcpy(p.kinds, row->kinds, sizeof(p.kinds));
        p.prepare_error = row->prepare_error;
        p.commit_error = row->commit_error;
        p.undo_error = row->undo_error;
        p.appear_error = row->appear_error;
        p.unkept = row->unkept;
        if (row->is_list)
            play_address_list(&p);
        else
            play_address_apart(&p);
        assert_true(play(&p));
        seen.len = 0;
        play_describe_each(&p, &seen);
        lib_put(&seen, " %d", p.appeared);
        lib_is_true(i, row->name, p.is_settled);
        lib_same_text(i, row->name, row->expected, seen.at);
        play_end(&p);
    }
    lib_end_rows();
}

/* ---- a target that answers for each ---- */

static void answer(struct play *p, int i, enum fate fate, const char *words)
{
    struct reply reply = {.code = (uint16_t)atoi(words), .wire = bytes_of(words)};

    play_feed(p, (struct event){.kind = EV_FINAL,
                                .branch = p->rcpts[0]->branch,
                                .rcpt = p->rcpts[i],
                                .fate = fate,
                                .reply = reply});
}

/* Two recipients at one target, which takes the end of data and says nothing yet. */
static void release_two(struct play *p, enum transaction_policy policy)
{
    struct routed_leg leg;

    begin(p, "hh");
    p->t.policy = policy;
    leg = play_leg(p, 0);
    leg.answers_each = true;
    p->rcpts[0] = play_add(p, &leg, 1);
    p->rcpts[1] = play_add(p, &leg, 1);
    assert_true(play(p));
    assert_int_equal(p->ended, 1);
}

static void lose(struct play *p)
{
    play_feed(p, (struct event){.kind = EV_BROKEN,
                                .branch = p->rcpts[0]->branch,
                                .is_end_sent = true,
                                .reply = reply_own(REPLY_TARGET_LOST)});
    play_drain(p);
}

/* Who was answered keeps the answer, the other one is for the spool. */
static void test_lost_between(void **state)
{
    static const struct {
        enum transaction_policy policy;
        enum fate fate;
        const char *words, *expected;
    } each[] = {
        {TRANSACTION_EACH, FATE_ACCEPTED, "250 a\r\n", "250 250Q -S c"},
        {TRANSACTION_EACH, FATE_DEFERRED, "452 full\r\n", "452 250Q -S c"},
        {TRANSACTION_EACH, FATE_REFUSED, "552 full\r\n", "552 250Q -S c"},
        {TRANSACTION_LIVE, FATE_ACCEPTED, "250 a\r\n", "250Q -S c"},
        {TRANSACTION_LIVE, FATE_DEFERRED, "452 full\r\n", "250Q SS c"},
        {TRANSACTION_LIVE, FATE_REFUSED, "552 full\r\n", "250Q BS c"},
    };
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(each); i++) {
        struct play p;
        release_two(&p, each[i].policy);
        answer(&p, 0, each[i].fate, each[i].words);
        play_drain(&p);
        lib_is_true(i, "waits for the second", !p.is_settled);
        lose(&p);
        lib_is_true(i, "settled", p.is_settled);
        seen.len = 0;
        if (each[i].policy == TRANSACTION_EACH)
            play_describe_each(&p, &seen);
        else
            play_describe(&p, &seen);
        lib_same_text(i, "outcome", each[i].expected, seen.at);
        assert_int_equal(p.rcpts[1]->final, FATE_UNKNOWN);
        play_end(&p);
    }
    lib_end_rows();
}

/* An SMTP client has one reply. Where nobody could serve whom the target refuses, it sends one
 * recipient after the other. */
static void test_one_by_one(void **state)
{
    static const struct {
        enum transaction_policy policy;
        enum kind kind;
        bool is_accepted;
    } each[] = {
        {TRANSACTION_LIVE, TEMPFAIL, false},
        {TRANSACTION_LIVE, SPOOLABLE, true},
        {TRANSACTION_EACH, TEMPFAIL, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(each); i++) {
        struct play p;
        struct routed_leg leg;
        begin(&p, "aa");
        p.t.policy = each[i].policy;
        p.kinds[0] = each[i].kind;
        leg = play_leg(&p, 0);
        leg.answers_each = true;
        p.rcpts[0] = play_add(&p, &leg, 1);
        p.rcpts[1] = play_add(&p, &leg, 1);
        lib_is_true(i, "the first", p.rcpts[0]->branch != NULL);
        lib_same_number(i, "the second", each[i].is_accepted, p.rcpts[1]->branch != NULL);
        play_end(&p);
    }
    lib_end_rows();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apart),      cmocka_unit_test(test_list),
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_lost_between),
        cmocka_unit_test(test_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
