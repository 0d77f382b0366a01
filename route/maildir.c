/* SPDX-License-Identifier: BSD-2-Clause */
/* Maildirs: one file for each recipient, in tmp/ until the commit renames it to new/. */
#include "route/maildir.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/header.h"
#include "route/carrier.h"
#include "route/maildir_file_private.h"
#include "route/maildir_path_private.h"
#include "route/outgoing.h"

#define FIELDS_MAX_BYTES 8192 /* of the header fields that we add */

/* The jobs of one Maildir leave a thread to the others. */
#define JOBS_EACH (TARGET_JOBS_MAX - 1)

struct maildir {
    struct target target;
    struct target_services *services;
    const struct maildir_conf *conf;
    struct work_lane lane;
};

enum maildir_step { STEP_IDLE, STEP_WRITE, STEP_COMMIT, STEP_CLEAN }; /* the job that runs */
enum maildir_wish { WISH_NONE, WISH_PREPARE, WISH_COMMIT };           /* for the next flush */

/* The branch's shell. Not in the mail arena: a job may outlive the transaction, and owns what it
 * works on. */
struct maildir_branch {
    struct work_lane_job job;
    struct maildir *maildir;
    struct carrier *carrier;
    struct branch *branch; /* NULL: the branch was dropped, or is done */
    struct outgoing message;
    struct buf received; /* our own field for the current file */
    struct maildir_files files;
    enum maildir_step step; /* reset when its result has been reported */
    enum maildir_wish wish;
};

static struct maildir *maildir_of(struct target *target)
{
    return CONTAINER_OF(target, struct maildir, target);
}

static struct loop *loop_of(const struct maildir_branch *shell)
{
    return shell->maildir->services->loop;
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

static void start(struct maildir_branch *shell, enum maildir_step step,
                  void (*run)(struct work_lane_job *job))
{
    assert(shell->step == STEP_IDLE || step == STEP_CLEAN);
    shell->step = step;
    shell->job = (struct work_lane_job){.run = run, .done = on_done};
    work_lane_run(&shell->maildir->lane, &shell->job);
}

static void free_branch(struct maildir_branch *shell)
{
    assert(shell->branch == NULL);
    for (size_t i = 0; i < shell->files.count; i++) {
        mem_free(shell->files.at[i].directory);
        mem_free(shell->files.at[i].name);
    }
    mem_free(shell->files.at);
    if (shell->files.chunk != NULL)
        pool_give(&loop_pools(loop_of(shell))->chunk, shell->files.chunk);
    buf_done(&shell->received);
    mem_free(shell);
}

/* Nobody needs the files any more: removes every trace of them. */
static void give_up(struct maildir_branch *shell)
{
    start(shell, STEP_CLEAN, run_clean);
}

/* ---- reports ---- */

static void report(struct maildir_branch *shell, const struct event *ev)
{
    struct event told = *ev;

    told.branch = shell->branch;
    carrier_report(shell->carrier, &told);
}

static void log_failed(struct maildir_branch *shell, const struct maildir_file *file)
{
    const struct target_services *services = shell->maildir->services;
    const struct envelope *envelope = &shell->branch->transaction->envelope;
    struct log_line line =
        log_begin(services->log, services->log_sinks, LOG_LEVEL_ERROR, "maildir-failed");

    if (envelope->session.text[0] != '\0')
        log_put_text(&line, "session", envelope->session.text);
    log_put_text(&line, "transaction", envelope->id.text);
    log_put(&line, "target", shell->maildir->target.name);
    log_put_text(&line, "directory", file->directory);
    log_put_error(&line, "error", file->error);
    log_end(&line);
}

static void detach(struct maildir_branch *shell)
{
    assert(shell->branch != NULL && shell->branch->shell == shell);
    outgoing_close(&shell->message);
    shell->branch->shell = NULL;
    shell->branch = NULL;
}

/* ---- writing ---- */

/* In a Maildir lines end in LF. Content has CR only before LF, so all CR are left out. A binary
 * message stays as it is: its body may be no lines at all. */
static void put_in_chunk(struct maildir_branch *shell, struct bytes octets)
{
    struct maildir_files *files = &shell->files;
    bool is_binary = shell->branch->transaction->envelope.is_binary;

    while (octets.len != 0) {
        struct bytes run = is_binary ? octets : bytes_first(octets, bytes_find(octets, '\r'));
        assert(run.len <= loop_pools(loop_of(shell))->chunk.block_bytes - files->chunk_bytes);
        if (run.len != 0)
            memcpy(files->chunk + files->chunk_bytes, run.at, run.len);
        files->chunk_bytes += run.len;
        octets = bytes_skip(octets, run.len < octets.len ? run.len + 1 : run.len);
    }
}

static const struct recipient *current_rcpt(const struct maildir_branch *shell)
{
    return shell->files.at[shell->files.current].rcpt;
}

/* The message is read from its start for the current file. */
static void begin_file(struct maildir_branch *shell)
{
    const struct transaction *transaction = shell->branch->transaction;
    struct header_trace trace = {
        .client = transaction->client,
        .by = shell->carrier->hostname,
        .id = bytes_of(transaction->envelope.id.text),
        .rcpt = &current_rcpt(shell)->original,
        .wall_s = loop_wall_ms(loop_of(shell)) / 1000,
    };

    header_put_received(&shell->received, &trace);
    outgoing_rewind(&shell->message, buf_bytes(&shell->received));
}

/* What stands above all of it: who it is from, and for whom. */
static int put_head(struct maildir_branch *shell)
{
    struct buf head;

    if (buf_length(&shell->received) == 0)
        begin_file(shell);
    buf_init(&head, &loop_pools(loop_of(shell))->medium, FIELDS_MAX_BYTES);
    buf_text(&head, "Return-Path: <");
    address_put(&head, &shell->branch->transaction->envelope.from);
    buf_text(&head, ">\r\nDelivered-To: ");
    address_put(&head, &current_rcpt(shell)->to);
    buf_text(&head, "\r\n");
    int error = head.has_failed || shell->received.has_failed ? ERR_MEMORY : 0;
    if (error == 0)
        put_in_chunk(shell, buf_bytes(&head));
    buf_done(&head);
    return error;
}

/* Takes the next octets of the message into the chunk. False: they are being read back from the
 * copy's file. */
static bool fill_chunk(struct maildir_branch *shell)
{
    size_t room = loop_pools(loop_of(shell))->chunk.block_bytes;
    struct bytes piece;

    if (!outgoing_begin(&shell->message))
        return shell->files.chunk_bytes != 0;
    while (shell->files.chunk_bytes < room && outgoing_left(&shell->message) != 0) {
        if (outgoing_pieces(&shell->message, &piece, 1) == 0)
            return shell->files.chunk_bytes != 0;
        piece = bytes_first(piece, room - shell->files.chunk_bytes);
        put_in_chunk(shell, piece);
        outgoing_advance(&shell->message, piece.len);
    }
    return true;
}

/* `error`: why the recipients whose files are not written yet have failed; 0: none has. */
static void tell_prepared(struct maildir_branch *shell, int error)
{
    report(shell, &(struct event){.kind = EV_PREPARED, .error = error});
}

/* Writes the next chunk, or reports that everything is prepared. */
static void write_on(struct maildir_branch *shell)
{
    struct maildir_files *files = &shell->files;
    int error = copy_error(shell->carrier->copy);

    if (error != 0 || files->current == files->count) {
        tell_prepared(shell, error);
        return;
    }
    files->chunk_bytes = 0;
    error = files->fd < 0 ? put_head(shell) : 0;
    if (error != 0) {
        tell_prepared(shell, error);
        return;
    }
    if (!fill_chunk(shell))
        return; /* on_more() goes on */
    files->is_last_chunk = shell->message.has_begun && outgoing_left(&shell->message) == 0;
    start(shell, STEP_WRITE, run_write);
}

static void on_more(struct reader *reader)
{
    struct maildir_branch *shell = CONTAINER_OF(reader, struct maildir_branch, message.reader);
    if (shell->step == STEP_IDLE && shell->files.chunk != NULL)
        write_on(shell);
}

/* The current file is written, or cannot be written; then only its recipient has failed. */
static void next_file(struct maildir_branch *shell)
{
    const struct maildir_file *file = &shell->files.at[shell->files.current++];

    assert(shell->files.current <= shell->files.count);
    shell->files.offset = 0;
    buf_reset(&shell->received);
    if (file->error == 0)
        return;
    log_failed(shell, file);
    report(shell, &(struct event){.kind = EV_PREPARED, .rcpt = file->rcpt, .error = file->error});
}

static void after_write(struct maildir_branch *shell)
{
    shell->files.offset += shell->files.chunk_bytes;
    if (shell->job.error == 0 && shell->files.fd < 0)
        next_file(shell);
    shell->step = STEP_IDLE;
    if (shell->branch == NULL)
        give_up(shell);
    else if (shell->job.error != 0)
        tell_prepared(shell, shell->job.error);
    else
        write_on(shell);
}

/* ---- committing ---- */

static void tell_file(struct maildir_branch *shell, struct maildir_file *file)
{
    if (shell->job.error != 0)
        file->error = shell->job.error;
    if (file->error != 0)
        log_failed(shell, file);
    report(shell, &(struct event){.kind = EV_COMMITTED,
                                  .rcpt = file->rcpt,
                                  .error = file->error,
                                  .may_be_there = file->error != 0 && file->may_be_there});
}

/* The branch ends with its commit, whatever the result. */
static void after_commit(struct maildir_branch *shell)
{
    for (size_t i = 0; i < shell->files.count && shell->branch != NULL; i++)
        if (shell->files.at[i].is_kept)
            tell_file(shell, &shell->files.at[i]);
    struct branch *branch = shell->branch;
    struct carrier *carrier = shell->carrier;
    if (branch != NULL)
        detach(shell);
    if (shell->job.error == 0)
        free_branch(shell);
    else
        give_up(shell);
    if (branch != NULL)
        carrier_report(carrier, &(struct event){.kind = EV_COMMITTED, .branch = branch});
}

static void on_done(struct work_lane_job *job)
{
    struct maildir_branch *shell = CONTAINER_OF(job, struct maildir_branch, job);

    if (shell->step == STEP_CLEAN)
        free_branch(shell);
    else if (shell->step == STEP_COMMIT)
        after_commit(shell);
    else if (shell->branch == NULL)
        give_up(shell);
    else
        after_write(shell);
}

/* ---- operations ---- */

static void open_branch(struct carrier *carrier, struct branch *branch)
{
    struct maildir *maildir = maildir_of(branch->target);
    struct maildir_branch *shell = mem_zalloc(sizeof(*shell));

    branch->facts.target = maildir->target.name;
    branch->facts.address = maildir->conf->path;
    branch->facts.identity = bytes_of("none");
    if (shell == NULL)
        return;
    shell->maildir = maildir;
    shell->carrier = carrier;
    shell->branch = branch;
    buf_init(&shell->received, &loop_pools(maildir->services->loop)->medium, FIELDS_MAX_BYTES);
    shell->files.fd = -1;
    shell->files.is_all_or_nothing = !carrier->is_spooled;
    branch->shell = shell;
}

/* Nothing to do: flush() answers the recipients. */
static void rcpt(struct branch *branch, struct recipient *rcpt)
{
    (void)branch;
    (void)rcpt;
}

/* Routes have asked refuses() before, but recipients that are rerouted in the spool have not been
 * checked. */
static void answer_recipients(struct branch *branch)
{
    LIST_EACH (link, &branch->recipients) {
        struct recipient *rcpt = LIST_ENTRY(link, struct recipient, in_branch);
        struct maildir_branch *shell = branch->shell;
        if (shell == NULL)
            return;
        if (rcpt->envelope != FATE_OPEN)
            continue;
        bool is_taken = maildir_path_takes(shell->maildir->conf, &rcpt->to);
        carrier_report(shell->carrier,
                       &(struct event){
                           .kind = EV_ANSWER,
                           .branch = branch,
                           .rcpt = rcpt,
                           .fate = is_taken ? FATE_ACCEPTED : FATE_REFUSED,
                           .reply = reply_own(is_taken ? REPLY_RECIPIENT_OK : REPLY_MAILBOX_NAME)});
    }
}

static void go(struct branch *branch)
{
    (void)branch; /* content is read from the copy when that is whole */
}

static int make_file_list(struct maildir_branch *shell)
{
    const struct maildir *maildir = shell->maildir;
    size_t count = 0;

    assert(shell->files.at == NULL && shell->files.chunk == NULL);
    LIST_EACH (link, &shell->branch->recipients)
        count++;
    shell->files.at = mem_zalloc(count * sizeof(*shell->files.at));
    shell->files.chunk = pool_take(&loop_pools(loop_of(shell))->chunk);
    if (shell->files.at == NULL || shell->files.chunk == NULL)
        return ERR_MEMORY;
    LIST_EACH (link, &shell->branch->recipients) {
        struct recipient *rcpt = LIST_ENTRY(link, struct recipient, in_branch);
        struct maildir_file *file = &shell->files.at[shell->files.count];
        if (!transaction_awaits(rcpt))
            continue;
        assert(shell->files.count < count);
        shell->files.count++;
        file->rcpt = rcpt;
        file->directory = maildir_path_directory(loop_of(shell), maildir->conf, &rcpt->to);
        file->name = maildir_path_new_name(loop_of(shell), maildir->conf->hostname);
        if (file->directory == NULL || file->name == NULL)
            return ERR_MEMORY;
    }
    if (shell->files.count != 0) /* the log shows the first directory */
        (void)arena_copy(shell->branch->transaction->mail, bytes_of(shell->files.at[0].directory),
                         &shell->branch->facts.address);
    return 0;
}

static void start_prepare(struct maildir_branch *shell)
{
    int error = make_file_list(shell);

    outgoing_open(&shell->message, shell->branch, shell->carrier->copy, on_more);
    if (error != 0)
        tell_prepared(shell, error);
    else
        write_on(shell);
}

static void start_commit(struct maildir_branch *shell)
{
    for (size_t i = 0; i < shell->files.count; i++)
        shell->files.at[i].is_kept = transaction_awaits(shell->files.at[i].rcpt);
    start(shell, STEP_COMMIT, run_commit);
}

static void wish(struct branch *branch, enum maildir_wish wish)
{
    struct maildir_branch *shell = branch->shell;

    assert(shell->step == STEP_IDLE && shell->wish == WISH_NONE);
    shell->wish = wish;
}

static void prepare(struct branch *branch)
{
    wish(branch, WISH_PREPARE);
}

static void commit(struct branch *branch)
{
    wish(branch, WISH_COMMIT);
}

static void flush(struct branch *branch)
{
    struct maildir_branch *shell = branch->shell;
    enum maildir_wish wish = shell->wish;

    shell->wish = WISH_NONE;
    if (wish == WISH_PREPARE)
        start_prepare(shell);
    else if (wish == WISH_COMMIT)
        start_commit(shell);
    else
        answer_recipients(branch);
}

static void drop(struct branch *branch)
{
    struct maildir_branch *shell = branch->shell;

    if (shell == NULL)
        return;
    detach(shell);
    if (shell->step != STEP_IDLE)
        return; /* on_done() cleans up */
    if (shell->files.count != 0)
        give_up(shell);
    else
        free_branch(shell);
}

/* ---- the target ---- */

/* The reports of DSN are made by the runner. */
static struct capability capabilities(struct target *target)
{
    (void)target;
    return (struct capability){.keywords = UINT32_MAX};
}

static struct target_view view(struct target *target)
{
    (void)target;
    return (struct target_view){.state = "up"};
}

/* Jobs that still run end by themselves. */
static void free_target(struct target *target)
{
    mem_free(maildir_of(target));
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
        .filters = &conf->filters,
    };
}

static enum reply_id refuses(const struct target *target, const struct address *to)
{
    return maildir_path_takes(target->conf, to) ? REPLY_OK : REPLY_MAILBOX_NAME;
}

static struct target *open_target(struct target_services *services, const void *conf)
{
    struct maildir *maildir = mem_zalloc(sizeof(*maildir));

    if (maildir == NULL)
        return NULL;
    maildir->target = describe(conf);
    maildir->target.ops = &ops;
    maildir->services = services;
    maildir->conf = conf;
    work_lane_init(&maildir->lane, &services->road, JOBS_EACH);
    return &maildir->target;
}

const struct target_kind maildir_kind = {
    .section = &maildir_conf_section,
    .finish = maildir_conf_finish,
    .describe = describe,
    .refuses = refuses,
    .open = open_target,
};
