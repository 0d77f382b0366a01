/* SPDX-License-Identifier: BSD-2-Clause */
/* Ordinary text is only looked at, 64 octets at a time and without a branch on any of them; the
 * states are for what stands at line starts and at the seams between two inputs. */
#include "proxy/smtp/dot.h"

/* Larger blocks are no faster on ordinary text, and slower where hits are dense. */
#define BLOCK_BYTES 64
#define STRIP_BYTES 16

static const uint8_t crlf[2] = {'\r', '\n'};
static const uint8_t space[1] = {' '};
const uint8_t dot_extra[1] = {'.'};

void dot_init(struct dot *d)
{
    *d = (struct dot){.state = DOT_LINE_START, .line = DOT_LINE_EMPTY};
}

/* Octets side by side; told to the compiler, since gcc and clang see it in different loops. */
typedef uint8_t lanes __attribute__((vector_size(16)));

/* Whether two neighbours are LF-dot or, where asked, hold a bare CR (the first) or LF (the second):
 * exactly one of CR before and LF behind. */
static inline bool is_hit(uint8_t before, uint8_t octet, bool wants_bare)
{
    return (before == '\n' && octet == '.') || (wants_bare && (before == '\r') != (octet == '\n'));
}

/* The same for `count` octets, a multiple of 16, and the one before them. */
static inline bool has_hit(const uint8_t *at, size_t count, bool wants_bare)
{
    lanes hits = {0}, before, octets;
    uint64_t halves[2];

    for (size_t i = 0; i < count; i += sizeof(octets)) {
        memcpy(&before, at + i - 1, sizeof(before));
        memcpy(&octets, at + i, sizeof(octets));
        hits |= (lanes)((before == '\n') & (octets == '.'));
        if (wants_bare)
            hits |= (lanes)((before == '\r') ^ (octets == '\n'));
    }
    memcpy(halves, &hits, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

/* Offset of the first hit from `from` on, which is not 0; or in.len. */
static inline size_t find_hit(struct bytes in, size_t from, bool wants_bare)
{
    size_t i = from;

    while (in.len - i >= BLOCK_BYTES && !has_hit(in.at + i, BLOCK_BYTES, wants_bare))
        i += BLOCK_BYTES;
    while (in.len - i >= STRIP_BYTES && !has_hit(in.at + i, STRIP_BYTES, wants_bare))
        i += STRIP_BYTES;
    while (i < in.len && !is_hit(in.at[i - 1], in.at[i], wants_bare))
        i++;
    return i;
}

/* ---- taking dots away ---- */

/* What stands in the place of a bare CR or LF, which was or is taken. */
static void give_instead(struct dot *d, struct bytes instead, struct bytes *content_out)
{
    *content_out = instead;
    d->has_bare_newline = true;
    d->state = DOT_INSIDE; /* behind a bare LF too: a dot that follows is content */
}

/* The octet behind a CR at the end of the last input. It is taken in any case, so that every call
 * takes one. */
static void end_cr(struct dot *d, uint8_t octet, struct bytes *content_out)
{
    if (octet == '\n' && d->state == DOT_DOT_CR) {
        d->state = DOT_ENDED;
    } else if (octet == '\n') {
        *content_out = bytes_make(crlf, sizeof(crlf));
        d->state = DOT_LINE_START;
    } else if (octet == '\r') {
        give_instead(d, bytes_make(space, sizeof(space)), content_out);
        d->state = DOT_CR;
    } else {
        d->pair[0] = ' ';
        d->pair[1] = octet;
        give_instead(d, bytes_make(d->pair, sizeof(d->pair)), content_out);
    }
}

/* A run that begins at `in`, which is not empty, inside a line or where one starts without a dot.
 * Returns the octets taken, one at least. */
static size_t take_run(struct dot *d, struct bytes in, struct bytes *content_out)
{
    size_t hit;

    if (in.at[0] == '\n') {
        give_instead(d, bytes_make(crlf, sizeof(crlf)), content_out);
        return 1;
    }
    hit = find_hit(in, 1, true);
    *content_out = bytes_first(in, hit);
    d->state = in.at[hit - 1] == '\n' ? DOT_LINE_START : DOT_INSIDE;
    if (in.at[hit - 1] == '\r') {
        content_out->len--;
        if (hit == in.len)
            d->state = DOT_CR; /* the next octet decides */
        else if (hit == 1)
            give_instead(d, bytes_make(space, sizeof(space)), content_out);
        else
            hit--; /* a bare one: first in the next call */
    }
    return hit;
}

/* ---- dots behind NULs ---- */

#define CANDIDATE_MAX 3 /* octets without NUL that cannot become a lone dot any more */

static void watch_octet(struct dot *d, uint8_t octet)
{
    static const uint8_t at_nul[DOT_LINE_STATES] = {
        [DOT_LINE_EMPTY] = DOT_LINE_NULS,        [DOT_LINE_DOT] = DOT_LINE_DOT_NULS,
        [DOT_LINE_TWO_DOTS] = DOT_LINE_HIDDEN,   [DOT_LINE_NULS] = DOT_LINE_NULS,
        [DOT_LINE_DOT_NULS] = DOT_LINE_DOT_NULS, [DOT_LINE_HIDDEN] = DOT_LINE_HIDDEN};
    static const uint8_t at_dot[DOT_LINE_STATES] = {[DOT_LINE_EMPTY] = DOT_LINE_DOT,
                                                    [DOT_LINE_DOT] = DOT_LINE_TWO_DOTS,
                                                    [DOT_LINE_NULS] = DOT_LINE_HIDDEN,
                                                    [DOT_LINE_DOT_NULS] = DOT_LINE_HIDDEN};

    if (octet == '\0') {
        d->line = (enum dot_line)at_nul[d->line];
    } else if (octet == '.') {
        d->line = (enum dot_line)at_dot[d->line];
    } else {
        if (octet == '\r' || octet == '\n') /* some take CR alone for a line end */
            d->has_hidden_dot =
                d->has_hidden_dot || d->line == DOT_LINE_HIDDEN || d->line == DOT_LINE_DOT_NULS;
        d->line = octet == '\n' ? DOT_LINE_EMPTY : DOT_LINE_OTHER;
    }
}

/* What is taken of the wire. Where no NUL is near, the last octets alone matter. */
static void watch(struct dot *d, struct bytes wire)
{
    if (wire.len > CANDIDATE_MAX && d->line < DOT_LINE_NULS && bytes_find(wire, '\0') == wire.len) {
        d->line = DOT_LINE_OTHER;
        wire = bytes_skip(wire, wire.len - CANDIDATE_MAX);
    }
    for (size_t i = 0; i < wire.len; i++)
        watch_octet(d, wire.at[i]);
}

/* ---- both ---- */

size_t dot_decode(struct dot *d, struct bytes in, struct bytes *content_out)
{
    size_t taken = 0;

    *content_out = bytes_make(NULL, 0);
    while (taken < in.len && content_out->len == 0 && d->state != DOT_ENDED) {
        uint8_t octet = in.at[taken];

        if (d->state == DOT_CR || d->state == DOT_DOT_CR) {
            end_cr(d, octet, content_out);
            taken++;
        } else if (d->state == DOT_LINE_START && octet == '.') {
            d->state = DOT_DOT;
            taken++;
        } else if (d->state == DOT_DOT && octet == '\r') {
            d->state = DOT_DOT_CR;
            taken++;
        } else {
            taken += take_run(d, bytes_skip(in, taken), content_out);
        }
    }
    watch(d, bytes_first(in, taken));
    return taken;
}

/* ---- putting them back ---- */

int dot_stuff(const struct dot_stuffer *s, struct bytes content, struct bytes *runs_out, int max,
              size_t *covered_out)
{
    bool needs_dot =
        !s->is_inside_line && !s->is_dot_sent && content.len > 0 && content.at[0] == '.';
    size_t covered = 0;
    int count = 0;

    assert(max > 0);
    if (needs_dot)
        runs_out[count++] = bytes_make(dot_extra, sizeof(dot_extra));
    while (covered < content.len && count < max) {
        size_t end = find_hit(content, covered + 1, false);

        runs_out[count++] = bytes_make(content.at + covered, end - covered);
        covered = end;
        if (end < content.len && count < max)
            runs_out[count++] = bytes_make(dot_extra, sizeof(dot_extra));
    }
    *covered_out = covered;
    return count;
}

size_t dot_stuffer_wrote(struct dot_stuffer *s, const struct bytes *runs, int count, size_t wire)
{
    size_t content = 0;

    for (int i = 0; i < count && wire > 0; i++) {
        size_t written = runs[i].len < wire ? runs[i].len : wire;

        wire -= written;
        s->is_dot_sent = runs[i].at == dot_extra;
        if (s->is_dot_sent)
            continue;
        s->is_inside_line = runs[i].at[written - 1] != '\n';
        content += written;
    }
    return content;
}
