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

static void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
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

uint64_t hash_bytes(const struct hash_key *key, struct bytes b)
{
    struct sip s = {.v0 = key->half[0] ^ 0x736f6d6570736575u,
                    .v1 = key->half[1] ^ 0x646f72616e646f6du,
                    .v2 = key->half[0] ^ 0x6c7967656e657261u,
                    .v3 = key->half[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)b.len << 56;
    size_t at = 0;

    for (; b.len - at >= 8; at += 8)
        sip_word(&s, load_word(b.at + at));
    if (at < b.len)
        last |= load_rest(b.at + at, b.len - at);
    sip_word(&s, last);
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t hash_chain(uint64_t before, struct bytes block)
{
    /* Any key would do, but the sums lie in files: this one never changes. */
    const struct hash_key key = {{0x706f737465726e20u ^ before, 0x73706f6f6c73756du}};

    return hash_bytes(&key, block);
}

void hash_table_init(struct hash_table *t, struct hash_key secret)
{
    *t = (struct hash_table){.secret = secret};
}

void hash_table_done(struct hash_table *t)
{
    mem_free(t->buckets);
    hash_table_init(t, t->secret);
}

static struct hash_entry **bucket_of(const struct hash_table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->bucket_count - 1)];
}

static int grow(struct hash_table *t)
{
    struct hash_table larger = *t;

    larger.bucket_count = t->bucket_count == 0 ? FIRST_BUCKETS : t->bucket_count * 2;
    larger.buckets = mem_zalloc(larger.bucket_count * sizeof(struct hash_entry *));
    if (larger.buckets == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < t->bucket_count; i++) {
        while (t->buckets[i] != NULL) {
            struct hash_entry *entry = t->buckets[i];
            struct hash_entry **bucket = bucket_of(&larger, entry->hash);

            t->buckets[i] = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    mem_free(t->buckets);
    *t = larger;
    return 0;
}

int hash_table_add(struct hash_table *t, struct hash_entry *entry, struct bytes key)
{
    struct hash_entry **bucket;

    if (t->entry_count == t->bucket_count && grow(t) != 0)
        return ERR_MEMORY;
    entry->key = key;
    entry->hash = hash_bytes(&t->secret, key);
    bucket = bucket_of(t, entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    t->entry_count++;
    return 0;
}

struct hash_entry *hash_table_find(const struct hash_table *t, struct bytes key)
{
    uint64_t hash;

    if (t->entry_count == 0)
        return NULL;
    hash = hash_bytes(&t->secret, key);
    for (struct hash_entry *entry = *bucket_of(t, hash); entry != NULL; entry = entry->next)
        if (entry->hash == hash && bytes_equal(entry->key, key))
            return entry;
    return NULL;
}

void hash_table_remove(struct hash_table *t, struct hash_entry *entry)
{
    struct hash_entry **at = bucket_of(t, entry->hash);

    for (; *at != entry; at = &(*at)->next)
        assert(*at != NULL);
    *at = entry->next;
    entry->next = NULL;
    t->entry_count--;
}
