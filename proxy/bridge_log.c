/* SPDX-License-Identifier: BSD-2-Clause */
/* The log lines of one client; `transaction` says it all. */
#include "proxy/bridge.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/log_fields.h"
#include "proxy/services.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/sasl.h"
#include "spool/store.h"

#define TARGETS_NAMED_MAX 8

static struct log_line begin(const struct bridge *b, enum log_level level, const char *event)
{
    char address[NETADDR_TEXT_MAX];
    struct log_line line = log_begin(b->smtpd->services->log, b->smtpd->log_sinks, level, event);
    log_put_text(&line, "session", b->id.text);
    log_put_text(&line, "client", netaddr_text_with_port(&b->session.client.client, address));
    if (!netaddr_equal(&b->session.peer.address, &b->session.client.client))
        log_put_text(&line, "peer", netaddr_text_with_port(&b->session.peer.address, address));
    return line;
}

/* Who XFORWARD says the mail is from. */
static void put_origin(struct log_line *line, const struct bridge *b)
{
    char address[NETADDR_TEXT_MAX];
    const struct identity *origin = session_origin(&b->session);

    if (origin == &b->session.client)
        return;
    log_put_text(line, "origin", netaddr_text_with_port(&origin->client, address));
    log_put_given(line, "origin-name", origin->name);
    log_put_given(line, "origin-helo", origin->helo);
    log_put(line, "origin-proto", identity_protocol(origin));
    log_put_given(line, "origin-id", origin->reference);
}

static struct pool *pool_of(const struct bridge *b)
{
    return &loop_pools(b->carrier.loop)->medium;
}

static void put_header(struct log_line *line, const struct proxy_header *header)
{
    log_put_text(line, "proxy", header->is_own ? "own" : header->version == 1 ? "v1" : "v2");
    log_put_given(line, "reference", header->unique_id);
    log_put_given(line, "proxy-authority", header->authority);
    log_put_given(line, "proxy-tls", header->tls_version);
    log_put_given(line, "proxy-cn", header->common_name);
}

void bridge_log_connect(struct bridge *b, const struct proxy_header *header)
{
    char address[NETADDR_TEXT_MAX];
    struct log_line line = begin(b, LOG_LEVEL_INFO, "connect");
    log_put(&line, "listener", b->smtpd->conf->section);
    log_put_text(&line, "local", netaddr_text_with_port(&b->session.client.local, address));
    if (header != NULL)
        put_header(&line, header);
    log_end(&line);
}

void bridge_log_no_header(struct bridge *b, int error)
{
    struct log_line line = begin(b, LOG_LEVEL_WARNING, "no-proxy-header");
    log_put(&line, "listener", b->smtpd->conf->section);
    log_put_error(&line, "error", error);
    log_end(&line);
}

void bridge_log_asserted(struct bridge *b)
{
    char address[NETADDR_TEXT_MAX];
    const struct identity *client = &b->session.client;
    struct log_line line = begin(b, LOG_LEVEL_INFO, "asserted");

    log_put_client_name(&line, client);
    log_put_given(&line, "reference", client->reference);
    log_put_text(&line, "local", netaddr_text_with_port(&client->local, address));
    log_put_given(&line, "login", client->login);
    log_end(&line);
}

static void put_tls(struct log_line *line, const struct bridge *b, const struct tls_facts *facts)
{
    struct buf text;

    if (facts == NULL)
        return;
    buf_init(&text, pool_of(b), 256);
    tls_facts_put(&text, facts);
    log_put(line, "tls", buf_bytes(&text));
    buf_done(&text);
    log_put_given(line, "tls-subject", facts->subject);
}

void bridge_log_tls(struct bridge *b, const struct tls_facts *facts)
{
    struct log_line line = begin(b, LOG_LEVEL_INFO, "tls");

    put_tls(&line, b, facts);
    log_put_given(&line, "tls-issuer", facts->issuer);
    log_put_given(&line, "tls-name", facts->server_name);
    if (facts->is_resumed)
        log_put_text(&line, "tls-resumed", "yes");
    if (b->tls.dropped != 0)
        log_put_number(&line, "dropped", (int64_t)b->tls.dropped);
    log_end(&line);
}

void bridge_log_tls_failed(struct bridge *b, int error)
{
    const char *problem = b->stream == NULL ? NULL : stream_tls_problem(b->stream);
    struct log_line line = begin(b, LOG_LEVEL_INFO, "tls-failed");

    if (problem != NULL)
        log_put_text(&line, "error", problem);
    else
        log_put_error(&line, "error", error);
    if (b->tls.dropped != 0)
        log_put_number(&line, "dropped", (int64_t)b->tls.dropped);
    log_end(&line);
}

/* Outside of a transaction a target answers AUTH alone, and may repeat the password: of such a
 * reply the code is logged. */
static void put_reply(struct log_line *line, const struct bridge *b, const struct reply *reply,
                      const struct transaction *of)
{
    char codes[REPLY_CODES_MAX];

    if (of != NULL || reply->by != REPLY_BY_TARGET) {
        log_put_reply(line, pool_of(b), "reply", reply);
        return;
    }
    reply_put_codes(reply, codes);
    log_put_text(line, "reply", codes);
}

static void put_mechanism(struct log_line *line, const struct session *s)
{
    log_put_text(line, "mechanism", sasl_name(s->peer.auth.mechanism));
}

void bridge_log_auth(struct bridge *b)
{
    struct log_line line = begin(b, LOG_LEVEL_INFO, "auth");

    put_mechanism(&line, &b->session);
    log_put(&line, "login", b->session.client.login);
    log_end(&line);
}

void bridge_log_login_lost(struct bridge *b)
{
    struct log_line line = begin(b, LOG_LEVEL_WARNING, "login-lost");

    log_put(&line, "login", b->session.client.login);
    log_put(&line, "target", b->smtpd->login_at->name);
    log_end(&line);
}

void bridge_log_auth_failed(struct bridge *b, const struct reply *reply, struct bytes login)
{
    struct log_line line = begin(b, LOG_LEVEL_INFO, "auth-failed");

    put_mechanism(&line, &b->session);
    log_put_given(&line, "login", login);
    put_reply(&line, b, reply, NULL);
    log_end(&line);
}

/* QUIT is reason enough. */
static void put_why(struct log_line *line, const struct bridge *b)
{
    const struct session_over *over = &b->session.over;

    log_put_reason(line, over->why);
    if (strcmp(over->why, "quit") == 0)
        return;
    log_put_text(line, "after", over->after);
    if (b->error != 0 && b->error != ERR_CLOSED)
        log_put_error(line, "error", b->error);
}

void bridge_log_disconnect(struct bridge *b)
{
    uint64_t now_us = loop_precise_us(b->carrier.loop);
    struct log_line line = begin(b, LOG_LEVEL_INFO, "disconnect");
    log_put_client_name(&line, &b->session.client);
    log_put_number(&line, "transactions", b->session.counts.transactions);
    log_put_number(&line, "messages", b->session.counts.messages);
    if (b->session.counts.overshoot != 0)
        log_put_number(&line, "overshoot", b->session.counts.overshoot);
    log_put_number(&line, "ms", (int64_t)((now_us - b->times.connected) / 1000));
    put_why(&line, b);
    log_end(&line);
}

/* An address as the client wrote it, perhaps not one at all. */
static void put_named(struct log_line *line, const char *key, struct bytes argument)
{
    struct bytes path = text_trim(bytes_skip(argument, bytes_find(argument, ':')));

    if (path.len != 0)
        path = text_trim(bytes_skip(path, 1));
    size_t end = bytes_find(path, '>');
    log_put_given(line, key, bytes_first(path, end < path.len ? end + 1 : end));
}

/* NULL: what the reply says. */
static const char *reason_of(const struct recipient *rcpt)
{
    if (rcpt == NULL || !rcpt->is_guarded)
        return NULL;
    return rcpt->guard == REPLY_RELAYING_DENIED ? "relay-from" : "routed-recipients";
}

void bridge_log_reject(struct bridge *b, const struct session_action *what)
{
    const struct transaction *tx = b->session.tx;
    struct log_line line = begin(b, LOG_LEVEL_INFO, "reject");
    if (tx != NULL)
        log_put_text(&line, "transaction", tx->envelope.id.text);
    log_put_client_name(&line, &b->session.client);
    log_put(&line, "helo", b->session.client.helo);
    put_origin(&line, b);
    if (tx != NULL)
        log_put_address(&line, pool_of(b), "from", &tx->envelope.from);
    else if (what->named.is_sender)
        put_named(&line, "from", what->named.argument);
    if (what->rcpt != NULL)
        log_put_address(&line, pool_of(b), "rcpt", &what->rcpt->original);
    else if (!what->named.is_sender)
        put_named(&line, "rcpt", what->named.argument);
    put_reply(&line, b, &what->reply, tx);
    log_put_refuser(&line, pool_of(b), &what->reply, reason_of(what->rcpt));
    log_end(&line);
}

void bridge_log_copy_failed(struct bridge *b, int error)
{
    struct log_line line = begin(b, LOG_LEVEL_ERROR, "copy-failed");
    if (b->carrier.transaction != NULL)
        log_put_text(&line, "transaction", b->carrier.transaction->envelope.id.text);
    log_put_text(&line, "directory", store_directory(b->smtpd->services->store));
    log_put_error(&line, "error", error);
    log_end(&line);
}

/* The words of the branch's first recipient that has a fate at the end, else after RCPT. */
static const struct reply *reply_of(const struct branch *b)
{
    const struct reply *reply = NULL;
    LIST_EACH (link, &b->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (r->final != FATE_OPEN)
            return &r->reply;
        if (reply == NULL && r->reply.code != 0)
            reply = &r->reply;
    }
    return reply;
}

/* Nothing of a connection that was never made. */
static void put_connection(struct log_line *line, const struct branch *branch)
{
    const struct branch_facts *facts = &branch->facts;

    if (facts->address.len == 0) {
        log_put_given(line, "address", target_own_address(branch->target));
        return;
    }
    log_put(line, "address", facts->address);
    if (!branch->can_prepare)
        log_put_text(line, "connection", facts->is_reused ? "reused" : "new");
    log_put_given(line, "identity", facts->identity);
}

static void put_target(const struct bridge *b, struct log_line *line, const struct branch *branch)
{
    const struct branch_facts *facts = &branch->facts;
    const struct reply *reply = reply_of(branch);

    log_put(line, "target", target_section(branch->target));
    put_connection(line, branch);
    log_put_given(line, "target-tls", facts->tls);
    if (facts->is_replayed)
        log_put_text(line, "replayed", "yes");
    if (facts->may_be_duplicate)
        log_put_text(line, "duplicate", "possible");
    if (reply != NULL)
        log_put_reply(line, pool_of(b), "reply", reply);
    log_put_given(line, "error", facts->error);
}

/* A target that could not be reached has a branch for each recipient: one stands for all. */
static bool stands_for(const struct branch *named, const struct branch *branch)
{
    if (named->target != branch->target || named->facts.address.len != 0 ||
        branch->facts.address.len != 0)
        return false;
    const struct reply *words = reply_of(named), *others = reply_of(branch);
    return words != NULL && others != NULL && bytes_equal(words->wire, others->wire);
}

static void put_targets(const struct bridge *b, struct log_line *line, const struct transaction *tx)
{
    const struct branch *last = NULL;
    unsigned named = 0;

    LIST_EACH (link, &tx->branches) {
        const struct branch *branch = LIST_ENTRY(link, struct branch, in_transaction);
        bool is_reopened = branch->is_stale && branch->destination->branch != branch;
        if (is_reopened || (last != NULL && stands_for(last, branch)) ||
            named++ >= TARGETS_NAMED_MAX)
            continue;
        last = branch;
        log_open_part(line, "targets");
        put_target(b, line, branch);
        log_close_part(line);
    }
    log_close_parts(line);
}

static int64_t ms_between(uint64_t from_us, uint64_t to_us)
{
    return from_us == 0 || to_us < from_us ? 0 : (int64_t)((to_us - from_us) / 1000);
}

/* What the spool has taken over: to be delivered, to be bounced, to be held. */
static void put_spooled(struct log_line *line, const struct transaction *tx)
{
    unsigned spooled = 0, bounced = 0, held = 0;

    if (!reply_is_positive(&tx->outcome))
        return;
    LIST_EACH (link, &tx->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        enum outcome_disposition disposition = outcome_disposition(tx, r);
        spooled += disposition == OUTCOME_SPOOL;
        bounced += disposition == OUTCOME_BOUNCE;
        held += disposition == OUTCOME_HOLD;
    }
    if (spooled + bounced != 0) {
        log_put_number(line, "spooled", spooled);
        log_put_number(line, "bounced", bounced);
    }
    if (held != 0)
        log_put_number(line, "quarantined", held);
}

static bool may_be_duplicate(const struct transaction *tx)
{
    LIST_EACH (link, &tx->branches)
        if (LIST_ENTRY(link, struct branch, in_transaction)->facts.may_be_duplicate)
            return true;
    return false;
}

static void put_filters(const struct bridge *b, struct log_line *line)
{
    struct buf words;
    buf_init(&words, pool_of(b), 4096);
    bridge_filter_put_words(b, &words);
    if (buf_length(&words) != 0)
        log_put_list(line, "filters", buf_bytes(&words));
    buf_done(&words);
}

/* A client that begins anew goes on; else the session ends with the transaction. */
static void put_abandoned(struct log_line *line, const struct bridge *b)
{
    log_put_text(line, "outcome", "abandoned");
    if (b->session.over.why != NULL)
        put_why(line, b);
    else
        log_put_reason(line, b->session.end.why);
}

static struct log_line begin_recipients(const void *owner)
{
    const struct bridge *b = owner;
    struct log_line line = begin(b, LOG_LEVEL_INFO, "recipients");

    log_put_text(&line, "transaction", b->carrier.transaction->envelope.id.text);
    return line;
}

void bridge_log_transaction(struct bridge *b)
{
    const struct transaction *tx = b->carrier.transaction;
    uint64_t now_us = loop_precise_us(b->carrier.loop);
    struct log_line line = begin(b, LOG_LEVEL_INFO, "transaction");

    log_put_text(&line, "transaction", tx->envelope.id.text);
    log_put_client_name(&line, &b->session.client);
    log_put(&line, "helo", b->session.client.helo);
    log_put_text(&line, "proto", identity_greeted(&b->session.client));
    put_tls(&line, b, b->session.peer.tls);
    log_put_given(&line, "login", b->session.client.login);
    if (b->session.client.mechanism != 0)
        log_put_text(&line, "auth", sasl_name(b->session.client.mechanism));
    put_origin(&line, b);
    log_put_address(&line, pool_of(b), "from", &tx->envelope.from);
    bool are_all_named = log_put_recipients(&line, pool_of(b), tx);
    if (b->times.data != 0)
        log_put_given(&line, "message-id", session_message_id(&b->session));
    put_targets(b, &line, tx);
    log_put_number(&line, "bytes",
                   b->times.data == 0 ? 0 : (int64_t)b->session.counts.content_bytes);
    put_filters(b, &line);
    if (tx->outcome.code != 0)
        log_put_reply(&line, pool_of(b), "outcome", &tx->outcome);
    else
        put_abandoned(&line, b);
    if (tx->outcome.code >= 400)
        log_put_refuser(&line, pool_of(b), &tx->outcome, NULL);
    put_spooled(&line, tx);
    b->smtpd->duplicates += may_be_duplicate(tx);
    log_put_number(&line, "envelope_ms", ms_between(b->times.begun, b->times.data));
    log_put_number(&line, "content_ms", ms_between(b->times.data, b->times.ended));
    log_put_number(&line, "final_ms", ms_between(b->times.ended, now_us));
    log_end(&line);
    if (!are_all_named || log_goes_several_ways(tx))
        log_recipients(tx, pool_of(b), begin_recipients, b);
}
