/* SPDX-License-Identifier: BSD-2-Clause */
/* Clients of a scenario: a few transactions each, pipelined or not; some vanish somewhere. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/scenario.h"

#define STEPS_MAX    48
#define SPREAD_MS    240000
#define TRIES_MAX    20
#define TRY_AGAIN_MS 15000
#define LONG_THOUGHT 20000

enum step_kind { STEP_EHLO, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_BODY, STEP_RSET, STEP_QUIT };

struct step {
    enum step_kind kind;
    struct message *message;
    unsigned recipient;
};

enum vanishing { VANISH_NOT, VANISH_RESET, VANISH_CLOSE, VANISH_SILENT };

struct client {
    struct list link;
    struct scenario *scenario;
    unsigned number, tries;
    struct sim_peer *peer;
    struct sim_event event;
    struct sim_timer timer;
    struct step steps[STEPS_MAX];
    unsigned count, sent, answered;
    bool is_greeted, has_dsn, pipelines, thinks, is_thinking, is_over;
    enum vanishing vanishing;
    uint64_t vanish_at, octets; /* of all that it sends */
};

/* ---- what it will say ---- */

static void add(struct client *c, enum step_kind kind, struct message *m, unsigned recipient)
{
    c->steps[c->count++] = (struct step){kind, m, recipient};
}

static void plan_transaction(struct client *c)
{
    struct scenario *s = c->scenario;
    struct message *m =
        message_new(s, c->number, 1 + (unsigned)scenario_below(s, SCENARIO_RECIPIENTS));

    add(c, STEP_MAIL, m, 0);
    for (unsigned i = 0; i < m->recipient_count; i++)
        add(c, STEP_RCPT, m, i);
    if (scenario_chance(s, 5)) {
        add(c, STEP_RSET, m, 0);
        return;
    }
    add(c, STEP_DATA, m, 0);
    add(c, STEP_BODY, m, 0);
    if (scenario_chance(s, 5))
        add(c, STEP_RSET, m, 0);
}

static void plan(struct client *c)
{
    struct scenario *s = c->scenario;

    add(c, STEP_EHLO, NULL, 0);
    for (uint64_t n = 1 + scenario_below(s, 3); n > 0; n--)
        plan_transaction(c);
    add(c, STEP_QUIT, NULL, 0);
    c->pipelines = scenario_chance(s, 60);
    c->thinks = scenario_chance(s, 20);
    if (!scenario_chance(s, 20))
        return;
    c->vanishing = VANISH_RESET + (enum vanishing)scenario_below(s, 3);
    c->vanish_at = scenario_below(s, 3) == 0 ? scenario_below(s, 200) : scenario_below(s, 3000);
}

/* ---- saying it ---- */

static void leave(struct client *c)
{
    if (c->is_over)
        return;
    c->is_over = true;
    c->scenario->clients_busy--;
    if (c->peer != NULL && sim_peer_state(c->peer) == SIM_PEER_OPEN)
        sim_close(c->peer);
}

static void vanish(struct client *c)
{
    struct sim_peer *peer = c->peer;

    scenario_count(c->scenario, COUNT_VANISHED);
    if (c->vanishing == VANISH_SILENT) {
        c->is_over = true; /* the connection stays */
        c->scenario->clients_busy--;
        return;
    }
    if (c->vanishing == VANISH_RESET)
        sim_reset(peer);
    leave(c);
}

/* False: it has vanished before the last octet of this was sent. */
static bool say(struct client *c, struct bytes octets)
{
    if (c->vanishing != VANISH_NOT && c->octets + octets.len > c->vanish_at) {
        size_t left = c->vanish_at > c->octets ? (size_t)(c->vanish_at - c->octets) : 0;
        sim_send(c->peer, bytes_first(octets, left));
        vanish(c);
        return false;
    }
    c->octets += octets.len;
    sim_send(c->peer, octets);
    return true;
}

static void say_body(struct client *c, struct message *m)
{
    /* It may be heard while it is said. */
    m->is_end_sent = c->vanishing == VANISH_NOT || c->octets + m->said.len <= c->vanish_at;
    m->end_ms = sim_now_ms(c->scenario->world);
    m->end_wall_ms = m->late_wall_ms = sim_wall_ms(c->scenario->world);
    if (m->is_end_sent)
        scenario_count(c->scenario, COUNT_MESSAGES);
    say(c, bytes_make(m->said.at, m->said.len));
}

static const char *notify_of(const struct client *c, const struct story *r)
{
    if (!c->has_dsn)
        return "";
    if (r->wants_no_report)
        return " NOTIFY=NEVER";
    return r->wants_success ? " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;someone@example.org" : "";
}

static void say_step(struct client *c, const struct step *step)
{
    char text[160];
    const struct message *m = step->message;
    struct story *r;

    switch (step->kind) {
    case STEP_EHLO:
        snprintf(text, sizeof(text), "EHLO c%u.client.test\r\n", c->number);
        break;
    case STEP_MAIL:
        snprintf(text, sizeof(text), "MAIL FROM:<%s>%s\r\n", m->sender,
                 c->has_dsn && m->id % 2 == 0 ? " RET=HDRS ENVID=x" : "");
        break;
    case STEP_RCPT:
        r = &step->message->recipients[step->recipient];
        r->wants_no_report = r->wants_no_report && c->has_dsn;
        snprintf(text, sizeof(text), "RCPT TO:<%s>%s\r\n", r->address, notify_of(c, r));
        break;
    case STEP_DATA:
        snprintf(text, sizeof(text), "DATA\r\n");
        break;
    case STEP_RSET:
        snprintf(text, sizeof(text), "RSET\r\n");
        break;
    case STEP_QUIT:
        snprintf(text, sizeof(text), "QUIT\r\n");
        break;
    case STEP_BODY:
        say_body(c, step->message);
        return;
    }
    say(c, bytes_of(text));
}

static bool may_say_next(const struct client *c)
{
    enum step_kind before;

    if (!c->is_greeted || c->sent == c->count || c->is_over || c->is_thinking)
        return false;
    if (c->sent == c->answered)
        return true;
    before = c->steps[c->sent - 1].kind;
    return c->pipelines && before != STEP_EHLO && before != STEP_DATA && before != STEP_QUIT;
}

static void think(struct client *c)
{
    c->is_thinking = true;
    scenario_later(c->scenario, &c->timer, &c->event, scenario_below(c->scenario, LONG_THOUGHT));
}

static void go_on(struct client *c)
{
    while (may_say_next(c)) {
        if (c->thinks && c->sent > 0 && scenario_chance(c->scenario, 20) &&
            c->sent == c->answered) {
            think(c);
            c->thinks = scenario_chance(c->scenario, 70);
            return;
        }
        say_step(c, &c->steps[c->sent++]);
    }
}

/* ---- hearing ---- */

/* What filters say is known again: it is said of this client, or of what this step is about. */
static void compare(struct client *c, struct bytes reply, int code)
{
    static const enum session_stage stages[] = {[STEP_RCPT] = SESSION_STAGE_RCPT,
                                                [STEP_DATA] = SESSION_STAGE_DATA,
                                                [STEP_BODY] = SESSION_STAGE_END,
                                                [STEP_QUIT] = SESSION_STAGE_NONE};
    bool is_answer = c->is_greeted && c->answered < c->sent;
    const struct step *step = &c->steps[c->answered];
    struct message *m = is_answer ? step->message : NULL;
    struct story *r = m != NULL && step->kind == STEP_RCPT ? &m->recipients[step->recipient] : NULL;

    filter_hear(c->scenario, c->number, m, r, reply);
    if (m != NULL && stages[step->kind] != SESSION_STAGE_NONE && code != 421)
        filter_hear_at(c->scenario, m, r, stages[step->kind], reply);
}

static void hear_reply(struct client *c, int code)
{
    const struct step *step = &c->steps[c->answered];

    if (!c->is_greeted) {
        c->is_greeted = code == 220;
        if (code != 220)
            leave(c);
        return;
    }
    if (code == 421 || c->answered == c->sent) {
        leave(c);
        return;
    }
    c->answered++;
    if (step->kind == STEP_RCPT && code / 100 == 2)
        step->message->recipients[step->recipient].is_accepted = true;
    else if (step->kind == STEP_RCPT)
        step->message->recipients[step->recipient].is_refused = true;
    if (step->kind == STEP_DATA && code != 354)
        c->steps[c->sent].kind = STEP_RSET; /* in the place of the body */
    if (step->kind == STEP_BODY) {
        step->message->code = code;
        step->message->code_ms = sim_now_ms(c->scenario->world);
        if (code / 100 == 2)
            scenario_count(c->scenario, COUNT_ACKNOWLEDGED);
    }
    if (step->kind == STEP_QUIT)
        leave(c);
}

static void on_news(void *owner)
{
    struct client *c = owner;

    while (!c->is_over) {
        struct bytes heard = sim_received(c->peer);
        size_t end = bytes_find(heard, '\n');
        int code;
        if (end == heard.len)
            break;
        scenario_heard(c->scenario, "C<", c->number, bytes_first(heard, end + 1));
        c->has_dsn =
            c->has_dsn ||
            bytes_is(bytes_skip(bytes_first(heard, 8), heard.len < 4 ? heard.len : 4), "DSN\r");
        code = end > 3 && heard.at[3] != '-' ? atoi((const char *)heard.at) : 0;
        if (code != 0)
            compare(c, bytes_first(heard, end), code);
        sim_take(c->peer, end + 1);
        if (code != 0)
            hear_reply(c, code);
    }
    if (!c->is_over && (sim_has_eof(c->peer) || sim_was_reset(c->peer)))
        leave(c);
    go_on(c);
}

/* ---- its life ---- */

static void connect_to(struct client *c)
{
    struct netaddr from, to;
    char text[32];

    snprintf(text, sizeof(text), "192.0.2.%u:40001", SCENARIO_CLIENT_HOST + c->number);
    netaddr_parse_with_port(bytes_of(text), 40001, &from);
    netaddr_parse_with_port(bytes_of("192.0.2.1:25"), 25, &to);
    c->peer = sim_connect(c->scenario->world, &from, &to);
    if (c->peer != NULL) {
        sim_on_news(c->peer, on_news, c);
        return;
    }
    if (++c->tries == TRIES_MAX)
        leave(c);
    else
        scenario_later(c->scenario, &c->timer, &c->event, TRY_AGAIN_MS);
}

static void on_timer(struct sim_event *e)
{
    struct client *c = CONTAINER_OF(e, struct client, event);

    c->is_thinking = false;
    if (c->peer == NULL)
        connect_to(c);
    else if (!c->is_over)
        go_on(c);
}

void clients_start(struct scenario *s)
{
    unsigned count = 1 + (unsigned)scenario_below(s, SCENARIO_CLIENTS);

    for (unsigned i = 0; i < count; i++) {
        struct client *c = sim_alloc(sizeof(*c));
        c->scenario = s;
        c->number = i + 1;
        c->event.fn = on_timer;
        list_init(&c->event.link);
        list_append(&s->clients, &c->link);
        plan(c);
        s->clients_busy++;
        scenario_later(s, &c->timer, &c->event,
                       s->plan.has_rush || s->plan.crowds_boxes || scenario_chance(s, 40)
                           ? 0
                           : scenario_below(s, SPREAD_MS));
    }
}

void clients_free(struct scenario *s)
{
    LIST_EACH (link, &s->clients)
        free(LIST_ENTRY(link, struct client, link));
}
