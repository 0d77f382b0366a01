/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets of a scenario: SMTP servers that do it right, or wrong at one place of a connection. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "tests/sim/scenario.h"

#define SLOW_MS        90000
#define RECIPIENTS_MAX 16

enum place {
    PLACE_CONNECT,
    PLACE_GREETING,
    PLACE_HELLO,
    PLACE_MAIL,
    PLACE_RCPT,
    PLACE_DATA,
    PLACE_CONTENT,
    PLACE_END,
    PLACES
};

enum fault {
    FAULT_NONE,
    FAULT_CLOSE,
    FAULT_RESET,
    FAULT_SILENCE,
    FAULT_SLOW,
    FAULT_4XX,
    FAULT_5XX,
    FAULT_421,
    FAULT_GARBAGE,
    FAULT_TAKE_CLOSE, /* the end of data alone: it takes the message, and then does not say so */
    FAULT_TAKE_SILENCE
};

enum announcement { PIPELINING = 1, CHUNKING = 2, XFORWARD = 4, XCLIENT = 8, DSN = 16 };

/* Where a connection goes wrong. */
struct weak_point {
    enum place place;
    enum fault fault;
    unsigned pass;       /* how often that place goes well before */
    uint64_t content_at; /* octets of content, at PLACE_CONTENT */
};

/* The transaction that runs. */
struct transfer {
    bool has_sender, is_content, is_chunk, is_last;
    uint64_t chunk_left;
    char sender[64];
    char recipients[RECIPIENTS_MAX][64];
    unsigned recipient_count;
    struct sim_text content;
};

struct server {
    struct list link;
    struct scenario *scenario;
    int target;
    unsigned number;
    struct sim_peer *peer;
    struct sim_event event;
    struct sim_timer timer;
    bool is_waiting, is_over, is_silent, is_greeted;
    char late[300]; /* what it says when it has waited */
    struct weak_point weak;
    struct transfer mail;
    /* of the message that was taken last, when it was told so */
    bool is_said;
    struct delivery *deliveries[RECIPIENTS_MAX];
    unsigned delivery_count;
};

static const enum scenario_count place_counts[PLACES] = {
    COUNT_AT_CONNECT, COUNT_AT_GREETING, COUNT_AT_HELLO,   COUNT_AT_MAIL,
    COUNT_AT_RCPT,    COUNT_AT_DATA,     COUNT_AT_CONTENT, COUNT_AT_END,
};

/* ---- saying ---- */

static void say(struct server *v, const char *text)
{
    if (v->is_over || v->is_silent || !sim_may_send(v->peer))
        return;
    scenario_heard(v->scenario, "T<", v->number, bytes_of(text));
    sim_send(v->peer, bytes_of(text));
}

static void end(struct server *v, bool with_reset)
{
    v->is_over = true;
    if (sim_peer_state(v->peer) != SIM_PEER_OPEN)
        return;
    if (with_reset)
        sim_reset(v->peer);
    else
        sim_close(v->peer);
}

static void wait_for(struct server *v, uint64_t ms)
{
    v->is_waiting = true;
    scenario_later(v->scenario, &v->timer, &v->event, ms);
}

/* ---- going wrong ---- */

/* It has not been reached: whatever waits for it was tried. */
static void note_outage(struct server *v)
{
    v->scenario->targets.failed_ms[v->target] = sim_now_ms(v->scenario->world);
}

static void note_no(struct server *v, const char *to, bool is_for_good)
{
    if (is_for_good)
        ledger_refuse(v->scenario, v->target, v->mail.sender, to);
    else
        ledger_put_off(v->scenario, v->mail.sender, to);
}

/* What a fault at that place means for the mail that it meets. */
static void note_fault(struct server *v, enum place place, enum fault fault)
{
    bool is_for_good = fault == FAULT_5XX;

    if (!is_for_good && fault != FAULT_4XX)
        note_outage(v);
    else if (place <= PLACE_HELLO)
        v->scenario->targets.hello_refusals += is_for_good;
    else if (place == PLACE_MAIL)
        note_no(v, NULL, is_for_good);
    else if (place == PLACE_RCPT)
        note_no(v, v->mail.recipients[v->mail.recipient_count], is_for_good);
    else
        for (unsigned i = 0; i < v->mail.recipient_count; i++)
            note_no(v, v->mail.recipients[i], is_for_good);
    if (place <= PLACE_HELLO)
        note_outage(v);
}

static bool is_weak_point(struct server *v, enum place place)
{
    if (place != v->weak.place || v->weak.fault == FAULT_NONE || v->scenario->is_healthy)
        return false;
    return v->weak.pass == 0 || v->weak.pass-- == 0;
}

static void go_wrong(struct server *v, enum fault fault)
{
    switch (fault) {
    case FAULT_4XX:
        say(v, "451 4.2.1 not now\r\n");
        break;
    case FAULT_5XX:
        say(v, "554 5.7.0 never\r\n");
        break;
    case FAULT_GARBAGE:
        say(v, "what?\r\n");
        break;
    case FAULT_SILENCE:
    case FAULT_TAKE_SILENCE:
        v->is_silent = true;
        break;
    case FAULT_421:
        say(v, "421 4.3.2 going down\r\n");
        end(v, false);
        break;
    case FAULT_CLOSE:
    case FAULT_TAKE_CLOSE:
    case FAULT_RESET:
        end(v, fault == FAULT_RESET);
        break;
    case FAULT_SLOW:
    case FAULT_NONE:
        break;
    }
}

/* False: something else than `text` was said. */
static bool answer(struct server *v, enum place place, const char *text)
{
    enum fault fault = v->weak.fault;

    if (!is_weak_point(v, place)) {
        say(v, text);
        return true;
    }
    scenario_count(v->scenario, place_counts[place]);
    note_fault(v, place, fault);
    v->weak.fault = FAULT_NONE;
    if (fault == FAULT_SLOW) {
        snprintf(v->late, sizeof(v->late), "%s", text);
        wait_for(v, scenario_below(v->scenario, SLOW_MS));
        return true;
    }
    if (fault == FAULT_TAKE_CLOSE || fault == FAULT_TAKE_SILENCE)
        scenario_count(v->scenario, COUNT_TAKEN_UNSAID);
    go_wrong(v, fault);
    return fault == FAULT_TAKE_CLOSE || fault == FAULT_TAKE_SILENCE;
}

static void plan_fault(struct server *v)
{
    struct scenario *s = v->scenario;

    if (!scenario_chance(s, s->targets.trouble_percent))
        return;
    v->weak.place = scenario_chance(s, 40) ? PLACE_END : (enum place)scenario_below(s, PLACES);
    v->weak.fault = FAULT_CLOSE + (enum fault)scenario_below(s, FAULT_GARBAGE);
    if (v->weak.place == PLACE_END && scenario_chance(s, 40))
        v->weak.fault = scenario_chance(s, 50) ? FAULT_TAKE_CLOSE : FAULT_TAKE_SILENCE;
    v->weak.pass =
        v->weak.place > PLACE_HELLO && scenario_chance(s, 30) ? (unsigned)scenario_below(s, 3) : 0;
    v->weak.content_at = scenario_below(s, 600);
}

/* ---- the envelope ---- */

static bool begins(const char *line, const char *verb)
{
    return strncasecmp(line, verb, strlen(verb)) == 0;
}

static void address_of(const char *line, char address[64])
{
    const char *from = strchr(line, '<'), *to = from == NULL ? NULL : strchr(from, '>');

    address[0] = '\0';
    if (to != NULL)
        snprintf(address, 64, "%.*s", (int)(to - from - 1), from + 1);
}

static void forget_transaction(struct server *v)
{
    v->mail.recipient_count = v->delivery_count = 0;
    v->mail.is_content = v->mail.is_last = false;
    v->mail.content.len = 0;
}

static void on_hello(struct server *v, bool is_extended)
{
    unsigned announces = v->scenario->targets.announces;
    char text[300];

    forget_transaction(v);
    snprintf(text, sizeof(text), "%s%s%s%s%s%s250 SIZE 50000000\r\n",
             "250-target.test\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n",
             announces & PIPELINING ? "250-PIPELINING\r\n" : "",
             announces & CHUNKING ? "250-CHUNKING\r\n" : "", announces & DSN ? "250-DSN\r\n" : "",
             announces & XFORWARD ? "250-XFORWARD NAME ADDR PORT PROTO HELO SOURCE\r\n" : "",
             announces & XCLIENT ? "250-XCLIENT NAME ADDR PORT PROTO HELO\r\n" : "");
    answer(v, PLACE_HELLO, is_extended ? text : "250 target.test\r\n");
}

static void on_mail(struct server *v, const char *line)
{
    forget_transaction(v);
    address_of(line, v->mail.sender);
    v->mail.has_sender = answer(v, PLACE_MAIL, "250 2.1.0 sender ok\r\n");
}

/* Some say much, again and again. */
static void say_full(struct server *v)
{
    static const char line[] = "452-4.2.2 This mailbox has been full for a long time, as we have "
                               "told you before, and as we will tell you again whenever you ask. "
                               "Its owner has been told likewise, and is said to be away.\r\n";

    for (int i = 0; v->scenario->targets.is_wordy && i < 4; i++)
        say(v, line);
    say(v, "452 4.2.2 mailbox full\r\n");
}

static bool refuses_report(struct server *v)
{
    struct scenario *s = v->scenario;

    return v->mail.sender[0] == '\0' && s->targets.refuses_reports && !s->is_healthy &&
           scenario_chance(s, 70);
}

static void on_rcpt(struct server *v, const char *line)
{
    char *address;

    if (!v->mail.has_sender || v->mail.recipient_count == ARRAY_LENGTH(v->mail.recipients)) {
        say(v, "503 5.5.1 no\r\n");
        return;
    }
    address = v->mail.recipients[v->mail.recipient_count];
    address_of(line, address);
    if (begins(address, "no") || refuses_report(v)) {
        note_no(v, address, true);
        if (begins(address, "postmaster"))
            faults_storm(v->scenario);
        say(v, "550 5.1.1 no such user\r\n");
    } else if (begins(address, "full") &&
               scenario_chance(v->scenario, v->scenario->is_healthy ? 10 : 70)) {
        note_no(v, address, false);
        say_full(v);
    } else if (answer(v, PLACE_RCPT, "250 2.1.5 recipient ok\r\n")) {
        v->mail.recipient_count++;
    }
}

static void on_data(struct server *v)
{
    if (!v->mail.has_sender || v->mail.recipient_count == 0)
        say(v, "554 5.5.1 no recipients\r\n");
    else
        v->mail.is_content = answer(v, PLACE_DATA, "354 go\r\n");
}

static void on_bdat(struct server *v, const char *line)
{
    v->mail.chunk_left = strtoull(line + 5, NULL, 10);
    v->mail.is_last = strstr(line, "LAST") != NULL;
    v->mail.is_chunk = true;
}

static void on_line(struct server *v, const char *line)
{
    if (begins(line, "EHLO") || begins(line, "HELO"))
        on_hello(v, begins(line, "EHLO"));
    else if (begins(line, "XFORWARD"))
        answer(v, PLACE_HELLO, "250 2.0.0 ok\r\n");
    else if (begins(line, "XCLIENT"))
        answer(v, PLACE_HELLO, "220 target.test ESMTP again\r\n");
    else if (begins(line, "MAIL"))
        on_mail(v, line);
    else if (begins(line, "RCPT"))
        on_rcpt(v, line);
    else if (begins(line, "DATA"))
        on_data(v);
    else if (begins(line, "BDAT"))
        on_bdat(v, line);
    else if (begins(line, "QUIT")) {
        say(v, "221 2.0.0 bye\r\n");
        end(v, false);
    } else {
        if (begins(line, "RSET"))
            forget_transaction(v);
        say(v, begins(line, "RSET") || begins(line, "NOOP") ? "250 2.0.0 ok\r\n"
                                                            : "500 5.5.2 what?\r\n");
    }
}

/* ---- the content ---- */

static void on_end(struct server *v)
{
    struct bytes content = bytes_make(v->mail.content.at, v->mail.content.len);
    unsigned count = v->mail.recipient_count;

    v->mail.is_content = v->mail.is_last = v->mail.has_sender = false;
    v->delivery_count = 0;
    if (v->is_silent || v->is_over || count == 0) {
        say(v, "554 5.5.1 no recipients\r\n");
    } else if (answer(v, PLACE_END, "250 2.0.0 taken\r\n")) {
        for (unsigned i = 0; i < count; i++) {
            struct delivery *d =
                ledger_take(v->scenario, v->target, v->mail.sender, v->mail.recipients[i], content);
            if (d == NULL)
                continue;
            d->is_orphan = sim_is_orphan(v->peer);
            v->deliveries[v->delivery_count++] = d;
        }
        v->is_said = !v->is_over && !v->is_silent;
    }
    v->mail.recipient_count = 0;
    v->mail.content.len = 0;
}

/* The weak point lies within the content. */
static bool breaks_in_content(struct server *v)
{
    enum fault fault = v->weak.fault;

    if (v->weak.place != PLACE_CONTENT || fault == FAULT_NONE ||
        v->mail.content.len < v->weak.content_at || !is_weak_point(v, PLACE_CONTENT))
        return false;
    scenario_count(v->scenario, COUNT_AT_CONTENT);
    note_fault(v, PLACE_CONTENT, fault);
    v->weak.fault = FAULT_NONE;
    v->late[0] = '\0';
    if (fault == FAULT_SLOW)
        wait_for(v, scenario_below(v->scenario, SLOW_MS));
    go_wrong(v, fault);
    v->is_silent = fault != FAULT_SLOW; /* it has said all that it will say */
    return true;
}

static void take_content_line(struct server *v, struct bytes line)
{
    if (bytes_is(line, ".\r\n")) {
        on_end(v);
        return;
    }
    if (line.at[0] == '.')
        line = bytes_skip(line, 1);
    sim_put(&v->mail.content, line);
    breaks_in_content(v);
}

static void take_chunk(struct server *v, struct bytes heard)
{
    struct bytes part = bytes_first(heard, (size_t)v->mail.chunk_left);

    sim_put(&v->mail.content, part);
    v->mail.chunk_left -= part.len;
    sim_take(v->peer, part.len);
    if (breaks_in_content(v) || v->mail.chunk_left > 0)
        return;
    v->mail.is_chunk = false;
    if (v->mail.is_last)
        on_end(v);
    else
        say(v, v->mail.recipient_count > 0 ? "250 2.0.0 chunk\r\n" : "554 5.5.1 no recipients\r\n");
}

/* ---- hearing ---- */

static void hear_line(struct server *v, struct bytes line)
{
    char text[600];

    scenario_heard(v->scenario, "T>", v->number, line);
    line = bytes_first(line, sizeof(text) - 1);
    memcpy(text, line.at, line.len);
    text[line.len] = '\0';
    on_line(v, text);
}

/* Has postern read what it was told? What it took counts as known to it then. */
static void look_at_answer(struct server *v)
{
    if (!v->is_said || v->is_waiting || sim_is_orphan(v->peer) || sim_unread(v->peer) > 0 ||
        sim_was_reset(v->peer))
        return;
    for (unsigned i = 0; i < v->delivery_count; i++)
        v->deliveries[i]->read_ms = sim_now_ms(v->scenario->world);
    v->delivery_count = 0;
}

static void go_on(struct server *v)
{
    look_at_answer(v);
    while (!v->is_over && !v->is_waiting) {
        struct bytes heard = sim_received(v->peer);
        size_t line_end;
        if (v->mail.is_chunk && (heard.len > 0 || v->mail.chunk_left == 0)) {
            take_chunk(v, heard);
            continue;
        }
        line_end = bytes_find(heard, '\n');
        if (line_end == heard.len)
            break;
        if (v->mail.is_content)
            take_content_line(v, bytes_first(heard, line_end + 1));
        else
            hear_line(v, bytes_first(heard, line_end + 1));
        sim_take(v->peer, line_end + 1);
    }
    if (!v->is_over && (sim_has_eof(v->peer) || sim_was_reset(v->peer)))
        end(v, false);
}

static void on_news(void *owner)
{
    struct server *v = owner;

    if (v->is_greeted)
        go_on(v);
    else
        look_at_answer(v);
}

/* ---- its life ---- */

static bool is_down(const struct server *v)
{
    const struct scenario *s = v->scenario;

    return !s->is_healthy && sim_now_ms(s->world) < s->targets.down_until_ms[v->target];
}

static void begin(struct server *v)
{
    if (is_down(v)) {
        scenario_count(v->scenario, COUNT_AT_CONNECT);
        note_outage(v);
        v->is_over = true;
        sim_refuse(v->peer, -ECONNREFUSED);
        return;
    }
    if (is_weak_point(v, PLACE_CONNECT)) {
        scenario_count(v->scenario, COUNT_AT_CONNECT);
        note_outage(v);
        v->is_over = true;
        if (v->weak.fault != FAULT_SILENCE)
            sim_refuse(v->peer, v->weak.fault == FAULT_SLOW ? -ETIMEDOUT : -ECONNREFUSED);
        return;
    }
    sim_accept(v->peer);
    if (sim_peer_state(v->peer) != SIM_PEER_OPEN) {
        v->is_over = true;
        return;
    }
    v->is_greeted = true;
    answer(v, PLACE_GREETING, "220 target.test ESMTP\r\n");
    go_on(v);
}

static void on_timer(struct sim_event *e)
{
    struct server *v = CONTAINER_OF(e, struct server, event);

    v->is_waiting = false;
    if (v->is_over)
        return;
    if (!v->is_greeted) {
        begin(v);
        return;
    }
    if (v->late[0] != '\0')
        say(v, v->late);
    go_on(v);
}

static void on_asked(void *owner, struct sim_peer *peer)
{
    struct scenario *s = owner;
    struct server *v = sim_alloc(sizeof(*v));

    v->scenario = s;
    v->peer = peer;
    v->number = ++s->targets.connections;
    v->target = strncmp(sim_target_address(peer), "198.51.100.1:", 13) == 0 ? 0 : 1;
    v->event.fn = on_timer;
    list_init(&v->event.link);
    list_append(&s->servers, &v->link);
    plan_fault(v);
    sim_on_news(peer, on_news, v);
    wait_for(v, scenario_chance(s, 70) ? 0 : scenario_below(s, 200));
}

void servers_start(struct scenario *s)
{
    sim_ask_targets(s->world, true);
    sim_on_asked(s->world, on_asked, s);
}

void servers_free(struct scenario *s)
{
    LIST_EACH (link, &s->servers) {
        struct server *v = LIST_ENTRY(link, struct server, link);
        free(v->mail.content.at);
        free(v);
    }
}
