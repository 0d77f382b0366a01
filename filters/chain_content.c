/* SPDX-License-Identifier: BSD-2-Clause */
/* Shows the message to filters, to each at its own pace. */
#include "filters/chain_private.h"

#include "proxy/base/error.h"
#include "proxy/smtp/header.h"

static bool reads(const struct seat *s)
{
    const struct filter_ops *ops = chain_filter(s)->ops;
    return ops->field != NULL || ops->body != NULL;
}

bool chain_has_seen_all(const struct seat *s)
{
    return s->feed.is_over || (s->feed.is_open && chain_is_through(s));
}

/* ---- one filter ---- */

/* False: it has no room. */
static bool give(struct seat *s, enum header_part kind, struct bytes part)
{
    const struct filter_ops *ops = chain_filter(s)->ops;
    bool (*look)(struct filter_seat *, struct bytes) =
        kind == HEADER_PART_FIELD ? ops->field : ops->body;

    return look == NULL || look(&s->seat, part);
}

static bool give_field(struct seat *s, struct bytes field)
{
    bool is_taken = give(s, HEADER_PART_FIELD, field);

    s->feed.field = is_taken ? bytes_make(NULL, 0) : field;
    return is_taken;
}

/* Octets of the message go into the splitter, and what it makes of them to the filter. Returns how
 * many are done with. */
static size_t split(struct seat *s, struct bytes octets)
{
    struct bytes rest = octets, part;
    enum header_part kind;

    while (!s->feed.is_full &&
           (kind = header_splitter_take(&s->feed.splitter, &rest, &part)) != HEADER_PART_NONE) {
        bool is_taken = kind == HEADER_PART_FIELD ? give_field(s, part) : give(s, kind, part);
        s->feed.is_full = !is_taken;
        if (!is_taken && kind == HEADER_PART_BODY)
            return octets.len - part.len; /* the end of them; it is shown again */
    }
    return octets.len - rest.len;
}

/* The header as it stands in the copy is kept for the first who may edit it. */
static bool keeps_header(const struct seat *s)
{
    const struct chain_walk *w = s->walk;
    return !w->has_header && s == &w->seats[w->shown - 1] &&
           (chain_edits_of(s) & FILTER_EDITS_CONTENT) != 0;
}

/* Line by line, since the empty line and what follows is no part of it. `place`: of the first
 * octet. */
static void keep_header(struct chain_walk *w, enum header_place place, struct bytes octets)
{
    struct bytes rest = octets;

    while (rest.len > 0 &&
           (place == HEADER_IN_LINE || (place == HEADER_AT_LINE_START && rest.at[0] != '\r'))) {
        size_t len = bytes_find(rest, '\n');
        place = len < rest.len ? HEADER_AT_LINE_START : HEADER_IN_LINE;
        rest = bytes_skip(rest, len < rest.len ? len + 1 : len);
    }
    w->header_bytes += octets.len - rest.len;
    buf_put(&w->header, bytes_first(octets, octets.len - rest.len));
}

static void feed_lines(struct seat *s)
{
    struct feed *f = &s->feed;

    f->lines_at += split(s, bytes_skip(f->view.lines, f->lines_at));
}

/* A range that would continue our lines has no header: the empty line goes between. False: there is
 * no room for what that brings. */
static bool see_start(struct seat *s, struct bytes first)
{
    struct feed *f = &s->feed;
    struct bytes empty_line = bytes_of("\r\n");

    if (f->view.lines.len == 0 || !header_would_continue(first))
        empty_line.len = 0;
    f->has_seen_start = split(s, empty_line) == empty_line.len;
    return f->has_seen_start;
}

/* False: nothing more can be given now. */
static bool feed_piece(struct seat *s)
{
    struct feed *f = &s->feed;
    struct bytes piece;

    if (reader_pieces(&f->reader, &piece, 1) == 0)
        return false;
    if (!f->has_seen_start && !see_start(s, piece))
        return false;
    enum header_place place = f->splitter.place;
    size_t used = split(s, piece);
    if (keeps_header(s))
        keep_header(s->walk, place, bytes_first(piece, used));
    reader_advance(&f->reader, used);
    return used != 0;
}

static void end_feed(struct seat *s)
{
    struct feed *f = &s->feed;
    struct bytes part;

    if (header_splitter_end(&f->splitter, &part) == HEADER_PART_FIELD)
        f->is_full = !give_field(s, part);
    f->is_over = !f->is_full;
}

static bool is_at_end(const struct feed *f, const struct chain_walk *w)
{
    return w->is_whole && f->lines_at == f->view.lines.len && reader_left(&f->reader) == 0;
}

/* As far as the filter has room and the message is there. */
static void feed(struct seat *s)
{
    struct feed *f = &s->feed;

    if (!f->is_open || f->is_over || f->is_full || chain_is_through(s) || chain_is_spared(s))
        return;
    if (f->field.len != 0)
        f->is_full = !give_field(s, f->field);
    if (!f->is_full && f->lines_at < f->view.lines.len)
        feed_lines(s);
    while (!f->is_full && f->lines_at == f->view.lines.len && feed_piece(s))
        ;
    if (!f->is_full && is_at_end(f, s->walk))
        end_feed(s);
}

/* What waits for the filter to see it all goes on. The walk may be gone after this. */
static void feed_on(struct seat *s)
{
    feed(s);
    if (s->feed.is_over && chain_is_asked(s->walk))
        chain_advance(s->walk);
}

static void more(struct reader *reader)
{
    feed_on(CONTAINER_OF(reader, struct seat, feed.reader));
}

void filter_more(struct filter_seat *seat)
{
    struct seat *s = chain_seat(seat);

    s->feed.is_full = false;
    feed_on(s);
}

/* ---- all filters ---- */

int chain_include_lines(struct chain_walk *w, size_t count)
{
    for (; w->included < count; w->included++) {
        struct bytes lines = chain_lines_of(&w->seats[w->included]), old = w->view.lines;
        if (lines.len == 0)
            continue;
        uint8_t *all = arena_alloc(&w->message, lines.len + old.len);
        if (all == NULL)
            return ERR_MEMORY;
        memcpy(all, lines.at, lines.len);
        if (old.len != 0)
            memcpy(all + lines.len, old.at, old.len);
        w->view.lines = bytes_make(all, lines.len + old.len);
        w->view.above += lines.len;
    }
    return 0;
}

static void open_feed(struct seat *s)
{
    struct feed *f = &s->feed;
    struct chain_walk *w = s->walk;

    if (chain_include_lines(w, (size_t)(s - w->seats)) != 0)
        s->of_message.refusal = reply_own(REPLY_LOCAL_PROBLEM);
    header_splitter_init(&f->splitter, &loop_pools(w->loop)->medium, FILTER_FIELD_MAX);
    f->view = w->view;
    f->is_open = true;
    f->is_over = !reads(s) && !keeps_header(s);
    if (f->is_over)
        return;
    reader_open(&f->reader, w->copy, more);
    reader_set_range(&f->reader, w->view.at, w->view.end);
}

void chain_show_next(struct chain_walk *w)
{
    bool may_edit = false;

    while (w->shown < w->chain->count && !may_edit) {
        struct seat *s = &w->seats[w->shown++];
        may_edit = (chain_edits_of(s) & FILTER_EDITS_CONTENT) != 0;
        open_feed(s);
        feed(s);
    }
}

void chain_show(struct chain_walk *w, struct copy *copy, const struct view *view,
                uint64_t body_max_bytes)
{
    assert(w->envelope != NULL && w->copy == NULL);
    w->copy = copy;
    w->view = *view;
    w->body_max_bytes = body_max_bytes;
    buf_init(&w->header, &loop_pools(w->loop)->medium, VIEW_LINES_MAX);
    chain_show_next(w);
}

void chain_flush(struct chain_walk *w)
{
    for (size_t i = 0; i < w->shown; i++)
        feed(&w->seats[i]);
}

void chain_whole(struct chain_walk *w)
{
    if (w->copy == NULL)
        return;
    w->is_whole = true;
    chain_flush(w);
}

void chain_hide(struct chain_walk *w)
{
    assert(w->question.stage != SESSION_STAGE_END);
    chain_content_ended(w);
}

void chain_content_ended(struct chain_walk *w)
{
    if (w->copy == NULL)
        return;
    for (size_t i = 0; i < w->shown; i++) {
        struct feed *f = &w->seats[i].feed;
        reader_close(&f->reader);
        header_splitter_done(&f->splitter);
        *f = (struct feed){.is_open = false};
    }
    loop_unpost(w->loop, &w->post);
    buf_done(&w->header);
    w->copy = NULL;
    w->shown = w->included = 0;
    w->header_bytes = 0;
    w->has_header = w->is_whole = false;
}
