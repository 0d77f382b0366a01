/* SPDX-License-Identifier: BSD-2-Clause */
/* A relay between carriers and scripted targets: performs the steps of a scenario. */
#include "tests/unit/relay_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/copy.h"
#include "proxy/io/disk.h"
#include "proxy/io/log.h"
#include "route/carrier.h"
#include "route/relay/relay.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_service.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"
#include "tests/unit/relay_others.h"

#define CLIENTS   9
#define TARGETS   16
#define RCPTS_MAX 16

struct client {
    struct carrier carrier;
    struct world *world;
    struct transaction tx;
    struct arena mail;
    struct identity who;
    struct lib_text *seen;
    char helo[16];
    char words[600];
    char facts[200];
    unsigned told; /* recipients whose reply was noted */
    bool has_tx, wants_go;
};

struct world {
    const struct relay_scenario *scenario;
    size_t row, at;
    struct sim *sim;
    struct loop *loop;
    struct log *log;
    struct dns *dns;
    struct relay_service service;
    struct relay_others others;
    struct relay_conf conf;
    struct relay_address addresses[TARGETS];
    char hosts[512];
    struct target_services targets;
    struct target *relay;
    struct arena arena;
    struct pool pool;
    struct copy_limits copies;
    struct client clients[CLIENTS];
    int ups;
    bool is_over, is_starved;
};

/* ---- carriers ---- */

static struct client *client_of(struct carrier *carrier)
{
    return CONTAINER_OF(carrier, struct client, carrier);
}

static void note(struct client *c, const char *what, const struct reply *reply, bool is_unverified)
{
    size_t len = reply->wire.len < sizeof(c->words) ? reply->wire.len : sizeof(c->words) - 1;

    lib_put(c->seen, "%s=%u%s ", what, reply->code, is_unverified ? "?" : "");
    memcpy(c->words, reply->wire.at, len);
    c->words[len] = '\0';
}

static void note_answers(struct client *c)
{
    unsigned number = 0;

    LIST_EACH (link, &c->tx.recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (number++ < c->told)
            continue;
        if (r->envelope == FATE_OPEN)
            return;
        char name[ADDRESS_PATH_MAX + 1] = {0};
        memcpy(name, r->original.local.at, r->original.local.len);
        note(c, name, &r->answer, r->is_unverified && c->tx.policy == TRANSACTION_LIVE);
        c->told++;
    }
}

static void note_facts(struct client *c)
{
    if (list_is_empty(&c->tx.branches))
        return;
    const struct branch_facts *f =
        &LIST_ENTRY(c->tx.branches.prev, struct branch, in_transaction)->facts;
    snprintf(c->facts, sizeof(c->facts), "%.*s %.*s%s%s%s", (int)f->address.len,
             (const char *)f->address.at, (int)f->identity.len, (const char *)f->identity.at,
             f->is_reused ? " reused" : "", f->is_replayed ? " replayed" : "",
             f->may_be_duplicate ? " duplicate" : "");
}

static void go(struct client *c)
{
    enum transaction_go answer = c->wants_go ? transaction_go(&c->tx) : TRANSACTION_GO_WAIT;

    if (answer == TRANSACTION_GO_WAIT)
        return;
    c->wants_go = false;
    lib_put(c->seen, answer == TRANSACTION_GO_AHEAD ? "go " : "none ");
}

static void on_feed(struct carrier *carrier, const struct event *ev)
{
    transaction_feed(&client_of(carrier)->tx, ev);
}

static void on_perform_all(struct carrier *carrier)
{
    struct client *c = client_of(carrier);
    struct action todo;

    do {
        while (c->has_tx && transaction_next(&c->tx, &todo))
            carrier_perform(carrier, &todo);
        if (!c->has_tx)
            return;
        note_answers(c);
        go(c);
    } while (!list_is_empty(&c->tx.todo));
}

/* The spool file is written, and lies there, in no time. */
static void on_prepare_spool(struct carrier *carrier)
{
    carrier_report(carrier, &(struct event){.kind = EV_PREPARED});
}

static void on_commit_spool(struct carrier *carrier)
{
    carrier_report(carrier, &(struct event){.kind = EV_COMMITTED});
    lib_put(client_of(carrier)->seen, "spooled ");
}

static void on_settled(struct carrier *carrier)
{
    struct client *c = client_of(carrier);

    note_facts(c);
    if (c->tx.outcome.code != 0)
        note(c, "end", &c->tx.outcome, false);
    copy_free(&carrier->copy);
    carrier->transaction = NULL;
    c->has_tx = false;
}

static const struct carrier_ops carrier_ops = {
    .feed = on_feed,
    .perform_all = on_perform_all,
    .prepare_spool = on_prepare_spool,
    .commit_spool = on_commit_spool,
    .settled = on_settled,
};

static const struct draft_folder drafts = {.directory = "/spool"};

static void ignore(void *owner)
{
    (void)owner;
}

static void ignore_unkept(void *owner, int error)
{
    (void)owner;
    (void)error;
}

static const struct copy_use copy_use = {.room = ignore, .unkept = ignore_unkept, .failed = ignore};

static void begin(struct client *c, const char *params)
{
    struct envelope envelope = {.params = bytes_of(params == NULL ? "" : params)};
    static const char id[] = "237B000000000000";

    arena_reset(&c->mail);
    memcpy(envelope.id.text, id, sizeof(id));
    envelope.from = (struct address){.local = bytes_of("s"), .domain = bytes_of("from.test")};
    transaction_init(&c->tx, &c->mail, &envelope, &c->who);
    if (c->carrier.is_spooled)
        c->tx.policy = TRANSACTION_QUEUED;
    c->carrier.copy = copy_new(c->world->loop, &c->world->copies,
                               copy_net_of(&c->world->copies, NULL), &copy_use, c);
    c->carrier.transaction = &c->tx;
    c->has_tx = c->carrier.copy != NULL;
    c->wants_go = false;
    c->told = 0;
}

static void ask_recipient(struct client *c, const char *text)
{
    const char *name = text + strspn(text, "!*?");
    size_t marks = (size_t)(name - text), len = strcspn(name, " ");
    struct address to = {.local = bytes_first(bytes_of(name), len), .domain = bytes_of("to.test")};
    struct recipient *r = transaction_add(&c->tx, &to);
    struct target *target = c->world->relay;
    struct routed_leg leg = {.target = target, .to = to, .may_spool = target->may_spool};
    struct routed routed = {
        .legs = &leg,
        .leg_count = 1,
        .guard = memchr(text, '!', marks) != NULL ? REPLY_RELAYING_DENIED : REPLY_OK,
        .names_domain = memchr(text, '*', marks) == NULL,
    };

    if (r == NULL)
        return;
    r->params = bytes_of(name + len);
    r->is_unverified = memchr(text, '?', marks) != NULL;
    leg.to = r->original;
    transaction_feed(&c->tx, &(struct event){.kind = EV_ROUTED, .rcpt = r, .routed = &routed});
}

static void know_name(struct client *c, const char *name)
{
    c->who.name_state = name[0] == '\0' ? IDENTITY_NAME_UNAVAILABLE : IDENTITY_NAME_CONFIRMED;
    c->who.name = bytes_of(name);
    carrier_named(&c->carrier);
}

static void bring(struct client *c, struct bytes content)
{
    for (size_t room; content.len != 0; content = bytes_skip(content, room)) {
        room = copy_room(c->carrier.copy);
        room = room < content.len ? room : content.len;
        if (room == 0 || copy_append(c->carrier.copy, bytes_first(content, room)) != 0) {
            struct reply refusal = reply_own(REPLY_LOCAL_PROBLEM);
            transaction_refuse(&c->tx, &refusal);
            return;
        }
    }
}

static void end_content(struct client *c)
{
    copy_finish(c->carrier.copy);
    if (c->tx.state == TX_CONTENT)
        transaction_end(&c->tx);
}

static void abandon(struct client *c)
{
    if (!c->has_tx)
        return;
    transaction_abandon(&c->tx);
    carrier_drain(&c->carrier);
}

static void make_spooled(struct client *c, const char *text)
{
    static const struct {
        const char *text;
        unsigned kind;
    } kinds[] = {{"xclient", IDENTITY_KIND_XCLIENT},
                 {"xforward", IDENTITY_KIND_XFORWARD},
                 {"proxy-v1", IDENTITY_KIND_PROXY_V1},
                 {"none", IDENTITY_KIND_NONE}};

    c->carrier.is_spooled = true;
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
        if (strcmp(kinds[i].text, text) == 0)
            c->carrier.spooled_identity = kinds[i].kind;
}

static void show(struct client *c, const char *text)
{
    struct view view = view_whole();
    char *fields;

    view.at = strtoull(text, &fields, 10);
    view.lines = bytes_of(fields + 1);
    (void)transaction_show(&c->tx, c->world->relay, &view);
}

static void client_step(struct client *c, const struct relay_step *step)
{
    if (step->verb == MAIL || step->verb == GIVE_UP)
        abandon(c);
    if (!c->has_tx && step->verb != MAIL && step->verb != LEAVE && step->verb != NAMED &&
        step->verb != SPOOLED)
        return;
    if (step->verb == MAIL)
        begin(c, step->text);
    else if (step->verb == RCPT)
        ask_recipient(c, step->text);
    else if (step->verb == DATA)
        transaction_data(&c->tx);
    else if (step->verb == SHOW)
        show(c, step->text);
    else if (step->verb == CONTENT || step->verb == WHOLE)
        bring(c, bytes_of(step->text));
    if (step->verb == END || step->verb == WHOLE)
        end_content(c);
    else if (step->verb == NAMED)
        know_name(c, step->text);
    else if (step->verb == LEAVE)
        carrier_let_go(&c->carrier);
    else if (step->verb == SPOOLED)
        make_spooled(c, step->text);
    c->wants_go = c->wants_go || step->verb == DATA;
    carrier_drain(&c->carrier);
}

static void client_looks(struct world *w, struct client *c, const struct relay_step *step)
{
    if (w->is_starved)
        return;
    if (step->verb == WORDS)
        lib_same_text(w->row, step->text, step->text, c->words);
    else if (step->verb == FACTS)
        lib_same_text(w->row, "facts", step->text, c->facts);
    else
        lib_same_text(w->row, "seen", step->text, c->seen->at);
    if (step->verb == SEES)
        *c->seen = (struct lib_text){.len = 0};
}

/* ---- targets and the relay ---- */

static void target_hears(struct world *w, struct sim_peer *p, const struct relay_step *step)
{
    struct bytes got = sim_received(p), expected = bytes_of(step->text);

    if (step->verb == HEAR_END && got.len > expected.len)
        got = bytes_skip(got, got.len - expected.len);
    if (!w->is_starved)
        lib_same_bytes(w->row, "heard", expected, got);
    sim_take(p, sim_received(p).len);
}

static void target_step(struct world *w, const struct relay_step *step)
{
    struct sim_peer *p = sim_target(w->sim, (unsigned)step->number);

    if (step->verb == NOBODY || p == NULL) {
        bool is_so = (step->verb == NOBODY) == (p == NULL);
        lib_is_true(w->row, p == NULL ? "a connection" : "nobody there", w->is_starved || is_so);
        return;
    }
    bool is_open = sim_peer_state(p) == SIM_PEER_OPEN;
    bool has_left = sim_has_eof(p) || sim_was_reset(p);
    if (step->verb == ACCEPT)
        sim_accept(p);
    else if (step->verb == REFUSE)
        sim_refuse(p, -ECONNREFUSED);
    else if (step->verb == SAY && is_open)
        sim_send(p, bytes_of(step->text));
    else if (step->verb == HEAR || step->verb == HEAR_END)
        target_hears(w, p, step);
    else if (step->verb == CLOSE && is_open)
        sim_close(p);
    else if (step->verb == LEFT || step->verb == OPEN)
        lib_is_true(w->row, "left", w->is_starved || has_left == (step->verb == LEFT));
}

static void look_at_log(struct world *w, const struct relay_step *step)
{
    struct bytes log = sim_log(w->sim);
    bool is_there = log.len == 0;

    if (step->verb != SILENT)
        is_there = log.len != 0 && memmem(log.at, log.len, step->text, strlen(step->text)) != NULL;
    if (!w->is_starved &&
        !lib_is_true(w->row, step->verb == SILENT ? "silent" : step->text, is_there))
        lib_same_bytes(w->row, "log", bytes_make(step->text, 0), log);
    sim_forget_log(w->sim);
}

static void on_came_up(void *owner, struct target *target)
{
    struct world *w = owner;
    w->ups += target == w->relay;
}

static void take_step(struct world *w, const struct relay_step *step)
{
    if (step->verb >= ACCEPT && step->verb <= OPEN)
        target_step(w, step);
    else if (step->verb >= MAIL && step->verb <= SPOOLED)
        client_step(&w->clients[step->number], step);
    else if (step->verb >= SEES && step->verb <= FACTS)
        client_looks(w, &w->clients[step->number], step);
    else if (step->verb == WARM)
        w->relay->ops->warm(w->relay);
    else if (step->verb == STOP)
        w->relay->ops->close(w->relay);
    else if (step->verb == NAMES)
        sim_dns(w->sim, SIM_ADDRESSES, step->number == 0 ? "t.test" : "u.test", DNS_FOUND, 0,
                step->text);
    else if (step->verb == MX)
        sim_dns(w->sim, SIM_MX, "relay", *step->text == '\0' ? DNS_TEMPORARY : DNS_FOUND, 0,
                step->text);
    else if (step->verb == PASS)
        sim_wait(w->sim, (uint64_t)step->number);
    else if (step->verb == OTHERS || (step->verb == TOLD && !w->is_starved))
        others_step(&w->others, w->row, step);
    else if (step->verb == LOGGED || step->verb == SILENT)
        look_at_log(w, step);
    else if (step->verb == CAME_UP && !w->is_starved)
        lib_same_number(w->row, "came up", step->number, w->ups);
    if (step->verb == CAME_UP)
        w->ups = 0;
}

static void finish(struct world *w)
{
    w->is_over = true;
    for (size_t i = 0; i < CLIENTS; i++) {
        abandon(&w->clients[i]);
        carrier_let_go(&w->clients[i].carrier);
    }
    for (unsigned i = 0; sim_target(w->sim, i) != NULL; i++)
        if (sim_peer_state(sim_target(w->sim, i)) == SIM_PEER_OPEN)
            sim_close(sim_target(w->sim, i));
    w->relay->ops->close(w->relay);
    relay_memory_close(w->service.memory);
    loop_stop(w->loop);
}

static bool on_quiet(void *owner)
{
    struct world *w = owner;
    const struct relay_step *step = &w->scenario->steps[w->at];

    if (w->is_over)
        return false;
    if (step->verb == STEP_END) {
        finish(w);
        return true;
    }
    w->at++;
    take_step(w, step);
    return true;
}

/* ---- life ---- */

static void read_addresses(struct world *w)
{
    char *rest = w->hosts;
    const char *one;

    strncpy(w->hosts, w->scenario->addresses, sizeof(w->hosts) - 1);
    w->conf.addresses.at = w->addresses;
    w->conf.addresses.count = 0;
    while (*w->hosts != '\0' && (one = strsep(&rest, " ")) != NULL) {
        struct relay_address *address = &w->addresses[w->conf.addresses.count++];
        address->weight = 1;
        struct endpoint *a = &address->at;
        *a = (struct endpoint){.kind = ENDPOINT_IP};
        if (strncmp(one, "unix:", 5) == 0)
            *a = (struct endpoint){.kind = ENDPOINT_UNIX, .path = bytes_of(one + 5)};
        else if (netaddr_parse_with_port(bytes_of(one), 25, &a->ip) != 0)
            *a = (struct endpoint){.kind = ENDPOINT_HOST, .host = bytes_of(one), .port = 25};
    }
}

static void init_client(struct world *w, unsigned number)
{
    struct client *c = &w->clients[number];

    c->world = w;
    carrier_init(&c->carrier, &carrier_ops, w->loop, &c->who);
    c->carrier.hostname = bytes_of("postern.test");
    c->carrier.resolve_by_ms = loop_now_ms(w->loop) + 5000;
    memcpy(c->helo, "c0.test", sizeof("c0.test"));
    c->helo[1] = (char)('0' + number);
    c->who = (struct identity){
        .name_state = IDENTITY_NAME_PENDING, .helo = bytes_of(c->helo), .is_esmtp = true};
    uint8_t net = number == 3 ? 3 : 2, host = (uint8_t)(number + 1);
    c->who.client = (struct netaddr){NETADDR_IPV4, .port = 4000, .octets = {192, 0, net, host}};
    c->who.local = (struct netaddr){.family = NETADDR_IPV4, .port = 25, .octets = {10, 0, 0, 1}};
    arena_init(&c->mail, &loop_pools(w->loop)->small, SIZE_MAX);
}

static const struct netaddr own_listeners[] = {
    {.family = NETADDR_IPV4, .port = 25, .octets = {10, 0, 0, 1}},
    {.family = NETADDR_IPV4, .port = 2525},
};

static int make_relay(struct world *w)
{
    static const struct log_sink sink = {.kind = LOG_TO_STDERR};
    int error = ERR_MEMORY;

    w->log = log_new(w->loop, &sink, 1, false, &error);
    w->dns = w->log == NULL ? NULL : dns_new(w->loop, NULL, 0, &error);
    if (w->dns == NULL)
        return error;
    w->service = (struct relay_service){.loop = w->loop,
                                        .dns = w->dns,
                                        .log = w->log,
                                        .log_sinks = 1,
                                        .sharing = others_begin(&w->others, w->scenario->steps),
                                        .own_listeners = own_listeners,
                                        .own_listener_count = ARRAY_LENGTH(own_listeners),
                                        .came_up = on_came_up,
                                        .owner = w};
    w->service.memory = relay_memory_new(w->loop, w->log, 1, bytes_of("/spool"), true, &error);
    if (w->service.memory == NULL)
        return error;
    error = relay_conf_implicit(bytes_of("relay"), bytes_of("postern.test"), &w->arena, &w->conf);
    if (error != 0)
        return error;
    w->conf.is_implicit = false;
    w->conf.identity = w->scenario->identity;
    w->conf.received = RELAY_RECEIVED_NEVER;
    w->conf.on_failure = RELAY_ON_FAILURE_TEMPFAIL;
    read_addresses(w);
    if (w->scenario->configure != NULL)
        w->scenario->configure(&w->conf);
    w->targets.relays = &w->service;
    w->relay = relay_kind.open(&w->targets, &w->conf);
    return w->relay == NULL ? ERR_MEMORY : 0;
}

static void free_world(struct world *w)
{
    if (w->relay != NULL)
        w->relay->ops->free(w->relay);
    others_end(&w->others, w->row);
    relay_memory_free(&w->service.memory);
    dns_free(&w->dns);
    log_free(&w->log);
    for (size_t i = 0; i < CLIENTS && w->loop != NULL; i++)
        arena_reset(&w->clients[i].mail);
    copy_limits_done(&w->copies);
    loop_free(&w->loop);
    arena_reset(&w->arena);
    pool_done(&w->pool);
    sim_free(&w->sim);
}

/* One run; true: everything could be made. The memory of the test's own is not postern's, so it
 * is there before an allocation may fail. */
static bool run(struct world *w, struct lib_text *seen, uint64_t seed, bool cuts)
{
    w->sim = sim_new(seed);
    sim_set_ways(w->sim, &(struct sim_ways){.shuffles = cuts, .cuts = cuts});
    sim_ask_targets(w->sim, true);
    sim_on_quiet(w->sim, on_quiet, w);
    disk_make_directories("/spool");
    pool_init(&w->pool, 4096, 2);
    arena_init(&w->arena, &w->pool, SIZE_MAX);
    w->copies = (struct copy_limits){
        .memory_max_bytes = 1 << 24, .memory_each_bytes = 1 << 24, .drafts = &drafts};
    w->loop = loop_new();
    bool is_made = w->loop != NULL && copy_limits_init(&w->copies, w->loop) == 0;
    if (is_made) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            init_client(w, i);
            w->clients[i].seen = &seen[i];
        }
        is_made = make_relay(w) == 0;
    }
    if (is_made)
        loop_run(w->loop);
    free_world(w);
    return is_made;
}

void relay_world_run(size_t row, const struct relay_scenario *s, uint64_t seed, bool cuts)
{
    static struct lib_text seen[CLIENTS];
    static struct world w;

    memset(seen, 0, sizeof(seen));
    w = (struct world){.scenario = s, .row = row};
    lib_is_true(row, s->name, run(&w, seen, seed, cuts));
    lib_is_true(row, "came to its end", s->steps[w.at].verb == STEP_END);
}

static bool run_starved(void *given)
{
    static struct lib_text seen[CLIENTS];
    static struct world w;

    memset(seen, 0, sizeof(seen));
    w = (struct world){.scenario = given, .is_starved = true};
    run(&w, seen, 1, false);
    return true;
}

uint64_t relay_world_starve(const struct relay_scenario *s)
{
    struct relay_scenario copy = *s;
    return lib_fail_each_allocation(run_starved, &copy);
}
