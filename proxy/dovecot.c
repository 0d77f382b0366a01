/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection to Dovecot's auth service. What clients say goes to the kernel from where it lies,
 * so that no copies of passwords are left behind. */
#include "proxy/dovecot.h"

#include "proxy/base/error.h"
#include "proxy/base/setting.h"
#include "proxy/io/stream.h"

#define HELLO_MS  5000  /* from connecting until the server has introduced itself */
#define ANSWER_MS 60000 /* for one answer; Dovecot lets those wait that guess */
#define RETRY_MS  1000  /* until the next attempt to connect */

enum state { DOWN, GREETING, READY, CLOSED };

struct dovecot {
    struct dovecot_services services;
    struct stream *stream;
    unsigned streams;         /* that are not closed yet */
    struct buf in, out;       /* what has come; one line without its secret */
    struct list waiting;      /* struct dovecot_call.in_server: for the server */
    struct list exchanges;    /* likewise: for an answer, or for their client */
    struct deadline deadline; /* GREETING: until then; DOWN: it is tried again */
    uint32_t last_id;
    uint32_t mechanisms; /* that it takes */
    uint32_t introduced; /* GREETING: those so far */
    enum state state;
    bool is_reported; /* that it is down */
    char path[SETTING_SOCKET_PATH_MAX + 1];
};

bool dovecot_is_settled(const struct dovecot *d)
{
    return d->state != GREETING;
}

uint32_t dovecot_mechanisms(const struct dovecot *d)
{
    return d->mechanisms;
}

/* ---- calls ---- */

static void end_call(struct dovecot_call *call)
{
    deadline_clear(call->server->services.loop, &call->deadline);
    list_remove(&call->in_server);
    call->server = NULL;
    call->is_due = false;
}

/* The server has come, or does not. */
static void settle(struct dovecot *d)
{
    struct list settled;

    list_init(&settled);
    list_move_all(&settled, &d->waiting);
    while (!list_is_empty(&settled)) {
        struct dovecot_call *call = LIST_ENTRY(settled.next, struct dovecot_call, in_server);
        end_call(call);
        call->use->settled(call);
    }
}

/* Those that wait for their client hear of it when that has spoken. */
static void lose_exchanges(struct dovecot *d)
{
    struct list lost;

    list_init(&lost);
    list_move_all(&lost, &d->exchanges);
    while (!list_is_empty(&lost)) {
        struct dovecot_call *call = LIST_ENTRY(lost.next, struct dovecot_call, in_server);
        bool was_due = call->is_due;
        end_call(call);
        if (was_due)
            call->use->answered(call, NULL);
    }
}

/* ---- connecting ---- */

static void report(struct dovecot *d, enum log_level level, const char *event, int error)
{
    struct log_line line = log_begin(d->services.log, d->services.log_sinks, level, event);

    log_put_text(&line, "path", d->path);
    if (error != 0)
        log_put_error(&line, "error", error);
    log_end(&line);
}

static void drop_stream(struct dovecot *d)
{
    if (d->stream != NULL)
        stream_close(d->stream);
    d->stream = NULL;
    buf_reset(&d->in);
    deadline_clear(d->services.loop, &d->deadline);
}

/* Reported once, until it is back. */
static void fail(struct dovecot *d, int error)
{
    struct loop *loop = d->services.loop;

    drop_stream(d);
    d->state = DOWN;
    deadline_set(loop, &d->deadline, loop_now_ms(loop) + RETRY_MS);
    if (!d->is_reported)
        report(d, LOG_LEVEL_WARNING, "auth-server-down", error);
    d->is_reported = true;
    lose_exchanges(d);
    settle(d);
}

/* What it tells is complete. */
static void get_ready(struct dovecot *d)
{
    deadline_clear(d->services.loop, &d->deadline);
    d->state = READY;
    d->mechanisms = d->introduced;
    if (d->is_reported)
        report(d, LOG_LEVEL_INFO, "auth-server-up", 0);
    d->is_reported = false;
    settle(d);
}

/* ---- sending ---- */

/* The line in d->out, with the secret at its end. One that does not fit into the kernel is kept by
 * the stream, no second one behind it. */
static bool send(struct dovecot *d, struct bytes secret, const char *end)
{
    const struct bytes pieces[] = {buf_bytes(&d->out), secret, bytes_of(end)};
    size_t len = pieces[0].len + secret.len + pieces[2].len;
    bool is_taken = d->state == READY && !d->out.has_failed && len <= DOVECOT_LINE_MAX &&
                    stream_unsent(d->stream) == 0 &&
                    stream_write(d->stream, pieces, ARRAY_LENGTH(pieces)) == len;

    buf_reset(&d->out);
    return is_taken;
}

static void on_late(struct deadline *deadline)
{
    struct dovecot_call *call = CONTAINER_OF(deadline, struct dovecot_call, deadline);

    dovecot_forget(call);
    call->use->answered(call, NULL);
}

static const struct deadline_use answer_deadline_use = {.reached = on_late};

static void await_answer(struct dovecot_call *call)
{
    struct loop *loop = call->server->services.loop;

    call->is_due = true;
    deadline_set(loop, &call->deadline, loop_now_ms(loop) + ANSWER_MS);
}

static void begin_call(struct dovecot *d, struct list *where, struct dovecot_call *call,
                       const struct dovecot_call_use *use)
{
    assert(call->server == NULL);
    call->server = d;
    call->use = use;
    deadline_init(&call->deadline, &answer_deadline_use);
    list_append(where, &call->in_server);
}

void dovecot_await(struct dovecot *d, struct dovecot_call *call, const struct dovecot_call_use *use)
{
    assert(d->state == GREETING);
    call->id = 0;
    begin_call(d, &d->waiting, call, use);
}

bool dovecot_begin(struct dovecot *d, struct dovecot_call *call, const struct dovecot_call_use *use,
                   const struct dovecot_request *request)
{
    if (++d->last_id == 0)
        d->last_id = 1;
    dovecot_auth_put_request(&d->out, d->last_id, request->mechanism, request->client);
    if (request->has_response)
        buf_text(&d->out, "\tresp=");
    if (!send(d, request->response, "\n"))
        return false;
    call->id = d->last_id;
    begin_call(d, &d->exchanges, call, use);
    await_answer(call);
    return true;
}

bool dovecot_continue(struct dovecot_call *call, struct bytes response)
{
    if (call->server == NULL)
        return false;
    assert(call->id != 0 && !call->is_due);
    dovecot_auth_put_continue(&call->server->out, call->id);
    if (!send(call->server, response, "\n")) {
        dovecot_forget(call);
        return false;
    }
    await_answer(call);
    return true;
}

void dovecot_forget(struct dovecot_call *call)
{
    if (call->server == NULL)
        return;
    if (call->id != 0) {
        dovecot_auth_put_cancel(&call->server->out, call->id);
        (void)send(call->server, bytes_make(NULL, 0), "");
    }
    end_call(call);
}

/* ---- reading ---- */

static struct dovecot_call *find(struct dovecot *d, uint32_t id)
{
    LIST_EACH (link, &d->exchanges) {
        struct dovecot_call *call = LIST_ENTRY(link, struct dovecot_call, in_server);
        if (call->id == id && call->is_due)
            return call;
    }
    return NULL;
}

/* An answer that comes after its call was forgotten is nobody's. `said` NULL: it makes no sense. */
static void answer(struct dovecot *d, uint32_t id, const struct dovecot_auth_said *said)
{
    struct dovecot_call *call = find(d, id);

    if (call == NULL)
        return;
    deadline_clear(d->services.loop, &call->deadline);
    call->is_due = false;
    if (said == NULL)
        dovecot_forget(call);
    else if (said->kind != DOVECOT_AUTH_CHALLENGE)
        end_call(call);
    call->use->answered(call, said);
}

/* False: the connection was given up. */
static bool take_line(struct dovecot *d, struct bytes line)
{
    struct dovecot_auth_said said;
    int error = dovecot_auth_read(line, &said);
    bool is_answer = said.kind >= DOVECOT_AUTH_CHALLENGE && d->state == READY;

    if (is_answer) {
        answer(d, said.id, error == 0 ? &said : NULL);
    } else if (error != 0 || (said.kind == DOVECOT_AUTH_VERSION && said.version != 1)) {
        fail(d, error != 0 ? error : ERR_RANGE);
        return false;
    } else if (said.kind == DOVECOT_AUTH_MECHANISM) {
        d->introduced |= said.mechanism;
    } else if (said.kind == DOVECOT_AUTH_READY && d->state == GREETING) {
        get_ready(d);
    }
    return d->state == GREETING || d->state == READY;
}

static size_t on_bytes(void *owner, struct bytes in)
{
    struct dovecot *d = owner;
    struct bytes line;

    buf_put(&d->in, in);
    if (d->in.has_failed) {
        fail(d, ERR_TOO_LONG);
        return in.len;
    }
    while ((line = bytes_first(buf_bytes(&d->in), bytes_find(buf_bytes(&d->in), '\n'))).len <
           buf_length(&d->in)) {
        if (!take_line(d, line))
            return in.len;
        buf_consume(&d->in, line.len + 1);
    }
    return in.len;
}

static void on_connected(void *owner, int error)
{
    struct dovecot *d = owner;

    if (error != 0) {
        fail(d, error);
        return;
    }
    dovecot_auth_put_hello(&d->out, (uint32_t)loop_random(d->services.loop) >> 1 | 1);
    const struct bytes hello = buf_bytes(&d->out);
    bool is_whole = !d->out.has_failed && stream_write(d->stream, &hello, 1) == hello.len;
    buf_reset(&d->out);
    if (!is_whole) /* the server would wait for it, and we for the server */
        fail(d, ERR_MEMORY);
}

static void on_room(void *owner)
{
    (void)owner;
}

static void on_eof(void *owner)
{
    fail(owner, ERR_CLOSED);
}

static void on_failed(void *owner, int error)
{
    fail(owner, error);
}

static void on_closed(void *owner)
{
    struct dovecot *d = owner;
    d->streams--;
}

static const struct stream_events stream_events = {
    .connected = on_connected,
    .bytes = on_bytes,
    .room = on_room,
    .eof = on_eof,
    .failed = on_failed,
    .closed = on_closed,
};

/* ---- life ---- */

static void connect_to(struct dovecot *d)
{
    const struct stream_target to = {.unix_path = d->path};
    struct loop *loop = d->services.loop;
    int error;

    d->introduced = 0;
    d->stream = stream_connect(loop, &to, &stream_events, d, &error);
    if (d->stream == NULL) {
        fail(d, error);
        return;
    }
    d->streams++;
    d->state = GREETING;
    deadline_set(loop, &d->deadline, loop_now_ms(loop) + HELLO_MS);
}

static void on_deadline(struct deadline *deadline)
{
    struct dovecot *d = CONTAINER_OF(deadline, struct dovecot, deadline);

    if (d->state == DOWN)
        connect_to(d);
    else
        fail(d, ERR_TIMEOUT);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

struct dovecot *dovecot_new(const struct dovecot_services *services, struct bytes path)
{
    struct dovecot *d = mem_zalloc(sizeof(*d));

    if (d == NULL)
        return NULL;
    assert(path.len < sizeof(d->path));
    memcpy(d->path, path.at, path.len);
    d->services = *services;
    buf_init(&d->in, &loop_pools(services->loop)->medium, 2 * STREAM_UNREAD_MAX);
    buf_init(&d->out, &loop_pools(services->loop)->small, DOVECOT_LINE_MAX);
    list_init(&d->waiting);
    list_init(&d->exchanges);
    deadline_init(&d->deadline, &deadline_use);
    connect_to(d);
    return d;
}

void dovecot_close(struct dovecot *d)
{
    assert(list_is_empty(&d->waiting) && list_is_empty(&d->exchanges));
    drop_stream(d);
    d->state = CLOSED;
}

void dovecot_free(struct dovecot *d)
{
    assert(d->state == CLOSED && d->streams == 0);
    mem_free(d);
}
