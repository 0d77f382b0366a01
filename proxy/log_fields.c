/* SPDX-License-Identifier: BSD-2-Clause */
/* Fields of log lines about a client and its mail. */
#include "proxy/log_fields.h"

#include "route/target.h"

#define FIELD_MAX        4096
#define REASON_MAX       48
#define RECIPIENTS_BYTES 768 /* in one line, and one recipient more: a pipe takes it whole */

void log_put_client_name(struct log_line *line, const struct identity *client)
{
    switch (client->name_state) {
    case IDENTITY_NAME_CONFIRMED:
        log_put(line, "name", client->name);
        return;
    case IDENTITY_NAME_PENDING:
    case IDENTITY_NAME_TEMPORARY:
        log_put_text(line, "name", "[TEMPUNAVAIL]");
        return;
    case IDENTITY_NAME_UNAVAILABLE:
        log_put_text(line, "name", "[UNAVAILABLE]");
        return;
    }
}

void log_put_given(struct log_line *line, const char *key, struct bytes value)
{
    if (value.len != 0)
        log_put(line, key, value);
}

void log_put_reason(struct log_line *line, const char *name)
{
    char text[REASON_MAX];
    size_t len = strlen(name);

    assert(len < sizeof(text));
    for (size_t i = 0; i <= len; i++)
        text[i] = name[i] == '_' ? '-' : (char)byte_lower((uint8_t)name[i]);
    log_put_text(line, "reason", text);
}

/* Words that are neither a reply of ours nor of others are the operator's. */
void log_put_refuser(struct log_line *line, struct pool *pool, const struct reply *reply,
                     const char *reason)
{
    static const char *const kinds[] = {
        [REPLY_BY_POSTERN] = "postern", [REPLY_BY_TARGET] = "target", [REPLY_BY_FILTER] = "filter"};
    struct buf who;

    buf_init(&who, pool, FIELD_MAX);
    buf_text(&who, kinds[reply->by]);
    if (reply->by_name != NULL) {
        buf_byte(&who, ':');
        buf_put(&who, *reply->by_name);
    }
    log_put(line, "by", buf_bytes(&who));
    buf_done(&who);
    if (reason != NULL)
        log_put_reason(line, reason);
    else if (reply->own != 0)
        log_put_reason(line, reply_name((enum reply_id)(reply->own - 1)));
    else if (reply->by == REPLY_BY_POSTERN)
        log_put_reason(line, "configured");
}

void log_put_reply(struct log_line *line, struct pool *pool, const char *key,
                   const struct reply *reply)
{
    struct buf text;
    buf_init(&text, pool, FIELD_MAX);
    reply_put_text(&text, reply);
    log_put(line, key, buf_bytes(&text));
    buf_done(&text);
}

void log_put_address(struct log_line *line, struct pool *pool, const char *key,
                     const struct address *address)
{
    struct buf text;
    buf_init(&text, pool, FIELD_MAX);
    buf_text(&text, "<");
    address_put(&text, address);
    buf_text(&text, ">");
    log_put(line, key, buf_bytes(&text));
    buf_done(&text);
}

static bool add(struct buf *names, const struct recipient *r)
{
    if (buf_length(names) >= RECIPIENTS_BYTES)
        return false;
    buf_byte(names, '<');
    address_put(names, &r->original);
    buf_text(names, ">\n");
    return true;
}

bool log_put_recipients(struct log_line *line, struct pool *pool, const struct transaction *tx)
{
    struct buf names;
    bool are_all_named = true;

    buf_init(&names, pool, FIELD_MAX);
    LIST_EACH (link, &tx->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (are_all_named && r->head == r)
            are_all_named = add(&names, r);
    }
    log_put_list(line, "rcpts", buf_bytes(&names));
    log_put_number(line, "nrcpt", tx->recipient_count);
    buf_done(&names);
    return are_all_named;
}

/* ---- where the closing line cannot say of all recipients what became of them ---- */

struct several { /* of one target (or of none), and with the same words */
    struct pool *pool;
    struct log_line (*begin)(const void *owner);
    const void *owner;
    struct buf names;
    const struct recipient *one; /* NULL: there is none yet */
};

static void tell(struct several *these)
{
    const struct recipient *r = these->one;

    if (r == NULL)
        return;
    struct log_line line = these->begin(these->owner);
    if (r->branch != NULL)
        log_put(&line, "target", target_section(r->branch->target));
    log_put_list(&line, "rcpts", buf_bytes(&these->names));
    if (r->reply.code != 0)
        log_put_reply(&line, these->pool, "reply", &r->reply);
    log_end(&line);
    buf_reset(&these->names);
}

/* A target that is away has a branch for each recipient. */
static bool is_like(const struct recipient *r, const struct recipient *other)
{
    const struct target *target = r->branch == NULL ? NULL : r->branch->target;

    return target == (other->branch == NULL ? NULL : other->branch->target) &&
           bytes_equal(r->reply.wire, other->reply.wire);
}

static void gather(struct several *these, const struct recipient *r)
{
    if (these->one != NULL && is_like(r, these->one) && add(&these->names, r))
        return;
    tell(these);
    these->one = r;
    add(&these->names, r);
}

void log_recipients(const struct transaction *tx, struct pool *pool,
                    struct log_line (*begin)(const void *owner), const void *owner)
{
    struct several these = {.pool = pool, .begin = begin, .owner = owner};

    buf_init(&these.names, pool, FIELD_MAX);
    LIST_EACH (link, &tx->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (r->branch == NULL)
            gather(&these, r);
    }
    LIST_EACH (at, &tx->branches)
        LIST_EACH (link, &LIST_ENTRY(at, struct branch, in_transaction)->recipients)
            gather(&these, LIST_ENTRY(link, struct recipient, in_branch));
    tell(&these);
    buf_done(&these.names);
}

bool log_goes_several_ways(const struct transaction *tx)
{
    const struct recipient *first = NULL;

    LIST_EACH (link, &tx->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (r->branch == NULL || r->final == FATE_OPEN)
            continue;
        if (first == NULL)
            first = r;
        else if (!is_like(r, first))
            return true;
    }
    return false;
}
