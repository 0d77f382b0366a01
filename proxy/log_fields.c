/* SPDX-License-Identifier: BSD-2-Clause */
/* Fields of log lines about a client and its mail. */
#include "proxy/log_fields.h"

#define RECIPIENTS_NAMED_MAX 20 /* in one line; the others are counted */
#define FIELD_MAX            4096

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

void log_put_recipients(struct log_line *line, struct pool *pool, const struct transaction *tx)
{
    struct buf text;
    buf_init(&text, pool, FIELD_MAX);
    unsigned named = 0;
    LIST_EACH (link, &tx->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (r->head != r || named == RECIPIENTS_NAMED_MAX)
            continue;
        buf_text(&text, named++ == 0 ? "<" : ",<");
        address_put(&text, &r->original);
        buf_text(&text, ">");
    }
    log_put(line, "rcpts", buf_bytes(&text));
    log_put_number(line, "nrcpt", tx->recipient_count);
    buf_done(&text);
}
