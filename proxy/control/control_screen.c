/* SPDX-License-Identifier: BSD-2-Clause */
/* Octets of others on their way to a terminal. */
#include "proxy/control/control_screen.h"

#include <stdbool.h>

/* Of the character of UTF-8 that begins so (RFC 3629 4); 0: none does. */
static size_t length_of(uint8_t first)
{
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/* The second octet tells what is written longer than it need be, a surrogate, beyond Unicode, or a
 * control character (C1, U+0080 to U+009F). */
static bool may_follow(const struct control_screen *s, uint8_t c)
{
    if (c < 0x80 || c > 0xbf)
        return false;
    if (s->held_len > 1)
        return true;
    switch (s->held[0]) {
    case 0xc2:
    case 0xe0:
        return c >= 0xa0;
    case 0xed:
        return c <= 0x9f;
    case 0xf0:
        return c >= 0x90;
    case 0xf4:
        return c <= 0x8f;
    default:
        return true;
    }
}

void control_screen_end(struct control_screen *s, FILE *out)
{
    for (size_t i = 0; i < s->held_len; i++)
        fprintf(out, "\\x%02x", s->held[i]);
    s->held_len = 0;
}

static void put_held(struct control_screen *s, FILE *out)
{
    fwrite(s->held, 1, s->held_len, out);
    s->held_len = 0;
}

static void hold(struct control_screen *s, uint8_t c)
{
    s->held[s->held_len++] = c;
}

static void put(struct control_screen *s, uint8_t c, FILE *out)
{
    bool is_after_cr = s->held_len != 0 && s->held[0] == '\r';

    if (is_after_cr && c == '\n') {
        hold(s, c);
        put_held(s, out);
        return;
    }
    if (s->held_len != 0 && !is_after_cr && may_follow(s, c)) {
        hold(s, c);
        if (s->held_len == length_of(s->held[0]))
            put_held(s, out);
        return;
    }
    control_screen_end(s, out);
    hold(s, c);
    if (c == '\n' || c == '\t' || byte_is_printable(c))
        put_held(s, out);
    else if (c != '\r' && length_of(c) == 0)
        control_screen_end(s, out);
}

void control_screen_put(struct control_screen *s, struct bytes octets, FILE *out)
{
    for (size_t i = 0; i < octets.len; i++)
        put(s, octets.at[i], out);
}
