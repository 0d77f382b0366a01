/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a relay leads: a host that does not resolve, a listener of our own. */
#include "route/relay/relay_check.h"

#include <stdio.h>

#include "proxy/base/error.h"
#include "route/relay/relay_conf.h"

/* One relay while it is looked at. */
struct outlook {
    const struct relay_conf *conf;
    struct target_check *check;
    struct bytes own; /* the listener of ours that it leads to; empty: none */
};

static void look_at(struct outlook *o, const struct setting_addresses *list)
{
    for (size_t i = 0; i < list->count && o->own.len == 0; i++)
        o->own = o->check->listener_at(o->check, &list->at[i]);
}

static int look_at_address(struct outlook *o, const struct endpoint *address)
{
    struct netaddr ip = address->ip;
    struct setting_addresses list = {.at = &ip, .count = 1};
    if (address->kind == ENDPOINT_UNIX)
        return 0;
    if (ip.port == 0)
        ip.port = (uint16_t)o->conf->port;
    if (address->kind == ENDPOINT_HOST &&
        o->check->look_up(o->check, address->host, address->port, &list) != 0)
        return ERR_MEMORY;
    if (list.count == 0)
        o->check->report_unresolved(o->check, address->host,
                                    "the name of a host that has addresses");
    look_at(o, &list);
    return 0;
}

static int look_at_name(struct outlook *o)
{
    struct bytes name = o->conf->name;
    uint16_t port = (uint16_t)o->conf->port;
    struct setting_addresses list;
    if (o->check->look_up(o->check, name, port, &list) != 0)
        return ERR_MEMORY;
    look_at(o, &list);
    if (list.count == 0)
        o->own = o->check->listener_named(o->check, name, port);
    if (list.count == 0 && o->own.len == 0)
        o->check->report_unresolved(o->check, name,
                                    "the name of a section, or of a host that has addresses");
    return 0;
}

static void warn(const struct outlook *o, const char *after)
{
    cf_warning(o->check->problems, o->check->place,
               cf_phrase(o->check->problems, "target ", o->conf->section, after));
}

static void warn_own(const struct outlook *o)
{
    char after[400];
    snprintf(after, sizeof after,
             " leads to our own listener smtpd \"%.*s\", which is never connected to",
             (int)o->own.len, (const char *)o->own.at);
    warn(o, after);
}

int relay_check(const void *conf, struct target_check *check)
{
    struct outlook o = {.conf = conf, .check = check};
    int error = 0;
    if (o.conf->is_implicit)
        warn(&o, " has no section: it is taken for a host, an implicit relay");
    for (size_t i = 0; i < o.conf->addresses.count && error == 0; i++)
        error = look_at_address(&o, &o.conf->addresses.at[i].at);
    if (error == 0 && o.conf->addresses.count == 0 && !o.conf->is_mx)
        error = look_at_name(&o);
    if (error == 0 && o.own.len != 0)
        warn_own(&o);
    return error;
}
