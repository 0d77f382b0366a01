/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop on libuv: turns, posts, signals, time, chance and pools. */
#include "proxy/io/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "proxy/base/error.h"
#include "proxy/io/loop_uv.h"
#include "proxy/io/work.h"

#define TEXT_OF_VALUE(number) #number
#define TEXT_OF(number)       TEXT_OF_VALUE(number)

/* Free blocks that a loop keeps: about 4, 4 and 8 MiB. */
#define SMALL_KEPT  4096
#define MEDIUM_KEPT 1024
#define CHUNK_KEPT  128

static void on_turn_end(uv_prepare_t *handle)
{
    struct loop *l = handle->data;

    LIST_EACH (link, &l->turn_ends) {
        struct loop_turn_end *end = LIST_ENTRY(link, struct loop_turn_end, link);

        end->fn(end);
    }
    l->turn_number++;
}

/* Runs what was posted so far; what these post runs in the next turn. */
static void on_posting(uv_idle_t *handle)
{
    struct loop *l = handle->data;
    struct loop_post *post;

    l->due_posts = l->posted;
    l->posted = NULL;
    l->posted_end = &l->posted;
    while ((post = l->due_posts) != NULL) {
        l->due_posts = post->next;
        post->is_posted = 0;
        post->fn(post->owner);
    }
    if (l->posted == NULL)
        uv_idle_stop(handle);
}

static void open_handles(struct loop *l)
{
    uv_prepare_init(&l->uv, &l->turn_end);
    uv_idle_init(&l->uv, &l->posting);
    l->turn_end.data = l;
    l->posting.data = l;
    deadline_wheel_open(l);
    uv_prepare_start(&l->turn_end, on_turn_end);
}

struct loop *loop_new(void)
{
    struct loop *l;

    /* Both must have happened before the first job and the first write. */
    setenv("UV_THREADPOOL_SIZE", TEXT_OF(WORK_THREADS), 0);
    signal(SIGPIPE, SIG_IGN);
    l = mem_zalloc(sizeof(*l));
    if (l == NULL)
        return NULL;
    if (getrandom(&l->hash_key, sizeof(l->hash_key), 0) != sizeof(l->hash_key) ||
        uv_loop_init(&l->uv) != 0) {
        mem_free(l);
        return NULL;
    }
    l->posted_end = &l->posted;
    list_init(&l->turn_ends);
    l->turn_number = 1;
    pool_init(&l->pools.small, 1024, SMALL_KEPT);
    pool_init(&l->pools.medium, 4096, MEDIUM_KEPT);
    pool_init(&l->pools.chunk, 65536, CHUNK_KEPT);
    open_handles(l);
    return l;
}

int loop_run(struct loop *l)
{
    uv_ref((uv_handle_t *)&l->turn_end);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_unref((uv_handle_t *)&l->turn_end);
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
        ;
    return 0;
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

void loop_free(struct loop **loop)
{
    struct loop *l = *loop;
    int busy;

    if (l == NULL)
        return;
    uv_close((uv_handle_t *)&l->turn_end, NULL);
    uv_close((uv_handle_t *)&l->posting, NULL);
    uv_close((uv_handle_t *)&l->waking, NULL);
    for (unsigned i = 0; i < l->signal_count; i++)
        uv_close((uv_handle_t *)&l->signals[i].handle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    busy = uv_loop_close(&l->uv);
    assert(busy == 0);
    assert(l->pools.small.taken + l->pools.medium.taken + l->pools.chunk.taken == 0);
    (void)busy;
    pool_done(&l->pools.small);
    pool_done(&l->pools.medium);
    pool_done(&l->pools.chunk);
    mem_free(l);
    *loop = NULL;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return uv_now(&l->uv);
}

uint64_t loop_precise_us(const struct loop *l)
{
    (void)l;
    return uv_hrtime() / 1000;
}

int64_t loop_wall_ms(const struct loop *l)
{
    struct timespec now;

    (void)l;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t loop_random(struct loop *l)
{
    if (l->random_count == 0) {
        /* Up to 256 octets come whole or, before the kernel is seeded, wait: both are fine. */
        if (getrandom(l->randoms, sizeof(l->randoms), 0) != sizeof(l->randoms))
            abort();
        l->random_count = LOOP_RANDOMS_KEPT;
    }
    return l->randoms[--l->random_count];
}

struct hash_key loop_hash_key(struct loop *l)
{
    return l->hash_key;
}

void loop_post(struct loop *l, struct loop_post *post, void (*fn)(void *owner), void *owner)
{
    if (post->is_posted)
        return;
    if (l->posted == NULL)
        uv_idle_start(&l->posting, on_posting);
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
    struct loop_post **at;

    if (!post->is_posted)
        return;
    post->is_posted = 0;
    at = find_post(&l->due_posts, post);
    if (*at == post) {
        *at = post->next;
        return;
    }
    at = find_post(&l->posted, post);
    *at = post->next;
    if (l->posted_end == &post->next)
        l->posted_end = at;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct loop_signal *s = handle->data;

    s->fn(s->owner, number);
}

int loop_on_signal(struct loop *l, int number, void (*fn)(void *owner, int number), void *owner)
{
    struct loop_signal *s = &l->signals[l->signal_count];
    int error;

    if (l->signal_count == LOOP_SIGNALS_MAX)
        return ERR_FULL;
    error = uv_signal_init(&l->uv, &s->handle);
    if (error != 0)
        return error;
    l->signal_count++;
    s->handle.data = s;
    s->fn = fn;
    s->owner = owner;
    uv_unref((uv_handle_t *)&s->handle);
    return uv_signal_start(&s->handle, on_signal, number);
}

struct loop_pools *loop_pools(struct loop *l)
{
    return &l->pools;
}
