/* SPDX-License-Identifier: BSD-2-Clause */
/* Replies: cutting changes nothing, what is passed on is a reply again, and inserting an enhanced
 * code is done once. */
#include "proxy/smtp/reply.h"

#include "tests/fuzz/pieces.h"

#include "proxy/base/error.h"
#include "proxy/smtp/capability.h"

static size_t count_lines(struct bytes b)
{
    size_t lines = 0;

    for (size_t i = 0; i < b.len; i++)
        lines += b.at[i] == '\n';
    return lines;
}

/* What `r` becomes when it is written so, in memory of the arena. */
static struct reply rewrite(const struct reply *r, uint16_t code, bool wants_enhanced,
                            struct pool *pool, struct arena *arena)
{
    struct reply_parser p;
    struct reply read, copy;
    struct bytes in;
    struct buf out;

    buf_init(&out, pool, 1 << 20);
    reply_put(&out, r, code, wants_enhanced ? REPLY_ENHANCED_ADDED : REPLY_AS_IT_IS);
    PIECES_MUST(!out.has_failed);
    in = buf_bytes(&out);
    PIECES_MUST(pieces_are_lines(in) && count_lines(in) == count_lines(r->wire));
    reply_parser_init(&p, pool);
    if (in.len > REPLY_MAX_BYTES) {
        buf_done(&out);
        return *r;
    }
    PIECES_MUST(reply_parser_take(&p, &in, &read) == 0 && in.len == 0);
    PIECES_MUST(reply_copy(arena, &read, &copy) == 0);
    PIECES_MUST(copy.code == (code == 0 ? r->code : code));
    reply_parser_done(&p);
    buf_done(&out);
    return copy;
}

/* All lines bear the code, and none holds a NUL. */
static void check_lines(const struct reply *r)
{
    PIECES_MUST(pieces_are_lines(r->wire) && bytes_find(r->wire, '\0') == r->wire.len);
    for (size_t i = 0; i < r->wire.len; i++)
        if (i == 0 || r->wire.at[i - 1] == '\n')
            PIECES_MUST(r->wire.len - i >= 5 && memcmp(r->wire.at + i, r->wire.at, 3) == 0);
}

static void check_reply(const struct reply *r, struct pool *pool)
{
    struct reply same, inserted, again, other;
    struct arena arena;
    struct buf out;

    PIECES_MUST(r->code >= 200 && r->code < 600);
    check_lines(r);
    PIECES_MUST(r->enhanced[0] == 0 || r->enhanced[0] == r->code / 100);
    arena_init(&arena, pool, 1 << 22);
    same = rewrite(r, 0, false, pool, &arena);
    PIECES_MUST(bytes_equal(same.wire, r->wire));
    inserted = rewrite(r, 0, true, pool, &arena);
    again = rewrite(&inserted, 0, true, pool, &arena);
    PIECES_MUST(inserted.wire.len > REPLY_MAX_BYTES - 7 * count_lines(r->wire) ||
                bytes_equal(inserted.wire, again.wire));
    other = rewrite(r, 451, false, pool, &arena);
    PIECES_MUST(bytes_equal(bytes_skip(other.wire, 3), bytes_skip(r->wire, 3)) ||
                count_lines(r->wire) > 1);
    capability_parse(r);
    buf_init(&out, pool, 1 << 20);
    reply_put_text(&out, r);
    PIECES_MUST(count_lines(buf_bytes(&out)) == 0 && buf_length(&out) < 2 * r->wire.len);
    buf_done(&out);
    arena_reset(&arena);
}

struct run {
    struct pool pool;
    struct reply_parser parser;
    struct pieces_seen seen;
    int error; /* the parser's last word */
};

static void feed(void *object, struct bytes piece)
{
    struct run *run = object;

    while (run->error == 0 || run->error == ERR_NOT_FOUND) {
        struct reply r;

        run->error = reply_parser_take(&run->parser, &piece, &r);
        if (run->error != 0)
            break;
        pieces_see_number(&run->seen, r.code);
        pieces_see(&run->seen, bytes_make(r.enhanced, sizeof(r.enhanced)));
        pieces_see(&run->seen, r.wire);
        PIECES_MUST(reply_parser_is_empty(&run->parser));
        check_reply(&r, &run->pool);
    }
    PIECES_MUST(run->error != ERR_NOT_FOUND || piece.len == 0);
}

static struct pieces_seen read_all(struct bytes input, uint64_t seed)
{
    struct run run = {.error = 0};

    pool_init(&run.pool, 1024, 4);
    reply_parser_init(&run.parser, &run.pool);
    pieces_feed(input, seed, feed, &run);
    pieces_see_number(&run.seen, run.error);
    pieces_see_number(&run.seen, reply_parser_is_empty(&run.parser));
    reply_parser_done(&run.parser);
    PIECES_MUST(run.pool.taken == 0);
    pool_done(&run.pool);
    return run.seen;
}

/* A text of the configuration. */
static void check_make(struct bytes text)
{
    struct arena arena;
    struct pool pool;
    struct reply r;
    int error;

    pool_init(&pool, 1024, 1);
    arena_init(&arena, &pool, 65536);
    error = reply_make(&arena, text, &r);
    PIECES_MUST(error == 0 || error == ERR_SYNTAX);
    if (error == 0) {
        PIECES_MUST(r.wire.len <= 512 && count_lines(r.wire) == 1 && r.code / 100 >= 4);
        check_reply(&r, &pool);
    }
    arena_reset(&arena);
    pool_done(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first octet says how to cut, the rest is what the target sends. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pieces_seen whole, single, cut;
    struct bytes input;

    if (size == 0)
        return 0;
    input = bytes_make(data + 1, size - 1);
    whole = read_all(input, 0);
    single = read_all(input, 1);
    cut = read_all(input, 2 + ((uint64_t)data[0] << 38));
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&whole), pieces_seen_bytes(&single)));
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&whole), pieces_seen_bytes(&cut)));
    pieces_forget(&whole);
    pieces_forget(&single);
    pieces_forget(&cut);
    check_make(input);
    return 0;
}
