/* SPDX-License-Identifier: BSD-2-Clause */
/* How a connection to a target is opened, and the client handed on. */
/* needs: tests/unit/outbound_script.c */
#include "tests/unit/outbound_script.h"

#define XCLIENT_SPOKEN                                                                             \
    "C: XCLIENT NAME=mail.example.net ADDR=192.0.2.1 PORT=1025 HELO=client.example.net\n"
#define XCLIENT_SENT                                                                               \
    SCRIPT_START                                                                                   \
    "S: 250-target.example\n"                                                                      \
    "S: 250-PIPELINING\n"                                                                          \
    "S: 250 XCLIENT NAME ADDR PORT HELO\n"                                                         \
    "E: ready\n"                                                                                   \
    "> begin xclient\n" XCLIENT_SPOKEN

static void greets(void **state)
{
    static const struct outbound_script scripts[] = {
        {"EHLO", SCRIPT_LOCKSTEP "> idle\nR: idle\n", false},
        {"a greeting of many lines", "> start\nS: 220-one\nS: 220 two\nC: EHLO proxy.example\n",
         false},
        {"EHLO refused",
         SCRIPT_START "S: 500 5.5.1 what?\nC: HELO proxy.example\nS: 250 hi\nE: ready\n", false},
        {"what HELO says announces nothing",
         SCRIPT_START "S: 502 no\nC: HELO proxy.example\nS: 250-hi\nS: 250 PIPELINING\nE: ready\n"
                      "> begin\nC: MAIL FROM:<joe@example.com>\n> rcpt a\n",
         false},
        {"both refused",
         SCRIPT_START
         "S: 500 what?\nC: HELO proxy.example\nS: 550 no\nE: refused refused 550 no\nC: QUIT\n",
         false},
        {"EHLO deferred", SCRIPT_START "S: 450 later\nE: refused refused 450 later\nC: QUIT\n",
         false},
        {"EHLO: 421", SCRIPT_START "S: 421 4.7.0 bye\nE: refused refused 421 4.7.0 bye\nC: QUIT\n",
         false},
        {"EHLO: 521", SCRIPT_START "S: 521 no mail\nE: refused verdict 521 no mail\nC: QUIT\n",
         false},
        {"EHLO: 354", SCRIPT_START "S: 354 go\nE: gone lost 354 go\n", false},
        {"greeted 4xx", "> start\nS: 450 busy\nE: refused refused 450 busy\nC: QUIT\n", false},
        {"greeted 421", "> start\nS: 421 4.7.0 you\nE: refused refused 421 4.7.0 you\nC: QUIT\n",
         false},
        {"greeted 5xx", "> start\nS: 554 5.7.1 go\nE: refused refused 554 5.7.1 go\nC: QUIT\n",
         false},
        {"greeted 521", "> start\nS: 521 no mail\nE: refused verdict 521 no mail\nC: QUIT\n",
         false},
        {"greeted 354", "> start\nS: 354 go\nE: gone lost 354 go\n", false},
        {"no SMTP at all", "> start\nS: SSH-2.0-OpenSSH_9.2\nE: gone lost\n", false},
        {"a NUL in the greeting", "> start\nS: 220 a\\0b\nE: gone lost\n", false},
        {"end before the greeting", "> start\n> eof\nE: gone lost\n", false},
        {"end behind half a greeting", "> start\nS: 220-hi\n> eof\nE: gone lost\n", false},
        {"a name that cannot be said", "> start helo a b\nS: 220 hi\nC: EHLO localhost\n", false},
        {"QUIT before the greeting", "> start\n> quit\nE: gone closed\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void hands_on_by_proxy(void **state)
{
    static const struct outbound_script scripts[] = {
        {"a client",
         "> start proxy1 client helo client.example.net\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 "
         "25\n"
         "S: 220 hi\nC: EHLO client.example.net\n",
         false},
        {"nobody",
         "> start proxy1\nC: PROXY TCP4 10.0.0.2 10.0.0.1 4000 25\nS: 554 no\nE: refused refused "
         "554 "
         "no\nC: QUIT\n",
         false},
        {"the greeting is a verdict",
         "> start proxy1 client\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\n"
         "S: 554 5.7.1 blocked\nE: refused verdict 554 5.7.1 blocked\nC: QUIT\n",
         false},
        {"a 421 greeting without a policy code",
         "> start proxy1 client\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\n"
         "S: 421 busy\nE: refused refused 421 busy\nC: QUIT\n",
         false},
        {"a 421 greeting with one",
         "> start proxy1 client\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\n"
         "S: 421 4.7.1 you\nE: refused verdict 421 4.7.1 you\nC: QUIT\n",
         false},
        {"EHLO: 421 without a policy",
         "> start proxy1 client\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\n"
         "S: 220 hi\nC: EHLO proxy.example\nS: 421 4.3.2 busy\nE: refused refused 421 4.3.2 "
         "busy\nC: "
         "QUIT\n",
         false},
        {"EHLO: 421 with one",
         "> start proxy1 client\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\n"
         "S: 220 hi\nC: EHLO proxy.example\nS: 421 4.7.1 you\nE: refused verdict 421 4.7.1 you\nC: "
         "QUIT\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void hands_on_by_xclient(void **state)
{
    static const struct outbound_script scripts[] = {
        {"waits, greets again, and reads again",
         XCLIENT_SENT "> rcpt a b\n> data\n"
                      "S: 220 again\nC: EHLO client.example.net\n"
                      "S: 250-hi\nS: 250-SIZE\nS: 250 PIPELINING\n"
                      "C: MAIL FROM:<joe@example.com> SIZE=100\nC: RCPT TO:<a@example.org>\n"
                      "C: RCPT TO:<b@example.org>\nC: DATA\n",
         false},
        {"250 will do", XCLIENT_SENT "S: 250 again\nC: EHLO client.example.net\n", false},
        {"what was announced may shrink",
         XCLIENT_SENT "> rcpt a\nS: 220 again\nC: EHLO client.example.net\nS: 250 hi\n"
                      "C: MAIL FROM:<joe@example.com>\nS: 250 ok\nC: RCPT TO:<a@example.org>\n",
         false},
        {"HELO after it",
         XCLIENT_SENT "> rcpt a\nS: 220 again\nC: EHLO client.example.net\nS: 502 no\n"
                      "C: HELO client.example.net\nS: 250 hi\nC: MAIL FROM:<joe@example.com>\n",
         false},
        {"the client's name is refused",
         XCLIENT_SENT "S: 220 again\nC: EHLO client.example.net\nS: 501 5.5.2 bad\n"
                      "C: HELO client.example.net\nS: 501 5.5.2 bad\n"
                      "E: refused verdict 501 5.5.2 bad\nC: QUIT\n",
         false},
        {"once a connection",
         XCLIENT_SENT "S: 220 again\nC: EHLO client.example.net\nS: 250 XCLIENT ADDR\n"
                      "C: MAIL FROM:<joe@example.com>\nS: 450 no\n> abort\nE: idle\nR: lives\n"
                      "> begin xclient\nC: MAIL FROM:<joe@example.com>\n",
         false},
        {"a client's name that cannot be said",
         SCRIPT_START "S: 250-hi\nS: 250 XCLIENT ADDR HELO\nE: ready\n> begin xclient odd\n"
                      "C: XCLIENT ADDR=192.0.2.1 HELO=[UNAVAILABLE]\nS: 220 again\n"
                      "C: EHLO proxy.example\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void tells_failure_from_verdict(void **state)
{
    static const struct outbound_script scripts[] = {
        {"500", XCLIENT_SENT "S: 500 5.5.2 eh\nE: refused identity 500 5.5.2 eh\nC: QUIT\n", false},
        {"501", XCLIENT_SENT "S: 501 5.5.4 eh\nE: refused identity 501 5.5.4 eh\nC: QUIT\n", false},
        {"502", XCLIENT_SENT "S: 502 eh\nE: refused identity 502 eh\nC: QUIT\n", false},
        {"503", XCLIENT_SENT "S: 503 5.5.1 eh\nE: refused identity 503 5.5.1 eh\nC: QUIT\n", false},
        {"550", XCLIENT_SENT "S: 550 eh\nE: refused identity 550 eh\nC: QUIT\n", false},
        {"550 5.7.0", XCLIENT_SENT "S: 550 5.7.0 eh\nE: refused identity 550 5.7.0 eh\nC: QUIT\n",
         false},
        {"550 5.7.1", XCLIENT_SENT "S: 550 5.7.1 eh\nE: refused verdict 550 5.7.1 eh\nC: QUIT\n",
         false},
        {"550 5.5.0", XCLIENT_SENT "S: 550 5.5.0 eh\nE: refused verdict 550 5.5.0 eh\nC: QUIT\n",
         false},
        {"554", XCLIENT_SENT "S: 554 eh\nE: refused verdict 554 eh\nC: QUIT\n", false},
        {"521", XCLIENT_SENT "S: 521 eh\nE: refused verdict 521 eh\nC: QUIT\n", false},
        {"421", XCLIENT_SENT "S: 421 4.3.2 eh\nE: refused lost 421 4.3.2 eh\nC: QUIT\n", false},
        {"421 without more", XCLIENT_SENT "S: 421 eh\nE: refused lost 421 eh\nC: QUIT\n", false},
        {"421 4.7.0", XCLIENT_SENT "S: 421 4.7.0 eh\nE: refused verdict 421 4.7.0 eh\nC: QUIT\n",
         false},
        {"450", XCLIENT_SENT "S: 450 4.7.1 eh\nE: refused verdict 450 4.7.1 eh\nC: QUIT\n", false},
        {"354", XCLIENT_SENT "S: 354 eh\nE: gone lost 354 eh\n", false},
        {"end", XCLIENT_SENT "> eof\nE: gone lost\n", false},
        {"given up: its name goes with the client",
         XCLIENT_SENT "> rcpt a\n> abort\nR: must be closed\n", false},
        {"not announced", SCRIPT_LOCKSTEP "> begin xclient\nE: gone identity\n", false},
        {"announced without an address",
         SCRIPT_START "S: 250-hi\nS: 250 XCLIENT NAME\nE: ready\n> begin xclient\n"
                      "E: gone identity\n",
         false},
        {"with PROXY",
         "> start proxy1 client helo client.example.net\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 "
         "25\n"
         "S: 220 hi\nC: EHLO client.example.net\nS: 250-hi\nS: 250 XCLIENT ADDR PORT\nE: ready\n"
         "> begin xclient\nC: XCLIENT ADDR=192.0.2.1 PORT=1025\nS: 220 hi\n"
         "C: EHLO client.example.net\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greets),
        cmocka_unit_test(hands_on_by_proxy),
        cmocka_unit_test(hands_on_by_xclient),
        cmocka_unit_test(tells_failure_from_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
