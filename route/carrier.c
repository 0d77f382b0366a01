/* SPDX-License-Identifier: BSD-2-Clause */
/* Performs a transaction's actions on its branches, flushes these, and takes their reports. */
#include "route/carrier.h"

#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "route/target.h"

void carrier_init(struct carrier *carrier, const struct carrier_ops *ops, struct loop *loop,
                  const struct identity *client)
{
    *carrier = (struct carrier){.ops = ops, .loop = loop, .client = client, .origin = client};
    list_init(&carrier->holds);
}

static void open_branch(struct carrier *carrier, struct branch *branch)
{
    assert(branch->shell == NULL);
    branch->target->ops->open(carrier, branch);
    if (branch->shell == NULL)
        carrier_report(carrier, &(struct event){.kind = EV_BROKEN,
                                                .branch = branch,
                                                .reply = reply_own(REPLY_LOCAL_PROBLEM)});
}

void carrier_perform(struct carrier *carrier, const struct action *todo)
{
    struct branch *branch = todo->branch;

    assert(carrier->is_draining);
    assert(branch == NULL || branch->shell != NULL || todo->kind == ACT_OPEN ||
           todo->kind == ACT_DROP);
    switch (todo->kind) {
    case ACT_OPEN:
        open_branch(carrier, branch);
        break;
    case ACT_RCPT:
        branch->target->ops->rcpt(branch, todo->rcpt);
        break;
    case ACT_GO:
        branch->target->ops->go(branch);
        break;
    case ACT_PREPARE:
        branch->target->ops->prepare(branch);
        break;
    case ACT_END:
        branch->target->ops->end(branch);
        break;
    case ACT_COMMIT:
        branch->target->ops->commit(branch);
        break;
    case ACT_DROP:
        branch->target->ops->drop(branch);
        break;
    case ACT_PREPARE_SPOOL:
        carrier->ops->prepare_spool(carrier);
        break;
    case ACT_COMMIT_SPOOL:
        carrier->ops->commit_spool(carrier);
        break;
    case ACT_SETTLED:
        carrier->ops->settled(carrier);
        break;
    }
}

static bool is_open(const struct branch *branch)
{
    return branch->state != BRANCH_DONE && branch->shell != NULL;
}

/* What branches report meanwhile is fed, but performed only afterwards: no branch goes during the
 * walk. */
static void flush(const struct carrier *carrier)
{
    if (carrier->transaction == NULL)
        return;
    LIST_EACH (link, &carrier->transaction->branches) {
        struct branch *branch = LIST_ENTRY(link, struct branch, in_transaction);
        if (is_open(branch))
            branch->target->ops->flush(branch);
    }
}

void carrier_perform_all(struct carrier *carrier)
{
    assert(!carrier->is_draining);
    carrier->is_draining = true;
    carrier->ops->perform_all(carrier);
    carrier->is_draining = false;
}

void carrier_drain(struct carrier *carrier)
{
    if (carrier->is_draining)
        return;
    carrier->is_draining = true;
    do {
        carrier->has_news = false;
        carrier->ops->perform_all(carrier);
        flush(carrier);
    } while (carrier->has_news);
    carrier->is_draining = false;
    if (carrier->ops->drained != NULL)
        carrier->ops->drained(carrier);
}

/* The core knows one error of a disk: no room. */
static int error_of_disk(int error)
{
    return error == -ENOSPC || error == -EDQUOT ? ERR_FULL : error;
}

void carrier_report(struct carrier *carrier, const struct event *ev)
{
    struct event told = *ev;

    told.error = error_of_disk(ev->error);
    if (told.reply.by == REPLY_BY_TARGET && ev->branch != NULL)
        told.reply.by_name = &ev->branch->facts.target;
    carrier->has_news = true;
    carrier->ops->feed(carrier, &told);
    carrier_drain(carrier);
}

void carrier_named(struct carrier *carrier)
{
    if (carrier->transaction == NULL)
        return;
    LIST_EACH (link, &carrier->transaction->branches) {
        struct branch *branch = LIST_ENTRY(link, struct branch, in_transaction);
        if (is_open(branch) && branch->target->ops->named != NULL)
            branch->target->ops->named(branch);
    }
    carrier_drain(carrier);
}

void carrier_let_go(struct carrier *carrier)
{
    struct list *first;

    while ((first = list_first(&carrier->holds)) != NULL) {
        struct carrier_hold *hold = LIST_ENTRY(first, struct carrier_hold, in_carrier);
        list_remove(first);
        hold->target->ops->let_go(hold);
    }
}
