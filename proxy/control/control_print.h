/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of answers: the same fields as aligned text for people, or as one JSON object. */
#ifndef POSTERN_CONTROL_PRINT_H
#define POSTERN_CONTROL_PRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

enum control_style {
    CONTROL_JSON,
    CONTROL_ROW, /* values in columns */
    CONTROL_LIST /* "key: value", one a line */
};

#define CONTROL_JSON_ONLY 0 /* as a width: the field is left out of text */
#define CONTROL_REST      1 /* as a width: the last column, which is not padded */

/* A line, or in CONTROL_LIST several, while it is made. */
struct control_row {
    struct buf *out;
    enum control_style style;
    enum control_style outer; /* the style of the object around this one */
    bool is_first;            /* it has no field yet */
};

/* `text`: CONTROL_ROW or CONTROL_LIST, the style where it is not JSON. */
void control_row_begin(struct control_row *row, struct buf *out, bool is_json,
                       enum control_style text);
void control_row_end(struct control_row *row);

/* `width`: of the column, in octets; negative: the value is at its right. Escapes all but plain
 * ASCII. In text an empty value is "-". */
void control_put(struct control_row *row, const char *key, int width, struct bytes value);
void control_put_text(struct control_row *row, const char *key, int width, const char *value);
void control_put_number(struct control_row *row, const char *key, int width, uint64_t number);
#define CONTROL_NO_AGE INT64_MIN
/* Text: "45s", "12m", "3h", "2d". JSON: seconds, or null. */
void control_put_age(struct control_row *row, const char *key, int width, int64_t seconds);
/* "2026-11-22T07:10:00Z"; 0: no time, "-" or null. */
void control_put_time(struct control_row *row, const char *key, int width, int64_t wall_s);
void control_put_bool(struct control_row *row, const char *key, int width, bool is_so);

/* JSON: a field that is an array, and its objects. Text: each object is a line of its own, below
 * that of its row. The array is the last field. */
void control_open_array(struct control_row *row, const char *key);
void control_close_array(struct control_row *row);
void control_open_object(struct control_row *row, enum control_style text);
void control_close_object(struct control_row *row);

#endif
