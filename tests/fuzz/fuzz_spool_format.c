/* SPDX-License-Identifier: BSD-2-Clause */
/* Spool files: reading stays within what is there, cutting a file loses only what was cut off, a
 * bit that flips is seen, and what was read is written and read again the same. */
#include "spool/spool_format.h"

#include "tests/fuzz/pieces.h"

#include "proxy/base/error.h"
#include "spool/spool_format_private.h"

#define RECORDS_LIMIT (1U << 24)

/* Gives the first block and all records the sums that let them be read at all. */
static void sign(uint8_t *file, size_t len)
{
    struct spool_head head;
    size_t at = SPOOL_HEAD_BYTES;

    memcpy(file, SPOOL_MAGIC, SPOOL_MAGIC_BYTES);
    spool_store_number(file + HEAD_VERSION, SPOOL_VERSION, 4);
    spool_store_number(file + HEAD_SUM, hash_chain(0, bytes_make(file, HEAD_SUM)), 8);
    if (spool_head_parse(bytes_make(file, len), &head) != 0)
        return;
    while (len - at >= RECORD_HEAD_BYTES) {
        uint64_t whole =
            RECORD_HEAD_BYTES + ((spool_load_number(file + at + RECORD_LENGTH, 4) + 7) & ~7U);
        if (whole > len - at)
            return;
        uint64_t offset = spool_records_at(&head) + at - SPOOL_HEAD_BYTES;
        spool_store_number(
            file + at, spool_record_sum(&head.id, offset, bytes_make(file + at, (size_t)whole)), 8);
        at += (size_t)whole;
    }
}

/* The message as its first records would have it. */
static void write_again(const struct spool_message *m, struct buf *out)
{
    struct spool_writer writer = {.id = m->head.id, .at = spool_records_at(&m->head), .out = out};

    spool_put_message(&writer, m);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        spool_put_recipient(&writer, &m->recipients[i]);
    spool_put_session(&writer, &m->envelope.session);
    PIECES_MUST(!out->has_failed && buf_length(out) % 8 == 0);
}

static void check_again(const struct spool_message *m, struct pool *pool, struct arena *arena)
{
    struct spool_message same;
    struct buf first, second;

    buf_init(&first, pool, RECORDS_LIMIT);
    buf_init(&second, pool, RECORDS_LIMIT);
    write_again(m, &first);
    PIECES_MUST(spool_message_parse(&m->head, buf_bytes(&first), arena, &same) == 0);
    PIECES_MUST(same.records_end == spool_records_at(&m->head) + buf_length(&first));
    write_again(&same, &second);
    PIECES_MUST(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    buf_done(&first);
    buf_done(&second);
}

/* What is left of the file ends at a record that the whole file has too. */
static void check_cut(const struct spool_message *whole, struct bytes records, size_t cut,
                      struct arena *arena)
{
    uint64_t start = spool_records_at(&whole->head);
    struct spool_message part, again;
    uint8_t *block = malloc(cut + 1);

    PIECES_MUST(block != NULL);
    memcpy(block, records.at, cut);
    if (spool_message_parse(&whole->head, bytes_make(block, cut), arena, &part) == 0) {
        PIECES_MUST(part.records_end <= whole->records_end && part.records_end - start <= cut);
        PIECES_MUST(spool_message_parse(&whole->head,
                                        bytes_first(records, (size_t)(part.records_end - start)),
                                        arena, &again) == 0);
        PIECES_MUST(again.records_end == part.records_end);
    } else {
        PIECES_MUST(cut < whole->records_end - start);
    }
    free(block);
}

/* A bit that flips is seen: nothing from its record on is believed. */
static void check_flip(const struct spool_message *whole, struct bytes records, size_t at,
                       struct arena *arena)
{
    uint64_t start = spool_records_at(&whole->head);
    struct spool_message part;
    uint8_t *block;

    if (at >= whole->records_end - start)
        return;
    block = malloc(records.len);
    PIECES_MUST(block != NULL);
    memcpy(block, records.at, records.len);
    block[at] ^= (uint8_t)(1U << at % 8);
    int error = spool_message_parse(&whole->head, bytes_make(block, records.len), arena, &part);
    PIECES_MUST(error == ERR_SYNTAX ||
                (error == 0 && part.has_torn_end && part.records_end - start <= at));
    free(block);
}

static void read_file(struct bytes file, size_t cut, bool is_signed)
{
    struct bytes records = bytes_skip(file, SPOOL_HEAD_BYTES);
    struct spool_message message;
    struct spool_head head;
    struct pool pool;
    struct arena arena;
    int error = spool_head_parse(file, &head);

    if (error != 0) {
        PIECES_MUST(error == ERR_SYNTAX || error == ERR_RANGE);
        return;
    }
    pool_init(&pool, 4096, 4);
    arena_init(&arena, &pool, SIZE_MAX);
    error = spool_message_parse(&head, records, &arena, &message);
    PIECES_MUST(error == 0 || error == ERR_SYNTAX);
    PIECES_MUST(arena.total_bytes <= 8 * file.len + 65536);
    if (error == 0) {
        PIECES_MUST(message.records_end % 8 == 0);
        PIECES_MUST(message.records_end - spool_records_at(&head) <= records.len);
        PIECES_MUST(message.recipient_count > 0);
        check_again(&message, &pool, &arena);
        if (is_signed) {
            check_cut(&message, records, cut < records.len ? cut : records.len, &arena);
            check_flip(&message, records, cut, &arena);
        }
    }
    arena_reset(&arena);
    pool_done(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two octets say where to cut and which octet to damage, the rest is a file without its body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *file;
    size_t len = size - 2;

    if (size < 2 + SPOOL_HEAD_BYTES)
        return 0;
    file = malloc(len);
    PIECES_MUST(file != NULL);
    memcpy(file, data + 2, len);
    read_file(bytes_make(file, len), 0, false);
    sign(file, len);
    read_file(bytes_make(file, len), data[0] + 256U * data[1], true);
    free(file);
    return 0;
}
