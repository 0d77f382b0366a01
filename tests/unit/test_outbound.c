/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers, ends and farewells of a target, and what follows from each. */
/* needs: tests/unit/outbound_script.c */
#include "tests/unit/outbound_script.h"

#define MAIL       "C: MAIL FROM:<joe@example.com> SIZE=100 BODY=7BIT\n"
#define RCPT(name) "C: RCPT TO:<" name "@example.org>\n"
#define CONFUSED   "451 4.3.5 Local configuration error, try again later <- "
#define ONE_ASKED  SCRIPT_PIPELINING "> begin\n" MAIL "> rcpt a\n" RCPT("a")
#define DATA_ASKED ONE_ASKED "> data\nC: DATA\n"
#define DATA_GOES  DATA_ASKED "S: 250 ok\nS: 250 ok\nS: 354 go\nE: answer a accepted 250 ok\nE: go\n"
#define DATA_ENDED DATA_GOES "> frame 9 whole\nR: 9 and .\\r\\n\n> wrote 9\n> ended\n"

static void answers_verbatim(void **state)
{
    static const struct outbound_script scripts[] = {
        {"many lines",
         ONE_ASKED "S: 250 ok\nS: 550-5.1.1 one\nS: 550 5.1.1 two\n"
                   "E: answer a refused 550-5.1.1 one / 550 5.1.1 two\n",
         false},
        {"251", ONE_ASKED "S: 250 ok\nS: 251 elsewhere\nE: answer a accepted 251 elsewhere\n",
         false},
        {"a refused MAIL is the answer of every RCPT, later ones too",
         ONE_ASKED "S: 553 5.1.8 joe\nS: 503 5.5.1 what\nE: answer a refused 553 5.1.8 joe\n"
                   "> rcpt b\nE: answer b refused 553 5.1.8 joe\n"
                   "> abort\nE: idle\nR: lives\n> begin\n" MAIL,
         false},
        {"a refused MAIL with DATA behind it",
         DATA_ASKED "S: 450 later\nS: 503 a\nS: 503 what\nE: answer a deferred 450 later\n"
                    "> abort\nE: idle\nR: lives\n",
         false},
        {"a refused MAIL, yet RCPT and DATA are taken",
         DATA_ASKED "S: 450 later\nS: 250 a\nS: 354 go\nE: answer a deferred 450 later\n"
                    "E: gone aborted\n",
         false},
        {"a refused MAIL, yet RCPT is taken: nobody may stand next time",
         ONE_ASKED "S: 450 later\nS: 250 a\nE: answer a deferred 450 later\n"
                   "> abort\nE: idle\nR: lives\n> begin\nC: RSET\n" MAIL,
         false},
        {"354 to RCPT", ONE_ASKED "S: 250 ok\nS: 354 go\nE: gone lost 354 go\n", false},
        {"250 to DATA",
         DATA_ASKED "S: 250 ok\nS: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\n"
                    "E: gone lost 250 ok\n",
         false},
        {"a reply twice",
         ONE_ASKED "S: 250 ok\nS: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\n"
                   "E: gone lost 250 ok\n",
         false},
        {"codes that differ: the last line has the say",
         ONE_ASKED "S: 250 ok\nS: 250-ok\nS: 550 5.1.1 no\n"
                   "E: answer a refused 550-ok / 550 5.1.1 no\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void tells_confusion(void **state)
{
    static const struct outbound_script scripts[] = {
        {"500", ONE_ASKED "S: 250 ok\nS: 500 x\nE: answer a deferred " CONFUSED "500 x\n", false},
        {"502", ONE_ASKED "S: 250 ok\nS: 502 x\nE: answer a deferred " CONFUSED "502 x\n", false},
        {"503", ONE_ASKED "S: 250 ok\nS: 503 x\nE: answer a deferred " CONFUSED "503 x\n", false},
        {"530", ONE_ASKED "S: 250 ok\nS: 530 x\nE: answer a deferred " CONFUSED "530 x\n", false},
        {"538", ONE_ASKED "S: 250 ok\nS: 538 x\nE: answer a deferred " CONFUSED "538 x\n", false},
        {"501 is the target's", ONE_ASKED "S: 250 ok\nS: 501 x\nE: answer a refused 501 x\n",
         false},
        {"MAIL",
         ONE_ASKED "S: 530 5.7.0 auth\nS: 503 what\nE: answer a deferred " CONFUSED
                   "530 5.7.0 auth\n> abort\nE: idle\nR: lives\n> begin\nC: RSET\n" MAIL,
         false},
        {"DATA with somebody standing",
         DATA_ASKED "S: 250 ok\nS: 250 ok\nS: 503 x\nE: answer a accepted 250 ok\n"
                    "E: final deferred early " CONFUSED "503 x\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"DATA with nobody",
         DATA_ASKED "S: 250 ok\nS: 550 no\nS: 503 x\nE: answer a refused 550 no\n"
                    "> abort\nE: idle\nR: lives\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void ends_what_data_began(void **state)
{
    static const struct outbound_script scripts[] = {
        {"a lone dot where nobody stands",
         DATA_ASKED "S: 250 ok\nS: 550 no\nS: 354 go\nE: answer a refused 550 no\nC: .\n"
                    "> abort\nR: lives\nS: 554 5.5.1 nobody\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"its answer comes first",
         DATA_ASKED "S: 250 ok\nS: 550 no\nS: 354 go\nE: answer a refused 550 no\nC: .\n"
                    "S: 250 ok\n> abort\nE: idle\nR: lives\n",
         false},
        {"DATA refused",
         DATA_ASKED "S: 250 ok\nS: 250 ok\nS: 451 4.3.0 no\nE: answer a accepted 250 ok\n"
                    "E: final deferred early 451 4.3.0 no\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"given up, nobody stood",
         DATA_ASKED "> abort\nR: lives\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 x\nE: idle\n",
         false},
        {"given up, then somebody stood",
         DATA_ASKED "> abort\nR: lives\nS: 250 ok\nS: 250 ok\nS: 354 go\nE: gone aborted\n", false},
        {"given up, somebody stands",
         DATA_ASKED "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\n"
                    "> abort\nR: must be closed\n",
         false},
        {"given up while content flows", DATA_GOES "> abort\nR: must be closed\n", false},
        {"given up behind the end", DATA_ENDED "> abort\nR: must be closed\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void hears_the_last_word(void **state)
{
    static const struct outbound_script scripts[] = {
        {"an early answer",
         DATA_GOES "> frame 9\nR: 9\nS: 552 5.3.4 big\nE: final refused early 552 5.3.4 big\n"
                   "E: gone aborted\n",
         false},
        {"early praise", DATA_GOES "S: 250 ok\nE: gone lost 250 ok\n", false},
        {"refused",
         DATA_ENDED "S: 550 5.7.1 spam\nE: final refused 550 5.7.1 spam\nE: idle\n"
                    "> begin\n" MAIL,
         false},
        {"deferred, and given up in between",
         DATA_ENDED "S: 450 later\nE: final deferred 450 later\nE: idle\n> abort\nR: lives\n"
                    "> idle\nR: idle\n",
         false},
        {"354 to the end", DATA_ENDED "S: 354 x\nE: gone lost end-sent 354 x\n", false},
        {"end of the connection", DATA_ENDED "> eof\nE: gone lost end-sent\n", false},
        {"half an answer, and the end", DATA_ENDED "S: 250-ok\n> eof\nE: gone lost end-sent\n",
         false},
        {"421: not taken", DATA_ENDED "S: 421 x\nE: gone lost 421 x\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void ends_what_chunks_began(void **state)
{
    static const struct outbound_script scripts[] = {
        {"given up with a chunk not written",
         SCRIPT_CHUNKING "> begin\nC: MAIL FROM:<joe@example.com>\n> rcpt a\n" RCPT(
             "a") "> data\n"
                  "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\nE: go\n> frame 9\nC: BDAT 9\n"
                  "R: 9\n> wrote 8\n> abort\nR: must be closed\n",
         false},
        {"given up with a chunk not answered",
         SCRIPT_CHUNKING "> begin\nC: MAIL FROM:<joe@example.com>\n> rcpt a\n" RCPT(
             "a") "> data\n"
                  "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\nE: go\n> frame 9\nC: BDAT 9\n"
                  "R: 9\n> wrote 9\n> abort\nR: lives\n> idle\nR: busy\nS: 250 ok\nE: idle\n"
                  "> begin\nC: RSET\nC: MAIL FROM:<joe@example.com>\n",
         false},
        {"given up behind the last chunk",
         SCRIPT_CHUNKING "> begin\nC: MAIL FROM:<joe@example.com>\n> rcpt a\n" RCPT(
             "a") "> data\n"
                  "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\nE: go\n> frame 9 whole\n"
                  "C: BDAT 9 LAST\nR: 9\n> wrote 9\n> abort\nR: must be closed\n",
         false},
        {"lost within the last chunk: the end was not sent",
         SCRIPT_CHUNKING "> begin\nC: MAIL FROM:<joe@example.com>\n> rcpt a\n" RCPT(
             "a") "> data\n"
                  "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\nE: go\n> frame 9 whole\n"
                  "C: BDAT 9 LAST\nR: 9\n> wrote 8\n> eof\nE: gone lost\n",
         false},
        {"lost behind the last chunk",
         SCRIPT_CHUNKING "> begin\nC: MAIL FROM:<joe@example.com>\n> rcpt a\n" RCPT(
             "a") "> data\n"
                  "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\nE: go\n> frame 9 whole\n"
                  "C: BDAT 9 LAST\nR: 9\n> wrote 9\n> eof\nE: gone lost end-sent\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

#define PROXIED                                                                                    \
    "> start proxy1 client\nC: PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\nS: 220 hi\n"               \
    "C: EHLO proxy.example\nS: 250-hi\nS: 250-8BITMIME\nS: 250-SIZE\nS: 250 PIPELINING\n"          \
    "E: ready\n> begin\n" MAIL "> rcpt a\n" RCPT("a")

static void goes_away(void **state)
{
    static const struct outbound_script scripts[] = {
        {"QUIT", SCRIPT_PIPELINING "> quit\nC: QUIT\nS: 221 bye\nE: gone closed 221 bye\n", false},
        {"QUIT, and the end", SCRIPT_PIPELINING "> quit\nC: QUIT\n> eof\nE: gone closed\n", false},
        {"QUIT, and rubbish", SCRIPT_PIPELINING "> quit\nC: QUIT\nS: bye\nE: gone closed\n", false},
        {"QUIT in a transaction", ONE_ASKED "> quit\nE: gone closed\n", false},
        {"idle: 421", SCRIPT_PIPELINING "S: 421 idle\nE: gone closed 421 idle\n", false},
        {"idle: the end", SCRIPT_PIPELINING "> eof\nE: gone closed\n", false},
        {"idle: a reply", SCRIPT_PIPELINING "S: 250 x\nE: gone lost 250 x\n", false},
        {"idle: 521", SCRIPT_PIPELINING "S: 521 x\nE: gone lost 521 x\n", false},
        {"idle: rubbish", SCRIPT_PIPELINING "S: x\nE: gone lost\n", false},
        {"idle: half a reply, and the end",
         SCRIPT_PIPELINING "S: 421-x\n> idle\nR: busy\n"
                           "> eof\nE: gone lost\n",
         false},
        {"421 to MAIL", ONE_ASKED "S: 421 4.7.0 x\nE: gone lost 421 4.7.0 x\n", false},
        {"421 to RCPT: the one before stays",
         SCRIPT_PIPELINING "> begin\n" MAIL "> rcpt a b\n" RCPT("a")
             RCPT("b") "S: 250 ok\nS: 250 ok\nS: 421 x\nE: answer a accepted 250 ok\nE: gone lost "
                       "421 x\n",
         false},
        {"421 between RCPT and DATA",
         ONE_ASKED "S: 250 ok\nS: 250 ok\nS: 421 x\nE: answer a accepted 250 ok\n"
                   "E: gone lost 421 x\n",
         false},
        {"421 while content flows", DATA_GOES "S: 421 x\nE: gone lost 421 x\n", false},
        {"521 to RCPT", ONE_ASKED "S: 250 ok\nS: 521 x\nE: gone verdict 521 x\n", false},
        {"a client's connection: 421 with a policy",
         PROXIED "S: 250 ok\nS: 421 4.7.1 you\nE: gone verdict 421 4.7.1 you\n", false},
        {"a client's connection: 421 without",
         PROXIED "S: 250 ok\nS: 421 4.3.2 x\nE: gone lost 421 4.3.2 x\n", false},
        {"a client's connection: 450 with a policy is an answer",
         PROXIED "S: 250 ok\nS: 450 4.7.1 x\nE: answer a deferred 450 4.7.1 x\n", false},
        {"the end in the envelope", ONE_ASKED "> eof\nE: gone lost\n", false},
        {"answers, and then the end",
         ONE_ASKED "S: 250 ok\nS: 550 no\nE: answer a refused 550 no\n> eof\nE: gone lost\n",
         false},
        {"the end while answers are absorbed", ONE_ASKED "> abort\nR: lives\n> eof\nE: gone lost\n",
         false},
        {"RSET refused: somebody might still stand",
         ONE_ASKED "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\n> abort\nE: idle\nR: lives\n"
                   "> begin\nC: RSET\n" MAIL "S: 502 x\nE: gone lost 502 x\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_verbatim),       cmocka_unit_test(tells_confusion),
        cmocka_unit_test(ends_what_data_began),   cmocka_unit_test(hears_the_last_word),
        cmocka_unit_test(ends_what_chunks_began), cmocka_unit_test(goes_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
