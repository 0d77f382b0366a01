/* SPDX-License-Identifier: BSD-2-Clause */
/* Looks for the evaluator where `make` and `make install` put it. */
#include "filters/spf/spf_program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_ROOM 64 /* for what follows the folder */

bool spf_program_find(char path_out[SPF_PROGRAM_PATH_MAX])
{
    static const char *const places[] = {"postern-spf", "../libexec/postern/postern-spf"};
    char folder[SPF_PROGRAM_PATH_MAX - NAME_ROOM];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
    char *slash;

    path_out[0] = '\0';
    if (length <= 0)
        return false;
    folder[length] = '\0';
    slash = strrchr(folder, '/');
    if (slash == NULL)
        return false;
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        (void)snprintf(path_out, SPF_PROGRAM_PATH_MAX, "%s%s", folder, places[i]);
        if (access(path_out, X_OK) == 0)
            return true;
    }
    return false;
}
