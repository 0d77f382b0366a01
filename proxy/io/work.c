/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs on libuv's thread pool. */
#include "proxy/io/work.h"

#include "proxy/base/error.h"
#include "proxy/io/loop_uv.h"

static void on_run(uv_work_t *request)
{
    struct work *work = request->data;

    work->run(work);
}

static void on_done(uv_work_t *request, int status)
{
    struct work *work = request->data;

    (void)status; /* nobody cancels jobs */
    work->shell = NULL;
    mem_free(request);
    work->done(work);
}

int work_run(struct loop *loop, struct work *work)
{
    uv_work_t *request = mem_alloc(sizeof(*request));

    assert(work->shell == NULL && work->run != NULL && work->done != NULL);
    if (request == NULL)
        return ERR_MEMORY;
    request->data = work;
    work->shell = request;
    uv_queue_work(&loop->uv, request, on_run, on_done); /* fails only without a function */
    return 0;
}
