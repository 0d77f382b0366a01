/* SPDX-License-Identifier: BSD-2-Clause */
/* Who the client is: what it says of itself in HELO, and what who is in front says in XCLIENT. */
#include "proxy/base/error.h"
#include "proxy/smtp/session_private.h"

void session_forget_helo(struct session *s)
{
    union {
        const uint8_t *kept;
        void *block;
    } helo = {.kept = s->client.helo.at}; /* not const: session_keep_helo() allocated it */
    mem_free(helo.block);
    s->client.helo = bytes_make(NULL, 0);
}

bool session_keep_helo(struct session *s, struct bytes helo)
{
    uint8_t *kept = helo.len == 0 ? NULL : mem_alloc(helo.len);

    if (kept == NULL && helo.len != 0)
        return false;
    if (kept != NULL)
        memcpy(kept, helo.at, helo.len);
    session_forget_helo(s);
    s->client.helo = bytes_make(kept, helo.len);
    return true;
}

/* ---- XCLIENT ---- */

static enum reply_id reply_to(int error)
{
    switch (error) {
    case 0:
        return REPLY_OK;
    case ERR_MEMORY:
        return REPLY_NO_MEMORY;
    case ERR_RANGE:
        return REPLY_TOO_MANY_PROXIES;
    }
    return REPLY_ATTRIBUTE_SYNTAX;
}

/* The client as the command says it is. */
static enum reply_id read_xclient(struct session *s, struct identity *who, uint16_t *given_out)
{
    if ((s->peer.may & CAPABILITY_XCLIENT) == 0)
        return REPLY_NOT_AUTHORIZED;
    if (s->tx != NULL)
        return REPLY_NOT_IN_MAIL;
    *who = s->client;
    return reply_to(identity_read_xclient(s->command.argument, &s->mail, who, given_out));
}

void session_forget_asserted(struct session *s)
{
    mem_free(s->peer.asserted);
    s->peer.asserted = NULL;
}

/* False: no memory, and nothing has changed. */
static bool keep(struct session *s, const struct identity *who)
{
    struct identity *kept = identity_copy(who);

    if (kept == NULL || !session_keep_helo(s, who->helo)) {
        mem_free(kept);
        return false;
    }
    session_forget_asserted(s);
    s->peer.asserted = kept;
    struct bytes helo = s->client.helo;
    s->client = *kept;
    s->client.helo = helo;
    return true;
}

/* What the old client has said and done is forgotten. */
void session_xclient(struct session *s)
{
    struct identity who;
    uint16_t given;
    enum reply_id id = read_xclient(s, &who, &given);

    if (id == REPLY_OK && !keep(s, &who))
        id = REPLY_NO_MEMORY;
    if (id == REPLY_NO_MEMORY) {
        session_close_with(s, id);
        return;
    }
    if (id != REPLY_OK) {
        session_say(s, id);
        return;
    }
    s->offered = 0;
    s->counts.errors = s->counts.junk = s->counts.overshoot = s->counts.overshoot_logged = 0;
    s->state = SESSION_NEW;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_ASSERTED, .attributes = given});
}
