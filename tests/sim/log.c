/* SPDX-License-Identifier: BSD-2-Clause */
/* log.h in a world: lines are collected as text, whatever their sink. */
#include "proxy/io/log.h"

#include <assert.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "tests/sim/world.h"

struct log {
    struct loop *loop;
    int sinks;
    bool is_building;
    unsigned part;
    bool is_in_part;
};

struct log *log_new(struct loop *l, const struct log_sink *sinks, int count, bool is_json,
                    int *error_out)
{
    struct log *g = mem_zalloc(sizeof(*g));

    (void)sinks;
    (void)is_json;
    if (g == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    g->loop = l;
    g->sinks = count;
    return g;
}

void log_name(struct log *g, struct bytes process)
{
    (void)g;
    (void)process;
}

void log_reopen(struct log *g)
{
    (void)g;
}

void log_flush(struct log *g)
{
    (void)g;
}

void log_free(struct log **g)
{
    assert(*g == NULL || !(*g)->is_building);
    mem_free(*g);
    *g = NULL;
}

static void put_text(struct log_line *line, const char *text)
{
    sim_put(&line->log->loop->world->log, bytes_of(text));
}

void sim_on_line(struct sim *w, void (*fn)(void *owner, struct bytes line), void *owner)
{
    w->lines = (struct sim_lines){.start = w->log.len, .fn = fn, .owner = owner};
}

static void tell(struct sim *w)
{
    struct bytes line = bytes_skip(bytes_make(w->log.at, w->log.len), w->lines.start);

    if (w->lines.fn != NULL)
        w->lines.fn(w->lines.owner, line);
}

struct log_line log_begin(struct log *g, uint32_t sinks, enum log_level level, const char *event)
{
    struct log_line line = {.log = g, .sinks = sinks, .level = level};

    line.is_open = (sinks & ((UINT32_C(1) << g->sinks) - 1)) != 0;
    if (line.is_open) {
        assert(!g->is_building);
        g->is_building = true;
        g->part = 0;
        g->loop->world->lines.start = g->loop->world->log.len;
        put_text(&line, event);
    }
    return line;
}

static bool is_plain(uint8_t c)
{
    return c > ' ' && c <= '~' && c != '"' && c != '\\';
}

/* What stands as it is; blanks too where there are quotes. */
static size_t plain_length(struct bytes value, bool is_quoted)
{
    size_t len = 0;

    while (len < value.len && (is_plain(value.at[len]) || (is_quoted && value.at[len] == ' ')))
        len++;
    return len;
}

void log_put(struct log_line *line, const char *key, struct bytes value)
{
    bool is_quoted = value.len == 0 || plain_length(value, false) < value.len;
    char octet[5];

    if (!line->is_open)
        return;
    put_text(line, " ");
    put_text(line, key);
    if (line->log->is_in_part && line->log->part > 1)
        put_text(line, (const char[]){(char)('0' + line->log->part), '\0'});
    put_text(line, is_quoted ? "=\"" : "=");
    for (;;) {
        size_t len = is_quoted ? plain_length(value, true) : value.len;
        sim_put(&line->log->loop->world->log, bytes_first(value, len));
        value = bytes_skip(value, len);
        if (value.len == 0)
            break;
        uint8_t c = value.at[0];
        snprintf(octet, sizeof(octet), c == '"' || c == '\\' ? "\\%c" : "\\x%02x", c);
        put_text(line, octet);
        value = bytes_skip(value, 1);
    }
    put_text(line, is_quoted ? "\"" : "");
}

void log_put_text(struct log_line *line, const char *key, const char *value)
{
    log_put(line, key, bytes_of(value));
}

void log_put_number(struct log_line *line, const char *key, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    log_put_text(line, key, text);
}

void log_put_error(struct log_line *line, const char *key, int error)
{
    const char *text = error_text(error);

    log_put_text(line, key, text != NULL ? text : strerror(-error));
}

void log_put_list(struct log_line *line, const char *key, struct bytes items)
{
    uint8_t joined[4096];
    size_t len = items.len == 0 ? 0 : items.len - 1;

    assert(items.len <= sizeof(joined));
    for (size_t i = 0; i < len; i++)
        joined[i] = items.at[i] == '\n' ? ',' : items.at[i];
    log_put(line, key, bytes_make(joined, len));
}

void log_open_part(struct log_line *line, const char *key)
{
    (void)key;
    line->log->part++;
    line->log->is_in_part = true;
}

void log_close_part(struct log_line *line)
{
    line->log->is_in_part = false;
}

void log_close_parts(struct log_line *line)
{
    (void)line;
}

void log_end(struct log_line *line)
{
    if (line->is_open) {
        line->log->is_building = false;
        put_text(line, "\n");
        tell(line->log->loop->world);
    }
    line->is_open = false;
}
