/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done with the privileges of root in directories that may belong to others. Nothing that
 * they put there is followed, written to or given away. Unless it says otherwise, each function
 * tells on stderr what fails, and returns 0 or an exit code. */
#ifndef POSTERN_PRIVILEGED_H
#define POSTERN_PRIVILEGED_H

#include "proxy/config/config.h"

/* Makes what is missing of the spool directory's path, and gives that to the account. What exists
 * already must belong to the account, and be writable by nobody else. */
int privileged_make_spool(const struct config *config);
/* The same without making anything: NULL, or why it would fail. *exists_out: it is there. */
const char *privileged_judge_spool(const struct config *config, bool *exists_out);
bool privileged_is_spool_locked(const struct config *config); /* a server serves from it */
/* Nobody else may serve from it while this process or one that it forks lives. Exit code 73:
 * somebody does. Call it when this process stays. */
int privileged_lock_spool(const struct config *config);
/* A new file is written beside the path and renamed to it. An empty path: none is wanted. */
int privileged_write_pid(struct bytes path);
/* Could it be written? Makes nothing. 0 or -errno. */
int privileged_judge_pid(struct bytes path);
/* Removes the file if it still names this process, and if the directory lets us. */
void privileged_remove_pid(struct bytes path);
/* Becomes the account of the configuration with all its groups, if we are root. */
int privileged_drop(const struct config *config);
int privileged_become(const struct config *config); /* likewise; 0 or -errno, and says nothing */

/* RLIMIT_NOFILE as far as it may be raised. */
void privileged_raise_descriptors(void);

#endif
