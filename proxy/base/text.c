/* SPDX-License-Identifier: BSD-2-Clause */
/* Text without the C library's formatting: it would drag in locale and stdio. */
#include "proxy/base/text.h"

#include "proxy/base/error.h"

struct unit {
    char letter; /* NUL: none is written */
    uint64_t factor;
};

/* From the largest to the one that a bare number means. */
static const struct unit duration_units[] = {
    {'d', 86400000}, {'h', 3600000}, {'m', 60000}, {'s', 1000}, {'\0', 1000}};
static const struct unit size_units[] = {
    {'g', 1024 * 1024 * 1024}, {'m', 1024 * 1024}, {'k', 1024}, {'\0', 1}};

int text_decimal(struct bytes text, uint64_t max, uint64_t *number_out)
{
    uint64_t number = 0;
    bool is_over = false;

    if (text.len == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.at[i] - '0';

        if (!byte_is_digit(text.at[i]))
            return ERR_SYNTAX;
        is_over = is_over || number > (UINT64_MAX - digit) / 10;
        number = number * 10 + digit;
    }
    if (is_over || number > max)
        return ERR_RANGE;
    *number_out = number;
    return 0;
}

static int read_with_unit(struct bytes text, const struct unit *units, uint64_t *value_out)
{
    char letter = '\0';
    uint64_t number;
    int error;

    if (text.len > 0 && !byte_is_digit(text.at[text.len - 1]))
        letter = (char)text.at[--text.len];
    while (units->letter != letter && units->letter != '\0')
        units++;
    if (units->letter != letter)
        return ERR_SYNTAX;
    error = text_decimal(text, UINT64_MAX / units->factor, &number);
    if (error == 0)
        *value_out = number * units->factor;
    return error;
}

int text_duration_ms(struct bytes text, uint64_t *ms_out)
{
    return read_with_unit(text, duration_units, ms_out);
}

int text_size_bytes(struct bytes text, uint64_t *bytes_out)
{
    return read_with_unit(text, size_units, bytes_out);
}

static void put_with_unit(struct buf *out, const struct unit *units, uint64_t value)
{
    if (value == 0) {
        buf_byte(out, '0');
        return;
    }
    while (units->letter != '\0' && value % units->factor != 0)
        units++;
    buf_decimal(out, value / units->factor);
    if (units->letter != '\0')
        buf_byte(out, (uint8_t)units->letter);
}

void text_put_duration(struct buf *out, uint64_t ms)
{
    put_with_unit(out, duration_units, ms - ms % 1000);
}

void text_put_size(struct buf *out, uint64_t bytes)
{
    put_with_unit(out, size_units, bytes);
}

static bool is_label(struct bytes label)
{
    if (label.len == 0 || label.len > 63 || label.at[0] == '-' || label.at[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = label.at[i];

        if (!byte_is_letter(c) && !byte_is_digit(c) && c != '-' && c != '_')
            return false;
    }
    return true;
}

static bool is_all_digits(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!byte_is_digit(text.at[i]))
            return false;
    return true;
}

bool text_is_host_name(struct bytes text)
{
    struct bytes rest = text;

    if (text.len > 255)
        return false;
    for (;;) {
        struct bytes label = bytes_first(rest, bytes_find(rest, '.'));

        if (!is_label(label))
            return false;
        if (label.len == rest.len)
            return !is_all_digits(label);
        rest = bytes_skip(rest, label.len + 1);
    }
}

static bool is_xtext_plain(uint8_t c)
{
    return c >= 33 && c <= 126 && c != '+' && c != '=';
}

void text_put_xtext(struct buf *out, struct bytes text)
{
    static const char digits[] = "0123456789ABCDEF";

    while (text.len > 0) {
        size_t plain = 0;
        while (plain < text.len && is_xtext_plain(text.at[plain]))
            plain++;
        buf_put(out, bytes_first(text, plain));
        text = bytes_skip(text, plain);
        if (text.len == 0)
            return;
        uint8_t c = text.at[0];
        uint8_t escape[3] = {'+', (uint8_t)digits[c >> 4], (uint8_t)digits[c & 0xf]};
        buf_put(out, bytes_make(escape, sizeof(escape)));
        text = bytes_skip(text, 1);
    }
}

size_t text_xtext_length(struct bytes text)
{
    size_t length = text.len;

    for (size_t i = 0; i < text.len; i++)
        if (!is_xtext_plain(text.at[i]))
            length += 2;
    return length;
}

/* The value of a hex digit; 16: `c` is none. */
static unsigned hex_value(uint8_t c)
{
    if (byte_is_digit(c))
        return c - '0';
    c = byte_lower(c);
    return c >= 'a' && c <= 'f' ? 10U + c - 'a' : 16;
}

int text_from_xtext(struct bytes xtext, struct arena *arena, struct bytes *text_out)
{
    uint8_t *text;
    size_t len = 0;

    if (bytes_find(xtext, '+') == xtext.len) {
        *text_out = xtext;
        return 0;
    }
    text = arena_alloc(arena, xtext.len);
    if (text == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < xtext.len; i++) {
        if (xtext.at[i] != '+') {
            text[len++] = xtext.at[i];
            continue;
        }
        unsigned high = xtext.len - i > 2 ? hex_value(xtext.at[i + 1]) : 16;
        unsigned low = xtext.len - i > 2 ? hex_value(xtext.at[i + 2]) : 16;
        if (high > 15 || low > 15)
            return ERR_SYNTAX;
        text[len++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    *text_out = bytes_make(text, len);
    return 0;
}

static void put_two_digits(char *at, unsigned number)
{
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
}

struct date {
    unsigned year, month, day; /* month 0..11, day 1..31 */
};

/* Days are counted in eras of 400 years from 1 March of the year 0, so that a leap day is the
 * last day of its year and the months before it have the same lengths in every year. */
static struct date date_of(uint64_t days_since_1970)
{
    uint64_t days = days_since_1970 + 719468;
    unsigned day_of_era = (unsigned)(days % 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    unsigned month = (month_from_march + 2) % 12;

    return (struct date){
        .year = (unsigned)(days / 146097) * 400 + year_of_era + (month < 2 ? 1 : 0),
        .month = month,
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
    };
}

void text_put_date(struct buf *out, int64_t wall_s)
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const int64_t last_s = 253402300799; /* of the year 9999 */
    uint64_t s = wall_s < 0 ? 0 : (uint64_t)(wall_s > last_s ? last_s : wall_s);
    struct date date = date_of(s / 86400);
    unsigned of_day = (unsigned)(s % 86400);
    char text[] = "Thu, 01 Jan 1970 00:00:00 +0000";

    memcpy(text, days + 3 * (s / 86400 % 7), 3);
    put_two_digits(text + 5, date.day);
    memcpy(text + 8, months + 3 * (size_t)date.month, 3);
    put_two_digits(text + 12, date.year / 100);
    put_two_digits(text + 14, date.year % 100);
    put_two_digits(text + 17, of_day / 3600);
    put_two_digits(text + 20, of_day / 60 % 60);
    put_two_digits(text + 23, of_day % 60);
    buf_put(out, bytes_make(text, sizeof(text) - 1));
}

struct bytes text_word(struct bytes *rest)
{
    size_t start = 0, end;
    struct bytes word;

    while (start < rest->len && byte_is_blank(rest->at[start]))
        start++;
    end = start;
    while (end < rest->len && !byte_is_blank(rest->at[end]))
        end++;
    word = bytes_make(start == 0 ? rest->at : rest->at + start, end - start);
    *rest = bytes_skip(*rest, end);
    return word;
}

struct bytes text_trim(struct bytes text)
{
    while (text.len > 0 && byte_is_blank(text.at[0]))
        text = bytes_skip(text, 1);
    while (text.len > 0 && byte_is_blank(text.at[text.len - 1]))
        text.len--;
    return text;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

#define REACH 3 /* greater distances are not told apart */

/* Levenshtein's table, of which only the diagonal band can hold distances within reach:
 * row[k] is the cell at column i + k - REACH. */
unsigned text_distance(struct bytes a, struct bytes b)
{
    const unsigned too_far = REACH + 1;
    unsigned row[2 * REACH + 2];
    size_t difference = a.len > b.len ? a.len - b.len : b.len - a.len;

    if (difference > REACH)
        return too_far;
    for (unsigned k = 0; k < ARRAY_LENGTH(row); k++)
        row[k] = k < REACH ? too_far : k - REACH;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned left = too_far;

        for (unsigned k = 0; k <= 2 * REACH; k++) {
            unsigned cell = too_far;

            if (i + k >= REACH && i + k - REACH <= b.len) {
                size_t column = i + k - REACH;
                unsigned is_changed = column == 0 || a.at[i - 1] != b.at[column - 1];

                cell = column == 0 ? (unsigned)i : row[k] + is_changed;
                cell = smaller(cell, smaller(row[k + 1], left) + 1);
            }
            row[k] = left = smaller(cell, too_far);
        }
    }
    return row[REACH + b.len - a.len];
}

void text_put_neutral(struct buf *out, struct bytes text, bool (*is_harmless)(uint8_t c))
{
    size_t start = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (is_harmless(text.at[i]))
            continue;
        buf_put(out, bytes_make(text.at + start, i - start));
        buf_byte(out, '?');
        start = i + 1;
    }
    buf_put(out, bytes_skip(text, start));
}
