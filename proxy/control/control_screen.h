/* SPDX-License-Identifier: BSD-2-Clause */
/* Octets of others on their way to a terminal. */
#ifndef POSTERN_CONTROL_SCREEN_H
#define POSTERN_CONTROL_SCREEN_H

#include <stdio.h>

#include "proxy/base/bytes.h"

/* All zero at first. */
struct control_screen {
    uint8_t held[4]; /* a CR, or a character that is not whole yet */
    size_t held_len;
};

/* Writes printable characters of UTF-8, TAB and line ends as they are, and everything else, which
 * might steer the terminal, as \xNN. They may come in any pieces. */
void control_screen_put(struct control_screen *s, struct bytes octets, FILE *out);
/* Nothing more comes. */
void control_screen_end(struct control_screen *s, FILE *out);

#endif
