/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole worker in a world: the input says what clients, targets, DNS, the disk and the clock do;
 * what came of it is checked against the promises. */
/* needs: tests/fuzz/session_client.c tests/fuzz/session_target.c tests/fuzz/session_ledger.c */
/* needs: shell proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "filters/filter.h"
#include "filters/filter_conf.h"
#include "tests/fuzz/session_ledger.h"
#include "tests/sim/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALM_MS    150000 /* at the end: every deadline passes */
#define STEPS_MAX  400
#define MEMORY_MAX ((size_t)24 << 20) /* octets in blocks of the pools */
/* When the filter is asked, which the upper half of what chooses a configuration has. */
#define FILTER_FROM 128
#define FILTER_STAGES                                                                              \
    (1U << SESSION_STAGE_HELO | 1U << SESSION_STAGE_MAIL | 1U << SESSION_STAGE_RCPT |              \
     1U << SESSION_STAGE_DATA | 1U << SESSION_STAGE_END)

static const char *const configs[] = {
    "",
    "[relay \"target\"]\nidentity = xclient\n",
    "[relay \"target\"]\nidentity = proxy-v1\nidle-connections = 0\n",
    "[relay \"target\"]\naddress = 198.51.100.2:25\nmax-connections = 1\nidentity-failure = pass\n",
    "[relay \"target\"]\non-failure = tempfail\n",
};
#define TEMPFAIL (ARRAY_LENGTH(configs) - 1) /* the one without a spool */
/* From here on, below FILTER_FROM, clients may say who they are. */
#define FRONTS_FROM 112
static const char fronts[] =
    "[smtpd \"mx.test\"]\nxclient-from = 192.0.2.0/28\nxforward-from = 192.0.2.0/24\n"
    "max-connections-per-client = 2\nearly-input = reject\n";

/* Deadlines are short, since what happens meanwhile costs time: look-outs of the spool, probes. */
static const char common[] =
    "copy-memory = 64k\nmax-copies = 2m\nbounce-to = none\n"
    "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\nmax-recipients = 4\n"
    "max-message-size = 300k\n"
    "command-timeout = 50s\ndata-timeout = 50s\n"
    "[relay \"target\"]\naddress = 198.51.100.1:25\nreceived = never\nretry = 45s\n"
    "command-timeout = 20s\nenvelope-timeout = 30s\ndata-timeout = 40s\nfinal-timeout = 55s\n"
    "[maildir \"box\"]\npath = \"/mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\"\n"
    "[route]\n@target.test target\n@mail.test box\n@list.test target, box\n";

struct fuzz {
    struct bytes in;
    struct sim *world;
    struct session_ledger *ledger; /* whose blocks serve one input after the other */
    struct filter filter;
    struct filter_seat *thinks_of[64]; /* questions, the oldest first */
    unsigned thinking;
    unsigned caps;
    unsigned refuse_next; /* 1: refuses, 2: hangs */
    int steps;
    bool has_fronts;
    bool is_calm, is_over;
};

static uint8_t take(struct fuzz *f)
{
    uint8_t octet = 0;

    if (f->in.len > 0) {
        octet = f->in.at[0];
        f->in = bytes_skip(f->in, 1);
    }
    return octet;
}

/* ---- clients ---- */

static void connect_client(struct fuzz *f, struct session_client *c)
{
    struct netaddr from, to;

    if (c->peer != NULL)
        return;
    netaddr_parse_with_port(bytes_of("192.0.2.9:40001"), 1, &from);
    netaddr_parse_with_port(bytes_of("192.0.2.1:25"), 1, &to);
    from.octets[3] = (uint8_t)(from.octets[3] + (c - f->ledger->clients));
    c->peer = sim_connect(f->world, &from, &to);
    PIECES_MUST(c->peer != NULL);
}

static void say_line(struct session_client *c, uint8_t which)
{
    static const char *const lines[] = {
        "EHLO client.test\r\n",
        "HELO client.test\r\n",
        "MAIL FROM:<from@client.test>\r\n",
        "MAIL FROM:<> SIZE=100\r\n",
        "RCPT TO:<one@target.test>\r\n",
        "RCPT TO:<two@target.test>\r\n",
        "RCPT TO:<one@mail.test>\r\n",
        "RCPT TO:<two@list.test>\r\n",
        "RCPT TO:<nobody@no.test>\r\n",
        "DATA\r\n",
        "Subject: text\r\n\r\nbody\r\n",
        ".\r\n",
        "RSET\r\n",
        "QUIT\r\n",
        "NOOP\r\n",
        "MAIL FROM:<from@client.test>\r\nRCPT TO:<one@target.test>\r\nDATA\r\n",
        "MAIL FROM:<from@client.test>\r\nRCPT TO:<one@list.test>\r\nDATA\r\n",
        "MAIL FROM:<from@client.test>\r\nRCPT TO:<one@mail.test>\r\nDATA\r\n",
        "text\r\n.\r\n",
        "..\r\n.x\r\n\n.\r\n\r.\r\n",
    };

    session_client_say(c, bytes_of(lines[which % ARRAY_LENGTH(lines)]));
}

static void say_identity(struct session_client *c, uint8_t which)
{
    static const char *const lines[] = {
        "XCLIENT ADDR=192.0.2.1\r\n",
        "XCLIENT ADDR=203.0.113.7 NAME=other.test HELO=other.test PROTO=ESMTP LOGIN=joe\r\n",
        "XCLIENT ADDR=[UNAVAILABLE]\r\n",
        "XCLIENT ADDR=IPV6:2001:db8::7 TTL=1\r\n",
        "XCLIENT TTL=0\r\n",
        "XCLIENT NAME=one.test LOGIN=ann\r\n",
        "XFORWARD ADDR=203.0.113.8 NAME=far.test\r\n",
        "XFORWARD IDENT=X\r\nMAIL FROM:<from@client.test>\r\n",
    };

    session_client_say(c, bytes_of(lines[which % ARRAY_LENGTH(lines)]));
}

static void say_raw(struct fuzz *f, struct session_client *c)
{
    struct bytes raw = bytes_first(f->in, take(f));

    f->in = bytes_skip(f->in, raw.len < f->in.len ? raw.len : f->in.len);
    session_client_say(c, raw);
}

/* At most one and a half of what a copy keeps in memory. */
static void say_much(struct session_client *c, uint8_t amount)
{
    static const char line[] = "0123456789012345678901234567890123456789012345678901234567890\r\n";
    static struct pieces_seen all;

    while (all.len < UINT8_MAX * (size_t)384)
        pieces_see(&all, bytes_of(line));
    session_client_say(c, bytes_first(pieces_seen_bytes(&all), amount * (size_t)384));
}

static void act_as_client(struct fuzz *f, uint8_t what)
{
    struct session_client *c = &f->ledger->clients[(what >> 6) % SESSION_CLIENTS];

    connect_client(f, c);
    switch ((what >> 2) % 8) {
    case 0:
        say_raw(f, c);
        break;
    case 1:
        say_much(c, take(f));
        break;
    case 2:
        if (sim_peer_state(c->peer) == SIM_PEER_OPEN)
            (what & 32 ? sim_shutdown : sim_close)(c->peer);
        break;
    case 3:
        sim_reset(c->peer);
        break;
    case 4:
        sim_set_reading(c->peer, (take(f) & 1) != 0);
        break;
    case 5:
        if (f->has_fronts) {
            say_identity(c, take(f));
            break;
        }
        say_line(c, take(f));
        break;
    default:
        say_line(c, take(f));
        break;
    }
}

/* ---- targets ---- */

static const char *const replies[] = {
    "250 2.0.0 Fine\r\n",
    "450 4.2.0 Later\r\n",
    "550 5.1.1 Nobody\r\n",
    "421 4.3.2 Away\r\n",
    "421 4.7.0 Policy\r\n",
    "354 Go\r\n",
    "554 5.7.1 Never\r\n",
    "521 5.3.2 No mail\r\n",
    "220 Hello\r\n",
    "250-2.0.0 A\r\n250 B\r\n",
    "garbage\r\n",
    "999 What\r\n",
    "501 5.5.4 Syntax\r\n",
    "530 5.7.0 Auth first\r\n",
    "450-4.2.0 Mixed\r\n550 5.1.1 up\r\n",
    "550 5.7.0 No XCLIENT\r\n",
};

/* Connections that wait are answered at once, as the input said before. */
static bool meet_targets(struct fuzz *f)
{
    struct session_ledger *l = f->ledger;
    struct sim_peer *peer;
    bool has_any = false;

    while ((peer = sim_target(f->world, (unsigned)l->target_count)) != NULL &&
           l->target_count < SESSION_TARGETS_MAX) {
        struct session_target *t = &l->targets[l->target_count++];
        *t = (struct session_target){.peer = peer};
        if (f->refuse_next == 0 || f->is_calm) {
            session_target_begin(t, peer, f->caps);
            session_target_greet(t);
        } else if (f->refuse_next == 1) {
            sim_refuse(peer, -ECONNREFUSED);
        }
        f->refuse_next = 0;
        has_any = true;
    }
    return has_any;
}

static struct session_target *pick_target(struct fuzz *f, uint8_t which)
{
    struct session_ledger *l = f->ledger;
    struct session_target *t = &l->targets[l->target_count - 1 - which % l->target_count];

    return sim_peer_state(t->peer) == SIM_PEER_OPEN ? t : NULL;
}

static void act_as_target(struct fuzz *f, uint8_t what)
{
    struct session_target *t =
        f->ledger->target_count == 0 ? NULL : pick_target(f, (uint8_t)(what >> 6));
    uint8_t more = take(f);

    if ((what >> 2) % 8 == 0)
        f->caps = more;
    else if ((what >> 2) % 8 == 1)
        f->refuse_next = more % 3;
    if (t == NULL)
        return;
    switch ((what >> 2) % 8) {
    case 2:
        t->is_doubtful = true;
        t->instead = replies[more % ARRAY_LENGTH(replies)];
        break;
    case 3:
        t->is_doubtful = true;
        t->is_holding = true;
        break;
    case 4:
        session_target_release(t);
        break;
    case 5:
        t->is_doubtful = true;
        (more & 1 ? sim_reset : sim_close)(t->peer);
        break;
    case 6:
        if (more < 64)
            session_target_say(t, replies[more % ARRAY_LENGTH(replies)]);
        else
            session_target_refuse_early(t);
        break;
    case 7:
        t->is_doubtful = true;
        sim_set_reading(t->peer, (more & 1) != 0);
        break;
    }
}

/* ---- the filter ---- */

/* These codes are nobody else's: the ledger knows by them who has refused a message. */
static void answer_filter(struct filter_seat *seat, uint8_t how)
{
    static const char *const words[] = {"", "", SESSION_FILTER_DEFERS " 4.7.1 Filtered\r\n",
                                        SESSION_FILTER_REFUSES " 5.7.1 Filtered\r\n"};
    const char *text = words[how % ARRAY_LENGTH(words)];
    struct filter_verdict verdict = {.opinion = text[0] == '\0' ? FILTER_CONTINUE : FILTER_REPLY};

    verdict.reply =
        (struct reply){.code = (uint16_t)strtoul(text, NULL, 10), .wire = bytes_of(text)};
    filter_answer(seat, &verdict);
}

static void ask_filter(struct filter_seat *seat, const struct filter_question *question)
{
    struct fuzz *f = CONTAINER_OF(seat->filter, struct fuzz, filter);
    uint8_t how = take(f);

    (void)question;
    if (how < 128 || f->is_calm || f->thinking == ARRAY_LENGTH(f->thinks_of))
        answer_filter(seat, how);
    else
        f->thinks_of[f->thinking++] = seat;
}

static struct filter_seat *remove_question(struct fuzz *f, unsigned at)
{
    struct filter_seat *seat = f->thinks_of[at];

    f->thinking--;
    memmove(f->thinks_of + at, f->thinks_of + at + 1, (f->thinking - at) * sizeof(seat));
    return seat;
}

static void forget_filter(struct filter_seat *seat)
{
    struct fuzz *f = CONTAINER_OF(seat->filter, struct fuzz, filter);
    unsigned at = 0;

    while (f->thinks_of[at] != seat)
        at++;
    (void)remove_question(f, at);
}

static void free_nothing(struct filter *filter)
{
    (void)filter;
}

/* The oldest question. False: there is none. */
static bool end_thinking(struct fuzz *f, uint8_t how)
{
    if (f->thinking == 0)
        return false;
    answer_filter(remove_question(f, 0), how);
    return true;
}

/* ---- the world ---- */

static void ask_dns(struct fuzz *f, uint8_t more)
{
    static const char *const names[] = {"client.test", "evil\r\nQUIT", "other.test client.test",
                                        "192.0.2.9"};

    sim_dns(f->world, SIM_NAMES, "192.0.2.9", (enum dns_status)(more % 3), (more >> 2) % 8 * 1000u,
            names[more >> 6]);
    sim_dns(f->world, SIM_ADDRESSES, "client.test", more & 32 ? DNS_FOUND : DNS_TEMPORARY,
            (more >> 3) % 4 * 1000u, "192.0.2.8 192.0.2.9");
}

static void act_on_world(struct fuzz *f, uint8_t what)
{
    static const uint64_t waits_ms[] = {100, 1000, 5000, 11000, 21000, 31000, 61000, 120000};
    uint8_t more = take(f);

    if ((what & 16) != 0 && end_thinking(f, more))
        return;
    switch ((what >> 2) % 4) {
    case 0:
        sim_wait(f->world, waits_ms[more % ARRAY_LENGTH(waits_ms)]);
        break;
    case 1:
        ask_dns(f, more);
        break;
    case 2:
        f->ledger->has_faults = true;
        sim_disk_fail(f->world, (enum sim_disk_call)(more % SIM_DISK_CALLS), 1 + more / 64u,
                      more & 32 ? -ENOSPC : 0);
        break;
    case 3:
        f->ledger->has_faults = true;
        mem_fail_nth(more);
        break;
    }
}

static void act(struct fuzz *f)
{
    uint8_t what = take(f);

    switch (what % 4) {
    case 0:
    case 1:
        act_as_client(f, what);
        break;
    case 2:
        act_as_target(f, what);
        break;
    case 3:
        act_on_world(f, what);
        break;
    }
}

/* ---- running ---- */

static bool look_around(struct fuzz *f)
{
    bool has_any = meet_targets(f);

    for (int i = 0; i < SESSION_CLIENTS; i++)
        session_client_listen(&f->ledger->clients[i]);
    for (int i = 0; i < f->ledger->target_count; i++)
        has_any = session_target_serve(&f->ledger->targets[i]) || has_any;
    PIECES_MUST(sim_pool_bytes(f->world) <= MEMORY_MAX);
    return has_any;
}

static void calm_down(struct fuzz *f)
{
    f->is_calm = true;
    mem_fail_nth(0);
    for (int i = 0; i < SIM_DISK_CALLS; i++)
        sim_disk_fail(f->world, (enum sim_disk_call)i, 0, 0);
    for (int i = 0; i < f->ledger->target_count; i++) {
        if (sim_peer_state(f->ledger->targets[i].peer) != SIM_PEER_OPEN)
            continue;
        session_target_release(&f->ledger->targets[i]);
        sim_set_reading(f->ledger->targets[i].peer, true);
    }
    for (int i = 0; i < SESSION_CLIENTS; i++)
        if (f->ledger->clients[i].peer != NULL)
            sim_set_reading(f->ledger->clients[i].peer, true);
    while (end_thinking(f, take(f))) {
    }
    sim_wait(f->world, CALM_MS);
}

static bool on_quiet(void *owner)
{
    struct fuzz *f = owner;

    if (look_around(f))
        return true;
    if (f->is_over)
        return false;
    if (f->in.len > 0 && f->steps++ < STEPS_MAX) {
        act(f);
    } else if (!f->is_calm) {
        calm_down(f);
    } else {
        f->is_over = true;
        sim_signal(f->world, SIGTERM);
    }
    return true;
}

static const struct config *config_for(unsigned which, bool has_fronts)
{
    static struct config *known[ARRAY_LENGTH(configs)][2];
    char text[2048];

    if (known[which][has_fronts] == NULL) {
        snprintf(text, sizeof(text), "%s%s%s", common, configs[which],
                 has_fronts ? fronts : "[smtpd \"mx.test\"]\nearly-input = accept\n");
        known[which][has_fronts] = stage_config(text);
    }
    PIECES_MUST(known[which][has_fronts] != NULL);
    return known[which][has_fronts];
}

/* No buffer of what is said to targets fails, unless an allocation did. */
static void check_shortage(const struct fuzz *f)
{
    static const char shortage[] = "shortage target=";
    struct bytes log = sim_log(f->world);

    PIECES_MUST(f->ledger->has_faults || log.len == 0 ||
                memmem(log.at, log.len, shortage, sizeof(shortage) - 1) == NULL);
}

static const struct filter_ops filter_ops = {
    .ask = ask_filter, .forget = forget_filter, .free = free_nothing};
static const struct filter_common filter_common = {.section = {(const uint8_t *)"fuzz", 4}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz fuzz;
    static struct session_ledger ledger;
    struct fuzz *f = &fuzz;
    uint8_t way;

    *f = (struct fuzz){.in = bytes_make(data, size), .ledger = &ledger};
    uint8_t first = take(f);
    f->has_fronts = first % FILTER_FROM >= FRONTS_FROM;
    unsigned which = first % FILTER_FROM % ARRAY_LENGTH(configs);
    const struct config *config = config_for(which, f->has_fronts);
    f->filter = (struct filter){
        .ops = &filter_ops, .common = &filter_common, .stages = FILTER_STAGES, .timeout_ms = 15000};
    stage_filter(config, first < FILTER_FROM ? NULL : &f->filter);
    f->ledger->spools = which != TEMPFAIL;
    f->caps = take(f);
    way = take(f);
    f->world = sim_new(way);
    sim_set_ways(f->world, &(struct sim_ways){.shuffles = (way & 1) != 0,
                                              .cuts = (way & 2) != 0,
                                              .window_bytes = way & 4 ? 1000 : 0});
    sim_on_quiet(f->world, on_quiet, f);
    sim_ask_targets(f->world, true);
    PIECES_MUST(stage_run(config) == 0);
    mem_fail_nth(0);
    PIECES_MUST(f->thinking == 0);
    session_ledger_check(f->ledger, f->world);
    check_shortage(f);
    session_ledger_forget(f->ledger);
    sim_free(&f->world);
    return 0;
}
