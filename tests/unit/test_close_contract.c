/* SPDX-License-Identifier: BSD-2-Clause */
/* What stream.h promises about beginnings, failures and ends, seen through the headers alone:
 * holds for proxy/io and for tests/sim. */
/* needs: io */
#include "tests/unit/stream_pair.h"

/* Who closes with octets unread resets. */
static void tells_failure(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 0;
    write_text(&f->client, "x");
    AWAIT(f->server.byte_calls == 1);
    write_text(&f->client, "never read");
    PAUSE();
    end_side(&f->server);
    AWAIT(f->client.failures == 1);
    assert_int_equal(write_text(&f->client, "is any one there"), 0);
    resume(&f->client);
    PAUSE();
    assert_int_equal(f->client.failures, 1);
    assert_int_equal(f->client.eofs, 0);
    assert_false(stream_is_quiet(f->client.stream));
    END;
}

/* Writing goes on after the other side has closed: sooner or later it fails, later than the call
 * that finds out. */
static void tells_failed_write_later(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    end_side(&f->server);
    AWAIT(f->client.has_eof);
    write_text(&f->client, "first");
    PAUSE();
    if (f->client.failures == 0)
        write_text(&f->client, "second");
    AWAIT(f->client.failures == 1);
    assert_int_equal(write_text(&f->client, "third"), 0);
    PAUSE();
    assert_int_equal(f->client.failures, 1);
    END;
}

static void is_silent_once_closed(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    write_text(&f->client, "unread");
    end_side(&f->server);
    CALL(f, stream_close(f->server.stream));
    CALL(f, stream_close(f->server.stream));
    assert_int_equal(write_text(&f->server, "x"), 0);
    resume(&f->server);
    assert_false(stream_is_quiet(f->server.stream));
    AWAIT(f->server.closes == 1);
    PAUSE();
    assert_int_equal(f->server.closes, 1);
    assert_int_equal(f->server.byte_calls, 0);
    AWAIT(f->client.has_eof || f->client.failures == 1);
    END;
}

static void closes_within_bytes(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.closes_inside = true;
    f->server.appetite = 1;
    write_text(&f->client, "abc");
    AWAIT(f->server.closes == 1);
    assert_int_equal(f->server.byte_calls, 1);
    END;
}

static void closes_within_resume(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 0;
    write_text(&f->client, "abc");
    AWAIT(f->server.byte_calls == 1);
    f->server.closes_inside = true;
    f->server.appetite = 1;
    resume(&f->server);
    AWAIT(f->server.closes == 1);
    assert_int_equal(f->server.byte_calls, 2);
    END;
}

static void closes_when_connected(struct fixture *f)
{
    BEGIN;
    f->closes_in_connected = true;
    open_client(f);
    AWAIT(f->client.closes == 1 && f->server.has_eof);
    END;
}

static void closes_when_accepted(struct fixture *f)
{
    BEGIN;
    f->closes_in_accepted = true;
    open_client(f);
    AWAIT(f->server.closes == 1 && (f->client.has_eof || f->client.failures == 1));
    END;
}

static void closes_what_is_not_adopted(struct fixture *f)
{
    BEGIN;
    f->refuses = true;
    open_client(f);
    AWAIT(f->client.has_eof || f->client.failures == 1);
    assert_int_equal(f->accepts, 1);
    END;
}

static void tells_refusal(struct fixture *f)
{
    struct stream_target to = {.address = f->address};
    int error = 0;

    BEGIN;
    to.address.port = (uint16_t)(f->address.port + 1); /* nobody listens: see open_listener() */
    CALL(f, f->client.stream = stream_connect(f->loop, &to, &side_events, &f->client, &error));
    assert_non_null(f->client.stream);
    AWAIT(f->client.is_connected);
    assert_true(f->client.connect_error < 0);
    assert_int_equal(write_text(&f->client, "x"), 0);
    PAUSE();
    assert_int_equal(f->client.failures, 0); /* it was told once */
    END;
}

static void tells_missing_path(struct fixture *f)
{
    struct stream_target to = {.unix_path = "/nonexistent/postern-test"};
    int error = 0;

    BEGIN;
    CALL(f, f->client.stream = stream_connect(f->loop, &to, &side_events, &f->client, &error));
    assert_non_null(f->client.stream);
    AWAIT(f->client.is_connected);
    assert_int_equal(f->client.connect_error, -ENOENT);
    END;
}

static void closes_while_connecting(struct fixture *f)
{
    BEGIN;
    open_client(f);
    end_side(&f->client);
    AWAIT(f->client.closes == 1);
    assert_false(f->client.is_connected);
    END;
}

static void is_quiet(struct fixture *f)
{
    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    assert_true(stream_is_quiet(f->server.stream));
    assert_true(stream_is_quiet(f->client.stream));
    f->server.appetite = 0;
    write_text(&f->client, "abc");
    AWAIT(f->server.byte_calls == 1);
    assert_false(stream_is_quiet(f->server.stream)); /* three octets are unread */
    f->server.appetite = 2;
    resume(&f->server);
    assert_false(stream_is_quiet(f->server.stream));
    f->server.appetite = SIZE_MAX;
    resume(&f->server);
    assert_true(stream_is_quiet(f->server.stream));
    write_text(&f->client, "def");
    (void)stream_is_quiet(f->server.stream); /* what it finds is kept */
    AWAIT(f->server.received == 6);
    assert_string_equal(f->server.in, "abcdef");
    assert_true(stream_is_quiet(f->server.stream));
    end_side(&f->client);
    (void)stream_is_quiet(f->server.stream); /* an end that it finds, too */
    AWAIT(f->server.has_eof);
    assert_false(stream_is_quiet(f->server.stream));
    END;
}

static void survives_shortage(struct fixture *f)
{
    struct stream_target to = {.address = f->address};
    int error = 0;

    BEGIN;
    mem_fail_nth(1);
    assert_null(stream_connect(f->loop, &to, &side_events, &f->client, &error));
    mem_fail_nth(0);
    assert_int_equal(error, ERR_MEMORY);
    PAUSE(); /* and no callback comes */
    open_client(f);
    AWAIT(is_open(f));
    END;
}

#define TESTS(X)                                                                                   \
    X(tells_failure)                                                                               \
    X(tells_failed_write_later)                                                                    \
    X(is_silent_once_closed)                                                                       \
    X(closes_within_bytes)                                                                         \
    X(closes_within_resume)                                                                        \
    X(closes_when_connected)                                                                       \
    X(closes_when_accepted)                                                                        \
    X(closes_what_is_not_adopted)                                                                  \
    X(tells_refusal)                                                                               \
    X(tells_missing_path)                                                                          \
    X(closes_while_connecting)                                                                     \
    X(is_quiet)                                                                                    \
    X(survives_shortage)

TESTS(TEST)

int main(void)
{
    const struct CMUnitTest tests[] = {TESTS(TEST_ENTRY)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
