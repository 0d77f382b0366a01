/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH: the client's exchange with who knows its password. */
#include "proxy/bridge_auth_private.h"

static const struct bridge_auth_way *way_of(const struct bridge *b)
{
    return b->smtpd->dovecot != NULL ? &bridge_auth_dovecot : &bridge_auth_target;
}

/* NULL: no memory. */
static struct bridge_auth *auth_of(struct bridge *b)
{
    if (b->auth == NULL)
        b->auth = mem_zalloc(sizeof(*b->auth));
    if (b->auth != NULL)
        b->auth->bridge = b;
    return b->auth;
}

void bridge_auth_offer(struct bridge *b)
{
    struct bridge_auth *auth = auth_of(b);

    if (auth == NULL)
        bridge_auth_tell_mechanisms(b, way_of(b)->mechanisms(b->smtpd));
    else
        way_of(b)->offer(auth);
}

void bridge_auth_step(struct bridge *b)
{
    struct bridge_auth *auth = auth_of(b);

    if (auth == NULL)
        bridge_auth_refuse_own(b, REPLY_AUTH_AWAY);
    else
        way_of(b)->step(auth);
}

void bridge_auth_named(struct bridge *b)
{
    if (b->auth != NULL && way_of(b)->named != NULL)
        way_of(b)->named(b->auth);
}

void bridge_auth_forget(struct bridge *b)
{
    if (b->auth != NULL)
        way_of(b)->forget(b->auth);
    mem_free(b->auth);
    b->auth = NULL;
}
