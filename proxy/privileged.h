/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done with the privileges of root in places that may belong to others: nothing that they
 * put there is followed into, written to or given away. Each tells on stderr what fails, and
 * returns 0 or an exit code. */
#ifndef POSTERN_PRIVILEGED_H
#define POSTERN_PRIVILEGED_H

#include "proxy/config/config.h"

/* Makes what is missing of the spool directory's path and gives that to the account. What was there
 * must belong to the account already, and be writable by nobody else. */
int privileged_make_spool(const struct config *config);
/* The file is made anew beside its name and takes it. An empty path: none is wanted. */
int privileged_write_pid(struct bytes path);
/* If it still names this process, and the directory lets us. */
void privileged_remove_pid(struct bytes path);
/* Becomes the account of the configuration, if we are root. */
int privileged_drop(const struct config *config);

#endif
