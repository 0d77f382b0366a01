/* SPDX-License-Identifier: BSD-2-Clause */
/* What all processes of the host know of targets, in the shared mapping. */
#include "proxy/shared_target.h"

#include "proxy/base/mem.h"

struct shared_target {
    struct shared *shared;
    struct shared_count counts[RELAY_SHARE_COUNTS];
};

static void *join(void *owner, struct bytes target)
{
    static const char *const kinds[RELAY_SHARE_COUNTS] = {"connections", "idle", "live", "queue"};
    struct shared_target *t = mem_zalloc(sizeof(*t));

    if (t == NULL)
        return NULL;
    t->shared = owner;
    for (int i = 0; i < RELAY_SHARE_COUNTS; i++)
        t->counts[i].key = shared_key(owner, kinds[i], target);
    return t;
}

static void leave(void *counts)
{
    mem_free(counts);
}

static void add(void *counts, enum relay_share_count what, int32_t change)
{
    struct shared_target *t = counts;
    shared_add(t->shared, &t->counts[what], change);
}

static uint32_t sum(const void *counts, enum relay_share_count what)
{
    const struct shared_target *t = counts;
    return shared_sum(t->shared, &t->counts[what]);
}

static uint64_t key(void *owner, const char *kind, struct bytes target, struct bytes address)
{
    uint64_t both[2] = {shared_key(owner, "target", target), shared_key(owner, "address", address)};
    return shared_key(owner, kind, bytes_make(both, sizeof(both)));
}

static uint32_t word(const void *owner, uint64_t of)
{
    return shared_word(owner, of);
}

static bool change(void *owner, uint64_t of, uint32_t old, uint32_t value)
{
    return shared_word_change(owner, of, old, value);
}

struct relay_sharing shared_target_sharing(struct shared *s, bool is_queue)
{
    return (struct relay_sharing){.join = join,
                                  .leave = leave,
                                  .add = add,
                                  .sum = sum,
                                  .key = key,
                                  .word = word,
                                  .change = change,
                                  .owner = s,
                                  .is_queue = is_queue};
}
