/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said in a transaction, in which order, and how content is framed. */
/* needs: tests/unit/outbound_script.c */
#include "tests/unit/outbound_script.h"

#define MAIL       "C: MAIL FROM:<joe@example.com>\n"
#define MAIL_SIZE  "C: MAIL FROM:<joe@example.com> SIZE=100 BODY=7BIT\n"
#define RCPT(name) "C: RCPT TO:<" name "@example.org>\n"
#define XFORWARD                                                                                   \
    "C: XFORWARD NAME=mail.example.net ADDR=192.0.2.1 IDENT=BCDFGHJKLMNPQRST SOURCE=REMOTE\n"

/* Accepted, and content may go. */
#define DATA_GOES                                                                                  \
    SCRIPT_PIPELINING "> begin\n" MAIL_SIZE "> rcpt a\n" RCPT(                                     \
        "a") "> data\nC: DATA\n"                                                                   \
             "S: 250 ok\nS: 250 ok\nS: 354 go\nE: answer a accepted 250 ok\nE: go\n"
#define BDAT_GOES                                                                                  \
    SCRIPT_CHUNKING                                                                                \
    "> begin\n" MAIL                                                                               \
    "> rcpt a\n" RCPT("a") "> data\n"                                                              \
                           "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\nE: go\n"

static void pipelines(void **state)
{
    static const struct outbound_script scripts[] = {
        {"MAIL, RCPTs and DATA in one go", DATA_GOES, false},
        {"RCPTs while others are unanswered",
         SCRIPT_PIPELINING "> begin\n" MAIL_SIZE "> rcpt a b\n" RCPT("a")
             RCPT("b") "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\n> rcpt c\n" RCPT(
                 "c") "S: 550 5.1.1 b\nS: 450 c\nE: answer b refused 550 5.1.1 b\n"
                      "E: answer c deferred 450 c\n",
         false},
        {"no DATA where nobody can stand",
         SCRIPT_PIPELINING "> begin\n" MAIL_SIZE "> rcpt a\n" RCPT(
             "a") "S: 250 ok\nS: 550 no\nE: answer a refused 550 no\n> data\n"
                  "> abort\nE: idle\nR: lives\n",
         false},
        {"nothing to be sent for DATA with CHUNKING", BDAT_GOES, false},
        {"a reset goes in the same write",
         SCRIPT_PIPELINING "> begin\n" MAIL_SIZE "> abort\nR: lives\n> idle\nR: busy\n"
                           "S: 250 ok\nE: idle\n> idle\nR: idle\n"
                           "> begin bounce\nC: RSET\nC: MAIL FROM:<>\n",
         false},
        {"null sender and 8 bit",
         SCRIPT_PIPELINING
         "> begin bounce\nC: MAIL FROM:<>\n> abort\nR: lives\nS: 250 ok\nE: idle\n"
         "> begin 8bit\nC: RSET\n"
         "C: MAIL FROM:<joe@example.com> body=8BITMIME SIZE=7\n",
         false},
        {"8 bit for a target that cannot: nobody is asked",
         SCRIPT_CHUNKING
         "> begin 8bit\n> rcpt a b\n"
         "E: answer a refused 554 5.6.3 The next host does not accept 8-bit messages\n"
         "E: answer b refused 554 5.6.3 The next host does not accept 8-bit messages\n"
         "> data\n> abort\nE: idle\nR: lives\n> begin\n" MAIL,
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void goes_in_lock_step(void **state)
{
    static const struct outbound_script scripts[] = {
        {"one command at a time",
         SCRIPT_LOCKSTEP
         "> begin\n" MAIL
         "> rcpt a b\n> data\nS: 250 ok\n" RCPT("a") "S: 250 a\nE: answer a accepted 250 a\n" RCPT(
             "b") "S: 550 b\nE: answer b refused 550 b\nC: DATA\nS: 354 go\nE: go\n",
         false},
        {"no DATA where nobody stands",
         SCRIPT_LOCKSTEP "> begin\n" MAIL "> rcpt a\n> data\nS: 250 ok\n" RCPT(
             "a") "S: 550 a\nE: answer a refused 550 a\n> abort\nE: idle\nR: lives\n"
                  "> begin\nC: RSET\nS: 250 ok\n" MAIL,
         false},
        {"RCPTs of a refused MAIL are not sent",
         SCRIPT_LOCKSTEP
         "> begin\n" MAIL "> rcpt a\nS: 450 4.1.8 joe?\n"
         "E: answer a deferred 450 4.1.8 joe?\n> rcpt b\n"
         "E: answer b deferred 450 4.1.8 joe?\n> abort\nE: idle\nR: lives\n> begin\n" MAIL,
         false},
        {"XFORWARD waits too, and its refusal spares the rest",
         SCRIPT_START "S: 250-hi\nS: 250 XFORWARD NAME ADDR IDENT SOURCE\nE: ready\n"
                      "> begin xforward\n" XFORWARD "> rcpt a\nS: 550 5.7.0 no\n"
                      "E: answer a deferred 451 4.3.5 Client identity could not be handed on, "
                      "try again later <- 550 5.7.0 no\n> abort\nE: idle\nR: lives\n> begin\n" MAIL,
         false},
        {"XFORWARD, then MAIL",
         SCRIPT_START "S: 250-hi\nS: 250 XFORWARD NAME ADDR IDENT SOURCE\nE: ready\n"
                      "> begin xforward\n" XFORWARD "S: 250 ok\n" MAIL,
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

#define XFORWARD_START                                                                             \
    SCRIPT_START "S: 250-hi\nS: 250-PIPELINING\nS: 250 XFORWARD NAME ADDR IDENT SOURCE\nE: "       \
                 "ready\n"
#define LONG_XFORWARD                                                                              \
    "C: XFORWARD NAME=" SCRIPT_LONG_NAME " HELO=" SCRIPT_LONG_HELO " IDENT=BCDFGHJKLMNPQRST\n"
#define FAILED "451 4.3.5 Client identity could not be handed on, try again later <- "

static void hands_on_by_xforward(void **state)
{
    static const struct outbound_script scripts[] = {
        {"with MAIL and RCPT",
         XFORWARD_START "> begin xforward\n" XFORWARD MAIL "> rcpt a\n" RCPT("a"), false},
        {"before every MAIL, behind RSET",
         XFORWARD_START "> begin xforward\n" XFORWARD MAIL "S: 250 ok\nS: 250 ok\n"
                        "> abort\nE: idle\nR: lives\n> begin xforward\nC: RSET\n" XFORWARD MAIL,
         false},
        {"refused: 250 becomes 451, and the others stay",
         XFORWARD_START "> begin xforward\n" XFORWARD MAIL "> rcpt a b\n" RCPT("a")
             RCPT("b") "S: 501 5.5.4 bad\nS: 250 ok\nS: 250 a\nS: 550 b\n"
                       "E: answer a deferred " FAILED "501 5.5.4 bad\n"
                       "E: answer b refused 550 b\n> rcpt c\n"
                       "E: answer c deferred " FAILED
                       "501 5.5.4 bad\n> data\n> abort\nE: idle\nR: lives\n"
                       "> begin xforward\nC: RSET\n" XFORWARD MAIL,
         false},
        {"refused, MAIL too: MAIL's words",
         XFORWARD_START "> begin xforward\n" XFORWARD MAIL "> rcpt a\n" RCPT(
             "a") "S: 501 5.5.4 bad\nS: 550 joe\nS: 503 what\nE: answer a refused 550 joe\n",
         false},
        {"refused behind DATA: no lone dot where the target took somebody",
         XFORWARD_START "> begin xforward\n" XFORWARD MAIL "> rcpt a\n" RCPT(
             "a") "> data\nC: DATA\n"
                  "S: 501 bad\nS: 250 ok\nS: 250 a\nS: 354 go\n"
                  "E: answer a deferred " FAILED "501 bad\nE: gone aborted\n",
         false},
        {"refused, and it may pass",
         XFORWARD_START "> begin xforward pass\n" XFORWARD MAIL "> rcpt a\n" RCPT(
             "a") "S: 501 bad\nS: 250 ok\nS: 250 a\nE: answer a accepted 250 a\n",
         false},
        {"in two commands",
         SCRIPT_START "S: 250-hi\nS: 250-PIPELINING\nS: 250 XFORWARD NAME HELO IDENT PROTO\n"
                      "E: ready\n> begin xforward long\n" LONG_XFORWARD
                      "C: XFORWARD PROTO=ESMTP\n" MAIL
                      "> rcpt a\n" RCPT("a") "S: 250 ok\nS: 501 bad\nS: 250 ok\nS: 250 ok\n"
                                             "E: answer a deferred " FAILED "501 bad\n",
         false},
        {"in two commands, lock-step",
         SCRIPT_START "S: 250-hi\nS: 250 XFORWARD NAME HELO IDENT PROTO\nE: ready\n"
                      "> begin xforward long pass\n" LONG_XFORWARD "S: 501 bad\n"
                      "C: XFORWARD PROTO=ESMTP\nS: 250 ok\n" MAIL,
         false},
        {"not announced",
         SCRIPT_PIPELINING "> begin xforward\n> rcpt a\nE: answer a deferred "
                           "451 4.3.5 Client identity could not be handed on, try again later\n",
         false},
        {"not announced, and it may pass", SCRIPT_PIPELINING "> begin xforward pass\n" MAIL_SIZE,
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

/* More recipients than may be unanswered: the others wait inside, and DATA behind them. */
static void bounds_what_is_unanswered(void **state)
{
    static char text[32768];
    static struct lib_text all;
    struct outbound_script script = {"100 recipients", text, false};

    (void)state;
    lib_put(&all, "%s", SCRIPT_PIPELINING "> begin\n" MAIL_SIZE "> rcpt");
    for (int i = 0; i < 100; i++)
        lib_put(&all, " r%d", i);
    lib_put(&all, "\n");
    for (int i = 0; i < 63; i++)
        lib_put(&all, "C: RCPT TO:<r%d@example.org>\n", i);
    lib_put(&all, "> data\nS: 250 ok\n");
    for (int i = 0; i < 100; i++) {
        if (63 + i < 100)
            lib_put(&all, "C: RCPT TO:<r%d@example.org>\n", 63 + i);
        else if (63 + i == 100)
            lib_put(&all, "C: DATA\n");
        lib_put(&all, "S: 250 ok\nE: answer r%d accepted 250 ok\n", i);
    }
    lib_put(&all, "S: 354 go\nE: go\n");
    memcpy(text, all.at, all.len + 1);
    outbound_script_play(&script, 1);
}

static void frames_with_dots(void **state)
{
    static const struct outbound_script scripts[] = {
        {"nothing before GO",
         SCRIPT_PIPELINING "> begin\n" MAIL_SIZE "> rcpt a\n" RCPT("a") "> data\nC: DATA\n"
                                                                        "> frame 100 whole\nR: 0\n",
         false},
        {"whatever is there, and the dot once it is whole",
         DATA_GOES "> frame 100\nR: 100\n> wrote 100\n> frame 0\nR: 0\n> frame 7 whole\n"
                   "R: 7 and .\\r\\n\n> wrote 7\n> ended\n> frame 7 whole\nR: 0\n"
                   "S: 250 2.0.0 done\nE: final accepted 250 2.0.0 done\nE: idle\n"
                   "> begin\n" MAIL_SIZE,
         false},
        {"CHUNKING is not wanted",
         SCRIPT_CHUNKING "> begin\n" MAIL "> rcpt a\n" RCPT("a") "> data\nC: DATA\n", true},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void frames_with_chunks(void **state)
{
    static const struct outbound_script scripts[] = {
        {"nothing before every RCPT is answered",
         SCRIPT_CHUNKING "> begin\n" MAIL "> rcpt a b\n" RCPT("a") RCPT(
             "b") "> data\n"
                  "S: 250 ok\nS: 250 ok\nE: answer a accepted 250 ok\n> frame 10\nR: 0\n"
                  "S: 550 b\nE: answer b refused 550 b\nE: go\n> frame 10\nC: BDAT 10\nR: 10\n",
         false},
        {"no GO where nobody stands",
         SCRIPT_CHUNKING "> begin\n" MAIL "> rcpt a\n" RCPT(
             "a") "> data\n"
                  "S: 250 ok\nS: 550 no\nE: answer a refused 550 no\n> frame 9 whole\nR: 0\n"
                  "> abort\nE: idle\nR: lives\n",
         false},
        {"one go when whole",
         BDAT_GOES "> frame 1000 whole\nC: BDAT 1000 LAST\nR: 1000\n> wrote 600\n"
                   "> frame 400 whole\nR: 400\n> wrote 400\n> frame 0 whole\nR: 0\n"
                   "S: 250 2.0.0 done\nE: final accepted 250 2.0.0 done\nE: idle\n"
                   "> begin\n" MAIL,
         false},
        {"an empty message",
         BDAT_GOES "> frame 0 whole\nC: BDAT 0 LAST\nR: 0\nS: 250 done\n"
                   "E: final accepted 250 done\nE: idle\n",
         false},
        {"nothing to be cut", BDAT_GOES "> frame 0\nR: 0\n", false},
        {"the next chunk when none is unanswered, or much is there, or the end",
         BDAT_GOES "> frame 10\nC: BDAT 10\nR: 10\n> frame 30\nR: 10\n> wrote 10\n"
                   "> frame 262143\nR: 0\n> frame 262144\nC: BDAT 262144\nR: 262144\n"
                   "> wrote 262144\nS: 250 ok\n> frame 20\nR: 0\nS: 250 ok\n"
                   "> frame 20\nC: BDAT 20\nR: 20\n> wrote 20\n> frame 0 whole\n"
                   "C: BDAT 0 LAST\nR: 0\nS: 250 ok\nS: 250 done\n"
                   "E: final accepted 250 done\nE: idle\n",
         false},
        {"one chunk at a time without PIPELINING",
         SCRIPT_START
         "S: 250-hi\nS: 250 CHUNKING\nE: ready\n> begin\n" MAIL "> rcpt a\n> data\n"
         "S: 250 ok\n" RCPT(
             "a") "S: 250 ok\nE: answer a accepted 250 ok\nE: go\n"
                  "> frame 10\nC: BDAT 10\nR: 10\n> wrote 10\n> frame 300000 whole\nR: 0\n"
                  "S: 250 ok\n> frame 300000 whole\nC: BDAT 300000 LAST\nR: 300000\n",
         false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void hears_of_chunks(void **state)
{
    static const struct outbound_script scripts[] = {
        {"a chunk refused: what was announced is written to its end",
         BDAT_GOES "> frame 10\nC: BDAT 10\nR: 10\n> wrote 4\nS: 552 5.3.4 big\n"
                   "E: final refused early 552 5.3.4 big\n> idle\nR: busy\n> frame 50 whole\n"
                   "R: 6\n> wrote 6\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"a chunk refused, another unanswered",
         BDAT_GOES
         "> frame 10\nC: BDAT 10\nR: 10\n> wrote 10\n> frame 5 whole\n"
         "C: BDAT 5 LAST\nR: 5\n> wrote 5\nS: 451 disk\nE: final deferred early 451 disk\n"
         "S: 503 what\nE: idle\n",
         false},
        {"the last chunk refused before it is written",
         BDAT_GOES "> frame 10 whole\nC: BDAT 10 LAST\nR: 10\n> wrote 4\nS: 552 big\n"
                   "E: final refused early 552 big\n> wrote 6\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"the last chunk refused",
         BDAT_GOES "> frame 10 whole\nC: BDAT 10 LAST\nR: 10\n> wrote 10\nS: 552 big\n"
                   "E: final refused 552 big\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"accepted before it was written",
         BDAT_GOES "> frame 10 whole\nC: BDAT 10 LAST\nR: 10\n> wrote 9\nS: 250 ok\n"
                   "E: gone lost 250 ok\n",
         false},
        {"a chunk accepted before it was written",
         BDAT_GOES "> frame 10\nC: BDAT 10\nR: 10\nS: 250 ok\nE: gone lost 250 ok\n", false},
        {"354 to a chunk",
         BDAT_GOES "> frame 10\nC: BDAT 10\nR: 10\n> wrote 10\nS: 354 ok\nE: gone lost 354 ok\n",
         false},
        {"a refusal of nothing", BDAT_GOES "S: 550 no\nE: gone lost 550 no\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelines),
        cmocka_unit_test(goes_in_lock_step),
        cmocka_unit_test(hands_on_by_xforward),
        cmocka_unit_test(bounds_what_is_unanswered),
        cmocka_unit_test(frames_with_dots),
        cmocka_unit_test(frames_with_chunks),
        cmocka_unit_test(hears_of_chunks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
