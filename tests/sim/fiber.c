/* SPDX-License-Identifier: BSD-2-Clause */
/* Code with a stack of its own, which gives way and goes on later: jobs, and what a process does
 * outside of its loop. Stacks are kept from one world to the next. */
#include <stdlib.h>
#include <ucontext.h>

#include "proxy/base/mem.h"
#include "tests/sim/world.h"

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define START_SWITCH(fake, at, size)      __sanitizer_start_switch_fiber(fake, at, size)
#define FINISH_SWITCH(fake, at_out, size) __sanitizer_finish_switch_fiber(fake, at_out, size)
#else
#define START_SWITCH(fake, at, size)      ((void)(fake), (void)(at), (void)(size))
#define FINISH_SWITCH(fake, at_out, size) ((void)(fake), (void)(at_out), (void)(size))
#endif

/* The compiler's own jumps: AddressSanitizer clears its shadow of whole stacks at each of libc's,
 * and _FORTIFY_SOURCE takes one to another stack for an attack. */
typedef void *jump[5];
#define COMES_BACK(at) (__builtin_setjmp(at) != 0)
#define JUMP(at)       __builtin_longjmp(at, 1)

/* For functions that jump, and those that are left so. */
#define JUMPS __attribute__((noinline, no_sanitize("address")))

#define STACK_BYTES 262144
#define KEPT_MAX    64
#define BOTTOM      0x706f737465726e21u /* stands at the end of each stack: it has not run over */

/* What one side of a switch needs to be come back to. */
struct side {
    jump at;
    void *fake_stack; /* AddressSanitizer's */
    const void *stack;
    size_t stack_bytes;
};

struct sim_fiber {
    struct sim *world;
    struct sim_process *process; /* NULL: nobody's who could die */
    struct list in_process;
    struct sim_event wake;
    struct sim_timer timer;
    void (*run)(void *owner);
    void (*ended)(void *owner);
    void *owner;
    bool is_begun, is_over; /* is_begun: `inside` can be come back to */
    struct side inside, outside;
    uint64_t *memory; /* of the stack, which grows down to it */
    struct sim_fiber *next;
};

/* What lasts from one world to the next, and who runs. */
static struct {
    struct sim_fiber *free, *running;
    unsigned free_count;
    ucontext_t first; /* that one has not begun is come to by */
} fibers;

/* ---- switching ---- */

/* Who runs stands in `fibers`: a local variable may not outlast setjmp(). */
JUMPS static void leave(void)
{
    struct sim_fiber *f = fibers.running;

    if (*f->memory != BOTTOM)
        sim_fault("a stack has run over");
    START_SWITCH(&f->inside.fake_stack, f->outside.stack, f->outside.stack_bytes);
    JUMP(f->outside.at);
}

static void arrive_inside(void *fake_stack)
{
    struct sim_fiber *f = fibers.running;

    FINISH_SWITCH(fake_stack, &f->outside.stack, &f->outside.stack_bytes);
}

JUMPS void sim_fiber_give_way(void)
{
    if (!COMES_BACK(fibers.running->inside.at))
        leave();
    arrive_inside(fibers.running->inside.fake_stack);
}

static void run_once(void)
{
    struct sim_fiber *f = fibers.running;

    f->run(f->owner);
    f->is_over = true;
}

/* The first function on each stack, which serves one fiber after the other. */
static void body(void)
{
    arrive_inside(NULL);
    for (;;) {
        run_once();
        sim_fiber_give_way();
    }
}

static void prepare(struct sim_fiber *f)
{
    getcontext(&fibers.first);
    fibers.first.uc_stack.ss_sp = f->memory;
    fibers.first.uc_stack.ss_size = STACK_BYTES;
    fibers.first.uc_link = NULL;
    makecontext(&fibers.first, body, 0);
    f->is_begun = true;
}

/* As in leave(), nothing of the frame may need to be tidied up: it is not returned from. */
JUMPS static void enter(void)
{
    struct sim_fiber *f = fibers.running;
    bool is_begun = f->is_begun;

    if (!is_begun)
        prepare(f);
    START_SWITCH(&f->outside.fake_stack, f->memory, STACK_BYTES);
    if (is_begun)
        JUMP(f->inside.at);
    setcontext(&fibers.first);
}

static void arrive_outside(void)
{
    struct sim_fiber *f = fibers.running;

    fibers.running = NULL;
    FINISH_SWITCH(f->outside.fake_stack, &f->inside.stack, &f->inside.stack_bytes);
}

JUMPS static void switch_to(struct sim_fiber *f)
{
    if (fibers.running != NULL)
        sim_fault("a fiber within a fiber");
    fibers.running = f;
    if (!COMES_BACK(f->outside.at))
        enter();
    arrive_outside();
}

/* ---- life ---- */

static struct sim_fiber *take(void)
{
    struct sim_fiber *f = fibers.free;

    if (f != NULL) {
        fibers.free = f->next;
        fibers.free_count--;
        return f;
    }
    f = sim_alloc(sizeof(*f));
    f->memory = malloc(STACK_BYTES);
    if (f->memory == NULL)
        sim_fault("no memory");
    *f->memory = BOTTOM;
    return f;
}

static void on_wake(struct sim_event *e)
{
    sim_fiber_run(CONTAINER_OF(e, struct sim_fiber, wake));
}

struct sim_fiber *sim_fiber_new(struct sim *w, struct sim_process *p, void (*run)(void *owner),
                                void (*ended)(void *owner), void *owner)
{
    struct sim_fiber *f = take();

    f->world = w;
    f->process = p;
    f->wake = (struct sim_event){.fn = on_wake, .process = p, .is_beside = true};
    list_init(&f->wake.link);
    list_init(&f->timer.link);
    list_init(&f->in_process);
    if (p != NULL)
        list_append(&p->fibers, &f->in_process);
    f->run = run;
    f->ended = ended;
    f->owner = owner;
    f->is_over = false;
    return f;
}

void sim_fiber_free(struct sim_fiber *f)
{
    list_remove(&f->in_process);
    list_remove(&f->wake.link);
    list_remove(&f->timer.link);
    if (!f->is_over) { /* somewhere amid its frames: nobody goes back there */
        f->is_begun = false;
        mem_unpoison(f->memory, STACK_BYTES);
    }
    if (fibers.free_count == KEPT_MAX) {
        free(f->memory);
        free(f);
        return;
    }
    f->next = fibers.free;
    fibers.free = f;
    fibers.free_count++;
}

void sim_fibers_free(struct list *list)
{
    LIST_EACH (link, list)
        sim_fiber_free(LIST_ENTRY(link, struct sim_fiber, in_process));
}

void sim_fiber_run(struct sim_fiber *f)
{
    struct sim *w = f->world;
    struct sim_process *p = f->process, *before = sim_process_enter(w, p);
    void (*ended)(void *owner) = f->ended;
    void *owner = f->owner;

    switch_to(f);
    if (p != NULL && sim_process_is_dying(p)) {
        sim_process_kill(p);
        return;
    }
    if (f->is_over) {
        sim_fiber_free(f);
        ended(owner);
    }
    sim_process_enter(w, before);
}

void sim_fiber_wake(struct sim_fiber *f)
{
    sim_ready(f->world, &f->wake);
}

struct sim_fiber *sim_fiber_running(void)
{
    return fibers.running;
}

void sim_fiber_wait(struct list *among)
{
    list_append(among, &fibers.running->wake.link);
    sim_fiber_give_way();
}

void sim_fiber_pause(uint64_t ms)
{
    struct sim_fiber *f = fibers.running;

    if (ms == 0)
        sim_ready(f->world, &f->wake);
    else
        sim_at(f->world, &f->timer, &f->wake, ms);
    sim_fiber_give_way();
}
