/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls of other threads: a list under a lock, and a handle that wakes the loop. */
#include "proxy/io/crossing.h"

#include <assert.h>
#include <pthread.h>

#include "proxy/base/error.h"
#include "proxy/io/loop_uv.h"

struct crossing_wait {
    pthread_cond_t answered;
    bool is_over, is_served;
};

struct crossing {
    uv_async_t wake;
    void (*run)(void *owner, struct crossing_call *call);
    void *owner;
    pthread_mutex_t lock;               /* of what follows, and of every wait */
    struct crossing_call *first, **end; /* that nobody has seen */
    struct crossing_call *due;          /* those among them that are run in this turn */
    bool is_closed;
};

static struct crossing_call *take_due(struct crossing *c)
{
    pthread_mutex_lock(&c->lock);
    struct crossing_call *call = c->due;
    if (call != NULL)
        c->due = call->next;
    pthread_mutex_unlock(&c->lock);
    return call;
}

/* Calls that come meanwhile wake the loop again: it has other things to do as well. */
static void on_wake(uv_async_t *handle)
{
    struct crossing *c = handle->data;
    struct crossing_call *call;

    pthread_mutex_lock(&c->lock);
    assert(c->due == NULL);
    c->due = c->first;
    c->first = NULL;
    c->end = &c->first;
    pthread_mutex_unlock(&c->lock);
    while ((call = take_due(c)) != NULL)
        c->run(c->owner, call);
}

struct crossing *crossing_new(struct loop *loop,
                              void (*run)(void *owner, struct crossing_call *call), void *owner,
                              int *error_out)
{
    struct crossing *c = mem_zalloc(sizeof(*c));

    *error_out = ERR_MEMORY;
    if (c == NULL)
        return NULL;
    *error_out = uv_async_init(&loop->uv, &c->wake, on_wake);
    if (*error_out != 0) {
        mem_free(c);
        return NULL;
    }
    pthread_mutex_init(&c->lock, NULL);
    c->wake.data = c;
    c->run = run;
    c->owner = owner;
    c->end = &c->first;
    return c;
}

bool crossing_enter(struct crossing *c, struct crossing_call *call)
{
    struct crossing_wait wait = {.is_over = false};

    *call = (struct crossing_call){.wait = &wait};
    pthread_cond_init(&wait.answered, NULL);
    pthread_mutex_lock(&c->lock);
    if (!c->is_closed) {
        *c->end = call;
        c->end = &call->next;
        uv_async_send(&c->wake);
        while (!wait.is_over)
            pthread_cond_wait(&wait.answered, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    pthread_cond_destroy(&wait.answered);
    return wait.is_served;
}

/* With the lock held: the thread goes on once that is given up. */
static void end(struct crossing_wait *wait, bool is_served)
{
    assert(!wait->is_over);
    wait->is_over = true;
    wait->is_served = is_served;
    pthread_cond_signal(&wait->answered);
}

void crossing_answer(struct crossing *c, struct crossing_call *call)
{
    pthread_mutex_lock(&c->lock);
    end(call->wait, true);
    pthread_mutex_unlock(&c->lock);
}

/* An ended call is gone as soon as the lock is given up. */
static void end_all(struct crossing_call **list)
{
    for (struct crossing_call *call = *list; call != NULL; call = call->next)
        end(call->wait, false);
    *list = NULL;
}

void crossing_close(struct crossing *c)
{
    pthread_mutex_lock(&c->lock);
    c->is_closed = true;
    end_all(&c->due);
    end_all(&c->first);
    pthread_mutex_unlock(&c->lock);
    uv_close((uv_handle_t *)&c->wake, NULL);
}

void crossing_free(struct crossing **held)
{
    struct crossing *c = *held;

    if (c == NULL)
        return;
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
    *held = NULL;
}
