/* SPDX-License-Identifier: BSD-2-Clause */
/* Ordinary text is only searched, 64 octets at a time and without a branch on any of them. The
 * states are for line starts, and for the seams between two inputs. */
#include "proxy/smtp/dot.h"

/* Larger blocks are no faster on ordinary text, and slower where hits are dense. */
#define BLOCK_BYTES 64
#define STRIP_BYTES 16

static const uint8_t crlf[2] = {'\r', '\n'};
static const uint8_t space[1] = {' '};
const uint8_t dot_extra[1] = {'.'};

void dot_init(struct dot *dot)
{
    *dot = (struct dot){.state = DOT_LINE_START, .line = DOT_LINE_EMPTY};
}

void dot_init_plain(struct dot *dot)
{
    dot_init(dot);
    dot->is_plain = true;
}

/* Octets side by side. Said explicitly, since gcc and clang vectorize different loops. */
typedef uint8_t lanes __attribute__((vector_size(16)));

enum search { SEARCH_DOTS = 1, SEARCH_BARE = 2 };

/* Are two neighbours LF and dot, or is the first a bare CR or the second a bare LF? The latter is
 * so where only one of the two is its half of CRLF. */
static inline bool is_hit(uint8_t before, uint8_t octet, unsigned search)
{
    return ((search & SEARCH_DOTS) != 0 && before == '\n' && octet == '.') ||
           ((search & SEARCH_BARE) != 0 && (before == '\r') != (octet == '\n'));
}

/* The same for `count` octets, a multiple of 16, and the one before them. */
static inline bool has_hit(const uint8_t *at, size_t count, unsigned search)
{
    lanes hits = {0}, before, octets;
    uint64_t halves[2];

    for (size_t i = 0; i < count; i += sizeof(octets)) {
        memcpy(&before, at + i - 1, sizeof(before));
        memcpy(&octets, at + i, sizeof(octets));
        if (search & SEARCH_DOTS)
            hits |= (lanes)((before == '\n') & (octets == '.'));
        if (search & SEARCH_BARE)
            hits |= (lanes)((before == '\r') ^ (octets == '\n'));
    }
    memcpy(halves, &hits, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

/* Offset of the first hit from `from` on, which is not 0; or in.len. */
static inline size_t find_hit(struct bytes in, size_t from, unsigned search)
{
    size_t i = from;

    while (in.len - i >= BLOCK_BYTES && !has_hit(in.at + i, BLOCK_BYTES, search))
        i += BLOCK_BYTES;
    while (in.len - i >= STRIP_BYTES && !has_hit(in.at + i, STRIP_BYTES, search))
        i += STRIP_BYTES;
    while (i < in.len && !is_hit(in.at[i - 1], in.at[i], search))
        i++;
    return i;
}

/* ---- removing dots ---- */

/* Gives out what replaces a bare CR or LF. */
static void give_instead(struct dot *dot, struct bytes instead, struct bytes *content_out)
{
    *content_out = instead;
    dot->has_bare_newline = true;
    dot->state = DOT_INSIDE; /* after a bare LF too: a dot that follows is content */
}

/* `octet` follows a CR that was the last of an input. It is taken in any case, so that every call
 * takes one. */
static void end_cr(struct dot *dot, uint8_t octet, struct bytes *content_out)
{
    if (octet == '\n' && dot->state == DOT_DOT_CR) {
        dot->state = DOT_ENDED;
    } else if (octet == '\n') {
        *content_out = bytes_make(crlf, sizeof(crlf));
        dot->state = DOT_LINE_START;
    } else if (octet == '\r') {
        give_instead(dot, bytes_make(space, sizeof(space)), content_out);
        dot->state = DOT_CR;
    } else {
        dot->pair[0] = ' ';
        dot->pair[1] = octet;
        give_instead(dot, bytes_make(dot->pair, sizeof(dot->pair)), content_out);
    }
}

/* A run that begins at `in`, which is not empty, inside a line or where one starts, but not with an
 * extra dot. Returns the octets taken, one at least. */
static size_t take_run(struct dot *dot, struct bytes in, struct bytes *content_out)
{
    size_t hit;

    if (in.at[0] == '\n') {
        give_instead(dot, bytes_make(crlf, sizeof(crlf)), content_out);
        if (dot->is_plain)
            dot->state = DOT_LINE_START;
        return 1;
    }
    hit = dot->is_plain ? find_hit(in, 1, SEARCH_BARE) : find_hit(in, 1, SEARCH_DOTS | SEARCH_BARE);
    *content_out = bytes_first(in, hit);
    dot->state = in.at[hit - 1] == '\n' ? DOT_LINE_START : DOT_INSIDE;
    if (in.at[hit - 1] == '\r') {
        content_out->len--;
        if (hit == in.len)
            dot->state = DOT_CR; /* the next octet decides */
        else if (hit == 1)
            give_instead(dot, bytes_make(space, sizeof(space)), content_out);
        else
            hit--; /* a bare CR: the first octet of the next call */
    }
    return hit;
}

/* ---- dots hidden by NULs ---- */

#define CANDIDATE_MAX 3 /* a line of as many octets without NUL is no lone dot */

static void watch_octet(struct dot *dot, uint8_t octet)
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
        dot->line = (enum dot_line)at_nul[dot->line];
    } else if (octet == '.' && dot->is_plain && dot->line == DOT_LINE_EMPTY) {
        dot->line = DOT_LINE_TWO_DOTS; /* as it would have to come by DATA */
    } else if (octet == '.') {
        dot->line = (enum dot_line)at_dot[dot->line];
    } else {
        if (octet == '\r' || octet == '\n') /* CR alone ends a line for some receivers */
            dot->has_hidden_dot = dot->has_hidden_dot || dot->line == DOT_LINE_HIDDEN ||
                                  dot->line == DOT_LINE_DOT_NULS;
        dot->line = octet == '\n' ? DOT_LINE_EMPTY : DOT_LINE_OTHER;
    }
}

/* Watches the octets as they came. Where no NUL is near, only the last ones matter. */
static void watch(struct dot *dot, struct bytes wire)
{
    if (wire.len > CANDIDATE_MAX && dot->line < DOT_LINE_NULS &&
        bytes_find(wire, '\0') == wire.len) {
        dot->line = DOT_LINE_OTHER;
        wire = bytes_skip(wire, wire.len - CANDIDATE_MAX);
    }
    for (size_t i = 0; i < wire.len; i++)
        watch_octet(dot, wire.at[i]);
}

/* ---- both ---- */

size_t dot_decode(struct dot *dot, struct bytes in, struct bytes *content_out)
{
    size_t taken = 0;

    *content_out = bytes_make(NULL, 0);
    while (taken < in.len && content_out->len == 0 && dot->state != DOT_ENDED) {
        uint8_t octet = in.at[taken];

        if (dot->state == DOT_CR || dot->state == DOT_DOT_CR) {
            end_cr(dot, octet, content_out);
            taken++;
        } else if (dot->state == DOT_LINE_START && octet == '.' && !dot->is_plain) {
            dot->state = DOT_DOT;
            taken++;
        } else if (dot->state == DOT_DOT && octet == '\r') {
            dot->state = DOT_DOT_CR;
            taken++;
        } else {
            taken += take_run(dot, bytes_skip(in, taken), content_out);
        }
    }
    watch(dot, bytes_first(in, taken));
    return taken;
}

struct bytes dot_finish(struct dot *dot)
{
    static const uint8_t for_cr[3] = {' ', '\r', '\n'};
    enum dot_state state = dot->state;

    assert(dot->is_plain);
    if (state == DOT_LINE_START)
        return bytes_make(NULL, 0);
    dot->state = DOT_LINE_START;
    if (state == DOT_CR) {
        dot->has_bare_newline = true;
        return bytes_make(for_cr, sizeof(for_cr));
    }
    watch(dot, bytes_make(crlf, sizeof(crlf)));
    return bytes_make(crlf, sizeof(crlf));
}

/* ---- adding dots ---- */

int dot_stuff(const struct dot_stuffer *stuffer, struct bytes content, struct bytes *runs_out,
              int max, size_t *covered_out)
{
    bool needs_dot = !stuffer->is_inside_line && !stuffer->is_dot_sent && content.len > 0 &&
                     content.at[0] == '.';
    size_t covered = 0;
    int count = 0;

    assert(max > 0);
    if (needs_dot)
        runs_out[count++] = bytes_make(dot_extra, sizeof(dot_extra));
    while (covered < content.len && count < max) {
        size_t end = find_hit(content, covered + 1, SEARCH_DOTS);

        runs_out[count++] = bytes_make(content.at + covered, end - covered);
        covered = end;
        if (end < content.len && count < max)
            runs_out[count++] = bytes_make(dot_extra, sizeof(dot_extra));
    }
    *covered_out = covered;
    return count;
}

size_t dot_stuffer_wrote(struct dot_stuffer *stuffer, const struct bytes *runs, int count,
                         size_t wire)
{
    size_t content = 0;

    for (int i = 0; i < count && wire > 0; i++) {
        size_t written = runs[i].len < wire ? runs[i].len : wire;

        wire -= written;
        stuffer->is_dot_sent = runs[i].at == dot_extra;
        if (stuffer->is_dot_sent)
            continue;
        stuffer->is_inside_line = runs[i].at[written - 1] != '\n';
        content += written;
    }
    return content;
}
