/* SPDX-License-Identifier: BSD-2-Clause */
/* Maildirs: a file of its own for each recipient, in tmp/ until the commit renames it to new/. */
#include "route/maildir.h"

#include <errno.h>
#include <limits.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/io/work.h"
#include "proxy/smtp/header.h"

#define PATH_MAX_BYTES 2048
#define PATH_ROOM      (2 * PATH_MAX_BYTES + 8) /* directory, folder and name */
#define HEAD_MAX_BYTES 8192                     /* the lines that stand before the message */

struct maildir {
    struct target target;
    struct loop *loop;
    const struct maildir_conf *conf;
    struct bytes hostname;
};

/* One recipient's file. */
struct maildir_file {
    struct recipient *rcpt;
    char *directory; /* the Maildir */
    char *name;      /* the same in tmp/ and new/ */
    bool is_made;    /* tmp/ has it */
    bool is_kept;    /* the commit shall rename it */
};

enum maildir_step { STEP_IDLE, STEP_WRITE, STEP_COMMIT, STEP_CLEAN }; /* the job that runs */
enum maildir_wish { WISH_NONE, WISH_PREPARE, WISH_COMMIT };           /* for the next flush */

/* The branch's shell. It is not in the mail arena: a job may outlive the transaction, and owns
 * what it works on. */
struct maildir_branch {
    struct work work;
    struct maildir *maildir;
    struct carrier *carrier;
    struct branch *branch; /* NULL: dropped, or done */
    struct reader reader;
    struct maildir_file *files;
    size_t file_count, current;
    enum maildir_step step;
    enum maildir_wish wish;
    int fd; /* of the current file; -1: not open */
    uint64_t offset;
    uint8_t *chunk; /* what the job writes now: its own octets */
    size_t chunk_bytes;
    bool is_last_chunk;
    int error;
};

/* ---- paths ---- */

static struct bytes variable_of(const struct maildir *m, struct bytes path,
                                const struct address *to, size_t *used_out)
{
    static const char local[] = "${RCPT_LOCAL}", domain[] = "${RCPT_DOMAIN}";

    if (path.len >= sizeof(local) - 1 && memcmp(path.at, local, sizeof(local) - 1) == 0) {
        *used_out = sizeof(local) - 1;
        return to->local;
    }
    if (path.len >= sizeof(domain) - 1 && memcmp(path.at, domain, sizeof(domain) - 1) == 0) {
        *used_out = sizeof(domain) - 1;
        return to->domain.len != 0 ? to->domain : m->hostname;
    }
    *used_out = 0;
    return bytes_make(NULL, 0);
}

/* A value that could lead elsewhere in the file system, or to nothing, is none. */
static bool is_safe(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] == '/' || value.at[i] < 0x20 || value.at[i] == 0x7f)
            return false;
    return value.len > 0 && value.len <= NAME_MAX && value.at[0] != '.';
}

bool maildir_takes(const struct maildir *m, const struct address *to)
{
    for (struct bytes path = m->conf->path; path.len != 0; path = bytes_skip(path, 1)) {
        size_t used;
        struct bytes value = variable_of(m, path, to, &used);
        if (used != 0 && !is_safe(value))
            return false;
    }
    return true;
}

static void put_value(struct buf *out, struct bytes value, bool keeps_case)
{
    for (size_t i = 0; i < value.len; i++)
        buf_byte(out, keeps_case ? value.at[i] : byte_lower(value.at[i]));
}

static char *finish_text(struct buf *text)
{
    char *copy = NULL;

    buf_byte(text, '\0');
    if (!text->has_failed)
        copy = mem_alloc(buf_length(text));
    if (copy != NULL)
        memcpy(copy, buf_bytes(text).at, buf_length(text));
    buf_done(text);
    return copy;
}

static void begin_text(struct maildir *m, struct buf *text)
{
    buf_init(text, &loop_pools(m->loop)->medium, PATH_MAX_BYTES);
}

static char *directory_of(struct maildir *m, const struct address *to)
{
    struct buf text;
    struct bytes path = m->conf->path;

    begin_text(m, &text);
    while (path.len != 0) {
        size_t used;
        struct bytes value = variable_of(m, path, to, &used);
        if (used == 0) {
            buf_byte(&text, path.at[0]);
            used = 1;
        } else {
            put_value(&text, value, to->keeps_case);
        }
        path = bytes_skip(path, used);
    }
    return finish_text(&text);
}

/* Time, chance and host: unique without asking anybody. */
static char *new_name(struct maildir *m)
{
    static const char digits[] = "0123456789abcdef";
    struct buf text;
    uint64_t wall_ms = (uint64_t)loop_wall_ms(m->loop), chance = loop_random(m->loop);

    begin_text(m, &text);
    buf_decimal(&text, wall_ms / 1000);
    buf_text(&text, ".M");
    buf_decimal(&text, wall_ms % 1000 * 1000);
    buf_text(&text, "R");
    for (int i = 0; i < 16; i++, chance >>= 4)
        buf_byte(&text, (uint8_t)digits[chance & 15]);
    buf_text(&text, ".");
    for (size_t i = 0; i < m->hostname.len; i++) {
        uint8_t c = m->hostname.at[i];
        buf_byte(&text, c == '/' || c == ':' ? '_' : c);
    }
    return finish_text(&text);
}

static const char *join(char path[PATH_ROOM], const char *directory, const char *folder,
                        const char *name)
{
    size_t directory_len = strlen(directory), folder_len = strlen(folder);

    memcpy(path, directory, directory_len);
    memcpy(path + directory_len, folder, folder_len);
    memcpy(path + directory_len + folder_len, name, strlen(name) + 1);
    return path;
}

static const char *path_of(char path[PATH_ROOM], const struct maildir_file *file,
                           const char *folder)
{
    return join(path, file->directory, folder, file->name);
}

/* ---- jobs: pool threads ---- */

/* tmp/ is made last: where it is, the others are, wherever making them was cut short. */
static int make_file(struct maildir_file *file)
{
    static const char *const folders[] = {"/new/", "/cur/", "/tmp/"};
    char path[PATH_ROOM];
    int fd = disk_create(path_of(path, file, "/tmp/"));

    if (fd != -ENOENT)
        return fd;
    for (size_t i = 0; i < ARRAY_LENGTH(folders); i++) {
        int error = disk_make_directories(join(path, file->directory, folders[i], ""));
        if (error != 0)
            return error;
    }
    return disk_create(path_of(path, file, "/tmp/"));
}

static void run_write(struct work *w)
{
    struct maildir_branch *m = CONTAINER_OF(w, struct maildir_branch, work);
    struct maildir_file *file = &m->files[m->current];

    if (m->fd < 0) {
        m->fd = make_file(file);
        if (m->fd < 0) {
            m->error = m->fd;
            return;
        }
        file->is_made = true;
    }
    m->error = disk_write_at(m->fd, m->offset, bytes_make(m->chunk, m->chunk_bytes));
    if (m->error == 0 && m->is_last_chunk)
        m->error = disk_sync(m->fd);
}

static int appear(struct maildir_file *file)
{
    char from[PATH_ROOM], to[PATH_ROOM];
    int error = disk_rename(path_of(from, file, "/tmp/"), path_of(to, file, "/new/"));

    if (error != 0)
        return error;
    file->is_made = false;
    return disk_sync_directory(join(to, file->directory, "/new", ""));
}

static void clean(struct maildir_branch *m)
{
    char path[PATH_ROOM];

    for (size_t i = 0; i < m->file_count; i++)
        if (m->files[i].is_made)
            disk_unlink(path_of(path, &m->files[i], "/tmp/"));
}

static void run_commit(struct work *w)
{
    struct maildir_branch *m = CONTAINER_OF(w, struct maildir_branch, work);

    for (size_t i = 0; i < m->file_count && m->error == 0; i++)
        if (m->files[i].is_kept)
            m->error = appear(&m->files[i]);
    clean(m);
}

static void run_clean(struct work *w)
{
    clean(CONTAINER_OF(w, struct maildir_branch, work));
}

/* ---- the branch on the loop ---- */

static void free_branch(struct maildir_branch *m)
{
    for (size_t i = 0; i < m->file_count; i++) {
        mem_free(m->files[i].directory);
        mem_free(m->files[i].name);
    }
    mem_free(m->files);
    if (m->fd >= 0)
        disk_close(m->fd);
    if (m->chunk != NULL)
        pool_give(&loop_pools(m->maildir->loop)->chunk, m->chunk);
    mem_free(m);
}

static void on_done(struct work *w);

/* From 0 on all but `branch` and `step` is the job's until on_done(), m->error too. */
static int start(struct maildir_branch *m, enum maildir_step step, void (*run)(struct work *w))
{
    m->step = step;
    m->work = (struct work){.run = run, .done = on_done};
    int error = work_run(m->maildir->loop, &m->work);
    if (error != 0)
        m->step = STEP_IDLE;
    return error;
}

/* Nobody wants the files: no trace is left. */
static void give_up(struct maildir_branch *m)
{
    if (start(m, STEP_CLEAN, run_clean) != 0)
        free_branch(m);
}

/* In a Maildir lines end in LF. Content has no CR but before LF, so that all of them go. */
static void put_in_chunk(struct maildir_branch *m, struct bytes octets)
{
    while (octets.len != 0) {
        struct bytes run = bytes_first(octets, bytes_find(octets, '\r'));
        if (run.len != 0)
            memcpy(m->chunk + m->chunk_bytes, run.at, run.len);
        m->chunk_bytes += run.len;
        octets = bytes_skip(octets, run.len < octets.len ? run.len + 1 : run.len);
    }
}

/* The lines that stand before the message. */
static int put_head(struct maildir_branch *m)
{
    const struct maildir_file *file = &m->files[m->current];
    const struct transaction *t = m->branch->transaction;
    struct header_trace trace = {
        .client = t->client,
        .by = m->carrier->hostname,
        .id = bytes_of(t->envelope.id.text),
        .rcpt = &file->rcpt->original,
        .wall_s = loop_wall_ms(m->maildir->loop) / 1000,
    };
    struct buf head;

    buf_init(&head, &loop_pools(m->maildir->loop)->medium, HEAD_MAX_BYTES);
    buf_text(&head, "Return-Path: <");
    address_put(&head, &t->envelope.from);
    buf_text(&head, ">\r\nDelivered-To: ");
    address_put(&head, &file->rcpt->to);
    buf_text(&head, "\r\n");
    header_put_received(&head, &trace);
    int error = head.has_failed ? ERR_MEMORY : 0;
    if (error == 0)
        put_in_chunk(m, buf_bytes(&head));
    buf_done(&head);
    return error;
}

/* Takes the next octets of the copy into the chunk. False: they are being read back. */
static bool fill_chunk(struct maildir_branch *m)
{
    size_t room = loop_pools(m->maildir->loop)->chunk.block_bytes;
    struct bytes piece;

    while (m->chunk_bytes < room && reader_left(&m->reader) != 0) {
        if (reader_pieces(&m->reader, &piece, 1) == 0)
            return m->chunk_bytes != 0;
        piece = bytes_first(piece, room - m->chunk_bytes);
        put_in_chunk(m, piece);
        reader_advance(&m->reader, piece.len);
    }
    return true;
}

static void report(struct maildir_branch *m, enum event_kind kind, int error)
{
    target_report(m->carrier, &(struct event){.kind = kind, .branch = m->branch, .error = error});
}

static void detach(struct maildir_branch *m)
{
    reader_close(&m->reader);
    m->branch->shell = NULL;
    m->branch = NULL;
}

/* Writes on, or says that everything is prepared. */
static void write_on(struct maildir_branch *m)
{
    if (m->error == 0 && copy_error(m->carrier->copy) != 0)
        m->error = copy_error(m->carrier->copy);
    if (m->error != 0 || m->current == m->file_count) {
        report(m, EV_PREPARED, m->error);
        return;
    }
    m->chunk_bytes = 0;
    int error = m->fd < 0 ? put_head(m) : 0;
    if (error == 0 && !fill_chunk(m))
        return; /* on_more() goes on */
    m->is_last_chunk = reader_left(&m->reader) == 0;
    if (error == 0)
        error = start(m, STEP_WRITE, run_write);
    if (error != 0)
        report(m, EV_PREPARED, error);
}

static void on_more(struct reader *r)
{
    struct maildir_branch *m = CONTAINER_OF(r, struct maildir_branch, reader);
    if (m->step == STEP_IDLE && m->chunk != NULL)
        write_on(m);
}

static void after_write(struct maildir_branch *m)
{
    m->offset += m->chunk_bytes;
    if (m->error == 0 && m->is_last_chunk) {
        disk_close(m->fd);
        m->fd = -1;
        m->offset = 0;
        m->current++;
        reader_rewind(&m->reader);
    }
    write_on(m);
}

/* The branch is over with its commit, whatever became of it. */
static void tell_committed(struct maildir_branch *m, bool is_clean)
{
    struct branch *b = m->branch;
    struct carrier *carrier = m->carrier;
    int error = m->error;

    detach(m);
    if (is_clean)
        free_branch(m);
    else
        give_up(m);
    target_report(carrier, &(struct event){.kind = EV_COMMITTED, .branch = b, .error = error});
}

static void on_done(struct work *w)
{
    struct maildir_branch *m = CONTAINER_OF(w, struct maildir_branch, work);
    enum maildir_step step = m->step;

    m->step = STEP_IDLE;
    if (step == STEP_CLEAN || (m->branch == NULL && step == STEP_COMMIT)) {
        free_branch(m);
    } else if (m->branch == NULL) {
        give_up(m);
    } else if (step == STEP_WRITE) {
        after_write(m);
    } else {
        tell_committed(m, true);
    }
}

/* ---- operations ---- */

static void open_branch(struct carrier *c, struct branch *b)
{
    struct maildir *maildir = CONTAINER_OF(b->target, struct maildir, target);
    struct maildir_branch *m = mem_zalloc(sizeof(*m));

    b->facts.target = maildir->target.name;
    b->facts.address = maildir->conf->path;
    b->facts.identity = bytes_of("none");
    if (m == NULL)
        return;
    m->maildir = maildir;
    m->carrier = c;
    m->branch = b;
    m->fd = -1;
    b->shell = m;
}

/* Routes have asked maildir_takes() already: every recipient is fine. */
static void rcpt(struct branch *b, struct recipient *rcpt)
{
    (void)b;
    (void)rcpt;
}

/* The tables have asked maildir_takes() already; who reroutes what is spooled has not. */
static void answer_recipients(struct branch *b)
{
    LIST_EACH (link, &b->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        struct maildir_branch *m = b->shell;
        if (m == NULL)
            return;
        if (r->envelope != FATE_OPEN)
            continue;
        bool is_taken = maildir_takes(m->maildir, &r->to);
        target_report(m->carrier,
                      &(struct event){
                          .kind = EV_ANSWER,
                          .branch = b,
                          .rcpt = r,
                          .fate = is_taken ? FATE_ACCEPTED : FATE_REFUSED,
                          .reply = reply_own(is_taken ? REPLY_RECIPIENT_OK : REPLY_MAILBOX_NAME)});
    }
}

static void go(struct branch *b)
{
    (void)b; /* content is read from the copy when it is whole */
}

static int make_file_list(struct maildir_branch *m)
{
    size_t count = 0;

    LIST_EACH (link, &m->branch->recipients)
        count++;
    m->files = mem_zalloc(count * sizeof(*m->files));
    m->chunk = pool_take(&loop_pools(m->maildir->loop)->chunk);
    if (m->files == NULL || m->chunk == NULL)
        return ERR_MEMORY;
    LIST_EACH (link, &m->branch->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        struct maildir_file *file = &m->files[m->file_count];
        if (!transaction_stands(r))
            continue;
        m->file_count++;
        file->rcpt = r;
        file->directory = directory_of(m->maildir, &r->to);
        file->name = new_name(m->maildir);
        if (file->directory == NULL || file->name == NULL)
            return ERR_MEMORY;
    }
    if (m->file_count != 0) /* the first one, for the log */
        (void)arena_copy(m->branch->transaction->mail, bytes_of(m->files[0].directory),
                         &m->branch->facts.address);
    return 0;
}

static void start_prepare(struct maildir_branch *m)
{
    reader_open(&m->reader, m->carrier->copy, on_more);
    m->error = make_file_list(m);
    write_on(m);
}

static void start_commit(struct maildir_branch *m)
{
    for (size_t i = 0; i < m->file_count; i++)
        m->files[i].is_kept = m->files[i].rcpt->final == FATE_ACCEPTED;
    int error = start(m, STEP_COMMIT, run_commit);
    if (error != 0) {
        m->error = error;
        tell_committed(m, false);
    }
}

static void prepare(struct branch *b)
{
    ((struct maildir_branch *)b->shell)->wish = WISH_PREPARE;
}

static void commit(struct branch *b)
{
    ((struct maildir_branch *)b->shell)->wish = WISH_COMMIT;
}

static void flush(struct branch *b)
{
    struct maildir_branch *m = b->shell;
    enum maildir_wish wish = m->wish;

    m->wish = WISH_NONE;
    if (wish == WISH_PREPARE)
        start_prepare(m);
    else if (wish == WISH_COMMIT)
        start_commit(m);
    else
        answer_recipients(b);
}

static void drop(struct branch *b)
{
    struct maildir_branch *m = b->shell;

    if (m == NULL)
        return;
    detach(m);
    if (m->step != STEP_IDLE)
        return; /* on_done() cleans up */
    if (m->file_count != 0)
        give_up(m);
    else
        free_branch(m);
}

static const struct target_ops ops = {
    .kind = "maildir",
    .open = open_branch,
    .rcpt = rcpt,
    .go = go,
    .prepare = prepare,
    .commit = commit,
    .drop = drop,
    .flush = flush,
};

/* ---- the target ---- */

struct maildir *maildir_new(struct loop *l, const struct maildir_conf *conf, struct bytes hostname)
{
    struct maildir *m = mem_zalloc(sizeof(*m));
    if (m == NULL)
        return NULL;
    m->target = (struct target){
        .ops = &ops, .name = conf->section, .can_prepare = true, .queue = &maildir_conf_queue};
    m->loop = l;
    m->conf = conf;
    m->hostname = hostname;
    return m;
}

void maildir_free(struct maildir **m)
{
    mem_free(*m);
    *m = NULL;
}

struct target *maildir_target(struct maildir *m)
{
    return &m->target;
}
