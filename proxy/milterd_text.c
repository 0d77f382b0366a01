/* SPDX-License-Identifier: BSD-2-Clause */
/* Between libmilter's strings and our types. */
#include "proxy/milterd_text.h"

#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"

/* ---- replies ---- */

/* Without its line end. */
static struct bytes take_line(struct bytes *rest)
{
    size_t end = bytes_find(*rest, '\n');
    struct bytes line = bytes_first(*rest, end);

    *rest = end == rest->len ? bytes_make(NULL, 0) : bytes_skip(*rest, end + 1);
    while (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* "%" is doubled, since mail servers read "%%" for it. What no reply may hold becomes "?". */
static void copy_line(struct bytes text, char out[MILTERD_LINE_MAX + 1])
{
    size_t len = 0;

    for (size_t i = 0; i < text.len && len + 2 <= MILTERD_LINE_MAX; i++) {
        bool is_plain = text.at[i] >= ' ' && text.at[i] != 0x7F;
        out[len++] = is_plain ? (char)text.at[i] : '?';
        if (text.at[i] == '%')
            out[len++] = '%';
    }
    out[len] = '\0';
}

void milterd_text_reply(const struct reply *reply, struct milterd_reply *reply_out)
{
    const uint8_t *enhanced = reply->enhanced;
    struct bytes rest = reply->wire;

    snprintf(reply_out->code, sizeof(reply_out->code), "%03u", reply->code % 1000U);
    reply_out->enhanced[0] = '\0';
    if (enhanced[0] == reply->code / 100)
        snprintf(reply_out->enhanced, sizeof(reply_out->enhanced), "%u.%u.%u", enhanced[0],
                 enhanced[1], enhanced[2]);
    reply_out->line_count = 0;
    while (rest.len > 0 && reply_out->line_count < MILTERD_LINES_MAX) {
        struct bytes line = take_line(&rest);
        line = bytes_skip(line, line.len < 4 ? line.len : 4);
        if (bytes_start_with_nocase(line, reply_out->enhanced))
            line = bytes_skip(line, strlen(reply_out->enhanced));
        while (line.len > 0 && line.at[0] == ' ')
            line = bytes_skip(line, 1);
        copy_line(line, reply_out->lines[reply_out->line_count++]);
    }
}

/* ---- header fields ---- */

/* Where the last field begins: at the last line that is no fold. */
static size_t find_last(struct bytes lines)
{
    size_t at = lines.len;

    while (at > 0) {
        at--;
        while (at > 0 && lines.at[at - 1] != '\n')
            at--;
        if (lines.at[at] != ' ' && lines.at[at] != '\t')
            return at;
    }
    return 0;
}

bool milterd_text_last_field(struct bytes *lines, struct milterd_field *field_out)
{
    if (lines->len == 0)
        return false;
    size_t begin = find_last(*lines), len = 0;
    struct bytes field = bytes_skip(*lines, begin);
    size_t colon = bytes_find(field, ':');

    assert(colon < field.len && colon < sizeof(field_out->name));
    assert(field.len - colon <= sizeof(field_out->value));
    memcpy(field_out->name, field.at, colon);
    field_out->name[colon] = '\0';
    for (size_t i = colon + 1; i < field.len; i++)
        if (field.at[i] != '\r')
            field_out->value[len++] = (char)field.at[i];
    while (len > 0 && field_out->value[len - 1] == '\n')
        len--;
    field_out->value[len] = '\0';
    *lines = bytes_first(*lines, begin);
    return true;
}

/* ---- envelope and client ---- */

static bool is_printable(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < ' ' || text.at[i] == 0x7F)
            return false;
    return true;
}

static int split_address(struct bytes text, struct arena *arena, struct address *address_out)
{
    struct bytes kept;
    size_t at = text.len;

    if (text.len > 1 && text.at[0] == '<' && text.at[text.len - 1] == '>')
        text = bytes_make(text.at + 1, text.len - 2);
    if (text.len == 0 || text.len > ADDRESS_PATH_MAX || !is_printable(text))
        return ERR_SYNTAX;
    if (arena_copy(arena, text, &kept) != 0)
        return ERR_MEMORY;
    for (at = kept.len; at > 0 && kept.at[at - 1] != '@';)
        at--;
    *address_out = (struct address){.local = at == 0 ? kept : bytes_first(kept, at - 1),
                                    .domain = bytes_skip(kept, at == 0 ? kept.len : at)};
    return 0;
}

int milterd_text_address(struct bytes text, struct arena *arena, struct address *address_out)
{
    struct address read;
    size_t used;
    int error = address_parse_path(text, arena, &read, &used);

    if (error == 0 && used == text.len)
        return address_copy(arena, &read, address_out);
    return error == ERR_MEMORY ? error : split_address(text, arena, address_out);
}

enum identity_name milterd_text_name(struct bytes name, const char *macro)
{
    bool is_forged = macro != NULL && strstr(macro, "(may be forged)") != NULL;
    bool is_name = text_is_host_name(name) && !bytes_is(name, "unknown");

    return is_name && !is_forged ? IDENTITY_NAME_CONFIRMED : IDENTITY_NAME_UNAVAILABLE;
}

void milterd_text_socket(struct bytes listen, char socket_out[MILTERD_SOCKET_MAX])
{
    struct bytes host = bytes_skip(listen, bytes_find(listen, '@'));
    bool is_inet = bytes_start_with_nocase(listen, "inet:");
    bool is_ipv6 = is_inet && bytes_find(host, ':') < host.len;
    struct bytes rest = bytes_skip(listen, is_ipv6 ? strlen("inet") : 0);

    snprintf(socket_out, MILTERD_SOCKET_MAX, "%s%.*s", is_ipv6 ? "inet6" : "", (int)rest.len,
             (const char *)rest.at);
}
