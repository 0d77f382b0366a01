/* SPDX-License-Identifier: BSD-2-Clause */
/* A line that arrives whole is borrowed from the input; one that arrives in pieces is copied. */
#include "proxy/smtp/line.h"

#include "proxy/base/error.h"

void line_init(struct line *line, struct pool *pool)
{
    *line = (struct line){.pool = pool};
}

void line_done(struct line *line)
{
    if (line->begun != NULL)
        pool_give(line->pool, line->begun);
    line->begun = NULL;
    line->begun_bytes = 0;
}

/* `text` is a line without its LF. Takes off the CR, and looks for octets that no line may hold. */
static int check(struct bytes text, enum line_end wanted, struct bytes *line_out)
{
    bool has_cr = text.len > 0 && text.at[text.len - 1] == '\r';

    if (has_cr)
        text.len--;
    *line_out = text;
    if ((!has_cr && wanted == LINE_END_CRLF) || bytes_find(text, '\r') < text.len ||
        bytes_find(text, '\0') < text.len)
        return ERR_BARE_NEWLINE;
    return 0;
}

/* `in` brings the line to its limit. The block is not held for it, only how it began. */
static void skip(struct line *line, struct bytes in)
{
    struct bytes begun =
        bytes_first(bytes_make(line->begun, line->begun_bytes), sizeof(line->head));

    if (begun.len != 0)
        memcpy(line->head, begun.at, begun.len);
    if (begun.len < sizeof(line->head))
        memcpy(line->head + begun.len, in.at, sizeof(line->head) - begun.len);
    line_done(line);
    line->is_skipping = true;
}

/* Legal where the block has room. */
static int append(struct line *line, struct bytes piece)
{
    if (line->begun == NULL)
        line->begun = pool_take(line->pool);
    if (line->begun == NULL)
        return ERR_MEMORY;
    memcpy(line->begun + line->begun_bytes, piece.at, piece.len);
    line->begun_bytes = (uint16_t)(line->begun_bytes + piece.len);
    return 0;
}

static size_t take_unended(struct line *line, struct bytes in, int *error_out)
{
    int error = ERR_NOT_FOUND;

    /* There must be room for the LF, too. */
    if (!line->is_skipping && line->begun_bytes + in.len >= LINE_MAX_BYTES)
        skip(line, in);
    if (!line->is_skipping && in.len > 0 && append(line, in) != 0)
        error = ERR_MEMORY;
    *error_out = error;
    return error == ERR_MEMORY ? 0 : in.len;
}

size_t line_take(struct line *line, struct bytes in, enum line_end wanted, struct bytes *line_out,
                 int *error_out)
{
    size_t end = bytes_find(in, '\n');
    struct bytes text = bytes_first(in, end);

    line_release(line);
    if (end == in.len)
        return take_unended(line, in, error_out);
    if (!line->is_skipping && line->begun_bytes + end >= LINE_MAX_BYTES)
        skip(line, text);
    if (line->is_skipping) {
        line->is_skipping = false;
        *line_out = bytes_make(line->head, sizeof(line->head));
        *error_out = ERR_TOO_LONG;
        return end + 1;
    }
    if (line->begun != NULL) {
        if (text.len > 0)
            append(line, text);
        text = bytes_make(line->begun, line->begun_bytes);
        line->begun_bytes = 0;
    }
    *error_out = check(text, wanted, line_out);
    return end + 1;
}
