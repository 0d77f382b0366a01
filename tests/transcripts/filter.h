/* SPDX-License-Identifier: BSD-2-Clause */
/* A filter that says nothing of itself: what it is asked is noted, and the script answers. */
#ifndef POSTERN_TRANSCRIPT_FILTER_H
#define POSTERN_TRANSCRIPT_FILTER_H

#include "proxy/smtpd.h"
#include "tests/transcripts/actor.h"

struct filter {
    struct smtpd_judge judge;
    struct list unanswered; /* struct smtpd_question.in_judge */
    struct actor ear;       /* a line for each question, and for each that is given up */
};

/* `stages`: names between blanks. NULL: none, it is never asked. False: no such stage. */
bool filter_init(struct filter *f, const char *stages);
/* To the oldest question; "go on", or a reply. False: there is none. */
bool filter_answer(struct filter *f, const char *words);

#endif
