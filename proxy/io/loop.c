/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop on libuv: turns, posts, signals, time, chance and pools. */
#include "proxy/io/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>

#include "proxy/base/error.h"
#include "proxy/io/loop_uv.h"
#include "proxy/io/work.h"

#define TEXT_OF_VALUE(number) #number
#define TEXT_OF(number)       TEXT_OF_VALUE(number)

/* How many free blocks a loop keeps: about 4, 4 and 8 MiB. */
#define SMALL_KEPT  4096
#define MEDIUM_KEPT 1024
#define CHUNK_KEPT  128

static void on_turn_end(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;

    LIST_EACH (link, &loop->turn_ends) {
        struct loop_turn_end *end = LIST_ENTRY(link, struct loop_turn_end, link);

        end->fn(end);
    }
    loop->turn_number++;
    loop_clock_wait(loop);
}

/* Runs what was posted so far; posts made meanwhile run in the next turn. */
static void on_posting(uv_idle_t *handle)
{
    struct loop *loop = handle->data;
    struct loop_post *post;

    loop->due_posts = loop->posted;
    loop->posted = NULL;
    loop->posted_end = &loop->posted;
    while ((post = loop->due_posts) != NULL) {
        loop->due_posts = post->next;
        post->is_posted = 0;
        post->fn(post->owner);
    }
    if (loop->posted == NULL)
        uv_idle_stop(handle);
}

static void open_handles(struct loop *loop)
{
    uv_prepare_init(&loop->uv, &loop->turn_end);
    uv_idle_init(&loop->uv, &loop->posting);
    loop->turn_end.data = loop;
    loop->posting.data = loop;
    deadline_wheel_open(loop);
    uv_prepare_start(&loop->turn_end, on_turn_end);
}

struct loop *loop_new(void)
{
    struct loop *loop;

    /* Both must happen before the first job and the first write. */
    setenv("UV_THREADPOOL_SIZE", TEXT_OF(WORK_THREADS), 0);
    signal(SIGPIPE, SIG_IGN);
    loop = mem_zalloc(sizeof(*loop));
    if (loop == NULL)
        return NULL;
    if (getrandom(&loop->hash_key, sizeof(loop->hash_key), 0) != sizeof(loop->hash_key) ||
        uv_loop_init(&loop->uv) != 0) {
        mem_free(loop);
        return NULL;
    }
    loop_clock_open(loop);
    loop->posted_end = &loop->posted;
    list_init(&loop->turn_ends);
    loop->turn_number = 1;
    pool_init(&loop->pools.small, 1024, SMALL_KEPT);
    pool_init(&loop->pools.medium, 4096, MEDIUM_KEPT);
    pool_init(&loop->pools.chunk, 65536, CHUNK_KEPT);
    open_handles(loop);
    return loop;
}

int loop_run(struct loop *loop)
{
    uv_ref((uv_handle_t *)&loop->turn_end);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_unref((uv_handle_t *)&loop->turn_end);
    while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
        ;
    return 0;
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

void loop_free(struct loop **held)
{
    struct loop *loop = *held;
    int busy;

    if (loop == NULL)
        return;
    uv_close((uv_handle_t *)&loop->turn_end, NULL);
    uv_close((uv_handle_t *)&loop->posting, NULL);
    uv_close((uv_handle_t *)&loop->waking, NULL);
    for (unsigned i = 0; i < loop->signal_count; i++)
        uv_close((uv_handle_t *)&loop->signals[i].handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    busy = uv_loop_close(&loop->uv);
    assert(busy == 0);
    assert(loop->posted == NULL);
    assert(loop->pools.small.taken + loop->pools.medium.taken + loop->pools.chunk.taken == 0);
    (void)busy;
    pool_done(&loop->pools.small);
    pool_done(&loop->pools.medium);
    pool_done(&loop->pools.chunk);
    mem_free(loop);
    *held = NULL;
}

uint64_t loop_random(struct loop *loop)
{
    if (loop->random_count == 0) {
        /* getrandom() returns up to 256 octets whole, and waits until the kernel is seeded. */
        if (getrandom(loop->randoms, sizeof(loop->randoms), 0) != sizeof(loop->randoms))
            abort();
        loop->random_count = LOOP_RANDOMS_KEPT;
    }
    assert(loop->random_count <= LOOP_RANDOMS_KEPT);
    return loop->randoms[--loop->random_count];
}

struct hash_key loop_hash_key(struct loop *loop)
{
    return loop->hash_key;
}

void loop_post(struct loop *loop, struct loop_post *post, void (*fn)(void *owner), void *owner)
{
    if (post->is_posted)
        return;
    if (loop->posted == NULL)
        uv_idle_start(&loop->posting, on_posting);
    *post = (struct loop_post){.fn = fn, .owner = owner, .is_posted = 1};
    *loop->posted_end = post;
    loop->posted_end = &post->next;
}

static struct loop_post **find_post(struct loop_post **list, const struct loop_post *post)
{
    while (*list != NULL && *list != post)
        list = &(*list)->next;
    return list;
}

void loop_unpost(struct loop *loop, struct loop_post *post)
{
    struct loop_post **at;

    if (!post->is_posted)
        return;
    post->is_posted = 0;
    at = find_post(&loop->due_posts, post);
    if (*at == post) {
        *at = post->next;
        return;
    }
    at = find_post(&loop->posted, post);
    assert(*at == post);
    *at = post->next;
    if (loop->posted_end == &post->next)
        loop->posted_end = at;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct loop_signal *signal = handle->data;

    signal->fn(signal->owner, number);
}

int loop_on_signal(struct loop *loop, int number, void (*fn)(void *owner, int number), void *owner)
{
    struct loop_signal *signal = &loop->signals[loop->signal_count];
    int error;

    if (loop->signal_count == LOOP_SIGNALS_MAX)
        return ERR_FULL;
    error = uv_signal_init(&loop->uv, &signal->handle);
    if (error != 0)
        return error;
    loop->signal_count++;
    signal->handle.data = signal;
    signal->fn = fn;
    signal->owner = owner;
    uv_unref((uv_handle_t *)&signal->handle);
    return uv_signal_start(&signal->handle, on_signal, number);
}

struct loop_pools *loop_pools(struct loop *loop)
{
    return &loop->pools;
}
