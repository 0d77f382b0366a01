/* SPDX-License-Identifier: BSD-2-Clause */
/* Clients that log in at a relay: AUTH is passed on. */
#ifndef POSTERN_RELAY_LOGIN_H
#define POSTERN_RELAY_LOGIN_H

#include "route/target_login.h"

extern const struct target_login_ops relay_login_ops;

#endif
