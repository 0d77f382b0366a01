/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH towards a target. */
/* needs: tests/unit/outbound_script.c */
#include <string.h>

#include "proxy/smtp/outbound.h"
#include "tests/unit/outbound_script.h"

#define ASKED                                                                                      \
    "> start auth\nS: 220 target.example\nC: EHLO proxy.example\n"                                 \
    "S: 250-target.example\nS: 250 AUTH PLAIN\nE: auth\n"
#define BEGUN ASKED "> say AUTH A\nC: AUTH A\n"

static void proves(void **state)
{
    static const struct outbound_script scripts[] = {
        {"at once",
         ASKED "> prove AUTH PLAIN AGEAYg==\nC: AUTH PLAIN AGEAYg==\nS: 235 yes\nE: ready\n"
               "> begin\nC: MAIL FROM:<joe@example.com>\n",
         false},
        {"step by step",
         BEGUN "S: 334 Yg==\nE: auth 334 Yg==\n> prove Yw==\nC: Yw==\nS: 235 yes\nE: ready\n",
         false},
        {"an empty response", BEGUN "S: 334 \nE: auth 334 \n> prove \nC: \nS: 235 yes\nE: ready\n",
         false},
        {"once: XCLIENT does not ask again",
         "> start auth\nS: 220 target.example\nC: EHLO proxy.example\n"
         "S: 250 XCLIENT ADDR\nE: auth\n> prove AUTH A\nC: AUTH A\nS: 235 yes\nE: ready\n"
         "> quit\nC: QUIT\n",
         false},
        {"behind HELO",
         "> start auth\nS: 220 target.example\nC: EHLO proxy.example\nS: 500 what?\n"
         "C: HELO proxy.example\nS: 250 hi\nE: auth\n> fail\nE: refused refused\nC: QUIT\n",
         false},
        {"given up meanwhile",
         ASKED "> abort\nR: lives\n> prove AUTH A\nC: AUTH A\nS: 235 y\nE: ready\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void fails(void **state)
{
    static const struct outbound_script scripts[] = {
        {"nothing to say", ASKED "> fail\nE: refused refused\nC: QUIT\n", false},
        {"nothing more to say",
         BEGUN "S: 334 Yg==\nE: auth 334 Yg==\n> fail\nE: refused refused\nC: *\nC: QUIT\n", false},
        {"535",
         BEGUN
         "S: 535 no\nE: refused refused 535 no\nC: QUIT\nS: 221 bye\nE: gone closed 221 bye\n",
         false},
        {"454", BEGUN "S: 454 later\nE: refused refused 454 later\nC: QUIT\n", false},
        {"521 is no verdict", BEGUN "S: 521 no\nE: refused refused 521 no\nC: QUIT\n", false},
        {"421", BEGUN "S: 421 bye\nE: refused refused 421 bye\nC: QUIT\n", false},
        {"235 without a proof", BEGUN "S: 235 yes\nE: refused refused\nC: QUIT\n", false},
        {"a reply while nothing was said", ASKED "S: 235 yes\nE: gone lost 235 yes\n", false},
        {"garbage", BEGUN "S: hello\nE: gone lost\n", false},
        {"the end", BEGUN "> eof\nE: gone lost\n", false},
        {"the end while nothing was said", ASKED "> eof\nE: gone lost\n", false},
        {"QUIT while nothing was said", ASKED "> quit\nE: gone closed\n", false},
    };

    (void)state;
    outbound_script_play(scripts, ARRAY_LENGTH(scripts));
}

static void feed(struct outbound *o, const char *text)
{
    struct outbound_event ev;

    outbound_feed(o, bytes_of(text));
    while (outbound_next(o, &ev))
        ;
}

/* The block that held it goes back to the pool without it. */
static void wipes(void **state)
{
    static const char secret[] = "AUTH PLAIN and what an allocator does not write over\r\n";
    static const struct outbound_conf conf = {.authenticates = true};
    enum { SAID, CLOSED };

    (void)state;
    for (int how = SAID; how <= CLOSED; how++) {
        struct pool small, medium;
        struct outbound o;
        pool_init(&small, 1024, 4);
        pool_init(&medium, 4096, 4);
        outbound_init(&o, &conf, &small, &medium);
        outbound_start(&o, 0, NULL, NULL, bytes_of(""), bytes_of("proxy.example"));
        feed(&o, "220 hi\r\n");
        outbound_said(&o, buf_length(&o.out));
        feed(&o, "250 AUTH PLAIN\r\n");
        outbound_auth(&o, bytes_of(secret), OUTBOUND_AUTH_PROOF);
        if (how == SAID)
            outbound_said(&o, buf_length(&o.out));
        outbound_done(&o);
        void *block = pool_take(&medium);
        assert_null(memmem(block, 4096, secret + 20, 20));
        pool_give(&medium, block);
        pool_done(&small);
        pool_done(&medium);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(proves), cmocka_unit_test(fails),
                                       cmocka_unit_test(wipes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
