/* SPDX-License-Identifier: BSD-2-Clause */
/* The session with its transaction, without a shell: scripts of what goes in and what comes out.
 *
 * C text   the client sends a line          S text   the client gets a line
 * T target what words                       a target answers: rcpt, final, early, broken, unknown
 * M target what error                       a maildir: prepared, committed; "-": the spool
 * A text   an action, in order              E what   eof, lost, deadline, stop, stop-now, verdict;
 *                                                    filters, dsn: from now on there are such
 *
 * Routes: a.test and b.test are relays, s.test one that is spooled, m.test a maildir, list.test
 * both a and m; no.test is rejected, gone.test discarded. */
/* needs: tests/unit/session_script.c */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/smtp/outcome.h"
#include "tests/unit/session_script.h"

struct target {
    const char *name;
};
static struct target target_a = {"a"}, target_b = {"b"}, target_m = {"m"}, target_s = {"s"};

static void route(struct session_script *p, struct recipient *rcpt)
{
    struct routed routed = {.leg_count = 1};
    struct routed_leg legs[2] = {{.target = &target_a, .to = rcpt->original},
                                 {.target = &target_m, .to = rcpt->original, .can_prepare = true}};
    struct bytes domain = rcpt->original.domain;

    routed.legs = legs;
    if (bytes_is(domain, "b.test"))
        legs[0].target = &target_b;
    else if (bytes_is(domain, "s.test"))
        legs[0] = (struct routed_leg){.target = &target_s, .to = rcpt->to, .may_spool = true};
    else if (bytes_is(domain, "m.test"))
        routed.legs = &legs[1];
    else if (bytes_is(domain, "list.test"))
        routed.leg_count = 2;
    else if (bytes_is(domain, "no.test"))
        routed.reply = reply_own(REPLY_RELAYING_DENIED);
    else if (bytes_is(domain, "gone.test"))
        routed.is_discarded = true;
    session_feed_transaction(&p->session,
                             &(struct event){.kind = EV_ROUTED, .rcpt = rcpt, .routed = &routed});
}

static void answer_etrn(struct session_script *p, struct bytes node)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "251 nothing for %.*s\r\n", (int)node.len,
                       (const char *)node.at);
    struct reply reply = {.code = 251, .wire = bytes_make(text, (size_t)len)};

    session_feed(&p->session, &(struct session_event){.kind = SESSION_EV_ANSWER, .reply = reply});
}

static void carry(struct session_script *p, const struct action *todo)
{
    static const char *const names[] = {[ACT_OPEN] = "open",
                                        [ACT_RCPT] = "rcpt",
                                        [ACT_GO] = "go",
                                        [ACT_PREPARE] = "prepare",
                                        [ACT_END] = "end",
                                        [ACT_COMMIT] = "commit",
                                        [ACT_DROP] = "drop",
                                        [ACT_PREPARE_SPOOL] = "prepare",
                                        [ACT_COMMIT_SPOOL] = "commit",
                                        [ACT_SETTLED] = "settled"};
    char more[256];

    snprintf(more, sizeof(more), "%s", names[todo->kind]);
    if (todo->branch != NULL)
        snprintf(more + strlen(more), sizeof(more) - strlen(more), " %s",
                 todo->branch->target->name);
    if (todo->kind == ACT_RCPT)
        snprintf(more + strlen(more), sizeof(more) - strlen(more), " %.*s",
                 (int)todo->rcpt->to.local.len, (const char *)todo->rcpt->to.local.at);
    if (todo->kind == ACT_OPEN)
        todo->branch->shell = p;
    session_script_note(p, "A", more);
}

static void perform(struct session_script *p, const struct session_action *todo)
{
    switch (todo->kind) {
    case SESSION_ACT_ROUTE:
        route(p, todo->rcpt);
        break;
    case SESSION_ACT_ETRN:
        answer_etrn(p, todo->bytes);
        break;
    case SESSION_ACT_TRANSACTION:
        carry(p, &todo->of_transaction);
        break;
    case SESSION_ACT_FILTER:
        session_script_note(p, "A", "filter");
        break;
    case SESSION_ACT_ASSERTED:
        session_script_note(p, "A", "asserted");
        session_greet(&p->session);
        break;
    case SESSION_ACT_CLOSE:
        session_script_note(p, "A", "close");
        break;
    case SESSION_ACT_FORWARDED:
    case SESSION_ACT_GREETED:
    case SESSION_ACT_BEGIN:
    case SESSION_ACT_CONTENT:
    case SESSION_ACT_WHOLE:
    case SESSION_ACT_STARTTLS:
    case SESSION_ACT_MECHANISMS:
    case SESSION_ACT_AUTH:
    case SESSION_ACT_AUTH_CANCEL:
    case SESSION_ACT_REJECT: /* nobody asks for it */
        break;
    }
}

static struct branch *branch_of(struct session_script *p, const char *name)
{
    LIST_EACH (link, &p->session.tx->branches) {
        struct branch *b = LIST_ENTRY(link, struct branch, in_transaction);
        if (strcmp(b->target->name, name) == 0 && b->state != BRANCH_DONE)
            return b;
    }
    fail_msg("no live branch %s", name);
    return NULL;
}

static struct recipient *first_open(struct branch *b)
{
    LIST_EACH (link, &b->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (r->envelope == FATE_OPEN)
            return r;
    }
    fail_msg("no open recipient");
    return NULL;
}

static void target_says(struct session_script *p, const char *text)
{
    char name[8], what[16], wire[256];
    int at = 0;
    struct event ev = {.kind = EV_FINAL};

    assert_int_equal(sscanf(text, "%7s %15s %n", name, what, &at), 2);
    snprintf(wire, sizeof(wire), "%s\r\n", text + at);
    ev.branch = name[0] == '-' ? NULL : branch_of(p, name);
    ev.error = atoi(text + at);
    ev.reply = (struct reply){.code = (uint16_t)atoi(text + at), .wire = bytes_of(wire)};
    ev.fate = outcome_of_code(ev.reply.code);
    if (strcmp(what, "rcpt") == 0) {
        ev.kind = EV_ANSWER;
        ev.rcpt = first_open(ev.branch);
    } else if (strcmp(what, "fallen") == 0) {
        ev.rcpt = LIST_ENTRY(list_first(&ev.branch->recipients), struct recipient, in_branch);
    } else if (strcmp(what, "broken") == 0 || strcmp(what, "unknown") == 0) {
        ev.kind = EV_BROKEN;
        ev.is_end_sent = what[0] == 'u';
    } else if (strcmp(what, "prepared") == 0) {
        ev.kind = EV_PREPARED;
    } else if (strcmp(what, "committed") == 0) {
        ev.kind = EV_COMMITTED;
    }
    session_feed_transaction(&p->session, &ev);
    session_script_drain(p);
}

static void something_happens(struct session_script *p, const char *what)
{
    struct session_event ev = {.kind = SESSION_EV_STOP};
    char wire[256];

    if (strcmp(what, "filters") == 0) {
        p->conf.asks = 1U << SESSION_STAGE_END;
        return;
    }
    if (strcmp(what, "dsn") == 0) {
        p->conf.announces |= CAPABILITY_DSN;
        return;
    }
    if (strcmp(what, "copy") == 0) {
        session_feed_transaction(&p->session, &(struct event){.kind = EV_COPY});
        session_script_drain(p);
        return;
    }
    ev.is_final = strcmp(what, "stop-now") == 0;
    if (strcmp(what, "eof") == 0)
        ev.kind = SESSION_EV_EOF;
    else if (strcmp(what, "lost") == 0)
        ev.kind = SESSION_EV_LOST;
    else if (strncmp(what, "verdict ", 8) == 0) {
        ev.kind = SESSION_EV_ANSWER;
        snprintf(wire, sizeof(wire), "%s\r\n", what + 8);
        ev.reply = (struct reply){.code = (uint16_t)atoi(wire), .wire = bytes_of(wire)};
    } else if (strcmp(what, "deadline") == 0)
        ev.kind = SESSION_EV_DEADLINE;
    session_feed(&p->session, &ev);
    session_script_drain(p);
}

static void play(struct session_script *p, const char *line, size_t step)
{
    if (line[0] == 'C')
        session_script_say(p, line + 2, strlen(line + 2), step);
    else if (line[0] == 'E')
        something_happens(p, line + 2);
    else
        target_says(p, line + 2);
}

static const struct session_script_use use = {.perform = perform, .play = play};

static const struct session_conf conf = {
    .message_max_bytes = 200,
    .recipients_max = 3,
    .errors_max = 4,
    .junk_max = 5,
    .overshoot_max = 1000,
    .rejects_early_input = true,
    .announces = CAPABILITY_PIPELINING | CAPABILITY_SIZE | CAPABILITY_8BITMIME |
                 CAPABILITY_ENHANCEDSTATUSCODES,
    .bridges = CAPABILITY_PIPELINING | CAPABILITY_SIZE | CAPABILITY_ENHANCEDSTATUSCODES,
};

static void run(const char *name, const char *script, size_t step)
{
    struct session_script *p = session_script_new(&use, &conf);

    p->session.targets.bridged = UINT32_MAX;
    p->session.peer.may = CAPABILITY_ETRN | CAPABILITY_XCLIENT | CAPABILITY_XFORWARD;
    session_script_play(p, name, script, step);
    if (p->session.tx != NULL)
        something_happens(p, "lost");
    session_script_free(p);
}

#define BEGIN                                                                                      \
    "C EHLO c\nS 250-mx\nS 250-PIPELINING\nS 250-SIZE 200\nS 250-8BITMIME\n"                       \
    "S 250 ENHANCEDSTATUSCODES\nC MAIL FROM:<f@x>\nS 250 2.1.0 Ok\n"
#define RCPT_A                                                                                     \
    "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nT a rcpt 250 2.1.5 fine\nS 250 2.1.5 fine\n"
#define RCPT_S                                                                                     \
    "C RCPT TO:<u@s.test>\nA open s\nA rcpt s u\nT s rcpt 250 2.1.5 fine\nS 250 2.1.5 fine\n"
#define QUEUED "S 250 2.0.0 Ok: queued as \n" /* without a shell there are no ids */
#define DSN                                                                                        \
    "E dsn\nC EHLO c\nS 250-mx\nS 250-PIPELINING\nS 250-SIZE 200\nS 250-8BITMIME\n"                \
    "S 250-ENHANCEDSTATUSCODES\nS 250 DSN\n"
#define BAD      "S 501 5.5.4 Bad parameter\n"
#define SENDER   "C MAIL FROM:<f@x>"
#define TO       "C RCPT TO:<u@a.test>"
#define OTHER    "C RCPT TO:<u@b.test>\nS 452 4.5.3 Send this recipient in a transaction of its own\n"
#define ONE_MORE "C RCPT TO:<u@b.test>\nS 452 4.5.3 Too many recipients\n"
#define GO       "S 354 End data with <CR><LF>.<CR><LF>\n"

static const struct {
    const char *name, *script;
} cases[] = {
    {"one target", BEGIN RCPT_A "C DATA\nA go a\n" GO
                                "C hello\nC .\nA end a\nT a final 250 2.0.0 yes\nA settled\n"
                                "S 250 2.0.0 yes\nC QUIT\nA close\nS 221 2.0.0 Bye\n"},
    {"refused at the end",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C .\nA end a\nT a final 554 5.7.1 no\nA settled\n"
                  "S 554 5.7.1 no\n"},
    {"421 of a target is 451 here",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nT a rcpt 421 4.7.0 go\nS 451 4.7.0 go\n"},
    {"no recipient stands",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nT a rcpt 550 5.1.1 who\nS 550 5.1.1 who\n"
           "C DATA\nA drop a\nS 554 5.5.1 No valid recipients\n"
           "C RCPT TO:<v@b.test>\nA open b\nA rcpt b v\nT b rcpt 250 ok\nS 250 ok\n"},
    {"a refused target makes room for another",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nT a rcpt 550 5.1.1 who\nS 550 5.1.1 who\n"
           "C RCPT TO:<v@b.test>\nA drop a\nA open b\nA rcpt b v\nT b rcpt 250 ok\nS 250 ok\n"},
    {"a second target is deferred",
     BEGIN RCPT_A "C RCPT TO:<u@b.test>\n"
                  "S 452 4.5.3 Send this recipient in a transaction of its own\n"},
    {"recipients that are deferred are no errors",
     BEGIN RCPT_A OTHER OTHER ONE_MORE ONE_MORE ONE_MORE "C DATA\nA go a\n" GO},
    {"DATA waits for the recipients' replies",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nC DATA\nA go a\nT a rcpt 250 ok\n"
           "S 250 ok\n" GO},
    {"DATA, and all are refused",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nC DATA\nA go a\nT a rcpt 550 no\n"
           "A drop a\nS 550 no\nS 554 5.5.1 No valid recipients\n"},
    {"octets before the 354",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nC DATA\nA go a\nC x\n"
           "T a rcpt 250 one\nA drop a\nA settled\nA close\nS 250 one\n"
           "S 554 5.5.0 You spoke before it was your turn\n"},
    {"replies keep the order",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nC NOOP\nC RCPT TO:<v@a.test>\nA rcpt a v\n"
           "C RSET\nT a rcpt 250 one\nS 250 one\nS 250 2.0.0 Ok\nT a rcpt 250 two\nA drop a\n"
           "A settled\nS 250 two\nS 250 2.0.0 Ok\n"},
    {"a list: the relay's word counts, the maildir follows",
     BEGIN "C RCPT TO:<u@list.test>\nA open a\nA rcpt a u\nA open m\nA rcpt m u\n"
           "T m rcpt 250 here\nT a rcpt 250 there\nS 250 there\nC DATA\nA go a\nA go m\n" GO
           "C .\nA prepare m\nM m prepared 0\nA end a\nT a final 250 taken\nA commit m\n"
           "M m committed 0\nA settled\nS 250 taken\n"},
    {"a list: what the relay refuses the maildir does not keep",
     BEGIN "C RCPT TO:<u@list.test>\nA open a\nA rcpt a u\nA open m\nA rcpt m u\n"
           "T m rcpt 250 here\nT a rcpt 250 there\nS 250 there\nC DATA\nA go a\nA go m\n" GO
           "C .\nA prepare m\nM m prepared 0\nA end a\nT a final 550 no\nA drop m\nA settled\n"
           "S 550 no\n"},
    {"a list: refused at RCPT",
     BEGIN "C RCPT TO:<u@list.test>\nA open a\nA rcpt a u\nA open m\nA rcpt m u\n"
           "T m rcpt 250 here\nT a rcpt 550 no\nS 550 no\nC DATA\nA drop a\nA drop m\n"
           "S 554 5.5.1 No valid recipients\n"},
    {"a maildir that cannot prepare",
     BEGIN "C RCPT TO:<u@list.test>\nA open a\nA rcpt a u\nA open m\nA rcpt m u\n"
           "T m rcpt 250 here\nT a rcpt 250 there\nS 250 there\nC DATA\nA go a\nA go m\n" GO
           "C .\nA prepare m\nM m prepared -28\nA drop a\nA drop m\nA settled\n"
           "S 451 4.3.0 Local problem, try again later\n"},
    {"a commit that fails", BEGIN
     "C RCPT TO:<u@m.test>\nA open m\nA rcpt m u\nT m rcpt 250 ok\nS 250 ok\nC DATA\nA go m\n" GO
     "C .\nA prepare m\nM m prepared 0\nA commit m\nM m committed -5\nA settled\n"
     "S 451 4.3.0 Local problem, try again later\n"},
    {"lost during the content",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nT a broken 451 4.4.2 lost\nC y\nC .\nA settled\n"
                  "S 451 4.4.2 lost\n"},
    {"lost before DATA: no more recipients",
     BEGIN RCPT_A "T a broken 451 4.4.2 lost\nC RCPT TO:<v@a.test>\n"
                  "S 451 4.4.2 Connection to the next host lost, try again later\n"},
    {"no connection",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nT a broken 451 4.4.1 down\n"
           "S 451 4.4.1 down\n"},
    {"lost after the end",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C .\nA end a\nT a unknown 451 4.4.2 lost\nA settled\n"
                  "S 451 4.4.2 lost\n"},
    {"refused when asked anew, the end being released",
     BEGIN RCPT_A "C RCPT TO:<v@a.test>\nA rcpt a v\nT a rcpt 250 ok\nS 250 ok\n"
                  "C DATA\nA go a\n" GO "C .\nA end a\nT a fallen 450 4.2.0 no more\nA drop a\n"
                  "A settled\nS 450 4.2.0 no more\n"},
    {"eight minutes",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C .\nA end a\nE deadline\nA drop a\nA settled\n"
                  "S 451 4.4.2 The next host did not answer in time, try again later\n"},
    {"eight minutes, and nobody is there", BEGIN RCPT_A
     "C DATA\nA go a\n" GO "C .\nA end a\nE lost\nE deadline\nA drop a\nA settled\nA close\n"},
    {"the copy is lost in the content",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nE copy\nA drop a\nC .\nA settled\n"
                  "S 451 4.3.0 Local problem, try again later\n"},
    {"the copy is lost while a maildir reads it",
     BEGIN "C RCPT TO:<u@m.test>\nA open m\nA rcpt m u\nT m rcpt 250 ok\nS 250 ok\n"
           "C DATA\nA go m\n" GO "C .\nA prepare m\nE copy\nA drop m\nA settled\n"
           "S 451 4.3.0 Local problem, try again later\n"},
    {"an early refusal",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nT a final 552 5.3.4 big\nC .\nA settled\n"
                  "S 552 5.3.4 big\n"},
    {"the client vanishes in the content",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nE lost\nA drop a\nA settled\nA close\n"},
    {"the client vanishes after its end", BEGIN RCPT_A
     "C DATA\nA go a\n" GO "C .\nA end a\nE lost\nT a final 250 ok\nA settled\nA close\n"},
    {"EOF in the content",
     BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nE eof\nA drop a\nA settled\nA close\n"},
    {"EOF behind the end", BEGIN RCPT_A
     "C DATA\nA go a\n" GO "C .\nA end a\nE eof\nT a final 250 ok\nA settled\nA close\n"
     "S 250 ok\n"},
    {"too big", BEGIN RCPT_A
     "C DATA\nA go a\n" GO
     "C 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
     "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
     "4"
     "567890123456789\nA drop a\nC .\nA settled\nS 552 5.3.4 Message size exceeds the limit\n"},
    {"too big by its own word",
     "C EHLO c\nS 250-mx\nS 250-PIPELINING\nS 250-SIZE 200\nS 250-8BITMIME\n"
     "S 250 ENHANCEDSTATUSCODES\nC MAIL FROM:<f@x> SIZE=201\n"
     "S 552 5.3.4 Message size exceeds the limit\n"
     "C MAIL FROM:<f@x> SIZE=99999999999999999999\nS 552 5.3.4 Message size exceeds the limit\n"
     "C MAIL FROM:<f@x> BODY=8BITMIME SIZE=200\nS 250 2.1.0 Ok\n"},
    {"parameters", "C EHLO c\nS 250-mx\nS 250-PIPELINING\nS 250-SIZE 200\nS 250-8BITMIME\n"
                   "S 250 ENHANCEDSTATUSCODES\nC MAIL FROM:<f@x> RET=FULL\n"
                   "S 555 5.5.4 Parameter not offered\nC MAIL FROM:<f@x> SIZE=1 SIZE=2\n"
                   "S 501 5.5.4 Bad parameter\nC MAIL FROM:<f@x>\nS 250 2.1.0 Ok\n"
                   "C RCPT TO:<u@a.test> NOTIFY=NEVER\nS 555 5.5.4 Parameter not offered\n"},
    {"HELO offers nothing", "C HELO c\nS 250 mx\nC MAIL FROM:<f@x> SIZE=1\n"
                            "S 555 5.5.4 Parameter not offered\n"},
    {"ETRN", "C ETRN a.test\nS 503 5.5.1 Say HELO or EHLO first\nC HELO c\nS 250 mx\n"
             "C ETRN -\nS 501 5.5.4 Syntax error in argument\nC ETRN @a.test\n"
             "S 251 nothing for @a.test\nC ETRN\nS 500 5.5.4 ETRN takes one argument\n"},
    {"ETRN waits for the replies before it",
     BEGIN "C RCPT TO:<u@a.test>\nA open a\nA rcpt a u\nC ETRN a.test\nT a rcpt 250 fine\n"
           "S 250 fine\nS 503 5.5.1 MAIL transaction in progress\n"},
    {"XCLIENT begins anew",
     BEGIN RCPT_A "C XCLIENT ADDR=192.0.2.1\nS 503 5.5.1 MAIL transaction in progress\n"
                  "C RSET\nA drop a\nA settled\nS 250 2.0.0 Ok\n"
                  "C XCLIENT\nS 501 5.5.4 Bad attribute or value\n"
                  "C XCLIENT TTL=0\nS 554 5.4.6 Too many proxies, this connection is looping\n"
                  "C xclient ADDR=192.0.2.1 NAME=a.test\nA asserted\nS 220 mx ESMTP postern\n"
                  "C MAIL FROM:<f@x>\nS 503 5.5.1 Say HELO or EHLO first\n" BEGIN},
    {"XFORWARD, pipelined with MAIL",
     "C XFORWARD ADDR=192.0.2.1\nS 250 2.0.0 Ok\n" BEGIN
     "C XFORWARD ADDR=192.0.2.1\nS 503 5.5.1 MAIL transaction in progress\n"
     "C RSET\nA settled\nS 250 2.0.0 Ok\n"
     "C XFORWARD\nS 501 5.5.4 Bad attribute or value\n"
     "C XFORWARD LOGIN=joe\nS 501 5.5.4 Bad attribute or value\n"
     "C XFORWARD NAME=a.test\nS 250 2.0.0 Ok\nC XFORWARD PORT=7\nS 250 2.0.0 Ok\n"
     "C MAIL FROM:<f@x>\nS 250 2.1.0 Ok\n"},
    {"XCLIENT says what EHLO would", "C XCLIENT HELO=a.test\nA asserted\nS 220 mx ESMTP postern\n"
                                     "C MAIL FROM:<f@x>\nS 250 2.1.0 Ok\n"},
    {"the order of commands",
     "C MAIL FROM:<f@x>\nS 503 5.5.1 Say HELO or EHLO first\nC HELO c\nS 250 mx\n"
     "C RCPT TO:<u@a.test>\nS 503 5.5.1 Need MAIL command\nC DATA\nS 503 5.5.1 Need MAIL command\n"
     "C MAIL FROM:<>\nS 250 2.1.0 Ok\nC MAIL FROM:<>\nA settled\nA close\n"
     "S 503 5.5.1 Nested MAIL command\nS 421 4.7.0 Too many errors\n"},
    {"too many recipients",
     BEGIN "C RCPT TO:<u@no.test>\nS 550 5.7.1 relaying denied\nC RCPT TO:<u@gone.test>\n"
           "S 250 2.1.5 Ok\nC RCPT TO:<u@gone.test>\nS 250 2.1.5 Ok\nC RCPT TO:<u@gone.test>\n"
           "S 452 4.5.3 Too many recipients\nC DATA\n" GO "C .\nA settled\n"
           "S 250 2.0.0 Ok: queued as \n"},
    {"unqualified", BEGIN "C RCPT TO:<joe>\nS 553 5.1.3 Fully qualified address wanted\n"
                          "C RCPT TO:<PostMaster>\nA open a\nA rcpt a PostMaster\n"},
    {"junk", "C NOOP\nS 250 2.0.0 Ok\nC VRFY x\nS 252 2.0.0 Cannot verify, send some mail and see\n"
             "C HELP\nS 502 5.5.1 Command not implemented\nC NOOP\nS 250 2.0.0 Ok\nC RSET\n"
             "S 250 2.0.0 Ok\nC NOOP\nA close\nS 421 4.7.0 Too many commands without mail\n"},
    {"EHLO begins anew",
     BEGIN RCPT_A "C EHLO d\nA drop a\nA settled\nS 250-mx\nS 250-PIPELINING\n"
                  "S 250-SIZE 200\nS 250-8BITMIME\nS 250 ENHANCEDSTATUSCODES\n"},
    {"time is over", "C EHLO c\nS 250-mx\nS 250-PIPELINING\nS 250-SIZE 200\nS 250-8BITMIME\n"
                     "S 250 ENHANCEDSTATUSCODES\nE deadline\nA close\n"
                     "S 421 4.4.2 Timeout exceeded\n"},
    {"stopping when idle", "E stop\nA close\nS 421 4.3.2 Service shutting down, try again later\n"},
    {"stopping after the transaction", BEGIN RCPT_A
     "E stop\nC DATA\nA go a\n" GO "C .\nA end a\nT a final 250 ok\nA settled\nA close\n"
     "S 250 ok\nS 421 4.3.2 Service shutting down, try again later\n"},
    {"stopping now", BEGIN RCPT_A "E stop-now\nA drop a\nA settled\nA close\n"
                                  "S 421 4.3.2 Service shutting down, try again later\n"},
    {"taken over in the content",
     BEGIN RCPT_S "C DATA\nA go s\n" GO "C x\nT s broken 451 4.4.2 lost\nC y\nC .\nA commit\n"
                  "M - committed 0\nA settled\n" QUEUED},
    {"taken over before DATA, and asked again",
     BEGIN RCPT_S "T s broken 451 4.4.2 lost\nC RCPT TO:<v@s.test>\nA open s\nA rcpt s v\n"
                  "T s rcpt 550 no\nS 550 no\nC DATA\nA drop s\n" GO "C .\nA commit\n"
                  "M - committed 0\nA settled\n" QUEUED},
    {"a spool that is full",
     BEGIN RCPT_S "C DATA\nA go s\n" GO "C .\nA end s\nT s unknown 451 4.4.2 lost\nA commit\n"
                  "M - committed -10002\nA settled\nS 452 4.3.1 Insufficient system storage\n"},
    {"eight minutes, and the spool has it",
     BEGIN RCPT_S "C DATA\nA go s\n" GO "C .\nA end s\nE deadline\nA drop s\nA commit\n"
                  "M - committed 0\nA settled\n" QUEUED},
    {"eight minutes and more: the disk hangs",
     BEGIN RCPT_S "C DATA\nA go s\n" GO "C .\nA end s\nE deadline\nA drop s\nA commit\n"
                  "E deadline\nA settled\nS 451 4.3.0 Local problem, try again later\n"},
    {"stopping now: the spool has it", BEGIN RCPT_S
     "C DATA\nA go s\n" GO "C .\nA end s\nE stop-now\nA drop s\nA commit\nM - committed 0\n"
     "A settled\nA close\n" QUEUED "S 421 4.3.2 Service shutting down, try again later\n"},
    {"stopping now in the content",
     BEGIN RCPT_S "C DATA\nA go s\n" GO "C x\nE stop-now\nA drop s\nA settled\nA close\n"
                  "S 421 4.3.2 Service shutting down, try again later\n"},
    {"the client is gone behind the release: nothing is spooled",
     BEGIN RCPT_S "C DATA\nA go s\n" GO
                  "C .\nA end s\nE lost\nT s unknown 451 4.4.2 lost\nA settled\nA close\n"},
    {"the client is gone while it is spooled", BEGIN RCPT_S
     "C DATA\nA go s\n" GO "C .\nA end s\nT s unknown 451 4.4.2 lost\nA commit\nE lost\n"
     "M - committed 0\nA settled\nA close\n"},
    {"filters agree",
     "E filters\n" BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nC .\nA filter\nE verdict 0\nA end a\n"
     "T a final 250 yes\nA settled\nS 250 yes\n"},
    {"a filter refuses", "E filters\n" BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nC .\nA filter\n"
                         "E verdict 550 5.7.1 spam\nA drop a\nA settled\nS 550 5.7.1 spam\n"},
    {"filters are too slow",
     "E filters\n" BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nC .\nA filter\nE deadline\nA drop a\n"
     "A settled\nS 451 4.3.0 Local problem, try again later\nE verdict 0\n"},
    {"the client is gone before the filters agree",
     "E filters\n" BEGIN RCPT_A "C DATA\nA go a\n" GO "C x\nC .\nA filter\nE lost\nA drop a\n"
     "A settled\nA close\nE verdict 0\n"},
    {"filters are not asked about what is refused anyway",
     "E filters\n" BEGIN RCPT_A "C DATA\nA go a\n" GO "E copy\nA drop a\nC .\nA settled\n"
     "S 451 4.3.0 Local problem, try again later\n"},
    {"DSN parameters",
     DSN SENDER " RET=FULL ENVID=QQ314159\nS 250 2.1.0 Ok\n" TO
                " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;u+2Bx@a.test\nA open a\nA rcpt a u\n"
                "T a rcpt 250 ok\nS 250 ok\n"},
    {"bad DSN parameters of MAIL",
     DSN SENDER " RET=ALL\n" BAD SENDER " RET\n" BAD SENDER " ENVID=a+0Ab\n" BAD
                "C RSET\nS 250 2.0.0 Ok\n" SENDER " NOTIFY=NEVER\n"
                "A close\nS 555 5.5.4 Parameter not offered\nS 421 4.7.0 Too many errors\n"},
    {"bad DSN parameters of RCPT",
     DSN SENDER "\nS 250 2.1.0 Ok\n" TO " NOTIFY=NEVER,DELAY\n" BAD TO " ORCPT=joe\n" BAD TO
                " NOTIFY=DELAY NOTIFY=DELAY\n" BAD TO " NOTIFY=never\nA open a\nA rcpt a u\n"},
    {"stopping now, and nobody is there", BEGIN RCPT_A
     "C DATA\nA go a\n" GO "C .\nA end a\nE lost\nE stop-now\nA drop a\nA settled\nA close\n"},
};

static void each_case(size_t step)
{
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        run(cases[i].name, cases[i].script, step);
}

static void whole_lines(void **state)
{
    (void)state;
    each_case(2048);
}

static void octet_by_octet(void **state)
{
    (void)state;
    each_case(1);
}

static void other_steps(void **state)
{
    (void)state;
    for (size_t step = 2; step < 24; step++)
        each_case(step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_lines),
                                       cmocka_unit_test(octet_by_octet),
                                       cmocka_unit_test(other_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
