/* SPDX-License-Identifier: BSD-2-Clause */
/* LMTP (RFC 2033): LHLO, and an answer for each recipient to the end of data. */
/* needs: tests/unit/outbound_script.c */
#include "tests/unit/outbound_script.h"

#define MAIL       "C: MAIL FROM:<joe@example.com>\n"
#define RCPT(name) "C: RCPT TO:<" name "@example.org>\n"
#define START      "> start lmtp\nS: 220 target.example\nC: LHLO proxy.example\n"
#define HELLO      START "S: 250-target.example\nS: 250 PIPELINING\nE: ready\n"
#define CHUNKING   START "S: 250-target.example\nS: 250-CHUNKING\nS: 250 PIPELINING\nE: ready\n"
#define THREE      "> begin\n" MAIL "> rcpt a b c\n" RCPT("a") RCPT("b") RCPT("c")
#define TWO_STAND                                                                                  \
    "S: 250 ok\nS: 250 a\nS: 550 b\nS: 250 c\nS: 354 go\nE: answer a accepted 250 a\n"             \
    "E: answer b refused 550 b\nE: answer c accepted 250 c\nE: go\n"
#define ASKED HELLO THREE "> data\nC: DATA\n" TWO_STAND
#define ENDED ASKED "> frame 9 whole\nR: 9 and .\\r\\n\n> wrote 9\n> ended\n"
#define LOST_DATA                                                                                  \
    "S: 250 ok\nS: 550 a\nS: 550 b\nS: 550 c\nS: 354 go\nE: answer a refused 550 a\n"              \
    "E: answer b refused 550 b\nE: answer c refused 550 c\nE: gone aborted\n"
#define CHUNK_ASKED                                                                                \
    CHUNKING THREE "> data\nS: 250 ok\nS: 250 a\nS: 550 b\nS: 250 c\nE: answer a accepted 250 a\n" \
                   "E: answer b refused 550 b\nE: answer c accepted 250 c\nE: go\n"
#define LAST CHUNK_ASKED "> frame 9 whole\nC: BDAT 9 LAST\nR: 9\n"

static void greets(void **state)
{
    static const struct outbound_script scripts[] = {
        {"HELO does not take the place of LHLO",
         START "S: 500 5.5.1 what\nE: refused refused 500 5.5.1 what\nC: QUIT\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void answers_for_each(void **state)
{
    static const struct outbound_script scripts[] = {
        {"each its own, in the order of RCPT, none for whom was refused",
         ENDED "S: 250 2.0.0 a\nS: 452 4.2.2 c\nE: final a accepted more 250 2.0.0 a\n"
               "E: final c deferred 452 4.2.2 c\nE: idle\n> begin\n" MAIL,
         false},
        {"one by one",
         ENDED "S: 552 5.2.2 a\nE: final a refused more 552 5.2.2 a\n> idle\nR: busy\n"
               "S: 250 c\nE: final c accepted 250 c\nE: idle\n",
         false},
        {"one too many",
         ENDED "S: 250 a\nS: 250 c\nE: final a accepted more 250 a\n"
               "E: final c accepted 250 c\nE: idle\n> idle\nR: idle\n"
               "S: 250 what\nE: gone lost 250 what\n",
         false},
        {"an answer that means confusion",
         ENDED "S: 503 what\nS: 250 c\n"
               "E: final a deferred more 451 4.3.5 Local "
               "configuration error, try again later <- 503 "
               "what\nE: final c accepted 250 c\nE: idle\n",
         false},
        {"the answer for the first is that of nobody else when it is lost",
         ENDED "S: 250 a\nE: final a accepted more 250 a\n> eof\nE: gone lost end-sent\n", false},
        {"421 to the first: of the second nothing is known",
         ENDED "S: 421 4.3.2 bye\nE: gone lost end-sent 421 4.3.2 bye\n", false},
        {"421 to the last: it did not take the message",
         ENDED "S: 250 a\nS: 421 4.3.2 bye\nE: final a accepted more 250 a\n"
               "E: gone lost 421 4.3.2 bye\n",
         false},
        {"given up meanwhile",
         ENDED "S: 250 a\nE: final a accepted more 250 a\n> abort\nR: must be closed\n", false},
        {"nobody is owed anything from the transaction before",
         ASKED "> abort\nR: must be closed\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void answers_early(void **state)
{
    static const struct outbound_script scripts[] = {
        {"in the content: for all",
         ASKED "> frame 9\nR: 9\n> wrote 9\nS: 452 4.3.1 full\n"
               "E: final deferred early 452 4.3.1 full\nE: gone aborted\n",
         false},
        {"to DATA: for all",
         HELLO THREE "> data\nC: DATA\nS: 250 ok\nS: 250 a\nS: 250 b\nS: 250 c\nS: 451 no\n"
                     "E: answer a accepted 250 a\nE: answer b accepted 250 b\n"
                     "E: answer c accepted 250 c\nE: final deferred early 451 no\nE: idle\n",
         false},
        {"to DATA with nobody left: 503 does no harm",
         HELLO THREE
         "> data\nC: DATA\nS: 250 ok\nS: 550 a\nS: 550 b\nS: 550 c\nS: 503 none\n"
         "E: answer a refused 550 a\nE: answer b refused 550 b\n"
         "E: answer c refused 550 c\n> abort\nE: idle\nR: lives\n> begin\nC: RSET\n" MAIL,
         false},
        {"354 with nobody left: nobody knows how often a dot is answered",
         HELLO THREE "> data\nC: DATA\n" LOST_DATA, false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void answers_chunks(void **state)
{
    static const struct outbound_script scripts[] = {
        {"one for a chunk, and for each recipient behind LAST",
         CHUNK_ASKED "> frame 9\nC: BDAT 9\nR: 9\n> wrote 9\nS: 250 9 octets\n"
                     "> frame 0 whole\nC: BDAT 0 LAST\nR: 0\nS: 250 a\nS: 250 c\n"
                     "E: final a accepted more 250 a\nE: final c accepted 250 c\nE: idle\n"
                     "> begin\n" MAIL,
         false},
        {"a refusal behind LAST: the transaction may still be open",
         LAST "> wrote 9\nS: 552 a\nS: 250 c\nE: final a refused more 552 a\n"
              "E: final c accepted 250 c\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"a refused chunk: for all",
         CHUNK_ASKED "> frame 9\nC: BDAT 9\nR: 9\n> wrote 9\nS: 452 full\n"
                     "E: final deferred early 452 full\nE: idle\n> begin\nC: RSET\n" MAIL,
         false},
        {"a refused chunk, and LAST behind it: nobody knows how often that is answered",
         CHUNK_ASKED "> frame 9\nC: BDAT 9\nR: 9\n> wrote 9\n> frame 5 whole\nC: BDAT 5 LAST\n"
                     "R: 5\n> wrote 5\nS: 452 full\nE: final deferred early 452 full\n"
                     "E: gone aborted\n",
         false},
        {"a positive answer before the chunk was written",
         LAST "> wrote 3\nS: 250 a\nE: gone lost 250 a\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(greets),
        cmocka_unit_test(answers_for_each),
        cmocka_unit_test(answers_early),
        cmocka_unit_test(answers_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
