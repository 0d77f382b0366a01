/* SPDX-License-Identifier: BSD-2-Clause */
/* Fields of log lines about a client and its mail; what is too long for one is cut. `pool`: of
 * blocks for a buffer. */
#ifndef POSTERN_LOG_FIELDS_H
#define POSTERN_LOG_FIELDS_H

#include "proxy/base/mem.h"
#include "proxy/io/log.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/transaction.h"

void log_put_client_name(struct log_line *line, const struct identity *client); /* name */
void log_put_given(struct log_line *line, const char *key, struct bytes value); /* if not empty */
void log_put_address(struct log_line *line, struct pool *pool, const char *key,
                     const struct address *address);
void log_put_reply(struct log_line *line, struct pool *pool, const char *key,
                   const struct reply *reply);
/* by: postern, target:NAME or filter:NAME; reason: as given, or NULL: why we say these words. */
void log_put_refuser(struct log_line *line, struct pool *pool, const struct reply *reply,
                     const char *reason);
/* The name of a reply of ours, of a command, or words: in lower case, with hyphens. */
void log_put_reason(struct log_line *line, const char *name);
/* rcpts, as the client named them, and nrcpt. False: the line has no room for all of them. */
bool log_put_recipients(struct log_line *line, struct pool *pool, const struct transaction *tx);
/* Names all of them, on as many lines as it takes: those of one target, who got the same words, are
 * together. `begin` begins a line, with all that it says of the transaction. */
void log_recipients(const struct transaction *tx, struct pool *pool,
                    struct log_line (*begin)(const void *owner), const void *owner);
/* Do those that stood go to several targets, or has one said different things of them? */
bool log_goes_several_ways(const struct transaction *tx);

#endif
