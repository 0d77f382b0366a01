/* SPDX-License-Identifier: BSD-2-Clause */
/* Maildirs: targets on the local disk, whose deliveries can be undone until the commit. */
#ifndef POSTERN_MAILDIR_H
#define POSTERN_MAILDIR_H

#include "route/target_kind.h"

extern const struct target_kind maildir_kind;

#endif
