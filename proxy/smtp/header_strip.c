/* SPDX-License-Identifier: BSD-2-Clause */
/* Authentication-Results fields that claim to be ours. */
#include "proxy/smtp/header_strip.h"

static const char field_name[] = "authentication-results";

void header_strip_init(struct header_strip *strip, const struct bytes *names, size_t name_count,
                       struct pool *pool)
{
    *strip = (struct header_strip){.names = names,
                                   .name_count = name_count,
                                   .place = name_count == 0 ? STRIP_BODY : STRIP_LINE_START};
    buf_init(&strip->held, pool, HEADER_STRIP_HELD_MAX);
}

void header_strip_done(struct header_strip *strip)
{
    buf_done(&strip->held);
}

static bool is_ours(const struct header_strip *strip)
{
    struct bytes name = bytes_make(strip->name, strip->name_len);

    for (size_t i = 0; strip->name_len <= HEADER_STRIP_NAME_MAX && i < strip->name_count; i++)
        if (bytes_equal_nocase(name, strip->names[i]))
            return true;
    return false;
}

/* ---- one octet that is not decided yet ---- */

/* The rest of the field stays or goes, and with it what is held. */
static void decide(struct header_strip *strip, bool drops)
{
    strip->is_dropping = drops;
    strip->place = drops ? STRIP_DROP : STRIP_KEEP;
}

static void match_field(struct header_strip *strip, uint8_t octet)
{
    bool is_whole = strip->matched == sizeof(field_name) - 1;

    if (!is_whole && byte_lower(octet) == (uint8_t)field_name[strip->matched])
        strip->matched++;
    else if (is_whole && byte_is_blank(octet))
        strip->place = STRIP_COLON;
    else if (is_whole && octet == ':')
        strip->place = STRIP_VALUE;
    else
        decide(strip, false);
}

static void look_for_colon(struct header_strip *strip, uint8_t octet)
{
    if (octet == ':')
        strip->place = STRIP_VALUE;
    else if (!byte_is_blank(octet))
        decide(strip, false);
}

static void add_to_name(struct header_strip *strip, uint8_t octet)
{
    if (strip->name_len < HEADER_STRIP_NAME_MAX)
        strip->name[strip->name_len] = octet;
    if (strip->name_len <= HEADER_STRIP_NAME_MAX)
        strip->name_len++;
}

/* Blanks, folds and comments, which may be nested: RFC 5322 3.2.2. */
static void look_for_name(struct header_strip *strip, uint8_t octet)
{
    bool was_escaped = strip->is_escaped;

    strip->is_escaped = false;
    if (octet == '\n') {
        strip->place = STRIP_FOLD;
    } else if (octet == '(' && !was_escaped) {
        strip->depth++;
    } else if (strip->depth > 0) {
        strip->is_escaped = octet == '\\' && !was_escaped;
        strip->depth -= octet == ')' && !was_escaped;
    } else if (octet == '"') {
        strip->place = STRIP_QUOTED;
    } else if (!byte_is_blank(octet) && octet != '\r') {
        strip->place = STRIP_NAME;
        add_to_name(strip, octet);
    }
}

static void read_name(struct header_strip *strip, uint8_t octet)
{
    if (byte_is_blank(octet) || octet == ';' || octet == '(' || octet == '\r' || octet == '\n')
        decide(strip, is_ours(strip));
    else
        add_to_name(strip, octet);
}

/* RFC 5322 3.2.4. */
static void read_quoted(struct header_strip *strip, uint8_t octet)
{
    bool was_escaped = strip->is_escaped;

    strip->is_escaped = octet == '\\' && !was_escaped;
    if (octet == '"' && !was_escaped)
        decide(strip, is_ours(strip));
    else if (!strip->is_escaped && octet != '\r' && octet != '\n')
        add_to_name(strip, octet);
}

static void look_at(struct header_strip *strip, uint8_t octet)
{
    switch (strip->place) {
    case STRIP_FIELD:
        match_field(strip, octet);
        return;
    case STRIP_COLON:
        look_for_colon(strip, octet);
        return;
    case STRIP_VALUE:
        look_for_name(strip, octet);
        return;
    case STRIP_NAME:
        read_name(strip, octet);
        return;
    case STRIP_QUOTED:
        read_quoted(strip, octet);
        return;
    case STRIP_FOLD:
        strip->place = STRIP_VALUE;
        return;
    case STRIP_LINE_START:
    case STRIP_KEEP:
    case STRIP_DROP:
    case STRIP_BODY:
        break;
    }
    assert(false);
}

/* ---- the stream ---- */

/* Where a line begins, nothing is taken yet. Its first octet mostly says that it stays. */
static void begin_line(struct header_strip *strip, uint8_t first)
{
    if (byte_is_blank(first)) {
        decide(strip, strip->is_dropping);
    } else if (first == '\r' || first == '\n') {
        strip->place = STRIP_BODY;
    } else if (byte_lower(first) != (uint8_t)field_name[0]) {
        decide(strip, false);
    } else {
        strip->place = STRIP_FIELD;
        strip->matched = strip->depth = strip->name_len = 0;
        strip->is_escaped = false;
    }
}

/* The rest of a line whose field is decided, as far as it is there. */
static struct bytes take_line(struct header_strip *strip, struct bytes *in)
{
    size_t len = bytes_find(*in, '\n');
    bool is_ended = len < in->len;
    struct bytes line = bytes_first(*in, len + is_ended);

    *in = bytes_skip(*in, line.len);
    if (strip->place == STRIP_DROP)
        line.len = 0;
    if (is_ended)
        strip->place = STRIP_LINE_START;
    return line;
}

/* One more octet is held. Returns what is held, if that stays. */
static struct bytes take_octet(struct header_strip *strip, uint8_t octet)
{
    buf_byte(&strip->held, octet);
    look_at(strip, octet);
    if (buf_length(&strip->held) == HEADER_STRIP_HELD_MAX && strip->place < STRIP_KEEP)
        decide(strip, true); /* nobody has a reason to begin a field so */
    if (strip->place < STRIP_KEEP)
        return bytes_make(NULL, 0);
    strip->is_told = true;
    struct bytes held = buf_bytes(&strip->held);
    bool is_kept = strip->place == STRIP_KEEP;
    if (octet == '\n')
        strip->place = STRIP_LINE_START;
    return is_kept ? held : bytes_make(NULL, 0);
}

/* A field without a name of a server: a line that begins with no blank ends it. */
static struct bytes end_field(struct header_strip *strip)
{
    strip->is_dropping = false;
    strip->is_told = true;
    strip->place = STRIP_LINE_START;
    return buf_bytes(&strip->held);
}

static struct bytes take_some(struct header_strip *strip, struct bytes *in)
{
    struct bytes kept = *in;

    if (strip->place == STRIP_LINE_START)
        begin_line(strip, in->at[0]);
    if (strip->place == STRIP_FOLD && !byte_is_blank(in->at[0]))
        return end_field(strip);
    switch (strip->place) {
    case STRIP_BODY:
        *in = bytes_skip(*in, in->len);
        return kept;
    case STRIP_KEEP:
    case STRIP_DROP:
        return take_line(strip, in);
    case STRIP_LINE_START:
    case STRIP_FIELD:
    case STRIP_COLON:
    case STRIP_VALUE:
    case STRIP_FOLD:
    case STRIP_NAME:
    case STRIP_QUOTED:
        break;
    }
    uint8_t octet = in->at[0];
    *in = bytes_skip(*in, 1);
    return take_octet(strip, octet);
}

static void forget_told(struct header_strip *strip)
{
    if (strip->is_told)
        buf_reset(&strip->held);
    strip->is_told = false;
}

bool header_strip_take(struct header_strip *strip, struct bytes *in, struct bytes *kept_out)
{
    do {
        forget_told(strip);
        if (in->len == 0)
            return false;
        *kept_out = take_some(strip, in);
    } while (kept_out->len == 0);
    return true;
}

struct bytes header_strip_end(struct header_strip *strip)
{
    forget_told(strip);
    return buf_bytes(&strip->held);
}
