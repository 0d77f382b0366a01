/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses of a relay with balance = hash, each as the settings of a relay of its own. */
#ifndef POSTERN_RELAY_MEMBER_H
#define POSTERN_RELAY_MEMBER_H

#include "route/relay/relay_conf.h"

/* Makes conf->group.members when all else of `conf` is known. Reports an address that stands there
 * twice, since both would have the same mailboxes. */
void relay_member_make_all(struct setting_reading *section, struct relay_conf *conf);

#endif
