/* SPDX-License-Identifier: BSD-2-Clause */
/* loop.h and deadline.h in a world: posts, signals, time, chance, pools; the wheel. */
#include "proxy/io/loop.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/io/deadline.h"
#include "tests/sim/world.h"

struct loop *loop_new(void)
{
    struct sim *w = sim_current();
    struct loop *l = mem_zalloc(sizeof(*l));

    if (l == NULL)
        return NULL;
    l->world = w;
    l->process = w->processes.running;
    if (l->process != NULL && l->process->loop != NULL)
        sim_fault("a second loop of one process");
    if (l->process != NULL)
        l->process->loop = l;
    list_append(&w->loops, &l->link);
    list_init(&l->jobs_waiting);
    l->chance = sim_random(w);
    l->posted_end = &l->posted;
    wheel_init(&l->wheel, w->now_us / 1000);
    pool_init(&l->pools.small, 1024, 16);
    pool_init(&l->pools.medium, 4096, 16);
    pool_init(&l->pools.chunk, 65536, 16);
    return l;
}

void loop_free(struct loop **loop)
{
    struct loop *l = *loop;

    if (l == NULL)
        return;
    assert(l->busy == 0);
    assert(l->posted == NULL);
    assert(l->pools.small.taken + l->pools.medium.taken + l->pools.chunk.taken == 0);
    pool_done(&l->pools.small);
    pool_done(&l->pools.medium);
    pool_done(&l->pools.chunk);
    list_remove(&l->link);
    if (l->process != NULL)
        l->process->loop = NULL;
    mem_free(l);
    *loop = NULL;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->world->now_us / 1000;
}

uint64_t loop_precise_us(const struct loop *l)
{
    return l->world->now_us;
}

int64_t loop_wall_ms(const struct loop *l)
{
    return sim_wall_ms(l->world);
}

uint64_t loop_random(struct loop *l)
{
    return sim_mix(&l->chance);
}

struct hash_key loop_hash_key(struct loop *l)
{
    uint64_t state = l->world->seed;
    struct hash_key key;

    key.half[0] = sim_mix(&state);
    key.half[1] = sim_mix(&state);
    return key;
}

void loop_post(struct loop *l, struct loop_post *post, void (*fn)(void *owner), void *owner)
{
    if (post->is_posted)
        return;
    *post = (struct loop_post){.fn = fn, .owner = owner, .is_posted = 1};
    *l->posted_end = post;
    l->posted_end = &post->next;
}

static struct loop_post **find_post(struct loop_post **list, const struct loop_post *post)
{
    while (*list != NULL && *list != post)
        list = &(*list)->next;
    return list;
}

void loop_unpost(struct loop *l, struct loop_post *post)
{
    struct loop_post **at = find_post(&l->due_posts, post);

    if (!post->is_posted)
        return;
    post->is_posted = 0;
    if (*at == post) {
        *at = post->next;
        return;
    }
    at = find_post(&l->posted, post);
    assert(*at == post);
    *at = post->next;
    if (l->posted_end == &post->next)
        l->posted_end = at;
}

int loop_on_signal(struct loop *l, int number, void (*fn)(void *owner, int number), void *owner)
{
    if (l->signal_count == ARRAY_LENGTH(l->signals))
        return ERR_FULL;
    l->signals[l->signal_count].number = number;
    l->signals[l->signal_count].fn = fn;
    l->signals[l->signal_count++].owner = owner;
    return 0;
}

static void signal_to(struct loop *l, int number)
{
    for (unsigned i = 0; i < l->signal_count; i++) {
        if (l->signals[i].number != number)
            continue;
        l->signals[i].is_pending = true;
        l->has_signals = true;
    }
}

void sim_signal(struct sim *w, int number)
{
    LIST_EACH (link, &w->loops)
        signal_to(LIST_ENTRY(link, struct loop, link), number);
}

void sim_process_signal(struct sim_process *p, int number)
{
    if (p->loop != NULL)
        signal_to(p->loop, number);
}

size_t sim_pool_bytes(const struct sim *w)
{
    size_t bytes = 0;

    LIST_EACH (link, &w->loops) {
        const struct loop_pools *p = &LIST_ENTRY(link, struct loop, link)->pools;
        bytes += p->small.taken * 1024 + p->medium.taken * 4096 + p->chunk.taken * 65536;
    }
    return bytes;
}

struct loop_pools *loop_pools(struct loop *l)
{
    return &l->pools;
}

/* ---- deadlines ---- */

void deadline_init(struct deadline *d, const struct deadline_use *use)
{
    wheel_entry_init(&d->entry);
    d->use = use;
}

void deadline_set(struct loop *l, struct deadline *d, uint64_t due_ms)
{
    assert(d->use != NULL);
    wheel_set(&l->wheel, &d->entry, due_ms);
}

void deadline_clear(struct loop *l, struct deadline *d)
{
    assert(d->use != NULL);
    wheel_clear(&l->wheel, &d->entry);
}
