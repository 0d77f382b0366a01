/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk of a scenario: which message lies where and why, what has failed, and what is left. */
#include <stdio.h>
#include <stdlib.h>

#include "spool/spool_format.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define QUEUE STAGE_SPOOL "/queue"
#define HOLD  STAGE_SPOOL "/hold"
#define BAD   STAGE_SPOOL "/bad"

#define HOUR_MS 3600000

static bool lies_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

bool spool_is_message(const char *path)
{
    return lies_below(path, STAGE_SPOOL) && strlen(name_of(path)) == ID_LENGTH &&
           !lies_below(path, STAGE_SPOOL "/running");
}

static void set_directory(struct spool_file *f, const char *path)
{
    char directory[sizeof(f->directory)];

    snprintf(directory, sizeof(directory), "%.*s", (int)(name_of(path) - path - 1), path);
    if (strcmp(directory, f->directory) == 0)
        return;
    memcpy(f->left, f->directory, sizeof(f->left));
    memcpy(f->directory, directory, sizeof(f->directory));
}

/* ---- names ---- */

struct spool_file *spool_file_of(struct scenario *s, struct bytes id)
{
    LIST_EACH (link, &s->files) {
        struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        if (bytes_is(id, f->id))
            return f;
    }
    return NULL;
}

/* Of a report whose cause could not be read, or was too long to be returned, there is but an
 * address. */
static struct message *find_cause(struct scenario *s, struct bytes report)
{
    const char *to = scenario_search(report, "\r\nTo: <");
    struct bytes address = bytes_make(NULL, 0);

    if (to != NULL)
        address = bytes_skip(report, (size_t)(to - (const char *)report.at) + strlen("\r\nTo: <"));
    struct message *m = message_of_sender(s, bytes_first(address, bytes_find(address, '>')));
    return m != NULL ? m : ledger_cause(s, report);
}

static struct spool_file *file_at(struct scenario *s, const char *path, struct bytes octets)
{
    struct spool_file *f = spool_file_of(s, bytes_of(name_of(path)));

    if (f != NULL)
        return f;
    f = sim_alloc(sizeof(*f));
    snprintf(f->id, sizeof(f->id), "%s", name_of(path));
    f->message = message_find(s, octets);
    f->is_report = scenario_search(octets, "multipart/report") != NULL;
    if (f->message == NULL && f->is_report)
        f->message = find_cause(s, octets);
    f->is_to_postmaster = scenario_search(octets, "To: <postmaster@") != NULL;
    f->is_held = f->is_on_hold = f->message != NULL && !f->is_report && edit_holds(f->message);
    f->telling = f->is_report ? ledger_telling(octets) : 0;
    f->legs = f->is_report ? ledger_legs(f->message, octets) : 0;
    ledger_clock(s);
    f->linked_ms = sim_now_ms(s->world);
    list_append(&s->files, &f->link);
    return f;
}

/* One that is made again has the id that it had before. */
static void check_report(struct scenario *s, const struct spool_file *f)
{
    unsigned others = 0;

    LIST_EACH (link, &s->files) {
        const struct spool_file *other = LIST_ENTRY(link, struct spool_file, link);
        if (other != f && other->is_there && other->is_report && other->message == f->message &&
            other->telling == f->telling && other->is_to_postmaster == f->is_to_postmaster &&
            ++others == f->legs)
            scenario_fail(s, "%s and %s are the same report", other->id, f->id);
    }
}

/* Only what an operator has put there, or nobody can be told of; and what a filter has quarantined,
 * which begins there. */
static void check_hold(struct scenario *s, const struct spool_file *f, const char *from)
{
    bool has_failed = s->targets.report_refusals > 0 || s->plan.has_clock_trouble; /* expired */
    bool is_hopeless = f->is_report && f->is_to_postmaster && has_failed;

    if (from == NULL && (f->message == NULL || f->is_report || !edit_holds(f->message)))
        scenario_fail(s, "%s begins in hold/", f->id);
    else if (from != NULL && f->holds == 0 && !f->is_held && !is_hopeless)
        scenario_fail(s, "%s goes to hold/, and nobody has asked for that", f->id);
}

bool spool_is_on_hold(struct scenario *s, const struct message *m, bool is_report)
{
    LIST_EACH (link, &s->files) {
        const struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        if (f->message == m && f->is_report == is_report && f->is_on_hold && !f->is_damaged)
            return !is_report;
    }
    return false;
}

static void note_end(struct scenario *s, const char *path)
{
    struct spool_file *f =
        spool_is_message(path) ? spool_file_of(s, bytes_of(name_of(path))) : NULL;

    if (f != NULL)
        f->is_there = false;
}

static void on_name(void *owner, const struct sim_disk_name *name)
{
    struct scenario *s = owner;
    struct spool_file *f;
    bool is_new;

    if (name->to == NULL) {
        secret_check(s, name->from, name->octets);
        note_end(s, name->from);
        return;
    }
    if (lies_below(name->to, "/mail") && strstr(name->to, "/new/") != NULL) {
        ledger_box(s, name->to, name->octets);
        return;
    }
    if (!spool_is_message(name->to))
        return;
    is_new = spool_file_of(s, bytes_of(name_of(name->to))) == NULL;
    f = file_at(s, name->to, name->octets);
    f->is_there = true;
    if (is_new && f->is_report)
        check_report(s, f);
    if (lies_below(name->to, QUEUE))
        set_directory(f, name->to);
    else if (lies_below(name->to, HOLD))
        check_hold(s, f, is_new ? NULL : f->id);
    else if (!f->is_damaged)
        scenario_fail(s, "%s was whole, and goes to bad/", f->id);
}

/* ---- what has failed ---- */

/* Whoever is put off waits, and longer each time. */
static void note_bad_box(struct scenario *s)
{
    unsigned recipients = s->message_count * SCENARIO_RECIPIENTS;

    s->targets.failed_ms[SCENARIO_BOX] = sim_now_ms(s->world);
    if (s->bad.box[0] == '\0' || sim_now_ms(s->world) > s->bad.since_ms + 60000)
        return;
    if (++s->bad.failures == 20 + 4 * recipients)
        scenario_fail(s, "%s is tried again and again", s->bad.box);
}

static void on_failure(void *owner, const struct sim_disk_failure *failure)
{
    struct scenario *s = owner;
    struct trouble *t = sim_alloc(sizeof(*t));

    t->at_ms = sim_now_ms(s->world);
    t->message = message_find(s, failure->octets);
    snprintf(t->path, sizeof(t->path), "%s", failure->path);
    list_append(&s->troubles, &t->link);
    if (s->is_loud)
        printf("%9llu disk: call %d fails at %s\n", (unsigned long long)t->at_ms,
               (int)failure->what, failure->path);
    if (lies_below(t->path, "/mail"))
        note_bad_box(s);
}

void spool_note_failure(struct scenario *s, struct message *m, struct bytes id)
{
    struct trouble *t = sim_alloc(sizeof(*t));

    t->at_ms = sim_now_ms(s->world);
    t->message = m;
    snprintf(t->path, sizeof(t->path), "%.*s", (int)id.len, (const char *)id.at);
    list_append(&s->troubles, &t->link);
}

static bool is_of_directory(const struct trouble *t, const char *directory)
{
    size_t len = strlen(directory);

    return len > 0 && lies_below(t->path, directory) &&
           (t->path[len] == '\0' || strlen(t->path + len + 1) != ID_LENGTH);
}

/* A failure in a directory is one of all that lies, or lay, in it. */
static bool touches(struct scenario *s, const struct trouble *t, const struct message *m)
{
    if (t->message != NULL)
        return t->message == m;
    LIST_EACH (link, &s->files) {
        const struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        if (f->message != m)
            continue;
        if (strstr(t->path, f->id) != NULL || is_of_directory(t, f->directory) ||
            is_of_directory(t, f->left))
            return true;
    }
    return false;
}

static bool touches_box(const struct trouble *t, const struct delivery *d)
{
    char new_directory[128], path[128];

    if (d->path[0] == '\0')
        return false;
    snprintf(new_directory, sizeof(new_directory), "%.*s", (int)(name_of(d->path) - d->path - 1),
             d->path);
    snprintf(path, sizeof(path), "%s", t->path);
    return strcmp(path, new_directory) == 0 || strcmp(name_of(path), name_of(d->path)) == 0;
}

bool spool_has_failed(struct scenario *s, const struct delivery *d, uint64_t until_ms)
{
    LIST_EACH (link, &s->troubles) {
        const struct trouble *t = LIST_ENTRY(link, struct trouble, link);
        if (t->at_ms >= d->taken_ms && t->at_ms <= until_ms && t->path[0] != '\0' &&
            (touches(s, t, d->message) || touches_box(t, d)))
            return true;
    }
    return false;
}

bool spool_has_refused(struct scenario *s, const struct message *m)
{
    LIST_EACH (link, &s->troubles) {
        const struct trouble *t = LIST_ENTRY(link, struct trouble, link);
        if (t->at_ms >= m->end_ms && t->at_ms <= m->answered_ms &&
            (t->message == NULL || t->message == m))
            return true;
    }
    return false;
}

bool spool_is_in_queue(struct scenario *s, const struct spool_file *f)
{
    char path[sizeof(f->directory) + sizeof(f->id) + 1];
    struct bytes file;

    snprintf(path, sizeof(path), "%s/%s", f->directory, f->id);
    return sim_file(s->world, path, &file);
}

/* Death or the disk came between the report and its record at the cause. */
static bool is_untold(struct scenario *s, const struct spool_file *f)
{
    uint64_t until_ms = f->told_ms == 0 ? UINT64_MAX : f->told_ms;

    LIST_EACH (link, &s->deaths) {
        const struct death *death = LIST_ENTRY(link, struct death, link);
        if (death->at_ms >= f->linked_ms && death->at_ms <= until_ms)
            return true;
    }
    LIST_EACH (link, &s->troubles) {
        const struct trouble *t = LIST_ENTRY(link, struct trouble, link);
        if (t->at_ms >= f->linked_ms && t->at_ms <= until_ms && touches(s, t, f->message))
            return true;
    }
    return false;
}

/* The removal of the cause could not be synced, and no later sync of the directory helps. */
static bool is_removal_lost(struct scenario *s, const struct spool_file *f)
{
    uint64_t until_ms = f->told_ms + SCENARIO_REMOVAL_MS + s->plan.disk_slack_ms,
             lost_ms = UINT64_MAX;

    LIST_EACH (link, &s->troubles) {
        const struct trouble *t = LIST_ENTRY(link, struct trouble, link);
        if (t->at_ms >= f->told_ms && t->at_ms <= until_ms && touches(s, t, f->message) &&
            t->at_ms < lost_ms)
            lost_ms = t->at_ms;
    }
    LIST_EACH (link, &s->deaths) {
        const struct death *death = LIST_ENTRY(link, struct death, link);
        if (death->is_power && death->at_ms >= lost_ms)
            return true;
    }
    return false;
}

/* Or the cause, of which nothing was left to do, is back. If some of its recipients are delivered
 * then, there is a report on the others that has an id of its own. */
static bool is_made_again(struct scenario *s, const struct spool_file *f)
{
    return is_untold(s, f) ||
           (f->is_cause_gone &&
            (ledger_may_be_undone(s, f->linked_ms, f->told_ms) || is_removal_lost(s, f)));
}

bool spool_makes_again(struct scenario *s, const struct delivery *d)
{
    LIST_EACH (link, &s->files) {
        const struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        if (f->is_report && f->message == d->message && is_made_again(s, f))
            return true;
    }
    return false;
}

bool spool_has_untold_report(struct scenario *s, const struct message *m, uint64_t since_ms)
{
    LIST_EACH (link, &s->files) {
        const struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        if (f->is_report && f->message == m && f->linked_ms >= since_ms && is_untold(s, f))
            return true;
    }
    return false;
}

void spool_watch(struct scenario *s)
{
    sim_on_disk_name(s->world, on_name, s);
    sim_on_disk_failure(s->world, on_failure, s);
}

void spool_free(struct scenario *s)
{
    LIST_EACH (link, &s->files)
        free(LIST_ENTRY(link, struct spool_file, link));
    LIST_EACH (link, &s->troubles)
        free(LIST_ENTRY(link, struct trouble, link));
}

/* ---- what lies there ---- */

/* A message whose body alone cannot be read expires, and its sender hears of it: soon, if the clock
 * has not been set back by days. */
static bool must_be_returned(const struct scenario *s, const struct spool_file *f)
{
    const struct message *m = f->message;

    if (m != NULL && sim_wall_ms(s->world) < m->walls.late_ms - HOUR_MS)
        return false;
    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++)
        if ((m->recipients[i].ways & 1u << SCENARIO_BOX) != 0)
            return false;
    return m != NULL && f->is_bodiless && s->plan.is_impatient;
}

/* It cannot be read, and the operator knows. */
static bool is_given_up(struct scenario *s, const char *path)
{
    struct spool_file *f = spool_file_of(s, bytes_of(name_of(path)));

    return f != NULL && f->is_unreadable && !must_be_returned(s, f) && f->is_told;
}

bool spool_is_drained(struct scenario *s)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(s->world, QUEUE, i)) != NULL; i++)
        if (spool_is_message(path) && !is_given_up(s, path))
            return false;
    return true;
}

static void note_queued(struct scenario *s, const char *path, const struct spool_message *queued,
                        struct bytes body)
{
    const struct spool_file *f = spool_file_of(s, bytes_of(name_of(path)));
    struct message *m = message_find(s, body);

    if (queued->is_report) { /* one without the body does not say what it is about */
        ledger_report(s, m == NULL && f != NULL ? f->message : m, body);
        return;
    }
    /* Behind it may stand the body that a filter has put in its place. */
    if (m == NULL ||
        !bytes_equal(bytes_first(body, m->text.len), bytes_make(m->text.at, m->text.len))) {
        scenario_fail(s, "there is something in the queue that nobody sent");
        return;
    }
    for (uint32_t i = 0; i < queued->recipient_count; i++) {
        const struct address *to = &queued->recipients[i].to;
        char text[128];
        struct story *r;
        snprintf(text, sizeof(text), "%.*s@%.*s", (int)to->local.len, (const char *)to->local.at,
                 (int)to->domain.len, (const char *)to->domain.at);
        r = message_story(m, bytes_of(text));
        if (r != NULL)
            r->is_queued = true;
    }
}

static void read_queued(struct scenario *s, const char *path)
{
    struct pool pool;
    struct arena arena;
    struct spool_head head;
    struct spool_message message;
    struct bytes file;
    int error = sim_file(s->world, path, &file) ? 0 : -1;

    pool_init(&pool, 4096, 4);
    arena_init(&arena, &pool, SIZE_MAX);
    if (error == 0)
        error = spool_head_parse(bytes_first(file, SPOOL_HEAD_BYTES), &head);
    if (error == 0 && (spool_records_at(&head) > file.len ||
                       spool_message_parse(&head, bytes_skip(file, spool_records_at(&head)), &arena,
                                           &message) != 0))
        error = -1;
    if (error == 0)
        note_queued(s, path, &message,
                    bytes_first(bytes_skip(file, SPOOL_HEAD_BYTES), (size_t)head.body_bytes));
    else
        scenario_fail(s, "%s is no message", path);
    arena_reset(&arena);
    pool_done(&pool);
}

/* All that lies in one of the folders of messages. */
static void read_folder(struct scenario *s, const char *folder)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(s->world, folder, i)) != NULL; i++) {
        struct spool_file *f;
        if (!spool_is_message(path))
            continue;
        f = spool_file_of(s, bytes_of(name_of(path)));
        if (f != NULL && strcmp(folder, QUEUE) == 0 && must_be_returned(s, f))
            scenario_fail(s, "%s is never returned", path);
        if (f != NULL && f->is_damaged && (f->is_unreadable || strcmp(folder, BAD) == 0)) {
            spool_keep_damaged(s, f);
            continue;
        }
        if (strcmp(folder, QUEUE) == 0 && !is_given_up(s, path))
            scenario_fail(s, "%s stays in the queue", path);
        else
            scenario_count(s, COUNT_HELD);
        read_queued(s, path);
    }
}

static void read_box(struct scenario *s, const char *path)
{
    struct bytes file;
    struct message *m;
    struct story *r;
    char domain[48] = "", local[48] = "", address[128];

    if (strstr(path, "/new/") == NULL || !sim_file(s->world, path, &file) ||
        sscanf(path, "/mail/%47[^/]/%47[^/]/", domain, local) != 2)
        return;
    snprintf(address, sizeof(address), "%s@%s", local, domain);
    m = message_find(s, file);
    r = message_story(m, bytes_of(address));
    if (r == NULL || (r->ways & 1u << SCENARIO_BOX) == 0)
        scenario_fail(s, "%s is nobody's", path);
    else if (!message_is_whole(s, m, r, SCENARIO_BOX, file))
        scenario_fail(s, "%s is not what was sent", path);
    else if (r->box_count++ == 0)
        scenario_count(s, COUNT_BOXED);
}

void spool_check(struct scenario *s)
{
    const char *path;

    read_folder(s, QUEUE);
    read_folder(s, HOLD);
    read_folder(s, BAD);
    secret_check_spool(s);
    for (unsigned i = 0; (path = sim_file_below(s->world, "/mail", i)) != NULL; i++)
        read_box(s, path);
}
