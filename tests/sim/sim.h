/* SPDX-License-Identifier: BSD-2-Clause */
/* A world in one thread: the headers of proxy/io a second time, and the strings to pull.
 *
 * A world has a clock, chance, a network, DNS, files and log lines; loops are made in it. Nothing
 * of it is real, and one seed decides everything: a run repeats exactly. loop_run() lets happen
 * what can happen now; then it asks the test (sim_on_quiet), and only then time goes on, to the
 * next deadline. */
#ifndef POSTERN_SIM_H
#define POSTERN_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/netaddr.h"
#include "proxy/io/dns.h"

struct sim;

/* The current world from now on, until sim_free(). disk.h, listen.h and loop_new() name no world:
 * they use the current one; where there is none yet, one is made with the seed 1. */
struct sim *sim_new(uint64_t seed);
void sim_free(struct sim **w); /* every loop in it must have been freed */
struct sim *sim_current(void);

/* How chance shows. All zero: first come first served, octets arrive as they were sent. */
struct sim_ways {
    bool shuffles;         /* what is ready at the same time happens in any order */
    bool cuts;             /* octets arrive in pieces, writes are taken in part */
    uint32_t window_bytes; /* octets under way in one direction of a connection; 0: 65,536 */
    bool interleaves;      /* before a call of disk.h other things may happen: a job gives way */
    uint32_t slow_ms;      /* ... for up to so long, now and then */
    bool shakes;           /* TLS begins with a line of each side; else both are agreed at once */
};
void sim_set_ways(struct sim *w, const struct sim_ways *ways);
uint64_t sim_random(struct sim *w); /* the world's own chance; loops have another source */
uint64_t sim_below(struct sim *w, uint64_t end); /* 0..end-1 */

/* ---- time ---- */

/* Called by loop_run() when nothing can happen any more before time passes. True: something was
 * done, look again; false: let time pass. Without one, time just passes. */
void sim_on_quiet(struct sim *w, bool (*fn)(void *owner), void *owner);
/* Within that function, before it returns true: come back when so much time has passed. */
void sim_wait(struct sim *w, uint64_t ms);
uint64_t sim_now_ms(const struct sim *w);
int64_t sim_wall_ms(const struct sim *w);
void sim_wall_jump(struct sim *w, int64_t ms); /* the wall clock is set; time goes on as ever */
void sim_signal(struct sim *w, int number);    /* what kill() would do, to every process */

/* What a client of TLS begins with where sim_ways.shakes, and the only answer that it takes. */
#define SIM_TLS_HELLO                                                                              \
    "\x16"                                                                                         \
    "hello\n"
#define SIM_TLS_ANSWER                                                                             \
    "\x16"                                                                                         \
    "agreed\n"

/* ---- processes of postern ---- */

struct sim_process;
struct sim_process_end {
    struct sim_process *process;
    bool is_killed;
    int code; /* else: what it has returned */
};

/* Runs fn(owner) as a process beside others, while the world goes on. It has a heap of its own, and
 * at most one loop. `ended` is called outside of all of them: it has come to its end, and if its
 * code is 0 left nothing behind; or it was killed: memory, descriptors, locks, connections, jobs
 * and deadlines are gone, and none of its code has run. */
struct sim_process *sim_process_start(struct sim *w, int (*fn)(void *owner), void *owner,
                                      void (*ended)(void *owner,
                                                    const struct sim_process_end *end));
void sim_process_signal(struct sim_process *p, int number);
bool sim_process_is_serving(const struct sim_process *p); /* it is in its loop */
void sim_process_kill(struct sim_process *p);
/* It dies before the nth thing that happens to it from now on (1: the next), or before its nth call
 * of disk.h; 0: it does not. */
void sim_process_kill_at_step(struct sim_process *p, uint64_t nth);
void sim_process_kill_at_call(struct sim_process *p, uint64_t nth);
void sim_run(struct sim *w); /* the world goes on until sim_stop() */
void sim_stop(struct sim *w);
void sim_run_for(struct sim *w, uint64_t ms); /* ... for so long */

/* One process alone, until it has ended. False: it was killed. */
bool sim_process(struct sim *w, int (*fn)(void *owner), void *owner, int *code_out);
/* The death of the process that calls this; or, called by none, of the next one. */
void sim_kill_at_step(struct sim *w, uint64_t nth);
void sim_kill_at_call(struct sim *w, uint64_t nth);
void sim_hang_at_call(struct sim *w, uint64_t nth); /* of the next one, until sim_disk_go_on() */
/* Kills all of them; of all writes and names that were not synced chance keeps, loses or tears
 * any. */
void sim_power_cut(struct sim *w);
/* In the place of chance: what becomes of each change that a power cut or a failed sync leaves
 * open. Way 0: it is kept; 1: it is lost; others: runs of a write's octets, few that mean
 * something: halves, a first octet, all but the last, a middle, both sides of a block's edge. NULL:
 * chance again. */
void sim_set_choice(struct sim *w, unsigned (*choose)(void *owner, unsigned ways), void *owner);

/* ---- a moment, to which a test comes back ---- */

struct sim_moment;

/* Where no process runs: time, chance, and the disk with all that is not synced. */
struct sim_moment *sim_moment_of(struct sim *w);
struct sim *sim_new_at(const struct sim_moment *m); /* a world that goes on from there */
void sim_moment_free(struct sim_moment **m);
/* Of all names and octets that processes see. */
uint64_t sim_disk_hash(const struct sim *w);

/* ---- the network: the other ends of postern's connections ---- */

struct sim_peer; /* the world's: gone with sim_free() */

enum sim_peer_state {
    SIM_PEER_ASKED, /* postern connects: sim_accept(), sim_refuse(), or leave it alone */
    SIM_PEER_OPEN,
    SIM_PEER_ENDED /* by us */
};

/* A client of the listener at `to`. NULL: nobody listens there. */
struct sim_peer *sim_connect(struct sim *w, const struct netaddr *from, const struct netaddr *to);
struct sim_peer *sim_connect_path(struct sim *w, const char *path); /* a unix socket */
/* True: who listens nowhere is asked for; false, as it begins: connections there are refused. */
void sim_ask_targets(struct sim *w, bool asks);
/* Connections that postern has asked for, in that order: the first, second ...; NULL: no more. */
struct sim_peer *sim_target(struct sim *w, unsigned index);
const char *sim_target_address(const struct sim_peer *p); /* "192.0.2.1:25", "unix:/path" */
void sim_accept(struct sim_peer *p);
void sim_refuse(struct sim_peer *p, int error); /* -ECONNREFUSED, -ETIMEDOUT ... */
enum sim_peer_state sim_peer_state(const struct sim_peer *p);
bool sim_is_orphan(const struct sim_peer *p); /* the process that has asked for it is no more */

/* Never blocks: what does not fit under way is kept. Only where sim_may_send(). */
void sim_send(struct sim_peer *p, struct bytes octets);
bool sim_may_send(const struct sim_peer *p);
void sim_shutdown(struct sim_peer *p); /* FIN behind all that was sent */
void sim_close(struct sim_peer *p);    /* FIN, and an RST to what still comes */
void sim_reset(struct sim_peer *p);
void sim_close_garbled(struct sim_peer *p); /* behind a record that cannot be decrypted */
/* Not to read makes postern's writes wait; reading is how it begins. */
void sim_set_reading(struct sim_peer *p, bool is_reading);

uint64_t sim_pending(const struct sim_peer *p); /* octets sent that do not fit under way */
uint64_t sim_unread(const struct sim_peer *p);  /* ... that postern has not read */

/* For peers that act by themselves, not when all is quiet: called when something came, was read or
 * ended; and when postern asks for a connection. */
void sim_on_news(struct sim_peer *p, void (*fn)(void *owner), void *owner);
void sim_on_asked(struct sim *w, void (*fn)(void *owner, struct sim_peer *p), void *owner);

/* What has come and was not taken yet. */
struct bytes sim_received(const struct sim_peer *p);
void sim_take(struct sim_peer *p, size_t octets);
bool sim_has_eof(const struct sim_peer *p); /* postern will send nothing more; maybe rest to take */
bool sim_was_reset(const struct sim_peer *p);

/* How what this peer sends is cut, counted from its first octet. The next piece arrives only when
 * all that follows from the one before has happened. */
void sim_cut_at(struct sim_peer *p, uint64_t offset);
void sim_cut_always(struct sim_peer *p); /* octet by octet */

/* ---- memory ---- */

size_t sim_pool_bytes(const struct sim *w); /* of the loop's blocks that are in use */

/* ---- DNS ---- */

enum sim_question { SIM_ADDRESSES, SIM_NAMES, SIM_MX, SIM_RECORDS };

#define SIM_NEVER UINT64_MAX /* as a delay: no answer; DNS_TEMPORARY comes after five seconds */

/* What is asked about: a name, or an address as text. The newest answer counts; without one it is
 * DNS_NOT_FOUND, at once. `text`: addresses or names, separated by blanks; a name may have its
 * preference before it: "10/mail.test"; "." is the root. */
void sim_dns(struct sim *w, enum sim_question what, const char *about, enum dns_status status,
             uint64_t delay_ms, const char *text);

/* ---- files ---- */

enum sim_disk_call {
    SIM_DISK_OPEN,
    SIM_DISK_WRITE,
    SIM_DISK_READ,
    SIM_DISK_SYNC,
    SIM_DISK_NAME, /* link, rename, unlink, directories */
    SIM_DISK_CALLS
};

/* From the nth call of this kind on (1: the next one) every one fails; error 0: none any more. */
void sim_disk_fail(struct sim *w, enum sim_disk_call what, uint64_t nth, int error);
/* The nth call of any kind fails, that one alone; 0: none. A read does not fail for want of room.
 */
void sim_disk_fail_call(struct sim *w, uint64_t nth, int error);
/* So many calls of a million fail, by chance. */
void sim_disk_set_trouble(struct sim *w, uint32_t per_million);
/* This one stays bad from now on; 0: no more. Of a file its octets: they cannot be read, written or
 * synced. Of a directory all that lies below: nothing is opened, made, moved or synced there.
 * False: there is no such name. */
bool sim_disk_spoil(struct sim *w, const char *path, int error);
/* These octets of a file cannot be read from now on. False: there is no such name. */
bool sim_disk_lose(struct sim *w, const char *path, uint64_t from, uint64_t to);
/* True: the disk cannot rename without replacing, as some file systems. */
void sim_disk_set_old(struct sim *w, bool lacks_move);
bool sim_file_is_locked(struct sim *w, const char *path); /* by some process */
/* How much of it a power cut leaves. 0: there is no such name. */
size_t sim_file_durable(struct sim *w, const char *path);
/* One bit changes, in what processes see and in what is durable. False: there is no such bit. */
bool sim_file_flip(struct sim *w, const char *path, uint64_t bit);
uint64_t sim_disk_failures(const struct sim *w); /* so far */
/* What has failed. */
struct sim_disk_failure {
    enum sim_disk_call what;
    const char *path;    /* empty: a file that has no name yet */
    struct bytes octets; /* of the file; empty: there is none */
};
void sim_on_disk_failure(struct sim *w,
                         void (*fn)(void *owner, const struct sim_disk_failure *failure),
                         void *owner);
/* A file has got a name, or another one, or lost it. */
struct sim_disk_name {
    const char *from, *to; /* a new file: `from` is NULL; none any more: `to` is */
    struct bytes octets;
};
void sim_on_disk_name(struct sim *w, void (*fn)(void *owner, const struct sim_disk_name *name),
                      void *owner);
/* Every call on what lies below this directory of the root hangs from now on, until
 * sim_disk_go_on(): jobs stay where they are. False: there is no such directory. */
bool sim_disk_hang(struct sim *w, const char *path);
unsigned sim_disk_hung(const struct sim *w); /* the most calls of any process that hang */
void sim_disk_go_on(struct sim *w);
/* A file system that has no unnamed files. */
void sim_disk_without_unnamed(struct sim *w);
void sim_disk_set_free(struct sim *w, uint64_t bytes); /* what disk_free_bytes() says */
/* False: there is no such file. */
bool sim_file(struct sim *w, const char *path, struct bytes *octets_out);
/* The path of the first, second ... file below `directory`, in the order of their names. */
const char *sim_file_below(struct sim *w, const char *directory, unsigned index);
unsigned sim_open_files(const struct sim *w);     /* descriptors that nobody has closed */
uint64_t sim_closed_on_loop(const struct sim *w); /* how many were closed, but not by a job */

/* ---- log ---- */

struct bytes sim_log(const struct sim *w); /* every line so far: "event key=value ...\n" */
void sim_forget_log(struct sim *w);
/* Called with each line when it is whole. */
void sim_on_line(struct sim *w, void (*fn)(void *owner, struct bytes line), void *owner);

#endif
