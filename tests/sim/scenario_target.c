/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets of a scenario: SMTP and LMTP servers that do it right, or wrong at one place of a
 * connection. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "tests/sim/scenario_target.h"

#define CONNECTIONS_MAX 10000

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
    v->mail.recipient_count = v->delivery_count = v->said_count = 0;
    v->mail.is_content = v->mail.is_last = false;
    v->mail.content.len = 0;
}

static void on_hello(struct server *v, bool is_extended)
{
    unsigned announces = v->scenario->targets.announces;
    char text[400], mechanisms[SERVER_AUTH_SIZE];

    forget_transaction(v);
    server_name_mechanisms(v, mechanisms);
    snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s250 SIZE 50000000\r\n",
             "250-target.test\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n",
             announces & STARTTLS && !v->is_secured ? "250-STARTTLS\r\n" : "",
             announces & PIPELINING ? "250-PIPELINING\r\n" : "",
             announces & CHUNKING ? "250-CHUNKING\r\n" : "", announces & DSN ? "250-DSN\r\n" : "",
             announces & XFORWARD ? "250-XFORWARD NAME ADDR PORT PROTO HELO SOURCE\r\n" : "",
             announces & XCLIENT ? "250-XCLIENT NAME ADDR PORT PROTO HELO\r\n" : "", mechanisms);
    if (server_answer(v, PLACE_HELLO, NULL, is_extended ? text : "250 target.test\r\n") &&
        is_extended)
        server_grant_unasked(v);
}

static void on_starttls(struct server *v)
{
    v->is_shaking = server_answer(v, PLACE_STARTTLS, NULL, "220 2.0.0 go\r\n");
}

static void on_handshake(struct server *v, const char *line)
{
    if (strcmp(line, SIM_TLS_HELLO) != 0)
        scenario_fail(v->scenario, "\"%s\" comes in plain behind STARTTLS", line);
    v->is_shaking = false;
    v->is_secured = server_answer(v, PLACE_HANDSHAKE, NULL, SIM_TLS_ANSWER);
}

static void on_mail(struct server *v, const char *line)
{
    if (v->target == 0 && v->scenario->targets.encrypts && !v->is_secured)
        scenario_fail(v->scenario, "mail goes in plain to who must not get it so");
    forget_transaction(v);
    address_of(line, v->mail.sender);
    v->mail.has_sender = server_answer(v, PLACE_MAIL, NULL, "250 2.1.0 sender ok\r\n");
}

static void say_of(struct server *v, const char *words, const char *address)
{
    char text[120];

    snprintf(text, sizeof(text), "%s" SCENARIO_WORD_FOR "%s>\r\n", words, address);
    server_say(v, text);
}

/* Some say much, again and again. */
static void say_full(struct server *v, const char *address)
{
    static const char line[] = "452-4.2.2 This mailbox has been full for a long time, as we have "
                               "told you before, and as we will tell you again whenever you ask. "
                               "Its owner has been told likewise, and is said to be away.\r\n";

    for (int i = 0; v->scenario->targets.is_wordy && i < 4; i++)
        server_say(v, line);
    say_of(v, "452 4.2.2 mailbox full", address);
}

static bool refuses_report(struct server *v)
{
    struct scenario *s = v->scenario;

    return v->mail.sender[0] == '\0' && s->targets.refuses_reports && !s->is_healthy &&
           scenario_chance(s, 70);
}

static void on_rcpt(struct server *v, const char *line)
{
    char *address, text[120];

    if (!v->mail.has_sender || v->mail.recipient_count == ARRAY_LENGTH(v->mail.recipients)) {
        server_say(v, "503 5.5.1 no\r\n");
        return;
    }
    address = v->mail.recipients[v->mail.recipient_count];
    address_of(line, address);
    snprintf(text, sizeof(text), "250 2.1.5 recipient ok" SCENARIO_WORD_FOR "%s>\r\n", address);
    if (begins(address, "no") || refuses_report(v)) {
        server_note_no(v, address, true);
        if (begins(address, "postmaster"))
            faults_storm(v->scenario);
        say_of(v, "550 5.1.1 no such user", address);
    } else if (begins(address, "full") &&
               scenario_chance(v->scenario, v->scenario->is_healthy ? 10 : 70)) {
        server_note_no(v, address, false);
        say_full(v, address);
    } else if (server_answer(v, PLACE_RCPT, NULL, text)) {
        v->mail.recipient_count++;
    }
}

static void on_data(struct server *v)
{
    if (!v->mail.has_sender || v->mail.recipient_count == 0)
        server_say(v, "554 5.5.1 no recipients\r\n");
    else
        v->mail.is_content = server_answer(v, PLACE_DATA, NULL, "354 go\r\n");
}

static void on_bdat(struct server *v, const char *line)
{
    v->mail.chunk_left = strtoull(line + 5, NULL, 10);
    v->mail.is_last = strstr(line, "LAST") != NULL;
    v->mail.is_chunk = true;
}

static void on_line(struct server *v, const char *line)
{
    if (v->is_shaking)
        on_handshake(v, line);
    else if (begins(line, v->is_lmtp ? "LHLO" : "EHLO") || (begins(line, "HELO") && !v->is_lmtp))
        on_hello(v, !begins(line, "HELO"));
    else if (begins(line, "XFORWARD"))
        server_answer(v, PLACE_HELLO, NULL, "250 2.0.0 ok\r\n");
    else if (begins(line, "XCLIENT"))
        server_answer(v, PLACE_HELLO, NULL, "220 target.test ESMTP again\r\n");
    else if (begins(line, "STARTTLS"))
        on_starttls(v);
    else if (begins(line, "MAIL"))
        on_mail(v, line);
    else if (begins(line, "RCPT"))
        on_rcpt(v, line);
    else if (begins(line, "DATA"))
        on_data(v);
    else if (begins(line, "BDAT"))
        on_bdat(v, line);
    else if (begins(line, "QUIT")) {
        server_say(v, "221 2.0.0 bye\r\n");
        server_hang_up(v, false);
    } else {
        if (begins(line, "RSET"))
            forget_transaction(v);
        server_say(v, begins(line, "RSET") || begins(line, "NOOP") ? "250 2.0.0 ok\r\n"
                                                                   : "500 5.5.2 what?\r\n");
    }
}

/* ---- hearing ---- */

static void hear_line(struct server *v, struct bytes line)
{
    struct bytes words = bytes_first(line, line.len < 2 ? 0 : line.len - 2);
    char text[600];

    scenario_heard(v->scenario, "T>", v->number, line);
    server_check_login(v, words);
    line = bytes_first(line, sizeof(text) - 1);
    memcpy(text, line.at, line.len);
    text[line.len] = '\0';
    if (v->login.is_asking)
        server_hear_response(v, words);
    else if (begins(text, "AUTH "))
        server_hear_auth(v, words);
    else
        on_line(v, text);
}

static void go_on(struct server *v)
{
    server_look_at_answer(v);
    while (!v->is_over && !v->is_waiting) {
        struct bytes heard = sim_received(v->peer);
        size_t line_end;
        if (v->mail.is_chunk && (heard.len > 0 || v->mail.chunk_left == 0)) {
            server_take_chunk(v, heard);
            continue;
        }
        line_end = bytes_find(heard, '\n');
        if (line_end == heard.len)
            break;
        if (v->mail.is_content)
            server_take_line(v, bytes_first(heard, line_end + 1));
        else
            hear_line(v, bytes_first(heard, line_end + 1));
        sim_take(v->peer, line_end + 1);
    }
    if (sim_has_eof(v->peer) || sim_was_reset(v->peer))
        server_hang_up(v, false);
}

static void on_news(void *owner)
{
    struct server *v = owner;

    if (v->is_greeted)
        go_on(v);
    else
        server_look_at_answer(v);
}

/* ---- its life ---- */

static bool is_down(const struct server *v)
{
    const struct scenario *s = v->scenario;

    return !s->is_healthy && sim_now_ms(s->world) < s->targets.down_until_ms[v->backend];
}

static void begin(struct server *v)
{
    if (is_down(v)) {
        scenario_count(v->scenario, COUNT_AT_CONNECT);
        server_note_outage(v);
        v->is_over = true;
        sim_refuse(v->peer, -ECONNREFUSED);
        return;
    }
    if (server_is_weak_point(v, PLACE_CONNECT)) {
        scenario_count(v->scenario, COUNT_AT_CONNECT);
        server_note_outage(v);
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
    server_answer(v, PLACE_GREETING, NULL,
                  v->is_lmtp ? "220 target.test LMTP\r\n" : "220 target.test ESMTP\r\n");
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
    server_say_late(v);
    go_on(v);
}

static void on_asked(void *owner, struct sim_peer *peer)
{
    struct scenario *s = owner;
    struct server *v = sim_alloc(sizeof(*v));

    v->scenario = s;
    v->peer = peer;
    v->number = ++s->targets.connections;
    if (v->number == CONNECTIONS_MAX) {
        scenario_fail(s, "targets are connected to for ever");
        sim_stop(s->world);
    }
    v->backend = sim_target_address(peer)[11] - '1'; /* 198.51.100.1 and so on */
    v->target = v->backend == 0 ? 0 : 1;
    v->is_lmtp = s->targets.is_lmtp[v->target];
    v->event.fn = on_timer;
    list_init(&v->event.link);
    list_append(&s->servers, &v->link);
    server_plan_fault(v);
    server_plan_login(v);
    sim_on_news(peer, on_news, v);
    server_wait(v, scenario_chance(s, 70) ? 0 : scenario_below(s, 200));
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
        free(v->late.at);
        free(v);
    }
}
