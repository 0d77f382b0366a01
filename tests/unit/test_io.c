/* SPDX-License-Identifier: BSD-2-Clause */
/* What only real sockets show: signals, shortages, farewells, last octets, unix sockets. */
/* needs: io */
#include "proxy/io/disk.h"
#include "tests/unit/raw_peers.h"

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
    if (number == 0) {
        f->peer = open_peer(f);
    } else if (number == 1) {
        f->mischief = WRITES_AND_CLOSES;
        f->written = 1;
        put(f->peer, "x");
        reset_peer(f->peer);
        f->peer = -1;
    } else {
        assert_int_equal(f->written, 0);
        assert_string_equal(f->order, "b");
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
        assert_string_equal(f->order, "b");
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
        f->mischief = FAILS_NEXT;
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

static void stands_shortage(void **state)
{
    (void)state;
    run(keep_without_memory, 0);
    run(write_without_memory, 0);
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

/* /proc has no files of anybody's. */
static void has_no_unnamed_files_everywhere(void **state)
{
    int fd = disk_open_unnamed("/proc");

    (void)state;
    if (fd == -EACCES || fd == -EROFS)
        skip();
    assert_int_equal(fd, -EOPNOTSUPP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hears_signals),     cmocka_unit_test(hears_farewell),
        cmocka_unit_test(asks_the_kernel),   cmocka_unit_test(closes_well),
        cmocka_unit_test(reads_in_portions), cmocka_unit_test(stands_shortage),
        cmocka_unit_test(talks_by_path),     cmocka_unit_test(has_no_unnamed_files_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
