/* SPDX-License-Identifier: BSD-2-Clause */
/* Which identity a transaction uses, by configuration and announcement. */
/* needs: route/relay/relay_identity.c */
#include "route/relay/relay_identity.h"

#include "tests/unit/lib.h"

#define AUTO     IDENTITY_KIND_AUTO
#define XCLIENT  IDENTITY_KIND_XCLIENT
#define XFORWARD IDENTITY_KIND_XFORWARD
#define PROXY1   IDENTITY_KIND_PROXY_V1
#define PROXY2   IDENTITY_KIND_PROXY_V2
#define NONE     IDENTITY_KIND_NONE

#define CAN_XCLIENT  CAPABILITY_XCLIENT
#define CAN_XFORWARD CAPABILITY_XFORWARD

enum { BEFORE = 1, DONE = 2, AVOIDS = 4 }; /* announced before, carried already, was refused */

struct row {
    unsigned identity; /* configured */
    uint32_t caps;
    unsigned history;
    unsigned kinds;
    bool is_failure, is_unannounced;
};

static const struct row rows[] = {
    {NONE, CAN_XCLIENT | CAN_XFORWARD, BEFORE, 0, false, false},
    /* auto: XCLIENT else XFORWARD else nothing */
    {AUTO, CAN_XCLIENT | CAN_XFORWARD, 0, XCLIENT, false, false},
    {AUTO, CAN_XFORWARD, 0, XFORWARD, false, false},
    {AUTO, CAPABILITY_PIPELINING, 0, 0, false, true},
    /* what announced XCLIENT once must go on doing so */
    {AUTO, CAN_XFORWARD, BEFORE, XFORWARD, true, false},
    {AUTO, 0, BEFORE, 0, true, true},
    {AUTO, CAN_XCLIENT, BEFORE, XCLIENT, false, false},
    /* behind XCLIENT the announcement is often gone */
    {AUTO, 0, BEFORE | DONE, XCLIENT, false, false},
    {AUTO, CAN_XFORWARD, BEFORE | DONE, XCLIENT, false, false},
    /* refused, and identity-failure = pass */
    {AUTO, CAN_XCLIENT | CAN_XFORWARD, BEFORE | AVOIDS, XFORWARD, false, false},
    {AUTO, CAN_XCLIENT, BEFORE | AVOIDS, 0, false, true},
    {XCLIENT, CAN_XCLIENT, BEFORE | AVOIDS, 0, false, false},
    /* named: must be on offer */
    {XCLIENT, CAN_XCLIENT, 0, XCLIENT, false, false},
    {XCLIENT, CAN_XFORWARD, 0, 0, true, false},
    {XCLIENT, 0, DONE, XCLIENT, false, false},
    {XFORWARD, CAN_XCLIENT | CAN_XFORWARD, 0, XFORWARD, false, false},
    {XFORWARD, CAN_XCLIENT, 0, 0, true, false},
    /* several together */
    {XCLIENT | XFORWARD, CAN_XCLIENT | CAN_XFORWARD, 0, XCLIENT | XFORWARD, false, false},
    {XCLIENT | XFORWARD, CAN_XCLIENT, 0, XCLIENT, true, false},
    {XCLIENT | XFORWARD, CAN_XFORWARD, 0, XFORWARD, true, false},
    {XCLIENT | XFORWARD, 0, DONE, XCLIENT, false, false},
    {XCLIENT | XFORWARD, CAN_XFORWARD, DONE, XCLIENT | XFORWARD, false, false},
    /* PROXY is there before anything is announced */
    {PROXY1, 0, 0, PROXY1, false, false},
    {PROXY2, CAN_XCLIENT, 0, PROXY2, false, false},
    {PROXY1 | PROXY2, 0, 0, PROXY2, false, false},
    {PROXY1 | XFORWARD, CAN_XFORWARD, 0, PROXY1 | XFORWARD, false, false},
    {PROXY1 | XFORWARD, 0, 0, PROXY1, true, false},
};

static void test_choose(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const struct row *row = &rows[i];
        struct relay_conf conf = {.identity = row->identity};
        struct capability caps = {.keywords = row->caps};
        struct relay_identity_facts facts = {
            .caps = &caps,
            .has_announced_xclient = (row->history & BEFORE) != 0,
            .is_xclient_done = (row->history & DONE) != 0,
            .avoids_xclient = (row->history & AVOIDS) != 0,
        };
        struct relay_identity_choice choice = relay_identity_choose(&conf, &facts);

        lib_same_number(i, "kinds", row->kinds, choice.kinds);
        lib_same_number(i, "is_failure", row->is_failure, choice.is_failure);
        lib_same_number(i, "is_unannounced", row->is_unannounced, choice.is_unannounced);
    }
    lib_end_rows();
}

/* Mail that was spooled: the kinds of its session once more. */
static const struct again_row {
    unsigned identity, before; /* configured now; used then */
    uint32_t caps;
    unsigned history;
    unsigned kinds;
    bool is_lost, is_failure;
    bool has_none_accepted;
} again_rows[] = {
    /* nobody was reached: as for live mail, but that a failure is each recipient's own */
    {AUTO, 0, CAN_XCLIENT | CAN_XFORWARD, 0, XCLIENT, false, false, false},
    {AUTO, 0, CAN_XFORWARD, 0, XFORWARD, false, false, false},
    {AUTO, 0, CAN_XFORWARD, BEFORE, XFORWARD, true, false, false},
    {XCLIENT, 0, CAN_XFORWARD, 0, 0, true, false, false},
    {XFORWARD, 0, 0, 0, 0, false, true, false},
    {PROXY1, 0, 0, 0, PROXY1, false, false, false},
    /* what it was, whatever is preferred now */
    {AUTO, XFORWARD, CAN_XCLIENT | CAN_XFORWARD, 0, XFORWARD, true, false, false},
    {XCLIENT, XFORWARD, CAN_XCLIENT | CAN_XFORWARD, 0, XFORWARD, true, false, false},
    {XFORWARD, XCLIENT, CAN_XCLIENT | CAN_XFORWARD, 0, XCLIENT, false, false, false},
    {AUTO, XCLIENT, 0, DONE, XCLIENT, false, false, false},
    {AUTO, XCLIENT | XFORWARD, CAN_XCLIENT | CAN_XFORWARD, 0, XCLIENT | XFORWARD, false, false,
     false},
    /* where it is not on offer any more */
    {AUTO, XCLIENT, CAN_XFORWARD, 0, XFORWARD, true, false, false},
    {AUTO, XCLIENT, 0, 0, 0, true, false, false},
    {AUTO, XCLIENT, CAN_XCLIENT | CAN_XFORWARD, AVOIDS, XFORWARD, true, false, false},
    {AUTO, PROXY2, CAN_XFORWARD, 0, XFORWARD, true, false, false},
    {AUTO, XFORWARD, CAN_XCLIENT, 0, 0, true, false, false},
    {XFORWARD, XFORWARD, CAN_XCLIENT, 0, 0, false, true, false},
    /* another way in which the target sees the client will do */
    {PROXY2, XCLIENT, 0, 0, PROXY2, false, false, false},
    {PROXY2, PROXY1, 0, 0, PROXY2, false, false, false},
    /* a report of our own */
    {AUTO, NONE, CAN_XCLIENT | CAN_XFORWARD, BEFORE, 0, false, false, false},
    {XCLIENT, NONE, CAN_XFORWARD, BEFORE, 0, false, false, false},
    /* of another target's session: who was never accepted is shown to a target that can see */
    {AUTO, XFORWARD, CAN_XCLIENT | CAN_XFORWARD, 0, XCLIENT, false, false, true},
    {XCLIENT, XFORWARD, CAN_XCLIENT | CAN_XFORWARD, 0, XCLIENT, false, false, true},
    {PROXY1, XFORWARD, CAN_XFORWARD, 0, PROXY1, false, false, true},
    {XCLIENT, XFORWARD, CAN_XFORWARD, 0, XFORWARD, true, false, true},
    {AUTO, XFORWARD, CAN_XFORWARD, BEFORE, XFORWARD, true, false, true},
    {AUTO, XFORWARD, CAN_XFORWARD, 0, XFORWARD, false, false, true},
    {AUTO, XCLIENT, CAN_XFORWARD, 0, XFORWARD, true, false, true},
    {AUTO, NONE, CAN_XCLIENT, 0, 0, false, false, true},
};

static void test_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(again_rows); i++) {
        const struct again_row *row = &again_rows[i];
        struct relay_conf conf = {.identity = row->identity};
        struct capability caps = {.keywords = row->caps};
        struct relay_identity_facts facts = {
            .caps = &caps,
            .has_announced_xclient = (row->history & BEFORE) != 0,
            .is_xclient_done = (row->history & DONE) != 0,
            .avoids_xclient = (row->history & AVOIDS) != 0,
        };
        struct relay_identity_choice choice =
            relay_identity_choose_again(&conf, &facts, row->before, !row->has_none_accepted);

        lib_same_number(i, "kinds", row->kinds, choice.kinds);
        lib_same_number(i, "is_lost", row->is_lost, choice.is_lost);
        lib_same_number(i, "is_failure", row->is_failure, choice.is_failure);
    }
    lib_end_rows();
}

struct kinds_row {
    unsigned kinds;
    const char *text;
    bool judges;
    unsigned proxy;
};

static const struct kinds_row kinds_rows[] = {
    {0, "none", false, 0},
    {NONE, "none", false, 0},
    {XCLIENT, "xclient", true, 0},
    {XFORWARD, "xforward", false, 0},
    {XCLIENT | XFORWARD, "xclient+xforward", true, 0},
    {PROXY1, "proxy-v1", true, 1},
    {PROXY2 | XFORWARD, "proxy-v2+xforward", true, 2},
    {PROXY1 | PROXY2 | XCLIENT, "proxy-v2+xclient", true, 2},
};

static void test_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(kinds_rows); i++) {
        const struct kinds_row *row = &kinds_rows[i];
        struct relay_conf conf = {.identity = row->kinds};

        lib_same_text(i, "text", row->text, relay_identity_text(row->kinds));
        lib_same_number(i, "judges", row->judges, relay_identity_judges(row->kinds));
        lib_same_number(i, "may judge", row->judges, relay_identity_may_judge(&conf));
        lib_same_number(i, "proxy", row->proxy, relay_identity_proxy(&conf));
    }
    lib_end_rows();
}

static void test_may_judge_when_auto(void **state)
{
    (void)state;
    struct relay_conf conf = {.identity = AUTO};
    assert_true(relay_identity_may_judge(&conf));
}

static void test_form(void **state)
{
    static const enum identity_form forms[] = {
        [RELAY_XCLIENT_AUTO] = IDENTITY_FORM_AUTO,
        [RELAY_XCLIENT_PREFIXED] = IDENTITY_FORM_PREFIXED,
        [RELAY_XCLIENT_BARE] = IDENTITY_FORM_BARE,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(forms); i++) {
        struct relay_conf conf = {.xclient_address = (enum relay_xclient_address)i};
        lib_same_number(i, "form", forms[i], relay_identity_form(&conf));
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose), cmocka_unit_test(test_again),
        cmocka_unit_test(test_kinds),  cmocka_unit_test(test_may_judge_when_auto),
        cmocka_unit_test(test_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
