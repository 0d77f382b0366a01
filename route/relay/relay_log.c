/* SPDX-License-Identifier: BSD-2-Clause */
/* What relays log beside the closing line of a transaction. */
#include "route/relay/relay_log.h"

#include "proxy/base/buf.h"
#include "proxy/base/error.h"
#include "proxy/io/log.h"
#include "route/relay/relay_conf.h"
#include "route/relay/relay_service.h"
#include "route/relay/relay_endpoint.h"
#include "route/relay/relay_identity.h"

#define EVERY_MS 60000 /* one line for many of one kind */

void relay_log_init(struct relay_log *log, const struct relay_service *service,
                    const struct relay_conf *conf)
{
    bool is_member = conf->group.whole != NULL;

    *log = (struct relay_log){.service = service,
                              .target = is_member ? conf->group.whole->section : conf->section,
                              .address = conf->group.address};
}

static struct log_line begin_line(const struct relay_log *log, enum log_level level,
                                  const char *event)
{
    struct log_line line = log_begin(log->service->log, log->service->log_sinks, level, event);

    log_put(&line, "target", log->target);
    return line;
}

/* 0: never. */
static bool is_recent(uint64_t logged_ms, uint64_t now_ms)
{
    return logged_ms != 0 && now_ms - logged_ms < EVERY_MS;
}

/* In a line that is of no connection. */
static void put_own_address(const struct relay_log *log, struct log_line *line)
{
    if (log->address.len != 0)
        log_put(line, "address", log->address);
}

static void put_address(struct log_line *line, const struct stream_target *to)
{
    char text[RELAY_ENDPOINT_TEXT_MAX];
    log_put_text(line, "address", relay_endpoint_text(to, text));
}

/* As it came: no reply has been made of it. */
static void put_garbage(struct log_line *line, struct bytes heard)
{
    while (heard.len > 0 && (heard.at[heard.len - 1] == '\n' || heard.at[heard.len - 1] == '\r'))
        heard.len--;
    log_put_error(line, "error", ERR_GARBAGE);
    log_put(line, "reply", heard);
}

static void put_reply(const struct relay_log *log, struct log_line *line, const struct reply *reply)
{
    struct buf text;

    buf_init(&text, &loop_pools(log->service->loop)->medium, 4 * REPLY_MAX_BYTES);
    reply_put_text(&text, reply);
    log_put(line, "reply", buf_bytes(&text));
    buf_done(&text);
}

/* The words of the target, or why there are none. */
static void put_cause(const struct relay_log *log, struct log_line *line, int error,
                      const struct reply *heard)
{
    if (heard == NULL || heard->wire.len == 0)
        log_put_error(line, "error", error);
    else if (heard->code == 0)
        put_garbage(line, heard->wire);
    else
        put_reply(log, line, heard);
}

/* `of` NULL: it was about no transaction. */
static void put_ids(struct log_line *line, const struct envelope *of)
{
    if (of == NULL)
        return;
    if (of->session.text[0] != '\0')
        log_put_text(line, "session", of->session.text);
    log_put_text(line, "transaction", of->id.text);
}

void relay_log_down(struct relay_log *log, const struct stream_target *to, int error,
                    const struct reply *reply, unsigned left)
{
    struct log_line line = begin_line(log, LOG_LEVEL_ERROR, "target-down");

    put_address(&line, to);
    put_cause(log, &line, error, reply);
    log_put_number(&line, "addresses_left", left);
    log_end(&line);
}

void relay_log_down_unresolved(struct relay_log *log)
{
    struct log_line line = begin_line(log, LOG_LEVEL_ERROR, "target-down");

    put_own_address(log, &line);
    log_put_text(&line, "error", "no address was found");
    log_end(&line);
}

void relay_log_up(struct relay_log *log, const struct stream_target *to, uint64_t seconds)
{
    struct log_line line = begin_line(log, LOG_LEVEL_INFO, "target-up");

    if (to != NULL) {
        put_address(&line, to);
        log_put_number(&line, "seconds", (int64_t)seconds);
    } else {
        put_own_address(log, &line);
    }
    log_end(&line);
}

void relay_log_lost(struct relay_log *log, const struct envelope *of,
                    const struct stream_target *to, int error, const struct reply *heard)
{
    struct log_line line = begin_line(log, LOG_LEVEL_WARNING, "target-lost");

    put_address(&line, to);
    put_cause(log, &line, error, heard);
    put_ids(&line, of);
    log_end(&line);
}

void relay_log_tls(const struct relay_log *log, const struct stream_target *to,
                   const struct tls_facts *facts)
{
    struct log_line line = begin_line(log, LOG_LEVEL_INFO, "target-tls");
    struct buf text;

    put_address(&line, to);
    buf_init(&text, &loop_pools(log->service->loop)->medium, 256);
    tls_facts_put(&text, facts);
    log_put(&line, "tls", buf_bytes(&text));
    buf_done(&text);
    if (facts->subject.len != 0)
        log_put(&line, "tls-subject", facts->subject);
    if (facts->is_resumed)
        log_put_text(&line, "tls-resumed", "yes");
    log_end(&line);
}

void relay_log_tls_failed(const struct relay_log *log, const struct stream_target *to, int error,
                          const char *problem, bool goes_plain)
{
    struct log_line line = begin_line(log, LOG_LEVEL_WARNING, "target-tls-failed");

    put_address(&line, to);
    if (problem != NULL)
        log_put_text(&line, "error", problem);
    else
        log_put_error(&line, "error", error);
    if (goes_plain)
        log_put_text(&line, "fallback", "plain");
    log_end(&line);
}

void relay_log_auth(const struct relay_log *log, const struct stream_target *to,
                    const char *mechanism)
{
    struct log_line line = begin_line(log, LOG_LEVEL_INFO, "target-auth");

    put_address(&line, to);
    log_put_text(&line, "mechanism", mechanism);
    log_end(&line);
}

void relay_log_auth_failed(const struct relay_log *log, const struct stream_target *to,
                           const char *mechanism, int error, const struct reply *heard)
{
    struct log_line line = begin_line(log, LOG_LEVEL_ERROR, "target-auth-failed");

    put_address(&line, to);
    log_put_text(&line, "mechanism", mechanism);
    put_cause(log, &line, error, heard);
    log_end(&line);
}

void relay_log_dropped(const struct relay_log *log, const struct stream_target *to, size_t dropped)
{
    struct log_line line = begin_line(log, LOG_LEVEL_WARNING, "target-tls-dropped");

    put_address(&line, to);
    log_put_number(&line, "dropped", (int64_t)dropped);
    log_end(&line);
}

void relay_log_shortage(struct relay_log *log, const struct envelope *of)
{
    struct log_line line = begin_line(log, LOG_LEVEL_ERROR, "shortage");

    put_own_address(log, &line);
    log_put_error(&line, "error", ERR_MEMORY);
    if (of != NULL)
        put_ids(&line, of);
    log_end(&line);
}

/* Not when it was told lately, nor when many others were. */
static bool may_tell_taken_back(struct relay_log *log, const struct netaddr *net,
                                enum relay_pace_turn turn)
{
    uint64_t now_ms = loop_now_ms(log->service->loop);
    struct relay_taken_back *oldest = &log->taken_back[0];

    for (unsigned i = 0; i < RELAY_TAKEN_BACK_MAX; i++) {
        struct relay_taken_back *at = &log->taken_back[i];
        if (at->turn == turn && netaddr_equal(&at->net, net) && is_recent(at->logged_ms, now_ms))
            return false;
        if (at->logged_ms < oldest->logged_ms)
            oldest = at;
    }
    if (is_recent(oldest->logged_ms, now_ms))
        return false;
    *oldest = (struct relay_taken_back){.net = *net, .turn = turn, .logged_ms = now_ms};
    return true;
}

void relay_log_taken_back(struct relay_log *log, const struct envelope *of,
                          const struct netaddr *client, enum relay_pace_turn turn, uint64_t bytes)
{
    bool is_slow = turn == RELAY_PACE_SLOW || turn == RELAY_PACE_REFUSED_SLOW;
    struct netaddr net = netaddr_client_net(client);
    char text[NETADDR_TEXT_MAX];

    if (!may_tell_taken_back(log, &net, turn))
        return;
    struct log_line line = begin_line(log, LOG_LEVEL_WARNING, "taken-back");
    put_own_address(log, &line);
    log_put_text(&line, "net", netaddr_text(&net, text));
    log_put_text(&line, "reason", is_slow ? "slow" : "over-share");
    if (turn == RELAY_PACE_REFUSED_SLOW || turn == RELAY_PACE_REFUSED_LONG)
        log_put_text(&line, "refused", "yes");
    log_put_number(&line, "bytes", (int64_t)bytes);
    put_ids(&line, of);
    log_end(&line);
}

void relay_log_identity_failed(struct relay_log *log, unsigned kinds, const struct reply *heard)
{
    uint64_t now_ms = loop_now_ms(log->service->loop);
    struct log_line line;

    if (is_recent(log->identity_logged_ms, now_ms))
        return;
    log->identity_logged_ms = now_ms;
    line = begin_line(log, LOG_LEVEL_ERROR, "identity-failure");
    put_own_address(log, &line);
    log_put_text(&line, "identity", relay_identity_text(kinds));
    if (heard != NULL && heard->code != 0)
        put_reply(log, &line, heard);
    else
        log_put_text(&line, "error", "must be used, and is not on offer");
    log_end(&line);
}

void relay_log_no_identity(struct relay_log *log)
{
    struct log_line line;

    if (log->has_logged_no_identity)
        return;
    log->has_logged_no_identity = true;
    line = begin_line(log, LOG_LEVEL_WARNING, "no-identity");
    put_own_address(log, &line);
    log_put_text(&line, "error", "neither XCLIENT nor XFORWARD is announced");
    log_end(&line);
}

void relay_log_confused(struct relay_log *log, const struct stream_target *to,
                        const struct reply *heard)
{
    struct log_line line = begin_line(log, LOG_LEVEL_ERROR, "target-confused");

    put_address(&line, to);
    put_reply(log, &line, heard);
    log_end(&line);
}
