/* SPDX-License-Identifier: BSD-2-Clause */
/* What one client did, read off the octets of both directions: commands, replies, messages. */
#ifndef POSTERN_SESSION_CLIENT_H
#define POSTERN_SESSION_CLIENT_H

#include "tests/fuzz/pieces.h"
#include "tests/sim/sim.h"

#define SESSION_RCPTS_MAX 8

enum session_domain {
    SESSION_TARGET, /* a relay */
    SESSION_MAIL,   /* a maildir */
    SESSION_LIST,   /* both */
    SESSION_OTHER   /* none of those that the ledger knows */
};

/* A message with its end of data. */
struct session_message {
    struct pieces_seen content; /* as a target must get it */
    unsigned code;              /* of the reply to it; 0: none came */
    int rcpt_count;             /* accepted ones */
    enum session_domain domains[SESSION_RCPTS_MAX];
    char locals[SESSION_RCPTS_MAX][32];
};

struct session_client {
    struct sim_peer *peer; /* NULL: has not begun */
    struct pieces_seen said, heard;
};

void session_client_say(struct session_client *c, struct bytes octets);
void session_client_listen(struct session_client *c);
/* Once all is over: appends the messages to `messages` (at most `max`, the others are passed over)
 * and returns how many there are now. Aborts where replies do not fit the commands. */
int session_client_read(const struct session_client *c, struct session_message *messages, int count,
                        int max);
/* Has not begun again; the blocks stay. */
void session_client_forget(struct session_client *c);

#endif
