/* SPDX-License-Identifier: BSD-2-Clause */
/* The ledger of a scenario: what clients were promised, what arrived, and whether that is right. */
#include <stdio.h>
#include <stdlib.h>

#include "spool/spool_format.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define ID_FIELD       "X-Id: "
#define RECEIVED_FIELD "Received: "
#define ACTION_FIELD   "Action:"
#define FINAL_FIELD    "Final-Recipient: rfc822;"
#define UNKNOWN_WAITS_MS                                                                           \
    599000 /* ten minutes in whole seconds, before the next try of what may have been taken */
#define DEATH_KILL_MS  5   /* from the target's answer to the record */
#define DEATH_POWER_MS 250 /* ... to the sync of the removal */

/* ---- messages ---- */

static void put_content(struct scenario *s, struct message *m)
{
    static const char *const lines[] = {".", "..dots", "", "some text", ". a dot", "the last one?"};
    unsigned times = scenario_chance(s, 3) ? 400 : 1; /* more than is kept in memory */
    struct sim_text body = {.len = 0};
    char text[80];

    snprintf(text, sizeof(text), ID_FIELD "%06u\r\nSubject: message %u\r\n\r\n", m->id, m->id);
    sim_put(&m->text, bytes_of(text));
    for (uint64_t i = scenario_below(s, 30); i > 0; i--) {
        snprintf(text, sizeof(text), "%s %u\r\n", lines[scenario_below(s, ARRAY_LENGTH(lines))],
                 (unsigned)i);
        sim_put(&body, bytes_of(text[0] == ' ' ? "\r\n" : text));
    }
    for (unsigned i = 0; i < times; i++)
        sim_put(&m->text, bytes_make(body.at, body.len));
    free(body.at);
}

static void plan_recipient(struct scenario *s, struct message *m, struct story *r, unsigned index)
{
    static const char *const domains[] = {"a.test", "b.test", "box.test", "list.test"};
    uint64_t domain = scenario_below(s, s->has_boxes && scenario_chance(s, 20) ? 4 : 2);
    const char *local = scenario_chance(s, 50) ? "joe" : "own";

    if (domain == 1 && s->targets.count < 2)
        domain = 0;
    r->target = domain == 2 ? -1 : domain == 1;
    r->has_box = domain >= 2;
    if (domain < 2 && scenario_chance(s, 25))
        local = scenario_chance(s, 30) ? "no" : "full"; /* 550; often 452 */
    r->wants_no_report = scenario_chance(s, 10);
    r->wants_success = !r->wants_no_report && scenario_chance(s, 20);
    if (scenario_chance(s, 50))
        snprintf(r->address, sizeof(r->address), "%s%ux%u@%s", local, m->id, index,
                 domains[domain]);
    else
        snprintf(r->address, sizeof(r->address), "%s%u@%s", local, index, domains[domain]);
}

struct message *ledger_message(struct scenario *s, unsigned recipient_count)
{
    struct message *m = sim_alloc(sizeof(*m));

    m->id = ++s->message_count;
    snprintf(m->sender, sizeof(m->sender), "s%u@client.test", m->id);
    m->recipient_count = recipient_count;
    for (unsigned i = 0; i < recipient_count; i++)
        plan_recipient(s, m, &m->recipients[i], i);
    m->is_filtered = s->has_filter && scenario_chance(s, 20);
    put_content(s, m);
    list_append(&s->messages, &m->link);
    return m;
}

void ledger_free(struct scenario *s)
{
    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        free(m->text.at);
        free(m);
    }
    LIST_EACH (link, &s->deliveries)
        free(LIST_ENTRY(link, struct delivery, link));
}

/* ---- the filter ---- */

struct reply ledger_judge(void *owner, const struct transaction *t)
{
    struct scenario *s = owner;
    char text[16] = "";
    struct reply no = {.code = 0};

    snprintf(text, sizeof(text), "%.*s", (int)t->envelope.from.local.len,
             (const char *)t->envelope.from.local.at);
    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        if (m->id != (unsigned)atoi(text + 1) || !m->is_filtered)
            continue;
        scenario_count(s, COUNT_FILTERED);
        no = reply_own(m->id % 2 == 0 ? REPLY_RELAYING_DENIED : REPLY_LOCAL_PROBLEM);
    }
    return no;
}

/* ---- finding ---- */

static const char *find(struct bytes in, const char *what)
{
    return in.len == 0 ? NULL : memmem(in.at, in.len, what, strlen(what));
}

struct message *ledger_find(struct scenario *s, struct bytes content)
{
    const char *field = find(content, ID_FIELD);
    unsigned id = field == NULL ? 0 : (unsigned)atoi(field + strlen(ID_FIELD));

    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        if (m->id == id)
            return m;
    }
    return NULL;
}

static struct story *story_of(struct message *m, struct bytes address)
{
    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++)
        if (bytes_is(address, m->recipients[i].address))
            return &m->recipients[i];
    return NULL;
}

/* The message, behind lines that were put in front of it. */
static bool is_whole(const struct message *m, struct bytes content)
{
    size_t more = content.len - m->text.len;

    if (content.len < m->text.len ||
        !bytes_equal(bytes_skip(content, more), bytes_make(m->text.at, m->text.len)))
        return false;
    return more == 0 || content.at[more - 1] == '\n';
}

/* A Maildir's lines end with LF alone. */
static bool is_whole_in_box(const struct message *m, struct bytes content)
{
    struct sim_text text = {.len = 0};
    bool is_same;

    for (size_t i = 0; i < m->text.len; i++)
        if (m->text.at[i] != '\r')
            sim_put(&text, bytes_make(m->text.at + i, 1));
    is_same = content.len >= text.len && bytes_equal(bytes_skip(content, content.len - text.len),
                                                     bytes_make(text.at, text.len));
    free(text.at);
    return is_same;
}

/* ---- reports ---- */

/* A report that cannot be delivered is reported to the postmaster: that is for all recipients. */
static void note_double(struct scenario *s, struct bytes address)
{
    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        for (unsigned i = 0; bytes_is(address, m->sender) && i < m->recipient_count; i++)
            m->recipients[i].is_bounced = true;
    }
}

/* What stands behind the next field of that name; *rest_out is what follows. */
static struct bytes value_of(struct bytes in, const char *field, struct bytes *rest_out)
{
    const char *at = find(in, field);
    size_t skipped = at == NULL ? in.len : (size_t)(at - (const char *)in.at) + strlen(field);

    in = bytes_skip(in, skipped);
    while (in.len > 0 && in.at[0] == ' ')
        in = bytes_skip(in, 1);
    *rest_out = in;
    return bytes_first(in, bytes_find(in, '\r'));
}

/* Returns the first recipient that it is about; NULL: none that is known. */
static struct story *note_report(struct scenario *s, struct bytes content)
{
    struct message *m = ledger_find(s, content);
    struct story *first = NULL;
    const char *field;

    while ((field = find(content, FINAL_FIELD)) != NULL) {
        struct bytes address = value_of(content, FINAL_FIELD, &content);
        bool is_failure = bytes_is(value_of(content, ACTION_FIELD, &content), "failed");
        struct story *r = story_of(m, address);
        if (first == NULL)
            first = r;
        if (!is_failure)
            continue;
        if (r != NULL && r->wants_no_report)
            scenario_fail(s, "a report on %u to %s, which wants none", m->id, r->address);
        if (r != NULL && !r->is_bounced)
            scenario_count(s, COUNT_BOUNCED);
        if (r != NULL)
            r->is_bounced = true;
        note_double(s, address);
        if (s->targets.refusals == 0)
            scenario_fail(s, "%.*s has failed, and no target has refused anything",
                          (int)address.len, (const char *)address.at);
    }
    return first;
}

/* ---- deliveries ---- */

static struct delivery *last_delivery(struct scenario *s, const struct message *m, unsigned index,
                                      bool is_report)
{
    struct delivery *last = NULL;

    LIST_EACH (link, &s->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        if (d->message == m && d->recipient == index && d->is_report == is_report)
            last = d;
    }
    return last;
}

/* Whoever is killed does not sync what it has removed; a power cut may come later then. */
static bool has_died_near(struct scenario *s, const struct delivery *d)
{
    bool was_killed = false;

    LIST_EACH (link, &s->deaths) {
        const struct death *death = LIST_ENTRY(link, struct death, link);
        uint64_t since_ms = death->at_ms - d->read_ms;
        if (death->at_ms < d->taken_ms || death->at_ms < d->read_ms)
            continue;
        if (d->read_ms == 0 || since_ms <= DEATH_KILL_MS || (was_killed && death->is_power) ||
            (death->is_power && since_ms <= DEATH_POWER_MS))
            return true;
        was_killed = was_killed || since_ms <= DEATH_POWER_MS;
    }
    return false;
}

/* The target's answer was not heard; or death came before the record of it, or before the removal
 * was durable; or the disk did not take it. A report may be delivered before its cause knows of it,
 * and after a death or an error of the disk is made once more then. */
static bool may_come_twice(struct scenario *s, const struct delivery *d)
{
    if (d->is_report && (!list_is_empty(&s->deaths) || sim_disk_failures(s->world) > 0))
        return true;
    return d->is_orphan || has_died_near(s, d) || sim_disk_failures(s->world) > d->disk_failures;
}

/* Without memory an answer that was read may still be lost. */
static bool is_heard(struct scenario *s, const struct delivery *d)
{
    return d->read_ms != 0 && !s->has_memory_trouble;
}

static void check_duplicate(struct scenario *s, const struct delivery *d)
{
    uint64_t since_ms = sim_now_ms(s->world) - d->taken_ms;
    const char *address = d->message->recipients[d->recipient].address;
    const char *what = d->is_report ? "the report on" : "message";

    scenario_count(s, COUNT_DUPLICATES);
    if (may_come_twice(s, d))
        return;
    if (is_heard(s, d))
        scenario_fail(s, "%s %u is delivered to %s twice; taken at %llu, told at %llu ms", what,
                      d->message->id, address, (unsigned long long)d->taken_ms,
                      (unsigned long long)d->read_ms);
    else if (since_ms < UNKNOWN_WAITS_MS && !d->message->was_flushed)
        scenario_fail(s, "%s %u goes to %s again after %llu ms", what, d->message->id, address,
                      (unsigned long long)since_ms);
}

static struct delivery *note_delivery(struct scenario *s, struct message *m, const struct story *r,
                                      bool is_report)
{
    unsigned index = (unsigned)(r - m->recipients);
    struct delivery *before = last_delivery(s, m, index, is_report), *d = sim_alloc(sizeof(*d));

    if (before != NULL)
        check_duplicate(s, before);
    *d = (struct delivery){.message = m,
                           .recipient = index,
                           .is_report = is_report,
                           .taken_ms = sim_now_ms(s->world),
                           .disk_failures = sim_disk_failures(s->world)};
    list_append(&s->deliveries, &d->link);
    return d;
}

struct delivery *ledger_take(struct scenario *s, int target, const char *sender, const char *to,
                             struct bytes content)
{
    struct message *m = ledger_find(s, content);
    struct story *r = story_of(m, bytes_of(to));

    scenario_heard(s, "T=", (unsigned)target, content);
    if (sender[0] == '\0') {
        r = note_report(s, content);
        return r == NULL || strcmp(to, m->sender) != 0 ? NULL : note_delivery(s, m, r, true);
    }
    if (r == NULL || r->target != target || strcmp(sender, m->sender) != 0) {
        scenario_fail(s, "target %d takes mail from %s for %s that nobody sent", target, sender,
                      to);
        return NULL;
    }
    if (!m->is_end_sent)
        scenario_fail(s, "message %u is delivered, its end was not sent", m->id);
    if (m->is_filtered)
        scenario_fail(s, "message %u is delivered, the filter said no", m->id);
    if (!is_whole(m, content))
        scenario_fail(s, "message %u is not what was sent", m->id);
    if (r->taken_count++ == 0)
        scenario_count(s, COUNT_DELIVERED);
    return note_delivery(s, m, r, false);
}

/* ---- what lies on the disk ---- */

static bool is_message_name(const char *path)
{
    return strlen(strrchr(path, '/') + 1) == ID_LENGTH;
}

bool ledger_queue_is_empty(struct scenario *s)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(s->world, STAGE_SPOOL "/queue", i)) != NULL; i++)
        if (is_message_name(path))
            return false;
    return true;
}

static void note_queued(struct scenario *s, const struct spool_message *queued, struct bytes body)
{
    struct message *m = ledger_find(s, body);

    if (queued->is_report) {
        note_report(s, body);
        return;
    }
    if (m == NULL || !bytes_equal(body, bytes_make(m->text.at, m->text.len))) {
        scenario_fail(s, "there is something in the queue that nobody sent");
        return;
    }
    for (uint32_t i = 0; i < queued->recipient_count; i++) {
        const struct address *to = &queued->recipients[i].to;
        char text[128];
        struct story *r;
        snprintf(text, sizeof(text), "%.*s@%.*s", (int)to->local.len, (const char *)to->local.at,
                 (int)to->domain.len, (const char *)to->domain.at);
        r = story_of(m, bytes_of(text));
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
        note_queued(s, &message,
                    bytes_first(bytes_skip(file, SPOOL_HEAD_BYTES), (size_t)head.body_bytes));
    else
        scenario_fail(s, "%s is no message", path);
    arena_reset(&arena);
    pool_done(&pool);
}

static void read_box(struct scenario *s, const char *path)
{
    struct message *m;
    struct bytes file;
    char address[64] = "";
    struct story *r;

    if (strstr(path, "/new/") == NULL || !sim_file(s->world, path, &file))
        return;
    m = ledger_find(s, file);
    if (sscanf(path, "/mail/%31[^/]/%31[^/]/", address + 32, address) == 2) {
        char domain[32];
        memcpy(domain, address + 32, sizeof(domain));
        snprintf(address + strlen(address), 33, "@%s", domain);
    }
    r = story_of(m, bytes_of(address));
    if (r == NULL || !r->has_box)
        scenario_fail(s, "%s is nobody's", path);
    else if (!is_whole_in_box(m, file))
        scenario_fail(s, "%s is not what was sent", path);
    else if (!m->is_end_sent || m->is_filtered)
        scenario_fail(s, "%s should not have been delivered", path);
    else if (r->box_count++ > 0)
        scenario_fail(s, "%s is there twice", path);
    else
        scenario_count(s, COUNT_BOXED);
}

static void read_disk(struct scenario *s)
{
    static const char *const folders[] = {STAGE_SPOOL "/queue", STAGE_SPOOL "/hold"};
    const char *path;

    for (size_t f = 0; f < ARRAY_LENGTH(folders); f++) {
        for (unsigned i = 0; (path = sim_file_below(s->world, folders[f], i)) != NULL; i++) {
            if (!is_message_name(path))
                continue;
            if (f == 0)
                scenario_fail(s, "%s stays in the queue", path);
            else
                scenario_count(s, COUNT_HELD);
            read_queued(s, path);
        }
    }
    if ((path = sim_file_below(s->world, STAGE_SPOOL "/bad", 0)) != NULL)
        scenario_fail(s, "%s is there", path);
    for (unsigned i = 0; (path = sim_file_below(s->world, "/mail", i)) != NULL; i++)
        read_box(s, path);
}

/* ---- the end ---- */

static void check_story(struct scenario *s, const struct message *m, const struct story *r)
{
    bool is_silenced = m->was_deleted || (r->wants_no_report && s->targets.refusals > 0);
    bool is_there = (r->target < 0 || r->taken_count > 0) && (!r->has_box || r->box_count > 0);
    bool is_safe = r->is_bounced || r->is_queued || is_silenced || is_there;

    if (m->code / 100 == 2 && r->is_accepted && !is_safe)
        scenario_fail(s, "message %u to %s was acknowledged, and is lost", m->id, r->address);
    /* A list may be refused for one leg where the target of another has taken its RCPT already. */
    if (r->is_refused && r->taken_count + r->box_count > 0 && !(r->has_box && r->target >= 0))
        scenario_fail(s, "message %u to %s was refused, and delivered", m->id, r->address);
}

/* A message that the client was refused may have been delivered only where the target's word was
 * not heard, or a commit has failed behind it. */
static void check_refused(struct scenario *s, const struct message *m)
{
    LIST_EACH (link, &s->deliveries) {
        const struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        if (d->message == m && !d->is_report && is_heard(s, d) && sim_disk_failures(s->world) == 0)
            scenario_fail(s, "message %u was refused with %d, and delivered", m->id, m->code);
    }
}

void ledger_check(struct scenario *s)
{
    read_disk(s);
    LIST_EACH (link, &s->messages) {
        const struct message *m = LIST_ENTRY(link, struct message, link);
        for (unsigned i = 0; i < m->recipient_count; i++)
            check_story(s, m, &m->recipients[i]);
        if (m->code >= 400)
            check_refused(s, m);
    }
}
