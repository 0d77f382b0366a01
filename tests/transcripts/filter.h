/* SPDX-License-Identifier: BSD-2-Clause */
/* A filter that says nothing of itself: what it is asked is noted, and the script answers. */
#ifndef POSTERN_TRANSCRIPT_FILTER_H
#define POSTERN_TRANSCRIPT_FILTER_H

#include "filters/filter.h"
#include "filters/filter_conf.h"
#include "proxy/base/list.h"
#include "tests/transcripts/actor.h"

struct scripted {
    struct filter filter;
    struct filter_common common;
    struct list unanswered; /* questions, the oldest first */
    const char *ahead;      /* words for the next question, at once; NULL: it has to wait */
    struct actor ear;       /* a line for each question, and for each that is given up */
};

/* `stages`: names between blanks, and what the filter may edit: "content", "envelope", "hold".
 * NULL: none, it is never asked. False: no such stage. */
bool scripted_init(struct scripted *f, const char *stages);
/* To the oldest question: "go on", and a header field behind it that is put in front of the
 * message; "failed"; "discard"; "edit" and words of tests/unit/edit_words.h; or a reply. False:
 * there is none. */
bool scripted_answer(struct scripted *f, const char *words);

#endif
