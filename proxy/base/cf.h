/* SPDX-License-Identifier: BSD-2-Clause */
/* The grammar of the configuration file, positions in it, and the problems found there. Pure. */
#ifndef POSTERN_CF_H
#define POSTERN_CF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

/*  cf_file       = ( '[' atom [quoted_string] ']' ( [assignment] eol )* )*
 *  assignment    = atom ['='] word+
 *  word          = atom | quoted_string
 *  quoted_string = '"' ( quoted_pair | [^\\"\r\n]+ )* '"'
 *  quoted_pair   = '\\' <any character>
 *  atom          = [^\x00-\x1F \\"#=\[\]\x7F]+
 *  comment       = '#' to the end of the line
 *
 * Readings: TAB is white space; '[' and ']' are ordinary in the value position; the last line
 * needs no eol; a byte order mark at the start is skipped; in a [route] section the pattern may
 * be a quoted string, which then is no keyword. NUL is refused everywhere. */

/* Line and column count from 1; columns are characters (code points), not octets. For a flag the
 * file is CF_COMMAND_LINE, and the line is the number of the argument. Line 0: no line is known. */
struct cf_place {
    const char *file; /* lives as long as the configuration's arena, or is a literal */
    uint32_t line, column;
};

#define CF_COMMAND_LINE "command line"

struct cf_word {
    struct bytes text; /* quotes and quoted pairs undone; borrowed from the input or the arena */
    uint32_t column;
    bool is_quoted;
};

/* ---- problems, as values ---- */

/* Texts are the arena's. An error fails the configuration, a warning does not. */
struct cf_problem {
    struct cf_problem *next;
    struct cf_place place;
    struct bytes found;    /* a word, a phrase, or the whole text */
    struct bytes expected; /* empty: `found` is the whole text */
    struct bytes nearest;  /* empty: no hint */
    bool is_word;          /* `found` is shown in quotes */
    bool is_warning;
};

#define CF_PROBLEMS_MAX 200 /* how many are kept; further ones are only counted */

struct cf_problems {
    struct arena *arena;
    struct cf_problem *first, *last;
    unsigned kept, errors, warnings; /* errors and warnings count those not kept, too */
    bool has_no_memory;
};

void cf_problems_init(struct cf_problems *problems, struct arena *arena);

/* The functions below copy their texts and skip what was reported before. Without memory they set
 * has_no_memory and only count. */

/* FILE:LINE:COLUMN: found "WORD", expected EXPECTED; did you mean "NEAREST"? */
void cf_error(struct cf_problems *problems, struct cf_place place, struct bytes word,
              struct bytes expected, struct bytes nearest);
/* FILE:LINE:COLUMN: found PHRASE, expected EXPECTED */
void cf_unexpected(struct cf_problems *problems, struct cf_place place, const char *phrase,
                   const char *expected);
/* FILE:LINE:COLUMN: TEXT (for example a loop) */
void cf_fault(struct cf_problems *problems, struct cf_place place, struct bytes text);
/* FILE:LINE:COLUMN: warning: TEXT */
void cf_warning(struct cf_problems *problems, struct cf_place place, struct bytes text);

/* BEFORE "WORD" AFTER, in the problems' arena; empty without memory. */
struct bytes cf_phrase(struct cf_problems *problems, const char *before, struct bytes word,
                       const char *after);
/* The text of one problem, without a line end. */
void cf_put_problem(struct buf *out, const struct cf_problem *problem);
/* Puts a word between quotes, shortened and without control characters, so that it can be shown. */
void cf_put_shown(struct buf *out, struct bytes word);

/* The nearest of the offered names, if it is near enough for "did you mean". */
struct cf_nearest {
    struct bytes word, name;
    unsigned distance;
};

void cf_nearest_init(struct cf_nearest *nearest, struct bytes word);
void cf_nearest_offer(struct cf_nearest *nearest, struct bytes name);
struct bytes cf_nearest_name(const struct cf_nearest *nearest); /* empty: no hint */

/* ---- reading ---- */

enum cf_kind { CF_SECTION, CF_ASSIGNMENT, CF_END };

#define CF_WORDS_MAX 4096 /* in one assignment */

/* One part of a file. Of a section words[0] is the kind and words[1], if there is one, the name. Of
 * an assignment words[0] is the key, and the others are the value. */
struct cf_item {
    enum cf_kind kind;
    struct cf_place place;       /* of words[0]; at the end: of the end */
    const struct cf_word *words; /* the reader's: valid until the next call */
    size_t word_count;
};

struct cf_reader {
    struct bytes text; /* the whole input; words point into it where they can */
    const char *file;
    struct arena *arena; /* for words with quoted pairs */
    struct cf_problems *problems;
    size_t at;
    uint32_t line, column;
    bool is_flag; /* the input is one argument: an assignment, without comments or sections */
    struct cf_word *words;
    size_t word_capacity;
};

/* `text` and `file` are borrowed and must live as long as the words are used. */
void cf_reader_init(struct cf_reader *reader, struct bytes text, const char *file,
                    struct arena *arena, struct cf_problems *problems);
void cf_reader_done(struct cf_reader *reader);
/* The next section or assignment; lines with errors are reported and skipped. 0 or ERR_MEMORY. A
 * section header with errors is returned without words: the assignments after it belong to no
 * section. `allows_quoted_key`: in [route] sections. */
int cf_next(struct cf_reader *reader, bool allows_quoted_key, struct cf_item *item_out);

/* Writes a word as it stands in a file: an atom where that is enough, else a quoted string. */
void cf_put_word(struct buf *out, struct bytes word, bool is_quoted);
bool cf_is_atom(struct bytes text);

#endif
