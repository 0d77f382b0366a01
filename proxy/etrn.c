/* SPDX-License-Identifier: BSD-2-Clause */
/* ETRN (RFC 1985): asks the queue, and says what it answers. */
#include "proxy/etrn.h"

#include "proxy/bridge.h"
#include "proxy/queue.h"
#include "proxy/services.h"

#define NODE_SHOWN_MAX 255 /* octets of the node in a reply */
#define REPLY_MAX      512

struct etrn {
    struct bridge *bridge;
    struct queue_question question;
    struct etrn_node node;
    struct bytes argument; /* as the client said it; node.name points into it, and it lies after
                              this struct */
};

static void log_asked(const struct bridge *b, struct bytes argument, uint16_t code, uint64_t count)
{
    char address[NETADDR_TEXT_MAX];
    struct log_line line =
        log_begin(b->smtpd->services->log, b->smtpd->log_sinks, LOG_LEVEL_INFO, "etrn");

    log_put_text(&line, "session", b->id.text);
    log_put_text(&line, "client", netaddr_text_with_port(&b->session.client.client, address));
    log_put(&line, "node", argument);
    log_put_number(&line, "reply", code);
    log_put_number(&line, "messages", (int64_t)count);
    log_end(&line);
}

/* `b` may be gone after this, where nothing is being drained. */
static void answer(struct bridge *b, const struct etrn *e, const struct reply *reply,
                   uint64_t count)
{
    log_asked(b, e->argument, reply->code, count);
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_ANSWER, .reply = *reply});
    carrier_drain(&b->carrier);
}

static void refuse(struct bridge *b, const struct etrn *e, enum reply_id id)
{
    struct reply reply = reply_own(id);
    answer(b, e, &reply, 0);
}

/* RFC 1985 5.3. */
static void tell_count(struct bridge *b, const struct etrn *e, uint64_t count)
{
    struct reply reply = {.code = count != 0 ? 253 : 251};
    struct buf text;

    buf_init(&text, &loop_pools(b->smtpd->services->loop)->medium, REPLY_MAX);
    buf_decimal(&text, reply.code);
    buf_text(&text, " 2.0.0 OK, ");
    if (count != 0)
        buf_decimal(&text, count);
    buf_text(&text, count != 0 ? " pending messages" : "no messages waiting");
    buf_text(&text, " for node ");
    buf_put(&text, bytes_first(e->argument, NODE_SHOWN_MAX));
    buf_text(&text, count != 0 ? " started\r\n" : "\r\n");
    reply.wire = buf_bytes(&text);
    if (text.has_failed)
        refuse(b, e, REPLY_LOCAL_PROBLEM);
    else
        answer(b, e, &reply, count);
    buf_done(&text);
}

static void on_answer(struct queue_question *question, bool known, uint64_t count)
{
    struct etrn *e = CONTAINER_OF(question, struct etrn, question);
    struct bridge *b = e->bridge;

    b->etrn = NULL;
    if (known)
        tell_count(b, e, count);
    else
        refuse(b, e, REPLY_ETRN_FAILED);
    mem_free(e);
}

static enum runner_selector selector_of(enum command_etrn_form form)
{
    switch (form) {
    case COMMAND_ETRN_SUBDOMAINS:
        return RUNNER_SUBDOMAINS;
    case COMMAND_ETRN_TARGET:
        return RUNNER_TARGET;
    case COMMAND_ETRN_DOMAIN:
        break;
    }
    return RUNNER_DOMAIN;
}

static bool is_routed(const void *owner, struct bytes domain)
{
    return route_set_knows_domain(owner, domain);
}

/* Strangers must not learn which sections the configuration has. Asked only when the client may ask
 * for this target. */
static bool is_there(const struct smtpd *d, const struct etrn_node *node)
{
    return node->form != COMMAND_ETRN_TARGET ||
           targets_find(&d->services->targets, node->name) != NULL;
}

/* Who may start a group may start each of its members. */
static struct etrn_node entitling(const struct smtpd *d, const struct etrn_node *node)
{
    const struct target *target =
        node->form == COMMAND_ETRN_TARGET ? targets_find(&d->services->targets, node->name) : NULL;
    struct etrn_node named = *node;

    if (target != NULL)
        named.name = target_section(target);
    return named;
}

static struct etrn *new_question(struct bridge *b, struct bytes argument)
{
    struct etrn *e = mem_zalloc(sizeof(*e) + argument.len);

    if (e == NULL)
        return NULL;
    memcpy(e + 1, argument.at, argument.len);
    e->bridge = b;
    e->argument = bytes_make(e + 1, argument.len);
    (void)command_etrn(e->argument, &e->node.form, &e->node.name); /* the session has seen it */
    e->question = (struct queue_question){
        .which = {.by = selector_of(e->node.form), .text = e->node.name},
        .done = on_answer,
    };
    return e;
}

void etrn_ask(struct bridge *b, struct bytes argument)
{
    const struct smtpd *d = b->smtpd;
    struct etrn *e = new_question(b, argument);

    if (e == NULL) {
        refuse(b, &(struct etrn){.argument = argument}, REPLY_ETRN_FAILED);
        return;
    }
    struct etrn_node named = entitling(d, &e->node);
    bool may_ask = etrn_is_entitled(&d->conf->etrn_from, &b->session.client.client, &named,
                                    is_routed, d->routes);
    if (may_ask && is_there(d, &e->node)) {
        b->etrn = e;
        queue_ask(d->services->queue, &e->question);
        return;
    }
    refuse(b, e, may_ask ? REPLY_ETRN_FAILED : REPLY_ETRN_DENIED);
    mem_free(e);
}

void etrn_forget(struct bridge *b)
{
    if (b->etrn == NULL)
        return;
    queue_forget(b->smtpd->services->queue, &b->etrn->question);
    mem_free(b->etrn);
    b->etrn = NULL;
}
