/* SPDX-License-Identifier: BSD-2-Clause */
/* What the world is made of. Private to tests/sim/<file>.c. */
#ifndef POSTERN_SIM_WORLD_H
#define POSTERN_SIM_WORLD_H

#include <setjmp.h>

#include "proxy/base/list.h"
#include "proxy/base/wheel.h"
#include "proxy/io/loop.h"
#include "proxy/io/stream.h"
#include "tests/sim/sim.h"

/* Something that can happen now. Embedded; list_init() its link first. */
struct sim_event {
    struct list link;
    void (*fn)(struct sim_event *e);
    bool outlives; /* the process of postern: a peer's, or the test's */
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
};

struct sim_end {
    struct sim_conn *conn;
    struct sim_end *other;
    struct netaddr address;
    struct sim_event *reader; /* NULL: nobody has it yet, or any more */
    struct sim_pipe in;
    bool is_closed, is_peers;
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
    struct stream *asked_by; /* while SIM_PEER_ASKED; NULL: it has given up */
    enum sim_peer_state state;
    char address[128];
    struct sim_text received, sending;
    size_t taken, sent; /* of these two */
    uint64_t cut_at;
    bool cuts_always, is_held; /* is_held: the next piece waits for quiet */
    bool wants_shutdown, wants_close, is_shut;
    bool is_deaf, has_eof, was_reset;
    bool is_told; /* sim_on_asked() */
    void (*news)(void *owner);
    void *news_owner;
};

/* A bound address. */
struct sim_bound {
    struct list link;
    struct netaddr address;
    char path[128]; /* of a unix socket; empty: none, or not any more */
    int fd;
    struct listener *listener; /* NULL: not taken over yet */
};

/* ---- files ---- */

struct sim_node; /* files.h */

struct sim_fd {
    struct sim_node *node; /* NULL: free */
    bool may_write, is_unnamed;
};

#define SIM_FDS     256
#define SIM_FD_DISK 1000 /* the first descriptor of a file; listeners lie behind those */

struct sim_disk {
    struct sim_node *root;
    struct list operations; /* on directories; not synced */
    struct sim_fd fds[SIM_FDS];
    uint64_t fail_in[SIM_DISK_CALLS]; /* 0: never */
    int error[SIM_DISK_CALLS];
    uint32_t trouble; /* how many calls of a million fail */
    uint64_t failures, free_bytes;
    unsigned spoiled; /* nodes */
    bool is_making;   /* a directory, whose name was not synced yet */
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

/* Of postern. */
struct sim_process {
    unsigned count; /* that have begun */
    uint64_t steps; /* of all of them */
    bool is_alive;
    uint64_t kill_at_step, kill_at_call; /* 0: never */
    jmp_buf death;
};

/* sim_on_quiet() */
struct sim_quiet {
    bool (*fn)(void *owner);
    void *owner;
};

/* sim_on_asked() */
struct sim_asked {
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
    struct loop *loop; /* one at a time */
    struct list ready, running, timers, conns, peers, bound, answers, channels;
    struct sim_quiet quiet;
    bool asks_targets;
    struct sim_asked asked;
    struct sim_lines lines;
    unsigned target_count;
    int next_listener;
    uint16_t next_port;
    struct sim_disk disk;
    struct sim_text log;
    struct sim_process process;
};

struct loop {
    struct sim *world;
    struct wheel wheel;
    struct loop_pools pools;
    uint64_t chance;
    struct loop_post *posted, **posted_end, *due_posts;
    unsigned busy; /* streams, listeners, jobs: what keeps loop_run() from returning */
    bool is_stopped;
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
struct sim_peer *sim_peer_asked(struct sim *w, struct stream *by, const char *address);
bool sim_peers_go_on(struct sim *w); /* what was held for quiet; false: nothing was */
void sim_peers_free(struct sim *w);

/* stream.c: what became of an attempt to connect */
void sim_stream_answer(struct stream *s, struct sim_end *end, int error);
/* A new connection, and what follows when it was handed over. */
struct stream *sim_stream_accepted(struct loop *l, struct sim_end *end);
void sim_stream_start(struct stream *s);

/* listener.c */
void sim_listener_arrive(struct listener *l, struct sim_end *end);

void sim_listeners_drop(struct sim *w);

/* process.c: before each thing that happens, and before each call of disk.h. May not return. */
void sim_process_step(struct sim *w);
void sim_process_call(struct sim *w);
unsigned sim_process_count(void);

/* heap.c: what mem.h gives out between the two is freed by the second, which says how many blocks
 * there were. */
void sim_heap_begin(void);
size_t sim_heap_end(void);

void sim_disk_init(struct sim *w);
void sim_disk_done(struct sim *w);
void sim_disk_close_all(struct sim *w);
void sim_dns_done(struct sim *w);

#endif
