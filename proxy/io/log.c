/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines: built once, added to each sink, written once a turn. */
#include "proxy/io/log.h"

#include <assert.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/log_out.h"
#include "proxy/io/loop_uv.h"

#define TAIL_MAX  32 /* the end of a line: the mark that it was cut, brace, newline */
#define STAMP_LEN 25 /* "2026-11-22T03:47:44.123Z " */

struct log {
    struct loop *loop;
    struct loop_turn_end turn_end;
    struct bytes process; /* empty: lines do not say it */
    bool is_json, is_building, is_cut;
    unsigned part;     /* of the line, from 1; 0: none was opened */
    bool is_in_part;   /* keys are this part's */
    bool is_part_full; /* there was no room for it: its fields are left out */
    int count;
    uint32_t journals, syslogs; /* bit masks of such sinks */
    int64_t wall_ms;            /* of the line that is being built */
    int64_t stamp_s, syslog_s;  /* the seconds that `stamp` and `syslog_stamp` show */
    uint8_t stamp[19];
    char syslog_stamp[32];
    struct log_text line,
        fields; /* fields: the journal's form, built only where the journal is a sink */
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

static int open_outs(struct log *log, const struct log_sink *sinks, int count)
{
    int64_t wall_s = loop_wall_ms(log->loop) / 1000;

    for (int i = 0; i < count; i++) {
        int error = log_out_open(&log->outs[i], &sinks[i], &loop_pools(log->loop)->chunk, wall_s);

        log->count = i + 1;
        if (error != 0)
            return error;
        if (sinks[i].kind == LOG_TO_JOURNAL)
            log->journals |= 1u << i;
        if (sinks[i].kind == LOG_TO_SYSLOG)
            log->syslogs |= 1u << i;
    }
    return 0;
}

struct log *log_new(struct loop *loop, const struct log_sink *sinks, int count, bool is_json,
                    int *error_out)
{
    struct log *log = count <= LOG_SINKS_MAX ? mem_zalloc(sizeof(*log)) : NULL;
    int error;

    if (log == NULL) {
        *error_out = count <= LOG_SINKS_MAX ? ERR_MEMORY : ERR_RANGE;
        return NULL;
    }
    log->loop = loop;
    log->is_json = is_json;
    log->stamp_s = log->syslog_s = INT64_MIN;
    list_init(&log->turn_end.link);
    log->turn_end.fn = on_turn_end;
    list_append(&loop->turn_ends, &log->turn_end.link);
    log->line.at = log->line_octets;
    error = open_outs(log, sinks, count);
    if (error == 0 && log->journals != 0) {
        log->fields.at = mem_alloc(LOG_FIELDS_MAX);
        error = log->fields.at == NULL ? ERR_MEMORY : 0;
    }
    if (error != 0) {
        log_free(&log);
        *error_out = error;
    }
    return log;
}

void log_name(struct log *log, struct bytes process)
{
    log->process = process;
}

void log_reopen(struct log *log)
{
    int64_t wall_s = loop_wall_ms(log->loop) / 1000;

    log_flush(log);
    for (int i = 0; i < log->count; i++)
        log_out_reopen(&log->outs[i], wall_s);
}

/* The sink takes lines again: says how many were lost. */
static void tell_lost(struct log *log, int i)
{
    struct log_out *out = &log->outs[i];
    uint64_t lost = out->lost;
    struct log_line line = log_begin(log, 1u << i, LOG_LEVEL_WARNING, "log-lost");

    log_put_number(&line, "lines", (int64_t)lost);
    log_end(&line);
    if (log_out_flush(out, log->wall_ms / 1000))
        out->lost -= lost;
    else
        out->lost = lost;
}

void log_flush(struct log *log)
{
    for (int i = 0; i < log->count; i++) {
        struct log_out *out = &log->outs[i];

        if (out->used > 0 && log_out_flush(out, log->wall_ms / 1000) && out->lost > 0 &&
            !log->is_building)
            tell_lost(log, i);
    }
}

void log_free(struct log **held)
{
    struct log *log = *held;

    if (log == NULL)
        return;
    assert(!log->is_building);
    log_flush(log);
    list_remove(&log->turn_end.link);
    for (int i = 0; i < log->count; i++)
        log_out_close(&log->outs[i]);
    mem_free(log->fields.at);
    mem_free(log);
    *held = NULL;
}

/* ---- lines ---- */

static void put_stamp(struct log *log)
{
    int64_t wall_s = log->wall_ms / 1000, ms = log->wall_ms % 1000;
    uint8_t fraction[5] = {'.', (uint8_t)('0' + ms / 100), (uint8_t)('0' + ms / 10 % 10),
                           (uint8_t)('0' + ms % 10), 'Z'};
    struct log_text stamp = {.at = log->stamp, .max = sizeof(log->stamp)};

    if (wall_s != log->stamp_s)
        log_text_time(&stamp, wall_s);
    log->stamp_s = wall_s;
    log_text_put(&log->line, bytes_make(log->stamp, sizeof(log->stamp)));
    log_text_put(&log->line, bytes_make(fraction, sizeof(fraction)));
}

struct log_line log_begin(struct log *log, uint32_t sinks, enum log_level level, const char *event)
{
    struct log_line line = {.log = log, .level = level};

    line.sinks = sinks & (uint32_t)((1ull << log->count) - 1);
    line.is_open = line.sinks != 0;
    if (!line.is_open)
        return line;
    assert(!log->is_building && level < ARRAY_LENGTH(level_names));
    log->is_building = true;
    log->is_cut = false;
    log->part = 0;
    log->wall_ms = loop_wall_ms(log->loop);
    log->line.len = log->fields.len = 0;
    log->line.max = LOG_LINE_MAX - TAIL_MAX;
    log->fields.max = LOG_FIELDS_MAX;
    log_text_cstring(&log->line, log->is_json ? "{\"time\":\"" : "");
    put_stamp(log);
    log_text_cstring(&log->line, log->is_json ? "\",\"level\":\"" : " ");
    if (log->is_json) {
        log_text_cstring(&log->line, level_names[level]);
        log_text_cstring(&log->line, "\",\"event\":\"");
    }
    log_text_cstring(&log->line, event);
    log_text_cstring(&log->line, log->is_json ? "\"" : "");
    if ((line.sinks & log->journals) != 0)
        log_text_journal_field(&log->fields, "event", bytes_of(event));
    if (log->process.len != 0)
        log_put(&line, "process", log->process);
    return line;
}

/* A field that did not fit is taken out again. */
static void keep_or_drop(struct log *log, struct log_text *text, size_t len_before)
{
    if (!text->is_full)
        return;
    text->len = len_before;
    text->is_full = false;
    log->is_cut = true;
}

/* In text the number of a part that is not the first is in its keys. */
static void put_key_in(const struct log *log, struct log_text *text, const char *key)
{
    log_text_cstring(text, key);
    if (log->is_in_part && log->part > 1)
        log_text_number(text, log->part);
}

static void put_key(struct log *log, const char *key)
{
    bool is_first = log->line.at[log->line.len - 1] == '{';

    if (!log->is_json) {
        log_text_octet(&log->line, ' ');
        put_key_in(log, &log->line, key);
        log_text_octet(&log->line, '=');
        return;
    }
    log_text_cstring(&log->line, is_first ? "\"" : ",\"");
    log_text_cstring(&log->line, key);
    log_text_cstring(&log->line, "\":");
}

static void put_journal_field(struct log *log, const char *key, struct bytes value)
{
    size_t before = log->fields.len;
    char octets[64];
    struct log_text name = {.at = (uint8_t *)octets, .max = sizeof(octets) - 1};

    put_key_in(log, &name, key);
    assert(!name.is_full);
    octets[name.len] = '\0';
    log_text_journal_field(&log->fields, octets, value);
    keep_or_drop(log, &log->fields, before);
}

static void put_journal(struct log_line *line, const char *key, struct bytes value)
{
    if ((line->sinks & line->log->journals) != 0)
        put_journal_field(line->log, key, value);
}

static bool takes_fields(const struct log_line *line)
{
    return line->is_open && !line->log->is_part_full;
}

typedef void put_value(struct log_text *text, struct bytes value);

static void put_field(struct log *log, const char *key, struct bytes value, put_value *put)
{
    size_t before = log->line.len;

    put_key(log, key);
    put(&log->line, value);
    keep_or_drop(log, &log->line, before);
}

void log_put(struct log_line *line, const char *key, struct bytes value)
{
    struct log *log = line->log;

    if (!takes_fields(line))
        return;
    put_field(log, key, value, log->is_json ? log_text_json_string : log_text_value);
    put_journal(line, key, value);
}

void log_put_list(struct log_line *line, const char *key, struct bytes items)
{
    struct log *log = line->log;

    if (!takes_fields(line))
        return;
    put_field(log, key, items, log->is_json ? log_text_json_list : log_text_list);
    while (items.len > 0) {
        size_t len = bytes_find(items, '\n');
        put_journal(line, key, bytes_first(items, len));
        items = bytes_skip(items, len < items.len ? len + 1 : len);
    }
}

void log_put_text(struct log_line *line, const char *key, const char *value)
{
    log_put(line, key, bytes_of(value));
}

void log_put_number(struct log_line *line, const char *key, int64_t value)
{
    struct log *log = line->log;
    uint8_t digits[24];
    struct log_text text = {.at = digits, .max = sizeof(digits)};

    if (!takes_fields(line))
        return;
    size_t before = log->line.len;
    log_text_number(&text, value);
    put_key(log, key);
    log_text_put(&log->line, bytes_make(digits, text.len));
    keep_or_drop(log, &log->line, before);
    put_journal(line, key, bytes_make(digits, text.len));
}

void log_put_error(struct log_line *line, const char *key, int error)
{
    const char *own = error_text(error);
    char buffer[128];

    log_put_text(line, key, own != NULL ? own : strerror_r(-error, buffer, sizeof(buffer)));
}

/* ---- parts ---- */

void log_open_part(struct log_line *line, const char *key)
{
    struct log *log = line->log;

    if (!line->is_open)
        return;
    assert(!log->is_in_part);
    size_t before = log->line.len;
    log->part++;
    if (log->is_json && log->part == 1) {
        put_key(log, key);
        log_text_cstring(&log->line, "[");
    }
    if (log->is_json)
        log_text_cstring(&log->line, log->part == 1 ? "{" : ",{");
    log->is_part_full = log->line.is_full;
    log->part -= log->is_part_full;
    keep_or_drop(log, &log->line, before);
    log->is_in_part = true;
}

/* There is always room for what ends something. */
static void put_end(struct log *log, const char *octets)
{
    log->line.max = LOG_LINE_MAX;
    log_text_cstring(&log->line, octets);
    if (log->line.len < LOG_LINE_MAX - TAIL_MAX)
        log->line.max = LOG_LINE_MAX - TAIL_MAX;
    else
        log->line.max = log->line.len;
}

void log_close_part(struct log_line *line)
{
    struct log *log = line->log;

    if (!line->is_open)
        return;
    assert(log->is_in_part);
    if (log->is_json && !log->is_part_full)
        put_end(log, "}");
    log->is_in_part = log->is_part_full = false;
}

void log_close_parts(struct log_line *line)
{
    if (line->is_open && line->log->is_json && line->log->part > 0)
        put_end(line->log, "]");
}

/* ---- the end of a line, sink by sink ---- */

/* The line for syslog and the journal, which add times of their own. */
static struct bytes message_of(const struct log *log)
{
    struct bytes whole = bytes_make(log->line.at, log->line.len - 1);

    assert(log->line.len > STAMP_LEN);
    return log->is_json ? whole : bytes_skip(whole, STAMP_LEN);
}

static void put_process(struct log_text *text, const struct log_sink *sink)
{
    log_text_put(text, bytes_first(sink->ident, 64));
    log_text_cstring(text, "[");
    log_text_number(text, getpid());
    log_text_cstring(text, "]: ");
}

/* RFC 3164: <PRI>Nov 22 03:47:44 ident[pid]: message, in local time as syslog(3) does it. */
static void end_syslog(struct log *log, struct log_out *out, enum log_level level)
{
    uint8_t octets[160];
    struct log_text head = {.at = octets, .max = sizeof(octets)};
    int64_t wall_s = log->wall_ms / 1000;
    time_t seconds = (time_t)wall_s;
    struct tm local;

    if (wall_s != log->syslog_s) {
        localtime_r(&seconds, &local);
        strftime(log->syslog_stamp, sizeof(log->syslog_stamp), "%b %e %H:%M:%S ", &local);
        log->syslog_s = wall_s;
    }
    log_text_cstring(&head, "<");
    log_text_number(&head, out->sink->facility * 8 + severities[level]);
    log_text_cstring(&head, ">");
    log_text_cstring(&head, log->syslog_stamp);
    put_process(&head, out->sink);
    assert(!head.is_full);
    log_out_add(out, bytes_make(octets, head.len), message_of(log), wall_s);
}

static void end_journal(struct log *log, struct log_out *out, enum log_level level)
{
    uint8_t octets[LOG_LINE_MAX + 256];
    struct log_text head = {.at = octets, .max = sizeof(octets)};

    log_text_cstring(&head, "PRIORITY=");
    log_text_number(&head, severities[level]);
    log_text_cstring(&head, "\nSYSLOG_IDENTIFIER=");
    log_text_put(&head, bytes_first(out->sink->ident, 64));
    log_text_cstring(&head, "\nMESSAGE=");
    log_text_put(&head, message_of(log));
    log_text_cstring(&head, "\n");
    assert(!head.is_full);
    log_out_add(out, bytes_make(octets, head.len), bytes_make(log->fields.at, log->fields.len),
                log->wall_ms / 1000);
}

void log_end(struct log_line *line)
{
    struct log *log = line->log;

    if (!line->is_open)
        return;
    assert(log->is_building);
    line->is_open = false;
    log->is_building = false;
    log->line.max = LOG_LINE_MAX;
    if (log->is_cut)
        log_text_cstring(&log->line, log->is_json ? ",\"cut\":\"yes\"" : " cut=yes");
    log_text_cstring(&log->line, log->is_json ? "}\n" : "\n");
    assert(!log->line.is_full);
    for (int i = 0; i < log->count; i++) {
        if ((line->sinks & 1u << i) == 0)
            continue;
        if ((log->syslogs & 1u << i) != 0)
            end_syslog(log, &log->outs[i], line->level);
        else if ((log->journals & 1u << i) != 0)
            end_journal(log, &log->outs[i], line->level);
        else
            log_out_add(&log->outs[i], bytes_make(NULL, 0), bytes_make(log->line.at, log->line.len),
                        log->wall_ms / 1000);
    }
}
