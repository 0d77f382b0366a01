/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration as one read-only tree: read once, kept for the life of the process. */
#ifndef POSTERN_CONFIG_H
#define POSTERN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "proxy/base/arena.h"
#include "proxy/base/cf.h"
#include "proxy/base/mem.h"
#include "proxy/config/config_core.h"
#include "proxy/config/flags.h"
#include "proxy/config/milter_server_conf.h"
#include "proxy/config/smtpd_conf.h"
#include "route/route_source.h"
#include "route/target_kind.h"

/* The account to run as; meaningful when is_set. */
struct config_account {
    uid_t user;
    gid_t group;
    bool is_set;
};

/* A section of one of target_kinds[]. */
struct config_target {
    const struct target_kind *kind;
    struct bytes name;
    const void *conf; /* of the kind's type */
    struct filter_choices filters;
};

/* Sections stand in the order in which they begin in the file. Everything lives in the arena. */
struct config {
    struct pool pool;
    struct arena arena;
    struct cf_problems problems;
    struct cf_problem *printed;     /* the last problem that was printed */
    struct config_builder *builder; /* for the config_*.c files only */
    struct core_conf core;
    struct config_account account;
    struct syslog_conf syslog;
    struct logfile_conf **logfiles;
    size_t logfile_count;
    struct smtpd_conf **smtpds; /* one at least where SMTP is served */
    size_t smtpd_count;
    struct milter_server_conf **milter_servers; /* for postern-milter */
    size_t milter_server_count;
    struct config_target *targets; /* kind after kind, as in target_kinds[] */
    size_t target_count;
    struct route_source **routes; /* [0] is the global table, always there */
    size_t route_count;
    uint64_t secrets_state;  /* when they were read; 0: there are none */
    bool has_file, is_empty; /* the file was read; it assigns nothing */
};

struct config *config_new(void); /* NULL: no memory; the caller owns it */
void config_free(struct config **config);

/* Reads the file, then the flags; fills in defaults; resolves the listeners' names; checks
 * references. Blocks (files, getaddrinfo): only before the loop runs. Returns 0, EX_USAGE (64: a
 * flag names no declared section or key), EX_CONFIG (78) or EX_OSERR (71: no memory). Errors and
 * warnings are in config->problems. What `flags` points to must outlive the configuration. */
int config_read(struct config *config, const struct flags *flags);
/* config_check_start(), config_load_secrets() and config_check() are legal after any result of
 * config_read() but EX_OSERR. They return 0, EX_USAGE, EX_CONFIG or EX_OSERR for all that was found
 * so far. */

/* Before a start: do the routes hold? */
int config_check_start(struct config *config);
/* Before a start: reads certificates and keys, as who may. The workers inherit them. */
int config_load_secrets(struct config *config);
/* The same for one target alone. */
int config_load_secrets_of(struct config *config, struct bytes target);
/* A sum of what the system says of those files (size, time, where they lie): another one where one
 * of them has changed. 0: there are none. */
uint64_t config_secrets_state(const struct config *config);
/* Forgets the keys of session tickets that have had their time: see tls_turn(). */
void config_turn_tickets(const struct config *config);
/* Both, and the additional checks of --check: resolves relays, finds loops to own listeners. */
int config_check(struct config *config);
/* Where the key of this section was given; "postern" where it is a default. */
struct cf_place config_place(const struct config *config, const struct setting_section *kind,
                             struct bytes name, const char *key);
/* Prints problems that were not printed yet, one a line. */
void config_print_problems(struct config *config, FILE *out);
/* The effective configuration in the scoped form, one assignment a line:
 * smtpd."mx.example.net".listen-port = 25. 0, EX_OSERR (no memory) or EX_IOERR (cannot write). */
int config_dump(struct config *config, FILE *out);

#define CONFIG_LISTENERS_MAX 8192 /* octets; more than a log line needs */
/* The addresses of all listeners, as the log line `start` has them. */
void config_put_listeners(const struct config *config, struct buf *out);

/* All of these are O(1). NULL where no section has this name. */
const struct smtpd_conf *config_smtpd(const struct config *config, struct bytes name);
const struct logfile_conf *config_logfile(const struct config *config, struct bytes name);
/* The kind is NULL where no target has this name. */
struct config_target config_target(const struct config *config, struct bytes name);

#endif
