/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration files: whatever is read without a complaint is written as what reads the same. */
/* needs: shell io */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/config/config_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct config_section *enter(struct config *config, const struct cf_item *item)
{
    struct config_section *section = NULL;
    const struct setting_section *kind =
        item->word_count == 0 ? NULL : config_builder_kind(item->words[0].text);
    struct bytes name = item->word_count == 2 ? item->words[1].text : bytes_make(NULL, 0);
    if (kind != NULL && kind->is_named == (item->word_count == 2))
        MUST(config_builder_section(config, kind, name, item->place, &section) == 0);
    return section;
}

/* Places grow, and words lie within the input or the arena. */
static void look_at(const struct cf_item *item, const struct cf_place *before)
{
    MUST(item->place.line > before->line ||
         (item->place.line == before->line && item->place.column >= before->column));
    for (size_t i = 1; i < item->word_count && item->kind == CF_ASSIGNMENT; i++)
        MUST(item->words[i].is_quoted || item->words[i].text.len > 0);
}

/* All but files that tables include: the input must not reach others on this host. */
static struct config *read_text(struct bytes text)
{
    const struct config_file file = {.path = "f"};
    struct config *config = config_new();
    struct cf_reader reader;
    struct cf_item item;
    struct cf_place before = {.file = "f"};
    MUST(config != NULL && config_builder_init(config) == 0);
    struct config_section *section =
        config_builder_find(config, &route_source_section, bytes_make(NULL, 0));
    cf_reader_init(&reader, text, file.path, &config->arena, &config->problems);
    for (;;) {
        bool is_route = section != NULL && section->kind == &route_source_section;
        MUST(cf_next(&reader, is_route, &item) == 0);
        if (item.kind == CF_END)
            break;
        look_at(&item, &before);
        before = item.place;
        if (item.kind == CF_SECTION)
            section = enter(config, &item);
        else if (section != NULL && (!is_route || !bytes_is(item.words[0].text, "file")))
            MUST(config_assign(config, section, &item, &file) == 0);
    }
    cf_reader_done(&reader);
    if (config->core.hostname.len == 0)
        config->core.hostname = bytes_of("host.example");
    MUST(config_finish(config) == 0);
    config_resolve_sizes(config);
    return config;
}

static char *dump(struct config *config, size_t *len_out)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len_out);
    MUST(out != NULL && config_dump(config, out) == 0);
    fclose(out);
    return text;
}

/* `smtpd."x".key = value` as `[smtpd "x"] key = value`: no name may hold a line end. */
static char *as_file(const char *text, size_t len, size_t *len_out)
{
    char *file = NULL;
    FILE *out = open_memstream(&file, len_out);
    MUST(out != NULL);
    for (size_t at = 0; at < len; at++) {
        fputc('[', out);
        for (; text[at] != '.'; at++)
            fputc(text[at], out);
        at++;
        if (text[at] == '"') {
            fputc(' ', out);
            do {
                if (text[at] == '\\')
                    fputc(text[at++], out);
                fputc(text[at++], out);
            } while (text[at] != '"');
            fputc('"', out);
            at += 2;
        }
        fputs("] ", out);
        for (; text[at] != '\n'; at++)
            fputc(text[at], out);
        fputc('\n', out);
    }
    fclose(out);
    return file;
}

static void print_problems(struct config *config)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    MUST(out != NULL);
    config_print_problems(config, out);
    fclose(out);
    for (size_t i = 0; i < len; i++)
        MUST((uint8_t)text[i] >= 0x20 || text[i] == '\n');
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t first_len, second_len, file_len;
    struct config *first = read_text(bytes_make(data, size));
    print_problems(first);
    if (first->problems.errors == 0) {
        char *first_dump = dump(first, &first_len);
        char *file = as_file(first_dump, first_len, &file_len);
        struct config *second = read_text(bytes_make(file, file_len));
        char *second_dump = dump(second, &second_len);
        MUST(second->problems.errors == 0);
        MUST(first_len == second_len);
        free(first_dump);
        free(file);
        free(second_dump);
        config_free(&second);
    }
    config_free(&first);
    return 0;
}
