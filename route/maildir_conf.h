/* SPDX-License-Identifier: BSD-2-Clause */
/* What [maildir "N"] says. */
#ifndef POSTERN_MAILDIR_CONF_H
#define POSTERN_MAILDIR_CONF_H

#include "proxy/base/bytes.h"
#include "proxy/base/setting.h"
#include "route/target_kind.h"

struct maildir_conf {
    struct bytes section;         /* N: its name in routes */
    struct bytes path;            /* absolute; still with ${RCPT_LOCAL} and ${RCPT_DOMAIN} */
    struct bytes hostname;        /* the domain of a bare postmaster */
    struct setting_texts filters; /* their names */
};

extern const struct setting_section maildir_conf_section;
extern const struct target_queue maildir_conf_queue; /* of every Maildir */

/* See target_kind.finish. */
void maildir_conf_finish(struct setting_reading *section);

#endif
