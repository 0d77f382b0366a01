/* SPDX-License-Identifier: BSD-2-Clause */
/* What a kind of target brings: its section, what is asked of its settings, and how a target of it
 * begins. Configuration, routes, --check, --explain, posternctl and the server go by this alone: a
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

/* A section that has been read. */
struct target_section {
    void *conf;            /* of the kind's type; what was not given has its default */
    struct bytes hostname; /* core.hostname */
    struct cf_place place;
    struct cf_problems *problems;
    /* Did the file or a flag say anything of this key? */
    bool (*is_given)(struct target_section *section, const char *key);
    /* Where its first value was given; the section's place when it is a default. */
    struct cf_place (*place_of)(struct target_section *section, const char *key);
};

/* What --check asks of a target that some route names. */
struct target_check {
    struct cf_place place; /* of the first word that names it */
    struct cf_problems *problems;
    /* The addresses of a host with this port; none: it does not resolve. 0 or ERR_MEMORY. */
    int (*look_up)(struct target_check *check, struct bytes host, uint16_t port,
                   struct setting_addresses *addresses_out);
    /* Reports such a host. */
    void (*report_unresolved)(struct target_check *check, struct bytes host, const char *expected);
    /* The section of the listener of ours that a connection to this address would reach, or that
     * bears this name and has this port. Empty: none. */
    struct bytes (*listener_at)(struct target_check *check, const struct netaddr *address);
    struct bytes (*listener_named)(struct target_check *check, struct bytes name, uint16_t port);
};

/* A disk may hang: jobs of all targets leave half of the threads to the spool and the copies. */
#define TARGET_JOBS_MAX (WORK_THREADS / 2)

struct relay_service;

/* What the targets of a process share, whatever their kind. */
struct target_services {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct work_road road;        /* TARGET_JOBS_MAX: for jobs on disks that may hang */
    struct relay_service *relays; /* what relays alone share */
};

struct target_kind {
    const struct setting_section *section; /* [relay "N"]; operators see the same word */
    /* It passes mail on, to whoever the recipient is: clients need a permission (relay-from,
     * routed-recipients), and reports to senders can leave by it (bounce-relay). */
    bool is_relay;

    /* ---- settings ---- */

    /* Completes a section's settings and reports what does not fit together. NULL: nothing to do.
     */
    void (*finish)(struct target_section *section);
    /* Settings for a host that no section bears, in the arena; `host` and `helo` are borrowed. 0 or
     * ERR_MEMORY. NULL: hosts are not of this kind; the table has one kind that they are of. */
    int (*make_implicit)(struct bytes host, struct bytes helo, struct arena *arena,
                         const void **conf_out);
    /* The target will not see who the client is. NULL: mail ends there, so nobody needs to. */
    bool (*is_blind)(const void *conf);
    /* Asks the world outside, which may block, and reports. 0 or ERR_MEMORY. NULL: nothing to ask.
     */
    int (*check)(const void *conf, struct target_check *check);

    /* ---- targets ---- */

    /* All that routes go by: a target that has no operations. */
    struct target (*describe)(const void *conf);
    /* The reply that a recipient gets whose address is none for this target; REPLY_OK: it takes the
     * address. Pure. NULL: it takes every address. */
    enum reply_id (*refuses)(const struct target *t, const struct address *to);
    /* `services` and `conf` outlive it. NULL: no memory. */
    struct target *(*open)(struct target_services *services, const void *conf);
};

#endif
