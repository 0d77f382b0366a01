/* SPDX-License-Identifier: BSD-2-Clause */
/* What libmilter's callers say and want, in our terms and back. Touches nothing but its arguments.
 */
#ifndef POSTERN_MILTERD_TEXT_H
#define POSTERN_MILTERD_TEXT_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/transaction.h"

#define MILTERD_LINES_MAX 8   /* of a reply; those behind them are left out */
#define MILTERD_LINE_MAX  980 /* octets of one, as libmilter has it; the rest is cut off */

/* A reply as smfi_setmlreply() takes it. */
struct milterd_reply {
    char code[4];
    char enhanced[12]; /* empty: none */
    char lines[MILTERD_LINES_MAX][MILTERD_LINE_MAX + 1];
    unsigned line_count;
};

/* `reply` is 4xx or 5xx. */
void milterd_text_reply(const struct reply *reply, struct milterd_reply *reply_out);

/* A header field as smfi_insheader() takes it. */
struct milterd_field {
    char name[128];
    char value[TRANSACTION_LINES_MAX + 1]; /* with its leading space, and folds ended by LF */
};

/* Takes the last field off `*lines`, which ends in CRLF. False: none is left. */
bool milterd_text_last_field(struct bytes *lines, struct milterd_field *field_out);

/* An address as MAIL or RCPT named it. One that the mail server took though RFC 5321 knows nothing
 * of it (SMTPUTF8) is split at its last "@". 0, ERR_SYNTAX, ERR_MEMORY. */
int milterd_text_address(struct bytes text, struct arena *arena, struct address *address_out);

/* The name of the client, from what the mail server calls it, and its macro "_" (NULL: not given),
 * in which Sendmail says whether the name leads back to the address. */
enum identity_name milterd_text_name(struct bytes name, const char *macro);

/* "inet:PORT@HOST" or "unix:PATH" as smfi_setconn() takes it. */
#define MILTERD_SOCKET_MAX 512
void milterd_text_socket(struct bytes listen, char socket_out[MILTERD_SOCKET_MAX]);

#endif
