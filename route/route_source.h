/* SPDX-License-Identifier: BSD-2-Clause */
/* Routing tables as they were written: lines in order, not yet understood. */
#ifndef POSTERN_ROUTE_SOURCE_H
#define POSTERN_ROUTE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/cf.h"
#include "proxy/base/setting.h"

/* Quotes are undone. `a,b` and `a, b` are two words with a comma between them; commas in quotes
 * are ordinary. Never empty unless quoted; without control characters. */
struct route_word {
    struct bytes text;
    uint32_t column; /* on the line of the route */
    bool is_quoted;
    bool ends_target; /* a comma stands behind it, or the line ends */
};

/* PATTERN TARGET[, TARGET...]. words[0] is the pattern; the others are the targets' words, one or
 * more (`reject "550 text"` has two), at least one in all. Every target has at least one word. */
struct route_line {
    struct route_line *next;
    struct cf_place place; /* of the pattern, in the file that holds the line */
    const struct route_word *words;
    uint32_t word_count;
};

/* One [route "NAME"]; the global table's name is empty. Lines of included files stand where the
 * `file` line stood. Everything lives as long as the configuration. */
struct route_source {
    struct bytes name;
    struct route_line *first, *last;
    size_t line_count;
    bool is_case_sensitive;
    uint8_t recipient_delimiter; /* 0: none */
};

/* case-sensitive and recipient-delimiter; the lines are no settings. */
extern const struct setting_section route_source_section;

static inline struct cf_place route_source_place(const struct route_line *line,
                                                 const struct route_word *word)
{
    return (struct cf_place){line->place.file, line->place.line, word->column};
}

#endif
