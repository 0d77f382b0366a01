/* SPDX-License-Identifier: BSD-2-Clause */
/* What [maildir "N"] says. */
#ifndef POSTERN_MAILDIR_CONF_H
#define POSTERN_MAILDIR_CONF_H

#include "proxy/base/bytes.h"
#include "proxy/base/setting.h"
#include "route/target.h"

struct maildir_conf {
    struct bytes section; /* N: what routes call it */
    struct bytes path;    /* absolute; ${RCPT_LOCAL} and ${RCPT_DOMAIN} still in it */
};

extern const struct setting_section maildir_conf_section;
extern const struct target_queue maildir_conf_queue; /* of every Maildir */

#endif
