/* SPDX-License-Identifier: BSD-2-Clause */
/* A keyed hash (SipHash-1-3) and a table on it, safe with keys that an attacker chose. */
#ifndef POSTERN_HASH_H
#define POSTERN_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

struct hash_key {
    uint64_t half[2];
};

uint64_t hash_bytes(const struct hash_key *key, struct bytes octets);
/* A checksum over blocks: the sum with this block, given the sum `before` it (0 for the first
 * block). It has no secret: it detects accidents, not attacks. */
uint64_t hash_chain(uint64_t before, struct bytes block);
/* The same over a text, in blocks of 256 octets; in lower case unless `keeps_case`. */
uint64_t hash_chain_text(uint64_t before, struct bytes text, bool keeps_case);

/* Entries are embedded in their owner and own nothing; keys are borrowed from the owner. */
struct hash_entry {
    struct hash_entry *next; /* in the same bucket */
    uint64_t hash;
    struct bytes key;
};

struct hash_table {
    struct hash_key secret;
    struct hash_entry **buckets; /* a power of two of them; NULL until the first entry */
    size_t bucket_count;
    size_t entry_count;
};

void hash_table_init(struct hash_table *table, struct hash_key secret);
void hash_table_done(struct hash_table *table); /* frees the buckets, not the entries */
/* Grows the buckets so that a look-up stays O(1). 0 or ERR_MEMORY. Does not look for duplicates. */
int hash_table_add(struct hash_table *table, struct hash_entry *entry, struct bytes key);
struct hash_entry *hash_table_find(const struct hash_table *table, struct bytes key); /* or NULL */
/* Legal when the entry is in the table. */
void hash_table_remove(struct hash_table *table, struct hash_entry *entry);

#endif
