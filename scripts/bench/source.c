/* SPDX-License-Identifier: BSD-2-Clause */
/* The generator of the benchmark: sends messages over SMTP, checks every reply, takes the time.
 *
 * Usage: source [OPTION...] PORT                (on 127.0.0.1)
 *   -c N  concurrent connections [1]
 *   -n N  messages [1]; 0: hold the connections idle
 *   -s N  octets of a message, final dot included [4096]
 *   -d N  recipient domains, d0 to dN-1, in turn [1]
 *   -r N  recipients of a message [1]
 *   -l    LMTP: LHLO, and a reply for each recipient at the end
 *   -k    keep the connections; else each message has its own
 *   -t    TLS from the first octet; -T: and sessions are resumed
 *   -p    MAIL, RCPT and DATA in one write; else each waits for the reply before it
 *   -w N  with -k: messages sent first, not counted [0]
 *   -g N  milliseconds between two messages, with one connection only [0]
 *
 * With -k all connections are opened, greeted and warmed first. Then "ready" is printed and a line
 * on standard input awaited; the messages are sent; then the result is printed, one line of JSON,
 * and another line awaited before the connections end with QUIT. So the caller can look at the
 * subject at either point. The time of a message runs from connect(), with -k from MAIL, to the
 * 250 of its end of data. A message that fails ends its connection. */
#include "scripts/bench/common.h"
#include "scripts/bench/secure.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define INPUT_BYTES    1024
#define READ_BYTES     16384
#define EVENTS_MAX     512
#define OPENING_MAX    64    /* connections between connect() and the reply to EHLO */
#define STALL_MS       60000 /* nothing at all happened: give up */
#define COMPLAINTS_MAX 5     /* failures that are told in words */
#define RECIPIENTS_MAX 100

enum phase {
    PHASE_CLOSED,
    PHASE_SECURING, /* the handshake */
    PHASE_GREETING,
    PHASE_EHLO,
    PHASE_PARKED, /* kept, between two messages */
    PHASE_MAIL,
    PHASE_RCPT,
    PHASE_DATA,
    PHASE_BODY,
    PHASE_QUIT
};

static const char *const phase_names[] = {"closed", "handshake", "greeting", "EHLO", "parked",
                                          "MAIL",   "RCPT",      "DATA",     "body", "QUIT"};
static const int phase_codes[] = {0, 0, 220, 250, 0, 250, 250, 354, 250, 221};

struct link {
    int fd;
    struct secure *secure; /* NULL: no TLS */
    unsigned generation;   /* counts the connections that this link has been */
    enum phase phase;      /* whose reply is awaited */
    bool has_pipelining;
    unsigned long first_domain;
    unsigned long due; /* replies to RCPT, or to the end of data */
    uint64_t started_ns;
    size_t body_sent;
    size_t input_bytes;
    char input[INPUT_BYTES]; /* an unfinished reply line */
};

struct options {
    unsigned port;
    unsigned long connections, messages, size_bytes, domains, recipients, warm, gap_ms;
    bool keeps, pipelines, is_lmtp, is_secure, resumes;
};

struct source {
    struct options options;
    int epoll;
    struct link *links;
    unsigned long next_link; /* with -k: the first that has not been opened */
    unsigned long opening;   /* connections on their way to the reply to EHLO */
    unsigned long busy;      /* links that are neither closed nor parked */
    unsigned long goal;      /* messages to be started in this stage */
    unsigned long started, done, failures, lost;
    uint64_t *times_ns; /* of each message done */
    char *body;
    size_t body_bytes;
    char input[READ_BYTES];
};

static void link_close(struct source *source, struct link *link)
{
    if (link->phase == PHASE_SECURING || link->phase == PHASE_GREETING || link->phase == PHASE_EHLO)
        source->opening--;
    if (link->phase != PHASE_PARKED)
        source->busy--;
    if (link->secure != NULL)
        secure_close(link->secure);
    close(link->fd);
    link->phase = PHASE_CLOSED;
}

static void link_open(struct source *source, struct link *link)
{
    link->started_ns = bench_now_ns();
    link->fd = bench_connect(source->options.port);
    if (source->options.is_secure)
        secure_open(&link->secure, link->fd);
    link->phase = link->secure != NULL ? PHASE_SECURING : PHASE_GREETING;
    link->generation++;
    link->has_pipelining = false;
    link->input_bytes = 0;
    source->opening++;
    source->busy++;
    bench_watch(source->epoll, link->fd, link->secure != NULL ? EPOLLIN | EPOLLOUT : EPOLLIN, link);
}

static ssize_t link_send(struct link *link, const void *octets, size_t length)
{
    return link->secure != NULL ? secure_send(link->secure, octets, length)
                                : send(link->fd, octets, length, MSG_NOSIGNAL);
}

static ssize_t link_read(struct link *link, void *octets, size_t room)
{
    return link->secure != NULL ? secure_read(link->secure, octets, room)
                                : read(link->fd, octets, room);
}

/* The connection is gone; without -k its place goes to the next message. */
static void link_over(struct source *source, struct link *link)
{
    link_close(source, link);
    if (source->options.keeps || source->started >= source->goal)
        return;
    if (source->done > 0)
        bench_pause_ms(source->options.gap_ms);
    source->started++;
    link_open(source, link);
}

static void fail(struct source *source, struct link *link, const char *why)
{
    if (link->phase == PHASE_PARKED)
        source->lost++;
    else if (source->failures++ < COMPLAINTS_MAX)
        fprintf(stderr, "source: awaiting the reply to %s: %s\n", phase_names[link->phase], why);
    link_over(source, link);
}

static void send_text(struct source *source, struct link *link, const char *text)
{
    size_t length = strlen(text);

    if (link_send(link, text, length) != (ssize_t)length)
        fail(source, link, "not writable");
}

/* The recipient behind which so many follow. */
static int put_rcpt(const struct source *source, const struct link *link, unsigned long left,
                    char *text, size_t room)
{
    unsigned long number = source->options.recipients - left;

    return snprintf(text, room, "RCPT TO:<user%lu@d%lu.example.test>\r\n", number,
                    (link->first_domain + number) % source->options.domains);
}

static void send_rcpt(struct source *source, struct link *link)
{
    char text[96];

    put_rcpt(source, link, link->due, text, sizeof(text));
    link->phase = PHASE_RCPT;
    send_text(source, link, text);
}

static void send_all(struct source *source, struct link *link, const char *mail)
{
    char text[64 * (RECIPIENTS_MAX + 2)];
    size_t length = (size_t)snprintf(text, sizeof(text), "%s", mail);

    for (unsigned long left = link->due; left > 0; left--)
        length += (size_t)put_rcpt(source, link, left, text + length, sizeof(text) - length);
    snprintf(text + length, sizeof(text) - length, "DATA\r\n");
    send_text(source, link, text);
}

static void send_mail(struct source *source, struct link *link)
{
    static const char mail[] = "MAIL FROM:<bench@source.example.test>\r\n";

    link->first_domain = source->started % source->options.domains;
    link->due = source->options.recipients;
    link->phase = PHASE_MAIL;
    if (!source->options.pipelines) {
        send_text(source, link, mail);
        return;
    }
    if (!link->has_pipelining) {
        fail(source, link, "PIPELINING is not announced");
        return;
    }
    send_all(source, link, mail);
}

static void send_body(struct source *source, struct link *link)
{
    ssize_t put =
        link_send(link, source->body + link->body_sent, source->body_bytes - link->body_sent);

    if (put < 0 && errno != EAGAIN && errno != EINTR) {
        fail(source, link, strerror(errno));
        return;
    }
    if (put > 0)
        link->body_sent += (size_t)put;
    if (link->body_sent < source->body_bytes)
        bench_rewatch(source->epoll, link->fd, EPOLLIN | EPOLLOUT, link);
    else if (source->body_bytes > READ_BYTES) /* a small body never had to wait */
        bench_rewatch(source->epoll, link->fd, EPOLLIN, link);
}

/* Kept connections: the message of a parked one, or rest. */
static void begin_message(struct source *source, struct link *link)
{
    if (source->started >= source->goal)
        return;
    source->started++;
    source->busy++;
    link->started_ns = bench_now_ns();
    send_mail(source, link);
}

static void park(struct source *source, struct link *link)
{
    link->phase = PHASE_PARKED;
    source->busy--;
    begin_message(source, link);
}

static void greeted(struct source *source, struct link *link)
{
    source->opening--;
    if (!source->options.keeps) {
        send_mail(source, link);
        return;
    }
    link->phase = PHASE_PARKED;
    source->busy--;
    if (source->next_link < source->options.connections)
        link_open(source, &source->links[source->next_link++]);
}

static void message_done(struct source *source, struct link *link)
{
    if (source->times_ns != NULL)
        source->times_ns[source->done] = bench_now_ns() - link->started_ns;
    source->done++;
    if (source->options.keeps) {
        bench_pause_ms(source->options.gap_ms);
        park(source, link);
        return;
    }
    link->phase = PHASE_QUIT;
    send_text(source, link, "QUIT\r\n");
}

/* The awaited reply has come: the next step of the dialogue. */
static void step(struct source *source, struct link *link)
{
    switch (link->phase) {
    case PHASE_GREETING:
        link->phase = PHASE_EHLO;
        send_text(source, link,
                  source->options.is_lmtp ? "LHLO source.example.test\r\n"
                                          : "EHLO source.example.test\r\n");
        break;
    case PHASE_EHLO:
        greeted(source, link);
        break;
    case PHASE_MAIL:
        if (source->options.pipelines)
            link->phase = PHASE_RCPT;
        else
            send_rcpt(source, link);
        break;
    case PHASE_RCPT:
        if (--link->due > 0) {
            if (!source->options.pipelines)
                send_rcpt(source, link);
            break;
        }
        link->phase = PHASE_DATA;
        if (!source->options.pipelines)
            send_text(source, link, "DATA\r\n");
        break;
    case PHASE_DATA:
        link->phase = PHASE_BODY;
        link->due = source->options.is_lmtp ? source->options.recipients : 1;
        link->body_sent = 0;
        send_body(source, link);
        break;
    case PHASE_BODY:
        if (--link->due == 0)
            message_done(source, link);
        break;
    case PHASE_QUIT:
        link_over(source, link);
        break;
    case PHASE_CLOSED:
    case PHASE_SECURING:
    case PHASE_PARKED:
        break;
    }
}

static void reply_line(struct source *source, struct link *link, char *line)
{
    if (link->phase == PHASE_EHLO && strlen(line) > 4 && strcasecmp(line + 4, "PIPELINING") == 0)
        link->has_pipelining = true;
    if (strlen(line) < 3 || strtol(line, NULL, 10) != phase_codes[link->phase])
        fail(source, link, line);
    else if (line[3] != '-')
        step(source, link);
}

/* The link may be closed, and even be another connection's, when this returns. */
static void feed(struct source *source, struct link *link, char *octets, size_t length)
{
    unsigned generation = link->generation;

    while (length > 0 && link->generation == generation && link->phase != PHASE_CLOSED) {
        char *newline = memchr(octets, '\n', length);
        size_t line_bytes;

        if (newline == NULL) {
            if (length > INPUT_BYTES) {
                fail(source, link, "endless reply line");
                return;
            }
            memcpy(link->input, octets, length);
            link->input_bytes = length;
            return;
        }
        line_bytes = (size_t)(newline - octets) + 1;
        newline[newline > octets && newline[-1] == '\r' ? -1 : 0] = '\0';
        reply_line(source, link, octets);
        octets += line_bytes;
        length -= line_bytes;
    }
}

/* The first write may have to wait for the connection. */
static void shake(struct source *source, struct link *link)
{
    bool is_connected = secure_shake(link->secure) == 0;

    if (!is_connected && errno != EAGAIN)
        fail(source, link, strerror(errno));
    else
        bench_rewatch(source->epoll, link->fd, EPOLLIN, link);
    if (is_connected)
        link->phase = PHASE_GREETING;
}

/* False: nothing has come. */
static bool receive(struct source *source, struct link *link)
{
    size_t kept = link->input_bytes;
    ssize_t got;

    memcpy(source->input, link->input, kept);
    link->input_bytes = 0;
    got = link_read(link, source->input + kept, sizeof(source->input) - kept);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        link->input_bytes = kept;
    else if (got < 0)
        fail(source, link, strerror(errno));
    else if (got == 0)
        fail(source, link, "connection closed");
    else
        feed(source, link, source->input, kept + (size_t)got);
    return got > 0;
}

/* What TLS has taken from the socket is not told of again. */
static void serve_link(struct source *source, struct link *link, uint32_t events)
{
    unsigned generation = link->generation;

    if (link->phase == PHASE_SECURING)
        shake(source, link);
    if ((events & EPOLLOUT) && link->phase == PHASE_BODY)
        send_body(source, link);
    if (!(events & ~(uint32_t)EPOLLOUT) || link->phase == PHASE_CLOSED ||
        link->phase == PHASE_SECURING)
        return;
    while (receive(source, link) && link->secure != NULL && link->generation == generation &&
           link->phase != PHASE_CLOSED)
        continue;
}

/* Until every link is parked or closed. */
static void run_stage(struct source *source)
{
    struct epoll_event events[EVENTS_MAX];

    while (source->busy > 0) {
        int count = epoll_wait(source->epoll, events, EVENTS_MAX, STALL_MS);

        if (count == 0)
            bench_die("stalled: %lu of %lu messages done, %lu connections wait for a reply",
                      source->done, source->goal, source->busy);
        for (int i = 0; i < count; i++) {
            struct link *link = events[i].data.ptr;

            if (link->phase != PHASE_CLOSED)
                serve_link(source, link, events[i].events);
        }
    }
}

static int by_time(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

static void report(struct source *source, uint64_t elapsed_ns)
{
    uint64_t *times = source->times_ns;
    unsigned long done = source->done;

    printf("{\"messages\": %lu, \"failures\": %lu, \"lost\": %lu, \"seconds\": %.4f", done,
           source->failures, source->lost, (double)elapsed_ns / NS_PER_S);
    if (done > 0) {
        qsort(times, done, sizeof(*times), by_time);
        printf(", \"rate\": %.1f, \"min_us\": %.1f, \"median_us\": %.1f, \"p99_us\": %.1f",
               (double)done * NS_PER_S / (double)elapsed_ns, (double)times[0] / 1e3,
               (double)times[done / 2] / 1e3, (double)times[done - 1 - done / 100] / 1e3);
    }
    if (source->options.is_secure)
        printf(", \"resumed\": %lu", secure_resumed());
    puts("}");
    fflush(stdout);
}

/* Sends `count` messages over the parked links. */
static void run_messages(struct source *source, unsigned long count)
{
    source->goal = count;
    source->started = source->done = 0;
    for (unsigned long i = 0; i < source->options.connections; i++)
        if (source->links[i].phase == PHASE_PARKED)
            begin_message(source, &source->links[i]);
    run_stage(source);
}

static void run_kept(struct source *source)
{
    uint64_t *times_ns = source->times_ns;
    unsigned long count = source->options.connections;
    uint64_t start_ns;

    while (source->next_link < count && source->next_link < OPENING_MAX)
        link_open(source, &source->links[source->next_link++]);
    run_stage(source);
    source->times_ns = NULL;
    run_messages(source, source->options.warm);
    source->times_ns = times_ns;
    puts("ready");
    fflush(stdout);
    bench_await_line();
    start_ns = bench_now_ns();
    run_messages(source, source->options.messages);
    report(source, bench_now_ns() - start_ns);
    bench_await_line();
    for (unsigned long i = 0; i < count; i++) {
        struct link *link = &source->links[i];

        if (link->phase != PHASE_PARKED)
            continue;
        source->busy++;
        link->phase = PHASE_QUIT;
        send_text(source, link, "QUIT\r\n");
    }
    run_stage(source);
}

static void run_new(struct source *source)
{
    uint64_t start_ns = bench_now_ns();

    source->goal = source->options.messages;
    while (source->started < source->goal && source->started < source->options.connections)
        link_open(source, &source->links[source->started++]);
    run_stage(source);
    report(source, bench_now_ns() - start_ns);
}

/* A header and lines of 76 octets, now and then one that begins with a (stuffed) dot. */
static void make_body(struct source *source)
{
    static const char header[] = "From: Bench <bench@source.example.test>\r\n"
                                 "To: user@example.test\r\nSubject: a message of the benchmark\r\n"
                                 "Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
                                 "Message-ID: <bench@source.example.test>\r\n\r\n";
    size_t at = sizeof(header) - 1, size = source->options.size_bytes - 3;

    if (source->options.size_bytes < at + 5)
        bench_die("a message has at least %zu octets", at + 5);
    source->body = bench_alloc(1, size + 3);
    memcpy(source->body, header, at);
    for (unsigned line = 1; at < size; line++) {
        size_t rest = size - at;
        size_t length = rest < 80 ? rest : 78; /* the last line takes what would be too short */

        memset(source->body + at, 'a' + (int)(line % 26), length - 2);
        if (line % 40 == 0 && length > 4)
            memcpy(source->body + at, "..", 2);
        memcpy(source->body + at + length - 2, "\r\n", 2);
        at += length;
    }
    memcpy(source->body + size, ".\r\n", 3);
    source->body_bytes = size + 3;
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {
        .connections = 1, .messages = 1, .size_bytes = 4096, .domains = 1, .recipients = 1};
    int letter;

    while ((letter = getopt(argc, argv, "c:n:s:d:r:w:g:klptT")) != -1) {
        if (letter == 'k')
            options.keeps = true;
        else if (letter == 'l')
            options.is_lmtp = true;
        else if (letter == 'p')
            options.pipelines = true;
        else if (letter == 't')
            options.is_secure = true;
        else if (letter == 'T')
            options.is_secure = options.resumes = true;
        else if (letter == 'c')
            options.connections = bench_number(optarg, 19990);
        else if (letter == 'n')
            options.messages = bench_number(optarg, 100000000);
        else if (letter == 's')
            options.size_bytes = bench_number(optarg, 1UL << 30);
        else if (letter == 'd')
            options.domains = bench_number(optarg, 100000);
        else if (letter == 'r')
            options.recipients = bench_number(optarg, RECIPIENTS_MAX);
        else if (letter == 'w')
            options.warm = bench_number(optarg, 100000000);
        else if (letter == 'g')
            options.gap_ms = bench_number(optarg, 100000);
        else
            exit(64);
    }
    if (argc - optind != 1 || options.connections == 0 || options.domains == 0 ||
        options.recipients == 0)
        bench_die("usage: source [-klptT] [-cnsdrwg NUMBER] PORT");
    if (options.gap_ms > 0 && options.connections > 1)
        bench_die("-g goes with one connection only");
    options.port = (unsigned)bench_number(argv[optind], 65535);
    options.keeps = options.keeps || options.messages == 0;
    return options;
}

int main(int argc, char **argv)
{
    struct source *source = bench_alloc(1, sizeof(*source));

    source->options = parse_options(argc, argv);
    bench_raise_descriptors();
    if (source->options.is_secure)
        secure_init(source->options.resumes);
    source->epoll = epoll_create1(EPOLL_CLOEXEC);
    source->links = bench_alloc(source->options.connections, sizeof(*source->links));
    source->times_ns = bench_alloc(source->options.messages + 1, sizeof(*source->times_ns));
    make_body(source);
    if (source->options.keeps)
        run_kept(source);
    else
        run_new(source);
    return source->failures + source->lost > 0 ? 1 : 0;
}
