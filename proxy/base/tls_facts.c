/* SPDX-License-Identifier: BSD-2-Clause */
/* What is known of a connection that is encrypted, copied and as text. */
#include "proxy/base/tls_facts.h"

#include "proxy/base/mem.h"

static struct bytes move(struct bytes text, uint8_t **at)
{
    struct bytes moved = bytes_make(*at, text.len);

    if (text.len != 0)
        memcpy(*at, text.at, text.len);
    *at += text.len;
    return moved;
}

struct tls_facts *tls_facts_copy(const struct tls_facts *facts)
{
    size_t texts =
        facts->server_name.len + facts->subject.len + facts->issuer.len + facts->common_name.len;
    struct tls_facts *copy = mem_alloc(sizeof(*copy) + texts);

    if (copy == NULL)
        return NULL;
    uint8_t *at = (uint8_t *)(copy + 1);
    *copy = *facts;
    copy->server_name = move(facts->server_name, &at);
    copy->subject = move(facts->subject, &at);
    copy->issuer = move(facts->issuer, &at);
    copy->common_name = move(facts->common_name, &at);
    return copy;
}

void tls_facts_put(struct buf *out, const struct tls_facts *facts)
{
    buf_cat(out, facts->version, "/", facts->cipher, "/", NULL);
    buf_decimal(out, facts->bits);
}
