/* SPDX-License-Identifier: BSD-2-Clause */
/* STARTTLS towards a target. */
/* needs: tests/unit/outbound_script.c */
#include "tests/unit/outbound_script.h"

#define MAY      "> start may\nS: 220 target.example\nC: EHLO proxy.example\n"
#define REQUIRED "> start required\nS: 220 target.example\nC: EHLO proxy.example\n"
#define OFFERED  "S: 250-target.example\nS: 250-CHUNKING\nS: 250 STARTTLS\nC: STARTTLS\n"
#define SECURED                                                                                    \
    OFFERED "S: 220 2.0.0 go\nE: secure\n> secured\nC: EHLO proxy.example\n"                       \
            "S: 250-target.example\nS: 250 PIPELINING\nE: ready\n"

static void secures(void **state)
{
    static const struct outbound_script scripts[] = {
        {"may", MAY SECURED "> begin\nC: MAIL FROM:<joe@example.com>\n", false},
        {"required", REQUIRED SECURED "> quit\nC: QUIT\n", false},
        {"not wanted",
         SCRIPT_START "S: 250-target.example\nS: 250 STARTTLS\nE: ready\n> idle\nR: idle\n", false},
        {"announced again",
         MAY OFFERED "S: 220 go\nE: secure\n> secured\nC: EHLO proxy.example\n"
                     "S: 250-target.example\nS: 250 STARTTLS\nE: ready\n",
         false},
        {"then XCLIENT, behind which it is announced again",
         MAY OFFERED "S: 220 go\nE: secure\n> secured\nC: EHLO proxy.example\n"
                     "S: 250-target.example\nS: 250 XCLIENT ADDR\nE: ready\n> begin xclient\n"
                     "C: XCLIENT ADDR=192.0.2.1\nS: 220 hi\nC: EHLO client.example.net\n"
                     "S: 250-target.example\nS: 250 STARTTLS\nC: MAIL FROM:<joe@example.com>\n",
         false},
        {"EHLO refused behind it",
         MAY OFFERED "S: 220 go\nE: secure\n> secured\nC: EHLO proxy.example\n"
                     "S: 550 no\nC: HELO proxy.example\nS: 250 hi\nE: ready\n",
         false},
        {"given up meanwhile", MAY OFFERED "> abort\nR: lives\nS: 220 go\nE: secure\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void does_without(void **state)
{
    static const struct outbound_script scripts[] = {
        {"may: not announced", MAY "S: 250 target.example\nE: ready\n", false},
        {"may: refused for now", MAY OFFERED "S: 454 4.7.0 later\nE: ready\n", false},
        {"may: unknown, and never asked again",
         MAY "S: 250-target.example\nS: 250-XCLIENT ADDR\nS: 250 STARTTLS\nC: STARTTLS\n"
             "S: 502 5.5.1 what?\nE: ready\n> begin xclient\nC: XCLIENT ADDR=192.0.2.1\n"
             "S: 220 hi\nC: EHLO client.example.net\nS: 250-target.example\nS: 250 STARTTLS\n"
             "C: MAIL FROM:<joe@example.com>\n",
         false},
        {"may: 421", MAY OFFERED "S: 421 bye\nE: refused refused 421 bye\nC: QUIT\n", false},
        {"may: 354", MAY OFFERED "S: 354 go\nE: gone lost 354 go\n", false},
        {"may: HELO", MAY "S: 500 what?\nC: HELO proxy.example\nS: 250 hi\nE: ready\n", false},
        {"required: not announced", REQUIRED "S: 250 target.example\nE: refused refused\nC: QUIT\n",
         false},
        {"required: HELO",
         REQUIRED "S: 500 what?\nC: HELO proxy.example\nS: 250 hi\nE: refused refused\nC: QUIT\n",
         false},
        {"required: refused",
         REQUIRED OFFERED "S: 454 4.7.0 later\nE: refused refused 454 4.7.0 later\nC: QUIT\n",
         false},
        {"required: 521", REQUIRED OFFERED "S: 521 no\nE: refused verdict 521 no\nC: QUIT\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(secures), cmocka_unit_test(does_without)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
