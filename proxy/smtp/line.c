/* SPDX-License-Identifier: BSD-2-Clause */
/* A line that arrives whole is borrowed from the input; only one in pieces is copied. */
#include "proxy/smtp/line.h"

#include "proxy/base/error.h"

void line_init(struct line *l, struct pool *pool)
{
    *l = (struct line){.pool = pool};
}

void line_done(struct line *l)
{
    if (l->begun != NULL)
        pool_give(l->pool, l->begun);
    l->begun = NULL;
    l->begun_bytes = 0;
}

/* The octets in front of LF: takes CR off, and looks for what no command may hold. */
static int check(struct bytes text, bool wants_crlf, struct bytes *line_out)
{
    bool has_cr = text.len > 0 && text.at[text.len - 1] == '\r';

    if (has_cr)
        text.len--;
    if ((!has_cr && wants_crlf) || bytes_find(text, '\r') < text.len ||
        bytes_find(text, '\0') < text.len)
        return ERR_BARE_NEWLINE;
    *line_out = text;
    return 0;
}

static void skip(struct line *l)
{
    line_done(l);
    l->is_skipping = true;
}

/* Adds to what has begun; there is room. */
static int append(struct line *l, struct bytes piece)
{
    if (l->begun == NULL)
        l->begun = pool_take(l->pool);
    if (l->begun == NULL)
        return ERR_MEMORY;
    memcpy(l->begun + l->begun_bytes, piece.at, piece.len);
    l->begun_bytes = (uint16_t)(l->begun_bytes + piece.len);
    return 0;
}

static size_t take_unended(struct line *l, struct bytes in, int *error_out)
{
    int error = ERR_NOT_FOUND;

    /* An LF must still fit. */
    if (!l->is_skipping && l->begun_bytes + in.len >= LINE_MAX_BYTES)
        skip(l);
    if (!l->is_skipping && in.len > 0 && append(l, in) != 0)
        error = ERR_MEMORY;
    *error_out = error;
    return error == ERR_MEMORY ? 0 : in.len;
}

size_t line_take(struct line *l, struct bytes in, bool wants_crlf, struct bytes *line_out,
                 int *error_out)
{
    size_t end = bytes_find(in, '\n');
    struct bytes text = bytes_first(in, end);

    line_release(l);
    if (end == in.len)
        return take_unended(l, in, error_out);
    if (l->is_skipping || l->begun_bytes + end >= LINE_MAX_BYTES) {
        line_done(l);
        l->is_skipping = false;
        *error_out = ERR_TOO_LONG;
        return end + 1;
    }
    if (l->begun != NULL) {
        if (text.len > 0)
            append(l, text);
        text = bytes_make(l->begun, l->begun_bytes);
        l->begun_bytes = 0;
    }
    *error_out = check(text, wants_crlf, line_out);
    return end + 1;
}
