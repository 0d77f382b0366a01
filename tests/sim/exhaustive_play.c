/* SPDX-License-Identifier: BSD-2-Clause */
/* One life: a process of postern, and those around it. All do what they do at once, and the same
 * each time. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/worker.h"
#include "tests/sim/exhaustive.h"
#include "tests/sim/stage.h"

#define SERVERS    24
#define LINES      (BOOK_RECIPIENTS + 6)
#define LINE_BYTES 80
#define AFTERWARDS 31000 /* ms from an empty queue to the end: once more it is listed */
#define NEVER_ENDS (UINT64_C(7) * 24 * 3600 * 1000)
#define FIRST_B    "198.51.100.2:"

struct server {
    struct play *play;
    struct sim_peer *peer;
    bool is_b, is_content;
    char sender[BOOK_ADDRESS], to[BOOK_RECIPIENTS][BOOK_ADDRESS];
    unsigned to_count;
    struct sim_text content;
};

/* A client, or posternctl. */
struct asker {
    struct play *play;
    struct sim_peer *peer;        /* NULL: nothing was asked yet, or it is over */
    struct book_message *message; /* NULL: posternctl */
    char lines[LINES][LINE_BYTES];
    unsigned count, said;
};

struct play {
    struct sim *world;
    const struct config *config;
    const struct operation *operation;
    const struct life *life;
    struct book *book;
    struct server servers[SERVERS];
    unsigned server_count, next_act;
    struct asker asker;
    uint64_t began_ms, empty_ms; /* empty_ms: 0: it is not */
    struct sim_process *second;  /* that lives while a call of the first one hangs; NULL: none */
    bool is_ending, is_second_ending;
};

static void copy_address(char address[BOOK_ADDRESS], struct bytes line)
{
    size_t from = bytes_find(line, '<'), to = bytes_find(line, '>');

    snprintf(address, BOOK_ADDRESS, "%.*s", from < to ? (int)(to - from - 1) : 0,
             (const char *)line.at + from + 1);
}

/* ---- targets ---- */

static void say(struct sim_peer *p, const char *text)
{
    if (sim_may_send(p))
        sim_send(p, bytes_of(text));
}

static void hear_rcpt(struct server *v, struct bytes line)
{
    enum targets_state targets = v->play->life->targets;
    bool is_strict = targets == TARGETS_STRICT;
    char address[BOOK_ADDRESS];

    copy_address(address, line);
    if (v->to_count == BOOK_RECIPIENTS) {
        say(v->peer, "452 4.5.3 too many\r\n");
    } else if (is_strict && strncmp(address, "no", 2) == 0) {
        say(v->peer, "550 5.1.1 no such user\r\n");
    } else if (targets == TARGETS_FULL || (is_strict && strncmp(address, "later", 5) == 0)) {
        say(v->peer, "452 4.2.2 mailbox full\r\n");
    } else {
        memcpy(v->to[v->to_count++], address, sizeof(address));
        say(v->peer, "250 2.1.5 ok\r\n");
    }
}

static void take(struct server *v)
{
    for (unsigned i = 0; i < v->to_count; i++)
        book_take(v->play->book, v->is_b, bytes_of(v->sender), bytes_of(v->to[i]),
                  bytes_make(v->content.at, v->content.len));
    v->is_content = false;
    v->to_count = 0;
    v->content.len = 0;
    say(v->peer, "250 2.0.0 taken\r\n");
}

static void hear_command(struct server *v, struct bytes line)
{
    if (bytes_start_with_nocase(line, "EHLO")) {
        say(v->peer, "250-target.test\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n");
    } else if (bytes_start_with_nocase(line, "MAIL")) {
        copy_address(v->sender, line);
        v->to_count = 0;
        say(v->peer, "250 2.1.0 ok\r\n");
    } else if (bytes_start_with_nocase(line, "RCPT")) {
        hear_rcpt(v, line);
    } else if (bytes_start_with_nocase(line, "DATA")) {
        v->is_content = v->to_count > 0;
        say(v->peer, v->is_content ? "354 go\r\n" : "554 5.5.1 to nobody\r\n");
    } else {
        say(v->peer, "250 2.0.0 ok\r\n");
        if (bytes_start_with_nocase(line, "QUIT"))
            sim_close(v->peer);
    }
}

static void hear_line(struct server *v, struct bytes line)
{
    if (!v->is_content)
        hear_command(v, line);
    else if (bytes_is(line, ".\r\n"))
        take(v);
    else
        sim_put(&v->content, line.at[0] == '.' ? bytes_skip(line, 1) : line);
}

static void on_server_news(void *owner)
{
    struct server *v = owner;

    while (sim_peer_state(v->peer) == SIM_PEER_OPEN) {
        struct bytes heard = sim_received(v->peer);
        size_t end = bytes_find(heard, '\n');
        if (end == heard.len)
            break;
        hear_line(v, bytes_first(heard, end + 1));
        sim_take(v->peer, end + 1);
    }
    if (sim_peer_state(v->peer) == SIM_PEER_OPEN &&
        (sim_has_eof(v->peer) || sim_was_reset(v->peer)))
        sim_close(v->peer);
}

/* Once a message was led to another target, its old one is no more. */
static bool is_down(const struct play *p, const struct sim_peer *peer)
{
    bool is_a = strncmp(sim_target_address(peer), FIRST_B, strlen(FIRST_B)) != 0;

    return p->life->targets == TARGETS_DOWN ||
           (is_a && p->operation->duty == DUTY_TARGET_B && p->book->is_duty_done);
}

static void on_asked(void *owner, struct sim_peer *peer)
{
    struct play *p = owner;
    struct server *v;

    if (is_down(p, peer)) {
        sim_refuse(peer, -ECONNREFUSED);
        return;
    }
    if (p->server_count == SERVERS)
        sim_fault("too many connections to targets");
    v = &p->servers[p->server_count++];
    v->play = p;
    v->peer = peer;
    v->is_b = strncmp(sim_target_address(peer), FIRST_B, strlen(FIRST_B)) == 0;
    sim_on_news(peer, on_server_news, v);
    sim_accept(peer);
    say(peer, "220 target.test ESMTP\r\n");
}

/* ---- clients, and the operator ---- */

static void ask_next(struct asker *a)
{
    struct sim_text content = {.len = 0};

    if (a->said == a->count)
        return;
    if (a->lines[a->said][0] == '\0') { /* the content */
        book_content(a->message, &content);
        sim_put(&content, bytes_of(".\r\n"));
        sim_send(a->peer, bytes_make(content.at, content.len));
        free(content.at);
    } else {
        sim_send(a->peer, bytes_of(a->lines[a->said]));
    }
    a->said++;
}

static void leave(struct asker *a)
{
    if (sim_peer_state(a->peer) == SIM_PEER_OPEN)
        sim_close(a->peer);
    a->peer = NULL;
}

/* posternctl: the last line begins with a dot, and an exit code. */
static void hear_answer(struct asker *a, struct bytes line)
{
    if (line.at[0] == '.')
        leave(a);
}

static void hear_reply(struct asker *a, struct bytes line)
{
    bool is_of_content = a->said > 0 && a->lines[a->said - 1][0] == '\0';

    if (line.len > 3 && line.at[3] == '-')
        return;
    if (is_of_content) {
        a->message->is_acknowledged = line.at[0] == '2';
        a->message->is_refused = !a->message->is_acknowledged;
    }
    if (a->said == a->count || (line.at[0] != '2' && line.at[0] != '3'))
        leave(a);
    else
        ask_next(a);
}

static void on_asker_news(void *owner)
{
    struct asker *a = owner;

    while (a->peer != NULL) {
        struct bytes heard = sim_received(a->peer);
        size_t end = bytes_find(heard, '\n');
        if (end == heard.len)
            break;
        struct bytes line = bytes_first(heard, end + 1);
        sim_take(a->peer, end + 1);
        if (a->message != NULL)
            hear_reply(a, line);
        else
            hear_answer(a, line);
    }
    if (a->peer != NULL && (sim_has_eof(a->peer) || sim_was_reset(a->peer)))
        leave(a);
}

static struct bytes next_word(struct bytes *text)
{
    struct bytes word = bytes_first(*text, bytes_find(*text, ' '));

    *text = bytes_skip(*text, word.len < text->len ? word.len + 1 : word.len);
    return word;
}

/* "FROM RCPT...", "-" for no sender. Who has "dsn" in his name wants to hear of success. */
static void plan_message(struct play *p, struct bytes words, bool is_big)
{
    struct asker *a = &p->asker;
    struct book_message *m = &p->book->messages[p->book->message_count++];
    struct bytes from = next_word(&words);

    *m = (struct book_message){.is_big = is_big};
    snprintf(m->sender, sizeof(m->sender), "%.*s", (int)from.len, (const char *)from.at);
    a->message = m;
    snprintf(a->lines[a->count++], LINE_BYTES, "EHLO client.test\r\n");
    snprintf(a->lines[a->count++], LINE_BYTES, "MAIL FROM:<%s>\r\n",
             bytes_is(from, "-") ? "" : m->sender);
    while (words.len > 0) {
        struct bytes to = next_word(&words);
        struct book_recipient *r = &m->recipients[m->recipient_count++];
        snprintf(r->address, sizeof(r->address), "%.*s", (int)to.len, (const char *)to.at);
        snprintf(a->lines[a->count++], LINE_BYTES, "RCPT TO:<%s>%s\r\n", r->address,
                 strncmp(r->address, "dsn", 3) == 0 ? " NOTIFY=SUCCESS,FAILURE" : "");
    }
    snprintf(a->lines[a->count++], LINE_BYTES, "DATA\r\n");
    a->lines[a->count++][0] = '\0';
    snprintf(a->lines[a->count++], LINE_BYTES, "QUIT\r\n");
}

/* The first message that there is; NULL: none. */
static const char *first_message(struct sim *w)
{
    static const char *const folders[] = {STAGE_SPOOL "/queue", STAGE_SPOOL "/hold"};
    const char *path;

    for (size_t f = 0; f < ARRAY_LENGTH(folders); f++)
        for (unsigned i = 0; (path = sim_file_below(w, folders[f], i)) != NULL; i++)
            if (strlen(strrchr(path, '/') + 1) == ID_LENGTH)
                return strrchr(path, '/') + 1;
    return NULL;
}

/* "hold ID": ID is the first message. */
static void plan_request(struct play *p, struct bytes words)
{
    struct asker *a = &p->asker;
    struct bytes command = next_word(&words), what = next_word(&words);
    const char *id = first_message(p->world);

    a->message = NULL;
    if (bytes_is(what, "ID"))
        what = bytes_of(id == NULL ? "0" : id);
    snprintf(a->lines[a->count++], LINE_BYTES, "text %.*s%s%.*s%s%.*s\n", (int)command.len,
             (const char *)command.at, what.len > 0 ? " " : "", (int)what.len,
             (const char *)what.at, words.len > 0 ? " " : "", (int)words.len,
             (const char *)words.at);
}

/* False: there is nobody to ask yet. */
static bool act(struct play *p, const char *text)
{
    struct asker *a = &p->asker;
    struct bytes words = bytes_of(text), rest = words, verb = next_word(&rest);
    bool is_message = bytes_is(verb, "send") || bytes_is(verb, "big");
    struct netaddr from, to;

    *a = (struct asker){.play = p};
    netaddr_parse_with_port(bytes_of("203.0.113.7"), 4711, &from);
    netaddr_parse_with_port(bytes_of("192.0.2.1"), 25, &to);
    a->peer = is_message ? sim_connect(p->world, &from, &to)
                         : sim_connect_path(p->world, STAGE_SPOOL "/control");
    if (a->peer == NULL)
        return false;
    if (is_message)
        plan_message(p, rest, bytes_is(verb, "big"));
    else
        plan_request(p, words);
    sim_on_news(a->peer, on_asker_news, a);
    if (!is_message)
        ask_next(a);
    return true;
}

/* ---- time ---- */

static int serve(void *owner)
{
    static const struct store_limits limits[] = {[LIMITS_LOW] = {.directory_names = 1,
                                                                 .index_messages_min = 1,
                                                                 .index_quiet_s = 1,
                                                                 .records_bytes = 1024},
                                                 [LIMITS_REWRITE] = {.directory_names = 1000,
                                                                     .index_messages_min = 100,
                                                                     .index_quiet_s = 60,
                                                                     .records_bytes = 0}};
    struct play *p = owner;
    struct worker_task task = {.is_alone = true, .runs_queue = true};

    if (p->operation->limits != LIMITS_OF_SERVER)
        task.store_limits = &limits[p->operation->limits];
    return stage_run_task(p->config, &task);
}

static void on_line(void *owner, struct bytes line)
{
    struct play *p = owner;

    book_hear(p->book, line, sim_now_ms(p->world));
}

static bool queue_is_empty(struct sim *w)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(w, STAGE_SPOOL "/queue", i)) != NULL; i++)
        if (strlen(strrchr(path, '/') + 1) == ID_LENGTH)
            return false;
    return true;
}

static bool is_over(struct play *p)
{
    uint64_t now_ms = sim_now_ms(p->world);

    if (p->life->targets != TARGETS_KIND)
        return now_ms >= p->began_ms + p->life->seconds * UINT64_C(1000);
    if (!queue_is_empty(p->world))
        p->empty_ms = 0;
    else if (p->empty_ms == 0)
        p->empty_ms = now_ms;
    return (p->empty_ms != 0 && now_ms >= p->empty_ms + AFTERWARDS) ||
           now_ms > p->began_ms + NEVER_ENDS || p->book->problem[0] != '\0';
}

/* The first one goes on, as long as if it had just begun. */
static void second_ended(void *owner, const struct sim_process_end *end)
{
    struct play *p = owner;

    (void)end;
    p->second = NULL;
    p->began_ms = sim_now_ms(p->world);
    sim_disk_go_on(p->world);
}

/* False: there is none, or it does not end yet. */
static bool look_at_second(struct play *p)
{
    if (p->second == NULL && sim_disk_hung(p->world) > 0) {
        p->second = sim_process_start(p->world, serve, p, second_ended);
        p->began_ms = sim_now_ms(p->world);
        return true;
    }
    if (p->second == NULL || p->is_second_ending ||
        sim_now_ms(p->world) < p->began_ms + p->life->seconds * UINT64_C(1000))
        return false;
    p->is_second_ending = true;
    sim_process_signal(p->second, SIGTERM);
    return true;
}

static bool on_quiet(void *owner)
{
    struct play *p = owner;
    const char *next = p->next_act < LIFE_ACTS ? p->life->acts[p->next_act] : NULL;

    if (look_at_second(p))
        return true;
    if (p->is_ending)
        return false;
    if (next != NULL && p->asker.peer == NULL && act(p, next)) {
        p->next_act++;
        return true;
    }
    p->is_ending = p->second == NULL && is_over(p);
    if (p->is_ending)
        sim_signal(p->world, SIGTERM);
    return p->is_ending;
}

bool play_life(struct sim *w, const struct config *config, const struct operation *o,
               const struct life *life, struct book *book)
{
    static struct play p;
    uint64_t failures = sim_disk_failures(w);
    bool has_ended;
    int code;

    book->unwritten = 0;
    p = (struct play){.world = w, .config = config, .operation = o, .life = life, .book = book};
    p.began_ms = sim_now_ms(w);
    sim_ask_targets(w, true);
    sim_on_asked(w, on_asked, &p);
    sim_on_quiet(w, on_quiet, &p);
    sim_on_line(w, on_line, &p);
    has_ended = sim_process(w, serve, &p, &code);
    book->has_failed = book->has_failed || sim_disk_failures(w) > 0;
    book->is_orderly = has_ended && sim_disk_failures(w) == 0;
    if (book->unwritten > sim_disk_failures(w) - failures)
        book_fail(book, "a file cannot be written, and that is not the disk");
    if (book->is_orderly &&
        (p.asker.peer != NULL || (p.next_act < LIFE_ACTS && life->acts[p.next_act] != NULL)))
        book_fail(book, "not everything was done that was asked for");
    for (unsigned i = 0; i < p.server_count; i++)
        free(p.servers[i].content.at);
    return has_ended;
}
