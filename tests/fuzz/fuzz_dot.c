/* SPDX-License-Identifier: BSD-2-Clause */
/* Content: cutting changes nothing, only CRLF . CRLF ends it, what comes out has CRLF line ends
 * only, and what is stuffed ends where it should and comes back the same. */
#include "proxy/smtp/dot.h"

#include "tests/fuzz/pieces.h"

struct run {
    struct dot dot;
    struct pieces_seen content;
    size_t taken;
};

static void feed(void *object, struct bytes piece)
{
    struct run *run = object;

    while (piece.len > 0 && run->dot.state != DOT_ENDED) {
        struct bytes content;
        size_t taken = dot_decode(&run->dot, piece, &content);

        PIECES_MUST(taken > 0 && taken <= piece.len && content.len <= taken + 1);
        pieces_see(&run->content, content);
        run->taken += taken;
        piece = bytes_skip(piece, taken);
    }
}

static struct run decode(struct bytes wire, uint64_t seed)
{
    struct run run = {.taken = 0};

    dot_init(&run.dot);
    pieces_feed(wire, seed, feed, &run);
    return run;
}

/* Where CRLF . CRLF ends, where the start counts as CRLF; or SIZE_MAX. */
static size_t find_end(struct bytes wire)
{
    for (size_t i = 0; i + 3 <= wire.len; i++)
        if (memcmp(wire.at + i, ".\r\n", 3) == 0 &&
            (i == 0 || (i >= 2 && memcmp(wire.at + i - 2, "\r\n", 2) == 0)))
            return i + 3;
    return SIZE_MAX;
}

static void check_same(const struct run *a, const struct run *b)
{
    PIECES_MUST(a->dot.state == b->dot.state && a->taken == b->taken);
    PIECES_MUST(a->dot.has_bare_newline == b->dot.has_bare_newline);
    PIECES_MUST(a->dot.has_hidden_dot == b->dot.has_hidden_dot);
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&a->content), pieces_seen_bytes(&b->content)));
}

static bool is_cr_or_lf(uint8_t c)
{
    return c == '\r' || c == '\n';
}

/* What is stuffed again is read by receivers that drop NULs. */
static bool ends_early(struct bytes content)
{
    bool is_first = true, has_dot = false, is_other = false;

    for (size_t i = 0; i < content.len; i++) {
        uint8_t c = content.at[i];

        if (c == '\n') {
            if (has_dot && !is_other)
                return true;
            is_first = true;
            has_dot = is_other = false;
            continue;
        }
        /* The first one is stuffed; two are no lone one. */
        is_other = is_other || (c != '\0' && c != '\r' && (c != '.' || is_first || has_dot));
        has_dot = has_dot || (c == '.' && !is_first);
        is_first = false;
    }
    return false;
}

static void check_content(const struct run *run, struct bytes wire)
{
    struct bytes content = pieces_seen_bytes(&run->content);
    size_t end = find_end(wire), whole = content.len;

    PIECES_MUST((end != SIZE_MAX) == (run->dot.state == DOT_ENDED));
    PIECES_MUST(run->taken == (end == SIZE_MAX ? wire.len : end));
    while (whole > 0 && !is_cr_or_lf(content.at[whole - 1]))
        whole--;
    PIECES_MUST(pieces_are_lines(bytes_first(content, whole)));
    PIECES_MUST(end == SIZE_MAX || whole == content.len);
    PIECES_MUST(run->dot.has_bare_newline || content.len <= wire.len);
    PIECES_MUST(run->dot.has_hidden_dot || !ends_early(content));
}

/* Writes `content` through dot_stuff(), in steps that are decided by `seed`. */
static struct pieces_seen stuff(struct bytes content, uint64_t seed)
{
    struct dot_stuffer s = {.is_inside_line = false};
    struct pieces_seen wire = {.len = 0};
    struct bytes runs[6];

    while (content.len > 0) {
        size_t covered, left = 1 + (seed >> 33) % 50, before = left, written;
        int count = dot_stuff(&s, content, runs, 1 + (int)((seed >> 50) % 6), &covered);

        PIECES_MUST(count > 0 && covered <= content.len);
        for (int i = 0; i < count; i++) {
            PIECES_MUST(runs[i].len > 0);
            pieces_see(&wire, bytes_first(runs[i], left));
            left -= bytes_first(runs[i], left).len;
        }
        written = dot_stuffer_wrote(&s, runs, count, before - left);
        PIECES_MUST(written <= covered);
        content = bytes_skip(content, written);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
    }
    pieces_see(&wire, bytes_of(s.is_inside_line ? "\r\n.\r\n" : ".\r\n"));
    return wire;
}

static void check_way_back(struct bytes content, uint64_t seed)
{
    struct pieces_seen wire = stuff(content, seed);
    struct run back = decode(pieces_seen_bytes(&wire), seed);
    bool is_open = content.len > 0 && content.at[content.len - 1] != '\n';

    PIECES_MUST(back.dot.state == DOT_ENDED && !back.dot.has_bare_newline);
    PIECES_MUST(back.taken == wire.len && find_end(pieces_seen_bytes(&wire)) == wire.len);
    PIECES_MUST(back.content.len == content.len + (is_open ? 2 : 0));
    PIECES_MUST(content.len == 0 || memcmp(back.content.at, content.at, content.len) == 0);
    pieces_forget(&wire);
    pieces_forget(&back.content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first octet says how to cut, the rest is what the client sends. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole, single, cut;
    uint64_t seed;
    struct bytes wire;

    if (size == 0)
        return 0;
    seed = 2 + ((uint64_t)data[0] << 38);
    wire = bytes_make(data + 1, size - 1);
    whole = decode(wire, 0);
    single = decode(wire, 1);
    cut = decode(wire, seed);
    check_same(&whole, &single);
    check_same(&whole, &cut);
    check_content(&whole, wire);
    check_way_back(pieces_seen_bytes(&whole.content), seed);
    pieces_forget(&whole.content);
    pieces_forget(&single.content);
    pieces_forget(&cut.content);
    return 0;
}
