/* SPDX-License-Identifier: BSD-2-Clause */
/* Two ends of a connection on one loop, and tests that are written as one story. */
#ifndef POSTERN_STREAM_PAIR_H
#define POSTERN_STREAM_PAIR_H

#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "proxy/io/listen.h"
#include "proxy/io/stream.h"
#include "tests/unit/lib.h"

/* What may be unsent beyond what the kernel takes. */
#ifndef UNSENT_MAX
#define UNSENT_MAX STREAM_UNSENT_MAX
#endif

#define IN_MAX      64
#define TOO_LONG_MS 10000
#define A_WHILE_MS  150

struct fixture;

/* One end of the connection, and what it was told. */
struct side {
    struct fixture *f;
    struct stream *stream;              /* NULL: not yet, or closed */
    const struct stream_tls_start *tls; /* begun at once; NULL: none */
    struct tls_facts *facts;            /* when it is secured */
    bool is_connected, has_eof, is_closing;
    int connect_error, error;
    int byte_calls, rooms, failures, eofs, closes;
    size_t appetite;     /* octets that it consumes from now on */
    bool resumes_inside; /* calls stream_resume() within `bytes` */
    bool closes_inside;
    uint64_t received; /* consumed octets */
    size_t in_len;
    char in[IN_MAX]; /* the first of them */
    size_t offered;  /* at the last call */
    uint8_t next;    /* of the pattern, see fill() */
    bool checks_pattern;
};

struct fixture {
    struct loop *loop;
    struct listener *listener;
    struct netaddr address;
    struct side client, server;
    struct loop_post again;
    struct deadline pause, watchdog;
    void (*body)(struct fixture *f);
    int at; /* line of the body that is waited at */
    bool is_paused, is_in_call, is_in_resume, is_over, refuses;
    bool closes_in_connected, closes_in_accepted;
    int accepts;
    uint64_t sent, turn_bytes, turn_bytes_max;
    struct loop_post turn;
};

/* A body runs from the top until something is not so yet, and goes on there after the next
 * event. Locals do not survive. */
#define BEGIN                                                                                      \
    switch (f->at) {                                                                               \
    case 0:
#define AWAIT(condition)                                                                           \
    f->at = __LINE__;                                                                              \
    __attribute__((fallthrough));                                                                  \
    case __LINE__:                                                                                 \
        if (!(condition))                                                                          \
        return
#define PAUSE()                                                                                    \
    pause_a_while(f);                                                                              \
    AWAIT(!f->is_paused)
#define END                                                                                        \
    }                                                                                              \
    finish(f)

/* Nothing but `bytes` within stream_resume() may be called from within a call. */
#define CALL(f, call)                                                                              \
    do {                                                                                           \
        bool was_in_call = (f)->is_in_call;                                                        \
        (f)->is_in_call = true;                                                                    \
        call;                                                                                      \
        (f)->is_in_call = was_in_call;                                                             \
    } while (0)

static inline void advance(void *owner)
{
    struct fixture *f = owner;

    if (!f->is_over)
        f->body(f);
}

static inline void told(struct side *s)
{
    assert_false(s->f->is_in_call);
    assert_int_equal(s->closes, 0);
    assert_false(s->is_closing);
    loop_post(s->f->loop, &s->f->again, advance, s->f);
}

static inline void end_side(struct side *s)
{
    if (s->stream == NULL || s->is_closing)
        return;
    s->is_closing = true;
    CALL(s->f, stream_close(s->stream));
}

static inline void start_tls(struct side *s)
{
    size_t dropped;

    if (s->tls == NULL)
        return;
    CALL(s->f, assert_int_equal(stream_start_tls(s->stream, s->tls, &dropped), 0));
    assert_int_equal(dropped, 0);
}

static inline void on_secured(void *owner, const struct tls_facts *facts)
{
    struct side *s = owner;

    told(s);
    assert_null(s->facts);
    assert_true(s->tls == NULL || s->byte_calls == 0);
    s->facts = tls_facts_copy(facts);
}

static inline void on_connected(void *owner, int error)
{
    struct side *s = owner;

    told(s);
    assert_false(s->is_connected);
    s->is_connected = true;
    s->connect_error = error;
    if (error == 0)
        start_tls(s);
    if (s->f->closes_in_connected)
        end_side(s);
}

static inline void on_turn(void *owner)
{
    struct fixture *f = owner;

    f->turn_bytes = 0;
}

static inline void count_turn(struct fixture *f, size_t octets)
{
    f->turn_bytes += octets;
    if (f->turn_bytes > f->turn_bytes_max)
        f->turn_bytes_max = f->turn_bytes;
    loop_post(f->loop, &f->turn, on_turn, f);
}

static inline size_t on_bytes(void *owner, struct bytes in)
{
    struct side *s = owner;
    size_t n = in.len < s->appetite ? in.len : s->appetite;

    assert_true(!s->f->is_in_call || s->f->is_in_resume);
    assert_false(s->is_closing);
    assert_int_equal(s->eofs, 0);
    assert_true(in.len > 0);
    loop_post(s->f->loop, &s->f->again, advance, s->f);
    s->byte_calls++;
    s->offered = in.len;
    s->appetite -= n;
    count_turn(s->f, in.len);
    for (size_t i = 0; i < n; i++) {
        if (s->in_len < IN_MAX - 1)
            s->in[s->in_len++] = (char)in.at[i];
        if (s->checks_pattern && in.at[i] != s->next++)
            fail_msg("octet %llu is wrong", (unsigned long long)(s->received + i));
    }
    s->received += n;
    if (s->resumes_inside)
        CALL(s->f, stream_resume(s->stream));
    if (s->closes_inside)
        end_side(s);
    return n;
}

static inline void on_room(void *owner)
{
    struct side *s = owner;

    told(s);
    assert_int_equal(stream_unsent(s->stream), 0);
    s->rooms++;
}

static inline void on_eof(void *owner)
{
    struct side *s = owner;

    told(s);
    s->eofs++;
    s->has_eof = true;
}

static inline void on_failed(void *owner, int error)
{
    struct side *s = owner;

    told(s);
    assert_true(error < 0);
    s->failures++;
    s->error = error;
}

static inline void on_closed(void *owner)
{
    struct side *s = owner;

    assert_false(s->f->is_in_call);
    assert_true(s->is_closing);
    s->closes++;
    s->stream = NULL;
    loop_post(s->f->loop, &s->f->again, advance, s->f);
}

static const struct stream_events side_events = {.connected = on_connected,
                                                 .bytes = on_bytes,
                                                 .room = on_room,
                                                 .eof = on_eof,
                                                 .failed = on_failed,
                                                 .secured = on_secured,
                                                 .closed = on_closed};

static inline void on_accepted(void *owner, struct stream *s)
{
    struct fixture *f = owner;

    f->accepts++;
    loop_post(f->loop, &f->again, advance, f);
    if (f->refuses)
        return;
    assert_null(f->server.stream);
    f->server.stream = s;
    stream_adopt(s, &side_events, &f->server);
    start_tls(&f->server);
    if (f->closes_in_accepted)
        end_side(&f->server);
}

static const struct listener_events listener_events = {.accepted = on_accepted};

static inline void on_pause_over(struct deadline *d)
{
    struct fixture *f = CONTAINER_OF(d, struct fixture, pause);

    f->is_paused = false;
    loop_post(f->loop, &f->again, advance, f);
}

static inline void on_watchdog(struct deadline *d)
{
    struct fixture *f = CONTAINER_OF(d, struct fixture, watchdog);

    fail_msg("still waiting at line %d", f->at);
}

static inline void pause_a_while(struct fixture *f)
{
    f->is_paused = true;
    deadline_set(f->loop, &f->pause, loop_now_ms(f->loop) + A_WHILE_MS);
}

static inline void finish(struct fixture *f)
{
    f->is_over = true;
    loop_unpost(f->loop, &f->turn);
    deadline_clear(f->loop, &f->pause);
    deadline_clear(f->loop, &f->watchdog);
    end_side(&f->client);
    end_side(&f->server);
    listener_close(f->listener);
    loop_stop(f->loop);
}

/* ---- what bodies do ---- */

static inline void open_client(struct fixture *f)
{
    struct stream_target to = {.address = f->address};
    int error = 0;

    CALL(f, f->client.stream = stream_connect(f->loop, &to, &side_events, &f->client, &error));
    assert_non_null(f->client.stream);
}

static inline bool is_ready(const struct side *s)
{
    return s->tls == NULL || s->facts != NULL;
}

static inline bool is_open(const struct fixture *f)
{
    return f->client.is_connected && f->server.stream != NULL && is_ready(&f->client) &&
           is_ready(&f->server);
}

static inline size_t write_text(struct side *s, const char *text)
{
    struct bytes piece = bytes_of(text);
    size_t taken;

    CALL(s->f, taken = stream_write(s->stream, &piece, 1));
    return taken;
}

static inline void resume(struct side *s)
{
    s->f->is_in_resume = true;
    CALL(s->f, stream_resume(s->stream));
    s->f->is_in_resume = false;
}

/* Writes the pattern 0, 1, .. 255, 0 .. until no more is taken, or up to `max` octets. */
static inline void fill(struct side *s, uint64_t max)
{
    static uint8_t pattern[10000 + 256];
    struct fixture *f = s->f;

    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)i;
    while (f->sent < max) {
        struct bytes piece = bytes_make(pattern + f->sent % 256, 10000), pieces[3];
        size_t taken;

        if (piece.len > max - f->sent)
            piece.len = (size_t)(max - f->sent);
        pieces[0] = bytes_first(piece, 100);
        pieces[1] = bytes_first(bytes_skip(piece, pieces[0].len), 3000);
        pieces[2] = bytes_skip(piece, pieces[0].len + pieces[1].len);
        CALL(f, taken = stream_write(s->stream, pieces, 3));
        f->sent += taken;
        assert_true(stream_unsent(s->stream) <= UNSENT_MAX);
        if (taken < piece.len)
            break;
    }
}

/* ---- running them ---- */

/* Two free ports side by side; the upper one stays closed. */
static inline void open_listener(struct fixture *f, struct lib_random *chance)
{
    int fd = -1, error = 0;

    netaddr_parse(bytes_of("127.0.0.1"), &f->address);
    for (int i = 0; i < 50 && fd < 0; i++) {
        f->address.port = (uint16_t)(20000 + 2 * lib_random_below(chance, 5000));
        fd = listen_open(&f->address, 16);
    }
    assert_true(fd >= 0);
    f->listener = listener_new(f->loop, fd, 0, &listener_events, f, &error);
    assert_non_null(f->listener);
}

/* How the two ends begin TLS; NULL: they do not. */
static const struct stream_tls_start *client_tls, *server_tls;

static inline void run_body(void (*body)(struct fixture *f))
{
    static const struct deadline_use pause_use = {.reached = on_pause_over};
    static const struct deadline_use watchdog_use = {.reached = on_watchdog};
    struct fixture f = {.body = body};
    struct lib_random chance;

    f.loop = loop_new();
    assert_non_null(f.loop);
    chance.state = loop_random(f.loop);
    f.client = (struct side){.f = &f, .appetite = SIZE_MAX};
    f.server = f.client;
    f.client.tls = client_tls;
    f.server.tls = server_tls;
    open_listener(&f, &chance);
    deadline_init(&f.pause, &pause_use);
    deadline_init(&f.watchdog, &watchdog_use);
    deadline_set(f.loop, &f.watchdog, loop_now_ms(f.loop) + TOO_LONG_MS);
    loop_post(f.loop, &f.again, advance, &f);
    assert_int_equal(loop_run(f.loop), 0);
    assert_true(f.is_over);
    assert_null(f.client.stream);
    assert_null(f.server.stream);
    mem_free(f.client.facts);
    mem_free(f.server.facts);
    loop_free(&f.loop);
    assert_null(f.loop);
}

#define TEST(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        run_body(name);                                                                            \
    }

/* TESTS(X) lists the stories. */
#define TEST_ENTRY(name) cmocka_unit_test(test_##name),

#endif
