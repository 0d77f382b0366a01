/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of [smtpd "N"]. */
#ifndef POSTERN_SMTPD_CONF_H
#define POSTERN_SMTPD_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "filters/filter_kind.h"
#include "proxy/base/bytes.h"
#include "proxy/base/setting.h"
#include "proxy/io/tls_conf.h"
#include "proxy/smtp/identity.h"
#include "route/route_source.h"

enum smtpd_protocol { SMTPD_SMTP, SMTPD_LMTP };
enum smtpd_bare_newline { SMTPD_BARE_NEWLINE_NORMALIZE, SMTPD_BARE_NEWLINE_REJECT };
enum smtpd_split { SMTPD_SPLIT_LIVE, SMTPD_SPLIT_DEFER };

/* Who may start which queues: etrn-from = CIDR [DOMAIN...] ["#TARGET"...]. */
struct smtpd_etrn {
    struct netmask net;
    struct setting_texts domains; /* no domains and no targets: all that the tables route */
    struct setting_texts targets; /* without "#" */
};
struct smtpd_etrns {
    struct smtpd_etrn *at;
    size_t count;
};
/* Who may relay: relay-from = CIDR | authenticated. */
struct smtpd_relay_from {
    bool is_authenticated; /* whoever has authenticated; else `net` */
    struct netmask net;
};
struct smtpd_relay_froms {
    struct smtpd_relay_from *at;
    size_t count;
};
enum smtpd_routed_recipients { SMTPD_ROUTED_REJECT, SMTPD_ROUTED_PASS };
enum smtpd_tls_mode { SMTPD_TLS_NONE, SMTPD_TLS_STARTTLS, SMTPD_TLS_REQUIRED, SMTPD_TLS_IMPLICIT };
struct smtpd_tls {
    enum smtpd_tls_mode mode;
    struct tls_conf files;
};
enum smtpd_auth_by { SMTPD_AUTH_BY_NONE, SMTPD_AUTH_BY_TARGET, SMTPD_AUTH_BY_DOVECOT };
/* Who knows clients' passwords: auth = none | passthrough | dovecot:PATH. */
struct smtpd_auth_how {
    enum smtpd_auth_by by;
    struct bytes word;   /* as written */
    struct bytes socket; /* PATH */
};
struct smtpd_auth {
    struct smtpd_auth_how how;
    struct bytes target; /* passthrough: the section of a relay, or the host of an implicit one */
    bool takes_plaintext;
};
enum smtpd_early_input { SMTPD_EARLY_INPUT_REJECT, SMTPD_EARLY_INPUT_ACCEPT };

struct smtpd_fronts { /* who may speak for clients, and how */
    struct setting_nets xclient, xforward;
    struct setting_nets proxy_protocol; /* must, not may */
};

struct smtpd_limits { /* those on connections spare clients in `exempt` */
    uint64_t message_bytes;
    uint32_t recipients;
    uint32_t connections;
    uint32_t connections_per_client;
    uint32_t overshoot;
    uint32_t errors;
    uint32_t junk_commands;
    struct setting_nets exempt;
};

struct smtpd_times {
    uint64_t command_ms;
    uint64_t data_ms;
    uint64_t session_ms;
    uint64_t greet_delay_ms; /* 0: none */
    uint64_t resolve_ms;
};

struct smtpd_filters {
    struct setting_texts names; /* as written */
    struct filter_choices chosen;
};

struct smtpd_keywords { /* of EHLO, upper case */
    struct setting_texts announce, hide;
};

struct smtpd_conf {
    struct bytes section;               /* N */
    struct bytes name;                  /* what the greeting says */
    struct setting_texts listen_ports;  /* as written */
    struct setting_addresses listeners; /* resolved at start; all addresses: 0.0.0.0 and :: */
    enum smtpd_protocol protocol;
    struct setting_texts routing_tables; /* as written */
    struct route_source *const *tables;  /* the same, and the global one last */
    size_t table_count;
    struct bytes logger; /* stderr, syslog, journal or a logfile; empty: core.logger */
    struct smtpd_limits limits;
    struct smtpd_times times;
    enum smtpd_bare_newline bare_newline;
    struct setting_nets bare_newline_exempt;
    enum smtpd_split split;
    struct smtpd_relay_froms relay_from;
    enum smtpd_routed_recipients routed_recipients;
    enum smtpd_early_input early_input;
    struct smtpd_tls tls;
    struct smtpd_auth auth;
    struct smtpd_fronts fronts;
    struct bytes refuse; /* empty: connections are served */
    bool resolves_names;
    struct smtpd_etrns etrn_from;
    struct smtpd_keywords keywords;
    struct smtpd_filters filters;
};

extern const struct setting_section smtpd_conf_section;

/* Reads certificates and keys, where TLS is used. 0 or ERR_MEMORY. */
int smtpd_conf_load(struct setting_reading *section);

/* relay-from */
bool smtpd_may_relay(const struct smtpd_conf *conf, const struct identity *client);

/* The capability_keyword bits of announce or hide. */
uint32_t smtpd_conf_keywords(const struct setting_texts *names);

#endif
