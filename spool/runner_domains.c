/* SPDX-License-Identifier: BSD-2-Clause */
/* Which recipients of an entry have which domains: selected without a look at the disk. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/runner_private.h"

#define TEXT_MAX 65536 /* of one entry; recipients beyond it cannot be selected by domain */

/* A set is a run of items. An item is a count of recipients in two octets, the length of the
 * original domain and the domain, the length of the routed domain and the domain, or 0 if it is the
 * same. Domains are in lower case. */

static void put_domain(struct buf *out, struct bytes domain)
{
    buf_byte(out, (uint8_t)(domain.len > 255 ? 0 : domain.len));
    for (size_t i = 0; i < domain.len && domain.len <= 255; i++)
        buf_byte(out, byte_lower(domain.at[i]));
}

static void put_item(struct buf *out, const struct spool_recipient *s, unsigned count)
{
    buf_byte(out, (uint8_t)(count >> 8));
    buf_byte(out, (uint8_t)count);
    put_domain(out, s->original.domain);
    put_domain(out, bytes_equal_nocase(s->original.domain, s->to.domain) ? bytes_make(NULL, 0)
                                                                         : s->to.domain);
}

struct item {
    unsigned count;
    struct bytes original, to;
};

static struct item take_item(struct bytes *text)
{
    struct item item;
    const uint8_t *at = text->at;

    assert(text->len >= 4 && text->len >= 4u + at[2]);
    item.count = (unsigned)at[0] << 8 | at[1];
    item.original = bytes_make(at + 3, at[2]);
    at += 3 + at[2];
    item.to = bytes_make(at + 1, at[0]);
    if (item.to.len == 0)
        item.to = item.original;
    assert(at + 1 + at[0] <= text->at + text->len);
    *text = bytes_skip(*text, (size_t)(at + 1 + at[0] - text->at));
    return item;
}

static bool is_same(const struct spool_recipient *a, const struct spool_recipient *b)
{
    return bytes_equal_nocase(a->original.domain, b->original.domain) &&
           bytes_equal_nocase(a->to.domain, b->to.domain);
}

/* Only neighbours with the same domains are counted together: that is what mostly occurs. */
static void put_domains(struct buf *out, const struct spool_message *message, struct bytes queue)
{
    const struct spool_recipient *last = NULL;
    unsigned count = 0;

    for (uint32_t i = 0; i < message->recipient_count; i++) {
        const struct spool_recipient *s = &message->recipients[i];
        if (!runner_is_open(s) || !bytes_equal(s->queue, queue))
            continue;
        if (last != NULL && (!is_same(last, s) || count == UINT16_MAX)) {
            put_item(out, last, count);
            count = 0;
        }
        last = s;
        count++;
    }
    if (last != NULL)
        put_item(out, last, count);
}

static struct runner_domains *make_domains(struct runner *r, struct bytes text)
{
    struct runner_domains *domains = mem_alloc(sizeof(*domains) + text.len);

    if (domains == NULL)
        return NULL;
    if (text.len != 0)
        memcpy(domains->text, text.at, text.len);
    domains->uses = 0;
    if (hash_table_add(&r->domains, &domains->by_text, bytes_make(domains->text, text.len)) == 0)
        return domains;
    mem_free(domains);
    return NULL;
}

void runner_leave_domains(struct runner *r, struct schedule_entry *e)
{
    struct runner_domains *domains = e->domains;

    e->domains = NULL;
    assert(domains == NULL || domains->uses != 0);
    if (domains == NULL || --domains->uses != 0)
        return;
    hash_table_remove(&r->domains, &domains->by_text);
    mem_free(domains);
}

void runner_set_domains(struct runner *r, struct schedule_entry *e,
                        const struct spool_message *message)
{
    struct runner_domains *domains = NULL;
    struct hash_entry *found;
    struct buf text;

    runner_leave_domains(r, e);
    buf_init(&text, &loop_pools(r->host.loop)->medium, TEXT_MAX);
    put_domains(&text, message, schedule_target_name(e->target));
    found = hash_table_find(&r->domains, buf_bytes(&text));
    if (found != NULL)
        domains = CONTAINER_OF(found, struct runner_domains, by_text);
    else if (!text.has_failed && buf_length(&text) != 0)
        domains = make_domains(r, buf_bytes(&text));
    if (domains != NULL)
        domains->uses++;
    e->domains = domains;
    buf_done(&text);
}

/* ---- selections ---- */

/* "a.example" is below "example". */
static bool is_below(struct bytes domain, struct bytes above)
{
    if (domain.len <= above.len || domain.at[domain.len - above.len - 1] != '.')
        return false;
    return bytes_equal_nocase(bytes_skip(domain, domain.len - above.len), above);
}

static bool is_selected(struct bytes domain, const struct runner_selection *which)
{
    return bytes_equal_nocase(domain, which->text) ||
           (which->by == RUNNER_SUBDOMAINS && is_below(domain, which->text));
}

bool runner_has_domain(const struct runner_domains *domains, const struct runner_selection *which)
{
    if (domains == NULL)
        return false;
    assert(which->by == RUNNER_DOMAIN || which->by == RUNNER_SUBDOMAINS);
    for (struct bytes text = domains->by_text.key; text.len != 0;) {
        struct item item = take_item(&text);
        if (is_selected(item.original, which) || is_selected(item.to, which))
            return true;
    }
    return false;
}
