/* SPDX-License-Identifier: BSD-2-Clause */
/* A TCP forwarder that behaves as a long link: a fixed one-way delay in each direction.
 *
 * Usage: delay ONE_WAY_MS LISTEN=TARGET...      (ports on 127.0.0.1)
 *
 * With a one-way delay of d, a real link gives a client that connects at time 0:
 *
 *     SYN arrives at d, SYN-ACK at 2d (connect() returns), the ACK at 3d (the server accepts and
 *     greets), the greeting at 4d. What the client writes at time t >= 2d arrives at t + d.
 *
 * Here the client's connect() returns at once, so the set-up is made up for afterwards: the
 * forwarder connects to its target at 3d, and what the client wrote at time t is handed on at
 * max(t, 2d) + d. What the target writes at time t is handed on at t + d, so that the greeting is
 * read at 4d, two round trips after connect(). An end of file travels as an octet would. Not
 * modelled: loss, bandwidth, the slow start of TCP (a 4 KiB message fits the first window). */
#include "scripts/bench/common.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 65536
#define EVENTS_MAX 256
#define RETRY_NS   (NS_PER_MS / 2) /* the receiver's window is full: look again */

struct parcel {
    struct parcel *next;
    uint64_t due_ns;
    size_t length; /* 0: end of file */
    size_t sent;
    char octets[];
};

struct pair;

struct side {
    struct pair *pair;
    int fd; /* -1: not connected yet */
    bool is_client;
    struct parcel *first; /* on their way to this side */
    struct parcel **last;
};

struct pair {
    struct pair *next;
    unsigned target_port;
    uint64_t accepted_ns;
    struct side client;
    struct side target;
    unsigned ends_delivered; /* of 2; then the pair is over */
    bool is_broken;
};

struct door {
    struct side tag; /* pair is NULL: the event is a listener's */
    unsigned target_port;
};

struct delay {
    int epoll;
    uint64_t one_way_ns;
    struct pair *pairs;
    char buffer[READ_BYTES];
};

static void side_init(struct side *side, struct pair *pair, int fd, bool is_client)
{
    side->pair = pair;
    side->fd = fd;
    side->is_client = is_client;
    side->last = &side->first;
}

static void accept_all(struct delay *delay, struct door *door)
{
    int fd;

    while ((fd = bench_accept(door->tag.fd)) >= 0) {
        struct pair *pair = bench_alloc(1, sizeof(*pair));

        pair->target_port = door->target_port;
        pair->accepted_ns = bench_now_ns();
        side_init(&pair->client, pair, fd, true);
        side_init(&pair->target, pair, -1, false);
        pair->next = delay->pairs;
        delay->pairs = pair;
        bench_watch(delay->epoll, fd, EPOLLIN, &pair->client);
    }
}

/* When what `from` wrote just now reaches the other side. */
static uint64_t arrival_ns(const struct delay *delay, const struct side *from)
{
    uint64_t sent_ns = bench_now_ns();
    uint64_t connected_ns = from->pair->accepted_ns + 2 * delay->one_way_ns;

    if (from->is_client && sent_ns < connected_ns)
        sent_ns = connected_ns;
    return sent_ns + delay->one_way_ns;
}

static void read_side(struct delay *delay, struct side *from)
{
    struct side *to = from->is_client ? &from->pair->target : &from->pair->client;
    struct parcel *parcel;
    ssize_t got = read(from->fd, delay->buffer, sizeof(delay->buffer));

    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR)
            from->pair->is_broken = true;
        return;
    }
    parcel = bench_alloc(1, sizeof(*parcel) + (size_t)got);
    parcel->due_ns = arrival_ns(delay, from);
    parcel->length = (size_t)got;
    memcpy(parcel->octets, delay->buffer, (size_t)got);
    *to->last = parcel;
    to->last = &parcel->next;
    if (got == 0)
        epoll_ctl(delay->epoll, EPOLL_CTL_DEL, from->fd, NULL);
}

/* True when the parcel is through. */
static bool hand_over(struct side *to, struct parcel *parcel)
{
    ssize_t put;

    if (parcel->length == 0) {
        shutdown(to->fd, SHUT_WR);
        to->pair->ends_delivered++;
        return true;
    }
    put = send(to->fd, parcel->octets + parcel->sent, parcel->length - parcel->sent, MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN && errno != EINTR) {
        to->pair->is_broken = true;
        return true;
    }
    if (put > 0)
        parcel->sent += (size_t)put;
    return parcel->sent == parcel->length;
}

/* Hands over what is due; returns when the next parcel is, or UINT64_MAX. */
static uint64_t deliver(struct side *to, uint64_t now_ns)
{
    while (to->first != NULL && to->first->due_ns <= now_ns) {
        struct parcel *parcel = to->first;

        if (!hand_over(to, parcel))
            return now_ns + RETRY_NS;
        to->first = parcel->next;
        if (to->first == NULL)
            to->last = &to->first;
        free(parcel);
    }
    return to->first != NULL ? to->first->due_ns : UINT64_MAX;
}

/* Does what is due for one pair; returns when it wants to be called again. */
static uint64_t pair_turn(struct delay *delay, struct pair *pair, uint64_t now_ns)
{
    uint64_t next_ns, other_ns;

    if (pair->target.fd < 0) {
        uint64_t connect_ns = pair->accepted_ns + 3 * delay->one_way_ns;

        if (now_ns < connect_ns)
            return connect_ns;
        pair->target.fd = bench_connect(pair->target_port);
        bench_watch(delay->epoll, pair->target.fd, EPOLLIN, &pair->target);
    }
    next_ns = deliver(&pair->target, now_ns);
    other_ns = deliver(&pair->client, now_ns);
    return next_ns < other_ns ? next_ns : other_ns;
}

static void side_done(struct side *side)
{
    while (side->first != NULL) {
        struct parcel *parcel = side->first;

        side->first = parcel->next;
        free(parcel);
    }
    if (side->fd >= 0)
        close(side->fd);
}

/* One turn of every pair; returns when the earliest wants the next. */
static uint64_t turn(struct delay *delay)
{
    uint64_t now_ns = bench_now_ns(), earliest_ns = UINT64_MAX;
    struct pair **link = &delay->pairs;

    while (*link != NULL) {
        struct pair *pair = *link;
        uint64_t next_ns = pair_turn(delay, pair, now_ns);

        if (pair->is_broken || pair->ends_delivered == 2) {
            *link = pair->next;
            side_done(&pair->client);
            side_done(&pair->target);
            free(pair);
            continue;
        }
        if (next_ns < earliest_ns)
            earliest_ns = next_ns;
        link = &pair->next;
    }
    return earliest_ns;
}

static int wait_for(const struct delay *delay, uint64_t until_ns, struct epoll_event *events)
{
    uint64_t now_ns = bench_now_ns();
    uint64_t rest_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec rest = {(time_t)(rest_ns / NS_PER_S), (long)(rest_ns % NS_PER_S)};
    int count =
        epoll_pwait2(delay->epoll, events, EVENTS_MAX, until_ns == UINT64_MAX ? NULL : &rest, NULL);

    if (count < 0 && errno != EINTR)
        bench_die("epoll_pwait2");
    return count;
}

static void open_door(struct delay *delay, const char *text)
{
    struct door *door = bench_alloc(1, sizeof(*door));
    char listen_port[8] = {0};
    const char *equals = strchr(text, '=');

    if (equals == NULL || (size_t)(equals - text) >= sizeof(listen_port))
        bench_die("'%s' is not LISTEN=TARGET", text);
    memcpy(listen_port, text, (size_t)(equals - text));
    door->target_port = (unsigned)bench_number(equals + 1, 65535);
    door->tag.fd = bench_listen((unsigned)bench_number(listen_port, 65535));
    bench_watch(delay->epoll, door->tag.fd, EPOLLIN, door);
}

int main(int argc, char **argv)
{
    struct delay *delay = bench_alloc(1, sizeof(*delay));
    struct epoll_event events[EVENTS_MAX];

    if (argc < 3)
        bench_die("usage: delay ONE_WAY_MS LISTEN=TARGET...");
    bench_raise_descriptors();
    delay->one_way_ns = bench_number(argv[1], 10000) * NS_PER_MS;
    delay->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 2; i < argc; i++)
        open_door(delay, argv[i]);
    for (;;) {
        int count = wait_for(delay, turn(delay), events);

        for (int i = 0; i < count; i++) {
            struct side *side = events[i].data.ptr;

            if (side->pair == NULL)
                accept_all(delay, (struct door *)events[i].data.ptr);
            else
                read_side(delay, side);
        }
    }
}
