/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of name servers, for as long as they are valid. */
#ifndef POSTERN_DNS_CACHE_H
#define POSTERN_DNS_CACHE_H

#include "proxy/base/hash.h"
#include "proxy/base/list.h"
#include "proxy/io/dns.h"

#define DNS_CACHE_BYTES_MAX 8388608

/* Bounded: when a billion names are asked for, the cache forgets those that were unused for the
 * longest time. */
struct dns_cache {
    struct hash_table by_question;
    struct list by_use; /* the longest unused first */
    size_t used_bytes;
};

void dns_cache_init(struct dns_cache *cache, struct hash_key secret);
void dns_cache_done(struct dns_cache *cache);
/* Legal when no answer to this question is kept. Keeps the answer for as long as it is valid;
 * without memory not at all. `question`: octets that tell it from other questions. */
void dns_cache_keep(struct dns_cache *cache, struct bytes question, const struct dns_answer *answer,
                    uint64_t now_ms);
/* False: not kept. answer_out->ttl_s is what is left of the answer's time; its records are the
 * cache's until the next call. */
bool dns_cache_find(struct dns_cache *cache, struct bytes question, uint64_t now_ms,
                    struct dns_answer *answer_out);

#endif
