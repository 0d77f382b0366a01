/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH: what the session is told of it, and the log. */
#include "proxy/bridge_auth_private.h"

void bridge_auth_tell_mechanisms(struct bridge *b, uint32_t mechanisms)
{
    session_feed(&b->session,
                 &(struct session_event){.kind = SESSION_EV_MECHANISMS, .mechanisms = mechanisms});
}

void bridge_auth_answer(struct bridge *b, const struct reply *reply)
{
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_ANSWER, .reply = *reply});
}

void bridge_auth_refuse(struct bridge *b, const struct reply *reply, struct bytes login)
{
    bridge_log_auth_failed(b, reply, login);
    bridge_auth_answer(b, reply);
}

void bridge_auth_refuse_own(struct bridge *b, enum reply_id id)
{
    const struct reply reply = reply_own(id);

    bridge_auth_refuse(b, &reply, bytes_make(NULL, 0));
}

/* Targets were told of somebody who had no login. */
void bridge_auth_accept(struct bridge *b, struct bytes login, const struct reply *reply)
{
    carrier_let_go(&b->carrier);
    session_feed(&b->session, &(struct session_event){
                                  .kind = SESSION_EV_AUTHENTICATED,
                                  .bytes = login.len != 0 ? login : bytes_of(SASL_USER_UNKNOWN),
                                  .reply = *reply});
    if (b->session.client.login.len != 0) /* there was memory for it */
        bridge_log_auth(b);
}
