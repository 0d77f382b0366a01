/* SPDX-License-Identifier: BSD-2-Clause */
/* The server of the session fuzzer. */
#include "tests/fuzz/session_target.h"

#include <stdlib.h>

#define CAP_PIPELINING 1
#define CAP_CHUNKING   2
#define CAP_XFORWARD   4
#define CAP_XCLIENT    8
#define CAP_8BITMIME   16

void session_target_begin(struct session_target *t, struct sim_peer *peer, unsigned caps)
{
    *t = (struct session_target){.peer = peer, .caps = caps};
    sim_accept(peer);
}

void session_target_forget(struct session_target *t)
{
    pieces_forget(&t->in);
    pieces_forget(&t->queue);
    pieces_forget(&t->content);
    for (int i = 0; i < t->taken_count; i++)
        pieces_forget(&t->taken[i].content);
}

static void send(struct session_target *t, struct bytes text)
{
    if (sim_peer_state(t->peer) == SIM_PEER_OPEN)
        sim_send(t->peer, text);
}

/* Every 2xx to an end that waits in the queue has been sent now. */
void session_target_release(struct session_target *t)
{
    if (sim_peer_state(t->peer) != SIM_PEER_OPEN)
        return;
    send(t, pieces_seen_bytes(&t->queue));
    t->queue.len = 0;
    t->is_holding = false;
    for (int i = 0; i < t->taken_count; i++)
        t->taken[i].is_accepted = t->taken[i].is_accepted || t->taken[i].is_held;
}

void session_target_say(struct session_target *t, const char *text)
{
    t->is_confused = true;
    send(t, bytes_of(text));
}

/* The reply that is given: `right`, or what the input wants instead. */
static const char *reply(struct session_target *t, const char *right)
{
    const char *text = t->instead != NULL ? t->instead : right;

    t->instead = NULL;
    if (t->is_holding)
        pieces_see(&t->queue, bytes_of(text));
    else
        send(t, bytes_of(text));
    return text;
}

static bool is_positive(const char *text)
{
    return text[0] == '2';
}

void session_target_refuse_early(struct session_target *t)
{
    if (t->state != TARGET_DATA || t->has_refused)
        return;
    t->has_refused = true;
    send(t, bytes_of("552 5.3.4 Too much\r\n"));
}

static void end_message(struct session_target *t)
{
    struct session_taken *taken = &t->taken[t->taken_count];
    bool is_fine = t->accepted > 0 && !t->has_bad_chunk, was_holding = t->is_holding;

    *taken = (struct session_taken){.content = t->content, .accepted = t->accepted};
    t->taken_count++;
    t->content = (struct pieces_seen){.len = 0};
    t->accepted = 0;
    t->has_bad_chunk = false;
    t->state = TARGET_COMMANDS;
    taken->is_refused = t->has_refused;
    if (!t->has_refused) {
        const char *said = reply(t, is_fine ? "250 2.0.0 Ok: queued\r\n" : "554 5.5.1 Nobody\r\n");
        taken->is_accepted = is_positive(said) && !was_holding;
        taken->is_held = is_positive(said) && was_holding;
        taken->is_refused = said[0] == '4' || said[0] == '5';
    }
    t->has_refused = false;
}

static void forget_mail(struct session_target *t)
{
    t->accepted = 0;
    t->content.len = 0;
    t->has_bad_chunk = false;
}

static void say_hello(struct session_target *t)
{
    char text[256] = "250-target.test\r\n";

    strcat(text, t->caps & CAP_PIPELINING ? "250-PIPELINING\r\n" : "");
    strcat(text, t->caps & CAP_CHUNKING ? "250-CHUNKING\r\n" : "");
    strcat(text, t->caps & CAP_XFORWARD ? "250-XFORWARD NAME ADDR HELO\r\n" : "");
    strcat(text, t->caps & CAP_XCLIENT ? "250-XCLIENT NAME ADDR HELO\r\n" : "");
    strcat(text, t->caps & CAP_8BITMIME ? "250-8BITMIME\r\n" : "");
    strcat(text, "250 ENHANCEDSTATUSCODES\r\n");
    forget_mail(t);
    reply(t, text);
}

static void begin_chunk(struct session_target *t, const char *line)
{
    char *rest;

    PIECES_MUST((t->caps & CAP_CHUNKING) != 0);
    t->chunk_left = strtoull(line + 5, &rest, 10);
    t->is_last_chunk = strncmp(rest, " LAST", 5) == 0;
    t->state = TARGET_CHUNK;
}

static void end_chunk(struct session_target *t)
{
    if (t->is_last_chunk) {
        end_message(t);
        return;
    }
    t->state = TARGET_COMMANDS;
    if (!is_positive(reply(t, t->has_bad_chunk ? "503 5.5.1 No\r\n" : "250 2.0.0 So far\r\n")))
        t->has_bad_chunk = true;
}

static void obey(struct session_target *t, const char *line)
{
    const char *said;

    if (t->taken_count == SESSION_TAKEN_MAX) {
        sim_close(t->peer);
        return;
    }
    if (strncmp(line, "EHLO ", 5) == 0) {
        say_hello(t);
    } else if (strncmp(line, "RCPT TO:<", 9) == 0) {
        if (is_positive(reply(t, "250 2.1.5 Ok\r\n")))
            t->accepted++;
    } else if (strncmp(line, "DATA", 4) == 0) {
        said = reply(t, t->accepted > 0 ? "354 Go\r\n" : "554 5.5.1 Nobody\r\n");
        if (strncmp(said, "354", 3) == 0)
            t->state = TARGET_DATA;
    } else if (strncmp(line, "BDAT ", 5) == 0) {
        begin_chunk(t, line);
        if (t->chunk_left == 0)
            end_chunk(t);
    } else if (strncmp(line, "QUIT", 4) == 0) {
        reply(t, "221 2.0.0 Bye\r\n");
    } else if (strncmp(line, "XCLIENT ", 8) == 0) {
        forget_mail(t);
        reply(t, "220 target.test\r\n");
    } else if (strncmp(line, "RSET", 4) == 0 || strncmp(line, "MAIL FROM:<", 11) == 0 ||
               strncmp(line, "XFORWARD ", 9) == 0 || strncmp(line, "HELO ", 5) == 0) {
        if (line[0] != 'X')
            forget_mail(t);
        reply(t, "250 2.0.0 Ok\r\n");
    } else if (strncmp(line, "PROXY ", 6) != 0) {
        PIECES_MUST(t->is_confused); /* nothing else is ever said to a target */
        reply(t, "500 5.5.2 What?\r\n");
    }
}

/* One line of content behind DATA. */
static void take_line(struct session_target *t, struct bytes line)
{
    if (bytes_is(line, ".\r\n")) {
        end_message(t);
        return;
    }
    pieces_see(&t->content, line.at[0] == '.' ? bytes_skip(line, 1) : line);
}

void session_target_greet(struct session_target *t)
{
    reply(t, "220 target.test\r\n");
}

/* Octets used; 0: more must come. */
static size_t take_some(struct session_target *t, struct bytes in)
{
    struct bytes line = bytes_first(in, bytes_find(in, '\n') + 1);
    char text[600] = "";

    if (t->state == TARGET_CHUNK) {
        struct bytes now = bytes_first(in, t->chunk_left);
        pieces_see(&t->content, now);
        t->chunk_left -= now.len;
        if (t->chunk_left == 0)
            end_chunk(t);
        return now.len;
    }
    if (line.at[line.len - 1] != '\n')
        return 0;
    if (t->state == TARGET_DATA) {
        take_line(t, line);
        return line.len;
    }
    PIECES_MUST(t->is_confused || (line.len <= 1024 && line.at[line.len - 2] == '\r'));
    memcpy(text, line.at, line.len < sizeof(text) - 1 ? line.len : sizeof(text) - 1);
    obey(t, text);
    return line.len;
}

bool session_target_serve(struct session_target *t)
{
    struct bytes in = sim_received(t->peer);
    size_t used = 1, at = 0;

    if (in.len == 0)
        return false;
    pieces_see(&t->in, in);
    sim_take(t->peer, in.len);
    in = pieces_seen_bytes(&t->in);
    while (used > 0 && at < in.len) {
        used = take_some(t, bytes_skip(in, at));
        at += used;
    }
    memmove(t->in.at, t->in.at + at, t->in.len - at);
    t->in.len -= at;
    return true;
}
