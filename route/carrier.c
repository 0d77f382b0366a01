/* SPDX-License-Identifier: BSD-2-Clause */
/* Performs a transaction's actions at its branches, flushes them, and hears what they report. */
#include "route/carrier.h"

#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "route/target.h"

void carrier_init(struct carrier *c, const struct carrier_ops *ops, struct loop *loop,
                  const struct identity *client)
{
    *c = (struct carrier){.ops = ops, .loop = loop, .client = client};
    list_init(&c->holds);
}

static void open_branch(struct carrier *c, struct branch *b)
{
    b->target->ops->open(c, b);
    if (b->shell == NULL)
        carrier_report(c, &(struct event){.kind = EV_BROKEN,
                                          .branch = b,
                                          .reply = reply_own(REPLY_LOCAL_PROBLEM)});
}

void carrier_perform(struct carrier *c, const struct action *todo)
{
    struct branch *b = todo->branch;

    assert(c->is_draining);
    switch (todo->kind) {
    case ACT_OPEN:
        open_branch(c, b);
        break;
    case ACT_RCPT:
        b->target->ops->rcpt(b, todo->rcpt);
        break;
    case ACT_GO:
        b->target->ops->go(b);
        break;
    case ACT_PREPARE:
        b->target->ops->prepare(b);
        break;
    case ACT_END:
        b->target->ops->end(b);
        break;
    case ACT_COMMIT:
        b->target->ops->commit(b);
        break;
    case ACT_DROP:
        b->target->ops->drop(b);
        break;
    case ACT_PREPARE_SPOOL:
        c->ops->prepare_spool(c);
        break;
    case ACT_COMMIT_SPOOL:
        c->ops->commit_spool(c);
        break;
    case ACT_SETTLED:
        c->ops->settled(c);
        break;
    }
}

static bool is_open(const struct branch *b)
{
    return b->state != BRANCH_DONE && b->shell != NULL;
}

/* What is reported meanwhile is fed, but nothing follows from it yet: no branch goes. */
static void flush(const struct carrier *c)
{
    if (c->transaction == NULL)
        return;
    LIST_EACH (link, &c->transaction->branches) {
        struct branch *b = LIST_ENTRY(link, struct branch, in_transaction);
        if (is_open(b))
            b->target->ops->flush(b);
    }
}

void carrier_perform_all(struct carrier *c)
{
    assert(!c->is_draining);
    c->is_draining = true;
    c->ops->perform_all(c);
    c->is_draining = false;
}

void carrier_drain(struct carrier *c)
{
    if (c->is_draining)
        return;
    c->is_draining = true;
    do {
        c->has_news = false;
        c->ops->perform_all(c);
        flush(c);
    } while (c->has_news);
    c->is_draining = false;
    if (c->ops->drained != NULL)
        c->ops->drained(c);
}

/* The core knows one error of a disk: it is full. */
static int error_of_disk(int error)
{
    return error == -ENOSPC || error == -EDQUOT ? ERR_FULL : error;
}

void carrier_report(struct carrier *c, const struct event *ev)
{
    struct event told = *ev;

    told.error = error_of_disk(ev->error);
    c->has_news = true;
    c->ops->feed(c, &told);
    carrier_drain(c);
}

void carrier_named(struct carrier *c)
{
    if (c->transaction == NULL)
        return;
    LIST_EACH (link, &c->transaction->branches) {
        struct branch *b = LIST_ENTRY(link, struct branch, in_transaction);
        if (is_open(b) && b->target->ops->named != NULL)
            b->target->ops->named(b);
    }
    carrier_drain(c);
}

void carrier_let_go(struct carrier *c)
{
    struct list *first;

    while ((first = list_first(&c->holds)) != NULL) {
        struct carrier_hold *hold = LIST_ENTRY(first, struct carrier_hold, in_carrier);
        list_remove(first);
        hold->target->ops->let_go(hold);
    }
}
