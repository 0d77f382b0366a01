/* SPDX-License-Identifier: BSD-2-Clause */
/* What only real sockets show: options, descriptors, signals, shortages, farewells. */
/* needs: io */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "proxy/io/listen.h"
#include "proxy/io/stream.h"
#include "tests/unit/lib.h"

#define PEERS_MAX 100
#define STEP_MS   200

/* A loop with a listener; the peers are plain sockets of this test. Steps come at intervals. */
struct fixture {
    struct loop *loop;
    struct listener *listener;
    struct sockaddr_in address;
    struct deadline step;
    void (*steps)(struct fixture *f, int number);
    int step_number;
    struct stream *stream; /* the last one */
    struct stream *streams[PEERS_MAX];
    int accepts, closes, failures, eofs, connects, error, signals;
    size_t appetite;
    bool fails_next; /* the next allocation after `bytes` */
    char in[64];
    size_t in_len, offered, turn_bytes_max, written;
    struct loop_post turn;
    char order[64]; /* of events, a letter each */
    int peer, peers[PEERS_MAX];
};

static void note(struct fixture *f, char event)
{
    size_t length = strlen(f->order);

    if (length < sizeof(f->order) - 1)
        f->order[length] = event;
}

static void on_connected(void *owner, int error)
{
    struct fixture *f = owner;

    f->connects++;
    f->error = error;
}

static void on_turn(void *owner)
{
    struct fixture *f = owner;

    if (f->offered > f->turn_bytes_max)
        f->turn_bytes_max = f->offered;
    f->offered = 0;
}

static size_t on_bytes(void *owner, struct bytes in)
{
    struct fixture *f = owner;
    size_t n = in.len < f->appetite ? in.len : f->appetite;

    note(f, 'b');
    f->offered += in.len;
    loop_post(f->loop, &f->turn, on_turn, f);
    for (size_t i = 0; i < n && f->in_len < sizeof(f->in) - 1; i++)
        f->in[f->in_len++] = (char)in.at[i];
    if (f->fails_next)
        mem_fail_nth(1);
    return n;
}

static void on_room(void *owner)
{
    note(owner, 'r');
}

static void on_eof(void *owner)
{
    struct fixture *f = owner;

    note(f, 'e');
    f->eofs++;
}

static void on_failed(void *owner, int error)
{
    struct fixture *f = owner;

    mem_fail_nth(0);
    note(f, 'f');
    f->failures++;
    f->error = error;
}

static void on_closed(void *owner)
{
    struct fixture *f = owner;

    f->closes++;
}

static const struct stream_events events = {.connected = on_connected,
                                            .bytes = on_bytes,
                                            .room = on_room,
                                            .eof = on_eof,
                                            .failed = on_failed,
                                            .closed = on_closed};

static void on_accepted(void *owner, struct stream *s)
{
    struct fixture *f = owner;

    assert_true(f->accepts < PEERS_MAX);
    f->streams[f->accepts++] = s;
    f->stream = s;
    stream_adopt(s, &events, f);
}

static const struct listener_events accepting = {.accepted = on_accepted};

static void on_step(struct deadline *d)
{
    struct fixture *f = CONTAINER_OF(d, struct fixture, step);

    deadline_set(f->loop, d, loop_now_ms(f->loop) + STEP_MS);
    f->steps(f, f->step_number++);
}

static void end(struct fixture *f)
{
    deadline_clear(f->loop, &f->step);
    for (int i = 0; i < f->accepts; i++)
        if (f->streams[i] != NULL)
            stream_close(f->streams[i]);
    listener_close(f->listener);
    loop_stop(f->loop);
}

static int open_peer(const struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&f->address, sizeof(f->address)), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void reset_peer(int fd)
{
    struct linger linger = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static int open_loopback(struct fixture *f)
{
    struct netaddr address;
    socklen_t length = sizeof(f->address);
    int fd, receive_bytes = 1 << 20; /* for what piles up */

    netaddr_parse(bytes_of("127.0.0.1"), &address);
    fd = listen_open(&address, 128); /* port 0: any */
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    getsockname(fd, (struct sockaddr *)&f->address, &length);
    return fd;
}

static struct fixture run(void (*steps)(struct fixture *f, int number), unsigned reserve)
{
    static const struct deadline_use step_use = {.reached = on_step};
    struct fixture f = {.steps = steps, .appetite = SIZE_MAX, .peer = -1};
    int error = 0;

    f.loop = loop_new();
    assert_non_null(f.loop);
    f.listener = listener_new(f.loop, open_loopback(&f), reserve, &accepting, &f, &error);
    assert_non_null(f.listener);
    deadline_init(&f.step, &step_use);
    deadline_set(f.loop, &f.step, 0);
    assert_int_equal(loop_run(f.loop), 0);
    loop_free(&f.loop);
    if (f.peer >= 0)
        close(f.peer);
    return f;
}

static int nodelay_of(int fd)
{
    int value = 0;
    socklen_t length = sizeof(value);

    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length);
    return value != 0;
}

/* How many connected sockets at or to the listener's port have TCP_NODELAY. */
static int count_nodelay(const struct fixture *f)
{
    int found = 0;

    for (int fd = 3; fd < 64; fd++) {
        struct sockaddr_in local = {0}, peer = {0};
        socklen_t local_length = sizeof(local), peer_length = sizeof(peer);

        if (fd == f->peer || getsockname(fd, (struct sockaddr *)&local, &local_length) < 0 ||
            getpeername(fd, (struct sockaddr *)&peer, &peer_length) < 0)
            continue;
        if (local.sin_port == f->address.sin_port || peer.sin_port == f->address.sin_port)
            found += nodelay_of(fd);
    }
    return found;
}

static void look_at_options(struct fixture *f, int number)
{
    struct stream_target to = {.address = {.family = NETADDR_IPV4, .octets = {127, 0, 0, 1}}};
    int error = 0;

    if (number == 0) {
        f->peer = open_peer(f); /* has no TCP_NODELAY itself */
        return;
    }
    if (number == 1) {
        assert_int_equal(f->accepts, 1);
        assert_int_equal(count_nodelay(f), 1);
        to.address.port = ntohs(f->address.sin_port);
        f->streams[f->accepts] = stream_connect(f->loop, &to, &events, f, &error);
        assert_non_null(f->streams[f->accepts]);
        f->accepts++;
        return;
    }
    assert_int_equal(f->accepts, 3); /* with its other end */
    assert_int_equal(f->connects, 1);
    assert_int_equal(f->error, 0);
    assert_int_equal(count_nodelay(f), 3);
    end(f);
}

static void sets_no_delay(void **state)
{
    struct fixture f = run(look_at_options, 0);

    (void)state;
    assert_int_equal(f.closes, 3);
}

static void on_signal(void *owner, int number)
{
    struct fixture *f = owner;

    assert_int_equal(number, SIGUSR1);
    f->signals++;
}

static void raise_signals(struct fixture *f, int number)
{
    if (number == 0) {
        assert_int_equal(loop_on_signal(f->loop, SIGUSR1, on_signal, f), 0);
        for (int i = 1; i < 8; i++)
            assert_int_equal(loop_on_signal(f->loop, SIGUSR2, on_signal, f), 0);
        assert_true(loop_on_signal(f->loop, SIGUSR2, on_signal, f) < 0);
        raise(SIGUSR1);
        return;
    }
    assert_int_equal(f->signals, 1);
    end(f);
}

static void hears_signals(void **state)
{
    (void)state;
    run(raise_signals, 0);
}

/* A server that says farewell and is gone: its words come before the failure. */
static void say_farewell(struct fixture *f, int number)
{
    struct bytes text = bytes_of("content");

    if (number == 0) {
        f->peer = open_peer(f);
    } else if (number == 1) {
        f->order[0] = '\0';
        put(f->peer, "521 go away\r\n");
        reset_peer(f->peer);
        f->peer = -1;
        for (int i = 0; i < 10; i++)
            assert_int_equal(stream_write(f->stream, &text, 1), 0);
        assert_string_equal(f->order, "");
    } else {
        assert_string_equal(f->order, "bf");
        assert_string_equal(f->in, "521 go away\r\n");
        assert_int_equal(f->error, ERR_CLOSED);
        end(f);
    }
}

static void hears_farewell(void **state)
{
    (void)state;
    run(say_farewell, 0);
}

static void ask_for_quiet(struct fixture *f, int number)
{
    if (number == 0) {
        f->peer = open_peer(f);
        return;
    }
    if (number == 1) {
        assert_true(stream_is_quiet(f->stream));
        put(f->peer, "x");
        assert_false(stream_is_quiet(f->stream)); /* the kernel has it */
        assert_string_equal(f->in, "");
        return;
    }
    assert_string_equal(f->in, "x");
    assert_true(stream_is_quiet(f->stream));
    close(f->peer);
    f->peer = -1;
    assert_false(stream_is_quiet(f->stream)); /* the end */
    end(f);
}

static void asks_the_kernel(void **state)
{
    (void)state;
    run(ask_for_quiet, 0);
}

/* A failure that has not been told yet is not told after the close. */
static void close_before_failure(struct fixture *f, int number)
{
    struct bytes text = bytes_of("content");

    if (number == 0) {
        f->peer = open_peer(f);
    } else if (number == 1) {
        reset_peer(f->peer);
        f->peer = -1;
        assert_int_equal(stream_write(f->stream, &text, 1), 0);
        stream_close(f->stream);
    } else {
        assert_string_equal(f->order, "");
        assert_int_equal(f->closes, 1);
        f->accepts = 0;
        end(f);
    }
}

static void write_to_the_brim(struct fixture *f)
{
    static const uint8_t much[65536];
    struct bytes piece = bytes_make(much, sizeof(much));
    size_t taken;

    do
        f->written += taken = stream_write(f->stream, &piece, 1);
    while (taken == piece.len);
    assert_int_equal(stream_unsent(f->stream), STREAM_UNSENT_MAX);
}

/* Room has come, but the loop has not seen it yet: the unsent octets still leave. */
static void close_with_unsent(struct fixture *f, int number)
{
    static uint8_t into[65536];
    ssize_t n;

    if (number == 0) {
        f->peer = open_peer(f);
        return;
    }
    if (number == 1) {
        write_to_the_brim(f);
        for (int i = 0; i < 16; i++) {
            n = recv(f->peer, into, sizeof(into), 0);
            assert_true(n > 0);
            f->in_len += (size_t)n;
        }
        stream_close(f->stream);
        f->accepts = 0;
        return;
    }
    while ((n = recv(f->peer, into, sizeof(into), 0)) > 0)
        f->in_len += (size_t)n;
    assert_int_equal(f->in_len, f->written);
    end(f);
}

static void closes_well(void **state)
{
    (void)state;
    run(close_before_failure, 0);
    run(close_with_unsent, 0);
}

/* Much has piled up in the kernel: it is read in portions, and a turn lies between them. */
static void pile_up(struct fixture *f, int number)
{
    static const uint8_t much[65536];

    if (number == 0) {
        f->peer = open_peer(f);
        f->appetite = 0;
        while (send(f->peer, much, sizeof(much), MSG_DONTWAIT) > 0)
            ;
        return;
    }
    if (number == 1) {
        assert_true(f->offered > 0);
        f->offered = 0;
        f->appetite = SIZE_MAX;
        stream_resume(f->stream);
        return;
    }
    assert_true(f->turn_bytes_max > STREAM_TURN_BYTES / 2);
    assert_true(f->turn_bytes_max <= STREAM_UNREAD_MAX + STREAM_TURN_BYTES);
    end(f);
}

static void reads_in_portions(void **state)
{
    (void)state;
    run(pile_up, 0);
}

/* No memory for what the owner did not consume: octets would be lost, so the stream fails. */
static void keep_without_memory(struct fixture *f, int number)
{
    if (number == 0) {
        f->peer = open_peer(f);
        f->fails_next = true;
        f->appetite = 1;
        put(f->peer, "abc");
        return;
    }
    assert_string_equal(f->order, "bf");
    assert_int_equal(f->error, ERR_MEMORY);
    end(f);
}

/* The same for what the kernel does not take. */
static void write_without_memory(struct fixture *f, int number)
{
    static const uint8_t much[65536];
    struct bytes piece = bytes_make(much, sizeof(much));

    if (number == 0) {
        f->peer = open_peer(f);
    } else if (number == 1) {
        mem_fail_nth(1);
        while (stream_write(f->stream, &piece, 1) == piece.len)
            ;
        assert_string_equal(f->order, "");
    } else {
        assert_string_equal(f->order, "f");
        assert_int_equal(f->error, ERR_MEMORY);
        assert_int_equal(stream_unsent(f->stream), 0);
        end(f);
    }
}

/* A connection for which there is no memory is dropped; the next one is served. */
static void accept_without_memory(struct fixture *f, int number)
{
    char octet;

    if (number == 0) {
        f->peer = open_peer(f);
        mem_fail_nth(1);
        return;
    }
    mem_fail_nth(0);
    if (number == 1) {
        assert_int_equal(f->accepts, 0);
        assert_int_equal(recv(f->peer, &octet, 1, 0), 0);
        close(f->peer);
        f->peer = open_peer(f);
        return;
    }
    assert_int_equal(f->accepts, 1);
    end(f);
}

static void stands_shortage(void **state)
{
    (void)state;
    run(keep_without_memory, 0);
    run(write_without_memory, 0);
    run(accept_without_memory, 0);
}

/* More clients than descriptors: the reserve stays free, the others wait and come in one by one
 * as descriptors get free. 40 for clients on this side at most. */
static void crowd(struct fixture *f, int number)
{
    struct rlimit limit;
    int before, spare;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (number == 0) {
        for (int i = 0; i < 30; i++)
            f->peers[i] = open_peer(f);
        return;
    }
    if (number == 1) {
        before = f->accepts;
        assert_true(before > 5 && before < 30);
        spare = fcntl(0, F_DUPFD, 0); /* the lowest free one tells how many are open */
        assert_true(spare >= 0);
        close(spare);
        assert_true((int)limit.rlim_cur - spare >= 10 - 1);
        f->connects = before;
        for (int i = 0; i < 4; i++) {
            stream_close(f->streams[i]);
            f->streams[i] = NULL;
        }
        return;
    }
    assert_true(f->accepts >= f->connects + 3 && f->accepts <= f->connects + 5);
    for (int i = 0; i < 30; i++)
        close(f->peers[i]);
    end(f);
}

static void keeps_reserve(void **state)
{
    struct rlimit limit, low;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = 75;
    setrlimit(RLIMIT_NOFILE, &low);
    run(crowd, 10);
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- unix sockets ---- */

static char unix_path[64];
static int unix_listener;

static void talk_by_path(struct fixture *f, int number)
{
    struct stream_target to = {.unix_path = unix_path};
    struct bytes text = bytes_of("to you");
    struct netaddr local;
    char in[16] = "";
    int error = 0;

    if (number == 0) {
        f->stream = stream_connect(f->loop, &to, &events, f, &error);
        assert_non_null(f->stream);
        f->streams[f->accepts++] = f->stream;
        assert_int_equal(stream_write(f->stream, &text, 1), 6); /* kept until connected */
        assert_int_equal(stream_unsent(f->stream), 6);
        assert_int_equal(f->connects, 0);
        return;
    }
    if (number == 1) {
        assert_int_equal(f->connects, 1);
        assert_int_equal(f->error, 0);
        assert_string_equal(f->order, "r");
        local = stream_local(f->stream);
        assert_int_equal(local.family, NETADDR_NONE);
        assert_int_equal(stream_peer(f->stream).family, NETADDR_NONE);
        f->peer = accept(unix_listener, NULL, NULL);
        assert_int_equal(recv(f->peer, in, sizeof(in), 0), 6);
        assert_string_equal(in, "to you");
        put(f->peer, "and to you");
        return;
    }
    assert_string_equal(f->in, "and to you");
    end(f);
}

static void talks_by_path(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)state;
    snprintf(unix_path, sizeof(unix_path), "/tmp/postern-test-%ld.sock", (long)getpid());
    memcpy(address.sun_path, unix_path, sizeof(unix_path));
    unix_listener = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(unix_path);
    assert_int_equal(bind(unix_listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(unix_listener, 5), 0);
    run(talk_by_path, 0);
    close(unix_listener);
    unlink(unix_path);
}

static void opens_listeners(void **state)
{
    static const struct {
        const char *address;
        int expected; /* 0: any descriptor */
    } rows[] = {{"127.0.0.1", 0}, {"::1", 0}, {"192.0.2.1", -EADDRNOTAVAIL}};
    struct netaddr address = {.family = NETADDR_NONE};

    (void)state;
    assert_int_equal(listen_open(&address, 1), -EAFNOSUPPORT);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        int fd;

        assert_int_equal(netaddr_parse(bytes_of(rows[i].address), &address), 0);
        fd = listen_open(&address, 1);
        lib_is_true(i, "result", rows[i].expected == 0 ? fd >= 0 : fd == rows[i].expected);
        if (fd >= 0)
            close(fd);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_no_delay),   cmocka_unit_test(hears_signals),
        cmocka_unit_test(hears_farewell),  cmocka_unit_test(asks_the_kernel),
        cmocka_unit_test(closes_well),     cmocka_unit_test(reads_in_portions),
        cmocka_unit_test(stands_shortage), cmocka_unit_test(keeps_reserve),
        cmocka_unit_test(talks_by_path),   cmocka_unit_test(opens_listeners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
