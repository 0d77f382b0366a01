/* SPDX-License-Identifier: BSD-2-Clause */
/* Conversations of the outbound machine as text: what is done, and what must come of it. */
#ifndef POSTERN_OUTBOUND_SCRIPT_H
#define POSTERN_OUTBOUND_SCRIPT_H

#include "tests/unit/lib.h"

/* A script is a text of lines. What is done:
 *
 *     S: octets of the target, a line each; neighbours arrive in one segment ("\\0" is a NUL)
 *     > start [proxy1|proxy2] [client|lmtp|may|required] [helo WORD]; may, required: TLS
 *     > begin [xclient] [xforward] [pass] [odd] [long] [8bit] [bounce]
 *     > rcpt NAME...
 *     > data | ended | quit | eof | idle | secured
 *     > frame OCTETS [whole]
 *     > wrote OCTETS
 *     > abort
 *
 * and what must be seen after it: all events (E:), then what was sent (C:), then what the call
 * returned (R:). */
struct outbound_script {
    const char *name;
    const char *text;
    bool avoids_chunking;
};

/* Plays each with segments whole, every split in two, and byte by byte; then once for every
 * allocation that can fail. */
void outbound_script_play(const struct outbound_script *scripts, size_t count);

/* Of a client whose identity does not fit in one command. */
#define SCRIPT_LABEL     "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz"
#define SCRIPT_LONG_NAME SCRIPT_LABEL "." SCRIPT_LABEL "." SCRIPT_LABEL "." SCRIPT_LABEL ".net"
#define SCRIPT_LONG_HELO                                                                           \
    SCRIPT_LABEL ":" SCRIPT_LABEL ":" SCRIPT_LABEL ":" SCRIPT_LABEL ":hello-hello-hello-hello"

/* What most scripts begin with. */
#define SCRIPT_START                                                                               \
    "> start\n"                                                                                    \
    "S: 220 target.example\n"                                                                      \
    "C: EHLO proxy.example\n"

#define SCRIPT_PIPELINING                                                                          \
    SCRIPT_START                                                                                   \
    "S: 250-target.example\n"                                                                      \
    "S: 250-SIZE 1000\n"                                                                           \
    "S: 250-8BITMIME\n"                                                                            \
    "S: 250 PIPELINING\n"                                                                          \
    "E: ready\n"

#define SCRIPT_CHUNKING                                                                            \
    SCRIPT_START                                                                                   \
    "S: 250-target.example\n"                                                                      \
    "S: 250-CHUNKING\n"                                                                            \
    "S: 250 PIPELINING\n"                                                                          \
    "E: ready\n"

#define SCRIPT_LOCKSTEP                                                                            \
    SCRIPT_START                                                                                   \
    "S: 250 target.example\n"                                                                      \
    "E: ready\n"

#endif
