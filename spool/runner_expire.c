/* SPDX-License-Identifier: BSD-2-Clause */
/* Removes what a filter has quarantined and nobody has released for core.quarantine-expire. */
#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "spool/runner_private.h"

struct expiring {
    struct runner_request request;
    struct runner *runner;
};

static void on_expired(struct runner_request *request)
{
    struct expiring *expiring = CONTAINER_OF(request, struct expiring, request);
    struct runner *r = expiring->runner;
    struct runner_message *known = runner_find(r, &request->id);

    if (request->error != 0 && known != NULL)
        runner_quarantine_again(known);
    r->quarantine.is_expiring = false;
    mem_free(expiring);
    runner_expire(r);
}

/* There may be many for which the time is over at a start. */
void runner_expire(struct runner *r)
{
    struct expiring *expiring;
    struct id id;

    if (r->quarantine.is_expiring || r->is_stopping || !runner_quarantine_next(r, &id))
        return;
    expiring = mem_zalloc(sizeof(*expiring));
    if (expiring == NULL) {
        runner_quarantine_again(runner_find(r, &id));
        return;
    }
    r->quarantine.is_expiring = true;
    expiring->runner = r;
    expiring->request = (struct runner_request){.act = RUNNER_EXPIRE, .id = id, .done = on_expired};
    runner_request(r, &expiring->request);
}
