/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the configuration file's grammar, character by character, one item at a time. */
#include "proxy/base/cf.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"

#define BAD_LINE 1 /* reported; the rest of the line is skipped */

static const char expected_word[] = "a word";

void cf_reader_init(struct cf_reader *reader, struct bytes text, const char *file,
                    struct arena *arena, struct cf_problems *problems)
{
    *reader = (struct cf_reader){
        .text = text, .file = file, .arena = arena, .problems = problems, .line = 1, .column = 1};
    if (text.len >= 3 && memcmp(text.at, "\xEF\xBB\xBF", 3) == 0)
        reader->at = 3;
}

void cf_reader_done(struct cf_reader *reader)
{
    mem_free(reader->words);
    reader->words = NULL;
    reader->word_capacity = 0;
}

/* ---- characters ---- */

static bool is_at_end(const struct cf_reader *reader)
{
    return reader->at == reader->text.len;
}

static uint8_t peek(const struct cf_reader *reader)
{
    return reader->text.at[reader->at];
}

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7F;
}

/* At "\n", "\r\n" or the end of the input. */
static bool is_at_eol(const struct cf_reader *reader)
{
    if (is_at_end(reader) || peek(reader) == '\n')
        return true;
    return peek(reader) == '\r' && reader->at + 1 < reader->text.len &&
           reader->text.at[reader->at + 1] == '\n';
}

/* RFC 3629: octets of the character that begins here; 0 when it is none. */
static size_t character_length(struct bytes text)
{
    static const struct {
        uint8_t first, last, second_min, second_max, length;
    } forms[] = {
        {0x01, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(forms); i++) {
        if (text.at[0] < forms[i].first || text.at[0] > forms[i].last)
            continue;
        if (text.len < forms[i].length)
            return 0;
        if (forms[i].length == 1)
            return 1;
        if (text.at[1] < forms[i].second_min || text.at[1] > forms[i].second_max)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((text.at[k] & 0xC0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static struct cf_place place_here(const struct cf_reader *reader)
{
    return (struct cf_place){reader->file, reader->line, reader->column};
}

/* Steps over one character, which is not part of a line end. 0, or BAD_LINE when it is not
 * UTF-8. */
static int step(struct cf_reader *reader)
{
    uint8_t c = peek(reader);
    size_t length =
        c >= 0x20 && c < 0x7F ? 1 : character_length(bytes_skip(reader->text, reader->at));
    if (length == 0) {
        static const char digits[] = "0123456789ABCDEF";
        char phrase[] = "octet 0x00";
        phrase[sizeof phrase - 3] = digits[c >> 4];
        phrase[sizeof phrase - 2] = digits[c & 15];
        cf_unexpected(reader->problems, place_here(reader), phrase, "text in UTF-8");
        return BAD_LINE;
    }
    reader->at += length;
    reader->column++;
    return 0;
}

static void step_over_eol(struct cf_reader *reader)
{
    reader->at += peek(reader) == '\r' ? 2 : 1;
    reader->line++;
    reader->column = 1;
}

static void skip_line(struct cf_reader *reader)
{
    reader->at += bytes_find(bytes_skip(reader->text, reader->at), '\n');
    if (!is_at_end(reader))
        step_over_eol(reader);
}

static int skip_blanks(struct cf_reader *reader)
{
    while (!is_at_end(reader) && byte_is_blank(peek(reader))) {
        reader->at++;
        reader->column++;
    }
    if (is_at_end(reader) || peek(reader) != '#' || reader->is_flag)
        return 0;
    while (!is_at_eol(reader))
        if (step(reader) != 0)
            return BAD_LINE;
    return 0;
}

/* Reports the character at the reader's position. */
static int complain(struct cf_reader *reader, const char *expected)
{
    struct cf_place place = place_here(reader);
    if (is_at_eol(reader)) {
        cf_unexpected(reader->problems, place,
                      reader->is_flag ? "the end of the argument" : "the end of the line",
                      expected);
        return BAD_LINE;
    }
    struct bytes rest = bytes_skip(reader->text, reader->at);
    if (is_control(peek(reader)) && peek(reader) != 0)
        cf_unexpected(reader->problems, place, "a control character", expected);
    else if (step(reader) == 0)
        cf_error(reader->problems, place, bytes_first(rest, character_length(rest)),
                 bytes_of(expected), bytes_make(NULL, 0));
    return BAD_LINE;
}

/* ---- words ---- */

enum brackets { BRACKETS_OUTSIDE, BRACKETS_INSIDE }; /* do they belong to an atom? */

static bool is_atom_octet(uint8_t c, enum brackets brackets)
{
    if (is_control(c) || c == ' ' || c == '\\' || c == '"' || c == '#' || c == '=')
        return false;
    return brackets == BRACKETS_INSIDE || (c != '[' && c != ']');
}

bool cf_is_atom(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_atom_octet(text.at[i], BRACKETS_OUTSIDE))
            return false;
    return text.len > 0;
}

static int read_atom(struct cf_reader *reader, enum brackets brackets, const char *expected,
                     struct cf_word *word_out)
{
    size_t begin = reader->at;
    uint32_t column = reader->column;
    while (!is_at_end(reader) && is_atom_octet(peek(reader), brackets))
        if (step(reader) != 0)
            return BAD_LINE;
    if (reader->at == begin)
        return complain(reader, expected);
    *word_out = (struct cf_word){.text = bytes_make(reader->text.at + begin, reader->at - begin),
                                 .column = column};
    return 0;
}

/* Removes the backslashes of quoted pairs. */
static int undo_pairs(struct cf_reader *reader, struct bytes raw, struct bytes *text_out)
{
    uint8_t *text = arena_alloc(reader->arena, raw.len);
    if (text == NULL)
        return ERR_MEMORY;
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.at[i] == '\\')
            i++;
        text[len++] = raw.at[i];
    }
    *text_out = bytes_make(text, len);
    return 0;
}

/* Any character may follow the backslash, even a line end. */
static int step_over_pair(struct cf_reader *reader)
{
    reader->at++;
    reader->column++;
    if (is_at_end(reader))
        return complain(reader, "a character after \"\\\"");
    if (peek(reader) != '\n')
        return step(reader);
    step_over_eol(reader);
    return 0;
}

static int read_quoted(struct cf_reader *reader, struct cf_word *word_out)
{
    uint32_t column = reader->column;
    bool has_pair = false;
    reader->at++;
    reader->column++;
    size_t begin = reader->at;
    for (;;) {
        if (is_at_end(reader) || peek(reader) == '\r' || peek(reader) == '\n')
            return complain(reader, "a closing quote");
        if (peek(reader) == '"')
            break;
        bool is_pair = peek(reader) == '\\';
        has_pair = has_pair || is_pair;
        int error = is_pair ? step_over_pair(reader) : step(reader);
        if (error != 0)
            return error;
    }
    struct bytes text = bytes_make(reader->text.at + begin, reader->at - begin);
    reader->at++;
    reader->column++;
    int error = has_pair ? undo_pairs(reader, text, &text) : 0;
    if (error != 0)
        return error;
    *word_out = (struct cf_word){.text = text, .column = column, .is_quoted = true};
    return 0;
}

static int add_word(struct cf_reader *reader, size_t count, struct cf_word word)
{
    if (count == reader->word_capacity) {
        size_t capacity = count == 0 ? 16 : 2 * count;
        struct cf_word *words = mem_grow(reader->words, capacity * sizeof *words);
        if (words == NULL)
            return ERR_MEMORY;
        reader->words = words;
        reader->word_capacity = capacity;
    }
    reader->words[count] = word;
    return 0;
}

/* ---- sections and assignments ---- */

static int read_header(struct cf_reader *reader, struct cf_item *item)
{
    struct cf_word word;
    reader->at++;
    reader->column++;
    int error = skip_blanks(reader);
    item->place = place_here(reader);
    if (error == 0)
        error = read_atom(reader, BRACKETS_OUTSIDE, "the name of a section", &word);
    if (error == 0)
        error = add_word(reader, 0, word);
    if (error == 0)
        error = skip_blanks(reader);
    item->word_count = error == 0 ? 1 : 0;
    if (error == 0 && !is_at_end(reader) && peek(reader) == '"') {
        error = read_quoted(reader, &word);
        if (error == 0)
            error = add_word(reader, item->word_count++, word);
        if (error == 0)
            error = skip_blanks(reader);
    }
    if (error != 0)
        return error;
    if (is_at_eol(reader) || peek(reader) != ']')
        return complain(reader, item->word_count == 1 ? "a name in quotes or \"]\"" : "\"]\"");
    reader->at++;
    reader->column++;
    return 0;
}

static int read_value(struct cf_reader *reader, struct cf_item *item)
{
    struct cf_word word;
    for (;;) {
        int error = skip_blanks(reader);
        if (error != 0 || (is_at_eol(reader) && item->word_count > 1))
            return error;
        if (item->word_count > CF_WORDS_MAX)
            return complain(reader, "fewer words in one line");
        if (!is_at_end(reader) && peek(reader) == '"')
            error = read_quoted(reader, &word);
        else
            error = read_atom(reader, BRACKETS_INSIDE, expected_word, &word);
        if (error == 0)
            error = add_word(reader, item->word_count, word);
        if (error != 0)
            return error;
        item->word_count++;
    }
}

static int read_assignment(struct cf_reader *reader, bool allows_quoted_key, struct cf_item *item)
{
    struct cf_word key;
    item->place = place_here(reader);
    bool is_quoted = allows_quoted_key && peek(reader) == '"';
    int error = is_quoted ? read_quoted(reader, &key)
                          : read_atom(reader, BRACKETS_OUTSIDE, "a key or a section", &key);
    /* A bracket here would begin the value: user@[192.0.2.1] would become a key and a value. */
    if (error == 0 && !is_at_end(reader) && (peek(reader) == '[' || peek(reader) == ']'))
        return complain(reader, "a space or \"=\" (what holds brackets stands in quotes)");
    if (error == 0)
        error = add_word(reader, 0, key);
    if (error == 0)
        error = skip_blanks(reader);
    if (error != 0)
        return error;
    item->word_count = 1;
    if (!is_at_end(reader) && peek(reader) == '=') {
        reader->at++;
        reader->column++;
    } else if (reader->is_flag) {
        return complain(reader, "\"=\"");
    }
    return read_value(reader, item);
}

int cf_next(struct cf_reader *reader, bool allows_quoted_key, struct cf_item *item_out)
{
    for (;;) {
        int error = skip_blanks(reader);
        if (error == 0 && !is_at_end(reader) && is_at_eol(reader)) {
            step_over_eol(reader);
            continue;
        }
        struct cf_item item = {.kind = CF_END, .place = place_here(reader)};
        if (error == 0 && !is_at_end(reader)) {
            item.kind = peek(reader) == '[' && !reader->is_flag ? CF_SECTION : CF_ASSIGNMENT;
            error = item.kind == CF_SECTION ? read_header(reader, &item)
                                            : read_assignment(reader, allows_quoted_key, &item);
        }
        if (error == ERR_MEMORY)
            return error;
        if (error == BAD_LINE) {
            skip_line(reader);
            item.word_count = 0;
            if (item.kind != CF_SECTION)
                continue;
        }
        item.words = reader->words;
        *item_out = item;
        return 0;
    }
}

void cf_put_word(struct buf *out, struct bytes word, bool is_quoted)
{
    bool is_atom = word.len > 0 && !is_quoted;
    for (size_t i = 0; i < word.len && is_atom; i++)
        is_atom = is_atom_octet(word.at[i], BRACKETS_INSIDE);
    if (is_atom) {
        buf_put(out, word);
        return;
    }
    buf_byte(out, '"');
    for (size_t i = 0; i < word.len; i++) {
        if (word.at[i] == '"' || word.at[i] == '\\' || word.at[i] == '\r' || word.at[i] == '\n')
            buf_byte(out, '\\');
        buf_byte(out, word.at[i]);
    }
    buf_byte(out, '"');
}

/* ---- problems ---- */

#define SHOWN_MAX  60 /* octets of a word */
#define PHRASE_MAX 400

void cf_problems_init(struct cf_problems *problems, struct arena *arena)
{
    *problems = (struct cf_problems){.arena = arena};
}

static bool is_same(const struct cf_problem *a, const struct cf_problem *b)
{
    return a->place.line == b->place.line && a->place.column == b->place.column &&
           a->is_warning == b->is_warning && strcmp(a->place.file, b->place.file) == 0 &&
           bytes_equal(a->found, b->found) && bytes_equal(a->expected, b->expected);
}

/* A table is checked for each listener that uses it, but a problem in it is reported once. */
static void add_problem(struct cf_problems *problems, struct cf_problem model)
{
    for (const struct cf_problem *old = problems->first; old != NULL; old = old->next)
        if (is_same(old, &model))
            return;
    if (model.is_warning)
        problems->warnings++;
    else
        problems->errors++;
    if (problems->kept == CF_PROBLEMS_MAX)
        return;
    struct cf_problem *problem = arena_alloc(problems->arena, sizeof *problem);
    if (problem == NULL || arena_copy(problems->arena, model.found, &model.found) != 0 ||
        arena_copy(problems->arena, model.expected, &model.expected) != 0 ||
        arena_copy(problems->arena, model.nearest, &model.nearest) != 0) {
        problems->has_no_memory = true;
        return;
    }
    *problem = model;
    if (problems->last == NULL)
        problems->first = problem;
    else
        problems->last->next = problem;
    problems->last = problem;
    problems->kept++;
}

void cf_error(struct cf_problems *problems, struct cf_place place, struct bytes word,
              struct bytes expected, struct bytes nearest)
{
    add_problem(problems, (struct cf_problem){.place = place,
                                              .found = bytes_first(word, PHRASE_MAX),
                                              .expected = expected,
                                              .nearest = nearest,
                                              .is_word = true});
}

void cf_unexpected(struct cf_problems *problems, struct cf_place place, const char *phrase,
                   const char *expected)
{
    add_problem(problems, (struct cf_problem){
                              .place = place,
                              .found = bytes_of(phrase),
                              .expected = bytes_of(expected),
                          });
}

void cf_fault(struct cf_problems *problems, struct cf_place place, struct bytes text)
{
    add_problem(problems, (struct cf_problem){.place = place, .found = text});
}

void cf_warning(struct cf_problems *problems, struct cf_place place, struct bytes text)
{
    add_problem(problems, (struct cf_problem){.place = place, .found = text, .is_warning = true});
}

void cf_put_shown(struct buf *out, struct bytes word)
{
    struct bytes shown = bytes_first(word, SHOWN_MAX);
    while (shown.len < word.len && shown.len > 0 && (word.at[shown.len] & 0xC0) == 0x80)
        shown.len--;
    buf_byte(out, '"');
    for (size_t i = 0; i < shown.len; i++)
        buf_byte(out, is_control(shown.at[i]) ? '?' : shown.at[i]);
    buf_text(out, shown.len < word.len ? "...\"" : "\"");
}

struct bytes cf_phrase(struct cf_problems *problems, const char *before, struct bytes word,
                       const char *after)
{
    struct buf text;
    struct bytes phrase = bytes_make(NULL, 0);
    buf_init(&text, problems->arena->pool, PHRASE_MAX);
    buf_text(&text, before);
    cf_put_shown(&text, word);
    buf_text(&text, after);
    if (text.has_failed || arena_copy(problems->arena, buf_bytes(&text), &phrase) != 0)
        problems->has_no_memory = true;
    buf_done(&text);
    return phrase;
}

void cf_put_problem(struct buf *out, const struct cf_problem *problem)
{
    buf_text(out, problem->place.file);
    if (problem->place.line > 0) {
        buf_byte(out, ':');
        buf_decimal(out, problem->place.line);
        buf_byte(out, ':');
        buf_decimal(out, problem->place.column);
    }
    buf_text(out, problem->is_warning ? ": warning: " : ": ");
    if (problem->expected.len == 0) {
        buf_put(out, problem->found);
        return;
    }
    buf_text(out, "found ");
    if (problem->is_word)
        cf_put_shown(out, problem->found);
    else
        buf_put(out, problem->found);
    buf_text(out, ", expected ");
    buf_put(out, problem->expected);
    if (problem->nearest.len > 0) {
        buf_text(out, "; did you mean ");
        cf_put_shown(out, problem->nearest);
        buf_byte(out, '?');
    }
}

void cf_nearest_init(struct cf_nearest *nearest, struct bytes word)
{
    unsigned most = word.len < 4 ? 1 : word.len < 9 ? 2 : 3;
    *nearest = (struct cf_nearest){.word = word, .distance = most + 1};
}

void cf_nearest_offer(struct cf_nearest *nearest, struct bytes name)
{
    bool is_equal = bytes_equal_nocase(nearest->word, name);
    unsigned distance = is_equal ? 0 : text_distance(nearest->word, name);
    if (distance < nearest->distance && distance < name.len) {
        nearest->distance = distance;
        nearest->name = name;
    }
}

struct bytes cf_nearest_name(const struct cf_nearest *nearest)
{
    return nearest->name;
}
