/* SPDX-License-Identifier: BSD-2-Clause */
/* STARTTLS: what was said before is forgotten, since nobody knows who has said it. */
#include "proxy/smtp/session_private.h"

enum reply_id session_check_starttls(struct session *s)
{
    if (s->peer.tls != NULL)
        return REPLY_TLS_IS_ACTIVE;
    if (s->conf->tls == SESSION_TLS_NONE || (s->conf->announces & CAPABILITY_STARTTLS) == 0)
        return REPLY_NOT_IMPLEMENTED;
    if (s->tx != NULL)
        return REPLY_NOT_IN_MAIL;
    return s->conf->is_tls_busy != NULL && *s->conf->is_tls_busy ? REPLY_TLS_BUSY : REPLY_OK;
}

void session_starttls(struct session *s)
{
    session_say(s, REPLY_START_TLS);
    s->state = SESSION_SECURING;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_STARTTLS,
                                           .dropped = s->counts.early_bytes});
}

void session_expect_tls(struct session *s)
{
    assert(s->state == SESSION_NEW);
    s->peer.begins_with_tls = true;
    s->state = SESSION_SECURING;
}

void session_forget_tls(struct session *s)
{
    mem_free(s->peer.tls);
    s->peer.tls = NULL;
    s->client.tls = NULL;
}

/* What a proxy has said of its client stays: where it stands is not the client's to say. */
void session_on_secured(struct session *s, struct tls_facts *facts)
{
    assert(s->peer.tls == NULL && facts != NULL);
    s->peer.tls = facts;
    s->client.tls = facts;
    s->client.is_secured = true;
    if (s->state != SESSION_SECURING) /* it was closed meanwhile */
        return;
    s->state = s->peer.begins_with_tls ? SESSION_NEW : SESSION_COMMANDS;
    session_forget_helo(s);
    session_forget_login(s);
    s->client.is_esmtp = s->client.is_lmtp = false;
    s->offered = 0;
    session_reset_origin(s);
}
