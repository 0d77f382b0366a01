/* SPDX-License-Identifier: BSD-2-Clause */
/* Relays: targets that speak SMTP. */
#ifndef POSTERN_RELAY_H
#define POSTERN_RELAY_H

#include "route/target_kind.h"

extern const struct target_kind relay_kind;

#endif
