/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs on libuv's thread pool. */
#include "proxy/io/work.h"

#include "proxy/base/error.h"
#include "proxy/io/loop_uv.h"

static void on_run(uv_work_t *request)
{
    struct work *w = request->data;

    w->run(w);
}

static void on_done(uv_work_t *request, int status)
{
    struct work *w = request->data;

    (void)status; /* nothing is ever cancelled */
    w->shell = NULL;
    mem_free(request);
    w->done(w);
}

int work_run(struct loop *l, struct work *w)
{
    uv_work_t *request = mem_alloc(sizeof(*request));

    if (request == NULL)
        return ERR_MEMORY;
    request->data = w;
    w->shell = request;
    uv_queue_work(&l->uv, request, on_run, on_done); /* fails only without a function */
    return 0;
}
