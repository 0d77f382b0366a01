/* SPDX-License-Identifier: BSD-2-Clause */
/* Transparency of DATA (RFC 5321 4.5.2): finds the end, takes dots away, puts them back. Pure. */
#ifndef POSTERN_DOT_H
#define POSTERN_DOT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

/* Only CRLF . CRLF ends the content, whatever the settings. Content comes out with CRLF line ends
 * only: a bare LF becomes CRLF (a dot behind it is content and stays), a bare CR a space. */
enum dot_state {
    DOT_LINE_START, /* behind CRLF, or at the very start */
    DOT_INSIDE,
    DOT_CR,     /* a CR was taken and is not yet given out */
    DOT_DOT,    /* a dot at the start of a line was taken away */
    DOT_DOT_CR, /* ... and a CR behind it */
    DOT_ENDED
};

/* What the line so far, as it came, may become when its NULs are dropped. */
enum dot_line {
    DOT_LINE_OTHER, /* no lone dot */
    DOT_LINE_EMPTY,
    DOT_LINE_DOT,      /* "." */
    DOT_LINE_TWO_DOTS, /* "..", which stands for a dot */
    DOT_LINE_NULS,     /* NULs alone */
    DOT_LINE_DOT_NULS, /* a dot, and NULs behind it */
    DOT_LINE_HIDDEN,   /* NULs around a lone dot: if the line ends here */
    DOT_LINE_STATES
};

struct dot {
    enum dot_state state;
    enum dot_line line;
    bool has_bare_newline; /* one was met (and normalized) */
    bool has_hidden_dot;   /* a line is a lone dot to a receiver that drops NULs: its end of data */
    uint8_t pair[2];       /* content that is made here: a space for a bare CR, and what follows */
};

void dot_init(struct dot *d);
/* Takes octets off `in` and gives one run of decoded content, which points into `in`, to a
 * constant or into `d`, and is borrowed until the next call. Returns the octets taken, one at least
 * unless `in` is empty or the state DOT_ENDED; *content_out may be empty, and is at most one octet
 * longer than what was taken. Call again with the rest until it is empty or state is DOT_ENDED;
 * what stands behind the end is not taken. Gives as long runs as it can: ordinary text of any
 * length comes out in one, up to a line that begins with a dot. */
size_t dot_decode(struct dot *d, struct bytes in, struct bytes *content_out);

/* The way back. Content has CRLF line ends only. */
struct dot_stuffer {
    bool is_inside_line; /* else a dot that comes next is doubled */
    bool is_dot_sent;    /* the extra dot is out already, its own dot is not */
};

extern const uint8_t dot_extra[1];
/* Legal when max > 0. Cuts `content` into at most `max` runs, for writev(): runs of `content`, and
 * single extra dots (told by `at` being dot_extra). Returns how many; *covered_out: octets of
 * content covered. Does not change `s`: what was really written is told by dot_stuffer_wrote(). */
int dot_stuff(const struct dot_stuffer *s, struct bytes content, struct bytes *runs_out, int max,
              size_t *covered_out);
/* `wire` octets of those runs were written. Returns the octets of content among them. */
size_t dot_stuffer_wrote(struct dot_stuffer *s, const struct bytes *runs, int count, size_t wire);

#endif
