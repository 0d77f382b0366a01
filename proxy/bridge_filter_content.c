/* SPDX-License-Identifier: BSD-2-Clause */
/* The message on its way past the filters: what they put in front of it, what is taken out of it,
 * and how they are shown it. */
#include "proxy/base/error.h"
#include "proxy/bridge_filter_private.h"

static struct transaction *transaction_of(const struct bridge_filters *f)
{
    return f->bridge->session.tx;
}

static struct pool *pool_of(const struct bridge_filters *f)
{
    return &loop_pools(f->bridge->carrier.loop)->medium;
}

/* ---- before the content: lines in front of the message ---- */

/* `target` NULL: at all targets. */
static int prepend(struct bridge_filters *f, const struct target *target,
                   const struct chain_walk *from)
{
    struct buf lines;

    buf_init(&lines, pool_of(f), TRANSACTION_LINES_MAX);
    chain_put_lines(from, &lines);
    int error = lines.has_failed
                    ? ERR_MEMORY
                    : transaction_prepend(transaction_of(f), target, buf_bytes(&lines));
    buf_done(&lines);
    return error;
}

static int prepend_all(struct bridge_filters *f)
{
    int error = f->own == NULL ? 0 : prepend(f, NULL, f->own);

    LIST_EACH (link, &f->targets) {
        const struct target_walk *t = target_walk_of(link);
        if (error == 0)
            error = prepend(f, t->target, t->walk);
    }
    return error;
}

/* ... and fields that pretend to be such lines. */
static int begin_stripping(struct bridge_filters *f)
{
    const struct chain *own = &f->bridge->smtpd->chain;
    size_t count = own->name_count;

    LIST_EACH (link, &f->targets)
        count += target_walk_of(link)->target->chain->name_count;
    struct bytes *names = arena_alloc(&f->bridge->session.mail, (count + 1) * sizeof(*names));
    if (names == NULL)
        return ERR_MEMORY;
    header_strip_init(&f->strip, names, count, &loop_pools(f->bridge->carrier.loop)->small);
    chain_names(own, names);
    names += own->name_count;
    LIST_EACH (link, &f->targets) {
        const struct chain *chain = target_walk_of(link)->target->chain;
        chain_names(chain, names);
        names += chain->name_count;
    }
    return 0;
}

/* ---- what is held back ---- */

static void hold(struct bridge_filters *f, const struct target *target,
                 const struct chain_walk *walk)
{
    uint32_t may = chain_may_edit(walk);
    enum transaction_hold how = may == 0 ? TRANSACTION_STREAMS : TRANSACTION_STREAMS_KEPT;

    if ((may & FILTER_EDITS_ENVELOPE) != 0)
        how = TRANSACTION_HOLDS_ENVELOPE;
    else if ((may & FILTER_EDITS_CONTENT) != 0)
        how = TRANSACTION_HOLDS_CONTENT;
    transaction_hold(transaction_of(f), target, how);
    f->may_append = f->may_append || (may & FILTER_EDIT(FILTER_REPLACE_BODY)) != 0;
}

static void hold_all(struct bridge_filters *f)
{
    f->may_append = false;
    if (f->own != NULL)
        hold(f, NULL, f->own);
    LIST_EACH (link, &f->targets)
        hold(f, target_walk_of(link)->target, target_walk_of(link)->walk);
}

/* ---- what filters are shown ---- */

static bool reads_own(const struct bridge_filters *f)
{
    return f->own != NULL && f->bridge->smtpd->chain.reads_content;
}

static void show(const struct bridge *b, struct chain_walk *to, const struct view *view)
{
    chain_show(to, b->carrier.copy, view, b->session.conf->message_max_bytes);
}

void bridge_filter_show_targets(struct bridge_filters *f)
{
    LIST_EACH (link, &f->targets) {
        struct target_walk *t = target_walk_of(link);
        if (t->is_shown || !t->target->chain->reads_content || f->bridge->carrier.copy == NULL)
            continue;
        show(f->bridge, t->walk, &transaction_of(f)->view);
        t->is_shown = true;
    }
}

int bridge_filter_begin_content(struct bridge_filters *f)
{
    int error = begin_stripping(f);

    bridge_filter_hide(f); /* an earlier DATA came to nothing */
    if (error == 0)
        error = prepend_all(f);
    if (error != 0)
        return error;
    const struct view whole = view_whole();
    hold_all(f);
    if (reads_own(f) && f->bridge->carrier.copy != NULL)
        show(f->bridge, f->own, &whole);
    /* Those of targets wait for listener's that may edit it. */
    if (f->own == NULL || (chain_may_edit(f->own) & FILTER_EDITS_CONTENT) == 0)
        bridge_filter_show_targets(f);
    return 0;
}

/* ---- while it streams ---- */

bool bridge_filter_take(struct bridge *b, struct bytes *content, struct bytes *kept_out)
{
    if (b->filters != NULL)
        return header_strip_take(&b->filters->strip, content, kept_out);
    *kept_out = *content;
    *content = bytes_skip(*content, content->len);
    return kept_out->len != 0;
}

size_t bridge_filter_held(const struct bridge *b)
{
    return b->filters == NULL ? 0 : buf_length(&b->filters->strip.held);
}

struct bytes bridge_filter_last(struct bridge *b)
{
    return b->filters == NULL ? bytes_make(NULL, 0) : header_strip_end(&b->filters->strip);
}

bool bridge_filter_has_failed(const struct bridge *b)
{
    return b->filters != NULL && b->filters->strip.held.has_failed;
}

/* Each chain that is shown the message. */
static void each_shown(struct bridge_filters *f, void (*fn)(struct chain_walk *walk))
{
    if (f == NULL)
        return;
    if (reads_own(f))
        fn(f->own);
    LIST_EACH (link, &f->targets)
        if (target_walk_of(link)->is_shown)
            fn(target_walk_of(link)->walk);
}

void bridge_filter_flush(struct bridge *b)
{
    each_shown(b->filters, chain_flush);
}

void bridge_filter_whole(struct bridge *b)
{
    each_shown(b->filters, chain_whole);
}

void bridge_filter_hide(struct bridge_filters *f)
{
    each_shown(f, chain_hide);
    LIST_EACH (link, &f->targets)
        target_walk_of(link)->is_shown = false;
}

void bridge_filter_room(struct bridge *b)
{
    each_shown(b->filters, chain_room);
}

bool bridge_filter_may_append(const struct bridge *b)
{
    return b->filters != NULL && b->filters->may_append;
}
