/* SPDX-License-Identifier: BSD-2-Clause */
/* A kind of filter: its section, the checks of its settings, and how a filter of this kind is
 * opened. A kind is one file, and one row in proxy/config/filter_kinds.c. */
#ifndef POSTERN_FILTER_KIND_H
#define POSTERN_FILTER_KIND_H

#include "filters/filter.h"
#include "filters/filter_conf.h"
#include "proxy/base/cf.h"
#include "proxy/base/setting.h"
#include "proxy/io/dns.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"

/* What the filters of a process share. */
struct filter_services {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct dns *dns;
};

struct filter_kind {
    const struct setting_section *section; /* [spf "N"]; its settings begin with filter_common */
    /* Completes a section's settings, and reports settings that contradict each other. NULL:
     * nothing to do. */
    void (*finish)(struct setting_reading *reading);
    /* It may edit messages, which only who keeps them can do: postern, not postern-milter. */
    bool edits;
    /* Checks against the outside world, which may block, and reports. NULL: nothing to check. */
    void (*check)(const void *conf, struct cf_place place, struct cf_problems *problems);
    /* `services` and `conf` outlive the filter. NULL: see *error_out. */
    struct filter *(*open)(struct filter_services *services, const void *conf, int *error_out);
};

/* A filter that a listener or a target names. */
struct filter_choice {
    const struct filter_kind *kind;
    const void *conf;
};

struct filter_choices {
    struct filter_choice *at;
    size_t count;
};

#endif
