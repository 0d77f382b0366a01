/* SPDX-License-Identifier: BSD-2-Clause */
/* What test_relay.c's clients and targets say again and again. */
#ifndef POSTERN_RELAY_WORDS_H
#define POSTERN_RELAY_WORDS_H

#include "tests/unit/relay_world.h"

#define A "192.0.2.25:25"
#define B "192.0.2.26:25"

#define NONE     IDENTITY_KIND_NONE
#define AUTO     IDENTITY_KIND_AUTO
#define XCLIENT  IDENTITY_KIND_XCLIENT
#define XFORWARD IDENTITY_KIND_XFORWARD
#define PROXY1   IDENTITY_KIND_PROXY_V1

#define PIPELINING   "250-t\r\n250 PIPELINING\r\n"
#define CHUNKING     "250-t\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
#define CAN_XCLIENT  "250-t\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT\r\n"
#define CAN_XFORWARD "250-t\r\n250-PIPELINING\r\n250 XFORWARD ADDR\r\n"

/* clang-format off */

/* a target greets and says what it can; a client asks for one recipient; the target agrees */
#define GREET(t, ehlo)                                                                             \
    {ACCEPT, t, NULL}, {SAY, t, "220 t\r\n"}, {HEAR, t, "EHLO postern.test\r\n"}, {SAY, t, ehlo}
#define ASK(c) {MAIL, c, NULL}, {RCPT, c, "a"}
#define MAIL_RCPT "MAIL FROM:<s@from.test>\r\nRCPT TO:<a@to.test>\r\n"
#define TAKE(t) {HEAR, t, MAIL_RCPT}, {SAY, t, "250 m\r\n250 r\r\n"}
#define SEND(c) {DATA, c, NULL}, {WHOLE, c, "x\r\n"}
/* a whole message over DATA on a connection that is there */
#define MESSAGE(c, t)                                                                              \
    ASK(c), TAKE(t), SEND(c), {HEAR, t, "DATA\r\n"}, {SAY, t, "354 go\r\n"},                       \
        {HEAR, t, "x\r\n.\r\n"}, {SAY, t, "250 2.0.0 queued\r\n"},                                 \
        {SEES, c, "a=250 go end=250 "}
/* clang-format on */

#endif
