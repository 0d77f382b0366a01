/* SPDX-License-Identifier: BSD-2-Clause */
/* The text of log lines: times, numbers, quoting. */
#include "proxy/io/log_out.h"

#include <time.h>

static const char hex_digits[] = "0123456789abcdef";

void log_text_put(struct log_text *text, struct bytes octets)
{
    assert(text->len <= text->max);
    if (octets.len > text->max - text->len) {
        text->is_full = true;
        return;
    }
    if (octets.len > 0)
        memcpy(text->at + text->len, octets.at, octets.len);
    text->len += octets.len;
}

void log_text_octet(struct log_text *text, uint8_t octet)
{
    if (text->len < text->max)
        text->at[text->len++] = octet;
    else
        text->is_full = true;
}

void log_text_number(struct log_text *text, int64_t number)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

    do
        digits[--at] = (uint8_t)('0' + left % 10);
    while ((left /= 10) != 0);
    if (number < 0)
        digits[--at] = '-';
    log_text_put(text, bytes_make(digits + at, sizeof(digits) - at));
}

static bool is_plain(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* Appends `value`, with every octet that is neither plain nor a space as `escape` and two hex
 * digits. */
static void put_escaped(struct log_text *text, struct bytes value, const char *escape)
{
    size_t start = 0;

    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.at[i];

        if (is_plain(c) || c == ' ')
            continue;
        log_text_put(text, bytes_make(value.at + start, i - start));
        log_text_cstring(text, escape);
        log_text_octet(text, (uint8_t)hex_digits[c >> 4]);
        log_text_octet(text, (uint8_t)hex_digits[c & 15]);
        start = i + 1;
    }
    if (start < value.len)
        log_text_put(text, bytes_skip(value, start));
}

void log_text_value(struct log_text *text, struct bytes value)
{
    size_t plain = 0;

    while (plain < value.len && is_plain(value.at[plain]))
        plain++;
    if (value.len > 0 && plain == value.len) {
        log_text_put(text, value);
        return;
    }
    log_text_octet(text, '"');
    put_escaped(text, value, "\\x");
    log_text_octet(text, '"');
}

/* Takes an item off `*items`, without its newline. */
static struct bytes next_item(struct bytes *items)
{
    struct bytes item = bytes_first(*items, bytes_find(*items, '\n'));

    *items = bytes_skip(*items, item.len < items->len ? item.len + 1 : item.len);
    return item;
}

static bool are_plain(struct bytes items)
{
    for (size_t i = 0; i < items.len; i++)
        if (!is_plain(items.at[i]) && items.at[i] != '\n')
            return false;
    return items.len > 0;
}

void log_text_list(struct log_text *text, struct bytes items)
{
    const char *quote = are_plain(items) ? "" : "\"", *separator = "";

    log_text_cstring(text, quote);
    while (items.len > 0) {
        log_text_cstring(text, separator);
        put_escaped(text, next_item(&items), "\\x");
        separator = ",";
    }
    log_text_cstring(text, quote);
}

void log_text_json_list(struct log_text *text, struct bytes items)
{
    const char *separator = "";

    log_text_octet(text, '[');
    while (items.len > 0) {
        log_text_cstring(text, separator);
        log_text_json_string(text, next_item(&items));
        separator = ",";
    }
    log_text_octet(text, ']');
}

/* An octet outside ASCII becomes the code point of the same number, whatever its encoding was. */
void log_text_json_string(struct log_text *text, struct bytes value)
{
    log_text_octet(text, '"');
    put_escaped(text, value, "\\u00");
    log_text_octet(text, '"');
}

/* The journal's own form: NAME=value, or for values with newlines NAME, length, value. */
void log_text_journal_field(struct log_text *text, const char *key, struct bytes value)
{
    bool has_newline = bytes_find(value, '\n') < value.len;
    uint8_t length[8];

    log_text_cstring(text, "POSTERN_");
    for (; *key != '\0'; key++) {
        uint8_t c = (uint8_t)*key;
        bool is_letter = byte_is_letter(c);

        log_text_octet(text, is_letter ? (uint8_t)(byte_lower(c) - 'a' + 'A')
                                       : (byte_is_digit(c) ? c : (uint8_t)'_'));
    }
    log_text_octet(text, has_newline ? '\n' : '=');
    if (has_newline) {
        for (unsigned i = 0; i < sizeof(length); i++)
            length[i] = (uint8_t)((uint64_t)value.len >> (8 * i));
        log_text_put(text, bytes_make(length, sizeof(length)));
    }
    log_text_put(text, value);
    log_text_octet(text, '\n');
}

static void put_digits(uint8_t *at, int64_t number, int digits)
{
    while (digits-- > 0) {
        at[digits] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}

void log_text_time(struct log_text *text, int64_t wall_s)
{
    uint8_t octets[19];
    time_t seconds = (time_t)wall_s;
    struct tm utc;

    gmtime_r(&seconds, &utc);
    memcpy(octets, "0000-00-00T00:00:00", sizeof(octets));
    put_digits(octets, utc.tm_year + 1900, 4);
    put_digits(octets + 5, utc.tm_mon + 1, 2);
    put_digits(octets + 8, utc.tm_mday, 2);
    put_digits(octets + 11, utc.tm_hour, 2);
    put_digits(octets + 14, utc.tm_min, 2);
    put_digits(octets + 17, utc.tm_sec, 2);
    log_text_put(text, bytes_make(octets, sizeof(octets)));
}
