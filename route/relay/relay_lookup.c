/* SPDX-License-Identifier: BSD-2-Clause */
/* One look-up of a relay's addresses, source by source. */
#include "route/relay/relay_lookup.h"

#include <assert.h>

#include "proxy/base/mem.h"
#include "route/relay/relay_conf.h"
#include "route/relay/relay_service.h"
#include "route/relay/relay_endpoint.h"
#include "route/relay/relay_own.h"

#define TTL_MAX_MS 3600000

struct relay_lookup {
    const struct relay_service *service;
    const struct relay_conf *conf;
    char *const *paths;
    void (*over)(void *owner);
    void *owner;
    struct relay_found found;
    struct dns_query *query;
    struct dns_name hosts[DNS_NAMES_MAX]; /* of the MX */
    int host_count, host_at;
    size_t source_at;  /* among the configured addresses; the name is one */
    uint16_t port;     /* for the addresses of the question under way */
    uint32_t weight;   /* likewise */
    struct bytes name; /* likewise: the host, where it stands in an address line */
    bool wants_name;   /* there is no MX */
    bool is_started, is_over;
};

/* ---- what is found ---- */

static bool has_found(const struct relay_lookup *u, const struct stream_target *to)
{
    for (unsigned i = 0; i < u->found.count; i++)
        if (relay_endpoint_equal(&u->found.at[i], to))
            return true;
    return false;
}

static void add(struct relay_lookup *u, const struct stream_target *to)
{
    if (relay_own_is_listener(u->service, &to->address)) {
        u->found.has_own = true;
        return;
    }
    assert(u->found.count <= RELAY_ENDPOINTS_MAX);
    if (u->found.count == RELAY_ENDPOINTS_MAX || has_found(u, to))
        return;
    u->found.weights[u->found.count] = u->weight;
    u->found.at[u->found.count++] = *to;
}

static void add_address(struct relay_lookup *u, const struct netaddr *address, uint16_t port)
{
    struct stream_target to = {.address = *address, .name = u->name};

    if (to.address.port == 0)
        to.address.port = port;
    /* 0.0.0.0 means this host */
    if (relay_own_is_any(&to.address) && to.address.family != NETADDR_NONE)
        u->found.has_own = true;
    else
        add(u, &to);
}

/* ---- questions ---- */

static bool next_question(struct relay_lookup *u);

static void finish(struct relay_lookup *u)
{
    assert(!u->is_over && u->query == NULL);
    u->is_over = true;
}

static void go_on(struct relay_lookup *u)
{
    if (next_question(u))
        return;
    finish(u);
    u->over(u->owner); /* it is freed perhaps */
}

static void take_answer(struct relay_lookup *u, const struct dns_answer *answer)
{
    uint64_t ttl_ms = (uint64_t)answer->ttl_s * 1000;

    assert(u->query != NULL && !u->is_over);
    u->query = NULL;
    if (answer->status == DNS_TEMPORARY)
        u->found.has_no_answer = true;
    if (ttl_ms < u->found.ttl_ms)
        u->found.ttl_ms = ttl_ms;
}

static void on_addresses(void *owner, const struct dns_answer *answer)
{
    struct relay_lookup *u = owner;

    take_answer(u, answer);
    for (int i = 0; answer->status == DNS_FOUND && i < answer->address_count; i++)
        add_address(u, &answer->addresses[i], u->port);
    go_on(u);
}

/* Each position in turn is given to one of the hosts up to it, so that all orders are equally
 * likely. */
void relay_lookup_shuffle(struct loop *l, struct dns_name *hosts, int count)
{
    for (int at = 0, first = 0; at < count; at++) {
        if (hosts[at].preference != hosts[first].preference)
            first = at;
        int other = first + (int)(loop_random(l) % (uint64_t)(at - first + 1));
        struct dns_name moved = hosts[at];
        hosts[at] = hosts[other];
        hosts[other] = moved;
    }
}

/* RFC 7505 3: one record, which names the root. */
static bool is_null_mx(const struct dns_answer *answer)
{
    return answer->name_count == 1 && answer->names[0].text[0] == '\0';
}

static void on_mx(void *owner, const struct dns_answer *answer)
{
    struct relay_lookup *u = owner;

    take_answer(u, answer);
    if (answer->status == DNS_FOUND && is_null_mx(answer)) {
        u->found.is_null_mx = true;
    } else if (answer->status == DNS_FOUND) {
        assert(answer->name_count <= DNS_NAMES_MAX);
        u->host_count = answer->name_count;
        memcpy(u->hosts, answer->names, sizeof(u->hosts[0]) * (size_t)answer->name_count);
        relay_lookup_shuffle(u->service->loop, u->hosts, u->host_count);
    }
    /* RFC 5321 5.1: a name without MX is its own mail host. */
    if (answer->status == DNS_NOT_FOUND)
        u->wants_name = true;
    go_on(u);
}

/* True: the answer will come. */
static bool ask(struct relay_lookup *u, struct bytes host, uint16_t port, bool is_mx)
{
    struct dns *dns = u->service->dns;

    assert(u->query == NULL);
    u->found.has_names = true;
    u->port = port;
    u->query = is_mx ? dns_ask_mx(dns, host, on_mx, u)
                     : dns_ask_addresses(dns, host, NULL, on_addresses, u);
    if (u->query == NULL)
        u->found.has_no_answer = true;
    return u->query != NULL;
}

static bool take_source(struct relay_lookup *u, size_t i)
{
    const struct endpoint *address = &u->conf->addresses.at[i].at;

    u->weight = u->conf->addresses.at[i].weight;
    u->name = address->kind == ENDPOINT_HOST ? address->host : bytes_make(NULL, 0);
    switch (address->kind) {
    case ENDPOINT_IP:
        add_address(u, &address->ip, (uint16_t)u->conf->port);
        return false;
    case ENDPOINT_UNIX:
        add(u, &(struct stream_target){.unix_path = u->paths[i]});
        return false;
    case ENDPOINT_HOST:
        break;
    }
    return ask(u, address->host, address->port, false);
}

/* The name itself: an address, or a name to look up, by its MX where that is wanted. */
static bool take_name(struct relay_lookup *u)
{
    struct bytes name = u->conf->name;
    struct netaddr address;

    if (name.len > 2 && name.at[0] == '[' && name.at[name.len - 1] == ']')
        name = bytes_make(name.at + 1, name.len - 2);
    if (netaddr_parse(name, &address) == 0) {
        add_address(u, &address, (uint16_t)u->conf->port);
        return false;
    }
    return ask(u, name, (uint16_t)u->conf->port, u->conf->is_mx);
}

/* False: no question is left. */
static bool next_question(struct relay_lookup *u)
{
    const struct relay_conf *conf = u->conf;

    if (u->wants_name) {
        u->wants_name = false;
        if (ask(u, conf->name, (uint16_t)conf->port, false))
            return true;
    }
    while (u->host_at < u->host_count)
        if (ask(u, bytes_of(u->hosts[u->host_at++].text), (uint16_t)conf->port, false))
            return true;
    while (u->source_at < conf->addresses.count)
        if (take_source(u, u->source_at++))
            return true;
    return false;
}

/* ---- life ---- */

struct relay_lookup *relay_lookup_new(const struct relay_service *service,
                                      const struct relay_conf *conf, char *const *paths,
                                      void (*over)(void *owner), void *owner)
{
    struct relay_lookup *u = mem_zalloc(sizeof(*u));

    if (u == NULL)
        return NULL;
    u->service = service;
    u->conf = conf;
    u->paths = paths;
    u->over = over;
    u->owner = owner;
    u->found.ttl_ms = TTL_MAX_MS;
    u->weight = 1;
    return u;
}

bool relay_lookup_start(struct relay_lookup *u)
{
    assert(!u->is_started);
    u->is_started = true;
    if ((u->conf->addresses.count == 0 && take_name(u)) || next_question(u))
        return false;
    finish(u);
    return true;
}

const struct relay_found *relay_lookup_found(const struct relay_lookup *u)
{
    assert(u->is_over);
    return &u->found;
}

void relay_lookup_free(struct relay_lookup **lookup)
{
    struct relay_lookup *u = *lookup;

    if (u == NULL)
        return;
    if (u->query != NULL)
        dns_cancel(u->query);
    mem_free(u);
    *lookup = NULL;
}
