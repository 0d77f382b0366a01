/* SPDX-License-Identifier: BSD-2-Clause */
/* What ps(1) shows of a process. */
#ifndef POSTERN_TITLE_H
#define POSTERN_TITLE_H

#include <stdint.h>

/* Before anything points to arguments or to the environment: both are moved, since a title stands
 * where they were. */
void title_begin(int argc, char **argv);
/* "postern: ROLE NUMBER"; 0: without a number. */
void title_set(const char *role, uint32_t number);

#endif
