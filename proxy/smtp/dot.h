/* SPDX-License-Identifier: BSD-2-Clause */
/* Transparency of DATA (RFC 5321 4.5.2): finds the end of data, removes the extra dots, adds them.
 * What comes by BDAT is decoded too, since it may leave by DATA. Pure. */
#ifndef POSTERN_DOT_H
#define POSTERN_DOT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

/* Only CRLF . CRLF ends the content, whatever the settings. Content comes out with CRLF line ends
 * only: a bare LF becomes CRLF (a dot after it is content and stays), a bare CR a space. */
enum dot_state {
    DOT_LINE_START, /* after CRLF, or at the very start */
    DOT_INSIDE,
    DOT_CR,     /* a CR was taken, but not given out yet */
    DOT_DOT,    /* a dot at the start of a line was removed */
    DOT_DOT_CR, /* ... and a CR follows it */
    DOT_ENDED
};

/* What the line so far, as it came, would be without its NULs: some receivers drop them. */
enum dot_line {
    DOT_LINE_OTHER, /* no lone dot */
    DOT_LINE_EMPTY,
    DOT_LINE_DOT,      /* "." */
    DOT_LINE_TWO_DOTS, /* "..", which means a dot */
    DOT_LINE_NULS,     /* NULs alone */
    DOT_LINE_DOT_NULS, /* a dot, and NULs after it */
    DOT_LINE_HIDDEN,   /* NULs around a dot, which is a lone one if the line ends here */
    DOT_LINE_STATES
};

struct dot {
    enum dot_state state;
    enum dot_line line;
    bool is_plain;         /* content without extra dots, which nothing in it ends */
    bool has_bare_newline; /* there was one, and it was normalized */
    bool has_hidden_dot;   /* a receiver that drops NULs would see the end of data in a line */
    uint8_t pair[2];       /* content made here: a space for a bare CR, and the octet after it */
};

void dot_init(struct dot *dot);
/* For content as it is (RFC 3030): a dot means a dot, the state is never DOT_ENDED, and the caller
 * knows where the end is. */
void dot_init_plain(struct dot *dot);
/* Takes octets off `in` and gives one run of decoded content, which points into `in`, to a
 * constant or into `dot`, and is borrowed until the next call. Returns the octets taken, one at
 * least unless `in` is empty or the state is DOT_ENDED; *content_out may be empty, and is at most
 * one octet longer than what was taken. Call again with the rest until that is empty or the state
 * is DOT_ENDED; octets behind the end of data are not taken. Runs are as long as possible: ordinary
 * text comes out in one, up to a line that begins with a dot. */
size_t dot_decode(struct dot *dot, struct bytes in, struct bytes *content_out);
/* Legal once, after dot_init_plain(): the content ends here. Returns what its last line lacks; a
 * constant. */
struct bytes dot_finish(struct dot *dot);

/* Adds the extra dots. Content has CRLF line ends only. */
struct dot_stuffer {
    bool is_inside_line; /* false: a dot that comes next is doubled */
    bool is_dot_sent;    /* the extra dot is written, the dot that it doubles is not */
};

extern const uint8_t dot_extra[1];
/* Legal when max > 0. Cuts `content` into at most `max` runs, for writev(): runs of `content`, and
 * single extra dots (whose `at` is dot_extra). Returns how many; *covered_out: octets of content in
 * them. Does not change `stuffer`: dot_stuffer_wrote() reports what was really written. */
int dot_stuff(const struct dot_stuffer *stuffer, struct bytes content, struct bytes *runs_out,
              int max, size_t *covered_out);
/* `wire` octets of those runs were written. Returns the octets of content among them. */
size_t dot_stuffer_wrote(struct dot_stuffer *stuffer, const struct bytes *runs, int count,
                         size_t wire);

#endif
