/* SPDX-License-Identifier: BSD-2-Clause */
/* A conversation with a milter as text: what it says, and what is seen of it. */
#ifndef POSTERN_MILTER_PLAY_H
#define POSTERN_MILTER_PLAY_H

#include "filters/milter/milter_talk.h"
#include "tests/unit/lib.h"

/* Lines of a milter: the letter of the packet and its data, with "|" for NUL, "~" for CR, "^" for
 * LF; after "O" version, actions and steps in hexadecimal; "#H" gives the packet of these octets in
 * hexadecimal, as it is. Returns the octets, in a static buffer. */
struct bytes milter_play_octets(const char *lines);
/* Writes each packet as a line "> X data", in the same way, and whether something is left over. */
void milter_play_put(struct lib_text *seen, struct bytes packets);
void milter_play_put_answer(struct lib_text *seen, const struct milter_answer *answer);
void milter_play_put_event(struct lib_text *seen, const struct milter_talk_event *event);

/* Who and what is spoken of. */
extern const struct milter_about milter_play_about;

/* What happens, one word each: stages that are asked, "f" a field, "g" a line that is none, "b" a
 * piece of the body, "over" the message is, "quit". After a question comes its verdict. */
struct milter_play_row {
    const char *happens, *says, *seen;
    uint32_t version, actions; /* 0: 6, all */
    const char *macros;        /* of CONNECT; NULL: the usual ones */
};

/* Plays a row, the milter's octets cut as `in` has them; NULL: whole. */
void milter_play_run(const void *row, struct lib_pieces *in, struct lib_text *seen);

extern struct pool milter_play_small, milter_play_medium; /* between these: */
int milter_play_set_up(void **state);
int milter_play_tear_down(void **state);

#endif
