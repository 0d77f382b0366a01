/* SPDX-License-Identifier: BSD-2-Clause */
/* Filters judge a list, or throw it away, while some of its legs have no answer, and others have
 * failed already. */
/* needs: tests/unit/transaction_play.c */
#include "tests/unit/transaction_play.h"

static const struct row {
    const char *answered; /* legs whose target has answered before */
    const char *verdict;  /* "=": thrown away, "!": refused; "0", "1": by filters of that target */
    char ways[2];
    enum kind kinds[2];
    const char *expected; /* as play_describe() */
    int ended, appeared;
    bool is_each; /* TRANSACTION_EACH: as play_describe_each() */
} rows[] = {
    /* the target's filters refuse it there: the rest of the list is as without that leg */
    {"1", "!1", {ACCEPTS, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250Q -B p c", 1, 0, false},
    {"01", "!1", {ACCEPTS, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250Q -B p c", 1, 0, false},
    {"0", "!0", {ACCEPTS, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250Q B- c", 0, 1, false},
    /* ... but where it is all or nothing */
    {"1", "!1", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, "451 --", 0, 0, false},
    {"01", "!1", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, "451 --", 0, 0, false},
    {"0", "!0", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, "550 --", 0, 0, false},
    {"01", "!1", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, "451 --", 0, 0, true},
    {"01", "!1", {ACCEPTS, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250Q -B p c", 1, 0, true},
    /* thrown away, nobody hears of a leg that has failed */
    {"01", "=", {REFUSES_RCPT, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250Q --", 0, 0, false},
    {"01", "=", {DEFERS_RCPT, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250Q --", 0, 0, false},
    {"0", "=", {REFUSES_RCPT, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250Q --", 0, 0, false},
    {"0", "=0", {REFUSES_RCPT, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250 --", 0, 1, false},
    {"0", "=0", {DEFERS_RCPT, ACCEPTS}, {SPOOLABLE, MAILDIR}, "250 --", 0, 1, false},
    /* ... nor waits for those that have no answer */
    {"1", "=", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, "250Q --", 0, 0, false},
    {"0", "=", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, "250Q --", 0, 0, false},
    {"1", "=1", {ACCEPTS, ACCEPTS}, {TEMPFAIL, MAILDIR}, "250 --", 1, 0, false},
};

static void answer(struct play *p, const char *legs)
{
    play_drain(p);
    for (; *legs != '\0'; legs++)
        if (p->rcpts[*legs - '0']->envelope == FATE_OPEN)
            play_answer_rcpt(p, *legs - '0');
    play_drain(p);
}

static void judge(struct play *p, const char *verdict)
{
    const struct reply refusal = {.code = 550, .wire = bytes_of("550 5.7.1 No\r\n")};
    const struct target *target =
        verdict[1] == '\0' ? NULL : p->rcpts[verdict[1] - '0']->branch->target;

    if (verdict[0] == '!')
        transaction_judge(&p->t, target, &refusal);
    else
        transaction_discard(&p->t, target);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static struct lib_text seen;
        struct play p;
        play_begin(&p);
        p.t.policy = rows[i].is_each ? TRANSACTION_EACH : TRANSACTION_LIVE;
        memcpy(p.ways, rows[i].ways, sizeof(p.ways));
        memcpy(p.kinds, rows[i].kinds, sizeof(p.kinds));
        play_address_list(&p);
        answer(&p, rows[i].answered);
        judge(&p, rows[i].verdict);
        answer(&p, "01");
        transaction_data(&p.t);
        play_drain(&p);
        seen.len = 0;
        if (transaction_go(&p.t) == TRANSACTION_GO_AHEAD) {
            transaction_end(&p.t);
            play_drain(&p);
            if (rows[i].is_each)
                play_describe_each(&p, &seen);
            else
                play_describe(&p, &seen);
        } else {
            lib_put(&seen, "%u --", outcome_of_envelope(p.rcpts[0])->answer.code);
        }
        lib_same_text(i, "outcome", rows[i].expected, seen.at);
        lib_same_number(i, "ends", rows[i].ended, p.ended);
        lib_same_number(i, "appeared", rows[i].appeared, p.appeared);
        play_end(&p);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
