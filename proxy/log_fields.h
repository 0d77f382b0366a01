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
/* rcpts, as the client named them, and nrcpt. */
void log_put_recipients(struct log_line *line, struct pool *pool, const struct transaction *tx);

#endif
