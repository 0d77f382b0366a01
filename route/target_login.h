/* SPDX-License-Identifier: BSD-2-Clause */
/* A client that authenticates itself at a target, in its own words and the target's (auth =
 * passthrough). The connection on which it does so is its own from then on: transactions of its
 * carrier that go to this target use it, and no other. */
#ifndef POSTERN_TARGET_LOGIN_H
#define POSTERN_TARGET_LOGIN_H

#include "proxy/base/bytes.h"
#include "proxy/smtp/reply.h"

struct carrier;
struct target;

/* Embedded in what the target's kind has of it. */
struct target_login {
    const struct target *target;
};

/* What its owner is told, never from within a call of target_login_ops. */
struct target_login_use {
    /* The target waits for AUTH: say() is legal, and within this call, too. */
    void (*ready)(void *owner);
    /* The target's reply to the line that was said last, or why it cannot be asked. 334: it waits
     * for the next one; 235: the client is known. Else AUTH is over, and end() alone is legal. */
    void (*answered)(void *owner, const struct reply *reply);
    /* Behind 235: the connection is gone, and nobody is known any more. */
    void (*lost)(void *owner);
};

enum target_login_aim {
    TARGET_LOGIN_AUTH,
    TARGET_LOGIN_MEET /* what it announces is all that is asked for: ready(), then end() */
};

struct target_login_ops {
    /* Gets a connection, and tells the target who the client is. NULL: no memory. */
    struct target_login *(*begin)(struct target *target, struct carrier *carrier,
                                  enum target_login_aim aim, const struct target_login_use *use,
                                  void *owner);
    /* Legal after ready(), and after 334: one line, with its line end. It is a secret, and not
     * kept. */
    void (*say)(struct target_login *login, struct bytes line);
    /* client->name_state is no longer pending. */
    void (*named)(struct target_login *login);
    /* The connection is closed, unless a transaction still needs it. */
    void (*end)(struct target_login *login);
};

#endif
