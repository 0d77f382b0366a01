/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to a milter. */
#include "filters/milter/milter_link.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"

#define UNDER_WAY_MAX 65536 /* octets that are not sent: then no more content is taken */
#define HELD_MAX      16384 /* octets that wait for something that needs an answer */

/* ---- deadlines ---- */

static bool is_content_due(const struct milter_link *link)
{
    for (unsigned step = MILTER_STEP_FIELD; step < MILTER_STEP_END; step++)
        if (link->talk.message.due[step] != 0)
            return true;
    return link->talk.step == MILTER_STEP_END;
}

/* How long the milter may take for what it owes now; 0: nothing. */
static uint64_t owed_ms(const struct milter_link *link)
{
    const struct milter_times *times = &link->service->conf->times;

    if (link->is_held)
        return 0; /* it is we who are slow */
    if (is_content_due(link) || stream_unsent(link->stream) != 0 || link->wants_more)
        return times->content_ms;
    return milter_talk_is_due(&link->talk) ? times->command_ms : 0;
}

/* Something has moved. */
static void renew_deadline(struct milter_link *link)
{
    struct loop *loop = link->service->loop;
    uint64_t owed = owed_ms(link);

    assert(link->state == MILTER_LINK_OPEN);
    if (owed == 0)
        deadline_clear(loop, &link->deadline);
    else
        deadline_set(loop, &link->deadline, loop_now_ms(loop) + owed);
}

/* ---- sending ---- */

static void write_out(struct milter_link *link)
{
    struct bytes out = buf_bytes(&link->talk.out);

    if (link->state == MILTER_LINK_OPEN && out.len != 0)
        buf_consume(&link->talk.out, stream_write(link->stream, &out, 1));
}

/* What comes in one turn leaves in one write. */
static void on_post(void *owner)
{
    struct milter_link *link = owner;

    write_out(link);
    renew_deadline(link);
}

static void write_later(struct milter_link *link)
{
    loop_post(link->service->loop, &link->post, on_post, link);
}

/* ---- ending ---- */

static void free_link(struct milter_link *link)
{
    milter_talk_done(&link->talk);
    buf_done(&link->held);
    mem_free(link);
}

/* One of its streams, perhaps to an address that was given up. */
static void on_closed(void *owner)
{
    struct milter_link *link = owner;

    link->streams--;
    if (link->state == MILTER_LINK_CLOSED && link->streams == 0)
        free_link(link);
}

void milter_link_close(struct milter_link *link)
{
    struct loop *loop = link->service->loop;

    assert(link->state != MILTER_LINK_CLOSED);
    milter_talk_quit(&link->talk);
    write_out(link);
    link->state = MILTER_LINK_CLOSED;
    deadline_clear(loop, &link->deadline);
    loop_unpost(loop, &link->post);
    milter_dial_stop(&link->dial);
    if (link->stream != NULL)
        stream_close(link->stream);
    if (link->streams == 0)
        free_link(link);
}

static void fail(struct milter_link *link, const char *problem)
{
    const struct milter_link_events *events = link->events;
    void *owner = link->owner;

    milter_link_close(link);
    events->failed(owner, problem);
}

/* ---- what comes of it ---- */

static bool is_alive(const struct milter_link *link)
{
    return link->state != MILTER_LINK_CLOSED;
}

static void hold(struct milter_link *link, struct bytes piece)
{
    link->is_held = true;
    buf_put(&link->held, piece);
    if (link->held.has_failed)
        fail(link, "no memory");
}

static void give_edit(struct milter_link *link, const struct filter_edit *edit)
{
    if (!link->events->edit(link->owner, edit))
        hold(link, edit->value);
}

/* The link may be closed after this. */
static void perform(struct milter_link *link, const struct milter_talk_event *event)
{
    switch (event->kind) {
    case MILTER_TALK_MORE:
    case MILTER_TALK_PROGRESS:
        return;
    case MILTER_TALK_READY:
        link->events->agreed(link->owner, link, event->bits);
        return;
    case MILTER_TALK_EDIT:
        give_edit(link, &event->edit);
        return;
    case MILTER_TALK_IGNORED:
        link->events->ignored(link->owner, event->edit.kind);
        return;
    case MILTER_TALK_VERDICT:
        link->events->verdict(link->owner, &event->verdict);
        return;
    case MILTER_TALK_FAILED:
        fail(link, event->problem);
        return;
    }
}

/* Takes octets off `*in`. What needs no answer waits until something does. */
static void drain(struct milter_link *link, struct bytes *in)
{
    struct milter_talk_event event = {.kind = MILTER_TALK_PROGRESS};

    while (event.kind != MILTER_TALK_MORE && is_alive(link) && !link->is_held) {
        milter_talk_take(&link->talk, in, &event);
        perform(link, &event);
    }
    if (link->state != MILTER_LINK_OPEN)
        return;
    if (link->talk.step != MILTER_STEP_NONE || buf_length(&link->talk.out) > HELD_MAX)
        write_out(link);
    renew_deadline(link);
}

/* ---- the stream ---- */

/* The link is there until the stream has closed. */
static size_t on_bytes(void *owner, struct bytes in)
{
    struct milter_link *link = owner;
    struct bytes rest = in;

    drain(link, &rest);
    if (link->state == MILTER_LINK_OPEN && milter_talk_is_due(&link->talk) &&
        link->to.address.family != NETADDR_NONE)
        stream_acknowledge(link->stream); /* libmilter sends each answer by itself */
    return is_alive(link) ? in.len - rest.len : in.len;
}

static bool has_room(const struct milter_link *link)
{
    return buf_length(&link->talk.out) + stream_unsent(link->stream) < UNDER_WAY_MAX;
}

static void on_room(void *owner)
{
    struct milter_link *link = owner;
    bool is_wanted = link->wants_more;

    write_out(link);
    link->wants_more = is_wanted && !has_room(link);
    renew_deadline(link);
    if (is_wanted && !link->wants_more)
        link->events->more(link->owner);
}

static void on_eof(void *owner)
{
    fail(owner, "connection closed by the milter");
}

static void on_failed(void *owner, int error)
{
    (void)error;
    fail(owner, "connection lost");
}

/* ---- dialling ---- */

static bool dial(struct milter_link *link);

/* The address that is being tried cannot be reached. */
static void give_up_address(struct milter_link *link, int error)
{
    if (link->stream != NULL) {
        link->events->unreached(link->owner, link, error);
        stream_close(link->stream);
        link->stream = NULL;
    }
    milter_dial_stop(&link->dial);
    if (!dial(link))
        fail(link, "no connection");
}

static void on_connected(void *owner, int error)
{
    struct milter_link *link = owner;

    if (error != 0) {
        give_up_address(link, error);
        return;
    }
    link->state = MILTER_LINK_OPEN;
    write_out(link);
    renew_deadline(link);
}

static const struct stream_events stream_events = {.connected = on_connected,
                                                   .bytes = on_bytes,
                                                   .room = on_room,
                                                   .eof = on_eof,
                                                   .failed = on_failed,
                                                   .closed = on_closed};

/* False: no address is left. */
static bool dial(struct milter_link *link)
{
    struct loop *loop = link->service->loop;
    enum milter_dial_step step;
    int error;

    assert(link->state == MILTER_LINK_DIALLING && link->stream == NULL);
    while ((step = milter_dial_next(&link->dial, &link->to)) == MILTER_DIAL_ADDRESS) {
        link->stream = stream_connect(loop, &link->to, &stream_events, link, &error);
        if (link->stream != NULL)
            break;
        link->events->unreached(link->owner, link, error);
    }
    if (step == MILTER_DIAL_OVER)
        return false;
    link->streams += step == MILTER_DIAL_ADDRESS;
    deadline_set(loop, &link->deadline, loop_now_ms(loop) + link->service->conf->times.connect_ms);
    return true;
}

static void on_dial_ready(void *owner)
{
    struct milter_link *link = owner;

    if (!dial(link))
        fail(link, "no connection");
}

static void on_deadline(struct deadline *deadline)
{
    struct milter_link *link = CONTAINER_OF(deadline, struct milter_link, deadline);

    if (link->state == MILTER_LINK_DIALLING)
        give_up_address(link, ERR_TIMEOUT);
    else
        fail(link, "timeout");
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

struct milter_link *milter_link_open(const struct milter_service *service,
                                     const struct milter_link_events *events, void *owner)
{
    struct loop_pools *pools = loop_pools(service->loop);
    struct milter_link *link = mem_zalloc(sizeof(*link));

    if (link == NULL)
        return NULL;
    link->service = service;
    link->events = events;
    link->owner = owner;
    deadline_init(&link->deadline, &deadline_use);
    buf_init(&link->held, &pools->medium, MILTER_PACKET_MAX);
    milter_talk_init(&link->talk, &service->conf->choice, &pools->small, &pools->medium);
    milter_talk_begin(&link->talk);
    milter_dial_init(&link->dial, service->dns, &service->conf->addresses, service->paths,
                     on_dial_ready, link);
    if (dial(link))
        return link;
    free_link(link);
    return NULL;
}

/* ---- questions and content ---- */

void milter_link_ask(struct milter_link *link, enum session_stage stage,
                     const struct milter_about *about)
{
    struct bytes none = {NULL, 0};

    milter_talk_ask(&link->talk, stage, about);
    drain(link, &none);
}

/* Legal while the link is open: content comes when DATA was answered. */
static bool make_room(struct milter_link *link)
{
    assert(link->state == MILTER_LINK_OPEN);
    if (!has_room(link))
        write_out(link);
    link->wants_more = !has_room(link);
    if (link->wants_more)
        renew_deadline(link);
    return !link->wants_more;
}

bool milter_link_field(struct milter_link *link, struct bytes field)
{
    if (!make_room(link))
        return false;
    milter_talk_field(&link->talk, field);
    write_later(link);
    return true;
}

bool milter_link_body(struct milter_link *link, struct bytes piece)
{
    if (!make_room(link))
        return false;
    milter_talk_body(&link->talk, piece);
    write_later(link);
    return true;
}

void milter_link_go_on(struct milter_link *link)
{
    struct filter_edit edit = {.kind = FILTER_REPLACE_BODY, .value = buf_bytes(&link->held)};

    if (!link->is_held || !link->events->edit(link->owner, &edit))
        return;
    buf_done(&link->held);
    link->is_held = false;
    renew_deadline(link);
    stream_resume(link->stream);
}

void milter_link_end_message(struct milter_link *link)
{
    bool was_held = link->is_held;

    milter_talk_end_message(&link->talk);
    buf_done(&link->held);
    link->is_held = link->wants_more = false;
    if (link->state == MILTER_LINK_OPEN)
        write_later(link);
    if (was_held)
        stream_resume(link->stream);
}

void milter_link_put_address(const struct stream_target *to, struct buf *out)
{
    char text[NETADDR_TEXT_MAX];

    if (to->address.family == NETADDR_NONE)
        buf_cat(out, "unix:", to->unix_path, NULL);
    else
        buf_text(out, netaddr_text_with_port(&to->address, text));
}
