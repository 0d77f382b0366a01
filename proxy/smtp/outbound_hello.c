/* SPDX-License-Identifier: BSD-2-Clause */
/* How a connection is opened: PROXY header, greeting, EHLO or HELO, and XCLIENT, behind which the
 * target starts anew. */
#include "proxy/smtp/outbound_private.h"

#define HELO_MAX 255

/* One word of printable ASCII: what a client says in EHLO may be anything. */
static bool can_be_said(struct bytes helo)
{
    for (size_t i = 0; i < helo.len; i++)
        if (helo.at[i] < 33 || helo.at[i] > 126)
            return false;
    return helo.len > 0 && helo.len <= HELO_MAX;
}

/* ---- what we say ---- */

void outbound_start(struct outbound *o, unsigned proxy_version, const struct identity *client,
                    const struct identity *own, struct bytes helo)
{
    assert(o->state == OUT_GREETING && buf_length(&o->out) == 0);
    if (proxy_version == 1)
        identity_put_proxy_v1(&o->out, identity_has_both_ends(client) ? client : own);
    else if (proxy_version == 2)
        identity_put_proxy_v2(&o->out, client);
    o->is_impersonated = proxy_version != 0 && client != NULL;
    o->helo = can_be_said(helo) ? helo : bytes_of("localhost");
    outbound_hello_enter(o, OUT_GREETING);
}

static void say_helo(struct outbound *o, const char *verb)
{
    buf_text(&o->out, verb);
    buf_put(&o->out, o->helo);
    buf_text(&o->out, "\r\n");
}

/* Alone in its write: Postfix hangs up on what is pipelined behind it. */
static void say_xclient(struct outbound *o)
{
    if (!capability_has(&o->caps, CAPABILITY_XCLIENT) || (o->caps.xclient & ATTRIBUTE_ADDR) == 0) {
        outbound_go_away_later(o, GONE_IDENTITY);
        return;
    }
    o->is_impersonated = true;
    o->is_xclient_sent = true;
    if (can_be_said(o->job.client->helo))
        o->helo = o->job.client->helo; /* what the target shall judge */
    identity_put_xclient(&o->out, o->job.client, o->caps.xclient, o->job.form);
}

void outbound_hello_enter(struct outbound *o, enum outbound_state next)
{
    o->state = next;
    switch (next) {
    case OUT_EHLO:
        say_helo(o, "EHLO ");
        break;
    case OUT_HELO:
        say_helo(o, "HELO ");
        break;
    case OUT_XCLIENT:
        say_xclient(o);
        break;
    case OUT_GREETING:
    case OUT_IDLE:
    case OUT_ENVELOPE:
    case OUT_CONTENT:
    case OUT_FINAL:
    case OUT_DRAINING:
    case OUT_QUITTING:
    case OUT_GONE:
        break;
    }
}

/* ---- where a reply leads ---- */

/* The target keeps the connection until it hears QUIT. */
static bool refused(struct outbound *o, enum outbound_gone why, const struct reply *r,
                    struct outbound_event *ev)
{
    bool has_eof = o->due.has_eof;

    outbound_go_away(o, why, r, ev);
    ev->kind = OUTBOUND_REFUSED;
    o->due.has_eof = has_eof;
    o->state = OUT_QUITTING;
    buf_text(&o->out, "QUIT\r\n");
    return true;
}

/* Caps are known: ready for the first transaction, or for the one that asked for XCLIENT. */
static bool greeted(struct outbound *o, struct capability caps, struct outbound_event *ev)
{
    o->caps = caps;
    if (o->has_job) {
        outbound_say_envelope(o);
        return false;
    }
    o->state = OUT_IDLE;
    ev->kind = OUTBOUND_READY;
    return true;
}

/* On a connection that carries the client's identity a refusal is the target's word on
 * this client, but for a 421 without a policy code: that is an outage. */
static bool is_verdict(const struct outbound *o, const struct reply *r)
{
    bool is_outage = r->code == 421 && !outbound_is_policy(r);

    return r->code == 521 || (o->is_impersonated && !is_outage);
}

static bool on_greeting(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    if (reply_is_positive(r)) {
        outbound_hello_enter(o, OUT_EHLO);
        return false;
    }
    return refused(o, is_verdict(o, r) ? GONE_VERDICT : GONE_REFUSED, r, ev);
}

/* EHLO, and HELO after it. On a connection that carries the client's identity its own name was
 * refused, and no other address of the target will think better of it. */
static bool on_hello(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    if (reply_is_positive(r)) {
        struct capability none = {.keywords = 0};

        return greeted(o, o->state == OUT_EHLO ? capability_parse(r) : none, ev);
    }
    if (o->state == OUT_EHLO && outbound_class(r) == 5 && r->code != 521) {
        outbound_hello_enter(o, OUT_HELO);
        return false;
    }
    return refused(o, is_verdict(o, r) ? GONE_VERDICT : GONE_REFUSED, r, ev);
}

/* The target's configuration, or its verdict on the client? */
static bool is_identity_failure(const struct reply *r)
{
    switch (r->code) {
    case 500:
    case 501:
    case 502:
    case 503:
        return true;
    case 550:
        return r->enhanced[0] == 0 ||
               (r->enhanced[0] == 5 && r->enhanced[1] == 7 && r->enhanced[2] == 0);
    }
    return false;
}

static bool on_xclient(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    if (reply_is_positive(r)) {
        outbound_hello_enter(o, OUT_EHLO);
        return false;
    }
    if (is_identity_failure(r))
        return refused(o, GONE_IDENTITY, r, ev);
    return refused(o, is_verdict(o, r) ? GONE_VERDICT : GONE_LOST, r, ev);
}

bool outbound_hello_reply(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    if (outbound_class(r) == 3)
        return outbound_go_away(o, GONE_LOST, r, ev);
    switch (o->state) {
    case OUT_GREETING:
        return on_greeting(o, r, ev);
    case OUT_EHLO:
    case OUT_HELO:
        return on_hello(o, r, ev);
    case OUT_XCLIENT:
        return on_xclient(o, r, ev);
    case OUT_IDLE:
    case OUT_ENVELOPE:
    case OUT_CONTENT:
    case OUT_FINAL:
    case OUT_DRAINING:
    case OUT_QUITTING:
    case OUT_GONE:
        break;
    }
    return false;
}
