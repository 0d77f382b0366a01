/* SPDX-License-Identifier: BSD-2-Clause */
/* stream.h in a world. One event at a time, each outside of the owner's calls. */
#include "proxy/io/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "tests/sim/world.h"

#define READ_BYTES 65536

struct stream {
    struct sim_event event;
    struct loop *loop;
    const struct stream_events *events; /* NULL: nobody has adopted it */
    void *owner;
    struct sim_end *end;      /* NULL: not connected */
    struct sim_peer *asked;   /* whom we would like to be connected to */
    uint8_t *unread, *unsent; /* mem_alloc()ed, NULL when empty */
    size_t unread_len, unsent_len;
    size_t unsent_start; /* what stands before it was sent */
    int error;
    struct netaddr peer, local;
    bool is_connecting, is_answered, is_offering, is_closing, is_shut;
    bool has_eof, is_told; /* is_told: eof or failed was called */
    bool is_tls, is_secured;
};

static struct sim *world_of(const struct stream *s)
{
    return s->loop->world;
}

static void wake(struct stream *s)
{
    sim_ready(world_of(s), &s->event);
}

static void fail(struct stream *s, int error)
{
    assert(error != 0);
    if (s->error != 0)
        return;
    s->error = error;
    s->is_told = false;
    wake(s);
}

/* Chance may take a part of what could be taken. */
static size_t some_of(struct sim *w, size_t most)
{
    if (!w->ways.cuts || most < 2 || sim_below(w, 3) == 0)
        return most;
    return 1 + (size_t)sim_below(w, most);
}

/* ---- reading ---- */

static size_t offer(struct stream *s, struct bytes in)
{
    size_t consumed;

    assert(!s->is_offering && !s->is_closing);
    s->is_offering = true;
    consumed = s->events->bytes(s->owner, in);
    s->is_offering = false;
    assert(consumed <= in.len);
    return consumed;
}

static void drop_unread(struct stream *s)
{
    mem_free(s->unread);
    s->unread = NULL;
    s->unread_len = 0;
}

static void keep_unread(struct stream *s, struct bytes rest)
{
    assert(s->unread == NULL && rest.len <= STREAM_UNREAD_MAX);
    s->unread = mem_alloc(rest.len);
    if (s->unread == NULL) {
        fail(s, ERR_MEMORY);
        return;
    }
    memcpy(s->unread, rest.at, rest.len);
    s->unread_len = rest.len;
}

/* The octets are in memory of their own, which is gone after the call. */
static void read_some(struct stream *s)
{
    size_t most = sim_end_readable(s->end);
    size_t len = some_of(world_of(s), most < READ_BYTES ? most : READ_BYTES), consumed;
    struct sim_text copy = {.len = 0};

    sim_put(&copy, bytes_first(sim_end_peek(s->end), len));
    sim_end_consume(s->end, len);
    consumed = offer(s, bytes_make(copy.at, len));
    if (consumed < len && !s->is_closing)
        keep_unread(s, bytes_make(copy.at + consumed, len - consumed));
    free(copy.at);
}

void stream_resume(struct stream *s)
{
    if (s->is_offering || s->is_closing || s->is_connecting || s->error != 0)
        return;
    if (s->unread_len > 0) {
        size_t consumed = offer(s, bytes_make(s->unread, s->unread_len));
        if (s->is_closing)
            return;
        s->unread_len -= consumed;
        memmove(s->unread, s->unread + consumed, s->unread_len);
        if (s->unread_len > 0)
            return;
        drop_unread(s);
    }
    wake(s);
}

bool stream_is_quiet(struct stream *s)
{
    if (s->end == NULL || s->is_connecting || s->is_closing || s->error != 0)
        return false;
    return s->unread_len == 0 && sim_end_readable(s->end) == 0 && !s->end->in.has_fin &&
           !s->end->in.has_reset;
}

void stream_acknowledge(struct stream *s)
{
    (void)s; /* nobody waits for that here */
}

bool stream_is_ending(struct stream *s)
{
    if (s->end == NULL || s->is_connecting || s->is_closing || s->error != 0)
        return false;
    if (s->end->in.has_reset)
        fail(s, ERR_CLOSED);
    return s->error == 0 && (s->has_eof || s->end->in.has_fin);
}

/* ---- writing ---- */

/* What the kernel takes of it. */
static size_t write_some(struct stream *s, struct bytes octets)
{
    size_t space = sim_end_space(s->end);
    size_t most = octets.len < space || s->end->other->is_closed ? octets.len : space;

    return sim_end_write(s->end, bytes_first(octets, some_of(world_of(s), most)));
}

static struct bytes unsent_of(const struct stream *s)
{
    return bytes_make(s->unsent + s->unsent_start, s->unsent_len);
}

static size_t keep_unsent(struct stream *s, struct bytes rest)
{
    rest = bytes_first(rest, STREAM_UNSENT_MAX - s->unsent_len);
    if (rest.len == 0)
        return 0;
    if (s->unsent_start > 0)
        memmove(s->unsent, s->unsent + s->unsent_start, s->unsent_len);
    s->unsent_start = 0;
    uint8_t *grown = mem_grow(s->unsent, s->unsent_len + rest.len);
    if (grown == NULL) {
        fail(s, ERR_MEMORY);
        return 0;
    }
    memcpy(grown + s->unsent_len, rest.at, rest.len);
    s->unsent = grown;
    s->unsent_len += rest.len;
    if (s->end != NULL && sim_end_space(s->end) > 0)
        wake(s);
    return rest.len;
}

static bool can_write(const struct stream *s)
{
    return s->end != NULL && s->unsent_len == 0 && !s->is_connecting;
}

size_t stream_write(struct stream *s, const struct bytes *pieces, int count)
{
    size_t taken = 0;

    assert(count >= 0 && count <= STREAM_PIECES_MAX);
    if (s->is_closing || s->is_shut || s->error != 0 || (s->is_tls && !s->is_secured))
        return 0;
    if (s->end != NULL && s->end->in.has_reset) {
        fail(s, ERR_CLOSED);
        return 0;
    }
    for (int i = 0; i < count && s->error == 0; i++) {
        struct bytes left = pieces[i];
        if (can_write(s))
            left = bytes_skip(left, write_some(s, left));
        taken += pieces[i].len - left.len;
        if (left.len == 0)
            continue;
        size_t kept = keep_unsent(s, left);
        taken += kept;
        if (kept < left.len)
            break;
    }
    return taken;
}

size_t stream_unsent(const struct stream *s)
{
    return s->unsent_len;
}

static void drop_unsent(struct stream *s, size_t octets)
{
    s->unsent_len -= octets;
    s->unsent_start += octets;
    if (s->unsent_len > 0)
        return;
    mem_free(s->unsent);
    s->unsent = NULL;
    s->unsent_start = 0;
}

static void flush(struct stream *s)
{
    if (s->end->in.has_reset) {
        fail(s, ERR_CLOSED);
        return;
    }
    drop_unsent(s, write_some(s, unsent_of(s)));
    if (s->unsent_len > 0)
        return;
    if (s->is_shut)
        sim_end_shutdown(s->end);
    s->events->room(s->owner);
}

void stream_shutdown(struct stream *s)
{
    if (s->is_shut || s->is_closing || s->error != 0)
        return;
    s->is_shut = true;
    if (can_write(s))
        sim_end_shutdown(s->end);
}

/* ---- what happens ---- */

static void finish_connect(struct stream *s)
{
    s->is_connecting = false;
    s->is_told = s->error != 0;
    if (s->error == 0 && s->is_shut && s->unsent_len == 0)
        sim_end_shutdown(s->end);
    s->events->connected(s->owner, s->error);
}

/* Nothing is encrypted here. */
static void finish_handshake(struct stream *s)
{
    static const struct tls_facts facts = {.version = "TLSv1.3", .cipher = "NONE"};

    s->is_secured = true;
    s->events->secured(s->owner, &facts);
}

/* What has come is our peer's word, or a part of it. */
static void shake(struct stream *s)
{
    struct bytes heard = sim_end_peek(s->end);
    struct bytes due = bytes_first(bytes_of(SIM_TLS_ANSWER), heard.len);

    if (!world_of(s)->ways.shakes) {
        finish_handshake(s);
    } else if (!bytes_equal(bytes_first(heard, due.len), due)) {
        fail(s, ERR_TLS);
    } else if (due.len == strlen(SIM_TLS_ANSWER)) {
        sim_end_consume(s->end, due.len);
        finish_handshake(s);
    } else if (s->end->in.has_reset || s->end->in.has_fin) {
        fail(s, ERR_CLOSED);
    }
}

int stream_start_tls(struct stream *s, const struct stream_tls_start *start, size_t *dropped_out)
{
    (void)start;
    assert(!s->is_tls && !s->is_connecting);
    *dropped_out = s->is_offering ? 0 : s->unread_len;
    if (!s->is_offering)
        drop_unread(s);
    s->is_tls = true;
    if (world_of(s)->ways.shakes)
        sim_end_write(s->end, bytes_of(SIM_TLS_HELLO));
    wake(s);
    return 0;
}

bool stream_is_secured(const struct stream *s)
{
    return s->is_secured;
}

void stream_put_certificate(const struct stream *s, struct buf *out)
{
    (void)s;
    (void)out;
}

const char *stream_tls_problem(const struct stream *s)
{
    (void)s;
    return NULL;
}

static bool is_shaking(const struct stream *s)
{
    return s->is_tls && !s->is_secured && s->error == 0;
}

static bool may_flush(const struct stream *s)
{
    return s->unsent_len > 0 && s->error == 0 &&
           (sim_end_space(s->end) > 0 || s->end->in.has_reset || s->end->other->is_closed);
}

/* After a failed write, too, what came before is worth reading; but not behind a gap. */
static bool may_read(const struct stream *s)
{
    return s->unread_len == 0 && !s->has_eof && s->error != ERR_MEMORY && !s->is_told &&
           sim_end_readable(s->end) > 0;
}

static void look_for_end(struct stream *s)
{
    if (s->unread_len > 0 || sim_end_readable(s->end) > 0)
        return;
    if (s->end->in.has_reset && s->error == 0)
        fail(s, ERR_CLOSED);
    else if (s->end->in.is_garbled && s->error == 0)
        fail(s, ERR_TLS);
    else if (s->end->in.has_fin)
        s->has_eof = true;
}

static void tell_end(struct stream *s)
{
    if (s->is_told)
        return;
    if (s->error != 0) {
        s->is_told = true;
        s->events->failed(s->owner, s->error);
    } else if (s->has_eof) {
        s->is_told = true;
        s->events->eof(s->owner);
    }
}

static bool has_news(const struct stream *s)
{
    if (s->is_connecting)
        return s->is_answered;
    if (is_shaking(s))
        return !world_of(s)->ways.shakes || sim_end_readable(s->end) > 0 || s->end->in.has_reset ||
               s->end->in.has_fin;
    return may_flush(s) || may_read(s) || (s->error != 0 && !s->is_told) ||
           (s->unread_len == 0 && s->error == 0 &&
            (s->end->in.has_reset || (s->end->in.has_fin && !s->is_told)));
}

static void finish_close(struct stream *s)
{
    s->loop->busy--;
    if (s->events != NULL)
        s->events->closed(s->owner);
    mem_free(s);
}

static void on_event(struct sim_event *e)
{
    struct stream *s = CONTAINER_OF(e, struct stream, event);

    if (s->is_closing) {
        finish_close(s);
        return;
    }
    if (s->events == NULL)
        return;
    if (s->is_connecting) {
        if (s->is_answered)
            finish_connect(s);
    } else if (s->end == NULL) {
        return; /* could not connect, and the owner knows */
    } else if (is_shaking(s)) {
        shake(s);
    } else if (may_flush(s) &&
               (!may_read(s) || !world_of(s)->ways.shuffles || sim_below(world_of(s), 2) == 0)) {
        flush(s);
    } else if (may_read(s)) {
        read_some(s);
    } else {
        look_for_end(s);
        tell_end(s);
    }
    if (s->is_closing || (s->end != NULL && has_news(s)))
        wake(s);
}

void stream_close(struct stream *s)
{
    if (s->is_closing)
        return;
    s->is_closing = true;
    if (s->end != NULL) {
        if (s->error == 0 && !s->is_connecting && s->unsent_len > 0)
            write_some(s, unsent_of(s));
        sim_end_close(s->end, false);
    }
    if (s->asked != NULL) {
        s->asked->asked_by = NULL;
        s->asked->has_eof = true;
    }
    s->end = NULL;
    drop_unread(s);
    mem_free(s->unsent);
    s->unsent = NULL;
    s->unsent_len = s->unsent_start = 0;
    wake(s);
}

/* ---- beginning ---- */

static struct stream *stream_new(struct loop *l)
{
    struct stream *s = mem_zalloc(sizeof(*s));

    if (s == NULL)
        return NULL;
    s->event.fn = on_event;
    s->event.process = l->process;
    list_init(&s->event.link);
    s->loop = l;
    l->busy++;
    return s;
}

void sim_stream_answer(struct stream *s, struct sim_end *end, int error)
{
    s->asked = NULL;
    s->is_answered = true;
    s->error = error;
    s->end = end;
    if (end != NULL)
        end->reader = &s->event;
    wake(s);
}

struct stream *sim_stream_accepted(struct loop *l, struct sim_end *end)
{
    struct stream *s = stream_new(l);

    if (s == NULL) {
        sim_end_close(end, true);
        return NULL;
    }
    s->peer = end->other->address;
    s->local = end->address;
    s->end = end;
    return s;
}

void sim_stream_start(struct stream *s)
{
    if (s->events == NULL) {
        stream_close(s);
    } else if (!s->is_closing) {
        s->end->reader = &s->event;
        wake(s);
    }
}

void stream_adopt(struct stream *s, const struct stream_events *events, void *owner)
{
    assert(s->events == NULL && events != NULL);
    s->events = events;
    s->owner = owner;
}

static struct netaddr address_for(struct sim *w, const struct netaddr *to)
{
    struct netaddr a = *to;

    if (!netaddr_is_loopback(to))
        netaddr_parse(bytes_of(to->family == NETADDR_IPV4 ? "192.0.2.250" : "2001:db8::250"), &a);
    a.port = w->next_port++;
    return a;
}

static void begin_to_connect(struct stream *s, const struct stream_target *to)
{
    struct sim *w = world_of(s);
    bool is_unix = to->address.family == NETADDR_NONE;
    struct sim_bound *bound =
        is_unix ? sim_bound_at_path(w, to->unix_path) : sim_bound_at(w, &to->address);
    char text[NETADDR_TEXT_MAX], address[128];

    if (bound != NULL && bound->listener != NULL) {
        struct sim_conn *c = sim_conn_new(w, &s->local, &to->address);
        c->ends[0].process = s->loop->process;
        sim_listener_arrive(bound->listener, &c->ends[1]);
        sim_stream_answer(s, &c->ends[0], 0);
    } else if (w->asked.asks) {
        snprintf(address, sizeof(address), "%s%s", is_unix ? "unix:" : "",
                 is_unix ? to->unix_path : netaddr_text_with_port(&to->address, text));
        s->asked = sim_peer_asked(s->loop, s, address);
    } else {
        sim_stream_answer(s, NULL, is_unix ? -ENOENT : -ECONNREFUSED);
    }
}

struct stream *stream_connect(struct loop *l, const struct stream_target *to,
                              const struct stream_events *events, void *owner, int *error_out)
{
    struct stream *s = stream_new(l);

    if (s == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    s->is_connecting = true;
    s->peer = to->address;
    if (to->address.family != NETADDR_NONE)
        s->local = address_for(l->world, &to->address);
    stream_adopt(s, events, owner);
    begin_to_connect(s, to);
    return s;
}

struct netaddr stream_peer(const struct stream *s)
{
    return s->peer;
}

struct netaddr stream_local(const struct stream *s)
{
    return s->local;
}
