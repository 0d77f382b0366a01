/* SPDX-License-Identifier: BSD-2-Clause */
/* What streams promise of TLS beside their contract: what an idle one costs, what is thrown away,
 * what counts as quiet, who is spoken to. */
/* needs: io */
#define UNSENT_MAX (65536 + 1024)

#include <openssl/crypto.h>

#include "tests/unit/stream_pair.h"
#include "tests/unit/tls_pair.h"

#define IDLE_MAX_BYTES 20480

static size_t held_bytes; /* by OpenSSL */

/* ---- what OpenSSL holds ---- */

struct piece {
    size_t bytes;
    max_align_t content;
};

static void *count_malloc(size_t bytes, const char *file, int line)
{
    struct piece *piece = malloc(offsetof(struct piece, content) + bytes);

    (void)file;
    (void)line;
    if (piece == NULL)
        return NULL;
    piece->bytes = bytes;
    held_bytes += bytes;
    return &piece->content;
}

static void count_free(void *content, const char *file, int line)
{
    (void)file;
    (void)line;
    if (content == NULL)
        return;
    struct piece *piece = CONTAINER_OF(content, struct piece, content);
    held_bytes -= piece->bytes;
    free(piece);
}

static void *count_realloc(void *content, size_t bytes, const char *file, int line)
{
    void *grown = bytes == 0 ? NULL : count_malloc(bytes, file, line);

    if (content != NULL && grown != NULL) {
        size_t old = CONTAINER_OF(content, struct piece, content)->bytes;
        memcpy(grown, content, old < bytes ? old : bytes);
    }
    if (grown != NULL || bytes == 0)
        count_free(content, file, line);
    return grown;
}

/* ---- stories ---- */

static size_t before_bytes;

/* Both ends of a connection, that have sent a lot and now say nothing. */
static void costs_little_when_idle(struct fixture *f)
{
    BEGIN;
    before_bytes = held_bytes;
    open_client(f);
    AWAIT(is_open(f));
    fill(&f->client, 100000);
    AWAIT(f->sent == 100000 || f->client.rooms > 0);
    fill(&f->client, 100000);
    AWAIT(f->server.received == 100000);
    write_text(&f->server, "220 hello\r\n");
    AWAIT(f->client.received == 11);
    PAUSE();
    print_message("an idle connection: %zu octets at both ends\n", held_bytes - before_bytes);
    assert_true(held_bytes - before_bytes < 2 * IDLE_MAX_BYTES);
    END;
}

/* A ticket that has come and was not read yet is nothing of the peer's. */
static void is_quiet(struct fixture *f)
{
    bool is;

    BEGIN;
    open_client(f);
    AWAIT(is_open(f));
    PAUSE();
    CALL(f, is = stream_is_quiet(f->client.stream));
    assert_true(is);
    write_text(&f->server, "421 bye\r\n");
    usleep(10000);
    CALL(f, is = stream_is_quiet(f->client.stream));
    assert_false(is);
    assert_int_equal(f->client.received, 0); /* it is kept, and offered when that is asked for */
    resume(&f->client);
    assert_string_equal(f->client.in, "421 bye\r\n");
    END;
}

/* What was kept unread when TLS begins is thrown away. */
static void drops_what_came_before(struct fixture *f)
{
    size_t dropped = 0;

    BEGIN;
    f->client.tls = NULL;
    f->server.tls = NULL;
    open_client(f);
    AWAIT(is_open(f));
    f->server.appetite = 8;
    write_text(&f->client, "STARTTLSinjected");
    AWAIT(f->server.received == 8);
    f->server.appetite = SIZE_MAX;
    CALL(f, assert_int_equal(stream_start_tls(f->server.stream, server_tls, &dropped), 0));
    assert_int_equal(dropped, 8);
    CALL(f, assert_int_equal(stream_start_tls(f->client.stream, client_tls, &dropped), 0));
    assert_int_equal(dropped, 0);
    assert_int_equal(write_text(&f->client, "not yet"), 0);
    AWAIT(f->client.facts != NULL && f->server.facts != NULL);
    assert_int_equal(f->server.received, 8);
    write_text(&f->client, "EHLO");
    AWAIT(f->server.received == 12);
    assert_string_equal(f->server.in, "STARTTLSEHLO");
    END;
}

/* The peer speaks no TLS. */
static void fails_on_plain_text(struct fixture *f)
{
    BEGIN;
    f->client.tls = NULL;
    open_client(f);
    AWAIT(f->client.is_connected && f->server.stream != NULL);
    write_text(&f->client, "EHLO client.example\r\n");
    AWAIT(f->server.failures == 1);
    assert_int_equal(f->server.error, ERR_TLS);
    assert_non_null(stream_tls_problem(f->server.stream));
    assert_int_equal(f->server.received, 0);
    END;
}

static void fails_when_the_peer_goes(struct fixture *f)
{
    BEGIN;
    f->client.tls = NULL;
    open_client(f);
    AWAIT(f->client.is_connected && f->server.stream != NULL);
    end_side(&f->client);
    AWAIT(f->server.failures == 1);
    assert_int_equal(f->server.error, ERR_CLOSED);
    assert_int_equal(f->server.eofs, 0);
    END;
}

/* The last one, when OpenSSL has made what it keeps for all. */
#define TESTS(X)                                                                                   \
    X(is_quiet)                                                                                    \
    X(drops_what_came_before)                                                                      \
    X(fails_on_plain_text)                                                                         \
    X(fails_when_the_peer_goes)                                                                    \
    X(costs_little_when_idle)

TESTS(TEST)

int main(void)
{
    const struct CMUnitTest tests[] = {TESTS(TEST_ENTRY)};

    if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, tls_pair_set_up, tls_pair_tear_down);
}
