/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes octets of strangers safe for a terminal. */
#include "proxy/control/control_screen.h"

#include <stdbool.h>

/* The length of the UTF-8 character that begins with `first` (RFC 3629 4); 0: none does. */
static size_t length_of(uint8_t first)
{
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/* May `octet` continue the character? The second octet excludes overlong forms, surrogates, numbers
 * beyond Unicode, and control characters (C1, U+0080 to U+009F). */
static bool may_follow(const struct control_screen *screen, uint8_t octet)
{
    if (octet < 0x80 || octet > 0xbf)
        return false;
    if (screen->held_len > 1)
        return true;
    switch (screen->held[0]) {
    case 0xc2:
    case 0xe0:
        return octet >= 0xa0;
    case 0xed:
        return octet <= 0x9f;
    case 0xf0:
        return octet >= 0x90;
    case 0xf4:
        return octet <= 0x8f;
    default:
        return true;
    }
}

void control_screen_end(struct control_screen *screen, FILE *out)
{
    for (size_t i = 0; i < screen->held_len; i++)
        fprintf(out, "\\x%02x", screen->held[i]);
    screen->held_len = 0;
}

static void put_held(struct control_screen *screen, FILE *out)
{
    fwrite(screen->held, 1, screen->held_len, out);
    screen->held_len = 0;
}

static void hold(struct control_screen *screen, uint8_t octet)
{
    screen->held[screen->held_len++] = octet;
}

static void put(struct control_screen *screen, uint8_t octet, FILE *out)
{
    bool is_after_cr = screen->held_len != 0 && screen->held[0] == '\r';

    if (is_after_cr && octet == '\n') {
        hold(screen, octet);
        put_held(screen, out);
        return;
    }
    if (screen->held_len != 0 && !is_after_cr && may_follow(screen, octet)) {
        hold(screen, octet);
        if (screen->held_len == length_of(screen->held[0]))
            put_held(screen, out);
        return;
    }
    control_screen_end(screen, out);
    hold(screen, octet);
    if (octet == '\n' || octet == '\t' || byte_is_printable(octet))
        put_held(screen, out);
    else if (octet != '\r' && length_of(octet) == 0)
        control_screen_end(screen, out);
}

void control_screen_put(struct control_screen *screen, struct bytes octets, FILE *out)
{
    for (size_t i = 0; i < octets.len; i++)
        put(screen, octets.at[i], out);
}
