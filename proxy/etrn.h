/* SPDX-License-Identifier: BSD-2-Clause */
/* ETRN (RFC 1985): who may start which queue, and the answer. */
#ifndef POSTERN_ETRN_H
#define POSTERN_ETRN_H

#include <stdbool.h>

#include "proxy/smtp/command.h"
#include "proxy/config/smtpd_conf.h"

struct bridge;
struct etrn; /* a question that waits for its answer */

/* Is there any entry for this client? Where there is none ETRN is not announced, and gets 459. */
bool etrn_may_ask(const struct smtpd_etrns *conf, const struct netaddr *client);

/* May this client start that queue? `knows_domain` says whether the tables route a domain; it is
 * called only for entries that name neither domains nor targets. */
struct etrn_node {
    enum command_etrn_form form;
    struct bytes name;
};
bool etrn_is_entitled(const struct smtpd_etrns *conf, const struct netaddr *client,
                      const struct etrn_node *node,
                      bool (*knows_domain)(const void *owner, struct bytes domain),
                      const void *owner);

/* Answers with SESSION_EV_ANSWER, within the call or later. */
void etrn_ask(struct bridge *b, struct bytes argument);
void etrn_forget(struct bridge *b); /* the client is gone: no answer */

#endif
