/* SPDX-License-Identifier: BSD-2-Clause */
/* What in the spool cannot be read, or is no message. Each such stray is logged once as long as it
 * stays, and counted for whoever lists the queue. */
#include <assert.h>

#include "spool/runner_private.h"

static uint64_t key_of(const struct runner *r, struct bytes name, int error)
{
    struct hash_key key = loop_hash_key(r->host.loop);
    return hash_bytes(&key, name) ^ (uint64_t)(int64_t)error;
}

/* False: the stray was there before, or there are too many to tell apart. */
static bool is_new(struct runner_strays *strays, uint64_t key)
{
    for (size_t i = 0; i < strays->count; i++) {
        if (strays->at[i].key != key)
            continue;
        strays->at[i].listing = strays->listing;
        return false;
    }
    assert(strays->count <= RUNNER_STRAYS_MAX);
    if (strays->count == RUNNER_STRAYS_MAX)
        return false;
    strays->at[strays->count++] = (struct runner_stray){.key = key, .listing = strays->listing};
    return true;
}

bool runner_see_stray(struct runner *r, struct bytes name, int error)
{
    return is_new(&r->strays, key_of(r, name, error));
}

/* Messages of the last listing are still being read, and are seen under its number. Strays of
 * earlier listings have gone. */
void runner_next_strays(struct runner *r)
{
    struct runner_strays *strays = &r->strays;
    size_t kept = 0;

    for (size_t i = 0; i < strays->count; i++)
        if (strays->at[i].listing == strays->listing)
            strays->at[kept++] = strays->at[i];
    strays->count = kept;
    strays->listing++;
}

size_t runner_stray_count(const struct runner *r)
{
    return r->strays.count;
}
