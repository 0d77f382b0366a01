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
    if (line->begun != NULL && line->content != LINE_PLAIN)
        explicit_bzero(line->begun, line->is_long ? LINE_SECRET_MAX_BYTES : LINE_MAX_BYTES);
    if (line->is_long)
        mem_free(line->begun);
    else if (line->begun != NULL)
        pool_give(line->pool, line->begun);
    line->begun = NULL;
    line->begun_bytes = 0;
    line->is_long = false;
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

/* How the line begins, with what `in` adds to it: as much as `head` holds. */
static struct bytes begin_of(const struct line *line, struct bytes in,
                             uint8_t head[LINE_HEAD_BYTES])
{
    struct bytes begun = bytes_first(bytes_make(line->begun, line->begun_bytes), LINE_HEAD_BYTES);
    struct bytes more = bytes_first(in, LINE_HEAD_BYTES - begun.len);

    if (begun.len != 0)
        memcpy(head, begun.at, begun.len);
    if (more.len != 0)
        memcpy(head + begun.len, more.at, more.len);
    return bytes_make(head, begun.len + more.len);
}

/* There must be room for the LF, too. */
static bool fits(const struct line *line, struct bytes in)
{
    uint8_t head[LINE_HEAD_BYTES];
    size_t len = line->begun_bytes + in.len;

    if (len < LINE_MAX_BYTES || line->content == LINE_PLAIN)
        return len < LINE_MAX_BYTES;
    struct bytes begin = begin_of(line, in, head);
    bool is_secret = line->content == LINE_SECRET || bytes_start_with_nocase(begin, "AUTH ");
    return is_secret && len < LINE_SECRET_MAX_BYTES;
}

/* `in` brings the line to its limit. The block is not held for it, only how it began. */
static void skip(struct line *line, struct bytes in)
{
    (void)begin_of(line, in, line->head);
    line_done(line);
    line->is_skipping = true;
}

/* False: no memory. */
static bool move_to_long(struct line *line)
{
    uint8_t *block = mem_alloc(LINE_SECRET_MAX_BYTES);
    uint16_t len = line->begun_bytes;

    if (block == NULL)
        return false;
    if (len != 0)
        memcpy(block, line->begun, len);
    line_done(line);
    line->begun = block;
    line->begun_bytes = len;
    line->is_long = true;
    return true;
}

/* Legal where it fits. */
static int append(struct line *line, struct bytes piece)
{
    bool must_move = !line->is_long && line->begun_bytes + piece.len >= LINE_MAX_BYTES;

    if (must_move && !move_to_long(line))
        return ERR_MEMORY;
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

    if (!line->is_skipping && !fits(line, in))
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
    if (!line->is_skipping && !fits(line, text))
        skip(line, text);
    if (line->is_skipping) {
        line->is_skipping = false;
        *line_out = bytes_make(line->head, sizeof(line->head));
        *error_out = ERR_TOO_LONG;
        return end + 1;
    }
    if (line->begun != NULL) {
        if (text.len > 0 && (*error_out = append(line, text)) != 0)
            return 0;
        text = bytes_make(line->begun, line->begun_bytes);
        line->begun_bytes = 0;
    }
    *error_out = check(text, wanted, line_out);
    return end + 1;
}
