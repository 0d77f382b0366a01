/* SPDX-License-Identifier: BSD-2-Clause */
/* Routing tables as they were written: lines in order, not yet interpreted. */
#ifndef POSTERN_ROUTE_SOURCE_H
#define POSTERN_ROUTE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/cf.h"
#include "proxy/base/setting.h"

/* A word without its quotes. `a,b` and `a, b` are two words with a comma between them; commas in
 * quotes are ordinary characters. Never empty unless quoted; without control characters. */
struct route_word {
    struct bytes text;
    uint32_t column; /* of the word in its line */
    bool is_quoted;
    bool ends_target; /* a comma or the end of the line stands behind the word */
};

/* PATTERN TARGET[, TARGET...]. words[0] is the pattern; the others belong to the targets. Every
 * target has at least one word (`reject "550 text"` has two), and every line at least one
 * target. */
struct route_line {
    struct route_line *next;
    struct cf_place place; /* of the pattern, in the file that holds the line */
    const struct route_word *words;
    uint32_t word_count;
};

/* One [route "NAME"]; the global table's name is empty. Lines of an included file stand in the
 * place of the `file` line. Everything lives as long as the configuration. */
struct route_source {
    struct bytes name;
    struct route_line *first, *last;
    size_t line_count;
    bool is_case_sensitive;
    uint8_t recipient_delimiter; /* 0: none */
};

/* case-sensitive and recipient-delimiter. The lines are not settings. */
extern const struct setting_section route_source_section;

static inline struct cf_place route_source_place(const struct route_line *line,
                                                 const struct route_word *word)
{
    return (struct cf_place){line->place.file, line->place.line, word->column};
}

#endif
