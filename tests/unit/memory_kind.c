/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest kind of target: all that postern knows of it stands in this file. */
#include "tests/unit/memory_kind.h"

#include <stdio.h>

#include "proxy/base/mem.h"
#include "proxy/smtp/outcome.h"
#include "route/carrier.h"
#include "route/outgoing.h"

/* ---- its section ---- */

struct memory_conf {
    struct bytes section;
    uint32_t room; /* octets of a message */
};

static const struct setting rows[] = {
    {"room", SETTING_COUNT, SETTING_AT(memory_conf, room), "100", "1..",
     .help = "how long a message may be"},
};

static const struct setting_section section = {.kind = "memory",
                                               .rows = rows,
                                               .row_count = ARRAY_LENGTH(rows),
                                               .conf_bytes = sizeof(struct memory_conf),
                                               .is_named = true,
                                               .name_offset = SETTING_AT(memory_conf, section),
                                               .help = "a target that forgets nothing"};

static void finish(struct setting_reading *asked)
{
    if (!asked->is_given(asked, "room"))
        cf_warning(asked->problems, asked->place_of(asked, "room", 0), bytes_of("room for little"));
}

static int check(const void *settings, struct target_check *check)
{
    const struct memory_conf *conf = settings;

    cf_warning(check->problems, check->place,
               cf_phrase(check->problems, "target ", conf->section, " forgets nothing"));
    return 0;
}

/* ---- a branch ---- */

enum wish { WISH_ANSWER, WISH_PREPARE, WISH_COMMIT };

struct memory {
    struct target target;
};

/* In the mail arena: no job works for it. */
struct memory_branch {
    struct carrier *carrier;
    enum wish wish; /* of the next flush */
    uint8_t content[100];
    size_t content_bytes;
};

struct lib_text memory_kind_shelf;

static void open_branch(struct carrier *c, struct branch *b)
{
    struct memory_branch *m = arena_alloc(b->transaction->mail, sizeof(*m));

    b->facts.target = b->target->name;
    b->facts.identity = bytes_of("none");
    if (m == NULL)
        return;
    m->carrier = c;
    b->shell = m;
}

static void rcpt(struct branch *b, struct recipient *r)
{
    (void)b;
    (void)r;
}

static void go(struct branch *b)
{
    (void)b;
}

static void prepare(struct branch *b)
{
    ((struct memory_branch *)b->shell)->wish = WISH_PREPARE;
}

static void commit(struct branch *b)
{
    ((struct memory_branch *)b->shell)->wish = WISH_COMMIT;
}

static void drop(struct branch *b)
{
    b->shell = NULL;
}

static void answer_recipients(struct branch *b)
{
    struct memory_branch *m = b->shell;

    LIST_EACH (link, &b->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (r->envelope == FATE_OPEN)
            carrier_report(m->carrier, &(struct event){.kind = EV_ANSWER,
                                                       .branch = b,
                                                       .rcpt = r,
                                                       .fate = FATE_ACCEPTED,
                                                       .reply = reply_own(REPLY_RECIPIENT_OK)});
    }
}

/* It is in memory as long as it is short. */
static void read_content(struct memory_branch *m, const struct branch *b)
{
    struct outgoing message;
    struct bytes piece;

    outgoing_open(&message, b, m->carrier->copy, NULL);
    outgoing_begin(&message);
    while (outgoing_pieces(&message, &piece, 1) == 1) {
        piece = bytes_first(piece, sizeof(m->content) - m->content_bytes);
        memcpy(m->content + m->content_bytes, piece.at, piece.len);
        m->content_bytes += piece.len;
        outgoing_advance(&message, piece.len);
    }
    outgoing_close(&message);
}

static void keep(struct branch *b)
{
    struct memory_branch *m = b->shell;

    LIST_EACH (link, &b->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (!transaction_awaits(r))
            continue;
        lib_put(&memory_kind_shelf, "%.*s: %.*s", (int)r->to.local.len,
                (const char *)r->to.local.at, (int)m->content_bytes, (const char *)m->content);
        carrier_report(m->carrier, &(struct event){.kind = EV_COMMITTED, .branch = b, .rcpt = r});
    }
    b->shell = NULL;
    carrier_report(m->carrier, &(struct event){.kind = EV_COMMITTED, .branch = b});
}

static void flush(struct branch *b)
{
    struct memory_branch *m = b->shell;
    enum wish wish = m->wish;

    m->wish = WISH_ANSWER;
    if (wish == WISH_ANSWER) {
        answer_recipients(b);
    } else if (wish == WISH_PREPARE) {
        read_content(m, b);
        carrier_report(m->carrier, &(struct event){.kind = EV_PREPARED, .branch = b});
    } else {
        keep(b);
    }
}

/* ---- the target ---- */

static struct capability capabilities(struct target *t)
{
    (void)t;
    return (struct capability){.keywords = UINT32_MAX};
}

static struct target_view view(struct target *t)
{
    (void)t;
    return (struct target_view){.state = "full"};
}

static void free_target(struct target *t)
{
    mem_free(CONTAINER_OF(t, struct memory, target));
}

static const struct target_ops ops = {
    .open = open_branch,
    .rcpt = rcpt,
    .go = go,
    .prepare = prepare,
    .commit = commit,
    .drop = drop,
    .flush = flush,
    .capabilities = capabilities,
    .view = view,
    .free = free_target,
};

static const uint64_t retry_ms[] = {60000};
static const struct target_queue queue = {.retry_ms = retry_ms,
                                          .retry_count = ARRAY_LENGTH(retry_ms),
                                          .expire_ms = 3600000,
                                          .connections_max = 1,
                                          .recipients_max = 10};

static struct target describe(const void *settings)
{
    const struct memory_conf *conf = settings;

    return (struct target){.kind = &memory_kind,
                           .conf = conf,
                           .name = conf->section,
                           .can_prepare = true,
                           .queue = &queue};
}

static enum reply_id refuses(const struct target *t, const struct address *to)
{
    (void)t;
    return bytes_is(to->local, "nobody") ? REPLY_MAILBOX_NAME : REPLY_OK;
}

static struct target *open_target(struct target_services *services, const void *conf)
{
    struct memory *m = mem_zalloc(sizeof(*m));

    (void)services;
    if (m == NULL)
        return NULL;
    m->target = describe(conf);
    m->target.ops = &ops;
    return &m->target;
}

const struct target_kind memory_kind = {
    .section = &section,
    .finish = finish,
    .check = check,
    .describe = describe,
    .refuses = refuses,
    .open = open_target,
};
