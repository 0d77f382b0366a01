/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections that are taken back for those who wait: scenarios as in test_relay.c. */
/* needs: sim tests/unit/relay_world.c proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c route/carrier.c route/outgoing.c route/relay/ */
#include "tests/unit/lib.h"
#include "tests/unit/relay_words.h"

/* clang-format off */

static void one_connection(struct relay_conf *conf)
{
    conf->limits.max_connections = 1;
}

static void two_connections(struct relay_conf *conf)
{
    conf->limits.max_connections = 2;
}

static void three_connections(struct relay_conf *conf)
{
    conf->limits.max_connections = 3;
}

static void one_transaction(struct relay_conf *conf)
{
    conf->limits.max_connections = conf->limits.max_transactions = 1;
}

static char much[70000 + 1]; /* enough to stay, of a net that holds no more than its share */

#define GO(c, t) {DATA, c, NULL}, {HEAR, t, "DATA\r\n"}, {SAY, t, "354 go\r\n"}
#define BRING(c, t, text) {CONTENT, c, text}, {HEAR, t, text}

/* who waits gets the connection of who was slow */
#define NEXT                                                                                       \
    {HEAR, 0, "RSET\r\n" MAIL_RCPT}, {SAY, 0, "250 rset\r\n250 m\r\n250 r\r\n"}

static const struct relay_scenario rows[] = {
    {"a message that drips is taken back, and replayed when it is whole", A, NONE, one_connection,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), GO(0, 0), BRING(0, 0, "one\r\n"), ASK(1),
      {PASS, 6000, NULL}, BRING(0, 0, "two\r\n"), {OPEN, 0, NULL}, {PASS, 6000, NULL},
      {LEFT, 0, NULL}, GREET(1, PIPELINING), TAKE(1), SEND(1), {HEAR, 1, "DATA\r\n"},
      {SAY, 1, "354 go\r\n"}, {HEAR, 1, "x\r\n.\r\n"}, {SAY, 1, "250 ok\r\n"},
      {SEES, 1, "a=250 go end=250 "}, {CONTENT, 0, "three\r\n"}, {HEAR, 1, ""}, {END, 0, NULL},
      {HEAR, 1, MAIL_RCPT "DATA\r\n"}, {SAY, 1, "250 m\r\n250 r\r\n354 go\r\n"},
      {HEAR, 1, "one\r\ntwo\r\nthree\r\n.\r\n"}, {SAY, 1, "250 ok\r\n"},
      {SEES, 0, "a=250 go end=250 "}, {NOBODY, 2, NULL}}},
    {"with BDAT its connection serves who waits", A, NONE, one_connection,
     {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, {CONTENT, 0, "x\r\n"},
      {HEAR, 0, "BDAT 3\r\nx\r\n"}, {SAY, 0, "250 chunk\r\n"}, ASK(1), {PASS, 12000, NULL},
      {HEAR, 0, "RSET\r\n" MAIL_RCPT}, {SAY, 0, "250 rset\r\n250 m\r\n250 r\r\n"},
      {SEES, 1, "a=250 "}, {NOBODY, 1, NULL}}},
    {"... though a chunk waits for its reply", A, NONE, one_connection,
     {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, {CONTENT, 0, "x\r\n"},
      {HEAR, 0, "BDAT 3\r\nx\r\n"}, {CONTENT, 0, "y\r\n"}, ASK(1), {PASS, 12000, NULL},
      {HEAR, 0, "RSET\r\n"}, {SAY, 0, "250 chunk\r\n250 rset\r\n"}, {HEAR, 0, MAIL_RCPT}}},
    {"who has brought least is first, and no more are taken than are wanted", A, NONE,
     two_connections,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), ASK(1), GREET(1, PIPELINING), TAKE(1), GO(0, 0),
      BRING(0, 0, "long\r\n"), GO(1, 1), BRING(1, 1, "x\r\n"), {PASS, 15000, NULL},
      {OPEN, 0, NULL}, {OPEN, 1, NULL}, ASK(2), {PASS, 1200, NULL}, {LEFT, 1, NULL},
      {OPEN, 0, NULL}, {ACCEPT, 2, NULL}, {PASS, 5000, NULL}, {OPEN, 0, NULL}}},
    {"the others who come meanwhile do not put it off", A, NONE, one_connection,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), GO(0, 0), {PASS, 15000, NULL}, ASK(1),
      {PASS, 700, NULL}, ASK(2), {PASS, 700, NULL}, {LEFT, 0, NULL}}},
    {"the time that the target takes is not the client's", A, NONE, one_connection,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {RCPT, 0, "b"},
      {HEAR, 0, "RCPT TO:<b@to.test>\r\n"}, ASK(1), {PASS, 30000, NULL}, {SAY, 0, "250 b\r\n"},
      {PASS, 9000, NULL}, {HEAR, 0, ""}, {PASS, 3000, NULL}, {HEAR, 0, "RSET\r\n" MAIL_RCPT}}},
    {"who is quick keeps his connection from his own net", A, NONE, two_connections,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), ASK(1), GREET(1, PIPELINING), TAKE(1), GO(0, 0),
      BRING(0, 0, much), GO(1, 1), BRING(1, 1, much), ASK(2), {PASS, 11500, NULL},
      {OPEN, 0, NULL}, {OPEN, 1, NULL}}},
    {"... not from another, but for his share", A, NONE, two_connections,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), ASK(1), GREET(1, PIPELINING), TAKE(1), GO(0, 0),
      BRING(0, 0, much), GO(1, 1), BRING(1, 1, much), BRING(1, 1, "x"), ASK(2), ASK(3),
      {PASS, 950, NULL}, {OPEN, 0, NULL}, {OPEN, 1, NULL}, {PASS, 150, NULL}, {LEFT, 0, NULL},
      {OPEN, 1, NULL}, GREET(2, PIPELINING), TAKE(2), {SEES, 3, "a=250 "}, {SEES, 2, ""},
      {PASS, 5000, NULL}, {OPEN, 1, NULL}}},
    {"... nor from another to which a connection is on its way", A, NONE, three_connections,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), ASK(1), GREET(1, PIPELINING), TAKE(1), GO(0, 0),
      BRING(0, 0, much), GO(1, 1), BRING(1, 1, much), ASK(3), ASK(2), {PASS, 3000, NULL},
      {OPEN, 0, NULL}, {OPEN, 1, NULL}, GREET(2, PIPELINING), TAKE(2), {SEES, 3, "a=250 "},
      {OPEN, 0, NULL}, {OPEN, 1, NULL}}},
    {"another process gets what lies idle in a third one, and only then something is taken back", A,
     NONE, three_connections,
     {{OTHERS, 1, "connections"}, {OTHERS, 1, "idle"}, ASK(0), GREET(0, PIPELINING), TAKE(0), ASK(1),
      GREET(1, PIPELINING), TAKE(1), GO(0, 0), BRING(0, 0, much), GO(1, 1), BRING(1, 1, much),
      BRING(1, 1, "x"), {OTHERS, 1, "waits"}, {PASS, 3000, NULL}, {OPEN, 0, NULL}, {OPEN, 1, NULL},
      {OTHERS, 0, "idle"}, {PASS, 150, NULL}, {LEFT, 0, NULL}, {PASS, 3000, NULL},
      {OPEN, 1, NULL}}},
    {"who gets the place of one that is leaving needs no other process", A, NONE, one_transaction,
     {{OTHERS, 0, "connections"}, ASK(0), GREET(0, PIPELINING), TAKE(0), SEND(0),
      {HEAR, 0, "DATA\r\n"}, {SAY, 0, "354 go\r\n"}, {HEAR, 0, "x\r\n.\r\n"},
      {SAY, 0, "250 ok\r\n"}, {HEAR, 0, "QUIT\r\n"}, ASK(1), {TOLD, 0, NULL}, ASK(2),
      {TOLD, 1, NULL}, {GIVE_UP, 2, NULL}, {PASS, 200, NULL}, {TOLD, 0, NULL},
      {SAY, 0, "221 bye\r\n"}, GREET(1, PIPELINING), TAKE(1), {SEES, 1, "a=250 "}, ASK(2),
      {TOLD, 1, NULL}}},
    {"a delivery of the spool is not taken back", A, NONE, one_connection,
     {{SPOOLED, 0, ""}, ASK(0), GREET(0, PIPELINING), TAKE(0), ASK(1), {PASS, 30000, NULL},
      {HEAR, 0, ""}}},
    {"those that are whole at the same time take turns with another net", A, NONE, one_connection,
     {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, ASK(1), {PASS, 12000, NULL},
      {HEAR, 0, "RSET\r\n" MAIL_RCPT}, {SAY, 0, "250 rset\r\n250 m\r\n250 r\r\n"}, {DATA, 1, NULL},
      ASK(2), {PASS, 12000, NULL}, {HEAR, 0, "RSET\r\n" MAIL_RCPT},
      {SAY, 0, "250 rset\r\n250 m\r\n250 r\r\n"}, {WHOLE, 0, "0\r\n"}, {WHOLE, 1, "1\r\n"}, ASK(3),
      {DATA, 2, NULL}, {WHOLE, 2, "2\r\n"}, {HEAR, 0, "BDAT 3 LAST\r\n2\r\n"},
      {SAY, 0, "250 ok\r\n"}, {HEAR, 0, MAIL_RCPT}, {SAY, 0, "250 m\r\n250 r\r\n"},
      {HEAR, 0, "BDAT 3 LAST\r\n0\r\n"}, {SAY, 0, "250 ok\r\n"}, {HEAR, 0, MAIL_RCPT},
      {SAY, 0, "250 m\r\n250 r\r\n"}, {SEES, 3, "a=250 "}, {GIVE_UP, 3, NULL},
      {HEAR, 0, "RSET\r\n" MAIL_RCPT}, {SAY, 0, "250 rset\r\n250 m\r\n250 r\r\n"},
      {HEAR, 0, "BDAT 3 LAST\r\n1\r\n"}, {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "},
      {SEES, 1, "a=250 go end=250 "}, {SEES, 2, "a=250 go end=250 "}, {NOBODY, 1, NULL}}},
    {"one line in a minute for each net", A, NONE, one_connection,
     {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, {CONTENT, 0, "x\r\n"},
      {HEAR, 0, "BDAT 3\r\nx\r\n"}, {SAY, 0, "250 chunk\r\n"}, ASK(1), {PASS, 12000, NULL}, NEXT,
      {LOGGED, 0, "taken-back target=relay net=192.0.2.0 reason=slow bytes=3 transaction="},
      {DATA, 1, NULL}, ASK(2), {PASS, 12000, NULL}, NEXT, {SILENT, 0, NULL},
      {DATA, 2, NULL}, ASK(3), {PASS, 12000, NULL}, NEXT, {SILENT, 0, NULL},
      {DATA, 3, NULL}, {GIVE_UP, 0, NULL}, ASK(0), {PASS, 12000, NULL}, NEXT,
      {LOGGED, 0, "taken-back target=relay net=192.0.3.0 reason=slow bytes=0 transaction="},
      {DATA, 0, NULL}, {PASS, 25000, NULL}, {GIVE_UP, 1, NULL}, ASK(1), {PASS, 12000, NULL}, NEXT,
      {LOGGED, 0, "taken-back target=relay net=192.0.2.0 reason=slow bytes=0 transaction="}}},
};

/* clang-format on */

int main(void)
{
    for (size_t i = 0; i < sizeof(much) - 1; i++)
        much[i] = i % 70 == 68 ? '\r' : i % 70 == 69 ? '\n' : 'x';
    return relay_world_test(rows, ARRAY_LENGTH(rows));
}
