/* SPDX-License-Identifier: BSD-2-Clause */
/* The target of the benchmark: an SMTP server that takes every message and throws it away.
 *
 * Usage: sink PORTS[:KEYWORD,KEYWORD...]...     (on 127.0.0.1)
 *
 * PORTS is a port or FIRST-LAST; the keywords are those of `chunking`, `xforward`, `xclient` that
 * these ports announce, and `lmtp` for ports that speak LMTP, beside PIPELINING, SIZE, 8BITMIME and
 * ENHANCEDSTATUSCODES. Prints "ready", and its counters as one line of JSON at USR1 and, before it
 * ends, at TERM or INT. The replies to what came in one read leave in one write. A peer that leaves
 * its replies unread is dropped. */
#include "scripts/bench/common.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES     (256 * 1024)
#define LINE_MAX_BYTES 4096
#define REPLY_BYTES    (64 * 1024)
#define EVENTS_MAX     512

enum feature { FEATURE_CHUNKING = 1, FEATURE_XFORWARD = 2, FEATURE_XCLIENT = 4, FEATURE_LMTP = 8 };
enum kind { KIND_SIGNAL, KIND_LISTENER, KIND_PEER };
enum stage { STAGE_COMMANDS, STAGE_DATA, STAGE_BDAT };

struct endpoint {
    enum kind kind;
    int fd;
    unsigned features;
    enum stage stage;
    unsigned rcpts;
    bool is_greeted, has_mail, is_last_chunk, is_line_start, wants_close;
    size_t chunk_bytes;  /* of this BDAT, still to come */
    size_t chunks_bytes; /* of this message's BDATs so far */
    char *kept;          /* the unfinished line or end of data of the last read */
    size_t kept_bytes;
};

struct sink {
    int epoll;
    unsigned long connections, open, messages, errors, xforwards, xclients;
    unsigned long long octets;
    size_t reply_bytes;
    char reply[REPLY_BYTES];
    char input[LINE_MAX_BYTES + READ_BYTES];
};

static void say(struct sink *sink, const char *text)
{
    size_t length = strlen(text);

    if (length > sizeof(sink->reply) - sink->reply_bytes)
        bench_die("more replies than fit one read's commands");
    memcpy(sink->reply + sink->reply_bytes, text, length);
    sink->reply_bytes += length;
}

static void refuse(struct sink *sink, const char *text)
{
    sink->errors++;
    say(sink, text);
}

static void say_ehlo(struct sink *sink, unsigned features)
{
    say(sink, "250-sink.example.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n"
              "250-ENHANCEDSTATUSCODES\r\n");
    if (features & FEATURE_CHUNKING)
        say(sink, "250-CHUNKING\r\n");
    if (features & FEATURE_XFORWARD)
        say(sink, "250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n");
    if (features & FEATURE_XCLIENT)
        say(sink, "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n");
    say(sink, "250 8BITMIME\r\n");
}

static void reset(struct endpoint *peer)
{
    peer->has_mail = false;
    peer->rcpts = 0;
    peer->chunks_bytes = 0;
}

static void message_done(struct sink *sink, struct endpoint *peer)
{
    char text[64];

    unsigned replies = peer->features & FEATURE_LMTP ? peer->rcpts : 1;

    sink->messages++;
    snprintf(text, sizeof(text), "250 2.0.0 Ok: queued as %lX\r\n", sink->messages);
    for (unsigned i = 0; i < replies; i++)
        say(sink, text);
    reset(peer);
}

static void command_data(struct sink *sink, struct endpoint *peer)
{
    if (peer->rcpts == 0 || peer->chunks_bytes > 0) {
        refuse(sink, "503 5.5.1 Error: need RCPT command\r\n");
        return;
    }
    peer->stage = STAGE_DATA;
    peer->is_line_start = true;
    say(sink, "354 End data with <CR><LF>.<CR><LF>\r\n");
}

static void chunk_done(struct sink *sink, struct endpoint *peer)
{
    peer->stage = STAGE_COMMANDS;
    if (peer->rcpts == 0)
        refuse(sink, "503 5.5.1 Error: need RCPT command\r\n");
    else if (peer->is_last_chunk)
        message_done(sink, peer);
    else
        say(sink, "250 2.0.0 Ok\r\n");
}

static void command_bdat(struct sink *sink, struct endpoint *peer, const char *rest)
{
    char *end = NULL;

    peer->chunk_bytes = strtoul(rest, &end, 10);
    if (end == rest || !(peer->features & FEATURE_CHUNKING)) {
        refuse(sink, "501 5.5.4 Syntax: BDAT count [LAST]\r\n");
        peer->wants_close = true;
        return;
    }
    peer->is_last_chunk = strcasecmp(end, " LAST") == 0;
    peer->chunks_bytes += peer->chunk_bytes;
    peer->stage = STAGE_BDAT;
    if (peer->chunk_bytes == 0)
        chunk_done(sink, peer);
}

static void command_mail(struct sink *sink, struct endpoint *peer)
{
    if (!peer->is_greeted || peer->has_mail) {
        refuse(sink, "503 5.5.1 Error: bad sequence\r\n");
        return;
    }
    peer->has_mail = true;
    say(sink, "250 2.1.0 Ok\r\n");
}

static void command_rcpt(struct sink *sink, struct endpoint *peer)
{
    if (!peer->has_mail) {
        refuse(sink, "503 5.5.1 Error: need MAIL command\r\n");
        return;
    }
    peer->rcpts++;
    say(sink, "250 2.1.5 Ok\r\n");
}

static void command_identity(struct sink *sink, struct endpoint *peer, enum feature feature)
{
    if (!(peer->features & feature) || peer->has_mail) {
        refuse(sink, "503 5.5.1 Error: bad sequence\r\n");
        return;
    }
    if (feature == FEATURE_XFORWARD) {
        sink->xforwards++;
        say(sink, "250 2.0.0 Ok\r\n");
        return;
    }
    sink->xclients++;
    peer->is_greeted = false;
    say(sink, "220 sink.example.test ESMTP\r\n");
}

static bool is_verb(const char *line, const char *verb)
{
    size_t length = strlen(verb);

    return strncasecmp(line, verb, length) == 0 && (line[length] == ' ' || line[length] == '\0');
}

static void command(struct sink *sink, struct endpoint *peer, const char *line)
{
    if (is_verb(line, "MAIL")) {
        command_mail(sink, peer);
    } else if (is_verb(line, "RCPT")) {
        command_rcpt(sink, peer);
    } else if (is_verb(line, "DATA")) {
        command_data(sink, peer);
    } else if (is_verb(line, "BDAT")) {
        command_bdat(sink, peer, line + 4);
    } else if (is_verb(line, "XFORWARD")) {
        command_identity(sink, peer, FEATURE_XFORWARD);
    } else if (is_verb(line, "XCLIENT")) {
        command_identity(sink, peer, FEATURE_XCLIENT);
    } else if (is_verb(line, peer->features & FEATURE_LMTP ? "LHLO" : "EHLO")) {
        reset(peer);
        peer->is_greeted = true;
        say_ehlo(sink, peer->features);
    } else if (is_verb(line, "HELO") || is_verb(line, "RSET") || is_verb(line, "NOOP")) {
        if (!is_verb(line, "NOOP"))
            reset(peer);
        peer->is_greeted = peer->is_greeted || is_verb(line, "HELO");
        say(sink, "250 2.0.0 Ok\r\n");
    } else if (is_verb(line, "QUIT")) {
        say(sink, "221 2.0.0 Bye\r\n");
        peer->wants_close = true;
    } else {
        refuse(sink, "502 5.5.2 Error: command not recognized\r\n");
    }
}

/* Each feed_ function returns how many octets it is through with; 0: more are needed. */
static size_t feed_command(struct sink *sink, struct endpoint *peer, char *octets, size_t length)
{
    char *newline = memchr(octets, '\n', length);

    if (newline == NULL) {
        if (length >= LINE_MAX_BYTES)
            peer->wants_close = true;
        return 0;
    }
    *newline = '\0';
    if (newline > octets && newline[-1] == '\r')
        newline[-1] = '\0';
    command(sink, peer, octets);
    return (size_t)(newline - octets) + 1;
}

static size_t feed_data(struct sink *sink, struct endpoint *peer, const char *octets, size_t length)
{
    const char *end = octets + length;
    size_t through;

    for (const char *dot = octets; (dot = memchr(dot, '.', (size_t)(end - dot))) != NULL; dot++) {
        bool starts_line = dot == octets ? peer->is_line_start
                                         : dot - octets >= 2 && memcmp(dot - 2, "\r\n", 2) == 0;

        if (!starts_line || end - dot < 3 || memcmp(dot, ".\r\n", 3) != 0)
            continue;
        sink->octets += (unsigned long long)(dot - octets);
        peer->stage = STAGE_COMMANDS;
        message_done(sink, peer);
        return (size_t)(dot - octets) + 3;
    }
    through = length > 4 ? length - 4 : 0; /* the rest may be the beginning of the end */
    sink->octets += through;
    if (through > 0)
        peer->is_line_start = false;
    return through;
}

static size_t feed_bdat(struct sink *sink, struct endpoint *peer, size_t length)
{
    size_t through = length < peer->chunk_bytes ? length : peer->chunk_bytes;

    sink->octets += through;
    peer->chunk_bytes -= through;
    if (peer->chunk_bytes == 0)
        chunk_done(sink, peer);
    return through;
}

static void feed(struct sink *sink, struct endpoint *peer, char *octets, size_t length)
{
    size_t through = 1;

    while (length > 0 && through > 0 && !peer->wants_close) {
        switch (peer->stage) {
        case STAGE_COMMANDS:
            through = feed_command(sink, peer, octets, length);
            break;
        case STAGE_DATA:
            through = feed_data(sink, peer, octets, length);
            break;
        case STAGE_BDAT:
            through = feed_bdat(sink, peer, length);
            break;
        }
        octets += through;
        length -= through;
    }
    if (length > 0 && !peer->wants_close) {
        peer->kept = bench_alloc(1, length);
        peer->kept_bytes = length;
        memcpy(peer->kept, octets, length);
    }
}

static void drop(struct sink *sink, struct endpoint *peer)
{
    sink->open--;
    close(peer->fd);
    free(peer->kept);
    free(peer);
}

static void flush_replies(struct sink *sink, struct endpoint *peer)
{
    if (sink->reply_bytes > 0 &&
        send(peer->fd, sink->reply, sink->reply_bytes, MSG_NOSIGNAL) != (ssize_t)sink->reply_bytes)
        peer->wants_close = true;
    sink->reply_bytes = 0;
}

static void serve_peer(struct sink *sink, struct endpoint *peer)
{
    size_t kept = peer->kept_bytes;
    ssize_t got = read(peer->fd, sink->input + kept, READ_BYTES);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(sink, peer);
        return;
    }
    if (kept > 0) {
        memcpy(sink->input, peer->kept, kept);
        free(peer->kept);
        peer->kept = NULL;
        peer->kept_bytes = 0;
    }
    feed(sink, peer, sink->input, kept + (size_t)got);
    flush_replies(sink, peer);
    if (peer->wants_close)
        drop(sink, peer);
}

static void serve_listener(struct sink *sink, const struct endpoint *listener)
{
    int fd;

    while ((fd = bench_accept(listener->fd)) >= 0) {
        struct endpoint *peer = bench_alloc(1, sizeof(*peer));

        peer->kind = KIND_PEER;
        peer->fd = fd;
        peer->features = listener->features;
        sink->connections++;
        sink->open++;
        bench_watch(sink->epoll, fd, EPOLLIN, peer);
        say(sink, "220 sink.example.test ESMTP\r\n");
        flush_replies(sink, peer);
    }
}

static void report(const struct sink *sink)
{
    printf("{\"connections\": %lu, \"open\": %lu, \"messages\": %lu, \"octets\": %llu, "
           "\"xforwards\": %lu, \"xclients\": %lu, \"errors\": %lu}\n",
           sink->connections, sink->open, sink->messages, sink->octets, sink->xforwards,
           sink->xclients, sink->errors);
    fflush(stdout);
}

static void serve_signal(const struct sink *sink, const struct endpoint *signals)
{
    struct signalfd_siginfo info;

    if (read(signals->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    report(sink);
    if (info.ssi_signo != SIGUSR1)
        exit(0);
}

static unsigned parse_features(char *keywords)
{
    unsigned features = 0;

    for (char *word = strtok(keywords, ","); word != NULL; word = strtok(NULL, ",")) {
        if (strcmp(word, "lmtp") == 0)
            features |= FEATURE_LMTP;
        else if (strcmp(word, "chunking") == 0)
            features |= FEATURE_CHUNKING;
        else if (strcmp(word, "xforward") == 0)
            features |= FEATURE_XFORWARD;
        else if (strcmp(word, "xclient") == 0)
            features |= FEATURE_XCLIENT;
        else
            bench_die("unknown keyword '%s'", word);
    }
    return features;
}

static void open_ports(struct sink *sink, char *text)
{
    char *keywords = strchr(text, ':');
    unsigned features = 0;
    char *dash;
    unsigned long first, last;

    if (keywords != NULL) {
        *keywords = '\0';
        features = parse_features(keywords + 1);
    }
    dash = strchr(text, '-');
    if (dash != NULL)
        *dash = '\0';
    first = bench_number(text, 65535);
    last = dash != NULL ? bench_number(dash + 1, 65535) : first;
    for (unsigned long port = first; port <= last; port++) {
        struct endpoint *listener = bench_alloc(1, sizeof(*listener));

        listener->kind = KIND_LISTENER;
        listener->features = features;
        listener->fd = bench_listen((unsigned)port);
        bench_watch(sink->epoll, listener->fd, EPOLLIN, listener);
    }
}

static void open_signals(struct sink *sink)
{
    struct endpoint *signals = bench_alloc(1, sizeof(*signals));
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals->kind = KIND_SIGNAL;
    signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    bench_watch(sink->epoll, signals->fd, EPOLLIN, signals);
}

static void serve(struct sink *sink, struct endpoint *endpoint)
{
    switch (endpoint->kind) {
    case KIND_SIGNAL:
        serve_signal(sink, endpoint);
        break;
    case KIND_LISTENER:
        serve_listener(sink, endpoint);
        break;
    case KIND_PEER:
        serve_peer(sink, endpoint);
        break;
    }
}

int main(int argc, char **argv)
{
    struct sink *sink = bench_alloc(1, sizeof(*sink));
    struct epoll_event events[EVENTS_MAX];

    bench_raise_descriptors();
    sink->epoll = epoll_create1(EPOLL_CLOEXEC);
    open_signals(sink);
    for (int i = 1; i < argc; i++)
        open_ports(sink, argv[i]);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(sink->epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++)
            serve(sink, events[i].data.ptr);
    }
}
