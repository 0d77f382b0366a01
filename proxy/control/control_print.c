/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of answers: the same fields as aligned text for people, or as one JSON object. */
#include "proxy/control/control_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LIST_KEY_WIDTH 12

static const char blanks[] = "                                                                ";

static void put_blanks(struct buf *out, size_t count)
{
    for (; count >= sizeof(blanks); count -= sizeof(blanks) - 1)
        buf_text(out, blanks);
    buf_put(out, bytes_make(blanks, count));
}

enum escape { ESCAPE_TEXT, ESCAPE_JSON };

static bool is_plain(uint8_t octet, enum escape escape)
{
    return byte_is_printable(octet) && !(escape == ESCAPE_JSON && (octet == '"' || octet == '\\'));
}

static size_t escaped_length(struct bytes value, enum escape escape)
{
    size_t len = value.len;

    for (size_t i = 0; i < value.len; i++)
        if (!is_plain(value.at[i], escape))
            len += escape == ESCAPE_JSON ? 5 : 3;
    return len;
}

/* Writes octets that are not plain as \xNN, in JSON as \u00NN: they might control the terminal. */
static void put_escaped(struct buf *out, struct bytes value, enum escape escape)
{
    static const char digits[] = "0123456789abcdef";
    size_t plain = 0;

    for (size_t i = 0; i < value.len; i++) {
        uint8_t octet = value.at[i];

        if (is_plain(octet, escape))
            continue;
        buf_put(out, bytes_make(value.at + plain, i - plain));
        buf_text(out, escape == ESCAPE_JSON ? "\\u00" : "\\x");
        buf_byte(out, (uint8_t)digits[octet >> 4]);
        buf_byte(out, (uint8_t)digits[octet & 15]);
        plain = i + 1;
    }
    if (plain < value.len)
        buf_put(out, bytes_skip(value, plain));
}

/* ---- lines ---- */

void control_row_begin(struct control_row *row, struct buf *out, bool is_json,
                       enum control_style text)
{
    *row =
        (struct control_row){.out = out, .style = is_json ? CONTROL_JSON : text, .is_first = true};
    if (row->style != CONTROL_LIST)
        buf_byte(out, ' ');
    if (is_json)
        buf_byte(out, '{');
}

void control_row_end(struct control_row *row)
{
    if (row->style == CONTROL_JSON)
        buf_text(row->out, "}\n");
    else if (row->style == CONTROL_ROW)
        buf_byte(row->out, '\n');
}

static void put_json_key(struct control_row *row, const char *key)
{
    buf_cat(row->out, row->is_first ? "\"" : ",\"", key, "\":", NULL);
    row->is_first = false;
}

static void put_column(struct control_row *row, int width, struct bytes value)
{
    size_t len = escaped_length(value, ESCAPE_TEXT);
    size_t wanted = width == CONTROL_REST ? 0 : (size_t)abs(width);
    size_t missing = len < wanted ? wanted - len : 0;

    if (!row->is_first)
        put_blanks(row->out, 2);
    row->is_first = false;
    if (width < 0)
        put_blanks(row->out, missing);
    put_escaped(row->out, value, ESCAPE_TEXT);
    if (width > 0)
        put_blanks(row->out, missing);
}

static void put_item(struct control_row *row, const char *key, struct bytes value)
{
    size_t len = strlen(key) + 1;

    buf_cat(row->out, " ", key, ":", NULL);
    put_blanks(row->out, len < LIST_KEY_WIDTH ? LIST_KEY_WIDTH - len : 1);
    put_escaped(row->out, value, ESCAPE_TEXT);
    buf_byte(row->out, '\n');
}

/* A value that JSON has without quotes: a number, true, null. */
static void put_raw(struct control_row *row, const char *key, int width, const char *json,
                    const char *text)
{
    if (row->style == CONTROL_JSON) {
        put_json_key(row, key);
        buf_text(row->out, json);
    } else if (width != CONTROL_JSON_ONLY) {
        if (row->style == CONTROL_ROW)
            put_column(row, width, bytes_of(text));
        else
            put_item(row, key, bytes_of(text));
    }
}

void control_put(struct control_row *row, const char *key, int width, struct bytes value)
{
    struct bytes text = value.len == 0 ? bytes_of("-") : value;

    if (row->style == CONTROL_JSON) {
        put_json_key(row, key);
        buf_byte(row->out, '"');
        put_escaped(row->out, value, ESCAPE_JSON);
        buf_byte(row->out, '"');
    } else if (width != CONTROL_JSON_ONLY) {
        if (row->style == CONTROL_ROW)
            put_column(row, width, text);
        else
            put_item(row, key, text);
    }
}

void control_put_text(struct control_row *row, const char *key, int width, const char *value)
{
    control_put(row, key, width, bytes_of(value));
}

void control_put_number(struct control_row *row, const char *key, int width, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    put_raw(row, key, width, text, text);
}

void control_put_age(struct control_row *row, const char *key, int width, int64_t seconds)
{
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    int64_t age = seconds < 0 ? 0 : seconds;
    char json[24], text[24];
    size_t i = 0;

    if (seconds == CONTROL_NO_AGE) {
        put_raw(row, key, width, "null", "-");
        return;
    }
    /* At least two of a unit: "1d" for 47 hours would mislead. */
    while (i + 1 < ARRAY_LENGTH(units) && age < 2 * units[i].seconds)
        i++;
    snprintf(json, sizeof(json), "%lld", (long long)age);
    snprintf(text, sizeof(text), "%lld%c", (long long)(age / units[i].seconds), units[i].unit);
    put_raw(row, key, width, json, text);
}

void control_put_time(struct control_row *row, const char *key, int width, int64_t wall_s)
{
    char json[40], text[32];
    time_t seconds = (time_t)wall_s;
    struct tm tm;

    if (wall_s == 0 || gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        put_raw(row, key, width, "null", "-");
        return;
    }
    snprintf(json, sizeof(json), "\"%s\"", text);
    put_raw(row, key, width, json, text);
}

void control_put_bool(struct control_row *row, const char *key, int width, bool is_so)
{
    const char *text = row->style == CONTROL_LIST ? "yes" : key;

    if (is_so || row->style != CONTROL_LIST)
        put_raw(row, key, width, is_so ? "true" : "false", is_so ? text : "-");
}

/* ---- arrays ---- */

void control_open_array(struct control_row *row, const char *key)
{
    if (row->style != CONTROL_JSON)
        return;
    put_json_key(row, key);
    buf_byte(row->out, '[');
    row->is_first = true;
}

void control_close_array(struct control_row *row)
{
    if (row->style == CONTROL_JSON)
        buf_byte(row->out, ']');
    row->is_first = false;
}

void control_open_object(struct control_row *row, enum control_style text)
{
    if (row->style == CONTROL_JSON) {
        buf_text(row->out, row->is_first ? "{" : ",{");
    } else {
        row->outer = row->style;
        row->style = text;
        if (text == CONTROL_ROW)
            buf_text(row->out, row->outer == CONTROL_ROW ? "\n    " : " ");
    }
    row->is_first = true;
}

void control_close_object(struct control_row *row)
{
    if (row->style == CONTROL_JSON)
        buf_byte(row->out, '}');
    else if (row->style == CONTROL_ROW && row->outer != CONTROL_ROW)
        buf_byte(row->out, '\n'); /* else the row itself ends the line */
    if (row->style != CONTROL_JSON)
        row->style = row->outer;
    row->is_first = false;
}
