/* SPDX-License-Identifier: BSD-2-Clause */
/* Limits that a mail server announces. */
#include "proxy/smtp/limits.h"

#include <stddef.h>

#include "proxy/base/hash.h"
#include "proxy/base/text.h"
#include "proxy/smtp/address.h"

/* More domains are not counted: a target that takes so many may say itself when there are too
 * many. */
#define DOMAINS_MAX 1000

static const struct name {
    const char *text;
    size_t offset;
} names[] = {
    {"MAILMAX", offsetof(struct limits, mails)},
    {"RCPTMAX", offsetof(struct limits, rcpts)},
    {"RCPTDOMAINMAX", offsetof(struct limits, domains)},
};

static uint32_t *value_at(struct limits *limits, const struct name *name)
{
    return (uint32_t *)(void *)((uint8_t *)limits + name->offset);
}

void limits_read_size(struct limits *limits, struct bytes value)
{
    uint64_t size;

    if (text_decimal(value, UINT64_MAX, &size) == 0)
        limits->size_bytes = size;
}

void limits_read_word(struct limits *limits, struct bytes word)
{
    size_t end = bytes_find(word, '=');
    uint64_t value;

    if (end == word.len || text_decimal(bytes_skip(word, end + 1), LIMITS_VALUE_MAX, &value) != 0)
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (bytes_is_nocase(bytes_first(word, end), names[i].text))
            *value_at(limits, &names[i]) = (uint32_t)value;
}

void limits_put(struct buf *out, const struct limits *limits)
{
    struct limits said = *limits;

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        uint32_t value = *value_at(&said, &names[i]);
        if (value == 0)
            continue;
        buf_cat(out, " ", names[i].text, "=", NULL);
        buf_decimal(out, value);
    }
}

static uint32_t of_both(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

struct limits limits_of_both(const struct limits *a, const struct limits *b)
{
    bool is_smaller = b->size_bytes != 0 && (a->size_bytes == 0 || b->size_bytes < a->size_bytes);

    return (struct limits){.size_bytes = is_smaller ? b->size_bytes : a->size_bytes,
                           .mails = of_both(a->mails, b->mails),
                           .rcpts = of_both(a->rcpts, b->rcpts),
                           .domains = of_both(a->domains, b->domains)};
}

/* ---- counting ---- */

void limits_used_init(struct limits_used *used, struct pool *pool)
{
    used->rcpts = 0;
    buf_init(&used->domains, pool, DOMAINS_MAX * sizeof(uint64_t));
}

void limits_used_reset(struct limits_used *used)
{
    used->rcpts = 0;
    buf_reset(&used->domains);
}

static bool is_known(struct bytes domains, uint64_t hash)
{
    for (; domains.len != 0; domains = bytes_skip(domains, sizeof(hash)))
        if (memcmp(domains.at, &hash, sizeof(hash)) == 0)
            return true;
    return false;
}

bool limits_use(struct limits_used *used, const struct limits *limits, struct bytes domain)
{
    struct bytes domains = buf_bytes(&used->domains);
    uint64_t hash;

    if (limits->rcpts != 0 && used->rcpts >= limits->rcpts)
        return false;
    if (limits->domains != 0 && limits->domains <= DOMAINS_MAX) {
        hash = hash_chain_text(0, domain, false);
        if (!is_known(domains, hash)) {
            if (domains.len / sizeof(hash) >= limits->domains)
                return false;
            buf_put(&used->domains, bytes_make((const uint8_t *)&hash, sizeof(hash)));
        }
    }
    used->rcpts++;
    return true;
}
