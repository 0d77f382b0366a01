/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of name servers, until their time is over. */
#ifndef POSTERN_DNS_CACHE_H
#define POSTERN_DNS_CACHE_H

#include "proxy/base/hash.h"
#include "proxy/base/list.h"
#include "proxy/io/dns.h"

#define DNS_CACHE_BYTES_MAX 1048576

/* Who names a billion addresses makes it forget what was asked for longest ago, and no more. */
struct dns_cache {
    struct hash_table by_question;
    struct list by_use; /* the longest unused first */
    size_t used_bytes;
};

void dns_cache_init(struct dns_cache *c, struct hash_key secret);
void dns_cache_done(struct dns_cache *c);
/* For as long as it says; for want of memory not at all. The question, which is not kept yet, is
 * octets that are the same whenever the answer is. */
void dns_cache_keep(struct dns_cache *c, struct bytes question, const struct dns_answer *answer,
                    uint64_t now_ms);
/* False: it must be asked for. `ttl_s` is what is left of it. */
bool dns_cache_find(struct dns_cache *c, struct bytes question, uint64_t now_ms,
                    struct dns_answer *answer_out);

#endif
