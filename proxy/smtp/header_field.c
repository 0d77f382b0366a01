/* SPDX-License-Identifier: BSD-2-Clause */
/* Header fields and body of a message that passes by. */
#include "proxy/smtp/header_field.h"

#include "proxy/base/text.h"

void header_splitter_init(struct header_splitter *splitter, struct pool *pool, uint32_t field_max)
{
    *splitter = (struct header_splitter){.place = HEADER_AT_LINE_START};
    buf_init(&splitter->field, pool, field_max);
}

void header_splitter_done(struct header_splitter *splitter)
{
    buf_done(&splitter->field);
}

static enum header_part tell_field(struct header_splitter *splitter, struct bytes *part_out)
{
    splitter->is_told = true;
    *part_out = buf_bytes(&splitter->field);
    return HEADER_PART_FIELD;
}

static void begin_next(struct header_splitter *splitter)
{
    if (!splitter->is_told)
        return;
    buf_reset(&splitter->field);
    splitter->is_told = false;
}

static void keep(struct header_splitter *splitter, struct bytes octets)
{
    size_t room = splitter->field.limit - buf_length(&splitter->field);

    buf_put(&splitter->field, bytes_first(octets, room));
}

/* The rest of a line, as far as it is there. */
static void take_line(struct header_splitter *splitter, struct bytes *in)
{
    size_t len = bytes_find(*in, '\n');
    bool is_ended = len < in->len;

    keep(splitter, bytes_first(*in, len + is_ended));
    *in = bytes_skip(*in, len + is_ended);
    splitter->place = is_ended ? HEADER_AT_LINE_START : HEADER_IN_LINE;
}

/* Content has CRLF at the end of each line, so a CR that begins one ends it as well. */
static void take_empty_line(struct header_splitter *splitter, struct bytes *in)
{
    splitter->place = in->at[0] == '\n' ? HEADER_IN_BODY : HEADER_IN_EMPTY_LINE;
    *in = bytes_skip(*in, 1);
}

static enum header_part take_body(struct bytes *in, struct bytes *part_out)
{
    *part_out = *in;
    *in = bytes_skip(*in, in->len);
    return HEADER_PART_BODY;
}

enum header_part header_splitter_take(struct header_splitter *splitter, struct bytes *in,
                                      struct bytes *part_out)
{
    begin_next(splitter);
    while (in->len > 0) {
        uint8_t next = in->at[0];
        if (splitter->place == HEADER_IN_BODY)
            return take_body(in, part_out);
        if (splitter->place == HEADER_AT_LINE_START && !byte_is_blank(next) &&
            buf_length(&splitter->field) != 0)
            return tell_field(splitter, part_out);
        if (splitter->place == HEADER_IN_EMPTY_LINE ||
            (splitter->place == HEADER_AT_LINE_START && (next == '\r' || next == '\n')))
            take_empty_line(splitter, in);
        else
            take_line(splitter, in);
    }
    return HEADER_PART_NONE;
}

enum header_part header_splitter_end(struct header_splitter *splitter, struct bytes *part_out)
{
    begin_next(splitter);
    return buf_length(&splitter->field) != 0 ? tell_field(splitter, part_out) : HEADER_PART_NONE;
}

struct bytes header_field_take(struct bytes *header)
{
    size_t len = 0;

    do
        len += bytes_find(bytes_skip(*header, len), '\n') + 1;
    while (len < header->len && byte_is_blank(header->at[len]));
    struct bytes field = bytes_first(*header, len);
    *header = bytes_skip(*header, field.len);
    return field;
}

struct bytes header_field_name(struct bytes field)
{
    struct bytes name = bytes_first(field, bytes_find(field, ':'));

    if (name.len == field.len)
        return bytes_make(NULL, 0);
    while (name.len > 0 && byte_is_blank(name.at[name.len - 1]))
        name.len--;
    for (size_t i = 0; i < name.len; i++)
        if (!byte_is_printable(name.at[i]) || name.at[i] == ' ')
            return bytes_make(NULL, 0);
    return name;
}

bool header_field_is(struct bytes field, const char *name)
{
    return bytes_is_nocase(header_field_name(field), name);
}

struct bytes header_field_value(struct bytes field)
{
    size_t name_len = bytes_find(field, ':');

    return bytes_skip(field, name_len < field.len ? name_len + 1 : field.len);
}
