/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of name servers, each in as few octets as it needs. */
#include "proxy/io/dns_cache.h"

#include "proxy/base/mem.h"

struct kept {
    struct hash_entry by_question;
    struct list by_use;
    size_t bytes; /* all of this block */
    uint64_t expires_ms;
    enum dns_status status;
    int address_count, name_count;
    struct netaddr addresses[]; /* then for each name its preference in two octets, its length in
                                   one, and itself; then the question */
};

void dns_cache_init(struct dns_cache *c, struct hash_key secret)
{
    hash_table_init(&c->by_question, secret);
    list_init(&c->by_use);
    c->used_bytes = 0;
}

static void forget(struct dns_cache *c, struct kept *k)
{
    hash_table_remove(&c->by_question, &k->by_question);
    list_remove(&k->by_use);
    c->used_bytes -= k->bytes;
    mem_free(k);
}

void dns_cache_done(struct dns_cache *c)
{
    LIST_EACH (link, &c->by_use)
        forget(c, LIST_ENTRY(link, struct kept, by_use));
    hash_table_done(&c->by_question);
}

static size_t bytes_for(struct bytes question, const struct dns_answer *answer)
{
    size_t bytes =
        sizeof(struct kept) + question.len + (size_t)answer->address_count * sizeof(struct netaddr);

    for (int i = 0; i < answer->name_count; i++)
        bytes += 3 + strlen(answer->names[i].text);
    return bytes;
}

/* Returns what comes behind the names. */
static uint8_t *put_names(uint8_t *at, const struct dns_answer *answer)
{
    for (int i = 0; i < answer->name_count; i++) {
        struct bytes text = bytes_of(answer->names[i].text);

        *at++ = (uint8_t)(answer->names[i].preference >> 8);
        *at++ = (uint8_t)answer->names[i].preference;
        *at++ = (uint8_t)text.len;
        memcpy(at, text.at, text.len);
        at += text.len;
    }
    return at;
}

static void take_names(const struct kept *k, struct dns_answer *answer_out)
{
    const uint8_t *at = (const uint8_t *)(k->addresses + k->address_count);

    for (int i = 0; i < k->name_count; i++) {
        struct dns_name *name = &answer_out->names[i];

        name->preference = (uint16_t)(at[0] << 8 | at[1]);
        memcpy(name->text, at + 3, at[2]);
        name->text[at[2]] = '\0';
        at += 3 + at[2];
    }
}

void dns_cache_keep(struct dns_cache *c, struct bytes question, const struct dns_answer *answer,
                    uint64_t now_ms)
{
    size_t bytes = bytes_for(question, answer);
    struct kept *k = answer->ttl_s == 0 ? NULL : mem_alloc(bytes);
    uint8_t *behind;

    if (k == NULL)
        return;
    k->bytes = bytes;
    k->expires_ms = now_ms + (uint64_t)answer->ttl_s * 1000;
    k->status = answer->status;
    k->address_count = answer->address_count;
    k->name_count = answer->name_count;
    memcpy(k->addresses, answer->addresses,
           (size_t)answer->address_count * sizeof(*answer->addresses));
    behind = put_names((uint8_t *)(k->addresses + k->address_count), answer);
    memcpy(behind, question.at, question.len);
    if (hash_table_add(&c->by_question, &k->by_question, bytes_make(behind, question.len)) != 0) {
        mem_free(k);
        return;
    }
    list_append(&c->by_use, &k->by_use);
    c->used_bytes += bytes;
    while (c->used_bytes > DNS_CACHE_BYTES_MAX) {
        struct list *oldest = list_first(&c->by_use);

        assert(oldest != NULL);
        forget(c, LIST_ENTRY(oldest, struct kept, by_use));
    }
}

bool dns_cache_find(struct dns_cache *c, struct bytes question, uint64_t now_ms,
                    struct dns_answer *answer_out)
{
    struct hash_entry *found = hash_table_find(&c->by_question, question);
    struct kept *k;

    if (found == NULL)
        return false;
    k = CONTAINER_OF(found, struct kept, by_question);
    if (now_ms >= k->expires_ms) {
        forget(c, k);
        return false;
    }
    list_remove(&k->by_use);
    list_append(&c->by_use, &k->by_use);
    answer_out->status = k->status;
    answer_out->ttl_s = (uint32_t)((k->expires_ms - now_ms + 999) / 1000);
    answer_out->address_count = k->address_count;
    answer_out->name_count = k->name_count;
    memcpy(answer_out->addresses, k->addresses, (size_t)k->address_count * sizeof(*k->addresses));
    take_names(k, answer_out);
    return true;
}
