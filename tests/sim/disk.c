/* SPDX-License-Identifier: BSD-2-Clause */
/* disk.h in a world: descriptors and octets, and failures on request or by chance. */
#include "proxy/io/disk.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "tests/sim/files.h"

/* ---- failures ---- */

void sim_disk_fail(struct sim *w, enum sim_disk_call what, uint64_t nth, int error)
{
    w->disk.fail_in[what] = error == 0 ? 0 : nth;
    w->disk.error[what] = error;
}

void sim_disk_fail_call(struct sim *w, uint64_t nth, int error)
{
    w->disk.fail_at_call = nth;
    w->disk.call_error = error;
}

void sim_disk_set_trouble(struct sim *w, uint32_t per_million)
{
    w->disk.trouble = per_million;
}

void sim_disk_without_unnamed(struct sim *w)
{
    w->disk.has_no_unnamed = true;
}

void sim_disk_set_free(struct sim *w, uint64_t bytes)
{
    w->disk.free_bytes = bytes;
}

uint64_t sim_disk_failures(const struct sim *w)
{
    return w->disk.failures;
}

void sim_on_disk_failure(struct sim *w,
                         void (*fn)(void *owner, const struct sim_disk_failure *failure),
                         void *owner)
{
    w->disk.failed = fn;
    w->disk.failed_owner = owner;
}

void sim_disk_set_old(struct sim *w, bool lacks_move)
{
    w->disk.lacks_move = lacks_move;
}

bool sim_disk_spoil(struct sim *w, const char *path, int error)
{
    struct sim_node *n = sim_node_at(path);

    if (n == NULL)
        return false;
    w->disk.spoiled += (error != 0) - (n->spoiled != 0);
    n->spoiled = error;
    return true;
}

bool sim_disk_lose(struct sim *w, const char *path, uint64_t from, uint64_t to)
{
    struct sim_node *n = sim_node_at(path);

    (void)w;
    if (n == NULL)
        return false;
    n->lost_from = from;
    n->lost_to = to;
    return true;
}

/* Syncs are where disks fail. */
static int by_chance(struct sim *w, enum sim_disk_call what)
{
    uint32_t likely = w->disk.trouble * (what == SIM_DISK_SYNC ? 4 : 1);

    if (likely == 0 || sim_below(w, 1000000) >= likely)
        return 0;
    if (what == SIM_DISK_READ || what == SIM_DISK_SYNC)
        return -EIO;
    return sim_below(w, 2) == 0 ? -EIO : -ENOSPC;
}

/* The one call that was to fail? */
static bool is_the_one(struct sim_disk *d, enum sim_disk_call what)
{
    if (d->fail_at_call == 0 || --d->fail_at_call > 0)
        return false;
    return d->call_error != -ENOSPC || what != SIM_DISK_READ;
}

/* On request, or by chance. */
static int draw(struct sim *w, enum sim_disk_call what)
{
    struct sim_disk *d = &w->disk;

    if (is_the_one(d, what))
        return d->call_error;
    if (d->fail_in[what] == 0)
        return by_chance(w, what);
    if (d->fail_in[what] > 1) {
        d->fail_in[what]--;
        return 0;
    }
    return d->error[what];
}

static void tell(struct sim *w, enum sim_disk_call what, const char *path, const struct sim_node *n)
{
    struct sim_disk_failure failure = {.what = what, .path = path};

    w->disk.failures++;
    if (w->disk.failed == NULL)
        return;
    if (n != NULL && !n->is_directory)
        failure.octets = bytes_make(n->text.at, n->text.len);
    w->disk.failed(w->disk.failed_owner, &failure);
}

static int fault(enum sim_disk_call what, const char *path)
{
    struct sim *w = sim_current();
    int error = draw(w, what);

    if (error == 0 && w->disk.spoiled > 0)
        error = sim_node_trouble(path, false);
    if (error != 0)
        tell(w, what, path, sim_node_at(path));
    return error;
}

/* ---- how long it takes ---- */

bool sim_disk_hang(struct sim *w, const char *path)
{
    struct sim_node *n = sim_node_at(path);

    if (n == NULL)
        return false;
    w->disk.hanging += !n->hangs;
    n->hangs = true;
    return true;
}

unsigned sim_disk_hung(const struct sim *w)
{
    unsigned most = 0;

    LIST_EACH (link, &w->disk.hung) {
        unsigned count = 0;
        LIST_EACH (other, &w->disk.hung)
            count += LIST_ENTRY(other, struct sim_event, link)->process ==
                     LIST_ENTRY(link, struct sim_event, link)->process;
        if (count > most)
            most = count;
    }
    return most;
}

void sim_disk_go_on(struct sim *w)
{
    w->disk.hanging = 0;
    LIST_EACH (link, &w->disk.root->names)
        LIST_ENTRY(link, struct sim_name, link)->node->hangs = false;
    LIST_EACH (link, &w->disk.hung) {
        list_remove(link);
        list_append(&w->ready, link);
    }
}

/* Most calls are served at once, some when other things have happened, some later. */
static void wait_for_turn(struct sim *w)
{
    uint64_t which = sim_below(w, 16);

    if (which == 0 && w->ways.slow_ms > 0)
        sim_fiber_pause(1 + sim_below(w, w->ways.slow_ms));
    else if (which < 5)
        sim_fiber_pause(0);
}

/* `volume` NULL: not known to hang. */
static void pass_call(struct sim *w, const struct sim_node *volume)
{
    if (sim_fiber_running() != NULL) {
        while (volume != NULL && volume->hangs)
            sim_fiber_wait(&w->disk.hung);
        if (w->ways.interleaves)
            wait_for_turn(w);
    }
    sim_process_call(w);
}

int sim_disk_begin(enum sim_disk_call what, const char *path)
{
    struct sim *w = sim_current();

    pass_call(w, w->disk.hanging == 0 ? NULL : sim_volume_of(path));
    return fault(what, path);
}

int sim_disk_begin_on(enum sim_disk_call what, const struct sim_node *n)
{
    struct sim *w = sim_current();
    int error;

    pass_call(w, n->volume);
    error = draw(w, what);
    if (error == 0)
        error = n->spoiled;
    if (error != 0)
        tell(w, what, n->path, n);
    return error;
}

/* ---- descriptors ---- */

static int open_node(struct sim_node *n, bool may_write, bool is_unnamed)
{
    struct sim *w = sim_current();
    struct sim_disk *d = &w->disk;

    for (int i = 0; i < SIM_FDS; i++) {
        if (d->fds[i].node != NULL)
            continue;
        d->fds[i] = (struct sim_fd){.node = n,
                                    .process = w->processes.running,
                                    .may_write = may_write,
                                    .is_unnamed = is_unnamed};
        n->uses++;
        return SIM_FD_DISK + i;
    }
    return -EMFILE;
}

struct sim_fd *sim_fd_of(int fd)
{
    struct sim_disk *d = &sim_current()->disk;

    if (fd < SIM_FD_DISK || fd >= SIM_FD_DISK + SIM_FDS || d->fds[fd - SIM_FD_DISK].node == NULL)
        sim_fault("a descriptor that is not open");
    return &d->fds[fd - SIM_FD_DISK];
}

int disk_open_unnamed(const char *directory)
{
    int error = sim_disk_begin(SIM_DISK_OPEN, directory), fd;
    struct sim_node *at = sim_node_at(directory), *n;

    if (error != 0)
        return error;
    if (at == NULL || !at->is_directory)
        return at == NULL ? -ENOENT : -ENOTDIR;
    if (sim_current()->disk.has_no_unnamed)
        return -EOPNOTSUPP;
    n = sim_node_new(false);
    n->volume = sim_volume_of(directory);
    fd = open_node(n, true, true);
    sim_node_unuse(n);
    return fd;
}

static int open_path(const char *path, bool may_write)
{
    int error = sim_disk_begin(SIM_DISK_OPEN, path);
    struct sim_node *n = sim_node_at(path);

    if (error != 0)
        return error;
    if (n == NULL || n->is_directory)
        return n == NULL ? -ENOENT : -EISDIR;
    return open_node(n, may_write, false);
}

int disk_open_read(const char *path)
{
    return open_path(path, false);
}

int disk_open_append(const char *path)
{
    return open_path(path, true);
}

int disk_create(const char *path)
{
    int error = sim_disk_begin(SIM_DISK_OPEN, path), fd;
    struct sim_node *n;

    if (error != 0)
        return error;
    n = sim_node_new(false);
    fd = open_node(n, true, false);
    if (fd >= 0 && (error = sim_node_link(n, path)) != 0) {
        disk_close(fd);
        fd = error;
    }
    sim_node_unuse(n);
    return fd;
}

static void close_fd(int fd)
{
    struct sim_fd *d = sim_fd_of(fd);
    struct sim_node *n = d->node;

    if (n->locked_by == fd)
        n->locked_by = 0;
    d->node = NULL;
    sim_node_unuse(n);
}

int disk_open_directory(const char *path)
{
    int error = sim_disk_begin(SIM_DISK_OPEN, path), fd;
    struct sim_node *n = sim_node_at(path);

    if (error == 0 && (n == NULL || !n->is_directory))
        error = n == NULL ? -ENOENT : -ENOTDIR;
    if (error != 0)
        return error;
    fd = open_node(n, false, false);
    if (fd >= 0)
        sim_fd_of(fd)->sync_failures = n->sync_failures;
    return fd;
}

int disk_close(int fd)
{
    if (sim_fiber_running() == NULL)
        sim_current()->disk.closed_on_loop++;
    close_fd(fd);
    return 0;
}

unsigned sim_disk_close_all(struct sim *w, const struct sim_process *p)
{
    unsigned count = 0;

    for (int i = 0; i < SIM_FDS; i++) {
        if (w->disk.fds[i].node == NULL || w->disk.fds[i].process != p)
            continue;
        close_fd(SIM_FD_DISK + i);
        count++;
    }
    return count;
}

int disk_lock(int fd)
{
    struct sim_node *n = sim_fd_of(fd)->node;
    int error = sim_disk_begin(SIM_DISK_OPEN, n->path);

    if (error == 0 && n->locked_by != 0 && n->locked_by != fd)
        error = -EAGAIN;
    if (error == 0)
        n->locked_by = fd;
    return error;
}

static struct disk_facts facts(const struct sim_node *n)
{
    return (struct disk_facts){n->text.len, n->changed_s, n->links, (uint64_t)(uintptr_t)n,
                               n->marks};
}

void disk_unlock(int fd)
{
    struct sim_node *n = sim_fd_of(fd)->node;

    sim_process_call(sim_current());
    if (n->locked_by == fd)
        n->locked_by = 0;
}

int disk_facts_of(int fd, struct disk_facts *facts_out)
{
    const struct sim_node *n = sim_fd_of(fd)->node;
    int error = sim_disk_begin(SIM_DISK_READ, n->path);

    if (error == 0)
        *facts_out = facts(n);
    return error;
}

int disk_facts_of_path(const char *path, struct disk_facts *facts_out)
{
    int error = sim_disk_begin(SIM_DISK_READ, path);
    const struct sim_node *n = sim_node_at(path);

    if (error == 0 && n == NULL)
        error = -ENOENT;
    if (error == 0)
        *facts_out = facts(n);
    return error;
}

/* ---- octets ---- */

void sim_text_cut(struct sim_text *t, uint64_t length)
{
    static const uint8_t nothing[4096];

    while (t->len < length) {
        uint64_t more = length - t->len;
        sim_put(t, bytes_make(nothing, more < sizeof(nothing) ? more : sizeof(nothing)));
    }
    t->len = length;
}

void sim_text_write(struct sim_text *t, uint64_t at, struct bytes octets)
{
    if (octets.len == 0)
        return;
    if (t->len < at + octets.len)
        sim_text_cut(t, at + octets.len);
    memcpy(t->at + at, octets.at, octets.len);
}

static void change(struct sim_node *n, bool is_cut, uint64_t at, struct bytes octets)
{
    if (is_cut)
        sim_text_cut(&n->text, at);
    else
        sim_text_write(&n->text, at, octets);
    n->changed_s = sim_wall_ms(sim_current()) / 1000;
    sim_change_add(n, is_cut, at, octets);
}

/* A disk that becomes full takes the beginning. */
int disk_write_at(int fd, uint64_t offset, struct bytes octets)
{
    struct sim_fd *d = sim_fd_of(fd);
    int error = d->may_write ? sim_disk_begin_on(SIM_DISK_WRITE, d->node) : -EBADF;

    if (error == -ENOSPC && octets.len > 0)
        octets = bytes_first(octets, (size_t)sim_below(sim_current(), octets.len));
    else if (error != 0)
        return error;
    if (octets.len > 0)
        change(d->node, false, offset, octets);
    return error;
}

int disk_write_pieces_at(int fd, uint64_t offset, const struct bytes *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        int error = disk_write_at(fd, offset, pieces[i]);
        if (error != 0)
            return error;
        offset += pieces[i].len;
    }
    return 0;
}

int disk_truncate(int fd, uint64_t length)
{
    struct sim_fd *d = sim_fd_of(fd);
    int error = d->may_write ? sim_disk_begin_on(SIM_DISK_WRITE, d->node) : -EBADF;

    if (error == 0)
        change(d->node, true, length, bytes_make(NULL, 0));
    return error;
}

/* A power cut leaves it as it is: it may have been written, and nothing depends on it. */
int disk_mark(int fd, unsigned marks)
{
    struct sim_node *n = sim_fd_of(fd)->node;
    int error = sim_disk_begin(SIM_DISK_WRITE, n->path);

    if (error == 0)
        n->marks = marks;
    return error;
}

int disk_read_at(int fd, uint64_t offset, void *into, size_t len)
{
    const struct sim_node *n = sim_fd_of(fd)->node;
    const struct sim_text *t = &n->text;
    int error = sim_disk_begin_on(SIM_DISK_READ, n);

    if (error != 0)
        return error;
    if (len == 0)
        return 0;
    if (offset > t->len || t->len - offset < len)
        return -EIO;
    if (offset < n->lost_to && offset + len > n->lost_from) {
        tell(sim_current(), SIM_DISK_READ, n->path, n);
        return -EIO;
    }
    memcpy(into, t->at + offset, len);
    return 0;
}

void disk_start_writing(int fd)
{
    (void)sim_fd_of(fd);
}

int disk_sync(int fd)
{
    struct sim_node *n = sim_fd_of(fd)->node;
    int error = sim_disk_begin_on(SIM_DISK_SYNC, n);

    if (error == 0)
        sim_changes_keep(n);
    else
        sim_changes_risk(n);
    return error;
}

int disk_free_bytes(const char *path, uint64_t *bytes_out)
{
    int error = sim_disk_begin(SIM_DISK_READ, path);

    if (error == 0 && sim_node_at(path) == NULL)
        error = -ENOENT;
    if (error == 0)
        *bytes_out = sim_current()->disk.free_bytes;
    return error;
}

int disk_read_file(const char *path, size_t max_bytes, uint8_t **octets_out, size_t *len_out)
{
    int error = sim_disk_begin(SIM_DISK_READ, path);
    const struct sim_node *n = sim_node_at(path);
    uint8_t *octets;

    if (error == 0)
        error = sim_node_trouble(path, true);

    if (error == 0 && (n == NULL || n->is_directory))
        error = n == NULL ? -ENOENT : -EISDIR;
    if (error == 0 && n->text.len > max_bytes)
        error = -EFBIG;
    if (error != 0)
        return error;
    octets = mem_alloc(n->text.len);
    if (octets == NULL)
        return ERR_MEMORY;
    if (n->text.len > 0)
        memcpy(octets, n->text.at, n->text.len);
    *octets_out = octets;
    *len_out = n->text.len;
    return 0;
}

bool sim_file_is_locked(struct sim *w, const char *path)
{
    const struct sim_node *n = sim_node_at(path);

    (void)w;
    return n != NULL && n->locked_by != 0;
}

bool sim_file_flip(struct sim *w, const char *path, uint64_t bit)
{
    struct sim_node *n = sim_node_at(path);
    uint8_t mask = (uint8_t)(1u << bit % 8);

    (void)w;
    if (n == NULL || n->is_directory || bit / 8 >= n->text.len)
        return false;
    n->text.at[bit / 8] ^= mask;
    if (bit / 8 < n->durable.len)
        n->durable.at[bit / 8] ^= mask;
    return true;
}

uint64_t sim_closed_on_loop(const struct sim *w)
{
    return w->disk.closed_on_loop;
}

unsigned sim_open_files(const struct sim *w)
{
    unsigned count = 0;

    for (int i = 0; i < SIM_FDS; i++)
        count += w->disk.fds[i].node != NULL;
    return count;
}
