/* SPDX-License-Identifier: BSD-2-Clause */
/* What relays log beside the closing line of a transaction. */
#ifndef POSTERN_RELAY_LOG_H
#define POSTERN_RELAY_LOG_H

#include "proxy/io/stream.h"
#include "proxy/smtp/envelope.h"
#include "proxy/smtp/reply.h"
#include "route/relay/relay_pace.h"

struct relay_conf;
struct relay_service;

#define RELAY_TAKEN_BACK_MAX 16

/* Whose connections were taken back lately, for one line each. */
struct relay_taken_back {
    struct netaddr net;
    enum relay_pace_turn turn;
    uint64_t logged_ms; /* 0: never */
};

/* Of one relay. */
struct relay_log {
    const struct relay_service *service;
    struct bytes target;
    struct bytes address; /* of one address of a relay with balance = hash: as configured */
    struct relay_taken_back taken_back[RELAY_TAKEN_BACK_MAX];
    uint64_t identity_logged_ms; /* 0: never */
    bool has_logged_no_identity; /* once is enough */
};

void relay_log_init(struct relay_log *log, const struct relay_service *service,
                    const struct relay_conf *conf);

/* target-down; so many addresses are `left` that are not. `reply`: a greeting that was no 220, or
 * no reply at all (code 0); NULL: `error` says why. */
void relay_log_down(struct relay_log *log, const struct stream_target *to, int error,
                    const struct reply *reply, unsigned left);
void relay_log_down_unresolved(struct relay_log *log);
/* target-up; `to` NULL: its name leads somewhere again. */
void relay_log_up(struct relay_log *log, const struct stream_target *to, uint64_t seconds);
/* The connection under a transaction, or a client's AUTH (`of` NULL), is gone. `heard`: what the
 * target said last, as above; NULL or empty: `error` says why. */
void relay_log_lost(struct relay_log *log, const struct envelope *of,
                    const struct stream_target *to, int error, const struct reply *heard);
/* A connection is encrypted. */
void relay_log_tls(const struct relay_log *log, const struct stream_target *to,
                   const struct tls_facts *facts);
/* The handshake failed; `problem` says why, or where that is NULL `error`. */
void relay_log_tls_failed(const struct relay_log *log, const struct stream_target *to, int error,
                          const char *problem, bool goes_plain);
/* The target has taken our credentials; it has not, and `heard` or `error` says why. */
void relay_log_auth(const struct relay_log *log, const struct stream_target *to,
                    const char *mechanism);
void relay_log_auth_failed(const struct relay_log *log, const struct stream_target *to,
                           const char *mechanism, int error, const struct reply *heard);
/* So many octets came in plain behind the reply to STARTTLS, and were thrown away. */
void relay_log_dropped(const struct relay_log *log, const struct stream_target *to, size_t dropped);
/* There was no memory for the conversation. `of` NULL: it was about nobody's yet. */
void relay_log_shortage(struct relay_log *log, const struct envelope *of);
/* A connection goes from an unfinished message, of `bytes` so far, to who waits. In a minute one
 * line for a client net and a kind, and RELAY_TAKEN_BACK_MAX of all. */
void relay_log_taken_back(struct relay_log *log, const struct envelope *of,
                          const struct netaddr *client, enum relay_pace_turn turn, uint64_t bytes);
/* Once in a while, of these enum identity_kind bits: `heard` is what the target said to them; NULL
 * or code 0: it does not announce them. */
void relay_log_identity_failed(struct relay_log *log, unsigned kinds, const struct reply *heard);
/* Once: auto, and the target announces neither. */
void relay_log_no_identity(struct relay_log *log);
/* A reply that means that we or the operator erred. */
void relay_log_confused(struct relay_log *log, const struct stream_target *to,
                        const struct reply *heard);

#endif
