/* SPDX-License-Identifier: BSD-2-Clause */
/* Applies the assignments of the command line: --smtpd=foo, --smtpd-foo-listen-port=2525. */
#include <string.h>

#include "proxy/base/error.h"
#include "proxy/config/config_private.h"

/* One argument: "--" KIND "=" NAME, "--" KIND "-" KEY "=" VALUE, "--" KIND "-" NAME "-" KEY "="
 * VALUE. The shell has usually eaten the quotes around NAME. */
struct argument {
    struct config *config;
    const struct setting_section *kind;
    struct bytes whole; /* with its "--" */
    struct bytes rest;  /* behind KIND */
    uint32_t number;
};

static const struct config_file command_line = {.path = CF_COMMAND_LINE, .is_flag = true};

static struct cf_place place_of(const struct argument *a, struct bytes part)
{
    struct cf_place place = {.file = CF_COMMAND_LINE, .line = a->number, .column = 1};
    for (const uint8_t *at = a->whole.at; at < part.at; at++)
        place.column += (*at & 0xC0) != 0x80;
    return place;
}

static void report(const struct argument *a, struct bytes part, const char *expected,
                   struct bytes nearest)
{
    cf_error(&a->config->problems, place_of(a, part), part, bytes_of(expected), nearest);
    a->config->builder->has_usage_error = true;
}

/* The longest kind with which the argument begins. */
static bool split_kind(struct argument *a)
{
    const struct setting_section *kind;
    struct bytes text = bytes_skip(a->whole, 2);
    a->kind = NULL;
    for (size_t i = 0; (kind = config_builder_each_kind(i)) != NULL; i++) {
        size_t len = strlen(kind->kind);
        if (text.len > len && memcmp(text.at, kind->kind, len) == 0 &&
            (text.at[len] == '-' || text.at[len] == '=')) {
            a->kind = kind;
            a->rest = bytes_skip(text, len);
        }
    }
    return a->kind != NULL;
}

static int read_item(const struct argument *a, struct bytes text, struct cf_reader *reader,
                     struct cf_item *item)
{
    struct cf_place place = place_of(a, text);
    cf_reader_init(reader, text, CF_COMMAND_LINE, &a->config->arena, &a->config->problems);
    reader->is_flag = true;
    reader->line = place.line;
    reader->column = place.column;
    return cf_next(reader, a->kind == &route_source_section, item);
}

/* "KEY=VALUE" */
static int assign(const struct argument *a, struct config_section *section, struct bytes text)
{
    struct cf_reader reader;
    struct cf_item item;
    int error = read_item(a, text, &reader, &item);
    if (error == 0 && item.kind == CF_ASSIGNMENT)
        error = config_file_assign(a->config, section, &item, &command_line);
    cf_reader_done(&reader);
    return error;
}

/* A name as it is, or in quotes with quoted pairs; then `room` holds it. */
static struct bytes unquote(struct bytes name, uint8_t room[CONFIG_NAME_MAX])
{
    size_t len = 0;
    if (name.len < 2 || name.at[0] != '"' || name.at[name.len - 1] != '"')
        return name;
    for (size_t i = 1; i + 1 < name.len && len < CONFIG_NAME_MAX; i++) {
        if (name.at[i] == '\\' && i + 2 < name.len)
            i++;
        room[len++] = name.at[i];
    }
    return bytes_make(room, len);
}

/* "=NAME" */
static int declare(const struct argument *a)
{
    struct config_section *section;
    uint8_t room[CONFIG_NAME_MAX];
    struct bytes name = bytes_skip(a->rest, 1);
    struct cf_place place = place_of(a, name);
    if (!a->kind->is_named) {
        report(a, a->whole, "a key behind this section, which has no name", bytes_make(NULL, 0));
        return 0;
    }
    return config_builder_section(a->config, a->kind, unquote(name, room), place, &section);
}

/* The declared section with the longest name that `rest` ("-NAME-KEY=VALUE") begins with. */
static struct config_section *find_longest(const struct argument *a, struct bytes *key_out)
{
    struct bytes text = bytes_skip(a->rest, 1);
    struct config_section *found = NULL;
    for (size_t at = bytes_find(text, '-'); at < text.len;
         at += 1 + bytes_find(bytes_skip(text, at + 1), '-')) {
        uint8_t room[CONFIG_NAME_MAX];
        struct config_section *section =
            config_builder_find(a->config, a->kind, unquote(bytes_first(text, at), room));
        if (section != NULL) {
            found = section;
            *key_out = bytes_skip(text, at + 1);
        }
    }
    return found;
}

static struct bytes nearest_section(const struct argument *a, struct bytes name)
{
    struct cf_nearest nearest;
    cf_nearest_init(&nearest, name);
    for (struct config_section *s = a->config->builder->first; s != NULL; s = s->next)
        if (s->kind == a->kind)
            cf_nearest_offer(&nearest, s->name);
    return cf_nearest_name(&nearest);
}

static int assign_named(const struct argument *a)
{
    struct bytes key = a->rest;
    struct config_section *section = find_longest(a, &key);
    if (section != NULL)
        return assign(a, section, key);
    struct bytes text = bytes_skip(a->rest, 1);
    struct bytes name = bytes_first(text, bytes_find(text, '-'));
    report(a, name, "the name of a declared section", nearest_section(a, name));
    return 0;
}

enum pass { PASS_UNNAMED, PASS_DECLARE, PASS_ASSIGN };

static int take(const struct argument *a, enum pass pass)
{
    bool is_declaration = a->rest.at[0] == '=';
    if (!a->kind->is_named && pass == PASS_UNNAMED) {
        struct config_section *section =
            config_builder_find(a->config, a->kind, bytes_make(NULL, 0));
        return is_declaration ? declare(a) : assign(a, section, bytes_skip(a->rest, 1));
    }
    if (a->kind->is_named && is_declaration && pass == PASS_DECLARE)
        return declare(a);
    if (a->kind->is_named && !is_declaration && pass == PASS_ASSIGN)
        return assign_named(a);
    return 0;
}

static int run(struct config *config, const struct flags *flags, enum pass pass)
{
    for (int i = 1; i < flags->argument_count; i++) {
        struct argument a = {
            .config = config, .whole = bytes_of(flags->arguments[i]), .number = (uint32_t)i};
        if (!flags_is_assignment(flags->arguments[i]) || !split_kind(&a))
            continue;
        int error = take(&a, pass);
        if (error != 0)
            return error;
    }
    return 0;
}

int config_flags_unnamed(struct config *config, const struct flags *flags)
{
    return run(config, flags, PASS_UNNAMED);
}

int config_flags_declare(struct config *config, const struct flags *flags)
{
    return run(config, flags, PASS_DECLARE);
}

int config_flags_named(struct config *config, const struct flags *flags)
{
    return run(config, flags, PASS_ASSIGN);
}
