/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of name servers, each in as few octets as it needs. */
#include "proxy/io/dns_cache.h"

#include "proxy/base/mem.h"

struct kept {
    struct hash_entry by_question;
    struct list by_use;
    size_t bytes; /* of the whole block */
    uint64_t expires_ms;
    enum dns_status status;
    int address_count, name_count;
    unsigned record_count;
    struct bytes records;
    struct netaddr addresses[]; /* then for each name two octets of preference, one of length, and
                                   the text; then the records; then the question */
};

void dns_cache_init(struct dns_cache *cache, struct hash_key secret)
{
    hash_table_init(&cache->by_question, secret);
    list_init(&cache->by_use);
    cache->used_bytes = 0;
}

static void forget(struct dns_cache *cache, struct kept *kept)
{
    assert(cache->used_bytes >= kept->bytes);
    hash_table_remove(&cache->by_question, &kept->by_question);
    list_remove(&kept->by_use);
    cache->used_bytes -= kept->bytes;
    mem_free(kept);
}

void dns_cache_done(struct dns_cache *cache)
{
    LIST_EACH (link, &cache->by_use)
        forget(cache, LIST_ENTRY(link, struct kept, by_use));
    hash_table_done(&cache->by_question);
}

static size_t bytes_for(struct bytes question, const struct dns_answer *answer)
{
    size_t bytes = sizeof(struct kept) + question.len + answer->records.len +
                   (size_t)answer->address_count * sizeof(struct netaddr);

    for (int i = 0; i < answer->name_count; i++)
        bytes += 3 + strlen(answer->names[i].text);
    return bytes;
}

/* Returns the position behind the names. */
static uint8_t *put_names(uint8_t *at, const struct dns_answer *answer)
{
    for (int i = 0; i < answer->name_count; i++) {
        struct bytes text = bytes_of(answer->names[i].text);

        assert(text.len < DNS_NAME_MAX);
        *at++ = (uint8_t)(answer->names[i].preference >> 8);
        *at++ = (uint8_t)answer->names[i].preference;
        *at++ = (uint8_t)text.len;
        memcpy(at, text.at, text.len);
        at += text.len;
    }
    return at;
}

static void take_names(const struct kept *kept, struct dns_answer *answer_out)
{
    const uint8_t *at = (const uint8_t *)(kept->addresses + kept->address_count);

    for (int i = 0; i < kept->name_count; i++) {
        struct dns_name *name = &answer_out->names[i];

        name->preference = (uint16_t)(at[0] << 8 | at[1]);
        memcpy(name->text, at + 3, at[2]);
        name->text[at[2]] = '\0';
        at += 3 + at[2];
    }
}

void dns_cache_keep(struct dns_cache *cache, struct bytes question, const struct dns_answer *answer,
                    uint64_t now_ms)
{
    size_t bytes = bytes_for(question, answer);
    struct kept *kept = answer->ttl_s == 0 ? NULL : mem_alloc(bytes);
    uint8_t *rest;

    if (kept == NULL)
        return;
    assert(hash_table_find(&cache->by_question, question) == NULL);
    assert(answer->address_count <= DNS_ADDRESSES_MAX && answer->name_count <= DNS_NAMES_MAX);
    kept->bytes = bytes;
    kept->expires_ms = now_ms + (uint64_t)answer->ttl_s * 1000;
    kept->status = answer->status;
    kept->address_count = answer->address_count;
    kept->name_count = answer->name_count;
    memcpy(kept->addresses, answer->addresses,
           (size_t)answer->address_count * sizeof(*answer->addresses));
    rest = put_names((uint8_t *)(kept->addresses + kept->address_count), answer);
    kept->record_count = answer->record_count;
    kept->records = bytes_make(rest, answer->records.len);
    if (answer->records.len > 0)
        memcpy(rest, answer->records.at, answer->records.len);
    rest += answer->records.len;
    memcpy(rest, question.at, question.len);
    if (hash_table_add(&cache->by_question, &kept->by_question, bytes_make(rest, question.len)) !=
        0) {
        mem_free(kept);
        return;
    }
    list_append(&cache->by_use, &kept->by_use);
    cache->used_bytes += bytes;
    while (cache->used_bytes > DNS_CACHE_BYTES_MAX) {
        struct list *oldest = list_first(&cache->by_use);

        assert(oldest != NULL);
        forget(cache, LIST_ENTRY(oldest, struct kept, by_use));
    }
}

bool dns_cache_find(struct dns_cache *cache, struct bytes question, uint64_t now_ms,
                    struct dns_answer *answer_out)
{
    struct hash_entry *found = hash_table_find(&cache->by_question, question);
    struct kept *kept;

    if (found == NULL)
        return false;
    kept = CONTAINER_OF(found, struct kept, by_question);
    if (now_ms >= kept->expires_ms) {
        forget(cache, kept);
        return false;
    }
    list_remove(&kept->by_use);
    list_append(&cache->by_use, &kept->by_use);
    answer_out->status = kept->status;
    answer_out->ttl_s = (uint32_t)((kept->expires_ms - now_ms + 999) / 1000);
    answer_out->address_count = kept->address_count;
    answer_out->name_count = kept->name_count;
    answer_out->record_count = kept->record_count;
    answer_out->records = kept->records;
    memcpy(answer_out->addresses, kept->addresses,
           (size_t)kept->address_count * sizeof(*kept->addresses));
    take_names(kept, answer_out);
    return true;
}
