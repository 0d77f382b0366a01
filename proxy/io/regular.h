/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that an operator names, and that are read whole: nothing else than a file will do. */
#ifndef POSTERN_REGULAR_H
#define POSTERN_REGULAR_H

#include <sys/stat.h>

#include "proxy/base/bytes.h"

#define REGULAR_WHY_MAX 160

/* A descriptor for reading, and what is known of the file; -1: `why` continues a sentence that
 * begins with its name. Blocks only as long as the disk does. */
int regular_open(struct bytes path, struct stat *found_out, char why[REGULAR_WHY_MAX]);

#endif
