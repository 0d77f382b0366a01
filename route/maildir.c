/* SPDX-License-Identifier: BSD-2-Clause */
/* Maildirs: a file of its own for each recipient, in tmp/ until the commit renames it to new/. */
#include "route/maildir.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/header.h"
#include "route/carrier.h"
#include "route/maildir_file_private.h"
#include "route/maildir_path_private.h"

#define HEAD_MAX_BYTES 8192 /* the lines that stand before the message */

/* Jobs of one Maildir leave a thread to the others. */
#define JOBS_EACH (TARGET_JOBS_MAX - 1)

struct maildir {
    struct target target;
    struct target_services *services;
    const struct maildir_conf *conf;
    struct work_lane lane;
};

enum maildir_step { STEP_IDLE, STEP_WRITE, STEP_COMMIT, STEP_CLEAN }; /* the job that runs */
enum maildir_wish { WISH_NONE, WISH_PREPARE, WISH_COMMIT };           /* for the next flush */

/* The branch's shell. It is not in the mail arena: a job may outlive the transaction, and owns
 * what it works on. */
struct maildir_branch {
    struct work_lane_job job;
    struct maildir *maildir;
    struct carrier *carrier;
    struct branch *branch; /* NULL: dropped, or done */
    struct reader reader;
    struct maildir_files files;
    enum maildir_step step; /* until what follows from it was told */
    enum maildir_wish wish;
};

static struct maildir *maildir_of(struct target *t)
{
    return CONTAINER_OF(t, struct maildir, target);
}

static struct loop *loop_of(const struct maildir_branch *m)
{
    return m->maildir->services->loop;
}

/* ---- jobs ---- */

static struct maildir_files *files_of(struct work_lane_job *job)
{
    return &CONTAINER_OF(job, struct maildir_branch, job)->files;
}

static void run_write(struct work_lane_job *job)
{
    maildir_file_write(files_of(job));
}

static void run_commit(struct work_lane_job *job)
{
    maildir_file_commit(files_of(job));
}

static void run_clean(struct work_lane_job *job)
{
    maildir_file_clean(files_of(job));
}

static void on_done(struct work_lane_job *job);

static void start(struct maildir_branch *m, enum maildir_step step,
                  void (*run)(struct work_lane_job *job))
{
    m->step = step;
    m->job = (struct work_lane_job){.run = run, .done = on_done};
    work_lane_run(&m->maildir->lane, &m->job);
}

static void free_branch(struct maildir_branch *m)
{
    for (size_t i = 0; i < m->files.count; i++) {
        mem_free(m->files.at[i].directory);
        mem_free(m->files.at[i].name);
    }
    mem_free(m->files.at);
    if (m->files.chunk != NULL)
        pool_give(&loop_pools(loop_of(m))->chunk, m->files.chunk);
    mem_free(m);
}

/* Nobody wants the files: no trace is left. */
static void give_up(struct maildir_branch *m)
{
    start(m, STEP_CLEAN, run_clean);
}

/* ---- what is told ---- */

static void report(struct maildir_branch *m, const struct event *ev)
{
    struct event told = *ev;

    told.branch = m->branch;
    carrier_report(m->carrier, &told);
}

static void log_failed(struct maildir_branch *m, const struct maildir_file *file)
{
    const struct target_services *services = m->maildir->services;
    struct log_line line =
        log_begin(services->log, services->log_sinks, LOG_LEVEL_ERROR, "maildir-failed");

    log_put_text(&line, "transaction", m->branch->transaction->envelope.id.text);
    log_put(&line, "target", m->maildir->target.name);
    log_put_text(&line, "directory", file->directory);
    log_put_error(&line, "error", file->error);
    log_end(&line);
}

static void detach(struct maildir_branch *m)
{
    reader_close(&m->reader);
    m->branch->shell = NULL;
    m->branch = NULL;
}

/* ---- writing ---- */

/* In a Maildir lines end in LF. Content has no CR but before LF, so that all of them go. */
static void put_in_chunk(struct maildir_branch *m, struct bytes octets)
{
    struct maildir_files *files = &m->files;

    while (octets.len != 0) {
        struct bytes run = bytes_first(octets, bytes_find(octets, '\r'));
        if (run.len != 0)
            memcpy(files->chunk + files->chunk_bytes, run.at, run.len);
        files->chunk_bytes += run.len;
        octets = bytes_skip(octets, run.len < octets.len ? run.len + 1 : run.len);
    }
}

/* The lines that stand before the message. */
static int put_head(struct maildir_branch *m)
{
    const struct recipient *rcpt = m->files.at[m->files.current].rcpt;
    const struct transaction *t = m->branch->transaction;
    struct header_trace trace = {
        .client = t->client,
        .by = m->carrier->hostname,
        .id = bytes_of(t->envelope.id.text),
        .rcpt = &rcpt->original,
        .wall_s = loop_wall_ms(loop_of(m)) / 1000,
    };
    struct buf head;

    buf_init(&head, &loop_pools(loop_of(m))->medium, HEAD_MAX_BYTES);
    buf_text(&head, "Return-Path: <");
    address_put(&head, &t->envelope.from);
    buf_text(&head, ">\r\nDelivered-To: ");
    address_put(&head, &rcpt->to);
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
    size_t room = loop_pools(loop_of(m))->chunk.block_bytes;
    struct bytes piece;

    while (m->files.chunk_bytes < room && reader_left(&m->reader) != 0) {
        if (reader_pieces(&m->reader, &piece, 1) == 0)
            return m->files.chunk_bytes != 0;
        if (m->reader.at == 0 && header_would_continue(piece))
            put_in_chunk(m, bytes_of("\r\n")); /* our own lines end here */
        piece = bytes_first(piece, room - m->files.chunk_bytes);
        put_in_chunk(m, piece);
        reader_advance(&m->reader, piece.len);
    }
    return true;
}

/* `error`: of all that is not written yet. */
static void tell_prepared(struct maildir_branch *m, int error)
{
    report(m, &(struct event){.kind = EV_PREPARED, .error = error});
}

/* Writes on, or says that everything is prepared. */
static void write_on(struct maildir_branch *m)
{
    struct maildir_files *files = &m->files;
    int error = copy_error(m->carrier->copy);

    if (error != 0 || files->current == files->count) {
        tell_prepared(m, error);
        return;
    }
    files->chunk_bytes = 0;
    error = files->fd < 0 ? put_head(m) : 0;
    if (error != 0) {
        tell_prepared(m, error);
        return;
    }
    if (!fill_chunk(m))
        return; /* on_more() goes on */
    files->is_last_chunk = reader_left(&m->reader) == 0;
    start(m, STEP_WRITE, run_write);
}

static void on_more(struct reader *r)
{
    struct maildir_branch *m = CONTAINER_OF(r, struct maildir_branch, reader);
    if (m->step == STEP_IDLE && m->files.chunk != NULL)
        write_on(m);
}

/* The current file is written, or cannot be: its recipient alone has that outcome. */
static void next_file(struct maildir_branch *m)
{
    const struct maildir_file *file = &m->files.at[m->files.current++];

    m->files.offset = 0;
    reader_rewind(&m->reader);
    if (file->error == 0)
        return;
    log_failed(m, file);
    report(m, &(struct event){.kind = EV_PREPARED, .rcpt = file->rcpt, .error = file->error});
}

static void after_write(struct maildir_branch *m)
{
    m->files.offset += m->files.chunk_bytes;
    if (m->job.error == 0 && m->files.fd < 0)
        next_file(m);
    m->step = STEP_IDLE;
    if (m->branch == NULL)
        give_up(m);
    else if (m->job.error != 0)
        tell_prepared(m, m->job.error);
    else
        write_on(m);
}

/* ---- committing ---- */

static void tell_file(struct maildir_branch *m, struct maildir_file *file)
{
    if (m->job.error != 0)
        file->error = m->job.error;
    if (file->error != 0)
        log_failed(m, file);
    report(m, &(struct event){.kind = EV_COMMITTED,
                              .rcpt = file->rcpt,
                              .error = file->error,
                              .may_be_there = file->error != 0 && file->may_be_there});
}

/* The branch is over with its commit, whatever became of it. */
static void after_commit(struct maildir_branch *m)
{
    for (size_t i = 0; i < m->files.count && m->branch != NULL; i++)
        if (m->files.at[i].is_kept)
            tell_file(m, &m->files.at[i]);
    struct branch *b = m->branch;
    struct carrier *carrier = m->carrier;
    if (b != NULL)
        detach(m);
    if (m->job.error == 0)
        free_branch(m);
    else
        give_up(m);
    if (b != NULL)
        carrier_report(carrier, &(struct event){.kind = EV_COMMITTED, .branch = b});
}

static void on_done(struct work_lane_job *job)
{
    struct maildir_branch *m = CONTAINER_OF(job, struct maildir_branch, job);

    if (m->step == STEP_CLEAN)
        free_branch(m);
    else if (m->step == STEP_COMMIT)
        after_commit(m);
    else if (m->branch == NULL)
        give_up(m);
    else
        after_write(m);
}

/* ---- operations ---- */

static void open_branch(struct carrier *c, struct branch *b)
{
    struct maildir *maildir = maildir_of(b->target);
    struct maildir_branch *m = mem_zalloc(sizeof(*m));

    b->facts.target = maildir->target.name;
    b->facts.address = maildir->conf->path;
    b->facts.identity = bytes_of("none");
    if (m == NULL)
        return;
    m->maildir = maildir;
    m->carrier = c;
    m->branch = b;
    m->files.fd = -1;
    m->files.is_all_or_nothing = !c->is_spooled;
    b->shell = m;
}

/* Routes have asked refuses() already: every recipient is fine. */
static void rcpt(struct branch *b, struct recipient *rcpt)
{
    (void)b;
    (void)rcpt;
}

/* The tables have asked refuses() already; who reroutes what is spooled has not. */
static void answer_recipients(struct branch *b)
{
    LIST_EACH (link, &b->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        struct maildir_branch *m = b->shell;
        if (m == NULL)
            return;
        if (r->envelope != FATE_OPEN)
            continue;
        bool is_taken = maildir_path_takes(m->maildir->conf, &r->to);
        carrier_report(m->carrier,
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
    const struct maildir *maildir = m->maildir;
    size_t count = 0;

    LIST_EACH (link, &m->branch->recipients)
        count++;
    m->files.at = mem_zalloc(count * sizeof(*m->files.at));
    m->files.chunk = pool_take(&loop_pools(loop_of(m))->chunk);
    if (m->files.at == NULL || m->files.chunk == NULL)
        return ERR_MEMORY;
    LIST_EACH (link, &m->branch->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        struct maildir_file *file = &m->files.at[m->files.count];
        if (!transaction_awaits(r))
            continue;
        m->files.count++;
        file->rcpt = r;
        file->directory = maildir_path_directory(loop_of(m), maildir->conf, &r->to);
        file->name = maildir_path_new_name(loop_of(m), maildir->conf->hostname);
        if (file->directory == NULL || file->name == NULL)
            return ERR_MEMORY;
    }
    if (m->files.count != 0) /* the first one, for the log */
        (void)arena_copy(m->branch->transaction->mail, bytes_of(m->files.at[0].directory),
                         &m->branch->facts.address);
    return 0;
}

static void start_prepare(struct maildir_branch *m)
{
    int error = make_file_list(m);

    reader_open(&m->reader, m->carrier->copy, on_more);
    if (error != 0)
        tell_prepared(m, error);
    else
        write_on(m);
}

static void start_commit(struct maildir_branch *m)
{
    for (size_t i = 0; i < m->files.count; i++)
        m->files.at[i].is_kept = transaction_awaits(m->files.at[i].rcpt);
    start(m, STEP_COMMIT, run_commit);
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
    if (m->files.count != 0)
        give_up(m);
    else
        free_branch(m);
}

/* ---- the target ---- */

/* Nobody makes the reports of DSN that it would owe. */
static uint32_t capabilities(struct target *t)
{
    (void)t;
    return ~(uint32_t)CAPABILITY_DSN;
}

static struct target_view view(struct target *t)
{
    (void)t;
    return (struct target_view){.state = "up"};
}

/* Jobs that run finish by themselves. */
static void free_target(struct target *t)
{
    mem_free(maildir_of(t));
}

static const struct target_ops ops = {
    .open = open_branch,
    .rcpt = rcpt,
    .go = go,
    .prepare = prepare,
    .commit = commit,
    .drop = drop,
    .flush = flush,
    .capabilities = capabilities,
    .view = view,
    .free = free_target,
};

static struct target describe(const void *settings)
{
    const struct maildir_conf *conf = settings;

    return (struct target){
        .kind = &maildir_kind,
        .conf = conf,
        .name = conf->section,
        .can_prepare = true,
        .queue = &maildir_conf_queue,
    };
}

static enum reply_id refuses(const struct target *t, const struct address *to)
{
    return maildir_path_takes(t->conf, to) ? REPLY_OK : REPLY_MAILBOX_NAME;
}

static struct target *open_target(struct target_services *services, const void *conf)
{
    struct maildir *m = mem_zalloc(sizeof(*m));

    if (m == NULL)
        return NULL;
    m->target = describe(conf);
    m->target.ops = &ops;
    m->services = services;
    m->conf = conf;
    work_lane_init(&m->lane, &services->road, JOBS_EACH);
    return &m->target;
}

const struct target_kind maildir_kind = {
    .section = &maildir_conf_section,
    .finish = maildir_conf_finish,
    .describe = describe,
    .refuses = refuses,
    .open = open_target,
};
