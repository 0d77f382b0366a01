/* SPDX-License-Identifier: BSD-2-Clause */
/* A message of the queue as its recipients get it, for people: `posternctl cat`, reports. */
#ifndef POSTERN_RUNNER_SHOWN_H
#define POSTERN_RUNNER_SHOWN_H

#include <stddef.h>
#include <stdint.h>

#include "spool/spool_format.h"

/* Job: reads what spool_shown_to_all() says, from its first octet on, as the octets of the caller,
 * who calls mem_free(). Up to `most` of them, and the empty line that may have to stand between
 * fields and content. All of the body is verified; errors as of store_read_body(). */
int runner_shown_read(int fd, const struct spool_message *message, uint64_t most,
                      uint8_t **octets_out, size_t *len_out);

#endif
