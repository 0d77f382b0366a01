/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses of one relay: which are known, and which of them are down. */
#include "route/relay/relay_endpoints.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "route/relay/relay_conf.h"
#include "route/relay/relay_service.h"
#include "route/relay/relay_endpoint.h"

#define TTL_MIN_MS   10000
#define TTL_STALE_MS 30000 /* old addresses serve on while the name servers are silent */

static uint64_t now_ms(const struct relay_endpoints *e)
{
    return loop_now_ms(e->service->loop);
}

static struct relay_endpoint *find(const struct relay_endpoints *e, const struct stream_target *to)
{
    for (unsigned i = 0; i < e->count; i++)
        if (relay_endpoint_equal(&e->at[i].to, to))
            return &e->at[i];
    return NULL;
}

/* ---- which are down ---- */

static void arm(struct relay_endpoints *e)
{
    if (e->is_closed || e->is_watching)
        return;
    e->is_watching = true;
    deadline_set(e->service->loop, &e->probe_deadline,
                 now_ms(e) + e->conf->times.health_interval_ms);
}

/* Whichever process has found it down: each that sees it looks again, and one of them probes. */
unsigned relay_endpoints_down_count(struct relay_endpoints *e)
{
    unsigned count = 0;

    for (unsigned i = 0; i < e->count; i++)
        count += relay_health_is_down(&e->at[i].health);
    if (count != 0)
        arm(e);
    return count;
}

/* ---- what a look-up has found ---- */

static uint64_t expiry(const struct relay_endpoints *e, const struct relay_found *found,
                       uint64_t ttl_ms)
{
    return found->has_names ? now_ms(e) + ttl_ms : UINT64_MAX;
}

static uint64_t expiry_by_ttl(const struct relay_endpoints *e, const struct relay_found *found)
{
    return expiry(e, found, found->ttl_ms < TTL_MIN_MS ? TTL_MIN_MS : found->ttl_ms);
}

/* Known addresses are kept while nobody has said that they are wrong. */
static void take_none(struct relay_endpoints *e, const struct relay_found *found,
                      bool has_no_answer)
{
    enum relay_endpoints_state state = found->is_null_mx ? RELAY_ENDPOINTS_NULL_MX
                                       : found->has_own  ? RELAY_ENDPOINTS_OWN
                                                         : RELAY_ENDPOINTS_FAILED;

    e->expires_ms = found->is_null_mx ? expiry_by_ttl(e, found) : expiry(e, found, TTL_STALE_MS);
    if (state == RELAY_ENDPOINTS_FAILED && has_no_answer && e->state == RELAY_ENDPOINTS_KNOWN)
        return;
    mem_free(e->at);
    e->at = NULL;
    e->count = 0;
    e->state = state;
}

static void take_some(struct relay_endpoints *e, const struct relay_found *found)
{
    struct relay_endpoint *at = mem_alloc(found->count * sizeof(*at));

    if (at == NULL) {
        take_none(e, found, true);
        return;
    }
    for (unsigned i = 0; i < found->count; i++) {
        const struct relay_endpoint *old = find(e, &found->at[i]);
        if (old != NULL)
            at[i] = *old;
        else
            relay_endpoint_init(&at[i], &found->at[i], e->service->sharing, e->log->target);
        at[i].weight = found->weights[i];
    }
    mem_free(e->at);
    e->at = at;
    e->count = found->count;
    e->state = RELAY_ENDPOINTS_KNOWN;
    e->expires_ms = expiry_by_ttl(e, found);
}

static void report_unresolved(struct relay_endpoints *e)
{
    if (relay_health_open(&e->names, now_ms(e)))
        relay_log_down_unresolved(e->log);
    arm(e);
}

static void take(struct relay_endpoints *e)
{
    const struct relay_found *found = relay_lookup_found(e->lookup);
    bool was_failed = e->state == RELAY_ENDPOINTS_FAILED;
    bool was_down = relay_endpoints_are_down(e);

    if (found->count == 0)
        take_none(e, found, found->has_no_answer);
    else
        take_some(e, found);
    relay_lookup_free(&e->lookup);
    assert(e->state != RELAY_ENDPOINTS_UNKNOWN);
    if (e->state == RELAY_ENDPOINTS_FAILED && !was_failed)
        report_unresolved(e);
    if (!was_down || relay_endpoints_are_down(e))
        return;
    if (was_failed && !relay_health_close(&e->names))
        return; /* another process has said it */
    relay_log_up(e->log, NULL, 0);
    e->ops->up(e);
}

static void on_lookup_over(void *owner)
{
    struct relay_endpoints *e = owner;

    take(e);
    e->ops->resolved(e);
}

/* ---- looking up ---- */

static void look_up(struct relay_endpoints *e)
{
    if (e->lookup != NULL || e->is_closed)
        return;
    e->lookup = relay_lookup_new(e->service, e->conf, e->paths, on_lookup_over, e);
    if (e->lookup != NULL) {
        if (relay_lookup_start(e->lookup))
            take(e);
    } else if (e->state == RELAY_ENDPOINTS_UNKNOWN) {
        e->state = RELAY_ENDPOINTS_FAILED;
        report_unresolved(e);
    }
}

bool relay_endpoints_resolve(struct relay_endpoints *e)
{
    bool is_old = e->state != RELAY_ENDPOINTS_FAILED && now_ms(e) >= e->expires_ms;

    if (is_old && relay_endpoints_refusal(e) != REPLY_OK)
        e->state = RELAY_ENDPOINTS_UNKNOWN; /* nobody is refused for good by old answers */
    if (is_old || e->state == RELAY_ENDPOINTS_UNKNOWN)
        look_up(e);
    return e->state != RELAY_ENDPOINTS_UNKNOWN;
}

enum reply_id relay_endpoints_refusal(const struct relay_endpoints *e)
{
    switch (e->state) {
    case RELAY_ENDPOINTS_OWN:
        return REPLY_MAIL_LOOPS_BACK;
    case RELAY_ENDPOINTS_NULL_MX:
        return REPLY_NULL_MX;
    case RELAY_ENDPOINTS_UNKNOWN:
    case RELAY_ENDPOINTS_KNOWN:
    case RELAY_ENDPOINTS_FAILED:
        break;
    }
    return REPLY_OK;
}

bool relay_endpoints_are_down(struct relay_endpoints *e)
{
    bool is_only_first = e->conf->balance == RELAY_BALANCE_FIRST && !e->conf->fails_over;

    if (e->state != RELAY_ENDPOINTS_KNOWN)
        return e->state == RELAY_ENDPOINTS_FAILED;
    unsigned down = relay_endpoints_down_count(e);
    return is_only_first ? relay_health_is_down(&e->at[0].health) : down == e->count;
}

unsigned relay_endpoints_position(const struct relay_endpoints *e, unsigned turn)
{
    uint64_t sum = 0, left;

    assert(e->count != 0);
    for (unsigned i = 0; i < e->count; i++)
        sum += e->at[i].weight;
    left = turn % sum;
    for (unsigned i = 0; i < e->count; i++) {
        if (left < e->at[i].weight)
            return i;
        left -= e->at[i].weight;
    }
    return 0;
}

int relay_endpoints_why(const struct relay_endpoints *e)
{
    for (unsigned i = 0; i < e->count; i++)
        if (relay_health_is_down(&e->at[i].health))
            return relay_health_why(&e->at[i].health);
    return 0;
}

/* ---- what came of a connection ---- */

void relay_endpoints_failed(struct relay_endpoints *e, const struct stream_target *to, int error,
                            const struct reply *reply)
{
    struct relay_endpoint *endpoint = find(e, to);

    if (endpoint == NULL)
        return;
    relay_health_note_why(&endpoint->health,
                          reply != NULL && reply->code != 0 ? reply->code : error);
    bool is_news = relay_health_open(&endpoint->health, now_ms(e));
    unsigned left = e->count - relay_endpoints_down_count(e);
    if (is_news)
        relay_log_down(e->log, to, error, reply, left);
}

void relay_endpoints_worked(struct relay_endpoints *e, const struct stream_target *to)
{
    struct relay_endpoint *endpoint = find(e, to);

    if (endpoint == NULL)
        return;
    endpoint->is_met = true;
    uint32_t seconds = relay_health_down_seconds(&endpoint->health, now_ms(e));
    if (!relay_health_close(&endpoint->health))
        return;
    relay_log_up(e->log, to, seconds);
    e->ops->up(e);
}

void relay_endpoints_strike(struct relay_endpoints *e, const struct stream_target *to)
{
    struct relay_endpoint *endpoint = find(e, to);

    if (endpoint == NULL)
        return;
    e->count--;
    memmove(endpoint, endpoint + 1, (size_t)(e->at + e->count - endpoint) * sizeof(*endpoint));
    if (e->count == 0)
        e->state = RELAY_ENDPOINTS_OWN;
}

/* The addresses may have changed meanwhile. */
static void look_again(struct relay_endpoints *e)
{
    if (e->state == RELAY_ENDPOINTS_FAILED)
        look_up(e);
    else
        relay_endpoints_resolve(e);
}

static void on_probe(struct deadline *deadline)
{
    struct relay_endpoints *e = CONTAINER_OF(deadline, struct relay_endpoints, probe_deadline);

    e->is_watching = false;
    look_again(e);
    for (unsigned i = 0; i < e->count; i++)
        if (relay_health_take_turn(&e->at[i].health, now_ms(e), e->conf->times.health_interval_ms))
            e->ops->probe(e, &e->at[i].to);
    if (e->state == RELAY_ENDPOINTS_FAILED || relay_endpoints_down_count(e) != 0)
        arm(e);
}

static const struct deadline_use probe_use = {.reached = on_probe};

void relay_endpoints_probe(struct relay_endpoints *e)
{
    if (e->is_closed)
        return;
    look_again(e);
    for (unsigned i = 0; i < e->count; i++)
        if (relay_health_is_down(&e->at[i].health))
            e->ops->probe(e, &e->at[i].to);
}

/* ---- life ---- */

int relay_endpoints_init(struct relay_endpoints *e, const struct relay_endpoints_ops *ops,
                         const struct relay_service *service, const struct relay_conf *conf,
                         struct relay_log *log)
{
    const struct relay_addresses *addresses = &conf->addresses;

    *e = (struct relay_endpoints){.ops = ops, .service = service, .conf = conf, .log = log};
    deadline_init(&e->probe_deadline, &probe_use);
    relay_health_init(&e->names, service->sharing, log->target, bytes_make(NULL, 0));
    if (addresses->count == 0)
        return 0;
    e->paths = mem_zalloc(addresses->count * sizeof(*e->paths));
    if (e->paths == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < addresses->count; i++) {
        struct bytes path = addresses->at[i].at.path;
        if (addresses->at[i].at.kind != ENDPOINT_UNIX)
            continue;
        e->paths[i] = mem_zalloc(path.len + 1);
        if (e->paths[i] == NULL)
            return ERR_MEMORY;
        memcpy(e->paths[i], path.at, path.len);
    }
    return 0;
}

void relay_endpoints_close(struct relay_endpoints *e)
{
    e->is_closed = true;
    deadline_clear(e->service->loop, &e->probe_deadline);
    relay_lookup_free(&e->lookup);
}

void relay_endpoints_done(struct relay_endpoints *e)
{
    assert(e->lookup == NULL);
    for (size_t i = 0; e->paths != NULL && i < e->conf->addresses.count; i++)
        mem_free(e->paths[i]);
    mem_free(e->paths);
    mem_free(e->at);
}
