/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes octets of strangers safe for a terminal. */
#ifndef POSTERN_CONTROL_SCREEN_H
#define POSTERN_CONTROL_SCREEN_H

#include <stdio.h>

#include "proxy/base/bytes.h"

/* Starts as all zero. */
struct control_screen {
    uint8_t held[4]; /* a CR, or a character that is not whole yet */
    size_t held_len;
};

/* Writes printable characters of UTF-8, TAB and line ends as they are. Everything else might
 * control the terminal, and is written as \xNN. `octets` may be pieces of any size. */
void control_screen_put(struct control_screen *screen, struct bytes octets, FILE *out);
/* No more octets come. */
void control_screen_end(struct control_screen *screen, FILE *out);

#endif
