/* SPDX-License-Identifier: BSD-2-Clause */
/* How a connection is opened: PROXY header, greeting, EHLO, LHLO or HELO, STARTTLS and XCLIENT,
 * after each of which EHLO is said again; AUTH, when all is known that EHLO says; and the AUTH of a
 * client whose connection it is. */
#include "proxy/base/error.h"
#include "proxy/smtp/outbound_private.h"

#define HELO_MAX 255

/* Is it one word of printable ASCII? A client may say anything in EHLO. */
static bool can_be_said(struct bytes helo)
{
    for (size_t i = 0; i < helo.len; i++)
        if (helo.at[i] < 33 || helo.at[i] > 126)
            return false;
    return helo.len > 0 && helo.len <= HELO_MAX;
}

/* ---- what we say ---- */

void outbound_start(struct outbound *o, unsigned proxy_version, const struct identity *client,
                    const struct identity *own, struct bytes session, struct bytes helo)
{
    assert(o->state == OUT_GREETING && buf_length(&o->out) == 0);
    if (proxy_version == 1)
        identity_put_proxy_v1(&o->out, client != NULL ? client : own);
    else if (proxy_version == 2)
        identity_put_proxy_v2(&o->out, client, session);
    o->is_impersonated = proxy_version != 0 && client != NULL;
    o->hello.helo = can_be_said(helo) ? helo : bytes_of("localhost");
    outbound_hello_enter(o, OUT_GREETING);
}

static void say_helo(struct outbound *o, const char *verb)
{
    buf_text(&o->out, verb);
    buf_put(&o->out, o->hello.helo);
    buf_text(&o->out, "\r\n");
}

/* Alone in its write: Postfix hangs up where a command is pipelined behind XCLIENT. */
static void say_xclient(struct outbound *o)
{
    if (!capability_has(&o->caps, CAPABILITY_XCLIENT) || (o->caps.xclient & ATTRIBUTE_ADDR) == 0) {
        outbound_go_away_later(o, GONE_IDENTITY);
        return;
    }
    o->is_impersonated = true;
    o->is_xclient_sent = true;
    if (can_be_said(o->job.client->helo))
        o->hello.helo = o->job.client->helo; /* the name that the target shall judge */
    identity_put_xclient(&o->out, o->job.client,
                         &(struct identity_way){.attributes = o->caps.xclient,
                                                .form = o->job.form,
                                                .patience_s = o->job.patience_s});
}

void outbound_hello_enter(struct outbound *o, enum outbound_state next)
{
    o->state = next;
    switch (next) {
    case OUT_EHLO:
        say_helo(o, o->conf->is_lmtp ? "LHLO " : "EHLO ");
        break;
    case OUT_HELO:
        say_helo(o, "HELO ");
        break;
    case OUT_STARTTLS:
        buf_text(&o->out, "STARTTLS\r\n");
        break;
    case OUT_XCLIENT:
        say_xclient(o);
        break;
    case OUT_GREETING:
    case OUT_SECURING:
    case OUT_PROVING:
    case OUT_AUTH:
    case OUT_IDLE:
    case OUT_ENVELOPE:
    case OUT_CONTENT:
    case OUT_FINAL:
    case OUT_LOGIN:
    case OUT_LOGIN_LINE:
    case OUT_DRAINING:
    case OUT_QUITTING:
    case OUT_GONE:
        break;
    }
}

/* ---- where a reply leads ---- */

/* The target keeps the connection open until it gets QUIT. */
static bool refused(struct outbound *o, enum outbound_gone why, const struct reply *reply,
                    struct outbound_event *ev)
{
    bool has_eof = o->due.has_eof;
    bool is_asked = o->state == OUT_PROVING && o->hello.is_asked;

    outbound_go_away(o, why, reply, ev);
    ev->kind = OUTBOUND_REFUSED;
    o->due.has_eof = has_eof;
    o->state = OUT_QUITTING;
    buf_text(&o->out, is_asked ? "*\r\nQUIT\r\n" : "QUIT\r\n"); /* RFC 4954 4: "*" ends AUTH */
    return true;
}

/* The same, for a reason of ours. */
static bool refused_for(struct outbound *o, int error, struct outbound_event *ev)
{
    refused(o, GONE_REFUSED, NULL, ev);
    ev->error = error;
    return true;
}

/* `challenge`: what the target says to AUTH; NULL: it is still to begin. */
static bool ask_for_proof(struct outbound *o, const struct reply *challenge,
                          struct outbound_event *ev)
{
    ev->kind = OUTBOUND_AUTH;
    if (challenge != NULL)
        ev->reply = *challenge;
    o->hello.is_asked = challenge != NULL;
    o->state = OUT_PROVING;
    return true;
}

/* `caps` are known: AUTH, READY, or on with the transaction that asked for XCLIENT, which comes
 * after AUTH: then the target judges the client. */
static bool greeted(struct outbound *o, struct capability caps, struct outbound_event *ev)
{
    o->caps = caps;
    if (o->conf->authenticates && !o->hello.is_authenticated)
        return ask_for_proof(o, NULL, ev);
    if (o->has_job) {
        outbound_say_envelope(o);
        return false;
    }
    o->state = OUT_IDLE;
    ev->kind = OUTBOUND_READY;
    return true;
}

/* On a connection that carries the client's identity a refusal is the target's verdict on this
 * client, except a 421 without a policy code, which is an outage. */
static bool is_verdict(const struct outbound *o, const struct reply *reply)
{
    bool is_outage = reply->code == 421 && !outbound_is_policy(reply);

    return reply->code == 521 || (o->is_impersonated && !is_outage);
}

/* ---- TLS ---- */

static bool wants_tls(const struct outbound *o)
{
    return o->conf->tls != OUTBOUND_TLS_NONE && !o->hello.is_secured && !o->hello.avoids_tls;
}

/* What came behind a 220 was said by nobody knows whom. */
static bool on_starttls(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    if (reply_is_positive(reply)) {
        ev->kind = OUTBOUND_SECURE;
        ev->dropped = buf_length(&o->unread);
        buf_reset(&o->unread);
        o->state = OUT_SECURING;
        return true;
    }
    if (o->conf->tls == OUTBOUND_TLS_REQUIRED || reply->code == 421 || reply->code == 521)
        return refused(o, reply->code == 521 ? GONE_VERDICT : GONE_REFUSED, reply, ev);
    o->hello.avoids_tls = true;
    return greeted(o, o->caps, ev);
}

void outbound_secured(struct outbound *o)
{
    assert(o->state == OUT_SECURING && buf_length(&o->out) == 0);
    o->hello.is_secured = true;
    outbound_hello_enter(o, OUT_EHLO);
}

/* ---- AUTH ---- */

void outbound_drop_out(struct outbound *o)
{
    if (outbound_says_secret(o))
        buf_wipe(&o->out);
    buf_done(&o->out);
}

void outbound_auth(struct outbound *o, struct bytes line, enum outbound_auth_step step)
{
    assert(o->state == OUT_PROVING && buf_length(&o->out) == 0);
    buf_put(&o->out, line);
    o->hello.is_proof = step == OUTBOUND_AUTH_PROOF;
    o->state = OUT_AUTH;
}

void outbound_auth_failed(struct outbound *o, int error)
{
    assert(o->state == OUT_PROVING && error != 0);
    o->due.auth_error = error;
}

/* What fails is our credentials, so the client is not told, and another address may take them. */
static bool on_auth(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    if (buf_length(&o->out) != 0) /* it answers what was not said */
        return outbound_go_away(o, GONE_LOST, reply, ev);
    if (outbound_class(reply) == 3)
        return ask_for_proof(o, reply, ev);
    if (!reply_is_positive(reply))
        return refused(o, GONE_REFUSED, reply, ev);
    if (!o->hello.is_proof)
        return refused_for(o, ERR_AUTH_PROOF, ev);
    o->hello.is_authenticated = true;
    return greeted(o, o->caps, ev);
}

bool outbound_hello_fail(struct outbound *o, struct outbound_event *ev)
{
    return refused_for(o, o->due.auth_error, ev);
}

/* ---- a client's AUTH ---- */

bool outbound_introduce(struct outbound *o, const struct outbound_job *job)
{
    assert(o->state == OUT_IDLE && !o->has_job);
    if (!job->sends_xclient || o->is_xclient_sent)
        return false;
    o->job = *job;
    outbound_hello_enter(o, OUT_XCLIENT);
    return true;
}

void outbound_login(struct outbound *o, struct bytes line)
{
    assert((o->state == OUT_IDLE || o->state == OUT_LOGIN_LINE) && buf_length(&o->out) == 0);
    buf_put(&o->out, line);
    o->state = OUT_LOGIN;
}

/* RFC 4954 4 and 6: 334 asks for more, and nothing but 235 says that the client is known. */
static bool on_login(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    bool is_farewell = reply->code == 421 || reply->code == 521;
    bool is_answer = reply->code == 235 || reply->code == 334 || reply->code >= 400;

    if (buf_length(&o->out) != 0 || is_farewell || !is_answer)
        return outbound_go_away(o, GONE_LOST, reply, ev);
    o->state = reply->code == 334 ? OUT_LOGIN_LINE : OUT_IDLE;
    ev->kind = OUTBOUND_LOGIN;
    ev->reply = *reply;
    return true;
}

/* ---- the other replies ---- */

static bool on_greeting(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    if (reply_is_positive(reply)) {
        outbound_hello_enter(o, OUT_EHLO);
        return false;
    }
    return refused(o, is_verdict(o, reply) ? GONE_VERDICT : GONE_REFUSED, reply, ev);
}

/* On a connection that carries the client's identity EHLO says the client's own name. Where the
 * target refuses that, its other addresses will, too. */
static bool on_hello(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    if (reply_is_positive(reply)) {
        struct capability caps = {.keywords = 0};

        if (o->state == OUT_EHLO)
            caps = capability_parse(reply);
        if (!o->hello.is_secured || !o->conf->verifies_tls) /* RFC 8689 4.2.1 */
            caps.keywords &= ~(uint32_t)CAPABILITY_REQUIRETLS;
        if (wants_tls(o) && capability_has(&caps, CAPABILITY_STARTTLS)) {
            o->caps = caps; /* where it is refused */
            outbound_hello_enter(o, OUT_STARTTLS);
            return false;
        }
        if (wants_tls(o) && o->conf->tls == OUTBOUND_TLS_REQUIRED)
            return refused_for(o, ERR_NO_TLS, ev);
        return greeted(o, caps, ev);
    }
    if (o->state == OUT_EHLO && outbound_class(reply) == 5 && reply->code != 521 &&
        !o->conf->is_lmtp) {
        outbound_hello_enter(o, OUT_HELO);
        return false;
    }
    return refused(o, is_verdict(o, reply) ? GONE_VERDICT : GONE_REFUSED, reply, ev);
}

/* True: the target's configuration refuses XCLIENT; false: the target refuses the client. */
static bool is_identity_failure(const struct reply *reply)
{
    switch (reply->code) {
    case 500:
    case 501:
    case 502:
    case 503:
        return true;
    case 550:
        return reply->enhanced[0] == 0 ||
               (reply->enhanced[0] == 5 && reply->enhanced[1] == 7 && reply->enhanced[2] == 0);
    }
    return false;
}

static bool on_xclient(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    if (reply_is_positive(reply)) {
        outbound_hello_enter(o, OUT_EHLO);
        return false;
    }
    if (is_identity_failure(reply))
        return refused(o, GONE_IDENTITY, reply, ev);
    return refused(o, is_verdict(o, reply) ? GONE_VERDICT : GONE_LOST, reply, ev);
}

bool outbound_hello_reply(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    if (outbound_class(reply) == 3 && o->state != OUT_AUTH && o->state != OUT_LOGIN)
        return outbound_go_away(o, GONE_LOST, reply, ev);
    switch (o->state) {
    case OUT_GREETING:
        return on_greeting(o, reply, ev);
    case OUT_EHLO:
    case OUT_HELO:
        return on_hello(o, reply, ev);
    case OUT_STARTTLS:
        return on_starttls(o, reply, ev);
    case OUT_XCLIENT:
        return on_xclient(o, reply, ev);
    case OUT_AUTH:
        return on_auth(o, reply, ev);
    case OUT_LOGIN:
        return on_login(o, reply, ev);
    case OUT_PROVING:
    case OUT_SECURING:
    case OUT_LOGIN_LINE:
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
