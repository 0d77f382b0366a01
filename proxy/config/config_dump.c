/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes the effective configuration in the scoped form. */
#include <sysexits.h>

#include "proxy/config/config_private.h"

#define LINE_BYTES (1024 * 1024)

struct dump {
    struct buf line;
    FILE *out;
    int error;
};

static void write_line(struct dump *dump)
{
    struct bytes line = buf_bytes(&dump->line);
    if (dump->line.has_failed)
        dump->error = EX_OSERR;
    else if (fwrite(line.at, 1, line.len, dump->out) != line.len || fputc('\n', dump->out) == EOF)
        dump->error = EX_IOERR;
    buf_reset(&dump->line);
}

/* `smtpd."mx.example.net".` */
static void put_scope(struct dump *dump, const struct config_section *section)
{
    buf_text(&dump->line, section->kind->kind);
    buf_byte(&dump->line, '.');
    if (section->kind->is_named) {
        cf_put_word(&dump->line, section->name, true);
        buf_byte(&dump->line, '.');
    }
}

static void dump_settings(struct dump *dump, const struct config_section *section)
{
    for (size_t i = 0; i < section->kind->row_count; i++) {
        const struct setting *row = &section->kind->rows[i];
        size_t count = setting_value_count(row, section->conf);
        for (size_t k = 0; k < count; k++) {
            put_scope(dump, section);
            buf_cat(&dump->line, row->key, " = ", NULL);
            size_t before = buf_length(&dump->line);
            setting_put_value(row, section->conf, k, &dump->line);
            if (buf_length(&dump->line) > before)
                write_line(dump);
            else
                buf_reset(&dump->line);
        }
    }
}

/* Brackets need quotes in a pattern, unlike in a value. */
static void put_pattern(struct dump *dump, const struct route_word *pattern)
{
    cf_put_word(&dump->line, pattern->text, pattern->is_quoted || !cf_is_atom(pattern->text));
}

static void dump_routes(struct dump *dump, const struct config_section *section)
{
    const struct route_source *table = section->conf;
    for (const struct route_line *line = table->first; line != NULL; line = line->next) {
        put_scope(dump, section);
        put_pattern(dump, &line->words[0]);
        buf_text(&dump->line, " = ");
        for (uint32_t i = 1; i < line->word_count; i++) {
            cf_put_word(&dump->line, line->words[i].text, line->words[i].is_quoted);
            if (i + 1 < line->word_count)
                buf_text(&dump->line, line->words[i].ends_target ? ", " : " ");
        }
        write_line(dump);
    }
}

int config_dump(struct config *config, FILE *out)
{
    struct dump dump = {.out = out};
    buf_init(&dump.line, &config->pool, LINE_BYTES);
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        dump_settings(&dump, section);
        if (section->kind == &route_source_section)
            dump_routes(&dump, section);
    }
    buf_done(&dump.line);
    if (fflush(out) != 0)
        dump.error = EX_IOERR;
    return dump.error;
}
