/* SPDX-License-Identifier: BSD-2-Clause */
/* SipHash-1-3 (Aumasson and Bernstein, 2012) and chained buckets. */
#include "proxy/base/hash.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"

#define FIRST_BUCKETS 8

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(struct sip *sip)
{
    sip->v0 += sip->v1;
    sip->v1 = rotate(sip->v1, 13) ^ sip->v0;
    sip->v0 = rotate(sip->v0, 32);
    sip->v2 += sip->v3;
    sip->v3 = rotate(sip->v3, 16) ^ sip->v2;
    sip->v0 += sip->v3;
    sip->v3 = rotate(sip->v3, 21) ^ sip->v0;
    sip->v2 += sip->v1;
    sip->v1 = rotate(sip->v1, 17) ^ sip->v2;
    sip->v2 = rotate(sip->v2, 32);
}

static void sip_word(struct sip *sip, uint64_t word)
{
    sip->v3 ^= word;
    sip_round(sip);
    sip->v0 ^= word;
}

/* Eight octets, little end first; compilers make one instruction of it. */
static uint64_t load_word(const uint8_t *at)
{
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24 |
           (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 |
           (uint64_t)at[7] << 56;
}

/* The last `n` octets, fewer than eight. */
static uint64_t load_rest(const uint8_t *at, size_t n)
{
    uint64_t word = 0;

    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

uint64_t hash_bytes(const struct hash_key *key, struct bytes octets)
{
    struct sip sip = {.v0 = key->half[0] ^ 0x736f6d6570736575u,
                      .v1 = key->half[1] ^ 0x646f72616e646f6du,
                      .v2 = key->half[0] ^ 0x6c7967656e657261u,
                      .v3 = key->half[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)octets.len << 56;
    size_t at = 0;

    for (; octets.len - at >= 8; at += 8)
        sip_word(&sip, load_word(octets.at + at));
    if (at < octets.len)
        last |= load_rest(octets.at + at, octets.len - at);
    sip_word(&sip, last);
    sip.v2 ^= 0xff;
    sip_round(&sip);
    sip_round(&sip);
    sip_round(&sip);
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

uint64_t hash_chain(uint64_t before, struct bytes block)
{
    /* The sums are stored in files, so this key must never change. */
    const struct hash_key key = {{0x706f737465726e20u ^ before, 0x73706f6f6c73756du}};

    return hash_bytes(&key, block);
}

uint64_t hash_chain_text(uint64_t before, struct bytes text, bool keeps_case)
{
    uint8_t block[256];
    uint64_t hash = before;

    while (text.len != 0) {
        struct bytes part = bytes_first(text, sizeof(block));
        for (size_t i = 0; i < part.len; i++)
            block[i] = keeps_case ? part.at[i] : byte_lower(part.at[i]);
        hash = hash_chain(hash, bytes_make(block, part.len));
        text = bytes_skip(text, part.len);
    }
    return hash;
}

void hash_table_init(struct hash_table *table, struct hash_key secret)
{
    *table = (struct hash_table){.secret = secret};
}

void hash_table_done(struct hash_table *table)
{
    mem_free(table->buckets);
    hash_table_init(table, table->secret);
}

static struct hash_entry **bucket_of(const struct hash_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static int grow(struct hash_table *table)
{
    struct hash_table larger = *table;

    larger.bucket_count = table->bucket_count == 0 ? FIRST_BUCKETS : table->bucket_count * 2;
    larger.buckets = mem_zalloc(larger.bucket_count * sizeof(struct hash_entry *));
    if (larger.buckets == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < table->bucket_count; i++) {
        while (table->buckets[i] != NULL) {
            struct hash_entry *entry = table->buckets[i];
            struct hash_entry **bucket = bucket_of(&larger, entry->hash);

            table->buckets[i] = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    mem_free(table->buckets);
    *table = larger;
    return 0;
}

int hash_table_add(struct hash_table *table, struct hash_entry *entry, struct bytes key)
{
    struct hash_entry **bucket;

    if (table->entry_count == table->bucket_count && grow(table) != 0)
        return ERR_MEMORY;
    entry->key = key;
    entry->hash = hash_bytes(&table->secret, key);
    bucket = bucket_of(table, entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    table->entry_count++;
    return 0;
}

struct hash_entry *hash_table_find(const struct hash_table *table, struct bytes key)
{
    uint64_t hash;

    if (table->entry_count == 0)
        return NULL;
    hash = hash_bytes(&table->secret, key);
    for (struct hash_entry *entry = *bucket_of(table, hash); entry != NULL; entry = entry->next)
        if (entry->hash == hash && bytes_equal(entry->key, key))
            return entry;
    return NULL;
}

void hash_table_remove(struct hash_table *table, struct hash_entry *entry)
{
    struct hash_entry **at = bucket_of(table, entry->hash);

    for (; *at != entry; at = &(*at)->next)
        assert(*at != NULL);
    *at = entry->next;
    entry->next = NULL;
    table->entry_count--;
}
