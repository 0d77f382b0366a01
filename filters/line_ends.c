/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes every line of a body end in CRLF. */
#include "filters/line_ends.h"

static const struct bytes crlf = {.at = (const uint8_t *)"\r\n", .len = 2};
static const struct bytes blank = {.at = (const uint8_t *)" ", .len = 1};

/* How many octets need no change: up to the first bare CR or LF, or a CR that is the last octet. */
static size_t clean(struct bytes in)
{
    size_t len = 0;

    while (len < in.len) {
        struct bytes rest = bytes_skip(in, len);
        size_t lf = bytes_find(rest, '\n');
        size_t cr = bytes_find(bytes_first(rest, lf), '\r');
        if (cr + 1 != lf || lf == rest.len)
            return len + cr;
        len += lf + 1;
    }
    return len;
}

static struct bytes give(struct line_ends *ends, struct bytes run)
{
    ends->is_in_line = run.at[run.len - 1] != '\n';
    return run;
}

struct bytes line_ends_take(struct line_ends *ends, struct bytes *in)
{
    size_t len;

    if (in->len == 0)
        return *in;
    if (ends->is_after_cr) {
        ends->is_after_cr = false;
        if (in->at[0] != '\n')
            return give(ends, blank);
        *in = bytes_skip(*in, 1);
        return give(ends, crlf);
    }
    len = clean(*in);
    if (len > 0) {
        struct bytes run = bytes_first(*in, len);
        *in = bytes_skip(*in, len);
        return give(ends, run);
    }
    ends->is_after_cr = in->at[0] == '\r';
    *in = bytes_skip(*in, 1);
    return ends->is_after_cr ? line_ends_take(ends, in) : give(ends, crlf);
}

struct bytes line_ends_finish(struct line_ends *ends)
{
    bool is_whole = !ends->is_in_line && !ends->is_after_cr;

    *ends = (struct line_ends){.is_in_line = false};
    return is_whole ? bytes_make(NULL, 0) : crlf;
}
