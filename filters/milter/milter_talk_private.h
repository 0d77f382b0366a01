/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said to a milter, for what it answers. */
#ifndef POSTERN_MILTER_TALK_PRIVATE_H
#define POSTERN_MILTER_TALK_PRIVATE_H

#include "filters/milter/milter_talk.h"

struct milter_terms milter_talk_offer(const struct milter_choice *choice);
/* Says what is to be said next for what is asked: until an answer has to be waited for, or the
 * verdict is known. */
void milter_talk_advance(struct milter_talk *talk);
/* The answer to what is asked. */
void milter_talk_tell(struct milter_talk *talk, const struct milter_verdict *verdict);
void milter_talk_break(struct milter_talk *talk, const char *problem);

#endif
