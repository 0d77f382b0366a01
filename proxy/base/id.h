/* SPDX-License-Identifier: BSD-2-Clause */
/* Ids of sessions and transactions: time, process and sequence, so that they sort by arrival. */
#ifndef POSTERN_ID_H
#define POSTERN_ID_H

#include <stdint.h>

#define ID_LENGTH 16

/* Text of ID_LENGTH octets out of 0-9 B-D F-H J-N P-T V-Z (no vowels: no words), and a NUL. */
struct id {
    char text[ID_LENGTH + 1];
};

struct id_source {
    uint32_t process; /* the process id, below 31^5; the kernel's are below 2^22 */
    uint32_t sequence;
    uint64_t last_ms;
};

/* Unique within a host while its clock is right. The ids of one source never go back in time: when
 * the wall clock does, they continue from the last id, 961 for each millisecond. */
struct id id_next(struct id_source *source, uint64_t wall_ms);

#endif
