/* SPDX-License-Identifier: BSD-2-Clause */
/* Closes files in jobs. */
#include "proxy/io/closing.h"

#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/io/work.h"

struct closing {
    struct work work;
    const struct draft_folder *drafts;
    int fd;
};

static void run(struct work *work)
{
    struct closing *closing = CONTAINER_OF(work, struct closing, work);

    if (closing->drafts != NULL)
        draft_close(closing->drafts, closing->fd);
    else
        disk_close(closing->fd);
}

static void done(struct work *work)
{
    mem_free(CONTAINER_OF(work, struct closing, work));
}

void closing_begin(struct loop *loop, const struct draft_folder *drafts, int fd)
{
    struct closing *closing = mem_alloc(sizeof(*closing));

    assert(fd >= 0);
    if (closing != NULL) {
        *closing = (struct closing){.work = {.run = run, .done = done}, .drafts = drafts, .fd = fd};
        if (work_run(loop, &closing->work) == 0)
            return;
    }
    mem_free(closing);
    disk_close(fd);
}
