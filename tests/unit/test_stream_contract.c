/* SPDX-License-Identifier: BSD-2-Clause */
/* What stream.h promises while a connection lasts, seen through the headers alone: holds for
 * proxy/io and for tests/sim. */
/* needs: io */
#include "tests/unit/stream_pair.h"

static void exchanges(struct fixture *f)
{
    struct netaddr a, b;

    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    assert_int_equal(f->client.connect_error, 0);
    a = stream_peer(f->client.stream);
    assert_true(netaddr_equal(&a, &f->address));
    a = stream_local(f->client.stream);
    b = stream_peer(f->server.stream);
    assert_true(netaddr_equal(&a, &b));
    b = stream_local(f->server.stream);
    assert_true(netaddr_equal(&b, &f->address));
    assert_int_equal(write_text(&f->server, "220 hello\r\n"), 11);
    AWAIT(f->client.received == 11);
    assert_int_equal(write_text(&f->client, "EHLO x\r\n"), 8);
    AWAIT(f->server.received == 8);
    assert_string_equal(f->client.in, "220 hello\r\n");
    assert_string_equal(f->server.in, "EHLO x\r\n");
    assert_int_equal(stream_unsent(f->client.stream), 0);
    assert_int_equal(f->client.rooms + f->server.rooms, 0); /* nothing was ever unsent */
    END;
}

static void gathers(struct fixture *f)
{
    struct bytes pieces[STREAM_PIECES_MAX];
    size_t taken;

    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    for (int i = 0; i < STREAM_PIECES_MAX; i++)
        pieces[i] = i % 3 == 1 ? bytes_make(NULL, 0) : bytes_make("abcdefghijklmnop" + i, 1);
    CALL(f, taken = stream_write(f->client.stream, pieces, STREAM_PIECES_MAX));
    assert_int_equal(taken, 11);
    CALL(f, taken = stream_write(f->client.stream, pieces + 1, 1));
    assert_int_equal(taken, 0);
    CALL(f, taken = stream_write(f->client.stream, pieces, 0));
    assert_int_equal(taken, 0);
    AWAIT(f->server.received == 11);
    assert_string_equal(f->server.in, "acdfgijlmop");
    END;
}

static void keeps_what_is_not_consumed(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 2;
    write_text(&f->client, "12345");
    AWAIT(f->server.byte_calls == 1);
    assert_int_equal(f->server.offered, 5);
    write_text(&f->client, "6789");
    PAUSE();
    assert_int_equal(f->server.byte_calls, 1); /* not read, not offered again */
    f->server.appetite = 1;
    resume(&f->server);
    assert_int_equal(f->server.byte_calls, 2); /* at once */
    assert_true(f->server.offered >= 3);
    PAUSE();
    assert_int_equal(f->server.byte_calls, 2);
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    AWAIT(f->server.received == 9);
    assert_string_equal(f->server.in, "123456789");
    write_text(&f->client, "reads on");
    AWAIT(f->server.received == 17);
    resume(&f->server); /* with nothing kept: nothing happens */
    assert_int_equal(f->server.received, 17);
    END;
}

static void resumes_not_within_bytes(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 1;
    f->server.resumes_inside = true;
    write_text(&f->client, "abc");
    AWAIT(f->server.byte_calls > 0);
    PAUSE();
    assert_int_equal(f->server.byte_calls, 1);
    f->server.appetite = 1;
    resume(&f->server);
    assert_int_equal(f->server.byte_calls, 2);
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    assert_string_equal(f->server.in, "abc");
    END;
}

/* A whole read buffer that nobody wants, and more behind it. */
static void keeps_a_lot(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 0;
    f->server.checks_pattern = true;
    fill(&f->client, 300000);
    AWAIT(f->server.byte_calls > 0);
    PAUSE();
    assert_true(f->server.offered <= STREAM_UNREAD_MAX);
    f->server.appetite = 1000;
    resume(&f->server);
    PAUSE();
    assert_int_equal(f->server.received, 1000);
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    fill(&f->client, 300000);
    AWAIT(f->sent == 300000 || f->client.rooms > 0);
    fill(&f->client, 300000);
    AWAIT(f->server.received >= f->sent);
    END;
}

static void tells_eof_last(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 1;
    write_text(&f->client, "bye");
    end_side(&f->client);
    AWAIT(f->server.byte_calls == 1 && f->client.closes == 1);
    PAUSE();
    assert_false(f->server.has_eof);
    f->server.appetite = 1;
    resume(&f->server);
    PAUSE();
    assert_false(f->server.has_eof);
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    assert_false(f->server.has_eof); /* not from within the call */
    AWAIT(f->server.has_eof);
    assert_string_equal(f->server.in, "bye");
    PAUSE();
    assert_int_equal(f->server.eofs, 1);
    assert_int_equal(f->server.failures, 0);
    END;
}

static void closes_one_direction(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    write_text(&f->client, "last words");
    CALL(f, stream_shutdown(f->client.stream));
    CALL(f, stream_shutdown(f->client.stream));
    assert_int_equal(write_text(&f->client, "more"), 0);
    AWAIT(f->server.has_eof);
    assert_string_equal(f->server.in, "last words");
    assert_int_equal(write_text(&f->server, "answer"), 6);
    AWAIT(f->client.received == 6);
    end_side(&f->server);
    AWAIT(f->client.has_eof);
    END;
}

/* Octets that nobody reads hide the end that stands behind them. */
static void sees_an_end_without_reading(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 0;
    write_text(&f->client, "first");
    AWAIT(f->server.offered == 5);
    write_text(&f->client, " and last words");
    PAUSE();
    CALL(f, stream_acknowledge(f->server.stream));
    CALL(f, assert_false(stream_is_ending(f->server.stream)));
    CALL(f, stream_shutdown(f->client.stream));
    PAUSE();
    CALL(f, assert_true(stream_is_ending(f->server.stream)));
    assert_int_equal(f->server.eofs, 0);
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    AWAIT(f->server.has_eof);
    assert_string_equal(f->server.in, "first and last words");
    CALL(f, assert_true(stream_is_ending(f->server.stream)));
    END;
}

/* Closing with octets unread resets. */
static void tells_a_reset_without_reading(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = f->client.appetite = 0;
    write_text(&f->client, "first");
    write_text(&f->server, "unread");
    AWAIT(f->server.offered == 5 && f->client.offered == 6);
    write_text(&f->server, "unread too");
    PAUSE();
    end_side(&f->client);
    PAUSE();
    assert_int_equal(f->server.failures, 0);
    CALL(f, assert_false(stream_is_ending(f->server.stream)));
    AWAIT(f->server.failures == 1);
    END;
}

static void bounds_what_is_unsent(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 0;
    f->server.checks_pattern = true;
    fill(&f->client, UINT64_MAX);
    assert_true(stream_unsent(f->client.stream) >= STREAM_UNSENT_MAX);
    assert_int_equal(write_text(&f->client, "x"), 0);
    AWAIT(f->server.byte_calls > 0);
    PAUSE(); /* the kernel may have taken some more meanwhile */
    fill(&f->client, UINT64_MAX);
    PAUSE();
    fill(&f->client, UINT64_MAX);
    f->client.rooms = 0;
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    AWAIT(f->client.rooms > 0);
    assert_int_equal(stream_unsent(f->client.stream), 0);
    AWAIT(f->server.received == f->sent);
    assert_int_equal(write_text(&f->client, "x"), 1);
    f->server.checks_pattern = false;
    AWAIT(f->server.received == f->sent + 1);
    PAUSE();
    assert_int_equal(f->client.rooms, 1);
    END;
}

static void shuts_down_behind_unsent(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 0;
    f->server.checks_pattern = true;
    fill(&f->client, UINT64_MAX);
    assert_true(stream_unsent(f->client.stream) > 0);
    CALL(f, stream_shutdown(f->client.stream));
    AWAIT(f->server.byte_calls > 0);
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    AWAIT(f->server.has_eof);
    assert_int_equal(f->server.received, f->sent);
    END;
}

/* What has piled up is read in portions; a post runs between them. */
static void is_fair(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 0;
    f->server.checks_pattern = true;
    fill(&f->client, UINT64_MAX);
    AWAIT(f->server.byte_calls > 0);
    PAUSE();
    fill(&f->client, UINT64_MAX);
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    AWAIT(f->server.received >= f->sent);
    assert_true(f->turn_bytes_max <= STREAM_UNREAD_MAX + STREAM_TURN_BYTES);
    END;
}

#define TESTS(X)                                                                                   \
    X(exchanges)                                                                                   \
    X(gathers)                                                                                     \
    X(keeps_what_is_not_consumed)                                                                  \
    X(resumes_not_within_bytes)                                                                    \
    X(keeps_a_lot)                                                                                 \
    X(tells_eof_last)                                                                              \
    X(closes_one_direction)                                                                        \
    X(sees_an_end_without_reading)                                                                 \
    X(tells_a_reset_without_reading)                                                               \
    X(bounds_what_is_unsent)                                                                       \
    X(shuts_down_behind_unsent)                                                                    \
    X(is_fair)

TESTS(TEST)

#ifndef CONTRACT_SETUP
#define CONTRACT_SETUP    NULL
#define CONTRACT_TEARDOWN NULL
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {TESTS(TEST_ENTRY)};

    return cmocka_run_group_tests(tests, CONTRACT_SETUP, CONTRACT_TEARDOWN);
}
