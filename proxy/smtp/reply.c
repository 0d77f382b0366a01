/* SPDX-License-Identifier: BSD-2-Clause */
/* A reply is kept as it stands on the wire, so that passing one on only copies octets. */
#include "proxy/smtp/reply.h"

#include "proxy/base/error.h"

#define REPLY_TEXT_MAX 500 /* of a configured one: with code, CRLF and enhanced code within 512 */

/* ---- what all replies have in common ---- */

static uint16_t code_of(struct bytes line)
{
    return (uint16_t)((line.at[0] - '0') * 100 + (line.at[1] - '0') * 10 + (line.at[2] - '0'));
}

/* A number of one to three digits; *length_out 0 where there is none. */
static unsigned small_number(struct bytes text, size_t *length_out)
{
    unsigned number = 0;
    size_t len = 0;

    while (len < text.len && len < 3 && byte_is_digit(text.at[len]))
        number = number * 10 + (unsigned)(text.at[len++] - '0');
    *length_out = len;
    return number;
}

/* RFC 3463 2: class "." subject "." detail, and then a space or the end. Is one at the start of
 * `text`? Gives its numbers where they fit, else zeros. */
static bool read_enhanced(struct bytes text, uint8_t enhanced_out[3])
{
    size_t subject_length, detail_length;
    unsigned subject, detail;
    struct bytes rest;

    memset(enhanced_out, 0, 3);
    if (text.len < 5 || (text.at[0] != '2' && text.at[0] != '4' && text.at[0] != '5') ||
        text.at[1] != '.')
        return false;
    rest = bytes_skip(text, 2);
    subject = small_number(rest, &subject_length);
    rest = bytes_skip(rest, subject_length);
    if (subject_length == 0 || rest.len == 0 || rest.at[0] != '.')
        return false;
    rest = bytes_skip(rest, 1);
    detail = small_number(rest, &detail_length);
    rest = bytes_skip(rest, detail_length);
    if (detail_length == 0 || (rest.len > 0 && rest.at[0] != ' '))
        return false;
    if (subject < 10 && detail <= UINT8_MAX) {
        enhanced_out[0] = (uint8_t)(text.at[0] - '0');
        enhanced_out[1] = (uint8_t)subject;
        enhanced_out[2] = (uint8_t)detail;
    }
    return true;
}

/* `wire` is a whole, well-formed reply, and its last line begins at `last`. */
static struct reply reply_of(struct bytes wire, size_t last)
{
    struct bytes line = bytes_make(wire.at + last, wire.len - last - 2);
    struct reply reply = {.code = code_of(line), .wire = wire};

    if (line.len > 4)
        read_enhanced(bytes_skip(line, 4), reply.enhanced);
    if (reply.enhanced[0] != reply.code / 100)
        memset(reply.enhanced, 0, sizeof(reply.enhanced));
    return reply;
}

/* ---- our own ---- */

struct reply reply_own(enum reply_id id)
{
#define TEXT(code, enhanced, text)                                                                 \
    (sizeof(enhanced) == 1 ? #code " " text "\r\n" : #code " " enhanced " " text "\r\n")
#define REPLY(id, code, enhanced, text) TEXT(code, enhanced, text),
    static const char *const wires[] = {
#include "proxy/smtp/replies.def"
    };
#undef REPLY
#undef TEXT

    struct reply reply = reply_of(bytes_of(wires[id]), 0);
    reply.own = (uint16_t)(id + 1);
    return reply;
}

const char *reply_name(enum reply_id id)
{
#define REPLY(id, code, enhanced, text) #id,
    static const char *const names[] = {
#include "proxy/smtp/replies.def"
    };
#undef REPLY

    return names[id];
}

/* "CODE" or "CODE text" of class 4 or 5, one line of printable ASCII? */
static bool is_refusal(struct bytes text)
{
    if (text.len < 3 || text.len > REPLY_TEXT_MAX || (text.at[0] != '4' && text.at[0] != '5') ||
        !byte_is_digit(text.at[1]) || !byte_is_digit(text.at[2]) ||
        (text.len > 3 && text.at[3] != ' '))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!byte_is_printable(text.at[i]))
            return false;
    return true;
}

int reply_make(struct arena *arena, struct bytes text, struct reply *reply_out)
{
    uint8_t enhanced[3], insertion[] = {' ', text.len > 0 ? text.at[0] : 0, '.', '0', '.', '0'};
    struct bytes rest;
    uint8_t *wire;
    size_t skip;

    if (!is_refusal(text))
        return ERR_SYNTAX;
    rest = bytes_skip(text, text.len > 3 ? 4 : 3);
    skip = read_enhanced(rest, enhanced) ? sizeof(insertion) : 0;
    if (skip != 0 && rest.at[0] != text.at[0])
        return ERR_SYNTAX;
    wire = arena_alloc(arena, text.len + sizeof(insertion) + 2);
    if (wire == NULL)
        return ERR_MEMORY;
    memcpy(wire, text.at, 3);
    memcpy(wire + 3, insertion, sizeof(insertion));
    memcpy(wire + 3 + sizeof(insertion) - skip, text.at + 3, text.len - 3);
    memcpy(wire + text.len + sizeof(insertion) - skip, "\r\n", 2);
    *reply_out = reply_of(bytes_make(wire, text.len + sizeof(insertion) - skip + 2), 0);
    return 0;
}

int reply_copy(struct arena *arena, const struct reply *reply, struct reply *copy_out)
{
    struct reply copy = *reply;
    int error = arena_copy(arena, reply->wire, &copy.wire);

    if (error == 0)
        *copy_out = copy;
    return error;
}

/* ---- writing ---- */

/* Takes a line off `*wire`, without its CRLF. */
static struct bytes next_line(struct bytes *wire)
{
    struct bytes line = bytes_first(*wire, bytes_find(*wire, '\n'));

    *wire = bytes_skip(*wire, line.len < wire->len ? line.len + 1 : line.len);
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    return line;
}

static void put_line(struct buf *out, struct bytes line, uint16_t code, enum reply_enhanced wanted)
{
    uint8_t digits[] = {(uint8_t)('0' + code / 100), (uint8_t)('0' + code / 10 % 10),
                        (uint8_t)('0' + code % 10)};
    uint8_t insertion[] = {digits[0], '.', '0', '.', '0', ' '};
    uint8_t separator = line.len > 3 ? line.at[3] : ' ';
    struct bytes text = line.len > 4 ? bytes_skip(line, 4) : bytes_make(NULL, 0);
    uint8_t enhanced[3];
    bool is_inserted = wanted == REPLY_ENHANCED_ADDED && !read_enhanced(text, enhanced);

    buf_put(out, bytes_make(digits, sizeof(digits)));
    if (line.len > 3 || is_inserted)
        buf_byte(out, separator);
    if (is_inserted)
        buf_put(out, bytes_make(insertion, text.len > 0 ? sizeof(insertion) : 5));
    buf_put(out, text);
    buf_text(out, "\r\n");
}

void reply_put(struct buf *out, const struct reply *reply, uint16_t code,
               enum reply_enhanced enhanced)
{
    uint16_t told = code == 0 ? reply->code : code;
    struct bytes rest = reply->wire;

    if (told / 100 == 3)
        enhanced = REPLY_AS_IT_IS;
    if (told == reply->code && enhanced == REPLY_AS_IT_IS) {
        buf_put(out, reply->wire);
        return;
    }
    while (rest.len > 0)
        put_line(out, next_line(&rest), told, enhanced);
}

/* Below 1000. */
static char *put_digits(char *at, unsigned number)
{
    for (unsigned unit = number >= 100 ? 100 : number >= 10 ? 10 : 1; unit > 0; unit /= 10)
        *at++ = (char)('0' + number / unit % 10);
    return at;
}

void reply_put_codes(const struct reply *reply, char out[REPLY_CODES_MAX])
{
    char *at = put_digits(out, reply->code);

    for (size_t i = 0; i < 3 && reply->enhanced[0] != 0; i++) {
        *at++ = i == 0 ? ' ' : '.';
        at = put_digits(at, reply->enhanced[i]);
    }
    *at = '\0';
}

void reply_put_text(struct buf *out, const struct reply *reply)
{
    struct bytes rest = reply->wire;
    bool is_first = true;

    while (rest.len > 0) {
        struct bytes line = next_line(&rest);

        if (is_first) {
            buf_put(out, bytes_first(line, 3));
            buf_text(out, line.len > 4 ? " " : "");
        } else {
            buf_text(out, " / ");
        }
        if (line.len > 4)
            buf_put(out, bytes_skip(line, 4));
        is_first = false;
    }
}

/* ---- reading ---- */

void reply_parser_init(struct reply_parser *parser, struct pool *pool)
{
    *parser = (struct reply_parser){.line_start = 0};
    buf_init(&parser->begun, pool, REPLY_MAX_BYTES);
}

void reply_parser_done(struct reply_parser *parser)
{
    buf_reset(&parser->begun);
    parser->line_start = 0;
    parser->is_whole = false;
}

bool reply_parser_is_empty(const struct reply_parser *parser)
{
    return parser->is_whole || buf_length(&parser->begun) == 0;
}

/* RFC 5321 4.2:  Reply-code = %x32-35 %x30-39 %x30-39 */
static bool is_reply_line(struct bytes line)
{
    return line.len >= 3 && line.at[0] >= '2' && line.at[0] <= '5' && byte_is_digit(line.at[1]) &&
           byte_is_digit(line.at[2]) && (line.len == 3 || line.at[3] == ' ' || line.at[3] == '-') &&
           bytes_find(line, '\r') == line.len && bytes_find(line, '\0') == line.len;
}

static int append(struct reply_parser *parser, struct bytes octets)
{
    if (octets.len > REPLY_MAX_BYTES - buf_length(&parser->begun))
        return ERR_TOO_LONG;
    buf_put(&parser->begun, octets);
    return parser->begun.has_failed ? ERR_MEMORY : 0;
}

/* The last line's code is the reply's, and every line gets it: postscreen begins with "220-" even
 * where it then refuses the client. */
static void agree(struct reply_parser *parser)
{
    uint8_t *all = parser->begun.block + parser->begun.start;

    for (size_t at = 0; at < parser->line_start;) {
        memcpy(all + at, all + parser->line_start, 3);
        at += 1 + bytes_find(bytes_make(all + at, parser->line_start - at), '\n');
    }
}

/* The LF of a line has come; the octets before it lie in `begun`. 0: it was the last line. */
static int end_line(struct reply_parser *parser)
{
    struct bytes line = bytes_skip(buf_bytes(&parser->begun), parser->line_start);
    bool has_cr = line.len > 0 && line.at[line.len - 1] == '\r';
    int error = append(parser, bytes_of(has_cr ? "\n" : "\r\n"));
    struct bytes all = buf_bytes(&parser->begun);

    if (error != 0)
        return error;
    line = bytes_make(all.at + parser->line_start, line.len - (has_cr ? 1 : 0));
    if (!is_reply_line(line))
        return ERR_GARBAGE;
    if (line.len > 3 && line.at[3] == '-') {
        parser->line_start = (uint32_t)all.len;
        return ERR_NOT_FOUND;
    }
    agree(parser);
    return 0;
}

int reply_parser_take(struct reply_parser *parser, struct bytes *in, struct reply *reply_out)
{
    int error = ERR_NOT_FOUND;

    if (parser->is_whole)
        reply_parser_done(parser);
    while (error == ERR_NOT_FOUND && in->len > 0) {
        struct bytes piece = bytes_first(*in, bytes_find(*in, '\n'));
        bool has_end = piece.len < in->len;

        *in = bytes_skip(*in, piece.len + (has_end ? 1 : 0));
        error = append(parser, piece);
        if (error == 0)
            error = has_end ? end_line(parser) : ERR_NOT_FOUND;
    }
    if (error == 0) {
        parser->is_whole = true;
        *reply_out = reply_of(buf_bytes(&parser->begun), parser->line_start);
        reply_out->by = REPLY_BY_TARGET;
    } else if (error == ERR_GARBAGE) {
        parser->is_whole = true;
    } else if (error != ERR_NOT_FOUND) {
        reply_parser_done(parser);
    }
    return error;
}

struct bytes reply_parser_garbage(const struct reply_parser *parser)
{
    return buf_bytes(&parser->begun);
}
