/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages of which the target gets another view than what came: scenarios as in test_relay.c. */
/* needs: sim tests/unit/relay_world.c proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c route/carrier.c route/outgoing.c route/relay/ */
#include "tests/unit/lib.h"
#include "tests/unit/relay_words.h"

#define SIZED "250-t\r\n250-PIPELINING\r\n250 SIZE\r\n"

static void spooling(struct relay_conf *conf)
{
    conf->received = RELAY_RECEIVED_NEVER;
}

/* clang-format off */
/* The client's message, whose body begins at octet 6 with the empty line; and the edited one. */
#define MAILED "a: 1\r\n" "\r\n.x\r\n"
#define SHOWN  "b: 2\r\n" "\r\n.x\r\n"
#define STUFFED "b: 2\r\n" "\r\n..x\r\n.\r\n"

static const struct relay_scenario rows[] = {
    {"an edited header over DATA", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {DATA, 0, NULL}, {HEAR, 0, "DATA\r\n"},
      {SHOW, 0, "6 b: 2\r\n"}, {SAY, 0, "354 go\r\n"}, {WHOLE, 0, MAILED},
      {HEAR, 0, STUFFED}, {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
    {"... over BDAT, whose chunk has the size of what is sent", A, NONE, NULL,
     {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, {SHOW, 0, "6 bcd: 234\r\n"},
      {WHOLE, 0, MAILED}, {HEAR, 0, "BDAT 16 LAST\r\nbcd: 234\r\n\r\n.x\r\n"},
      {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
    {"... that has no field left", A, NONE, NULL,
     {ASK(0), GREET(0, CHUNKING), TAKE(0), {DATA, 0, NULL}, {SHOW, 0, "6 "},
      {WHOLE, 0, MAILED}, {HEAR, 0, "BDAT 6 LAST\r\n\r\n.x\r\n"},
      {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
    {"the view is decided when the target has asked for content already", A, NONE, NULL,
     {ASK(0), GREET(0, PIPELINING), TAKE(0), {DATA, 0, NULL}, {HEAR, 0, "DATA\r\n"},
      {SAY, 0, "354 go\r\n"}, {SHOW, 0, "6 b: 2\r\n"}, {WHOLE, 0, MAILED}, {HEAR, 0, STUFFED},
      {SAY, 0, "250 ok\r\n"}, {SEES, 0, "a=250 go end=250 "}}},
    {"a replay sends the same again", A, NONE, NULL,
     {{WARM, 0, NULL}, GREET(0, PIPELINING), MESSAGE(1, 0), ASK(0), TAKE(0), {DATA, 0, NULL},
      {HEAR, 0, "DATA\r\n"}, {SAY, 0, "354 go\r\n"}, {SHOW, 0, "6 b: 2\r\n"},
      {CONTENT, 0, MAILED}, {HEAR, 0, "b: 2\r\n\r\n..x\r\n"}, {CLOSE, 0, NULL},
      {END, 0, NULL}, GREET(1, PIPELINING), {HEAR, 1, MAIL_RCPT "DATA\r\n"},
      {SAY, 1, "250 m\r\n250 r\r\n354 go\r\n"}, {HEAR, 1, STUFFED}, {SAY, 1, "250 ok\r\n"},
      {SEES, 0, "a=250 go end=250 "}, {FACTS, 0, A " none replayed"}}},
    {"SIZE, where we know it, is that of what is sent", A, NONE, spooling,
     {{SPOOLED, 0, ""}, {MAIL, 0, "SIZE=7"}, {CONTENT, 0, MAILED}, {RCPT, 0, "a"},
      {SHOW, 0, "6 bcd: 234\r\n"}, GREET(0, SIZED),
      {HEAR, 0, "MAIL FROM:<s@from.test> SIZE=16\r\nRCPT TO:<a@to.test>\r\n"}}},
};
/* clang-format on */

int main(void)
{
    return relay_world_test(rows, ARRAY_LENGTH(rows));
}
