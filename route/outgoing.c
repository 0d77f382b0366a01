/* SPDX-License-Identifier: BSD-2-Clause */
/* The message as one branch gives it to its target. */
#include "route/outgoing.h"

#include <assert.h>

#include "proxy/smtp/header.h"

_Static_assert(VIEW_TO_END == COPY_END, "an end of a view is one of a range");

void outgoing_open(struct outgoing *out, const struct branch *branch, struct copy *copy,
                   void (*more)(struct reader *reader))
{
    assert(copy_is_whole(copy));
    *out = (struct outgoing){.branch = branch};
    reader_open(&out->reader, copy, more);
}

void outgoing_close(struct outgoing *out)
{
    reader_close(&out->reader);
}

void outgoing_rewind(struct outgoing *out, struct bytes own)
{
    assert(outgoing_is_open(out));
    reader_rewind(&out->reader);
    *out = (struct outgoing){.reader = out->reader, .branch = out->branch, .own = own};
}

static void add_head(struct outgoing *out, struct bytes piece)
{
    if (piece.len == 0)
        return;
    assert(out->head_count < OUTGOING_HEAD_PIECES);
    out->head[out->head_count++] = piece;
    out->head_bytes += piece.len;
}

/* RFC 7208 9.1: what filters found stands above our Received. */
static void take_view(struct outgoing *out)
{
    const struct view *view = transaction_view(out->branch);

    reader_set_range(&out->reader, view->at, view->end);
    add_head(out, transaction_lines(out->branch));
    add_head(out, view_above(view));
    add_head(out, out->own);
    add_head(out, view_below(view));
}

bool outgoing_begin(struct outgoing *out)
{
    struct bytes first = bytes_make(NULL, 0);

    assert(outgoing_is_open(out));
    if (out->has_begun)
        return true;
    if (!out->has_view)
        take_view(out);
    out->has_view = true;
    if (out->head_bytes != 0 && reader_left(&out->reader) != 0 &&
        reader_pieces(&out->reader, &first, 1) == 0)
        return false;
    if (header_would_continue(first))
        add_head(out, bytes_of("\r\n"));
    out->has_begun = true;
    return true;
}

uint64_t outgoing_left(const struct outgoing *out)
{
    assert(out->has_begun);
    return out->head_bytes - out->head_at + reader_left(&out->reader);
}

int outgoing_pieces(struct outgoing *out, struct bytes *pieces, int max)
{
    uint64_t given = out->head_at;
    int count = 0;

    assert(out->has_begun);
    for (int i = 0; i < out->head_count && count < max; i++) {
        if (given < out->head[i].len)
            pieces[count++] = bytes_skip(out->head[i], (size_t)given);
        given -= given < out->head[i].len ? given : out->head[i].len;
    }
    return count < max ? count + reader_pieces(&out->reader, pieces + count, max - count) : count;
}

void outgoing_advance(struct outgoing *out, size_t octets)
{
    uint64_t left = out->head_bytes - out->head_at;
    size_t of_head = octets < left ? octets : (size_t)left;

    out->head_at += of_head;
    if (octets > of_head)
        reader_advance(&out->reader, octets - of_head);
}
