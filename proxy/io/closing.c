/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that are closed when nobody needs them any more. */
#include "proxy/io/closing.h"

#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/io/work.h"

struct closing {
    struct work work;
    const struct draft_place *drafts;
    int fd;
};

static void run(struct work *w)
{
    struct closing *c = CONTAINER_OF(w, struct closing, work);

    if (c->drafts != NULL)
        draft_close(c->drafts, c->fd);
    else
        disk_close(c->fd);
}

static void done(struct work *w)
{
    mem_free(CONTAINER_OF(w, struct closing, work));
}

void closing_begin(struct loop *l, const struct draft_place *drafts, int fd)
{
    struct closing *c = mem_alloc(sizeof(*c));

    if (c != NULL) {
        *c = (struct closing){.work = {.run = run, .done = done}, .drafts = drafts, .fd = fd};
        if (work_run(l, &c->work) == 0)
            return;
    }
    mem_free(c);
    disk_close(fd);
}
