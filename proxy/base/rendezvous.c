/* SPDX-License-Identifier: BSD-2-Clause */
/* Rendezvous hashing: which of some nodes has a key. */
#include "proxy/base/rendezvous.h"

#include "proxy/base/hash.h"

#define FRACTION_BITS 28

/* The logarithm's bits behind the point come one by one: a number from 1 to 2 is squared, and the
 * bit is 1 where the square reaches 2. No greater `hash` ever costs more, since every step rounds
 * in the same way. */
static uint64_t cost_of(uint64_t hash)
{
    uint64_t zeros = 1, fraction = 0;

    for (hash |= 1; hash >> 63 == 0; hash <<= 1)
        zeros++;
    uint64_t number = hash >> 32; /* 31 bits behind the point */
    for (int i = 0; i < FRACTION_BITS; i++) {
        number = number * number >> 31;
        uint64_t bit = number >> 32;
        number >>= bit;
        fraction = fraction << 1 | bit;
    }
    return (zeros << FRACTION_BITS) - fraction;
}

struct rendezvous_node rendezvous_node(struct bytes name, uint32_t weight)
{
    assert(weight != 0 && weight <= RENDEZVOUS_WEIGHT_MAX);
    return (struct rendezvous_node){.name = hash_chain(0, name), .weight = weight};
}

struct rendezvous_claim rendezvous_claim(const struct rendezvous_node *node, uint64_t key)
{
    uint8_t octets[8];

    for (unsigned i = 0; i < sizeof(octets); i++)
        octets[i] = (uint8_t)(key >> (8 * i));
    uint64_t hash = hash_chain(node->name, bytes_make(octets, sizeof(octets)));
    return (struct rendezvous_claim){.node = *node, .hash = hash, .cost = cost_of(hash)};
}

/* The products have 34 and 10 bits. */
bool rendezvous_beats(const struct rendezvous_claim *a, const struct rendezvous_claim *b)
{
    uint64_t a_cost = a->cost * b->node.weight, b_cost = b->cost * a->node.weight;

    if (a_cost != b_cost)
        return a_cost < b_cost;
    return a->hash != b->hash ? a->hash > b->hash : a->node.name > b->node.name;
}
