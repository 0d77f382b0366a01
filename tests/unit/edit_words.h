/* SPDX-License-Identifier: BSD-2-Clause */
/* Edits of a message, as plays and transcripts write them. */
#ifndef POSTERN_EDIT_WORDS_H
#define POSTERN_EDIT_WORDS_H

#include <stdbool.h>

#include "filters/filter.h"

/* Takes the first edit off *rest: "add NAME VALUE", "insert INDEX NAME VALUE", "change INDEX NAME
 * VALUE", "delete INDEX NAME", "body TEXT", "from ADDRESS", "to ADDRESS", "not ADDRESS", "hold
 * REASON"; "|" stands between edits. False: something else stands there. */
bool edit_words_next(struct bytes *rest, struct filter_edit *edit_out);
/* Gives all of them. */
static inline bool edit_words_give(struct filter_seat *seat, const char *words)
{
    struct bytes rest = bytes_of(words);
    struct filter_edit edit;

    while (rest.len > 0)
        if (!edit_words_next(&rest, &edit) || !filter_edit(seat, &edit))
            return false;
    return true;
}

#endif
