/* SPDX-License-Identifier: BSD-2-Clause */
/* What the setting*.c files share: how lists and choices are kept. Pure. */
#ifndef POSTERN_SETTING_PRIVATE_H
#define POSTERN_SETTING_PRIVATE_H

#include "proxy/base/setting.h"

/* What every list looks like. Its capacity needs no member: a list grows when its count is a power
 * of two. */
struct setting_list {
    void *at;
    size_t count;
};

size_t setting_item_bytes(const struct setting *row); /* of one item of a list */

/* The text of `list` ("this|that"), empty for NULL. */
struct bytes setting_choices(const char *list);
/* Takes the next choice off `*rest`; false when none is left. */
bool setting_next_choice(struct bytes *rest, struct bytes *choice_out);
struct bytes setting_choice_at(const char *list, unsigned position);

#endif
