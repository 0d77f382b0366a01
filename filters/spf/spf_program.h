/* SPDX-License-Identifier: BSD-2-Clause */
/* Where postern-spf is. */
#ifndef POSTERN_SPF_PROGRAM_H
#define POSTERN_SPF_PROGRAM_H

#include <stdbool.h>

#define SPF_PROGRAM_PATH_MAX 4096

/* Beside the running program, or in ../libexec/postern from there. False: in neither place;
 * path_out is the second one then. */
bool spf_program_find(char path_out[SPF_PROGRAM_PATH_MAX]);

#endif
