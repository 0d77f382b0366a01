/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines: built once, given to each sink, written once a turn. */
#include "proxy/io/log.h"

#include <assert.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/log_out.h"
#include "proxy/io/loop_uv.h"

#define TAIL_MAX  32 /* what ends a line: the mark that it was cut, brace, newline */
#define STAMP_LEN 25 /* "2026-11-22T03:47:44.123Z " */

struct log {
    struct loop *loop;
    struct loop_turn_end turn_end;
    bool is_json, is_building, is_cut;
    int count;
    uint32_t journals, syslogs; /* which sinks are that */
    int64_t wall_ms;            /* of the line in the making */
    int64_t stamp_s, syslog_s;  /* of which second `stamp` and `syslog_stamp` are */
    uint8_t stamp[19];
    char syslog_stamp[32];
    struct log_text line, fields; /* fields: as the journal wants them; only where it is a sink */
    struct log_out outs[LOG_SINKS_MAX];
    uint8_t line_octets[LOG_LINE_MAX];
};

static const char *const level_names[] = {"error", "warning", "info"};
static const int severities[] = {3, 4, 6}; /* RFC 3164 4.1.1 */

/* ---- life ---- */

static void on_turn_end(struct loop_turn_end *end)
{
    log_flush(CONTAINER_OF(end, struct log, turn_end));
}

static int open_outs(struct log *g, const struct log_sink *sinks, int count)
{
    int64_t wall_s = loop_wall_ms(g->loop) / 1000;

    for (int i = 0; i < count; i++) {
        int error = log_out_open(&g->outs[i], &sinks[i], &loop_pools(g->loop)->chunk, wall_s);

        g->count = i + 1;
        if (error != 0)
            return error;
        if (sinks[i].kind == LOG_TO_JOURNAL)
            g->journals |= 1u << i;
        if (sinks[i].kind == LOG_TO_SYSLOG)
            g->syslogs |= 1u << i;
    }
    return 0;
}

struct log *log_new(struct loop *l, const struct log_sink *sinks, int count, bool is_json,
                    int *error_out)
{
    struct log *g = count <= LOG_SINKS_MAX ? mem_zalloc(sizeof(*g)) : NULL;
    int error;

    if (g == NULL) {
        *error_out = count <= LOG_SINKS_MAX ? ERR_MEMORY : ERR_RANGE;
        return NULL;
    }
    g->loop = l;
    g->is_json = is_json;
    g->stamp_s = g->syslog_s = INT64_MIN;
    list_init(&g->turn_end.link);
    g->turn_end.fn = on_turn_end;
    list_append(&l->turn_ends, &g->turn_end.link);
    g->line.at = g->line_octets;
    error = open_outs(g, sinks, count);
    if (error == 0 && g->journals != 0) {
        g->fields.at = mem_alloc(LOG_FIELDS_MAX);
        error = g->fields.at == NULL ? ERR_MEMORY : 0;
    }
    if (error != 0) {
        log_free(&g);
        *error_out = error;
    }
    return g;
}

void log_reopen(struct log *g)
{
    int64_t wall_s = loop_wall_ms(g->loop) / 1000;

    log_flush(g);
    for (int i = 0; i < g->count; i++)
        log_out_reopen(&g->outs[i], wall_s);
}

/* The sink takes lines again: how many it did not get. */
static void tell_lost(struct log *g, int i)
{
    struct log_out *o = &g->outs[i];
    uint64_t lost = o->lost;
    struct log_line line = log_begin(g, 1u << i, LOG_LEVEL_WARNING, "log-lost");

    log_put_number(&line, "lines", (int64_t)lost);
    log_end(&line);
    if (log_out_flush(o, g->wall_ms / 1000))
        o->lost -= lost;
    else
        o->lost = lost;
}

void log_flush(struct log *g)
{
    for (int i = 0; i < g->count; i++) {
        struct log_out *o = &g->outs[i];

        if (o->used > 0 && log_out_flush(o, g->wall_ms / 1000) && o->lost > 0 && !g->is_building)
            tell_lost(g, i);
    }
}

void log_free(struct log **log)
{
    struct log *g = *log;

    if (g == NULL)
        return;
    log_flush(g);
    list_remove(&g->turn_end.link);
    for (int i = 0; i < g->count; i++)
        log_out_close(&g->outs[i]);
    mem_free(g->fields.at);
    mem_free(g);
    *log = NULL;
}

/* ---- lines ---- */

static void put_stamp(struct log *g)
{
    int64_t wall_s = g->wall_ms / 1000, ms = g->wall_ms % 1000;
    uint8_t fraction[5] = {'.', (uint8_t)('0' + ms / 100), (uint8_t)('0' + ms / 10 % 10),
                           (uint8_t)('0' + ms % 10), 'Z'};
    struct log_text stamp = {.at = g->stamp, .max = sizeof(g->stamp)};

    if (wall_s != g->stamp_s)
        log_text_time(&stamp, wall_s);
    g->stamp_s = wall_s;
    log_text_put(&g->line, bytes_make(g->stamp, sizeof(g->stamp)));
    log_text_put(&g->line, bytes_make(fraction, sizeof(fraction)));
}

struct log_line log_begin(struct log *g, uint32_t sinks, enum log_level level, const char *event)
{
    struct log_line line = {.log = g, .level = level};

    line.sinks = sinks & (uint32_t)((1ull << g->count) - 1);
    line.is_open = line.sinks != 0;
    if (!line.is_open)
        return line;
    assert(!g->is_building); /* lines do not nest */
    g->is_building = true;
    g->is_cut = false;
    g->wall_ms = loop_wall_ms(g->loop);
    g->line.len = g->fields.len = 0;
    g->line.max = LOG_LINE_MAX - TAIL_MAX;
    g->fields.max = LOG_FIELDS_MAX;
    log_text_cstring(&g->line, g->is_json ? "{\"time\":\"" : "");
    put_stamp(g);
    log_text_cstring(&g->line, g->is_json ? "\",\"level\":\"" : " ");
    if (g->is_json) {
        log_text_cstring(&g->line, level_names[level]);
        log_text_cstring(&g->line, "\",\"event\":\"");
    }
    log_text_cstring(&g->line, event);
    log_text_cstring(&g->line, g->is_json ? "\"" : "");
    if ((line.sinks & g->journals) != 0)
        log_text_journal_field(&g->fields, "event", bytes_of(event));
    return line;
}

/* A field is in the line whole or not at all. */
static void keep_or_drop(struct log *g, struct log_text *t, size_t len_before)
{
    if (!t->is_full)
        return;
    t->len = len_before;
    t->is_full = false;
    g->is_cut = true;
}

static void put_key(struct log *g, const char *key)
{
    log_text_cstring(&g->line, g->is_json ? ",\"" : " ");
    log_text_cstring(&g->line, key);
    log_text_cstring(&g->line, g->is_json ? "\":" : "=");
}

static void put_journal(struct log_line *line, const char *key, struct bytes value)
{
    struct log *g = line->log;
    size_t before = g->fields.len;

    if ((line->sinks & g->journals) == 0)
        return;
    log_text_journal_field(&g->fields, key, value);
    keep_or_drop(g, &g->fields, before);
}

void log_put(struct log_line *line, const char *key, struct bytes value)
{
    struct log *g = line->log;
    size_t before = g->line.len;

    if (!line->is_open)
        return;
    put_key(g, key);
    if (g->is_json)
        log_text_json_string(&g->line, value);
    else
        log_text_value(&g->line, value);
    keep_or_drop(g, &g->line, before);
    put_journal(line, key, value);
}

void log_put_text(struct log_line *line, const char *key, const char *value)
{
    log_put(line, key, bytes_of(value));
}

void log_put_number(struct log_line *line, const char *key, int64_t value)
{
    struct log *g = line->log;
    uint8_t digits[24];
    struct log_text text = {.at = digits, .max = sizeof(digits)};
    size_t before = g->line.len;

    if (!line->is_open)
        return;
    log_text_number(&text, value);
    put_key(g, key);
    log_text_put(&g->line, bytes_make(digits, text.len));
    keep_or_drop(g, &g->line, before);
    put_journal(line, key, bytes_make(digits, text.len));
}

void log_put_error(struct log_line *line, const char *key, int error)
{
    const char *own = error_text(error);
    char buffer[128];

    log_put_text(line, key, own != NULL ? own : strerror_r(-error, buffer, sizeof(buffer)));
}

/* ---- the end of a line, sink by sink ---- */

/* What syslog and the journal show; they have times of their own. */
static struct bytes message_of(const struct log *g)
{
    struct bytes whole = bytes_make(g->line.at, g->line.len - 1);

    return g->is_json ? whole : bytes_skip(whole, STAMP_LEN);
}

static void put_process(struct log_text *t, const struct log_sink *sink)
{
    log_text_put(t, bytes_first(sink->ident, 64));
    log_text_cstring(t, "[");
    log_text_number(t, getpid());
    log_text_cstring(t, "]: ");
}

/* RFC 3164: <PRI>Nov 22 03:47:44 ident[pid]: message, in local time as syslog(3) does it. */
static void end_syslog(struct log *g, struct log_out *o, enum log_level level)
{
    uint8_t octets[160];
    struct log_text head = {.at = octets, .max = sizeof(octets)};
    int64_t wall_s = g->wall_ms / 1000;
    time_t seconds = (time_t)wall_s;
    struct tm local;

    if (wall_s != g->syslog_s) {
        localtime_r(&seconds, &local);
        strftime(g->syslog_stamp, sizeof(g->syslog_stamp), "%b %e %H:%M:%S ", &local);
        g->syslog_s = wall_s;
    }
    log_text_cstring(&head, "<");
    log_text_number(&head, o->sink->facility * 8 + severities[level]);
    log_text_cstring(&head, ">");
    log_text_cstring(&head, g->syslog_stamp);
    put_process(&head, o->sink);
    log_out_add(o, bytes_make(octets, head.len), message_of(g), wall_s);
}

static void end_journal(struct log *g, struct log_out *o, enum log_level level)
{
    uint8_t octets[LOG_LINE_MAX + 256];
    struct log_text head = {.at = octets, .max = sizeof(octets)};

    log_text_cstring(&head, "PRIORITY=");
    log_text_number(&head, severities[level]);
    log_text_cstring(&head, "\nSYSLOG_IDENTIFIER=");
    log_text_put(&head, bytes_first(o->sink->ident, 64));
    log_text_cstring(&head, "\nMESSAGE=");
    log_text_put(&head, message_of(g));
    log_text_cstring(&head, "\n");
    log_out_add(o, bytes_make(octets, head.len), bytes_make(g->fields.at, g->fields.len),
                g->wall_ms / 1000);
}

void log_end(struct log_line *line)
{
    struct log *g = line->log;

    if (!line->is_open)
        return;
    line->is_open = false;
    g->is_building = false;
    g->line.max = LOG_LINE_MAX;
    if (g->is_cut)
        log_text_cstring(&g->line, g->is_json ? ",\"cut\":\"yes\"" : " cut=yes");
    log_text_cstring(&g->line, g->is_json ? "}\n" : "\n");
    for (int i = 0; i < g->count; i++) {
        if ((line->sinks & 1u << i) == 0)
            continue;
        if ((g->syslogs & 1u << i) != 0)
            end_syslog(g, &g->outs[i], line->level);
        else if ((g->journals & 1u << i) != 0)
            end_journal(g, &g->outs[i], line->level);
        else
            log_out_add(&g->outs[i], bytes_make(NULL, 0), bytes_make(g->line.at, g->line.len),
                        g->wall_ms / 1000);
    }
}
