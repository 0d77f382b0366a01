/* SPDX-License-Identifier: BSD-2-Clause */
/* What recipients get of a message. */
#include <assert.h>

#include "spool/spool_format.h"

static struct spool_shown show(const struct spool_message *m, uint32_t view)
{
    struct spool_shown shown = {.view = m->view};

    assert(view <= m->view_count);
    if (view != 0 && m->views[view - 1].is_in_front)
        shown.in_front = m->views[view - 1].view.lines;
    else if (view != 0)
        shown.view = m->views[view - 1].view;
    if (shown.view.end == VIEW_TO_END)
        shown.view.end = m->head.body_bytes;
    return shown;
}

struct spool_shown spool_shown_to_all(const struct spool_message *m)
{
    for (uint32_t i = 1; i < m->recipient_count; i++)
        if (m->recipients[i].view != m->recipients[0].view)
            return show(m, 0);
    return show(m, m->recipient_count == 0 ? 0 : m->recipients[0].view);
}

uint64_t spool_shown_bytes(const struct spool_shown *shown)
{
    return shown->in_front.len + shown->view.lines.len + shown->view.end - shown->view.at;
}
