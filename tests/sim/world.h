/* SPDX-License-Identifier: BSD-2-Clause */
/* What the world is made of. Private to tests/sim/<file>.c. */
#ifndef POSTERN_SIM_WORLD_H
#define POSTERN_SIM_WORLD_H

#include "proxy/base/list.h"
#include "proxy/base/wheel.h"
#include "proxy/io/loop.h"
#include "proxy/io/stream.h"
#include "tests/sim/sim.h"

/* Something that can happen now. Embedded; list_init() its link first. */
struct sim_event {
    struct list link;
    void (*fn)(struct sim_event *e);
    struct sim_process *process; /* with which it goes; NULL: the world's, or the test's */
    bool is_beside; /* the loop of its process, as a thread is: it need not wait for that */
};

/* Something that happens later. */
struct sim_timer {
    struct list link;
    uint64_t due_us;
    struct sim_event *event;
};

/* Text that grows. */
struct sim_text {
    uint8_t *at;
    size_t len, capacity;
};

/* ---- network ---- */

struct sim_end;

/* One direction, at the end that reads it. */
struct sim_pipe {
    struct sim_text text;
    size_t start; /* octets of text that were read */
    bool has_fin, has_reset;
    bool is_garbled; /* before its FIN */
};

struct sim_end {
    struct sim_conn *conn;
    struct sim_end *other;
    struct netaddr address;
    struct sim_process *process; /* NULL: a peer's, or the test's */
    struct sim_event *reader;    /* NULL: nobody has it yet, or any more */
    struct sim_pipe in;
    bool is_closed;
};

struct sim_conn {
    struct list link;
    struct sim *world;
    struct sim_end ends[2]; /* who connected, who was connected to */
};

struct sim_peer {
    struct list link;
    struct sim *world;
    struct sim_end *end;
    struct sim_event event;
    struct stream *asked_by;    /* while SIM_PEER_ASKED; NULL: it has given up */
    struct sim_process *asking; /* NULL: none */
    enum sim_peer_state state;
    char address[128];
    struct sim_text received, sending;
    size_t taken, sent; /* of these two */
    uint64_t cut_at;
    bool cuts_always, is_held; /* is_held: the next piece waits for quiet */
    bool wants_shutdown, wants_close, is_shut;
    bool is_deaf, has_eof, was_reset;
    bool is_told;   /* sim_on_asked() */
    bool is_orphan; /* `asking` is no more */
    void (*news)(void *owner);
    void *news_owner;
};

/* A bound address. */
struct sim_bound {
    struct list link;
    struct netaddr address;
    char path[128]; /* of a unix socket; empty: none, or not any more */
    int fd;
    bool is_shared;
    struct sim_process *process;
    struct listener *listener; /* NULL: not taken over yet */
};

/* channel.c: who listens, and the connections. */
struct sim_channels {
    struct list listeners, links;
};

/* ---- files ---- */

struct sim_node; /* files.h */

struct sim_fd {
    struct sim_node *node; /* NULL: free */
    struct sim_process *process;
    bool may_write, is_unnamed;
    unsigned sync_failures; /* of a directory, when it was opened, or synced last */
};

#define SIM_FDS     256
#define SIM_FD_DISK 1000 /* the first descriptor of a file; listeners lie behind those */

struct sim_disk {
    struct sim_node *root;
    struct list operations; /* on directories; not synced */
    struct sim_fd fds[SIM_FDS];
    uint64_t fail_in[SIM_DISK_CALLS]; /* 0: never */
    int error[SIM_DISK_CALLS];
    uint64_t fail_at_call; /* 0: none; that one alone */
    int call_error;
    uint32_t trouble; /* how many calls of a million fail */
    struct {          /* what chance decides where it is NULL */
        unsigned (*choose)(void *owner, unsigned ways);
        void *owner;
    } choice;
    uint64_t failures, free_bytes, closed_on_loop;
    unsigned spoiled, hanging; /* nodes */
    struct list hung;          /* fibers that wait for those */
    bool has_no_unnamed;       /* files */
    bool lacks_move;
    void (*failed)(void *owner, const struct sim_disk_failure *failure);
    void *failed_owner;
    void (*named)(void *owner, const struct sim_disk_name *name);
    void *named_owner;
    struct sim_text path; /* of the last sim_file_below() */
};

/* ---- all of it ---- */

struct sim_answer {
    struct list link;
    enum sim_question what;
    char *about;
    uint64_t delay_ms;
    struct dns_answer answer;
};

/* One of postern's. Its code runs on a stack of its own while it starts and while it ends; between
 * the two, in loop_run(), the world calls what hangs off its loop. */
struct sim_process {
    struct list link; /* in sim_processes.alive, or .ended */
    struct sim *world;
    unsigned number;
    struct sim_fiber *fiber;
    struct list fibers; /* of its jobs */
    struct sim_heap *heap;
    struct loop *loop; /* NULL: none */
    struct list held;  /* events that wait until it is in its loop */
    bool is_in_loop, is_dying;
    uint64_t kill_at_step, kill_at_call, hang_at_call; /* 0: never */
    int (*run)(void *owner);
    void *owner;
    struct sim_process_end end;
    void (*ended)(void *owner, const struct sim_process_end *end);
};

struct sim_processes {
    struct list alive, ended;                          /* ended: nobody was told yet */
    struct sim_process *running;                       /* whose code runs; NULL: none */
    unsigned count;                                    /* that have begun */
    uint64_t steps;                                    /* of all of them */
    uint64_t kill_at_step, kill_at_call, hang_at_call; /* of the next one */
};

/* sim_on_quiet() */
struct sim_quiet {
    bool (*fn)(void *owner);
    void *owner;
};

/* sim_ask_targets(), sim_on_asked() */
struct sim_asked {
    bool asks;
    void (*fn)(void *owner, struct sim_peer *p);
    void *owner;
};

/* sim_on_line() */
struct sim_lines {
    size_t start; /* of the last one, in the log */
    void (*fn)(void *owner, struct bytes line);
    void *owner;
};

struct sim {
    uint64_t seed, chance, now_us, wait_until_us;
    int64_t wall_jumps_ms;
    struct sim_ways ways;
    struct list loops, ready, running, timers, conns, peers, bound, answers;
    struct sim_channels channels;
    bool is_stopped;  /* sim_stop() */
    bool holds_peers; /* some wait for quiet, perhaps */
    struct sim_quiet quiet;
    struct sim_asked asked;
    struct sim_lines lines;
    int next_listener;
    uint16_t next_port;
    struct sim_disk disk;
    struct sim_text log;
    struct sim_processes processes;
};

struct loop {
    struct list link;
    struct sim *world;
    struct sim_process *process; /* NULL: the test's own */
    struct wheel wheel;
    uint64_t served_ms; /* the wheel was asked for all that was due then */
    struct loop_pools pools;
    uint64_t chance;
    struct loop_post *posted, **posted_end, *due_posts;
    unsigned busy; /* streams, listeners, jobs: what keeps loop_run() from returning */
    bool is_running, is_stopped, has_signals;
    unsigned jobs_running;
    struct list jobs_waiting; /* for a thread */
    struct {
        int number;
        bool is_pending;
        void (*fn)(void *owner, int number);
        void *owner;
    } signals[8];
    unsigned signal_count;
};

void *sim_alloc(size_t size); /* zeroed; never NULL, and no allocation of postern's */
void sim_put(struct sim_text *t, struct bytes octets);
uint64_t sim_mix(uint64_t *state);
void sim_fault(const char *what) __attribute__((noreturn)); /* the test asks for the impossible */

/* Happens later in this turn or in the next; twice is once. */
void sim_ready(struct sim *w, struct sim_event *e);
void sim_at(struct sim *w, struct sim_timer *t, struct sim_event *e, uint64_t delay_ms);

/* network.c */
struct sim_conn *sim_conn_new(struct sim *w, const struct netaddr *from, const struct netaddr *to);
size_t sim_end_space(const struct sim_end *e); /* octets that the other end can be sent */
size_t sim_end_write(struct sim_end *e, struct bytes octets);
size_t sim_end_readable(const struct sim_end *e);
struct bytes sim_end_peek(const struct sim_end *e);
void sim_end_consume(struct sim_end *e, size_t octets);
void sim_end_shutdown(struct sim_end *e);
void sim_end_close(struct sim_end *e, bool with_reset);
struct sim_bound *sim_bound_at(struct sim *w, const struct netaddr *address);
struct sim_bound *sim_bound_at_path(struct sim *w, const char *path);

/* peer.c */
struct sim_peer *sim_peer_asked(struct loop *l, struct stream *by, const char *address);
bool sim_peers_go_on(struct sim *w); /* what was held for quiet; false: nothing was */
void sim_peers_free(struct sim *w);

/* stream.c: what became of an attempt to connect */
void sim_stream_answer(struct stream *s, struct sim_end *end, int error);
/* A new connection, and what follows when it was handed over. */
struct stream *sim_stream_accepted(struct loop *l, struct sim_end *end);
void sim_stream_start(struct stream *s);

/* listener.c */
void sim_listener_arrive(struct listener *l, struct sim_end *end);

void sim_listeners_drop(struct sim_process *p);
void sim_channels_drop(struct sim_process *p);

/* world.c */
void sim_go_on(struct sim *w); /* a turn, or time passes */
bool sim_loop_is_over(const struct loop *l);

/* process.c: whose code runs from now on; returns whose it was. */
struct sim_process *sim_process_enter(struct sim *w, struct sim_process *p);
/* Before each thing that happens to a process. False: it has died of it, and is gone. */
bool sim_process_step(struct sim *w, struct sim_process *p);
void sim_process_call(struct sim *w); /* before each call of disk.h; may not return */
bool sim_process_is_dying(const struct sim_process *p);
void sim_process_serve(struct sim_process *p); /* within it: until its loop is over */
bool sim_processes_tell(struct sim *w);        /* who has ended; false: nobody */
bool sim_processes_go_on(struct sim *w);       /* whose loop is over; false: nobody's */
bool sim_processes_are_there(const struct sim *w);
void sim_processes_kill(struct sim *w);   /* all of them */
void sim_processes_forget(struct sim *w); /* whose end nobody was told of */
unsigned sim_process_number(void);        /* of the one that runs, or ran last */

/* fiber.c: code with a stack of its own. `ended` is called outside of it. */
struct sim_fiber *sim_fiber_new(struct sim *w, struct sim_process *p, void (*run)(void *owner),
                                void (*ended)(void *owner), void *owner);
void sim_fibers_free(struct list *fibers);
void sim_fiber_free(struct sim_fiber *f);  /* wherever it stands; none of its code runs any more */
void sim_fiber_run(struct sim_fiber *f);   /* until it gives way or ends */
void sim_fiber_wake(struct sim_fiber *f);  /* runs it later in this turn or in the next */
struct sim_fiber *sim_fiber_running(void); /* NULL: none does */
/* Within one: until somebody wakes it, or it is freed. */
void sim_fiber_give_way(void);
void sim_fiber_pause(uint64_t ms);       /* ... for so long; 0: what is ready goes first */
void sim_fiber_wait(struct list *among); /* ... its event is there meanwhile */

/* heap.c: what mem.h gives out goes to the book that is open. */
struct sim_heap *sim_heap_new(void);
void sim_heap_open(struct sim_heap *h);    /* NULL: none */
size_t sim_heap_free(struct sim_heap **h); /* with its blocks: how many there were */

void sim_disk_init(struct sim *w);
void sim_disk_done(struct sim *w);
unsigned sim_disk_close_all(struct sim *w, const struct sim_process *p); /* how many */
void sim_dns_done(struct sim *w);

#endif
