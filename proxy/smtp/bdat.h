/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the argument of BDAT (RFC 3030 2). Pure. */
#ifndef POSTERN_BDAT_H
#define POSTERN_BDAT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

struct bdat {
    uint64_t bytes; /* that follow the command */
    bool is_last;   /* the message ends with them */
};

/* `argument` is what command_verb() gave. 0 or ERR_SYNTAX. A size of more than 64 bits is read as
 * the largest: nobody lives to send it all. */
int bdat_parse(struct bytes argument, struct bdat *out);

#endif
