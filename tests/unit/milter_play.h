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

#endif
