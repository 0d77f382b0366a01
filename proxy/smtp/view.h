/* SPDX-License-Identifier: BSD-2-Clause */
/* What is sent of a message: header fields, and behind them one range of its copy. The copy itself
 * is never changed. A message whose header was edited has all its header fields in `lines`, and a
 * range that begins with the empty line behind the copy's own header. A body that was replaced
 * stands in the copy behind the message, with an empty line in front, and the range is that. Pure.
 */
#ifndef POSTERN_VIEW_H
#define POSTERN_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

#define VIEW_LINES_MAX (1U << 20) /* octets of `lines`, in all views of a message together */
#define VIEW_TO_END    UINT64_MAX /* an end: that of the message as the client sent it */

struct view {
    struct bytes lines; /* whole header fields */
    size_t above; /* octets of them that stand above our own Received; the others stand below it */
    uint64_t at, end; /* of the copy */
};

/* The message as it came. */
static inline struct view view_whole(void)
{
    return (struct view){.end = VIEW_TO_END};
}

/* The message as it came, maybe with fields in front of it. */
static inline bool view_is_whole(const struct view *view)
{
    return view->at == 0 && view->end == VIEW_TO_END && view->above == view->lines.len;
}

/* The fields above our own Received, and those below it. */
static inline struct bytes view_above(const struct view *view)
{
    return bytes_first(view->lines, view->above);
}

static inline struct bytes view_below(const struct view *view)
{
    return bytes_skip(view->lines, view->above);
}

#endif
