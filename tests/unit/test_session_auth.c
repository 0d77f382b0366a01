/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH without a shell: what the client says and hears, what is asked, and that nothing of it
 * stays.
 *
 * C text  the client sends a line, D sends dots in its place to that length
 * S text  the client gets a line      A text  an action, in order
 * R text  the answer to "auth" or "mechanisms": a reply, or a login behind 235
 * E what  conf: none, any; eof, lost, secured, forgotten: who knew the client is gone */
/* needs: tests/unit/session_script.c */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/smtp/sasl.h"
#include "tests/unit/session_script.h"

static void note_auth(struct session_script *p)
{
    struct session_sasl sasl = session_sasl(&p->session);
    char text[256];

    snprintf(text, sizeof(text), "auth %s%s%s%.*s", sasl_name(sasl.mechanism),
             sasl.is_first ? "" : " on", sasl.has_response ? " =" : "",
             sasl.response.len < 100 ? (int)sasl.response.len : 3, (const char *)sasl.response.at);
    session_script_note(p, "A", text);
}

static void perform(struct session_script *p, const struct session_action *todo)
{
    if (todo->kind == SESSION_ACT_MECHANISMS)
        session_script_note(p, "A", "mechanisms");
    else if (todo->kind == SESSION_ACT_AUTH)
        note_auth(p);
    else if (todo->kind == SESSION_ACT_AUTH_CANCEL)
        session_script_note(p, "A", "cancel");
    else if (todo->kind == SESSION_ACT_CLOSE)
        session_script_note(p, "A", "close");
    else if (todo->kind == SESSION_ACT_ASSERTED)
        session_greet(&p->session);
}

static void answer(struct session_script *p, const char *text)
{
    char wire[512];
    struct session_event ev = {.kind = SESSION_EV_ANSWER};

    snprintf(wire, sizeof(wire), "%s\r\n", text);
    ev.reply = (struct reply){.code = (uint16_t)atoi(text), .wire = bytes_of(wire)};
    if (ev.reply.code == 235) {
        ev.kind = SESSION_EV_AUTHENTICATED;
        ev.bytes = bytes_of(text + 4);
    } else if (ev.reply.code < 200) {
        ev = (struct session_event){
            .kind = SESSION_EV_MECHANISMS,
            .mechanisms = ev.reply.code == 0 ? 0 : SASL_PLAIN | SASL_LOGIN | SASL_CRAM_MD5};
    }
    session_feed(&p->session, &ev);
    session_script_drain(p);
}

static void something_happens(struct session_script *p, const char *what)
{
    struct session_event ev = {.kind = SESSION_EV_LOST};

    if (strcmp(what, "any") == 0) {
        p->conf.auth = SESSION_AUTH_ANY;
        return;
    }
    if (strcmp(what, "none") == 0) {
        p->conf.auth = SESSION_AUTH_NONE;
        return;
    }
    if (strcmp(what, "eof") == 0)
        ev.kind = SESSION_EV_EOF;
    if (strcmp(what, "forgotten") == 0)
        ev.kind = SESSION_EV_LOGIN_LOST;
    if (strcmp(what, "secured") == 0) {
        const struct tls_facts facts = {.version = "TLSv1.3", .cipher = "c"};
        ev = (struct session_event){.kind = SESSION_EV_SECURED, .tls = tls_facts_copy(&facts)};
    }
    session_feed(&p->session, &ev);
    session_script_drain(p);
}

static void play(struct session_script *p, const char *line, size_t step)
{
    if (line[0] == 'C')
        session_script_say(p, line + 2, strlen(line + 2), step);
    else if (line[0] == 'D')
        session_script_say(p, strchr(line + 2, ' ') + 1, (size_t)atoi(line + 2), step);
    else if (line[0] == 'R')
        answer(p, line + 2);
    else
        something_happens(p, line + 2);
}

static const struct session_script_use use = {.perform = perform, .play = play};

static const struct session_conf conf = {.errors_max = 4,
                                         .junk_max = 20,
                                         .recipients_max = 1,
                                         .overshoot_max = 20,
                                         .rejects_early_input = true,
                                         .tls = SESSION_TLS_OFFERED,
                                         .auth = SESSION_AUTH_SAFE,
                                         .announces = CAPABILITY_AUTH | CAPABILITY_STARTTLS,
                                         .bridges = CAPABILITY_AUTH | CAPABILITY_STARTTLS};

static void run(const char *name, const char *script, size_t step)
{
    struct session_script *p = session_script_new(&use, &conf);

    p->session.peer.may = CAPABILITY_XCLIENT;
    session_script_play(p, name, script, step);
    session_script_free(p);
}

#define SAFE "C EHLO c\nA mechanisms\nR 100\nS 250-mx\nS 250-STARTTLS\nS 250 AUTH CRAM-MD5\n"

#define ANY                                                                                        \
    "E any\nC EHLO c\nA mechanisms\nR 100\nS 250-mx\nS 250-STARTTLS\n"                             \
    "S 250 AUTH CRAM-MD5 PLAIN LOGIN\n"

#define DONE "R 235 joe\nS 235 joe\n"

#define LOST "S 421 4.4.2 The server that knows you is gone, log in again\n"

static const struct {
    const char *name, *script;
} cases[] = {
    {"initial response", ANY "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\n" DONE},
    {"any case, spaces", ANY "C auth  plain   AAA= \nA auth PLAIN =AAA=\n" DONE},
    {"empty initial response", ANY "C AUTH PLAIN =\nA auth PLAIN =\n" DONE},
    {"challenges", SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\nR 334 bm9uY2U=\nS 334 bm9uY2U=\n"
                        "C AAAA\nA auth CRAM-MD5 on =AAAA\nR 334 \nS 334 \nC \n"
                        "A auth CRAM-MD5 on =\n" DONE},
    {"once", ANY "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\n" DONE
                 "C AUTH PLAIN AAA=\nS 503 5.5.1 You are authenticated already\n"},
    {"refused, then taken",
     ANY "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\nR 535 no\nS 535 no\nC AUTH LOGIN\n"
         "A auth LOGIN\n" DONE},
    {"errors count", ANY "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\nR 535 no\nS 535 no\n"
                         "C AUTH FOO\nS 504 5.5.4 Authentication mechanism not offered\n"
                         "C AUTH\nS 501 5.5.4 Syntax error in argument\n"
                         "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\nR 535 no\nA close\nS 535 no\n"
                         "S 421 4.7.0 Too many errors\n"},
    {"no plaintext", SAFE "C AUTH PLAIN AAA=\nS 538 5.7.11 Say STARTTLS first: this mechanism "
                          "shows the password\nC AUTH XOAUTH2 AAA=\nS 504 5.5.4 Authentication "
                          "mechanism not offered\n"},
    {"none", "E none\nC EHLO c\nS 250-mx\nS 250 STARTTLS\n"

             "C AUTH PLAIN AAA=\nS 502 5.5.1 Command not implemented\n"},
    {"away", "C EHLO c\nA mechanisms\nR 0\nS 250-mx\nS 250 STARTTLS\n"

             "C AUTH CRAM-MD5\nS 454 4.7.0 Authentication is not available now, try again later\n"},
    {"before EHLO", "C AUTH CRAM-MD5\nS 503 5.5.1 Say HELO or EHLO first\nC HELO c\nS 250 mx\n"
                    "C AUTH CRAM-MD5\nS 503 5.5.1 Say EHLO first\n"},
    {"in a transaction", SAFE "C MAIL FROM:<a@b>\nS 250 2.1.0 Ok\nC AUTH CRAM-MD5\n"
                              "S 503 5.5.1 MAIL transaction in progress\nC RSET\nS 250 2.0.0 Ok\n"
                              "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE},
    {"bad base64", ANY "C AUTH PLAIN AAA\nS 501 5.5.2 Not in base64\n"
                       "C AUTH PLAIN AAA= AAA=\nS 501 5.5.2 Not in base64\n"},
    {"cancelled", SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\nR 334 \nS 334 \nC *\nA cancel\n"
                       "S 501 5.7.0 Authentication cancelled\nC NOOP\nS 250 2.0.0 Ok\n"},
    {"bad line", SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\nR 334 \nS 334 \nC QUI\nA cancel\n"
                      "S 501 5.5.2 Not in base64\nC NOOP\nS 250 2.0.0 Ok\n"},
    {"bare newline", SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\nR 334 \nS 334 \nC A\rB\nA cancel\n"
                          "S 500 5.5.2 Bare newline or control character in command\n"},
    {"longest command", ANY "D 12299 AUTH PLAIN \nS 501 5.5.2 Not in base64\n"},
    {"too long a response", ANY "D 12303 AUTH PLAIN \nS 500 5.5.6 Authentication line too long\n"},
    {"too long a command", ANY "D 12351 AUTH PLAIN \nS 500 5.5.6 Authentication line too long\n"
                               "D 99999 AUTH PLAIN \nS 500 5.5.6 Authentication line too long\n"
                               "C NOOP\nS 250 2.0.0 Ok\n"},
    {"other commands are no longer", ANY "D 1023 NOOP \nS 500 5.5.2 Line too long\n"
                                         "D 1023 AUTHPLAIN \nS 500 5.5.2 Line too long\n"},
    {"too long a line",
     SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\nR 334 \nS 334 \nD 12400 x\nA cancel\n"
          "S 500 5.5.6 Authentication line too long\nC NOOP\nS 250 2.0.0 Ok\n"},
    {"EHLO again keeps the login", SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE SAFE
                                        "C AUTH CRAM-MD5\nS 503 5.5.1 You are authenticated "
                                        "already\n"},
    {"STARTTLS forgets it",
     SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE "C STARTTLS\nS 220 2.0.0 Ready to start TLS\n"
          "E secured\nC AUTH PLAIN AAA=\nS 503 5.5.1 Say HELO or EHLO first\nC EHLO c\n"
          "A mechanisms\nR 100\nS 250-mx\nS 250 AUTH CRAM-MD5 PLAIN LOGIN\n"

          "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\n" DONE},
    {"XCLIENT forgets it", SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE
                                "C XCLIENT NAME=a.test\nS 220 mx ESMTP postern\n" SAFE
                                "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE},
    {"XCLIENT says it", "C XCLIENT LOGIN=joe\nS 220 mx ESMTP postern\n" SAFE
                        "C AUTH CRAM-MD5\nS 503 5.5.1 You are authenticated already\n"},
    {"gone while asked", ANY "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\nE lost\nA close\nR 235 joe\n"},
    {"end of input while asked",
     ANY "C AUTH PLAIN AAA=\nA auth PLAIN =AAA=\nE eof\nR 535 no\nA close\nS 535 no\n"},
    {"end of input between lines",
     SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\nR 334 \nS 334 \nE eof\nA close\n"},
    {"gone while EHLO waits", "C EHLO c\nA mechanisms\nE lost\nA close\nR 100\n"},
    {"forgotten while nothing runs",
     SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE "E forgotten\nA close\n" LOST},
    {"forgotten in a transaction",
     SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE "C MAIL FROM:<a@b>\nS 250 2.1.0 Ok\n"
          "E forgotten\nC NOOP\nS 250 2.0.0 Ok\nC RSET\nA close\nS 250 2.0.0 Ok\n" LOST},
    {"forgotten before STARTTLS forgets",
     SAFE "C AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE "C STARTTLS\nS 220 2.0.0 Ready to start TLS\n"
          "E forgotten\nE secured\nC NOOP\nS 250 2.0.0 Ok\n"},
    {"an answer to nothing", SAFE "R 235 eve\nC AUTH CRAM-MD5\nA auth CRAM-MD5\n" DONE},
};

static void each_case(size_t step)
{
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        run(cases[i].name, cases[i].script, step);
}

static void whole_lines(void **state)
{
    (void)state;
    each_case(65536);
}

static void octet_by_octet(void **state)
{
    (void)state;
    each_case(1);
}

static void other_steps(void **state)
{
    (void)state;
    for (size_t step = 2; step < 24; step += 3)
        each_case(step);
    each_case(1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_lines),
                                       cmocka_unit_test(octet_by_octet),
                                       cmocka_unit_test(other_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
