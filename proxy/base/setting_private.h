/* SPDX-License-Identifier: BSD-2-Clause */
/* What the setting*.c files share: how lists and choices are kept. Pure. */
#ifndef POSTERN_SETTING_PRIVATE_H
#define POSTERN_SETTING_PRIVATE_H

#include "proxy/base/setting.h"

/* What every list looks like. Its size is a power of two when it must grow, so that it needs no
 * member for it. */
struct setting_list {
    void *at;
    size_t count;
};

size_t setting_item_bytes(const struct setting *row); /* of a list */

/* "this|that", or nothing for NULL. */
struct bytes setting_choices(const char *list);
/* Takes the next one off `*rest`; false when none is left. */
bool setting_next_choice(struct bytes *rest, struct bytes *choice_out);
struct bytes setting_choice_at(const char *list, unsigned position);

#endif
