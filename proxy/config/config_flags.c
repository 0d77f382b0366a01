/* SPDX-License-Identifier: BSD-2-Clause */
/* Applies the assignments of the command line: --smtpd=foo, --smtpd-foo-listen-port=2525. */
#include <string.h>

#include "proxy/base/error.h"
#include "proxy/config/config_private.h"

/* One argument: "--" KIND "=" NAME, "--" KIND "-" KEY "=" VALUE, "--" KIND "-" NAME "-" KEY "="
 * VALUE. The shell has usually removed the quotes around NAME. */
struct argument {
    struct config *config;
    const struct setting_section *kind;
    struct bytes whole; /* with its "--" */
    struct bytes rest;  /* after KIND */
    uint32_t number;
};

static const struct config_file command_line = {.path = CF_COMMAND_LINE, .is_flag = true};

static struct cf_place place_of(const struct argument *argument, struct bytes part)
{
    struct cf_place place = {.file = CF_COMMAND_LINE, .line = argument->number, .column = 1};
    for (const uint8_t *at = argument->whole.at; at < part.at; at++)
        place.column += (*at & 0xC0) != 0x80;
    return place;
}

static void report(const struct argument *argument, struct bytes part, const char *expected,
                   struct bytes nearest)
{
    cf_error(&argument->config->problems, place_of(argument, part), part, bytes_of(expected),
             nearest);
    argument->config->builder->has_usage_error = true;
}

/* Finds the longest kind that the argument begins with. */
static bool split_kind(struct argument *argument)
{
    const struct setting_section *kind;
    struct bytes text = bytes_skip(argument->whole, 2);
    argument->kind = NULL;
    for (size_t i = 0; (kind = config_builder_each_kind(i)) != NULL; i++) {
        size_t len = strlen(kind->kind);
        bool is_longer = argument->kind == NULL || len > strlen(argument->kind->kind);
        if (is_longer && text.len > len && memcmp(text.at, kind->kind, len) == 0 &&
            (text.at[len] == '-' || text.at[len] == '=')) {
            argument->kind = kind;
            argument->rest = bytes_skip(text, len);
        }
    }
    return argument->kind != NULL;
}

static int read_item(const struct argument *argument, struct bytes text, struct cf_reader *reader,
                     struct cf_item *item)
{
    struct cf_place place = place_of(argument, text);
    cf_reader_init(reader, text, CF_COMMAND_LINE, &argument->config->arena,
                   &argument->config->problems);
    reader->is_flag = true;
    reader->line = place.line;
    reader->column = place.column;
    return cf_next(reader, argument->kind == &route_source_section, item);
}

/* "KEY=VALUE" */
static int assign(const struct argument *argument, struct config_section *section,
                  struct bytes text)
{
    struct cf_reader reader;
    struct cf_item item;
    int error = read_item(argument, text, &reader, &item);
    if (error == 0 && item.kind == CF_ASSIGNMENT)
        error = config_file_assign(argument->config, section, &item, &command_line);
    cf_reader_done(&reader);
    return error;
}

/* A name in quotes, with quoted pairs, is read into `room`; any other is returned as it is. */
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
static int declare(const struct argument *argument)
{
    struct config_section *section;
    uint8_t room[CONFIG_NAME_MAX];
    struct bytes name = bytes_skip(argument->rest, 1);
    struct cf_place place = place_of(argument, name);
    if (!argument->kind->is_named) {
        report(argument, argument->whole, "a key after this section, which has no name",
               bytes_make(NULL, 0));
        return 0;
    }
    return config_builder_section(argument->config, argument->kind, unquote(name, room), place,
                                  &section);
}

/* The declared section with the longest name that `rest` ("-NAME-KEY=VALUE") begins with. */
static struct config_section *find_longest(const struct argument *argument, struct bytes *key_out)
{
    struct bytes text = bytes_skip(argument->rest, 1);
    struct config_section *found = NULL;
    for (size_t at = bytes_find(text, '-'); at < text.len;
         at += 1 + bytes_find(bytes_skip(text, at + 1), '-')) {
        uint8_t room[CONFIG_NAME_MAX];
        struct config_section *section = config_builder_find(argument->config, argument->kind,
                                                             unquote(bytes_first(text, at), room));
        if (section != NULL) {
            found = section;
            *key_out = bytes_skip(text, at + 1);
        }
    }
    return found;
}

static struct bytes nearest_section(const struct argument *argument, struct bytes name)
{
    struct cf_nearest nearest;
    cf_nearest_init(&nearest, name);
    for (struct config_section *section = argument->config->builder->first; section != NULL;
         section = section->next)
        if (section->kind == argument->kind)
            cf_nearest_offer(&nearest, section->name);
    return cf_nearest_name(&nearest);
}

static int assign_named(const struct argument *argument)
{
    struct bytes key = argument->rest;
    struct config_section *section = find_longest(argument, &key);
    if (section != NULL)
        return assign(argument, section, key);
    struct bytes text = bytes_skip(argument->rest, 1);
    struct bytes name = bytes_first(text, bytes_find(text, '-'));
    report(argument, name, "the name of a declared section", nearest_section(argument, name));
    return 0;
}

enum pass { PASS_UNNAMED, PASS_DECLARE, PASS_ASSIGN };

static int take(const struct argument *argument, enum pass pass)
{
    bool is_declaration = argument->rest.at[0] == '=';
    if (!argument->kind->is_named && pass == PASS_UNNAMED) {
        struct config_section *section =
            config_builder_find(argument->config, argument->kind, bytes_make(NULL, 0));
        return is_declaration ? declare(argument)
                              : assign(argument, section, bytes_skip(argument->rest, 1));
    }
    if (argument->kind->is_named && is_declaration && pass == PASS_DECLARE)
        return declare(argument);
    if (argument->kind->is_named && !is_declaration && pass == PASS_ASSIGN)
        return assign_named(argument);
    return 0;
}

static int run(struct config *config, const struct flags *flags, enum pass pass)
{
    for (int i = 1; i < flags->argument_count; i++) {
        struct argument argument = {
            .config = config, .whole = bytes_of(flags->arguments[i]), .number = (uint32_t)i};
        if (!flags_is_assignment(flags->arguments[i]) || !split_kind(&argument))
            continue;
        int error = take(&argument, pass);
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
