/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH: what the files share that ask somebody who the client is. */
#ifndef POSTERN_BRIDGE_AUTH_PRIVATE_H
#define POSTERN_BRIDGE_AUTH_PRIVATE_H

#include "proxy/bridge.h"
#include "proxy/dovecot.h"
#include "proxy/smtp/sasl_user.h"
#include "route/target_login.h"

struct bridge_auth {
    struct bridge *bridge;
    struct dovecot_call call;   /* dovecot:PATH */
    struct target_login *login; /* passthrough; NULL: no exchange is under way, or was successful */
    enum target_login_aim aim;  /* of the latest exchange */
    uint8_t user[SASL_USER_MAX]; /* passthrough: as whom, as the client says */
    size_t user_len;
    unsigned responses; /* passthrough: in this exchange */
};

/* Who asks: by Dovecot, or by a target. */
struct bridge_auth_way {
    uint32_t (*mechanisms)(const struct smtpd *d); /* as far as they are known */
    void (*offer)(struct bridge_auth *auth);       /* SESSION_ACT_MECHANISMS */
    void (*step)(struct bridge_auth *auth);        /* SESSION_ACT_AUTH */
    void (*named)(struct bridge_auth *auth); /* the client's name is known; NULL: it is not told */
    void (*forget)(struct bridge_auth *auth);
};

extern const struct bridge_auth_way bridge_auth_dovecot, bridge_auth_target;

/* bridge_auth_answer.c: what the session is told; carrier_drain() does what follows from it. */
void bridge_auth_tell_mechanisms(struct bridge *b, uint32_t mechanisms);
/* 334: the client's next line is asked for; 4xx, 5xx: AUTH is over. */
void bridge_auth_answer(struct bridge *b, const struct reply *reply);
/* `login`: as whom; empty: not known. */
void bridge_auth_accept(struct bridge *b, struct bytes login, const struct reply *reply);
void bridge_auth_refuse(struct bridge *b, const struct reply *reply, struct bytes login);
void bridge_auth_refuse_own(struct bridge *b, enum reply_id id);

#endif
