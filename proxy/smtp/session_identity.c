/* SPDX-License-Identifier: BSD-2-Clause */
/* Who the client is: what it says of itself in HELO, and what who is in front says in
 * XCLIENT and XFORWARD. */
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

/* May the peer say that, now? */
static enum reply_id check(const struct session *s, enum capability_keyword command)
{
    if ((s->peer.may & command) == 0)
        return REPLY_NOT_AUTHORIZED;
    return s->tx != NULL ? REPLY_NOT_IN_MAIL : REPLY_OK;
}

static void refuse(struct session *s, enum reply_id id)
{
    if (id == REPLY_NO_MEMORY)
        session_close_with(s, id);
    else
        session_say(s, id);
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
    struct identity who = s->client;
    uint32_t given;
    enum reply_id id = check(s, CAPABILITY_XCLIENT);

    if (id == REPLY_OK)
        id = reply_to(identity_read_xclient(s->command.argument, &s->mail, &who, &given));
    if (id == REPLY_OK && !keep(s, &who))
        id = REPLY_NO_MEMORY;
    if (id != REPLY_OK) {
        refuse(s, id);
        return;
    }
    session_forget_origin(s);
    session_forget_login(s);
    s->offered = 0;
    s->counts.errors = s->counts.junk = s->counts.overshoot = s->counts.overshoot_logged = 0;
    s->state = SESSION_NEW;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_ASSERTED, .attributes = given});
}

/* ---- XFORWARD ---- */

const struct identity *session_origin(const struct session *s)
{
    return s->peer.origin != NULL ? s->peer.origin : &s->client;
}

void session_forget_origin(struct session *s)
{
    mem_free(s->peer.origin);
    s->peer.origin = NULL;
}

void session_reset_origin(struct session *s)
{
    assert(s->tx == NULL);
    if (s->peer.origin == NULL)
        return;
    session_forget_origin(s);
    session_do(s, &(struct session_action){.kind = SESSION_ACT_FORWARDED});
}

/* The first one says all, what it does not say is unknown; later ones add to it. */
void session_xforward(struct session *s)
{
    struct identity who = s->peer.origin != NULL ? *s->peer.origin : identity_unknown();
    struct identity *kept = NULL;
    enum reply_id id = check(s, CAPABILITY_XFORWARD);

    if (id == REPLY_OK)
        id = reply_to(identity_read_xforward(s->command.argument, &s->mail, &who));
    if (id == REPLY_OK && (kept = identity_copy(&who)) == NULL)
        id = REPLY_NO_MEMORY;
    if (id != REPLY_OK) {
        refuse(s, id);
        return;
    }
    session_forget_origin(s);
    s->peer.origin = kept;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_FORWARDED});
    session_say(s, REPLY_OK);
}
