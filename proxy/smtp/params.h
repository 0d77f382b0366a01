/* SPDX-License-Identifier: BSD-2-Clause */
/* ESMTP parameters of MAIL and RCPT, kept as they came (RFC 5321 4.1.2). Pure. */
#ifndef POSTERN_PARAMS_H
#define POSTERN_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

struct param {
    struct bytes keyword; /* letters, digits and hyphens */
    struct bytes value;   /* octets 33..126; empty only without a "=" */
    bool has_value;
};

/* Takes the next parameter off `*rest`, and the spaces before it. 0, ERR_NOT_FOUND at the end,
 * ERR_SYNTAX (*rest stays as it was). */
int params_next(struct bytes *rest, struct param *param_out);
/* A server that announces any of these capability_keyword bits takes this parameter of MAIL or
 * RCPT; 0: the parameter is unknown. */
uint32_t params_keywords(const struct param *param);
/* Does one of them belong to that capability? */
bool params_has(struct bytes params, uint32_t keyword);

bool params_is_given(struct bytes value);  /* any value */
bool params_is_absent(struct bytes value); /* a keyword alone */
/* RFC 3461 4: is `value` one of RET, ENVID, NOTIFY, ORCPT? Decoded xtext must be printable. */
bool params_is_ret(struct bytes value);
bool params_is_envid(struct bytes value);
bool params_is_notify(struct bytes value);
bool params_is_orcpt(struct bytes value);

/* RFC 4954 5: "<>", or xtext of an address. */
bool params_is_auth(struct bytes value);
/* The parameter of MAIL says as whom its author has authenticated; "<>" says that nobody knows. */
bool params_is_of_author(const struct param *param);

enum params_notify {
    PARAMS_NOTIFY_SUCCESS = 1,
    PARAMS_NOTIFY_FAILURE = 2,
    PARAMS_NOTIFY_DELAY = 4
};
/* Do these parameters of RCPT ask for a report of that kind? Without NOTIFY: of failures and
 * delays. */
bool params_notifies(struct bytes params, enum params_notify what);

#endif
