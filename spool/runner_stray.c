/* SPDX-License-Identifier: BSD-2-Clause */
/* What of the spool cannot be read, or is no message: logged once as long as it stays so, and
 * counted for whoever lists the queue. */
#include <assert.h>

#include "spool/runner_private.h"

static uint64_t key_of(const struct runner *r, struct bytes name, int error)
{
    struct hash_key key = loop_hash_key(r->host.loop);
    return hash_bytes(&key, name) ^ (uint64_t)(int64_t)error;
}

/* False: it was there before, or there are too many to tell one from the other. */
static bool is_new(struct runner_strays *s, uint64_t key)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->at[i].key != key)
            continue;
        s->at[i].listing = s->listing;
        return false;
    }
    assert(s->count <= RUNNER_STRAYS_MAX);
    if (s->count == RUNNER_STRAYS_MAX)
        return false;
    s->at[s->count++] = (struct runner_stray){.key = key, .listing = s->listing};
    return true;
}

bool runner_see_stray(struct runner *r, struct bytes name, int error)
{
    return is_new(&r->strays, key_of(r, name, error));
}

/* What the last listing found is being read meanwhile: it may have been seen by the one before. */
void runner_next_strays(struct runner *r)
{
    struct runner_strays *s = &r->strays;
    size_t kept = 0;

    for (size_t i = 0; i < s->count; i++)
        if (s->at[i].listing == s->listing)
            s->at[kept++] = s->at[i];
    s->count = kept;
    s->listing++;
}

size_t runner_stray_count(const struct runner *r)
{
    return r->strays.count;
}
