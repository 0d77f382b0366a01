/* SPDX-License-Identifier: BSD-2-Clause */
/* Rendezvous hashing (highest random weight): which of some nodes has a key. Each node claims each
 * key, and the best claim has it. A node that goes gives up its own keys and no others; one that
 * comes takes its share from all alike. Pure.
 *
 * The choice is the same on all machines and in all versions, since mailboxes lie where it says:
 *
 *     hash(before, text)  hash_chain() of hash.h: SipHash-1-3 with a fixed key
 *     node  = hash(0, the name of the node)
 *     h     = hash(node, the eight octets of the key, the least significant first)
 *     cost  = -log2(h / 2^64), as rendezvous.c computes it with integers, 28 bits behind the point
 *
 * The least cost / weight has the key, which is the highest -weight / ln(h / 2^64): a node's share
 * of all keys is its weight's share of all weights. Of equal ones the greater h has it, then the
 * greater node. */
#ifndef POSTERN_RENDEZVOUS_H
#define POSTERN_RENDEZVOUS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

#define RENDEZVOUS_WEIGHT_MAX 1000

struct rendezvous_node {
    uint64_t name;
    uint32_t weight; /* 1 to RENDEZVOUS_WEIGHT_MAX */
};

struct rendezvous_claim {
    struct rendezvous_node node;
    uint64_t hash, cost;
};

struct rendezvous_node rendezvous_node(struct bytes name, uint32_t weight);
struct rendezvous_claim rendezvous_claim(const struct rendezvous_node *node, uint64_t key);
bool rendezvous_beats(const struct rendezvous_claim *a, const struct rendezvous_claim *b);

#endif
