/* SPDX-License-Identifier: BSD-2-Clause */
/* Branches on pooled connections: scenarios between scripted clients and scripted targets. */
/* needs: sim tests/unit/relay_world.c proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c route/carrier.c route/outgoing.c route/relay/ */
#include "tests/unit/relay_world.h"

#include <stdio.h>

#include "tests/unit/lib.h"
#include "tests/unit/relay_words.h"

/* A step a line would hide the conversations. */
/* clang-format off */

static void one_connection(struct relay_conf *conf)
{
    conf->limits.max_connections = 1;
}

static void eight_connections(struct relay_conf *conf)
{
    conf->limits.max_connections = 8; /* the last one is for a net that has none */
}

static void two_transactions(struct relay_conf *conf)
{
    conf->limits.max_transactions = 2;
}

static void passing(struct relay_conf *conf)
{
    conf->identity_failure = RELAY_IDENTITY_FAILURE_PASS;
}

static void in_turn(struct relay_conf *conf)
{
    conf->balance = RELAY_BALANCE_ROUND_ROBIN;
    conf->limits.max_transactions = 1;
}

static const struct relay_scenario reuse_rows[] = {
    {"one message, then another on the same connection", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), SEND(0), {HEAR, 0, "DATA\r\n"},
      {SAY, 0, "354 go\r\n"}, {HEAR, 0, "x\r\n.\r\n"}, {SAY, 0, "250 2.0.0 queued\r\n"},
      {SEES, 0, "a=250 go end=250 "}, {WORDS, 0, "250 2.0.0 queued\r\n"}, {FACTS, 0, A " none"},
      MESSAGE(1, 0), {FACTS, 1, A " none reused"}, {NOBODY, 1, NULL}}},
    {"the envelope leaves in one write where the client has pipelined it", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), {MAIL, 0, NULL}, {RCPT, 0, "a"},
      {HEAR, 0, MAIL_RCPT}, {RCPT, 0, "b"}, {DATA, 0, NULL},
      {HEAR, 0, "RCPT TO:<b@to.test>\r\nDATA\r\n"}}},
    {"content by BDAT; an aborted message leaves the connection alive", A, NONE, NULL,
     {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, {CONTENT, 0, ".x\r\n"},
      {HEAR, 0, "BDAT 4\r\n.x\r\n"}, {GIVE_UP, 0, NULL}, {HEAR, 0, "RSET\r\n"},
      {SAY, 0, "250 chunk\r\n250 rset\r\n"}, {SEES, 0, "a=250 go "}, ASK(1),
      {HEAR, 0, MAIL_RCPT}, {SAY, 0, "250 m\r\n250 r\r\n"}, SEND(1),
      {HEAR, 0, "BDAT 3 LAST\r\nx\r\n"},
      {SAY, 0, "250 ok\r\n"}, {SEES, 1, "a=250 go end=250 "}, {NOBODY, 1, NULL}}},
    {"dots are stuffed, and DATA that is aborted ends the connection", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {DATA, 0, NULL}, {HEAR, 0, "DATA\r\n"},
      {SAY, 0, "354 go\r\n"}, {CONTENT, 0, ".x\r\n..\r\ny"}, {HEAR, 0, "..x\r\n...\r\ny"},
      {CONTENT, 0, ".\r\n.\r\n"}, {HEAR, 0, ".\r\n..\r\n"}, {GIVE_UP, 0, NULL}, {LEFT, 0, NULL},
      {HEAR, 0, ""}}},
    {"idle connections say QUIT after the idle-timeout", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), {PASS, 29000, NULL}, {HEAR, 0, ""},
      {PASS, 2000, NULL}, {HEAR, 0, "QUIT\r\n"}, {SAY, 0, "221 bye\r\n"}, {LEFT, 0, NULL}}},
    {"one connection is kept warm, not two", A, NONE, NULL,
     {{WARM, 0, NULL}, {WARM, 0, NULL}, {NOBODY, 1, NULL}, GREET(0, PIPELINING), {WARM, 0, NULL},
      {NOBODY, 1, NULL}, MESSAGE(0, 0)}},
    {"a 421 or an end in an idle connection closes it at once", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), {SAY, 0, "421 bye\r\n"}, {LEFT, 0, NULL},
      {WARM, 0, NULL}, GREET(1, PIPELINING), {CLOSE, 1, NULL}, {SILENT, 0, NULL},
      {WARM, 0, NULL}, GREET(2, PIPELINING)}},
    {"max-transactions", A, NONE, two_transactions,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), MESSAGE(0, 0), MESSAGE(0, 0), {HEAR, 0, "QUIT\r\n"},
      ASK(0), GREET(1, PIPELINING), TAKE(1), {SEES, 0, "a=250 "}}},
    {"five refusals since the last message: the next client gets another", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), {MAIL, 0, NULL}, {RCPT, 0, "a"}, {RCPT, 0, "b"},
      {RCPT, 0, "c"}, {RCPT, 0, "d"}, {RCPT, 0, "e"},
      {SAY, 0, "250 m\r\n550 a\r\n550 b\r\n550 c\r\n550 d\r\n550 e\r\n"}, {GIVE_UP, 0, NULL},
      {HEAR_END, 0, "QUIT\r\n"}, {SEES, 0, "a=550 b=550 c=550 d=550 e=550 "}}},
    {"nothing is said behind a target that talks out of turn", A, NONE, NULL,
     {ASK(0), {ACCEPT, 0, NULL}, {SAY, 0, "220 t\r\n250 t\r\n250 huh\r\n"}, {LEFT, 0, NULL},
      {SEES, 0, "a=451 "}, {LOGGED, 0, "target-down"}}},
    {"... or that greets with no reply at all, whose words are logged", A, NONE, NULL,
     {ASK(0), {ACCEPT, 0, NULL}, {SAY, 0, "hello there\r\n"}, {LEFT, 0, NULL},
      {SEES, 0, "a=451 "},
      {LOGGED, 0, "target-down target=relay address=" A
                  " error=\"a reply that no SMTP server may give here\" reply=\"hello there\""}}},
    {"stopping says QUIT, and lets a transaction end", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), TAKE(0), {STOP, 0, NULL}, SEND(0),
      {HEAR, 0, "DATA\r\n"}, {SAY, 0, "354 go\r\n"}, {HEAR, 0, "x\r\n.\r\n"},
      {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}, {HEAR, 0, "QUIT\r\n"}}},
};

/* for as long as the scenario lasts: what the spool delivers is not taken back */
#define HOLD(c, t) {SPOOLED, c, ""}, ASK(c), GREET(t, PIPELINING), TAKE(t)

static const struct relay_scenario wait_rows[] = {
    {"max-connections: who waits gets the connection in its turn", A, NONE, one_connection,
     {ASK(0), ASK(1), ASK(2), {NOBODY, 1, NULL}, GREET(0, PIPELINING), TAKE(0), SEND(0),
      {HEAR, 0, "DATA\r\n"}, {SAY, 0, "354 go\r\n"}, {HEAR, 0, "x\r\n.\r\n"},
      {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}, TAKE(0), {SEES, 1, "a=250 "},
      {GIVE_UP, 1, NULL}, {HEAR, 0, "RSET\r\n" MAIL_RCPT},
      {SAY, 0, "250 rset\r\n250 m\r\n550 r\r\n"}, {SEES, 2, "a=550 "}}},
    {"... within envelope-timeout, then 451 4.3.2", A, NONE, one_connection,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), ASK(1), SEND(0), {HEAR, 0, "DATA\r\n"},
      {SAY, 0, "354 go\r\n"}, {HEAR, 0, "x\r\n.\r\n"}, {PASS, 121000, NULL}, {SEES, 1, "a=451 "},
      {WORDS, 1, "451 4.3.2 All connections to the next host are busy, try again later\r\n"}}},
    {"... and so for who may not have the last one", A, NONE, eight_connections,
     {HOLD(0, 0), HOLD(1, 1), HOLD(2, 2), HOLD(4, 3), HOLD(5, 4), HOLD(6, 5), HOLD(7, 6),
      {SPOOLED, 8, ""}, ASK(8), {PASS, 121000, NULL}, {SEES, 8, "a=451 "},
      {WORDS, 8, "451 4.3.2 All connections to the next host are busy, try again later\r\n"},
      {NOBODY, 7, NULL}, ASK(3), GREET(7, PIPELINING), TAKE(7), {SEES, 3, "a=250 "}}},
    {"... though it lies idle", A, NONE, eight_connections,
     {HOLD(0, 0), HOLD(1, 1), HOLD(2, 2), HOLD(4, 3), HOLD(5, 4), HOLD(6, 5), HOLD(7, 6),
      {WARM, 0, NULL}, GREET(7, PIPELINING), {SPOOLED, 8, ""}, ASK(8), {HEAR, 7, ""}, ASK(3),
      TAKE(7), {SEES, 3, "a=250 "}, {SEES, 8, ""}, {NOBODY, 8, NULL}}},
    {"a silent client gives its connection up, and gets one when its message is whole", A, NONE,
     one_connection,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {DATA, 0, NULL}, {HEAR, 0, "DATA\r\n"},
      {SAY, 0, "354 go\r\n"}, {CONTENT, 0, "one\r\n"}, {HEAR, 0, "one\r\n"}, ASK(1),
      {PASS, 12000, NULL}, {LEFT, 0, NULL}, GREET(1, PIPELINING), TAKE(1), SEND(1),
      {HEAR, 1, "DATA\r\n"}, {SAY, 1, "354 go\r\n"}, {HEAR, 1, "x\r\n.\r\n"},
      {SAY, 1, "250 ok\r\n"}, {SEES, 1, "a=250 go end=250 "}, {CONTENT, 0, "two\r\n"},
      {HEAR, 1, ""}, {END, 0, NULL}, {HEAR, 1, MAIL_RCPT "DATA\r\n"},
      {SAY, 1, "250 m\r\n250 r\r\n354 go\r\n"}, {HEAR, 1, "one\r\ntwo\r\n.\r\n"},
      {SAY, 1, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
    {"a connect that never ends: the next address, or none", A " " B, NONE, NULL,
     {ASK(0), {PASS, 10100, NULL}, {LOGGED, 0, "target-down target=relay address=" A},
      GREET(1, PIPELINING), TAKE(1), {SEES, 0, "a=250 "}}},
    {"a target that says nothing at all: 451 4.4.2 after command-timeout", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), {HEAR, 0, MAIL_RCPT}, {PASS, 61000, NULL}, {LEFT, 0, NULL},
      {SEES, 0, "a=451 "},
      {WORDS, 0, "451 4.4.2 The next host did not answer in time, try again later\r\n"},
      {LOGGED, 0, "target-lost target=relay address=" A " error=\"timed out\""}}},
    {"... or to the end of data: it may have the message", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), SEND(0), {HEAR, 0, "DATA\r\n"},
      {SAY, 0, "354 go\r\n"}, {HEAR, 0, "x\r\n.\r\n"}, {PASS, 290000, NULL},
      {SEES, 0, "a=250 go "}, {PASS, 11000, NULL}, {SEES, 0, "end=451 "},
      {FACTS, 0, A " none duplicate"}}},
    {"each reply in time, and yet the envelope takes too long", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, "250 t\r\n"), ASK(0), {RCPT, 0, "b"}, {PASS, 50000, NULL},
      {SAY, 0, "250 m\r\n"}, {PASS, 50000, NULL}, {HEAR_END, 0, "RCPT TO:<a@to.test>\r\n"},
      {PASS, 21000, NULL}, {SEES, 0, "a=451 b=451 "},
      {WORDS, 0, "451 4.4.1 No connection to the next host, try again later\r\n"}}},
};

#define DOWN "451 4.4.1 No connection to the next host, try again later\r\n"

static const struct relay_scenario down_rows[] = {
    {"nobody there: 451 4.4.1, at once while down, until a probe succeeds", A, NONE, NULL,
     {ASK(0), {REFUSE, 0, NULL}, {SEES, 0, "a=451 "}, {WORDS, 0, DOWN},
      {LOGGED, 0, "target-down target=relay address=" A}, ASK(1), {SEES, 1, "a=451 "},
      {NOBODY, 1, NULL}, {SILENT, 0, NULL}, {PASS, 10100, NULL}, {REFUSE, 1, NULL},
      {SILENT, 0, NULL}, {PASS, 10100, NULL}, GREET(2, PIPELINING),
      {LOGGED, 0, "target-up target=relay address=" A}, MESSAGE(1, 2)}},
    {"fail-over to the next address, and back to the first by a probe", A " " B, NONE,
     two_transactions,
     {ASK(0), {REFUSE, 0, NULL}, GREET(1, PIPELINING), TAKE(1), {FACTS, 0, ""},
      {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL}, {FACTS, 0, B " none"}, {PASS, 10100, NULL},
      {LOGGED, 0, "addresses_left=1"}, GREET(2, PIPELINING), {LOGGED, 0, "target-up"}}},
    {"greeted with 4xx or 5xx: the next address", A " " B, NONE, NULL,
     {ASK(0), {ACCEPT, 0, NULL}, {SAY, 0, "554 go away\r\n"},
      {HEAR, 0, "QUIT\r\n"}, {SAY, 0, "221 bye\r\n"}, {LEFT, 0, NULL},
      GREET(1, PIPELINING), TAKE(1), {SEES, 0, "a=250 "}, {LOGGED, 0, "reply=\"554 go away\""}}},
    {"521 is the target's verdict, and no fail-over", A " " B, NONE, NULL,
     {ASK(0), {ACCEPT, 0, NULL}, {SAY, 0, "521 5.3.2 no mail here\r\n"},
      {HEAR, 0, "QUIT\r\n"}, {SAY, 0, "221 bye\r\n"}, {LEFT, 0, NULL},
      {SEES, 0, "a=521 "}, {WORDS, 0, "521 5.3.2 no mail here\r\n"}, {NOBODY, 1, NULL},
      {SILENT, 0, NULL}}},
    {"round-robin", A " " B, NONE, in_turn,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {GIVE_UP, 0, NULL}, {FACTS, 0, A " none"}, ASK(0),
      GREET(1, PIPELINING), TAKE(1), {GIVE_UP, 0, NULL}, {FACTS, 0, B " none"}}},
    {"a busy target that greets no more with 421 is not down", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {SEES, 0, "a=250 "}, ASK(1), {ACCEPT, 1, NULL},
      {SAY, 1, "421 too many\r\n"}, {SEES, 1, "a=451 "}, {SILENT, 0, NULL}, {GIVE_UP, 0, NULL},
      {SAY, 0, "250 rset\r\n"}, ASK(1), {HEAR_END, 0, MAIL_RCPT}}},
    {"own listeners are struck out: 554 5.4.6", "10.0.0.1:25 127.0.0.1:2525", NONE, NULL,
     {ASK(0), {NOBODY, 0, NULL}, {SEES, 0, "a=554 "},
      {WORDS, 0, "554 5.4.6 Mail for this recipient loops back to this host\r\n"}}},
    {"... and the others are used", "10.0.0.1:25 " A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {SEES, 0, "a=250 "}}},
    {"a unix socket", "unix:/run/mail", NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL},
      {FACTS, 0, "unix:/run/mail none"}}},
    {"a name that is not known", "nowhere.test", NONE, NULL,
     {ASK(0), {SEES, 0, "a=451 "}, {WORDS, 0, DOWN}, {LOGGED, 0, "target-down target=relay"},
      ASK(1), {SEES, 1, "a=451 "}, {SILENT, 0, NULL}}},
};

static const struct relay_scenario replay_rows[] = {
    {"a reused connection breaks: once more on a fresh one", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), MESSAGE(0, 0), {MAIL, 0, NULL}, {RCPT, 0, "a"},
      {RCPT, 0, "b"}, {RCPT, 0, "c"}, {SAY, 0, "250 m\r\n250 a\r\n550 b\r\n"},
      {SEES, 0, "a=250 b=550 "}, {CLOSE, 0, NULL}, GREET(1, PIPELINING),
      {HEAR, 1, MAIL_RCPT "RCPT TO:<c@to.test>\r\n"}, {SAY, 1, "250 m\r\n250 a\r\n250 c\r\n"},
      {SEES, 0, "c=250 "}, SEND(0), {HEAR, 1, "DATA\r\n"}, {SAY, 1, "354 go\r\n"},
      {HEAR, 1, "x\r\n.\r\n"}, {SAY, 1, "250 ok\r\n"}, {SEES, 0, "go end=250 "},
      {FACTS, 0, A " none replayed"}}},
    {"... in mid content, from its first octet", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), TAKE(0), {DATA, 0, NULL},
      {HEAR, 0, "DATA\r\n"}, {SAY, 0, "354 go\r\n"}, {CONTENT, 0, "one\r\n"},
      {HEAR, 0, "one\r\n"}, {CLOSE, 0, NULL}, {CONTENT, 0, ".two\r\n"}, GREET(1, PIPELINING),
      {HEAR, 1, MAIL_RCPT "DATA\r\n"}, {SAY, 1, "250 m\r\n250 r\r\n354 go\r\n"},
      {HEAR, 1, "one\r\n..two\r\n"}, {END, 0, NULL}, {HEAR, 1, ".\r\n"}, {SAY, 1, "250 ok\r\n"},
      {SEES, 0, "a=250 go end=250 "}}},
    {"... but once", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), {HEAR, 0, MAIL_RCPT}, {CLOSE, 0, NULL},
      GREET(1, PIPELINING), {HEAR, 1, MAIL_RCPT}, {CLOSE, 1, NULL}, {SEES, 0, "a=451 "},
      {WORDS, 0, "451 4.4.2 Connection to the next host lost, try again later\r\n"},
      {NOBODY, 2, NULL}}},
    {"a fresh one that breaks is not replayed", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), {HEAR, 0, MAIL_RCPT}, {CLOSE, 0, NULL}, {SEES, 0, "a=451 "},
      {NOBODY, 1, NULL}, 
      {LOGGED, 0, "target-lost target=relay address=" A " error=\"connection closed by the other"}}},
    {"what it said before stands in the log", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), {HEAR, 0, MAIL_RCPT}, {SAY, 0, "421 4.3.2 later\r\n"},
      {SEES, 0, "a=451 "}, {LOGGED, 0, "reply=\"421 4.3.2 later\""}}},
    {"... though it is no reply", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), {HEAR, 0, MAIL_RCPT}, {SAY, 0, "oops, no memory\r\n"},
      {SEES, 0, "a=451 "}, {LOGGED, 0, "reply=\"oops, no memory\""}}},
    {"nor is what broke behind the end of data", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), TAKE(0), SEND(0), {HEAR, 0, "DATA\r\n"},
      {SAY, 0, "354 go\r\n"}, {HEAR, 0, "x\r\n.\r\n"}, {CLOSE, 0, NULL},
      {SEES, 0, "a=250 go end=451 "}, {FACTS, 0, A " none duplicate"}, {NOBODY, 1, NULL}}},
    {"accepted once, refused on replay: refused at the end of data", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), TAKE(0), {DATA, 0, NULL}, {CLOSE, 0, NULL},
      GREET(1, PIPELINING), {SAY, 1, "250 m\r\n550 5.1.1 gone\r\n554 none\r\n"},
      {CONTENT, 0, "x\r\n"}, {END, 0, NULL}, {SEES, 0, "a=250 go end=550 "},
      {WORDS, 0, "550 5.1.1 gone\r\n"}}},
    {"a target that went down meanwhile", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), TAKE(0), {CLOSE, 0, NULL}, {REFUSE, 1, NULL},
      SEND(0), {SEES, 0, "a=250 go end=451 "}}},
};

#define XCLIENT_OF(digit, name) "XCLIENT NAME=" name " ADDR=192.0.2." digit " PORT=4000\r\n"
/* XCLIENT is taken, and the target starts anew as client `digit` - 1 knows it */
#define BECOME(t, digit, name, helo)                                                               \
    {HEAR, t, XCLIENT_OF(digit, name)}, {SAY, t, "220 t\r\n"}, {HEAR, t, "EHLO " helo "\r\n"},     \
        {SAY, t, PIPELINING}
#define FAILED "451 4.3.5 Client identity could not be handed on, try again later\r\n"

static const struct relay_scenario identity_rows[] = {
    {"XCLIENT waits for the name; the connection stays this client's", A, AUTO, NULL,
     {ASK(0), GREET(0, CAN_XCLIENT), {HEAR, 0, ""}, {NAMED, 0, "c.test"},
      BECOME(0, "1", "c.test", "c0.test"), TAKE(0), {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL},
      {FACTS, 0, A " xclient"}, {HEAR, 0, "RSET\r\n"}, {SAY, 0, "250 rset\r\n"}, ASK(0),
      {HEAR, 0, MAIL_RCPT}, {SAY, 0, "250 m\r\n250 r\r\n"}, {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL},
      {NAMED, 1, ""}, ASK(1), GREET(1, CAN_XCLIENT),
      BECOME(1, "2", "[UNAVAILABLE]", "c1.test"), TAKE(1), {SEES, 1, "a=250 "}}},
    {"the name comes too late: [TEMPUNAVAIL]", A, XCLIENT, NULL,
     {ASK(0), GREET(0, CAN_XCLIENT), {HEAR, 0, ""}, {PASS, 5100, NULL},
      BECOME(0, "1", "[TEMPUNAVAIL]", "c0.test"), TAKE(0), {SEES, 0, "a=250 "}}},
    {"who leaves takes its connection along; another EHLO too", A, XCLIENT, NULL,
     {{NAMED, 0, ""}, ASK(0), GREET(0, CAN_XCLIENT), BECOME(0, "1", "[UNAVAILABLE]", "c0.test"),
      TAKE(0), {GIVE_UP, 0, NULL}, {HEAR, 0, "RSET\r\n"}, {SAY, 0, "250 rset\r\n"},
      {LEAVE, 0, NULL}, {HEAR, 0, "QUIT\r\n"}, ASK(0),
      GREET(1, CAN_XCLIENT), BECOME(1, "1", "[UNAVAILABLE]", "c0.test"), {LEAVE, 0, NULL},
      TAKE(1), {SEES, 0, "a=250 a=250 "}, {GIVE_UP, 0, NULL}, {HEAR, 1, "QUIT\r\n"}}},
    {"a virgin connection is opened again when one was taken", A, XCLIENT, NULL,
     {{NAMED, 0, ""}, {WARM, 0, NULL}, GREET(0, CAN_XCLIENT), ASK(0), GREET(1, CAN_XCLIENT),
      {NOBODY, 2, NULL}, {HEAR, 1, ""}, BECOME(0, "1", "[UNAVAILABLE]", "c0.test")}},
    {"the target's verdict on this client", A, XCLIENT, NULL,
     {{NAMED, 0, ""}, ASK(0), GREET(0, CAN_XCLIENT), {SAY, 0, "550 5.7.1 not you\r\n"},
      {HEAR_END, 0, "QUIT\r\n"}, {SAY, 0, "221 bye\r\n"}, {LEFT, 0, NULL},
      {SEES, 0, "a=550 "}, {WORDS, 0, "550 5.7.1 not you\r\n"}, {SILENT, 0, NULL},
      ASK(0), GREET(1, CAN_XCLIENT), {SAY, 1, "421 4.7.0 later\r\n"},
      {WORDS, 0, "451 4.7.0 later\r\n"}, {NOBODY, 2, NULL}}},
    {"a failure to hand on identity", A, XCLIENT, NULL,
     {{NAMED, 0, ""}, ASK(0), GREET(0, CAN_XCLIENT), {SAY, 0, "550 5.7.0 not allowed\r\n"},
      {HEAR_END, 0, "QUIT\r\n"}, {SAY, 0, "221 bye\r\n"}, {LEFT, 0, NULL},
      {SEES, 0, "a=451 "}, {WORDS, 0, FAILED},
      {LOGGED, 0,
       "identity-failure target=relay identity=xclient reply=\"550 5.7.0 not allowed\""}}},
    {"... and identity-failure = pass: another connection, without it", A, XCLIENT, passing,
     {{NAMED, 0, ""}, ASK(0), {RCPT, 0, "!g"}, GREET(0, CAN_XCLIENT), {SAY, 0, "501 huh\r\n"},
      {HEAR_END, 0, "QUIT\r\n"}, {SAY, 0, "221 bye\r\n"}, {LEFT, 0, NULL},
      GREET(1, CAN_XCLIENT), TAKE(1), {SEES, 0, "a=250 g=550 "},
      {GIVE_UP, 0, NULL}, {FACTS, 0, A " none"}}},
    {"configured, and not on offer", A, XFORWARD, NULL,
     {ASK(0), GREET(0, CAN_XCLIENT), {HEAR, 0, ""}, {SEES, 0, "a=451 "}, {WORDS, 0, FAILED},
      {LOGGED, 0, "identity-failure target=relay identity=xforward error=\"must be used, and"},
      {OPEN, 0, NULL}}},
    {"it announced XCLIENT before, and does no longer", A, AUTO, NULL,
     {{WARM, 0, NULL}, GREET(0, CAN_XCLIENT), {CLOSE, 0, NULL}, ASK(0), GREET(1, CAN_XFORWARD),
      {SEES, 0, "a=451 "}, {WORDS, 0, FAILED}}},
    {"XFORWARD goes before every MAIL, in the same write; nobody waits for the name", A, AUTO, NULL,
     {ASK(0), GREET(0, CAN_XFORWARD), {HEAR, 0, "XFORWARD ADDR=192.0.2.1\r\n" MAIL_RCPT},
      {SAY, 0, "250 x\r\n250 m\r\n250 r\r\n"}, {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL},
      {HEAR, 0, "RSET\r\n"}, {SAY, 0, "250 rset\r\n"}, ASK(1),
      {HEAR, 0, "XFORWARD ADDR=192.0.2.2\r\n" MAIL_RCPT}, {GIVE_UP, 1, NULL},
      {FACTS, 1, A " xforward reused"}}},
    {"nothing is announced: none, logged once", A, AUTO, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {SEES, 0, "a=250 "}, {LOGGED, 0, "no-identity"},
      {GIVE_UP, 0, NULL}, ASK(1), {SILENT, 0, NULL}}},
    {"PROXY is this client's alone, and greets by its name", A, PROXY1, NULL,
     {{WARM, 0, NULL}, {NOBODY, 0, NULL}, ASK(0), {ACCEPT, 0, NULL},
      {HEAR, 0, "PROXY TCP4 192.0.2.1 10.0.0.1 4000 25\r\n"}, {SAY, 0, "220 t\r\n"},
      {HEAR, 0, "EHLO c0.test\r\n"}, {SAY, 0, PIPELINING}, TAKE(0), {GIVE_UP, 0, NULL},
      {FACTS, 0, A " proxy-v1"}, {HEAR, 0, "RSET\r\n"}, {SAY, 0, "250 rset\r\n"}, ASK(1),
      {ACCEPT, 1, NULL}, {HEAR_END, 1, "2 10.0.0.1 4000 25\r\n"},
      ASK(0), {HEAR, 0, MAIL_RCPT}, {GIVE_UP, 1, NULL}, {LEFT, 1, NULL}}},
    {"guards speak where the target does not see the client", A, AUTO, NULL,
     {{MAIL, 0, NULL}, {RCPT, 0, "!a"}, GREET(0, CAN_XFORWARD), {HEAR, 0, ""}, {SEES, 0, "a=550 "},
      {RCPT, 0, "b"}, {HEAR_END, 0, "RCPT TO:<b@to.test>\r\n"}, {RCPT, 0, "!c"}, {HEAR, 0, ""},
      {SAY, 0, "250 x\r\n250 m\r\n250 b\r\n"}, {SEES, 0, "b=250 c=550 "}}},
    {"... need no connection where it never could", A, XFORWARD, NULL,
     {{MAIL, 0, NULL}, {RCPT, 0, "!a"}, {NOBODY, 0, NULL}, {SEES, 0, "a=550 "}}},
    {"... are silent where it does", A, XCLIENT, NULL,
     {{NAMED, 0, ""}, {MAIL, 0, NULL}, {RCPT, 0, "!a"}, GREET(0, CAN_XCLIENT),
      BECOME(0, "1", "[UNAVAILABLE]", "c0.test"), TAKE(0), {SEES, 0, "a=250 "}}},
    {"... and in an outage it is 451 4.4.1", A, AUTO, NULL,
     {{MAIL, 0, NULL}, {RCPT, 0, "!a"}, {REFUSE, 0, NULL}, {SEES, 0, "a=451 "}, {WORDS, 0, DOWN}}},
};

static void spooling(struct relay_conf *conf)
{
    conf->on_failure = RELAY_ON_FAILURE_SPOOL;
    conf->times.envelope_ms = 8000;
}

static void wary(struct relay_conf *conf)
{
    spooling(conf);
    conf->recipients.unverified = RELAY_UNVERIFIED_DEFER;
}

static void probing_slowly(struct relay_conf *conf)
{
    spooling(conf);
    conf->times.health_interval_ms = 400000;
}

static void spooling_over_one(struct relay_conf *conf)
{
    spooling(conf);
    one_connection(conf);
}

#define TWO(c) {MAIL, c, NULL}, {RCPT, c, "a"}, {RCPT, c, "b"}
#define SPOOLED_END(c) {END, c, NULL}, {SEES, c, "go spooled end=250 "}

static const struct relay_scenario outage_rows[] = {
    {"no connection: who is not known is accepted, and spooled", A, NONE, spooling,
     {ASK(0), {REFUSE, 0, NULL}, {SEES, 0, "a=250? "}, {WORDS, 0, "250 2.1.5 Ok\r\n"},
      {RCPT, 0, "b"}, {SEES, 0, "b=250? "}, SEND(0), {SEES, 0, "go spooled end=250 "},
      ASK(1), {SEES, 1, "a=250? "}}},
    {"... or deferred", A, NONE, wary,
     {ASK(0), {REFUSE, 0, NULL}, {SEES, 0, "a=451 "}, {WORDS, 0, DOWN}}},
    {"accepted and refused lately", A, NONE, wary,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), TWO(0), {RCPT, 0, "*c"}, {RCPT, 0, "d"},
      {SAY, 0, "250 m\r\n250 a\r\n550-5.1.1 b?\r\n550 5.1.1 no\r\n250 c\r\n550 5.7.1 d\r\n"},
      {SEES, 0, "a=250 b=550 c=250 d=550 "}, {GIVE_UP, 0, NULL}, {CLOSE, 0, NULL}, TWO(1),
      {RCPT, 1, "c"}, {RCPT, 1, "d"}, {REFUSE, 1, NULL}, {SEES, 1, "a=250? b=550 c=451 d=451 "},
      {RCPT, 1, "b"}, {WORDS, 1, "550-5.1.1 b?\r\n550 5.1.1 no\r\n"},
      SEND(1), {SEES, 1, "b=550 go spooled end=250 "}}},
    {"a contrary answer replaces", A, NONE, wary,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), TWO(0), {SAY, 0, "250 m\r\n250 a\r\n550 5.1.1 b\r\n"},
      {GIVE_UP, 0, NULL}, {SAY, 0, "250 r\r\n"}, TWO(0), {SAY, 0, "250 m\r\n550 5.1.1 a\r\n250 b\r\n"},
      {GIVE_UP, 0, NULL}, {CLOSE, 0, NULL}, TWO(1), {REFUSE, 1, NULL}, {SEES, 1, "a=550 b=250? "}}},
    {"what MAIL was refused with says nothing of the recipient", A, NONE, spooling,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), {SAY, 0, "550 5.1.1 m\r\n503 r\r\n"},
      {SEES, 0, "a=550 "}, {GIVE_UP, 0, NULL}, {CLOSE, 0, NULL}, ASK(1), {REFUSE, 1, NULL},
      {SEES, 1, "a=250? "}}},
    {"a guard holds in an outage, whatever is remembered", A, AUTO, spooling,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), TWO(0), {SAY, 0, "250 m\r\n250 a\r\n550 5.1.1 b\r\n"},
      {GIVE_UP, 0, NULL}, {CLOSE, 0, NULL}, {MAIL, 1, NULL}, {RCPT, 1, "!a"}, {RCPT, 1, "!b"},
      {RCPT, 1, "c"}, {REFUSE, 1, NULL}, {SEES, 1, "a=451 b=451 c=250? "}}},
    {"lost in the envelope", A, NONE, spooling,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {RCPT, 0, "b"}, {CLOSE, 0, NULL},
      {SEES, 0, "a=250 b=250? "}, SEND(0), {SEES, 0, "go spooled end=250 "}, {NOBODY, 1, NULL}}},
    {"lost in the content", A, NONE, spooling,
     {TWO(0), GREET(0, PIPELINING), {SAY, 0, "250 m\r\n250 a\r\n550 b\r\n"}, {DATA, 0, NULL},
      {SAY, 0, "354 go\r\n"}, {CONTENT, 0, "x\r\n"}, {SEES, 0, "a=250 b=550 go "},
      {CLOSE, 0, NULL}, {END, 0, NULL}, {SEES, 0, "spooled end=250 "}, {FACTS, 0, A " none"}}},
    {"lost behind the end of data", A, NONE, spooling,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), SEND(0), {SAY, 0, "354 go\r\n"}, {CLOSE, 0, NULL},
      {SEES, 0, "a=250 go spooled end=250 "}, {FACTS, 0, A " none duplicate"}}},
    {"a reused connection is replaced first", A, NONE, spooling,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), MESSAGE(0, 0), ASK(0), TAKE(0), {CLOSE, 0, NULL},
      GREET(1, PIPELINING), TAKE(1), {CLOSE, 1, NULL}, SEND(0),
      {SEES, 0, "a=250 go spooled end=250 "}, {FACTS, 0, A " none replayed"}}},
    {"no greeting within envelope-timeout", A, NONE, spooling,
     {ASK(0), {ACCEPT, 0, NULL}, {PASS, 9000, NULL}, {SEES, 0, "a=250? "}}},
    {"the limit of connections is no outage", A, NONE, spooling_over_one,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {DATA, 0, NULL}, {SAY, 0, "354 go\r\n"}, ASK(1),
      {PASS, 5000, NULL}, {CONTENT, 0, "x"}, {PASS, 5000, NULL}, {SEES, 1, "a=451 "},
      {WORDS, 1, "451 4.3.2 All connections to the next host are busy, try again later\r\n"}}},
    {"nor is a failure of identity", A, XFORWARD, spooling,
     {ASK(0), GREET(0, CAN_XCLIENT), {SEES, 0, "a=451 "}, {WORDS, 0, FAILED}}},
    {"nor the target's verdict", A, NONE, spooling,
     {ASK(0), {ACCEPT, 0, NULL}, {SAY, 0, "521 5.3.2 no\r\n"}, {SEES, 0, "a=521 "}}},
    {"nor are we", "10.0.0.1:25", NONE, spooling, {ASK(0), {SEES, 0, "a=554 "}}},
    {"stopping is", A, NONE, spooling,
     {ASK(0), {STOP, 0, NULL}, {SEES, 0, "a=250? "}, SEND(0), {SEES, 0, "go spooled end=250 "}}},
    {"it is told when the target is there again", A, NONE, spooling,
     {ASK(0), {REFUSE, 0, NULL}, {CAME_UP, 0, NULL}, {PASS, 11000, NULL}, {REFUSE, 1, NULL},
      {PASS, 10000, NULL}, GREET(2, PIPELINING), {CAME_UP, 1, NULL}, MESSAGE(1, 2),
      {CAME_UP, 0, NULL}}},
    {"... by its names too", "t.test", NONE, spooling,
     {ASK(0), {SEES, 0, "a=250? "}, {CAME_UP, 0, NULL}, {NAMES, 0, "192.0.2.25"},
      {PASS, 11000, NULL}, {CAME_UP, 1, NULL}, {LOGGED, 0, "target-up"}, ASK(1),
      GREET(0, PIPELINING), TAKE(0), {SEES, 1, "a=250 "}}},
    {"it has moved meanwhile", "t.test", NONE, probing_slowly,
     {{NAMES, 0, "192.0.2.25"}, ASK(0), {REFUSE, 0, NULL}, {SEES, 0, "a=250? "},
      {NAMES, 0, "192.0.2.26"}, {PASS, 401000, NULL}, {CAME_UP, 1, NULL}, {REFUSE, 1, NULL}, ASK(1),
      GREET(2, PIPELINING), TAKE(2), {SEES, 1, "a=250 "}, {GIVE_UP, 1, NULL},
      {FACTS, 1, B " none"}}},
};

#define CAN_BOTH "250-t\r\n250-PIPELINING\r\n250-XFORWARD ADDR\r\n250 XCLIENT NAME ADDR PORT\r\n"
#define CAN_DSN  "250-t\r\n250-PIPELINING\r\n250-DSN\r\n250-SMTPUTF8\r\n250 SIZE\r\n"

static const struct relay_scenario spool_rows[] = {
    {"XFORWARD is replayed, though there is XCLIENT now", A, AUTO, spooling,
     {{NAMED, 0, ""}, {SPOOLED, 0, "xforward"}, {MAIL, 0, NULL}, {RCPT, 0, "a"}, {RCPT, 0, "?b"},
      GREET(0, CAN_BOTH), {HEAR, 0, "XFORWARD ADDR=192.0.2.1\r\n" MAIL_RCPT},
      {SAY, 0, "250 x\r\n250 m\r\n250 r\r\n"}, {SEES, 0, "a=250 b=451 "}}},
    {"... and who never was accepted goes by that", A, AUTO, spooling,
     {{NAMED, 0, ""}, {SPOOLED, 0, "xforward"}, {MAIL, 0, NULL}, {RCPT, 0, "?a"},
      GREET(0, CAN_BOTH), BECOME(0, "1", "[UNAVAILABLE]", "c0.test"), TAKE(0),
      {SEES, 0, "a=250 "}}},
    {"XFORWARD on one connection", A, AUTO, spooling,
     {{SPOOLED, 0, "xforward"}, ASK(0), GREET(0, CAN_XFORWARD),
      {SAY, 0, "250 x\r\n250 m\r\n250 r\r\n"}, SEND(0), {SAY, 0, "354 go\r\n"},
      {SAY, 0, "250 ok\r\n"}, {SPOOLED, 1, "xforward"}, ASK(1),
      {HEAR_END, 0, "XFORWARD ADDR=192.0.2.2\r\n" MAIL_RCPT}, {NOBODY, 1, NULL}}},
    {"XCLIENT is replayed", A, XFORWARD, spooling,
     {{NAMED, 0, "c.test"}, {SPOOLED, 0, "xclient"}, {MAIL, 0, NULL}, {RCPT, 0, "?a"},
      GREET(0, CAN_BOTH), BECOME(0, "1", "c.test", "c0.test"), TAKE(0), {SEES, 0, "a=250 "}}},
    {"it is no longer on offer: who was never accepted waits", A, AUTO, spooling,
     {{NAMED, 0, ""}, {SPOOLED, 0, "xclient"}, {MAIL, 0, NULL}, {RCPT, 0, "?a"}, {RCPT, 0, "b"},
      GREET(0, CAN_XFORWARD),
      {HEAR, 0, "XFORWARD ADDR=192.0.2.1\r\nMAIL FROM:<s@from.test>\r\nRCPT TO:<b@to.test>\r\n"},
      {SAY, 0, "250 x\r\n250 m\r\n250 b\r\n"}, {SEES, 0, "a=451 b=250 "},
      {LOGGED, 0, "identity-failure target=relay identity=xclient"}}},
    {"... and is heard of in these words", A, AUTO, spooling,
     {{NAMED, 0, ""}, {SPOOLED, 0, "proxy-v1"}, {MAIL, 0, NULL}, {RCPT, 0, "?a"},
      GREET(0, CAN_XFORWARD), {HEAR, 0, ""}, {SEES, 0, "a=451 "}, {WORDS, 0, FAILED}}},
    {"nobody was reached then: as for live mail", A, AUTO, spooling,
     {{NAMED, 0, ""}, {SPOOLED, 0, ""}, {MAIL, 0, NULL}, {RCPT, 0, "?a"}, GREET(0, CAN_BOTH),
      BECOME(0, "1", "[UNAVAILABLE]", "c0.test"), TAKE(0), {SEES, 0, "a=250 "}}},
    {"... and it had announced XCLIENT before", A, AUTO, spooling,
     {{WARM, 0, NULL}, GREET(0, CAN_XCLIENT), {CLOSE, 0, NULL}, {NAMED, 0, ""}, {SPOOLED, 0, ""},
      {MAIL, 0, NULL}, {RCPT, 0, "?a"}, GREET(1, CAN_XFORWARD), {SEES, 0, "a=451 "}}},
    {"a report of ours is told by nobody", A, AUTO, spooling,
     {{SPOOLED, 0, "none"}, {MAIL, 0, NULL}, {RCPT, 0, "a"}, GREET(0, CAN_BOTH), TAKE(0),
      {SEES, 0, "a=250 "}}},
    {"ten minutes for the last reply", A, NONE, spooling,
     {{SPOOLED, 0, ""}, ASK(0), GREET(0, PIPELINING), TAKE(0), SEND(0), {SAY, 0, "354 go\r\n"},
      {PASS, 599000, NULL}, {OPEN, 0, NULL}, {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
    {"no connection: nothing is spooled twice", A, NONE, spooling,
     {{SPOOLED, 0, ""}, ASK(0), {REFUSE, 0, NULL}, {SEES, 0, "a=451 "}, {WORDS, 0, DOWN}}},
    {"what DSN asks for, and the true size", A, NONE, spooling,
     {{SPOOLED, 0, ""}, {MAIL, 0, "SIZE=7 RET=HDRS ENVID=x"}, {CONTENT, 0, "x\r\n"},
      {RCPT, 0, "a NOTIFY=NEVER ORCPT=rfc822;a@b"}, {RCPT, 0, "b"}, GREET(0, CAN_DSN),
      {HEAR, 0, "MAIL FROM:<s@from.test> RET=HDRS ENVID=x SIZE=3\r\n"
                "RCPT TO:<a@to.test> NOTIFY=NEVER ORCPT=rfc822;a@b\r\nRCPT TO:<b@to.test>\r\n"}}},
    {"it is left out where it is not announced", A, NONE, NULL,
     {{MAIL, 0, "RET=HDRS ENVID=x SIZE=7"}, {RCPT, 0, "a NOTIFY=NEVER"}, GREET(0, PIPELINING),
      {HEAR, 0, MAIL_RCPT}}},
    {"the client's own estimate, in its place", A, NONE, NULL,
     {{MAIL, 0, "SIZE=7 RET=FULL"}, {RCPT, 0, "a"}, GREET(0, CAN_DSN),
      {HEAR, 0, "MAIL FROM:<s@from.test> SIZE=7 RET=FULL\r\nRCPT TO:<a@to.test>\r\n"}}},
    {"SMTPUTF8 is passed on", A, NONE, NULL,
     {{MAIL, 0, "SMTPUTF8"}, {RCPT, 0, "a"}, GREET(0, CAN_DSN),
      {HEAR, 0, "MAIL FROM:<s@from.test> SMTPUTF8\r\nRCPT TO:<a@to.test>\r\n"}}},
    {"... or refused", A, NONE, spooling,
     {{SPOOLED, 0, ""}, {MAIL, 0, "SMTPUTF8"}, {RCPT, 0, "a"}, GREET(0, PIPELINING),
      {HEAR, 0, ""}, {SEES, 0, "a=553 "},
      {WORDS, 0, "553 5.6.7 The next host does not accept internationalized addresses\r\n"}}},
};

/* clang-format on */

struct table {
    const struct relay_scenario *rows;
    size_t count;
};

static const struct table tables[] = {
    {reuse_rows, ARRAY_LENGTH(reuse_rows)},       {wait_rows, ARRAY_LENGTH(wait_rows)},
    {down_rows, ARRAY_LENGTH(down_rows)},         {replay_rows, ARRAY_LENGTH(replay_rows)},
    {identity_rows, ARRAY_LENGTH(identity_rows)}, {outage_rows, ARRAY_LENGTH(outage_rows)},
    {spool_rows, ARRAY_LENGTH(spool_rows)},
};

static void run_table(const struct table *t)
{
    relay_world_run_rows(t->rows, t->count);
}

static void test_reuse(void **state)
{
    (void)state;
    run_table(&tables[0]);
}

static void test_waiting(void **state)
{
    (void)state;
    run_table(&tables[1]);
}

static void test_down(void **state)
{
    (void)state;
    run_table(&tables[2]);
}

static void test_replay(void **state)
{
    (void)state;
    run_table(&tables[3]);
}

static void test_identity(void **state)
{
    (void)state;
    run_table(&tables[4]);
}

static void test_outage(void **state)
{
    (void)state;
    run_table(&tables[5]);
}

static void test_spooled(void **state)
{
    (void)state;
    run_table(&tables[6]);
}

/* ---- more than a stream takes at once ---- */

#define LARGE_LINES 20000
#define LARGE_MAX   (LARGE_LINES * 24 + 100)

/* Lines of which every third begins with a dot; stuffed, and with the end, as DATA has them. */
static void make_large(char *content, char *wire)
{
    size_t at = 0, wired = 0;

    for (unsigned i = 0; i < LARGE_LINES; i++) {
        if (i % 3 == 0)
            wire[wired++] = '.';
        int len = sprintf(content + at, "%sline %u\r\n", i % 3 == 0 ? "." : "", i);
        memcpy(wire + wired, content + at, (size_t)len);
        at += (size_t)len;
        wired += (size_t)len;
    }
    memcpy(wire + wired, ".\r\n", sizeof(".\r\n"));
}

static void test_large(void **state)
{
    static char content[LARGE_MAX], wire[LARGE_MAX], chunk[LARGE_MAX + 100];
    /* clang-format off */
    struct relay_scenario rows[] = {
        {"by DATA", A, NONE, NULL,
         {ASK(0), GREET(0, PIPELINING), TAKE(0), {DATA, 0, NULL}, {HEAR, 0, "DATA\r\n"},
          {SAY, 0, "354 go\r\n"}, {WHOLE, 0, content}, {HEAR, 0, wire}, {SAY, 0, "250 ok\r\n"},
          {SEES, 0, "a=250 go end=250 "}}},
        {"by BDAT", A, NONE, NULL,
         {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, {WHOLE, 0, content},
          {HEAR, 0, chunk}, {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
        {"by DATA, replayed from the start", A, NONE, NULL,
         {{WARM, 0, NULL}, GREET(0, PIPELINING), ASK(0), TAKE(0), {DATA, 0, NULL},
          {HEAR, 0, "DATA\r\n"}, {SAY, 0, "354 go\r\n"}, {CONTENT, 0, content}, {CLOSE, 0, NULL},
          GREET(1, PIPELINING), {SAY, 1, "250 m\r\n250 r\r\n354 go\r\n"}, {END, 0, NULL},
          {HEAR_END, 1, wire}, {SAY, 1, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
    };
    /* clang-format on */

    (void)state;
    make_large(content, wire);
    snprintf(chunk, sizeof(chunk), "BDAT %zu LAST\r\n%s", strlen(content), content);
    run_table(&(struct table){rows, ARRAY_LENGTH(rows)});
}

static void test_no_memory(void **state)
{
    (void)state;
    for (size_t t = 0; t < ARRAY_LENGTH(tables); t++)
        relay_world_starve_rows(tables[t].rows, tables[t].count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse),     cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_down),      cmocka_unit_test(test_replay),
        cmocka_unit_test(test_identity),  cmocka_unit_test(test_outage),
        cmocka_unit_test(test_spooled),   cmocka_unit_test(test_large),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
