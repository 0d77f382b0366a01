/* SPDX-License-Identifier: BSD-2-Clause */
/* What filters change in a message. */
#include "filters/chain_private.h"
#include "proxy/smtp/header_field.h"

static const struct bytes empty_line = {.at = (const uint8_t *)"\r\n", .len = 2};

/* ---- while the filter is asked ---- */

static bool has_body(const struct edits *e)
{
    return (e->kinds & FILTER_EDIT(FILTER_REPLACE_BODY)) != 0;
}

/* No edit counts; what the filter answers becomes this refusal. */
static void fail(struct seat *s, enum reply_id id)
{
    s->edit_failure = id;
}

static void append(struct seat *s, struct bytes octets)
{
    if (octets.len == 0)
        return;
    s->edits.body_end += octets.len;
    if (copy_append(s->walk->copy, octets) != 0)
        fail(s, REPLY_LOCAL_PROBLEM);
}

/* The new body stands behind all that the copy has, and the empty line before it, so that it can be
 * read on from any header. */
static void begin_body(struct seat *s)
{
    struct edits *e = &s->edits;

    e->kinds |= FILTER_EDIT(FILTER_REPLACE_BODY);
    e->body_at = e->body_end = copy_length(s->walk->copy);
    append(s, empty_line);
}

static void append_lines(struct seat *s, struct bytes octets)
{
    struct bytes run;

    while (s->edit_failure == REPLY_OK && (run = line_ends_take(&s->edits.ends, &octets)).len > 0)
        append(s, run);
}

/* A part of it, as much as is sure to fit: each octet may become two, and so may one from before.
 * The empty line before the body, and the end of its last line, come on top. */
static size_t part_of(struct bytes octets, size_t room)
{
    size_t most = (room - 2 * empty_line.len) / 2 - 1;

    return octets.len < most ? octets.len : most;
}

/* What there was no room for comes again, with what there was room for. */
static bool append_body(struct seat *s, struct bytes octets)
{
    struct edits *e = &s->edits;
    uint64_t max = s->walk->body_max_bytes;

    octets = bytes_skip(octets, s->feed.appended_bytes);
    if (max != 0 && e->body_end - e->body_at + octets.len > max) {
        fail(s, REPLY_MESSAGE_TOO_BIG);
        return true;
    }
    do {
        size_t room = copy_room(s->walk->copy);
        if (room == 0) {
            s->feed.waits_to_append = true;
            return false;
        }
        if (!has_body(e))
            begin_body(s);
        struct bytes part = bytes_first(octets, part_of(octets, room));
        append_lines(s, part);
        octets = bytes_skip(octets, part.len);
        s->feed.appended_bytes += part.len;
    } while (octets.len > 0 && s->edit_failure == REPLY_OK);
    s->feed.appended_bytes = 0;
    return true;
}

bool filter_edit(struct filter_seat *seat, const struct filter_edit *edit)
{
    struct seat *s = chain_seat(seat);

    assert(s->asking == SESSION_STAGE_END && (seat->edits & FILTER_EDIT(edit->kind)) != 0);
    if (s->walk->copy == NULL || s->edit_failure != REPLY_OK ||
        (chain_edits_of(s) & FILTER_EDIT(edit->kind)) == 0)
        return true; /* a shadow's, or nobody wants it any more */
    if (edit->kind == FILTER_REPLACE_BODY)
        return append_body(s, edit->value);
    if (edits_add(&s->edits, edit) != 0)
        fail(s, REPLY_LOCAL_PROBLEM);
    return true;
}

/* At most one filter waits: the last that is shown the message. */
static void on_room(void *owner)
{
    struct chain_walk *w = owner;
    struct seat *s = &w->seats[w->shown - 1];

    s->feed.waits_to_append = false;
    chain_filter(s)->ops->go_on(&s->seat);
}

void chain_room(struct chain_walk *w)
{
    if (w->shown > 0 && w->seats[w->shown - 1].feed.waits_to_append)
        loop_post(w->loop, &w->post, on_room, w);
}

/* ---- when it has agreed ---- */

/* Of the header in the copy, what are fields. A line that is none ends the header for those who
 * read the message behind us, and so does a fold of nothing: what follows stays with the body. */
static struct bytes fields_of(struct bytes header)
{
    struct bytes rest = header, field;
    size_t len = 0;

    while (field = header_field_take(&rest),
           header_field_name(bytes_first(field, FILTER_FIELD_MAX)).len != 0)
        len += field.len;
    return bytes_first(header, len);
}

/* Is it for the length of the header that it cannot be edited, or for want of memory? */
static enum reply_id why_not(const struct seat *s)
{
    const struct chain_walk *w = s->walk;
    uint64_t most = w->view.lines.len + w->header_bytes + s->edits.bytes;

    return most > VIEW_LINES_MAX ? REPLY_HEADER_TOO_BIG : REPLY_LOCAL_PROBLEM;
}

static enum reply_id change_view(struct seat *s, struct buf *before, struct buf *after)
{
    struct chain_walk *w = s->walk;
    struct bytes fields = w->has_header ? bytes_make(NULL, 0) : fields_of(buf_bytes(&w->header));

    buf_put(before, w->view.lines);
    buf_put(before, fields);
    if (w->header.has_failed || before->has_failed ||
        !edits_put_header(&s->edits, buf_bytes(before), &w->view.above, after))
        return why_not(s);
    if (arena_copy(&w->message, buf_bytes(after), &w->view.lines) != 0)
        return REPLY_LOCAL_PROBLEM;
    w->view.at += fields.len;
    w->has_header = true;
    if (has_body(&s->edits)) {
        append(s, line_ends_finish(&s->edits.ends)); /* its room was kept free */
        w->view.at = s->edits.body_at;
        w->view.end = s->edits.body_end;
    }
    return s->edit_failure;
}

enum reply_id chain_make_edits(struct seat *s)
{
    struct pool *pool = &loop_pools(s->walk->loop)->medium;
    struct buf before, after;

    if (s->walk->copy == NULL || s->edit_failure != REPLY_OK ||
        (s->edits.kinds & FILTER_EDITS_CONTENT) == 0)
        return s->edit_failure;
    buf_init(&before, pool, VIEW_LINES_MAX);
    buf_init(&after, pool, VIEW_LINES_MAX);
    enum reply_id id = change_view(s, &before, &after);
    buf_done(&before);
    buf_done(&after);
    return id;
}

/* ---- for the owner ---- */

uint32_t chain_may_edit(const struct chain_walk *w)
{
    uint32_t kinds = 0;

    for (size_t i = 0; i < w->chain->count; i++)
        kinds |= chain_edits_of(&w->seats[i]);
    return kinds;
}

uint32_t chain_edited(const struct chain_walk *w)
{
    uint32_t kinds = 0;

    for (size_t i = 0; i < w->chain->count; i++)
        kinds |= w->seats[i].edits.kinds;
    return kinds;
}

const struct view *chain_view(const struct chain_walk *w)
{
    return &w->view;
}

void chain_each_edit(const struct chain_walk *w, void (*fn)(void *, const struct filter_edit *),
                     void *owner)
{
    for (size_t i = 0; i < w->chain->count; i++)
        for (const struct edit *e = w->seats[i].edits.first; e != NULL; e = e->next)
            fn(owner, &e->told);
}

bool chain_discards(const struct chain_walk *w)
{
    for (size_t i = 0; i < w->chain->count; i++)
        if (w->seats[i].of_message.discards && !chain_is_spared(&w->seats[i]))
            return true;
    return false;
}
