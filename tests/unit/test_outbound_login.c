/* SPDX-License-Identifier: BSD-2-Clause */
/* A client's AUTH, passed to a target. */
/* needs: tests/unit/outbound_script.c */
#include <string.h>

#include "proxy/smtp/outbound.h"
#include "tests/unit/outbound_script.h"

#define GREETED                                                                                    \
    "> start\nS: 220 target.example\nC: EHLO proxy.example\nS: 250-target.example\n"               \
    "S: 250-XCLIENT ADDR\nS: 250 AUTH PLAIN\nE: ready\n"
#define BEGUN GREETED "> login AUTH LOGIN\nC: AUTH LOGIN\n"
#define XCLIENT                                                                                    \
    GREETED "> introduce xclient\nC: XCLIENT ADDR=192.0.2.1\nR: ready follows\n"                   \
            "S: 220 again\nC: EHLO client.example.net\nS: 250 AUTH PLAIN\nE: ready\n"

static void logs_in(void **state)
{
    static const struct outbound_script scripts[] = {
        {"at once",
         GREETED "> login AUTH PLAIN AGEAYg==\nC: AUTH PLAIN AGEAYg==\n"
                 "S: 235 2.7.0 yes\nE: login 235 2.7.0 yes\n> idle\nR: idle\n"
                 "> begin\nC: MAIL FROM:<joe@example.com>\n",
         false},
        {"step by step",
         BEGUN "S: 334 VXNlcm5hbWU6\nE: login 334 VXNlcm5hbWU6\n> idle\nR: busy\n"
               "> login YQ==\nC: YQ==\nS: 334 \nE: login 334 \n> login \nC: \n"
               "S: 235 yes\nE: login 235 yes\n> quit\nC: QUIT\n",
         false},
        {"behind XCLIENT", XCLIENT "> login AUTH A\nC: AUTH A\nS: 235 yes\nE: login 235 yes\n",
         false},
        {"XCLIENT is said once",
         XCLIENT "> introduce xclient\nR: nothing to say\n> begin xclient\n"
                 "C: MAIL FROM:<joe@example.com>\n",
         false},
        {"without XCLIENT", GREETED "> introduce\nR: nothing to say\n", false},
        {"once more after a refusal",
         BEGUN "S: 535 5.7.8 no\nE: login 535 5.7.8 no\n> idle\nR: idle\n"
               "> login AUTH A\nC: AUTH A\nS: 235 yes\nE: login 235 yes\n",
         false},
        {"its words are the client's to read",
         BEGUN "S: 454-4.7.0 not\nS: 454 4.7.0 now\nE: login 454-4.7.0 not / 454 4.7.0 now\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void is_lost(void **state)
{
    static const struct outbound_script scripts[] = {
        {"421", BEGUN "S: 421 4.3.0 bye\nE: gone lost 421 4.3.0 bye\n", false},
        {"521", BEGUN "S: 521 no\nE: gone lost 521 no\n", false},
        {"250 is no answer to AUTH", BEGUN "S: 250 yes\nE: gone lost 250 yes\n", false},
        {"354 is none", BEGUN "S: 354 go\nE: gone lost 354 go\n", false},
        {"garbage", BEGUN "S: hello\nE: gone lost\n", false},
        {"a reply while nothing was said",
         BEGUN "S: 334 YQ==\nE: login 334 YQ==\nS: 535 too late\nE: gone lost 535 too late\n",
         false},
        {"the end", BEGUN "> eof\nE: gone lost\n", false},
        {"the end between two lines", BEGUN "S: 334 YQ==\nE: login 334 YQ==\n> eof\nE: gone lost\n",
         false},
        {"QUIT between two lines",
         BEGUN "S: 334 YQ==\nE: login 334 YQ==\n> quit\nC: *\nC: QUIT\nS: 501 5.7.0 given up\n"
               "E: gone closed 501 5.7.0 given up\n",
         false},
        {"XCLIENT is refused",
         GREETED "> introduce xclient\nC: XCLIENT ADDR=192.0.2.1\nR: ready follows\n"
                 "S: 554 5.7.1 not you\nE: refused verdict 554 5.7.1 not you\nC: QUIT\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(logs_in), cmocka_unit_test(is_lost)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
