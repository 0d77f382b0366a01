/* SPDX-License-Identifier: BSD-2-Clause */
/* Clients of a scenario: a few transactions each, by SMTP or LMTP, with DATA or BDAT, pipelined or
 * not; some vanish somewhere. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/scenario.h"

#define CHUNKS_MAX   30 /* of one message, before the last two */
#define TINY_BYTES   5
#define STEPS_MAX    160
#define SPREAD_MS    240000
#define TRIES_MAX    20
#define TRY_AGAIN_MS 15000
#define LONG_THOUGHT 20000

enum step_kind {
    STEP_EHLO,
    STEP_MAIL,
    STEP_RCPT,
    STEP_DATA,
    STEP_BODY,
    STEP_CHUNK,
    STEP_RSET,
    STEP_QUIT
};

struct step {
    enum step_kind kind;
    struct message *message;
    unsigned recipient;
    size_t at, len; /* of a chunk, in the message's text */
    bool is_last;
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
    bool is_lmtp, has_chunks;
    unsigned due;           /* LMTP: recipients of the message that have their answers to its end */
    struct message *failed; /* at a chunk before its last one */
    enum vanishing vanishing;
    uint64_t vanish_at, octets; /* of all that it sends */
};

/* ---- what it will say ---- */

static void add(struct client *c, enum step_kind kind, struct message *m, unsigned recipient)
{
    c->steps[c->count++] = (struct step){.kind = kind, .message = m, .recipient = recipient};
}

static void add_chunk(struct client *c, struct message *m, size_t at, size_t len)
{
    add(c, STEP_CHUNK, m, 0);
    c->steps[c->count - 1].at = at;
    c->steps[c->count - 1].len = len;
}

/* Of any size, none among them; the last one has what is left, or nothing. Some never come to it.
 */
static void plan_chunks(struct client *c, struct message *m)
{
    struct scenario *s = c->scenario;
    bool is_tiny = scenario_chance(s, 20);
    size_t at = 0, len;

    for (uint64_t n = scenario_below(s, is_tiny ? CHUNKS_MAX : 4); n > 0; n--) {
        len = m->text.len - at;
        len = (size_t)scenario_below(s, is_tiny && len > TINY_BYTES ? TINY_BYTES : len + 1);
        add_chunk(c, m, at, len);
        at += len;
    }
    if (scenario_chance(s, 30)) {
        add_chunk(c, m, at, m->text.len - at);
        at = m->text.len;
    }
    if (scenario_chance(s, 5)) {
        add(c, STEP_RSET, m, 0);
        return;
    }
    add_chunk(c, m, at, m->text.len - at);
    c->steps[c->count - 1].is_last = true;
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
    if (c->has_chunks) {
        plan_chunks(c, m);
    } else {
        add(c, STEP_DATA, m, 0);
        add(c, STEP_BODY, m, 0);
    }
    if (scenario_chance(s, 5))
        add(c, STEP_RSET, m, 0);
}

static void plan(struct client *c)
{
    struct scenario *s = c->scenario;

    c->is_lmtp = scenario_chance(s, 25);
    c->has_chunks = scenario_chance(s, 30);
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

/* It will be sent with the next so many octets, and may be heard while they are said. */
static void note_end(struct client *c, struct message *m, size_t octets)
{
    m->is_end_sent = c->vanishing == VANISH_NOT || c->octets + octets <= c->vanish_at;
    m->end_ms = sim_now_ms(c->scenario->world);
    m->walls.end_ms = m->walls.late_ms = sim_wall_ms(c->scenario->world);
    if (m->is_end_sent)
        scenario_count(c->scenario, COUNT_MESSAGES);
}

static void say_body(struct client *c, struct message *m)
{
    note_end(c, m, m->said.len);
    say(c, bytes_make(m->said.at, m->said.len));
}

static void say_chunk(struct client *c, const struct step *step)
{
    struct message *m = step->message;
    struct bytes octets =
        bytes_first(bytes_skip(bytes_make(m->text.at, m->text.len), step->at), step->len);
    char command[40];

    snprintf(command, sizeof(command), "BDAT %zu%s\r\n", octets.len, step->is_last ? " LAST" : "");
    if (step->is_last)
        note_end(c, m, strlen(command) + octets.len);
    scenario_count(c->scenario, COUNT_CHUNKS);
    if (say(c, bytes_of(command)))
        say(c, octets);
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
        snprintf(text, sizeof(text), "%s c%u.client.test\r\n", c->is_lmtp ? "LHLO" : "EHLO",
                 c->number);
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
    case STEP_CHUNK:
        say_chunk(c, step);
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

static bool is_end(const struct step *step)
{
    return step->kind == STEP_BODY || (step->kind == STEP_CHUNK && step->is_last);
}

static bool is_first_chunk(const struct client *c, unsigned number)
{
    const struct step *step = &c->steps[number];
    return step->kind == STEP_CHUNK && step[-1].kind != STEP_CHUNK;
}

/* LMTP: whom the next answer to the end of data is about. NULL: all of them, or nobody. */
static struct story *next_due(struct client *c, struct message *m)
{
    if (!c->is_lmtp || c->failed == m)
        return NULL;
    while (c->due < m->recipient_count && !m->recipients[c->due].is_accepted)
        c->due++;
    return c->due < m->recipient_count ? &m->recipients[c->due] : NULL;
}

/* Targets name the recipient that they answer for: it is one of that message, and the right one. */
static void compare_address(struct client *c, struct message *m, const struct story *r,
                            struct bytes reply)
{
    const char *at = scenario_search(reply, SCENARIO_WORD_FOR);
    struct bytes address;

    if (at == NULL)
        return;
    address = bytes_skip(reply, (size_t)(at - (const char *)reply.at) + strlen(SCENARIO_WORD_FOR));
    address = bytes_first(address, bytes_find(address, '>'));
    if (r != NULL ? !bytes_is(address, r->address) : message_story(m, address) == NULL)
        scenario_fail(c->scenario, "client %u hears of message %u to %s: %.*s", c->number,
                      m == NULL ? 0 : m->id, r == NULL ? "all" : r->address, (int)reply.len,
                      (const char *)reply.at);
}

/* What filters say is known again: it is said of this client, or of what this step is about. */
static void compare(struct client *c, struct bytes reply, int code)
{
    bool is_answer = c->is_greeted && c->answered < c->sent;
    const struct step *step = &c->steps[c->answered];
    struct message *m = is_answer ? step->message : NULL;
    struct story *r = NULL;

    if (m != NULL && step->kind == STEP_RCPT)
        r = &m->recipients[step->recipient];
    else if (m != NULL && is_end(step))
        r = next_due(c, m);
    reply = bytes_first(reply, bytes_find(reply, '\r'));
    filter_hear(c->scenario, c->number, m, r, reply);
    compare_address(c, m, r, reply);
    if (m == NULL || code == 421)
        return;
    if (step->kind == STEP_RCPT)
        filter_hear_at(c->scenario, m, r, SESSION_STAGE_RCPT, reply);
    if (step->kind == STEP_DATA || is_first_chunk(c, c->answered))
        filter_hear_at(c->scenario, m, NULL, SESSION_STAGE_DATA, reply);
    if (is_end(step) && c->failed != m)
        filter_hear_at(c->scenario, m, NULL, SESSION_STAGE_END, reply);
}

/* What was not sent yet of a message in chunks makes no sense any more. */
static void give_up(struct client *c, struct message *m)
{
    unsigned kept = c->sent;
    bool has_reset = false;

    c->failed = m;
    for (unsigned i = c->sent; i < c->count; i++) {
        struct step step = c->steps[i];
        bool is_rest = step.message == m && step.kind == STEP_CHUNK;
        if (is_rest && has_reset)
            continue;
        if (is_rest)
            step.kind = STEP_RSET;
        has_reset = has_reset || is_rest;
        c->steps[kept++] = step;
    }
    c->count = kept;
}

/* True: it was the last answer. */
static bool hear_of_end(struct client *c, struct message *m, int code)
{
    struct story *r = next_due(c, m);

    for (unsigned i = 0; i < m->recipient_count; i++)
        if (m->recipients[i].is_accepted && (r == NULL || r == &m->recipients[i]))
            m->recipients[i].code = code;
    m->has_taken = m->has_taken || code / 100 == 2;
    m->answered_ms = sim_now_ms(c->scenario->world);
    c->due++;
    if (r != NULL && next_due(c, m) != NULL)
        return false;
    c->due = 0;
    m->is_answered = true;
    if (m->has_taken)
        scenario_count(c->scenario, COUNT_ACKNOWLEDGED);
    return true;
}

static void hear_answer(struct client *c, const struct step *step, int code)
{
    struct message *m = step->message;

    switch (step->kind) {
    case STEP_RCPT:
        m->recipients[step->recipient].is_accepted = code / 100 == 2;
        m->recipients[step->recipient].is_refused = code / 100 != 2;
        break;
    case STEP_DATA:
        if (code != 354)
            c->steps[c->sent].kind = STEP_RSET; /* in the place of the body */
        break;
    case STEP_CHUNK:
        if (code / 100 != 2 && !step->is_last)
            give_up(c, m);
        break;
    case STEP_QUIT:
        leave(c);
        break;
    case STEP_EHLO:
    case STEP_MAIL:
    case STEP_BODY:
    case STEP_RSET:
        break;
    }
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
    if (is_end(step) && !hear_of_end(c, step->message, code))
        return;
    c->answered++;
    hear_answer(c, step, code);
}

/* What a target says to our credentials is no client's business. */
static void check_login(struct client *c, struct bytes line)
{
    secret_check(c->scenario, "a client", line);
    if (scenario_search(line, SCENARIO_WORD_LOGIN) != NULL)
        scenario_fail(c->scenario, "client %u hears of our login: %.*s", c->number, (int)line.len,
                      (const char *)line.at);
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
        check_login(c, bytes_first(heard, end + 1));
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
