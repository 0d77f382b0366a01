/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening and accepting: options, addresses, the last descriptors. */
/* needs: io */
#include "tests/unit/raw_peers.h"

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

static void drops_without_memory(void **state)
{
    (void)state;
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

/* What binding to ::1 gives on this machine, which may have no IPv6. */
static int result_of_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;

    if (fd >= 0)
        close(fd);
    return result;
}

static void opens_listeners(void **state)
{
    const struct {
        const char *address;
        int expected; /* 0: any descriptor */
    } rows[] = {{"127.0.0.1", 0}, {"::1", result_of_ipv6()}, {"192.0.2.1", -EADDRNOTAVAIL}};
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

/* Sockets that share an address: nobody else has it before, and it is taken for everybody else. */
static void shares_an_address(void **state)
{
    struct netaddr address;
    struct sockaddr_in bound;
    socklen_t length = sizeof(bound);
    int fds[2];

    (void)state;
    assert_int_equal(netaddr_parse(bytes_of("127.0.0.1"), &address), 0);
    fds[0] = listen_open_shared(&address, 1); /* port 0: any */
    assert_true(fds[0] >= 0);
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&bound, &length), 0);
    address.port = ntohs(bound.sin_port);
    assert_int_equal(listen_probe(&address), -EADDRINUSE);
    assert_int_equal(listen_open(&address, 1), -EADDRINUSE);
    fds[1] = listen_open_shared(&address, 1);
    assert_true(fds[1] >= 0);
    close(fds[0]);
    assert_int_equal(listen_probe(&address), -EADDRINUSE);
    close(fds[1]);
    assert_int_equal(listen_probe(&address), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_no_delay),     cmocka_unit_test(drops_without_memory),
        cmocka_unit_test(keeps_reserve),     cmocka_unit_test(opens_listeners),
        cmocka_unit_test(shares_an_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
