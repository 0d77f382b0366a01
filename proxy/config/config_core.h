/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of [core], [syslog] and [logfile "N"]. */
#ifndef POSTERN_CONFIG_CORE_H
#define POSTERN_CONFIG_CORE_H

#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/setting.h"

#define CONFIG_WORKERS_MAX 64

/* In the order of enum bounce_to. */
enum core_bounce_to {
    CORE_BOUNCE_SENDER,
    CORE_BOUNCE_POSTMASTER,
    CORE_BOUNCE_BOTH,
    CORE_BOUNCE_NONE
};
enum core_log_format { CORE_LOG_TEXT, CORE_LOG_JSON };

struct core_conf {
    struct bytes hostname;
    struct setting_texts loggers; /* stderr, syslog, journal, or a logfile's name; one at least */
    enum core_log_format log_format;
    struct bytes user_id, group_id; /* empty: as it was started */
    struct bytes pid_file;          /* empty: none */
    struct bytes spool_directory;
    struct bytes control_socket;        /* empty: SPOOL/control */
    uint32_t workers;                   /* 0: one process does everything */
    struct setting_addresses resolvers; /* none: /etc/resolv.conf; port 0: 53 */
    uint64_t shutdown_ms;
    uint64_t max_memory_bytes;
    uint64_t copy_memory_bytes;
    uint64_t max_copies_bytes;
    uint64_t spool_reserve_bytes;
    struct bytes postmaster;
    enum core_bounce_to bounce_to;
    struct bytes bounce_relay; /* empty: the relay that the recipient was routed to */
    uint64_t delay_warning_ms; /* 0: off */
    uint64_t quarantine_expire_ms;
};

struct syslog_conf {
    struct bytes ident;
    struct bytes facility; /* "mail", "local0": lower case, a name that syslog(3) knows */
};

struct logfile_conf {
    struct bytes section; /* N */
    struct bytes file;    /* a strftime pattern, an absolute path */
};

extern const struct setting_section config_core_section;
extern const struct setting_section config_core_syslog;
extern const struct setting_section config_core_logfile;

/* The number of syslog(3) for a facility; LOG_MAIL where there is no such name. */
int config_core_facility(struct bytes name);

#endif
