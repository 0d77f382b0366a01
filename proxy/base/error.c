/* SPDX-License-Identifier: BSD-2-Clause */
/* The texts of postern's own error numbers. */
#include "proxy/base/error.h"

#include <stddef.h>

const char *error_text(int error)
{
    switch (error) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return text;
        ERROR_LIST(X)
#undef X
    }
    return NULL;
}
