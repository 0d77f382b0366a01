/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a relay's connections may go: its addresses, names looked up, own listeners struck out. */
#include "route/relay/relay_resolve.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "route/relay/relay_connect.h"
#include "route/relay/relay_health.h"
#include "route/relay/relay_pool.h"

#define TTL_MIN_MS   10000
#define TTL_MAX_MS   3600000
#define TTL_STALE_MS 30000 /* old addresses serve on while the name servers are silent */

/* One look-up, source by source: addresses as configured, or the name, or its MX hosts. */
struct relay_lookup {
    struct relay *relay;
    struct dns_query *query;
    struct relay_place found[RELAY_PLACES_MAX];
    unsigned count;
    struct dns_name hosts[DNS_NAMES_MAX]; /* of the MX */
    int host_count, host_at;
    size_t source_at; /* among the configured addresses; the name is one */
    uint16_t port;    /* for the addresses of the question under way */
    uint64_t ttl_ms;
    bool has_names; /* else nothing can change */
    bool has_struck, has_no_answer;
    bool wants_name; /* there is no MX */
    bool is_null_mx;
};

/* ---- places ---- */

bool relay_place_is_any(const struct netaddr *a)
{
    static const uint8_t zero[sizeof(a->octets)];
    return memcmp(a->octets, zero, sizeof(zero)) == 0;
}

bool relay_place_equal(const struct stream_target *a, const struct stream_target *b)
{
    if (a->address.family != b->address.family)
        return false;
    if (a->address.family == NETADDR_NONE)
        return strcmp(a->unix_path, b->unix_path) == 0;
    return netaddr_equal(&a->address, &b->address);
}

static struct relay_place *find(struct relay_place *at, unsigned count,
                                const struct stream_target *to)
{
    for (unsigned i = 0; i < count; i++)
        if (relay_place_equal(&at[i].to, to))
            return &at[i];
    return NULL;
}

struct relay_place *relay_place_find(struct relay *r, const struct stream_target *to)
{
    return find(r->places.at, r->places.count, to);
}

const char *relay_place_text(const struct stream_target *to, char text_out[RELAY_PLACE_TEXT_MAX])
{
    static const char prefix[] = "unix:";
    size_t most = RELAY_PLACE_TEXT_MAX - sizeof(prefix), len;

    if (to->address.family != NETADDR_NONE)
        return netaddr_text_with_port(&to->address, text_out);
    len = strlen(to->unix_path);
    if (len > most)
        len = most;
    memcpy(text_out, prefix, sizeof(prefix) - 1);
    memcpy(text_out + sizeof(prefix) - 1, to->unix_path, len);
    text_out[sizeof(prefix) - 1 + len] = '\0';
    return text_out;
}

static bool is_own(const struct relay_service *service, const struct netaddr *a)
{
    for (int i = 0; i < service->own_listener_count; i++) {
        const struct netaddr *own = &service->own_listeners[i];
        if (own->port != a->port || own->family != a->family)
            continue;
        if (netaddr_same_host(own, a) || (relay_place_is_any(own) && netaddr_is_loopback(a)))
            return true;
    }
    return false;
}

static void add(struct relay_lookup *u, const struct stream_target *to)
{
    if (is_own(u->relay->service, &to->address)) {
        u->has_struck = true;
        return;
    }
    if (u->count < RELAY_PLACES_MAX && find(u->found, u->count, to) == NULL)
        u->found[u->count++].to = *to;
}

static void add_address(struct relay_lookup *u, const struct netaddr *address, uint16_t port)
{
    struct stream_target to = {.address = *address};

    if (to.address.port == 0)
        to.address.port = port;
    /* 0.0.0.0 means this host */
    if (relay_place_is_any(&to.address) && to.address.family != NETADDR_NONE)
        u->has_struck = true;
    else
        add(u, &to);
}

/* ---- the end of a look-up ---- */

static uint64_t expiry(const struct relay_lookup *u, uint64_t ttl_ms)
{
    return u->has_names ? loop_now_ms(u->relay->service->loop) + ttl_ms : UINT64_MAX;
}

static uint64_t expiry_by_ttl(const struct relay_lookup *u)
{
    return expiry(u, u->ttl_ms < TTL_MIN_MS ? TTL_MIN_MS : u->ttl_ms);
}

/* Nothing was found: addresses that were known are kept where nobody said they are wrong. */
static void take_none(struct relay_lookup *u)
{
    struct relay_places *places = &u->relay->places;
    enum relay_places_state state = u->is_null_mx   ? RELAY_PLACES_NULL_MX
                                    : u->has_struck ? RELAY_PLACES_OWN
                                                    : RELAY_PLACES_FAILED;

    places->expires_ms = u->is_null_mx ? expiry_by_ttl(u) : expiry(u, TTL_STALE_MS);
    if (state == RELAY_PLACES_FAILED && u->has_no_answer && places->state == RELAY_PLACES_KNOWN)
        return;
    mem_free(places->at);
    places->at = NULL;
    places->count = places->down_count = 0;
    places->state = state;
}

static void take_found(struct relay_lookup *u)
{
    struct relay_places *places = &u->relay->places;
    struct relay_place *at = mem_alloc(u->count * sizeof(*at));

    if (at == NULL) {
        u->has_no_answer = true;
        take_none(u);
        return;
    }
    memcpy(at, u->found, u->count * sizeof(*at));
    places->down_count = 0;
    for (unsigned i = 0; i < u->count; i++) {
        const struct relay_place *old = find(places->at, places->count, &at[i].to);
        if (old != NULL)
            at[i] = *old;
        places->down_count += at[i].is_down;
    }
    mem_free(places->at);
    places->at = at;
    places->count = u->count;
    places->state = RELAY_PLACES_KNOWN;
    places->expires_ms = expiry_by_ttl(u);
}

static void finish(struct relay_lookup *u)
{
    struct relay *r = u->relay;
    bool was_failed = r->places.state == RELAY_PLACES_FAILED, was_down = relay_health_is_down(r);

    if (u->count == 0)
        take_none(u);
    else
        take_found(u);
    if (r->places.state == RELAY_PLACES_FAILED && !was_failed)
        relay_health_unresolved(r);
    if (was_down && !relay_health_is_down(r))
        relay_health_resolved(r);
    r->places.lookup = NULL;
    mem_free(u);
}

/* ---- source by source ---- */

static void step(struct relay_lookup *u);

/* What the callbacks do: never within relay_resolve(), so dials can go on. */
static void step_later(struct relay_lookup *u)
{
    struct relay *r = u->relay;

    step(u);
    if (r->places.lookup == NULL)
        relay_connect_resolved(r);
}

static void note_ttl(struct relay_lookup *u, const struct dns_answer *answer)
{
    uint64_t ttl_ms = (uint64_t)answer->ttl_s * 1000;

    if (answer->status == DNS_TEMPORARY)
        u->has_no_answer = true;
    if (ttl_ms < u->ttl_ms)
        u->ttl_ms = ttl_ms;
}

static void on_addresses(void *owner, const struct dns_answer *answer)
{
    struct relay_lookup *u = owner;

    u->query = NULL;
    note_ttl(u, answer);
    for (int i = 0; answer->status == DNS_FOUND && i < answer->address_count; i++)
        add_address(u, &answer->addresses[i], u->port);
    step_later(u);
}

/* Each place in turn is given to one of those up to it, so that all orders are equally likely. */
void relay_resolve_shuffle(struct loop *l, struct dns_name *hosts, int count)
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

    u->query = NULL;
    note_ttl(u, answer);
    if (answer->status == DNS_FOUND && is_null_mx(answer)) {
        u->is_null_mx = true;
    } else if (answer->status == DNS_FOUND) {
        u->host_count = answer->name_count;
        memcpy(u->hosts, answer->names, sizeof(u->hosts[0]) * (size_t)answer->name_count);
        relay_resolve_shuffle(u->relay->service->loop, u->hosts, u->host_count);
    }
    /* RFC 5321 5.1: a name without MX is its own mail host. */
    if (answer->status == DNS_NOT_FOUND)
        u->wants_name = true;
    step_later(u);
}

/* True: the answer will come. */
static bool ask(struct relay_lookup *u, struct bytes host, uint16_t port, bool is_mx)
{
    struct dns *dns = u->relay->service->dns;

    u->has_names = true;
    u->port = port;
    u->query = is_mx ? dns_ask_mx(dns, host, on_mx, u)
                     : dns_ask_addresses(dns, host, NULL, on_addresses, u);
    if (u->query == NULL)
        u->has_no_answer = true;
    return u->query != NULL;
}

static bool take_source(struct relay_lookup *u, size_t i)
{
    const struct relay_conf *conf = u->relay->conf;
    const struct relay_address *address = &conf->addresses.at[i];

    switch (address->kind) {
    case RELAY_ADDRESS_IP:
        add_address(u, &address->ip, (uint16_t)conf->port);
        return false;
    case RELAY_ADDRESS_UNIX:
        add(u, &(struct stream_target){.unix_path = u->relay->places.paths[i]});
        return false;
    case RELAY_ADDRESS_HOST:
        break;
    }
    return ask(u, address->host, address->port, false);
}

/* The name itself: an address, or to be looked up, by its MX where that is wanted. */
static bool take_name(struct relay_lookup *u)
{
    const struct relay_conf *conf = u->relay->conf;
    struct bytes name = conf->name;
    struct netaddr address;

    if (name.len > 2 && name.at[0] == '[' && name.at[name.len - 1] == ']')
        name = bytes_make(name.at + 1, name.len - 2);
    if (netaddr_parse(name, &address) == 0) {
        add_address(u, &address, (uint16_t)conf->port);
        return false;
    }
    return ask(u, name, (uint16_t)conf->port, conf->is_mx);
}

/* The next question; false: there is none left, the look-up is complete. */
static bool next_question(struct relay_lookup *u)
{
    const struct relay_conf *conf = u->relay->conf;

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

static void step(struct relay_lookup *u)
{
    if (!next_question(u))
        finish(u);
}

static void begin(struct relay *r)
{
    struct relay_lookup *u;

    if (r->places.lookup != NULL || r->is_closing)
        return;
    u = mem_zalloc(sizeof(*u));
    if (u == NULL && r->places.state == RELAY_PLACES_UNKNOWN) {
        r->places.state = RELAY_PLACES_FAILED;
        relay_health_unresolved(r);
    }
    if (u == NULL)
        return;
    u->relay = r;
    u->ttl_ms = TTL_MAX_MS;
    r->places.lookup = u;
    if (r->conf->addresses.count != 0 || !take_name(u))
        step(u);
}

bool relay_resolve(struct relay *r)
{
    struct relay_places *places = &r->places;
    bool is_old =
        places->state != RELAY_PLACES_FAILED && loop_now_ms(r->service->loop) >= places->expires_ms;

    if (is_old && relay_resolve_refusal(r) != REPLY_OK)
        places->state = RELAY_PLACES_UNKNOWN; /* nobody is refused for good by old answers */
    if (is_old || places->state == RELAY_PLACES_UNKNOWN)
        begin(r);
    return places->state != RELAY_PLACES_UNKNOWN;
}

void relay_resolve_again(struct relay *r)
{
    begin(r);
}

enum reply_id relay_resolve_refusal(const struct relay *r)
{
    switch (r->places.state) {
    case RELAY_PLACES_OWN:
        return REPLY_MAIL_LOOPS_BACK;
    case RELAY_PLACES_NULL_MX:
        return REPLY_NULL_MX;
    case RELAY_PLACES_UNKNOWN:
    case RELAY_PLACES_KNOWN:
    case RELAY_PLACES_FAILED:
        break;
    }
    return REPLY_OK;
}

void relay_resolve_strike(struct relay *r, const struct stream_target *to)
{
    struct relay_places *places = &r->places;
    struct relay_place *place = relay_place_find(r, to);

    if (place == NULL)
        return;
    places->down_count -= place->is_down;
    places->count--;
    memmove(place, place + 1, (size_t)(places->at + places->count - place) * sizeof(*place));
    if (places->count == 0)
        places->state = RELAY_PLACES_OWN;
}

/* ---- life ---- */

int relay_resolve_init(struct relay *r)
{
    const struct relay_addresses *addresses = &r->conf->addresses;

    if (addresses->count == 0)
        return 0;
    r->places.paths = mem_zalloc(addresses->count * sizeof(*r->places.paths));
    if (r->places.paths == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < addresses->count; i++) {
        struct bytes path = addresses->at[i].path;
        if (addresses->at[i].kind != RELAY_ADDRESS_UNIX)
            continue;
        r->places.paths[i] = mem_zalloc(path.len + 1);
        if (r->places.paths[i] == NULL)
            return ERR_MEMORY;
        memcpy(r->places.paths[i], path.at, path.len);
    }
    return 0;
}

void relay_resolve_done(struct relay *r)
{
    struct relay_places *places = &r->places;

    if (places->lookup != NULL && places->lookup->query != NULL)
        dns_cancel(places->lookup->query);
    mem_free(places->lookup);
    places->lookup = NULL;
}
