/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines: the way the input is cut changes nothing, and lines hold what they may. */
#include "proxy/smtp/line.h"

#include "tests/fuzz/pieces.h"

#include "proxy/base/error.h"

struct run {
    struct pool pool;
    struct line line;
    struct pieces_seen seen;
    bool wants_crlf;
};

static void check_line(struct bytes text)
{
    PIECES_MUST(text.len <= LINE_MAX_BYTES - 1);
    PIECES_MUST(bytes_find(text, '\r') == text.len && bytes_find(text, '\n') == text.len &&
                bytes_find(text, '\0') == text.len);
}

static void feed(void *object, struct bytes piece)
{
    struct run *run = object;

    while (piece.len > 0) {
        struct bytes text = {.len = 0};
        int error;
        size_t taken = line_take(&run->line, piece, run->wants_crlf ? LINE_END_CRLF : LINE_END_ANY,
                                 &text, &error);

        PIECES_MUST(taken > 0 && taken <= piece.len);
        piece = bytes_skip(piece, taken);
        if (error == ERR_NOT_FOUND) {
            PIECES_MUST(piece.len == 0);
            continue;
        }
        PIECES_MUST(error == 0 || error == ERR_TOO_LONG || error == ERR_BARE_NEWLINE);
        pieces_see_number(&run->seen, error);
        if (error == 0)
            check_line(text);
        pieces_see(&run->seen, text);
    }
    line_release(&run->line);
    PIECES_MUST(run->pool.taken == (run->line.begun == NULL ? 0 : 1));
}

static struct pieces_seen take_all(struct bytes input, bool wants_crlf, uint64_t seed)
{
    struct run run = {.wants_crlf = wants_crlf};

    pool_init(&run.pool, LINE_MAX_BYTES, 1);
    line_init(&run.line, &run.pool);
    pieces_feed(input, seed, feed, &run);
    pieces_see_number(&run.seen, run.line.is_skipping);
    line_done(&run.line);
    PIECES_MUST(run.pool.taken == 0);
    pool_done(&run.pool);
    return run.seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first octet: whether CRLF is wanted, and how to cut; the rest: what the client sends. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pieces_seen whole, single, cut;
    struct bytes input;

    if (size == 0)
        return 0;
    input = bytes_make(data + 1, size - 1);
    whole = take_all(input, data[0] & 1, 0);
    single = take_all(input, data[0] & 1, 1);
    cut = take_all(input, data[0] & 1, 2 + ((uint64_t)data[0] << 38));
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&whole), pieces_seen_bytes(&single)));
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&whole), pieces_seen_bytes(&cut)));
    pieces_forget(&whole);
    pieces_forget(&single);
    pieces_forget(&cut);
    return 0;
}
