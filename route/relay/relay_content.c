/* SPDX-License-Identifier: BSD-2-Clause */
/* From the copy to the wire: framing, stuffing of dots. */
#include "route/relay/relay_content.h"

#include <assert.h>

#include "proxy/io/stream.h"
#include "proxy/smtp/outbound.h"
#include "proxy/smtp/transaction.h"

/* What goes out in one write: commands, content, and the end of data, in this order. */
struct wire {
    struct bytes runs[STREAM_PIECES_MAX];
    int count;
    int content_at, content_count; /* among the runs */
    size_t commands, total;        /* octets */
    size_t tail;                   /* of the whole final dot; 0: it is not among them */
};

void relay_content_init(struct relay_content *content, struct branch *branch, struct copy *copy,
                        void (*more)(struct reader *reader))
{
    content->branch = branch;
    if (copy != NULL)
        outgoing_open(&content->message, branch, copy, more);
}

void relay_content_reset(struct relay_content *content)
{
    if (outgoing_is_open(&content->message))
        outgoing_rewind(&content->message, bytes_make(NULL, 0));
    *content = (struct relay_content){.message = content->message,
                                      .branch = content->branch,
                                      .is_end_released = content->is_end_released};
}

void relay_content_close(struct relay_content *content)
{
    outgoing_close(&content->message);
    content->is_open = false;
}

void relay_content_open(struct relay_content *content, struct bytes own)
{
    assert(!content->is_open && outgoing_is_open(&content->message));
    outgoing_rewind(&content->message, own);
    content->is_open = true;
}

/* Asks the machine how many octets of content may go. Our own lines wait for the client's. */
static uint64_t frame(struct relay_content *content, struct outbound *out, struct bytes *tail_out)
{
    struct outgoing *message = &content->message;
    bool is_whole = content->is_end_released && copy_is_finished(message->reader.of);
    bool has_any = reader_left(&message->reader) != 0 || is_whole || out->chunk_left != 0;

    if (out->state != OUT_CONTENT || !has_any ||
        message->branch->hold >= TRANSACTION_HOLDS_CONTENT || !outgoing_begin(message))
        return 0;
    return outbound_frame(out, outgoing_left(message), is_whole, tail_out);
}

static void add(struct wire *wire, struct bytes run)
{
    if (run.len == 0)
        return;
    assert(wire->count < STREAM_PIECES_MAX);
    wire->runs[wire->count++] = run;
    wire->total += run.len;
}

/* Adds one piece of content; returns how many of its octets found room. `ahead` walks before what
 * is written. */
static size_t add_content(struct wire *wire, struct dot_stuffer *ahead, struct bytes piece,
                          bool is_stuffed)
{
    int room = STREAM_PIECES_MAX - wire->count;
    size_t covered = 0;

    if (room == 0)
        return 0;
    if (!is_stuffed) {
        add(wire, piece);
        return piece.len;
    }
    struct bytes *runs = wire->runs + wire->count;
    int count = dot_stuff(ahead, piece, runs, room, &covered);
    size_t octets = 0;
    for (int i = 0; i < count; i++)
        octets += runs[i].len;
    dot_stuffer_wrote(ahead, runs, count, octets);
    wire->count += count;
    wire->total += octets;
    return covered;
}

/* Up to `left` octets. True: all of them found room. */
static bool add_pieces(struct wire *wire, struct relay_content *content, uint64_t left,
                       bool is_stuffed)
{
    struct bytes pieces[STREAM_PIECES_MAX];
    struct dot_stuffer ahead = content->stuffer;
    int count = left == 0 ? 0 : outgoing_pieces(&content->message, pieces, STREAM_PIECES_MAX);

    for (int i = 0; i < count && left != 0; i++) {
        size_t most = left < pieces[i].len ? (size_t)left : pieces[i].len;
        size_t covered = add_content(wire, &ahead, bytes_first(pieces[i], most), is_stuffed);
        left -= covered;
        if (covered < most)
            return false;
    }
    return left == 0;
}

static void gather(struct relay_content *content, struct outbound *out, struct wire *wire)
{
    bool has_content = content != NULL && content->is_open;
    struct bytes tail = bytes_make(NULL, 0);
    uint64_t octets = has_content ? frame(content, out, &tail) : 0;

    *wire = (struct wire){.count = 0};
    add(wire, buf_bytes(&out->out));
    wire->commands = wire->total;
    wire->content_at = wire->count;
    if (!has_content)
        return;
    bool is_all = add_pieces(wire, content, octets, out->is_dot_content);
    wire->content_count = wire->count - wire->content_at;
    if (is_all && wire->count < STREAM_PIECES_MAX && tail.len != 0) {
        wire->tail = tail.len;
        add(wire, bytes_skip(tail, content->tail_at));
    }
}

/* `octets` of the wire's are taken by the stream. */
static void account(struct relay_content *content, struct outbound *out, const struct wire *wire,
                    size_t octets)
{
    const struct bytes *runs = wire->runs + wire->content_at;
    size_t of_commands = octets < wire->commands ? octets : wire->commands;
    size_t of_content = 0;

    outbound_said(out, of_commands);
    octets -= of_commands;
    for (int i = 0; i < wire->content_count; i++)
        of_content += runs[i].len;
    if (of_content > octets)
        of_content = octets;
    octets -= of_content;
    if (of_content != 0) {
        size_t decoded = out->is_dot_content ? dot_stuffer_wrote(&content->stuffer, runs,
                                                                 wire->content_count, of_content)
                                             : of_content;
        outgoing_advance(&content->message, decoded);
        outbound_wrote(out, decoded);
    }
    if (wire->tail != 0) {
        content->tail_at += octets;
        if (content->tail_at == wire->tail)
            outbound_ended(out);
    }
}

bool relay_content_pump(struct relay_content *content, struct outbound *out, struct stream *stream)
{
    bool has_written = false;
    struct wire wire;
    size_t taken;

    do {
        gather(content, out, &wire);
        taken = wire.total == 0 ? 0 : stream_write(stream, wire.runs, wire.count);
        if (taken == 0)
            break;
        has_written = true;
        account(content, out, &wire, taken);
        if (content != NULL && out->state == OUT_FINAL)
            content->branch->is_end_sent = true;
    } while (taken == wire.total);
    return has_written;
}
