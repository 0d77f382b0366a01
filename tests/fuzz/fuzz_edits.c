/* SPDX-License-Identifier: BSD-2-Clause */
/* Edits over any header, and line ends over any body. What was not touched stays as it was and
 * where it was; what comes out are whole fields; a body has CRLF at the end of each line and
 * nowhere else a CR or LF, however it was cut. */
#include "filters/edits.h"

#include "tests/fuzz/pieces.h"

#define EDITS_MAX 8
#define NEW_VALUE " \x01" /* no field of the input has it: see read_header() */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the header ---- */

/* Takes one field off, with its folds. */
static struct bytes take_field(struct bytes *rest)
{
    size_t len = 0;

    do {
        len += bytes_find(bytes_skip(*rest, len), '\n') + 1;
        PIECES_MUST(len <= rest->len);
    } while (len < rest->len && (rest->at[len] == ' ' || rest->at[len] == '\t'));
    struct bytes field = bytes_first(*rest, len);
    *rest = bytes_skip(*rest, len);
    return field;
}

static bool is_new(struct bytes field)
{
    return memchr(field.at, NEW_VALUE[1], field.len) != NULL;
}

/* Lines of the input that are neither empty nor of our own, as content has them. */
static void read_header(struct bytes in, struct pieces_seen *header)
{
    while (in.len > 0) {
        struct bytes line = bytes_first(in, bytes_find(in, '\n'));
        bool is_good = line.len > 0 && memchr(line.at, '\r', line.len) == NULL && !is_new(line) &&
                       (header->len > 0 || (line.at[0] != ' ' && line.at[0] != '\t'));
        if (is_good) {
            pieces_see(header, line);
            pieces_see(header, bytes_of("\r\n"));
        }
        in = bytes_skip(in, line.len < in.len ? line.len + 1 : line.len);
    }
}

/* Three octets for each: kind, index, the first letter of the name. */
static unsigned give_edits(struct edits *edits, const uint8_t plan[EDITS_MAX][3])
{
    unsigned changes = 0;

    for (unsigned i = 0; i < EDITS_MAX; i++) {
        enum filter_edit_kind kind = plan[i][0] % (FILTER_CHANGE_FIELD + 1);
        const struct filter_edit edit = {.kind = kind,
                                         .index = plan[i][1],
                                         .name = bytes_make(&plan[i][2], 1),
                                         .value = bytes_of(plan[i][0] & 64 ? "" : NEW_VALUE)};
        if (plan[i][2] <= ' ' || plan[i][2] > '~' || plan[i][2] == ':' || plan[i][0] >= 128 ||
            (kind != FILTER_CHANGE_FIELD && edit.value.len == 0))
            continue;
        changes += kind == FILTER_CHANGE_FIELD;
        PIECES_MUST(edits_add(edits, &edit) == 0);
    }
    return changes;
}

/* How many fields stand before this one, which is taken off too. */
static size_t skip_to(struct bytes *old, struct bytes field)
{
    size_t skipped = 0;

    for (;; skipped++) {
        PIECES_MUST(old->len > 0);
        if (bytes_equal(take_field(old), field))
            return skipped;
    }
}

/* Each field that is not new is one of the old ones, in their order; as many are missing as edits
 * can have changed. */
static void check_fields(struct bytes old, struct bytes made, size_t above, unsigned changes)
{
    struct bytes whole = made;
    bool is_boundary = above == 0;
    size_t missing = 0;

    while (made.len > 0) {
        struct bytes field = take_field(&made);
        is_boundary = is_boundary || whole.len - made.len == above;
        if (is_new(field))
            continue;
        missing += skip_to(&old, field);
    }
    while (old.len > 0) {
        (void)take_field(&old);
        missing++;
    }
    PIECES_MUST(is_boundary && missing <= changes);
}

static void check_header(struct bytes in, const uint8_t plan[EDITS_MAX][3])
{
    struct pool pool;
    struct arena arena;
    struct edits edits;
    struct buf out;
    struct pieces_seen header = {.len = 0};
    size_t above = 0;

    pool_init(&pool, 512, 1);
    arena_init(&arena, &pool, 8 << 20);
    buf_init(&out, &pool, 8 << 20);
    edits_init(&edits, &arena);
    read_header(in, &header);
    unsigned changes = give_edits(&edits, plan);
    PIECES_MUST(edits_put_header(&edits, pieces_seen_bytes(&header), &above, &out));
    check_fields(pieces_seen_bytes(&header), buf_bytes(&out), above, changes);
    buf_done(&out);
    arena_reset(&arena);
    pool_done(&pool);
    pieces_forget(&header);
}

/* ---- the body ---- */

struct lines {
    struct line_ends ends;
    struct pieces_seen seen;
};

static void feed(void *object, struct bytes piece)
{
    struct lines *l = object;
    struct bytes run;

    while ((run = line_ends_take(&l->ends, &piece)).len > 0)
        pieces_see(&l->seen, run);
}

static struct pieces_seen put_lines(struct bytes body, uint64_t seed)
{
    struct lines l = {.seen = {.len = 0}};

    pieces_feed(body, seed, feed, &l);
    pieces_see(&l.seen, line_ends_finish(&l.ends));
    PIECES_MUST(l.seen.len <= 2 * body.len + 2);
    return l.seen;
}

static void check_body(struct bytes body, uint64_t seed)
{
    struct pieces_seen whole = put_lines(body, 0), cut = put_lines(body, seed);
    struct pieces_seen again = put_lines(pieces_seen_bytes(&whole), seed);

    PIECES_MUST(bytes_equal(pieces_seen_bytes(&whole), pieces_seen_bytes(&cut)));
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&whole), pieces_seen_bytes(&again)));
    for (size_t i = 0; i < whole.len; i++) {
        if (whole.at[i] == '\r')
            PIECES_MUST(i + 1 < whole.len && whole.at[i + 1] == '\n');
        if (whole.at[i] == '\n')
            PIECES_MUST(i > 0 && whole.at[i - 1] == '\r');
    }
    PIECES_MUST(whole.len == 0 || whole.at[whole.len - 1] == '\n');
    pieces_forget(&whole);
    pieces_forget(&cut);
    pieces_forget(&again);
}

/* The first octets are the edits, the last of them says how to cut; the rest is header and body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t plan[EDITS_MAX][3];

    if (size <= sizeof(plan))
        return 0;
    memcpy(plan, data, sizeof(plan));
    struct bytes in = bytes_make(data + sizeof(plan), size - sizeof(plan));
    check_header(in, plan);
    check_body(in, 1 + ((uint64_t)plan[0][0] << 38));
    return 0;
}
