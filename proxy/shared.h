/* SPDX-License-Identifier: BSD-2-Clause */
/* The mapping that all processes of a host share: one column of counters each, and words. Limits
 * that hold for the whole host are kept by it, and which targets are down; messages on open
 * connections touch nothing of it. */
#ifndef POSTERN_SHARED_H
#define POSTERN_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"

struct shared; /* made by the master before it forks */

#define SHARED_COLUMNS_MAX 256

/* Has a secret of its own, which the processes that are forked later share. NULL: no memory, or no
 * random octets from the kernel. */
struct shared *shared_new(void);
void shared_free(struct shared **s);
/* This process counts in that column, which the master has chosen. */
void shared_use(struct shared *s, unsigned column);
/* A process has died, so its column counts no more. Only the master calls this. */
void shared_clear(struct shared *s, unsigned column);

/* The loop of this process turns. */
void shared_answer(struct shared *s);
/* How often the process of that column has said so, modulo 2^32. */
uint32_t shared_answers(const struct shared *s, unsigned column);

/* `kind` says what is counted under the name. `s` NULL: there are no others, and any key will do.
 */
uint64_t shared_key(const struct shared *s, const char *kind, struct bytes name);
/* A client's address, or a net of clients that is so many bits long. */
uint64_t shared_key_of_client(const struct shared *s, struct bytes smtpd, const struct netaddr *net,
                              unsigned bits);

/* What is counted under one key, embedded in its owner. All zero but for the key at first. Two
 * keys share a count only if all their 64 bits are equal. A cell of the table is held while our own
 * part is not 0, and may be another key's afterwards. */
struct shared_count {
    uint64_t key;  /* not below 2 */
    uint32_t cell; /* valid while own != 0; UINT32_MAX: the table was full, others do not see us */
    uint32_t own;
};

/* `s` NULL: there are no others. */
void shared_add(struct shared *s, struct shared_count *count, int32_t change);
uint32_t shared_sum(const struct shared *s, const struct shared_count *count);

/* A word for each key, which every process reads and changes, and which no death of a process
 * changes; 0 at first. A key whose word is 0 may lose its place to another. `s` NULL: there is
 * none.
 */
uint32_t shared_word(const struct shared *s, uint64_t key);
/* From `old` to `value`. False: it is something else by now, or there is no place for it. */
bool shared_word_change(struct shared *s, uint64_t key, uint32_t old, uint32_t value);

#endif
