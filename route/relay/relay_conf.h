/* SPDX-License-Identifier: BSD-2-Clause */
/* What [relay "N"] says. */
#ifndef POSTERN_RELAY_CONF_H
#define POSTERN_RELAY_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/endpoint.h"
#include "proxy/base/netaddr.h"
#include "proxy/base/setting.h"
#include "proxy/io/secret.h"
#include "proxy/io/tls_conf.h"
#include "route/relay/relay_memory.h"
#include "route/target_kind.h"

enum relay_protocol { RELAY_SMTP, RELAY_LMTP };
enum relay_identity_failure { RELAY_IDENTITY_FAILURE_DEFER, RELAY_IDENTITY_FAILURE_PASS };
enum relay_xclient_address { RELAY_XCLIENT_AUTO, RELAY_XCLIENT_PREFIXED, RELAY_XCLIENT_BARE };
enum relay_received { RELAY_RECEIVED_AUTO, RELAY_RECEIVED_ALWAYS, RELAY_RECEIVED_NEVER };
enum relay_on_failure { RELAY_ON_FAILURE_SPOOL, RELAY_ON_FAILURE_TEMPFAIL };
enum relay_unverified { RELAY_UNVERIFIED_ACCEPT, RELAY_UNVERIFIED_DEFER };
enum relay_balance { RELAY_BALANCE_FIRST, RELAY_BALANCE_ROUND_ROBIN, RELAY_BALANCE_HASH };
enum relay_chunking { RELAY_CHUNKING_AUTO, RELAY_CHUNKING_NO };

enum relay_tls_mode { RELAY_TLS_NONE, RELAY_TLS_MAY, RELAY_TLS_ENCRYPT, RELAY_TLS_VERIFY };

struct relay_tls_conf {
    enum relay_tls_mode mode;
    struct tls_conf files; /* at most one certificate, of ours */
};

/* Who we are to the target; `user` empty: nobody. One of the two has a path. */
struct relay_auth_conf {
    struct bytes user;
    struct secret password, token;
};

/* Recipients that the target has answered for. */
struct relay_recipients_conf {
    enum relay_unverified unverified;
    struct relay_remember remember;
};

struct relay_retry {
    struct setting_durations pauses;
    uint64_t expire_ms;
};

struct relay_address {
    struct endpoint at; /* port 0: relay_conf.port */
    uint32_t weight;
    uint32_t weight_column; /* in the file; 0: none was named */
};

struct relay_addresses {
    struct relay_address *at;
    size_t count;
};

/* With balance = hash each address is a relay of its own, a member. */
struct relay_group {
    struct relay_conf *members;
    size_t member_count;
    const struct relay_conf *whole; /* of a member: the relay that it is an address of */
    struct bytes address; /* of a member: as configured, in canonical form; part of its section */
};

struct relay_limits {
    uint32_t max_connections; /* per target, for the whole host */
    uint32_t idle_connections;
    uint32_t max_transactions; /* of one connection */
};

struct relay_times {
    uint64_t idle_ms;
    uint64_t connect_ms;
    uint64_t command_ms;
    uint64_t envelope_ms;
    uint64_t data_ms;
    uint64_t final_ms;
    uint64_t health_interval_ms;
};

struct relay_conf {
    struct bytes section;             /* N: what routes call it */
    struct bytes name;                /* looked up when there is no address */
    struct relay_addresses addresses; /* none: `name` is looked up */
    enum relay_protocol protocol;
    uint32_t port;
    bool is_mx;
    bool is_implicit; /* made from a route's target, not from a section */
    struct bytes helo;
    unsigned identity; /* enum identity_kind bits */
    enum relay_identity_failure identity_failure;
    enum relay_xclient_address xclient_address;
    enum relay_received received;
    enum relay_on_failure on_failure;
    enum relay_balance balance;
    bool fails_over; /* another address is tried where one is down */
    enum relay_chunking chunking;
    struct relay_limits limits;
    struct relay_times times;
    struct relay_tls_conf tls;
    struct relay_auth_conf auth;
    struct relay_retry retry;
    struct relay_recipients_conf recipients;
    struct setting_texts filters; /* their names */
    struct target_queue queue;    /* made of the above by relay_conf_finish(), like what follows */
    struct relay_group group;
};

extern const struct setting_section relay_conf_section;

/* See target_kind.finish. */
void relay_conf_finish(struct setting_reading *section);
/* A relay that no section declares: defaults, identity none. `host` and `helo` are borrowed.
 * 0 or ERR_MEMORY. */
int relay_conf_implicit(struct bytes host, struct bytes helo, struct arena *arena,
                        struct relay_conf *conf_out);

#endif
