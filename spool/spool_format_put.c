/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing the first block and the records. */
#include <assert.h>

#include "spool/spool_format.h"

#include "spool/spool_format_private.h"

/* ---- contents ---- */

void spool_add_number(struct buf *out, uint64_t number, size_t octets)
{
    uint8_t at[8];

    assert(octets <= sizeof(at));
    spool_store_number(at, number, octets);
    buf_put(out, bytes_make(at, octets));
}

void spool_add_text(struct buf *out, struct bytes text)
{
    spool_add_number(out, text.len, 4);
    buf_put(out, text);
}

void spool_add_address(struct buf *out, const struct address *address)
{
    spool_add_number(out,
                     (address->is_literal ? ADDRESS_IS_LITERAL : 0u) |
                         (address->keeps_case ? ADDRESS_KEEPS_CASE : 0u) |
                         (address->keeps_dots ? ADDRESS_KEEPS_DOTS : 0u),
                     1);
    spool_add_text(out, address->local);
    spool_add_text(out, address->domain);
}

void spool_add_tries(struct buf *out, const struct spool_recipient *s)
{
    spool_add_number(out, s->fate, 1);
    spool_add_number(out,
                     (s->may_be_duplicate ? RECIPIENT_MAY_BE_DUPLICATE : 0u) |
                         (s->is_relayed ? RECIPIENT_IS_RELAYED : 0u) |
                         (s->is_delivered ? RECIPIENT_IS_DELIVERED : 0u) |
                         (s->is_reported ? RECIPIENT_IS_REPORTED : 0u) |
                         (s->is_warned ? RECIPIENT_IS_WARNED : 0u) |
                         (s->is_unverified ? RECIPIENT_IS_UNVERIFIED : 0u),
                     1);
    spool_add_number(out, s->tries, 4);
    spool_add_number(out, (uint64_t)s->tried_ms, 8);
}

/* ---- the first block ---- */

void spool_head_put(const struct spool_head *head, uint8_t block_out[SPOOL_HEAD_BYTES])
{
    memset(block_out, 0, SPOOL_HEAD_BYTES);
    memcpy(block_out + HEAD_MAGIC, SPOOL_MAGIC, SPOOL_MAGIC_BYTES);
    spool_store_number(block_out + HEAD_VERSION, head->is_version_2 ? SPOOL_VERSION : 1, 4);
    memcpy(block_out + HEAD_ID, head->id.text, ID_LENGTH);
    spool_store_number(block_out + HEAD_BODY_BYTES, head->body_bytes, 8);
    spool_store_number(block_out + HEAD_BODY_SUM, head->body_sum, 8);
    spool_store_number(block_out + HEAD_SUM, hash_chain(0, bytes_make(block_out, HEAD_SUM)), 8);
}

/* ---- records ---- */

/* Room for what stands before the content of a record; returns where it begins in `out`. */
static size_t begin(struct spool_writer *writer)
{
    static const uint8_t nothing[RECORD_HEAD_BYTES];
    size_t start = buf_length(writer->out);

    assert(writer->out->has_failed || (writer->at + start) % 8 == 0);
    buf_put(writer->out, bytes_make(nothing, sizeof(nothing)));
    return start;
}

/* Fills the record up to a multiple of eight, and writes its head. */
static void end(struct spool_writer *writer, size_t start, enum record_type type)
{
    static const uint8_t nothing[8];
    size_t content = buf_length(writer->out) - start - RECORD_HEAD_BYTES;

    buf_put(writer->out, bytes_make(nothing, (8 - content % 8) % 8));
    if (writer->out->has_failed)
        return;

    size_t whole = buf_length(writer->out) - start;
    uint8_t *at = writer->out->block + writer->out->start + start;
    spool_store_number(at + RECORD_LENGTH, content, 4);
    spool_store_number(at + RECORD_TYPE, type, 2);
    spool_store_number(at + RECORD_FOLLOWS, start == 0 ? 0 : 1, 2);
    spool_store_number(at + RECORD_SUM,
                       spool_record_sum(&writer->id, writer->at + start, bytes_make(at, whole)), 8);
}

static void put_netaddr(struct buf *out, const struct netaddr *address)
{
    spool_add_number(out, address->family, 1);
    spool_add_number(out, address->port, 2);
    buf_put(out, bytes_make(address->octets, sizeof(address->octets)));
}

static void put_identity(struct buf *out, const struct identity *who)
{
    put_netaddr(out, &who->client);
    put_netaddr(out, &who->local);
    spool_add_number(out, who->name_state, 1);
    spool_add_number(out,
                     (who->is_lmtp    ? 2U
                      : who->is_esmtp ? 1U
                                      : 0U) |
                         (who->is_secured ? SPOOL_PROTOCOL_TLS : 0U),
                     1);
    spool_add_text(out, who->name);
    spool_add_text(out, who->reverse_name);
    spool_add_text(out, who->helo);
}

/* What who was in front has said of the client; postern 0.1 did not know of it at first. */
static void put_asserted(struct buf *out, const struct identity *who)
{
    spool_add_text(out, who->login);
    spool_add_text(out, who->reference);
    spool_add_number(out, who->hops_left, 1);
}

static void put_origin(struct buf *out, const struct identity *who)
{
    put_identity(out, who);
    spool_add_text(out, who->reference);
    spool_add_text(out, who->protocol);
    spool_add_number(out, who->is_local ? 1 : 0, 1);
}

static void put_view(struct spool_writer *writer, uint32_t number, const struct view *view,
                     bool is_in_front)
{
    struct buf *out = writer->out;
    size_t start = begin(writer);

    spool_add_number(out, number, 4);
    spool_add_number(out, is_in_front ? VIEW_IS_IN_FRONT : 0, 4);
    spool_add_number(out, view->at, 8);
    spool_add_number(out, view->end, 8);
    spool_add_number(out, view->above, 4);
    spool_add_text(out, view->lines);
    end(writer, start, RECORD_VIEW);
}

/* Fields in front of a message that is whole stand in the MESSAGE, as ever. */
static void put_message(struct spool_writer *writer, const struct spool_message *m)
{
    struct buf *out = writer->out;
    size_t start = begin(writer);

    spool_add_number(out, m->recipient_count, 4);
    spool_add_number(out,
                     (m->is_held ? MESSAGE_IS_HELD : 0u) | (m->is_report ? MESSAGE_IS_REPORT : 0u) |
                         (m->envelope.is_8bit ? MESSAGE_IS_8BIT : 0u) |
                         (m->envelope.is_dsn ? MESSAGE_IS_DSN : 0u) |
                         (m->envelope.is_binary ? MESSAGE_IS_BINARY : 0u),
                     4);
    spool_add_number(out, (uint64_t)m->arrived_ms, 8);
    spool_add_number(out, m->envelope.size_bytes, 8);
    buf_put(out, bytes_make(m->envelope.id.text, ID_LENGTH));
    spool_add_address(out, &m->envelope.from);
    spool_add_text(out, m->envelope.params);
    put_identity(out, &m->client);
    spool_add_text(out, m->listener);
    spool_add_text(out, m->hostname);
    put_asserted(out, &m->client);
    spool_add_text(out, view_is_whole(&m->view) ? m->view.lines : bytes_make(NULL, 0));
    if (m->has_origin)
        put_origin(out, &m->origin);
    end(writer, start, RECORD_MESSAGE);
}

void spool_put_message(struct spool_writer *writer, const struct spool_message *m)
{
    put_message(writer, m);
    if (m->is_held)
        spool_put_hold(writer, m);
    if (!view_is_whole(&m->view))
        put_view(writer, 0, &m->view, false);
    for (uint32_t i = 0; i < m->view_count; i++)
        put_view(writer, i + 1, &m->views[i].view, m->views[i].is_in_front);
}

bool spool_is_version_2(struct bytes records)
{
    assert(records.len > RECORD_HEAD_BYTES);
    uint64_t content = spool_load_number(records.at + RECORD_LENGTH, 4);
    struct bytes second = bytes_skip(records, (size_t)(RECORD_HEAD_BYTES + ((content + 7) & ~7U)));

    return (spool_load_number(records.at + RECORD_HEAD_BYTES + MESSAGE_BITS_AT, 4) &
            MESSAGE_IS_BINARY) != 0 ||
           (second.len > RECORD_HEAD_BYTES &&
            spool_load_number(second.at + RECORD_TYPE, 2) != RECORD_RECIPIENT);
}

/* What changes with each try. */
static void put_state(struct buf *out, const struct spool_recipient *s)
{
    spool_add_tries(out, s);
    spool_add_text(out, s->reply);
    spool_add_text(out, s->remote);
}

static void put_way(struct buf *out, const struct spool_recipient *s)
{
    spool_add_address(out, &s->to);
    spool_add_text(out, s->target);
}

/* The records of older files end before it. */
static void put_mailbox(struct buf *out, const struct spool_recipient *s)
{
    spool_add_number(out, s->to.mailbox, 8);
}

void spool_put_recipient(struct spool_writer *writer, const struct spool_recipient *s)
{
    size_t start = begin(writer);

    spool_add_address(writer->out, &s->original);
    put_way(writer->out, s);
    spool_add_text(writer->out, s->params);
    spool_add_number(writer->out, s->identity, 4);
    put_state(writer->out, s);
    spool_add_text(writer->out, bytes_make(NULL, 0)); /* see take_own_lines() */
    spool_add_number(writer->out, s->view, 4);
    put_mailbox(writer->out, s);
    end(writer, start, RECORD_RECIPIENT);
}

/* A record of its own, since a MESSAGE without an origin has no end that could be longer. */
void spool_put_session(struct spool_writer *writer, const struct id *session)
{
    if (session->text[0] == '\0')
        return;
    size_t start = begin(writer);
    buf_put(writer->out, bytes_make(session->text, ID_LENGTH));
    end(writer, start, RECORD_SESSION);
}

void spool_put_outcome(struct spool_writer *writer, uint32_t index, const struct spool_recipient *s)
{
    size_t start = begin(writer);

    spool_add_number(writer->out, index, 4);
    put_state(writer->out, s);
    end(writer, start, RECORD_OUTCOME);
}

static void put_index(struct spool_writer *writer, uint32_t index, enum record_type type)
{
    size_t start = begin(writer);

    spool_add_number(writer->out, index, 4);
    end(writer, start, type);
}

void spool_put_reported(struct spool_writer *writer, uint32_t index)
{
    put_index(writer, index, RECORD_REPORTED);
}

void spool_put_warned(struct spool_writer *writer, uint32_t index)
{
    put_index(writer, index, RECORD_WARNED);
}

void spool_put_rerouted(struct spool_writer *writer, uint32_t index,
                        const struct spool_recipient *s)
{
    size_t start = begin(writer);

    spool_add_number(writer->out, index, 4);
    put_way(writer->out, s);
    put_mailbox(writer->out, s);
    end(writer, start, RECORD_REROUTED);
}

void spool_put_hold(struct spool_writer *writer, const struct spool_message *m)
{
    size_t start = begin(writer);

    spool_add_number(writer->out, m->is_held ? 1 : 0, 1);
    if (m->is_held) {
        spool_add_number(writer->out, m->hold.by, 1);
        spool_add_number(writer->out, (uint64_t)m->hold.since_ms, 8);
        spool_add_text(writer->out, m->hold.reason);
    }
    end(writer, start, RECORD_HOLD);
}
