/* SPDX-License-Identifier: BSD-2-Clause */
/* Puts one assignment, or one line of a routing table, into its section. */
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/config/config_private.h"

#define TEXT_MAX 128

/* ---- settings ---- */

static void report_unknown_key(struct config *config, const struct config_section *section,
                               const struct cf_item *item, const struct config_file *file)
{
    char expected[TEXT_MAX];
    snprintf(expected, sizeof expected, "a key of [%s]", section->kind->kind);
    cf_error(&config->problems, item->place, item->words[0].text, bytes_of(expected),
             setting_nearest(section->kind, item->words[0].text));
    if (file->is_flag)
        config->builder->has_usage_error = true;
}

static void report_twice(struct config *config, const struct config_values *values,
                         const struct cf_item *item)
{
    char expected[TEXT_MAX];
    snprintf(expected, sizeof expected, "it only once (it stands on line %u already)",
             values->first->place.line);
    cf_error(&config->problems, item->place, item->words[0].text, bytes_of(expected),
             bytes_make(NULL, 0));
}

static int note_value(struct config *config, struct config_values *values, struct cf_place place,
                      uint32_t column)
{
    struct config_value *value = arena_alloc(&config->arena, sizeof *value);
    if (value == NULL)
        return ERR_MEMORY;
    value->place = place;
    value->place.column = column;
    if (values->last == NULL)
        values->first = value;
    else
        values->last->next = value;
    values->last = value;
    return 0;
}

/* `words` make one value: all words of the item, or one of them. */
static int assign_value(struct config *config, struct config_section *section,
                        const struct setting *row, const struct cf_item *item,
                        const struct cf_word *words, size_t word_count)
{
    int error = setting_assign(row, section->conf, words, word_count, item->place, &config->arena,
                               &config->problems);
    if (error == 0)
        error = note_value(config, &section->values[row - section->kind->rows], item->place,
                           words[0].column);
    return error == ERR_MEMORY ? error : 0;
}

/* Assigns word by word, so that the place of each good one is noted. */
static int assign_list(struct config *config, struct config_section *section,
                       const struct setting *row, const struct cf_item *item)
{
    if (setting_is_phrase(row))
        return assign_value(config, section, row, item, item->words + 1, item->word_count - 1);
    for (size_t i = 1; i < item->word_count; i++)
        if (assign_value(config, section, row, item, &item->words[i], 1) != 0)
            return ERR_MEMORY;
    return 0;
}

static int assign_setting(struct config *config, struct config_section *section,
                          const struct setting *row, const struct cf_item *item,
                          const struct config_file *file)
{
    struct config_values *values = &section->values[row - section->kind->rows];
    if (file->is_flag && !values->is_overridden) {
        setting_clear(row, section->conf);
        *values = (struct config_values){.is_overridden = true};
    }
    values->is_given = true;
    if (setting_is_list(row))
        return assign_list(config, section, row, item);
    if (values->first != NULL) {
        report_twice(config, values, item);
        return 0;
    }
    int error = setting_assign(row, section->conf, item->words + 1, item->word_count - 1,
                               item->place, &config->arena, &config->problems);
    if (error == ERR_MEMORY)
        return error;
    return note_value(config, values, item->place, item->words[1].column);
}

/* ---- routes ---- */

static uint32_t character_count(struct bytes text)
{
    uint32_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += (text.at[i] & 0xC0) != 0x80;
    return count;
}

static size_t comma_count(struct bytes text)
{
    size_t count = 0;
    for (size_t at = bytes_find(text, ','); at < text.len;
         at += 1 + bytes_find(bytes_skip(text, at + 1), ','))
        count++;
    return count;
}

/* The words of one route while they are split at commas. */
struct split {
    struct config *config;
    struct cf_place place;
    struct route_word *words;
    uint32_t count;
    bool is_good;
};

static void refuse(struct split *split, uint32_t column, struct bytes word, const char *expected)
{
    struct cf_place place = split->place;
    place.column = column;
    cf_error(&split->config->problems, place, word, bytes_of(expected), bytes_make(NULL, 0));
    split->is_good = false;
}

static void put_word(struct split *split, const struct cf_word *word)
{
    if (word->text.len == 0)
        refuse(split, word->column, word->text, "a word that is not empty");
    for (size_t i = 0; i < word->text.len && split->is_good; i++)
        if (word->text.at[i] < 0x20 || word->text.at[i] == 0x7F)
            refuse(split, word->column, word->text, "a word without control characters");
    split->words[split->count++] = (struct route_word){
        .text = word->text, .column = word->column, .is_quoted = word->is_quoted};
}

static void end_target(struct split *split, uint32_t column)
{
    if (split->count == 1 || split->words[split->count - 1].ends_target)
        refuse(split, column, bytes_of(","), "a target");
    else
        split->words[split->count - 1].ends_target = true;
}

static void split_at_commas(struct split *split, struct cf_word word)
{
    for (;;) {
        struct cf_word piece = word;
        piece.text = bytes_first(word.text, bytes_find(word.text, ','));
        if (piece.text.len > 0)
            put_word(split, &piece);
        if (piece.text.len == word.text.len)
            return;
        word.column += character_count(piece.text);
        end_target(split, word.column);
        word.column++;
        word.text = bytes_skip(word.text, piece.text.len + 1);
        if (word.text.len == 0)
            return;
    }
}

static void append_line(struct config_section *section, struct route_line *line, bool is_flag)
{
    struct route_source *table = section->conf;
    struct route_line **link = table->last == NULL ? &table->first : &table->last->next;
    if (is_flag)
        link = section->last_flag_line == NULL ? &table->first : &section->last_flag_line->next;
    line->next = *link;
    *link = line;
    if (line->next == NULL)
        table->last = line;
    if (is_flag)
        section->last_flag_line = line;
    table->line_count++;
}

static int add_route(struct config *config, struct config_section *section,
                     const struct cf_item *item, bool is_flag)
{
    size_t room = item->word_count;
    for (size_t i = 1; i < item->word_count; i++)
        room += item->words[i].is_quoted ? 0 : comma_count(item->words[i].text);
    struct route_line *line = arena_alloc(&config->arena, sizeof *line);
    struct route_word *words = arena_alloc(&config->arena, room * sizeof *words);
    if (line == NULL || words == NULL)
        return ERR_MEMORY;
    struct split split = {.config = config, .place = item->place, .words = words, .is_good = true};
    put_word(&split, &item->words[0]);
    for (size_t i = 1; i < item->word_count; i++) {
        if (item->words[i].is_quoted)
            put_word(&split, &item->words[i]);
        else
            split_at_commas(&split, item->words[i]);
    }
    if (split.is_good && words[split.count - 1].ends_target)
        cf_unexpected(&config->problems, item->place, "a comma at the end of the line",
                      "a target after it");
    words[split.count - 1].ends_target = true;
    *line = (struct route_line){.place = item->place, .words = words, .word_count = split.count};
    if (split.is_good && split.count > 1)
        append_line(section, line, is_flag);
    return 0;
}

static int assign_route(struct config *config, struct config_section *section,
                        const struct cf_item *item, const struct config_file *file)
{
    const struct cf_word *key = &item->words[0];
    const struct setting *row = setting_find(section->kind, key->text);
    if (key->is_quoted)
        return add_route(config, section, item, file->is_flag);
    if (row != NULL)
        return assign_setting(config, section, row, item, file);
    if (bytes_is(key->text, "lmdb") || bytes_is(key->text, "socketmap")) {
        cf_error(&config->problems, item->place, key->text,
                 bytes_of("a pattern, file, case-sensitive or recipient-delimiter"),
                 bytes_make(NULL, 0));
        return 0;
    }
    return add_route(config, section, item, file->is_flag);
}

int config_assign(struct config *config, struct config_section *section, const struct cf_item *item,
                  const struct config_file *file)
{
    if (section->kind == &route_source_section)
        return assign_route(config, section, item, file);
    const struct setting *row = setting_find(section->kind, item->words[0].text);
    if (row != NULL)
        return assign_setting(config, section, row, item, file);
    report_unknown_key(config, section, item, file);
    return 0;
}
