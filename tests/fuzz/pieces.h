/* SPDX-License-Identifier: BSD-2-Clause */
/* What fuzzers share: inputs cut in any way, a record of what was seen, and properties that hold.
 */
#ifndef POSTERN_PIECES_H
#define POSTERN_PIECES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/bytes.h"

#define PIECES_MUST(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* What a run saw, to compare with what another one saw. Begin with {.len = 0}. */
struct pieces_seen {
    uint8_t *at;
    size_t len, capacity;
};

static inline void pieces_see(struct pieces_seen *seen, struct bytes b)
{
    if (seen->capacity - seen->len < b.len + 1) {
        seen->capacity = 2 * (seen->len + b.len + 1);
        seen->at = realloc(seen->at, seen->capacity);
        PIECES_MUST(seen->at != NULL);
    }
    if (b.len > 0)
        memcpy(seen->at + seen->len, b.at, b.len);
    seen->len += b.len;
}

static inline void pieces_see_number(struct pieces_seen *seen, int64_t number)
{
    pieces_see(seen, bytes_make(&number, sizeof(number)));
}

static inline struct bytes pieces_seen_bytes(const struct pieces_seen *seen)
{
    return bytes_make(seen->at, seen->len);
}

static inline void pieces_forget(struct pieces_seen *seen)
{
    free(seen->at);
    *seen = (struct pieces_seen){.len = 0};
}

/* Gives `input` to `feed` in pieces: whole for the seed 0, by octets for 1, else as it comes. Each
 * is a block of its own that is freed behind the call: reading beyond it or later shows. */
static inline void pieces_feed(struct bytes input, uint64_t seed,
                               void (*feed)(void *object, struct bytes piece), void *object)
{
    while (input.len > 0) {
        size_t len = seed == 0 ? input.len : seed == 1 ? 1 : 1 + (size_t)(seed >> 40) % 40;
        struct bytes piece = bytes_first(input, len);
        uint8_t *block = malloc(piece.len);

        PIECES_MUST(block != NULL);
        memcpy(block, piece.at, piece.len);
        feed(object, bytes_make(block, piece.len));
        free(block);
        input = bytes_skip(input, piece.len);
        if (seed > 1)
            seed = seed * 6364136223846793005u + 1442695040888963407u;
    }
}

/* Whether every line, and there may be none, ends in CRLF, and CR and LF stand nowhere else. */
static inline bool pieces_are_lines(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        if ((b.at[i] == '\n') != (i > 0 && b.at[i - 1] == '\r'))
            return false;
    return b.len == 0 || b.at[b.len - 1] == '\n';
}

static inline bool pieces_are_printable(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        if (b.at[i] < 32 || b.at[i] > 126)
            return false;
    return true;
}

/* Takes what stands before the first LF off `*input`: fuzzers that need several texts. */
static inline struct bytes pieces_take_text(struct bytes *input)
{
    struct bytes text = bytes_first(*input, bytes_find(*input, '\n'));

    *input = bytes_skip(*input, text.len < input->len ? text.len + 1 : text.len);
    return text;
}

#endif
