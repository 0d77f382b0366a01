/* SPDX-License-Identifier: BSD-2-Clause */
/* A kind of target: its section, the checks of its settings, and how a target of this kind is
 * opened. Configuration, routes, --check, --explain, posternctl and the server use this alone: a
 * kind is one file, and one row in proxy/config/target_kinds.c. */
#ifndef POSTERN_TARGET_KIND_H
#define POSTERN_TARGET_KIND_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/cf.h"
#include "proxy/base/setting.h"
#include "proxy/io/log.h"
#include "proxy/io/work_lane.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/reply.h"
#include "route/target.h"

/* What --check offers to a target that some route names. */
struct target_check {
    struct cf_place place; /* of the first word that names it */
    struct cf_problems *problems;
    /* Looks up the addresses of a host, with this port; none: the host does not resolve. 0 or
     * ERR_MEMORY. */
    int (*look_up)(struct target_check *check, struct bytes host, uint16_t port,
                   struct setting_addresses *addresses_out);
    /* Reports a host that does not resolve. */
    void (*report_unresolved)(struct target_check *check, struct bytes host, const char *expected);
    /* The section of our own listener that a connection to this address would reach, or that has
     * this name and port. Empty: none. */
    struct bytes (*listener_at)(struct target_check *check, const struct netaddr *address);
    struct bytes (*listener_named)(struct target_check *check, struct bytes name, uint16_t port);
};

/* Disks may hang: the jobs of all targets leave half of the threads to the spool and the copies. */
#define TARGET_JOBS_MAX (WORK_THREADS / 2)

struct relay_service;

/* What the targets of a process share, whatever their kind. */
struct target_services {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct work_road road;        /* for at most TARGET_JOBS_MAX jobs, on disks that may hang */
    struct relay_service *relays; /* what only relays share */
};

struct secret;
struct tls_conf;

struct target_kind {
    const struct setting_section *section; /* [relay "N"]; operators see the same word */
    /* Passes mail on to other hosts: clients need a permission (relay-from, routed-recipients), and
     * reports to senders can leave through it (bounce-relay). */
    bool is_relay;

    /* ---- settings ---- */

    /* Completes a section's settings, and reports settings that contradict each other. NULL:
     * nothing to do. */
    void (*finish)(struct setting_reading *section);
    /* Reads certificates, keys and passwords, for who serves, and reports what is wrong. 0 or
     * ERR_MEMORY. NULL: there is nothing to read. */
    int (*load)(struct setting_reading *section);
    /* Which files that are. Where there is load(); NULL: none. */
    struct tls_conf *(*secrets)(void *conf);
    /* The password or token; its path may be empty. Where there is load(). */
    struct secret *(*secret)(void *conf);
    /* Makes settings in the arena for a host that no section names; `host` and `helo` are
     * borrowed. 0 or ERR_MEMORY. NULL: such hosts are of another kind, the only one that has
     * this function. */
    int (*make_implicit)(struct bytes host, struct bytes helo, struct arena *arena,
                         const void **conf_out);
    /* Will the target not see who the client is? NULL: it need not, since mail ends there. */
    bool (*is_blind)(const void *conf);
    /* Checks against the outside world, which may block, and reports. 0 or ERR_MEMORY. NULL:
     * nothing to check. */
    int (*check)(const void *conf, struct target_check *check);

    /* ---- targets ---- */

    /* The settings of the nth member, where these are the settings of a group; NULL: there are no
     * more. NULL: no target of this kind is a group. */
    const void *(*member)(const void *conf, size_t index);
    /* A target without operations and members, which is all that routes need beside these. */
    struct target (*describe)(const void *conf);
    /* REPLY_OK when the target takes this address, else the reply that the recipient gets. Pure.
     * NULL: it takes every address. */
    enum reply_id (*refuses)(const struct target *target, const struct address *to);
    /* `conf`: of no group. `services` and `conf` outlive the target. NULL: no memory. */
    struct target *(*open)(struct target_services *services, const void *conf);
};

#endif
