/* SPDX-License-Identifier: BSD-2-Clause */
/* The book of one way through an operation: what was told, what was taken, and whether that goes
 * together. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/exhaustive.h"

#define LATE_MS  170 /* a removal is durable after 100 ms, and a tick of the wheel */
#define BIG_LINE 4000

#define RECIPIENT "Final-Recipient: rfc822;"

void book_fail(struct book *b, const char *format, ...)
{
    va_list list;

    if (b->problem[0] != '\0')
        return;
    va_start(list, format);
    vsnprintf(b->problem, sizeof(b->problem), format, list);
    va_end(list);
}

/* ---- what is alike goes on alike ---- */

static uint64_t mix(uint64_t hash, const void *octets, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ ((const uint8_t *)octets)[i]) * 0x100000001b3u;
    return hash;
}

uint64_t book_hash(const struct book *b)
{
    uint64_t hash = mix(0xcbf29ce484222325u, b->messages, sizeof(b->messages));

    for (unsigned i = 0; i < b->line_count; i++) {
        struct book_line line = b->lines[i];
        line.told_ms = 0;
        hash = mix(hash, &line, sizeof(line));
    }
    return mix(hash, &b->is_duty_done, sizeof(b->is_duty_done));
}

/* ---- messages ---- */

struct book_recipient *book_find(struct book *b, struct bytes address,
                                 struct book_message **message_out)
{
    for (unsigned i = 0; i < b->message_count; i++) {
        for (unsigned k = 0; k < b->messages[i].recipient_count; k++) {
            if (!bytes_is(address, b->messages[i].recipients[k].address))
                continue;
            *message_out = &b->messages[i];
            return &b->messages[i].recipients[k];
        }
    }
    return NULL;
}

void book_content(const struct book_message *m, struct sim_text *text)
{
    text->len = 0;
    sim_put(text, bytes_of("Subject: for "));
    sim_put(text, bytes_of(m->recipients[0].address));
    sim_put(text, bytes_of("\r\n\r\n"));
    for (unsigned i = m->is_big ? BIG_LINE : 2; i > 0; i--) {
        char line[40];
        snprintf(line, sizeof(line), "line %u, and what it says\r\n", i);
        sim_put(text, bytes_of(line));
    }
}

bool book_is_content(const struct book_message *m, struct bytes content, bool has_cr)
{
    struct sim_text text = {.len = 0};
    size_t len = 0;
    bool is_it;

    book_content(m, &text);
    for (size_t i = 0; i < text.len; i++)
        if (has_cr || text.at[i] != '\r')
            text.at[len++] = text.at[i];
    is_it = content.len >= len &&
            bytes_equal(bytes_skip(content, content.len - len), bytes_make(text.at, len)) &&
            (content.len == len || content.at[content.len - len - 1] == '\n');
    free(text.at);
    return is_it;
}

/* ---- what a target takes ---- */

static struct bytes behind(struct bytes text, const char *what)
{
    const char *at = text.len == 0 ? NULL : memmem(text.at, text.len, what, strlen(what));
    size_t skipped = at == NULL ? text.len : (size_t)(at - (const char *)text.at) + strlen(what);

    return bytes_skip(text, skipped);
}

static void copy_word(char *into, size_t size, struct bytes from)
{
    size_t len = 0;

    while (len + 1 < size && len < from.len && from.at[len] > ' ' && from.at[len] != '>' &&
           from.at[len] != ';')
        len++;
    if (len > 0)
        memcpy(into, from.at, len);
    into[len] = '\0';
}

/* A report was delivered before its cause knew of it, and a death came between. */
static bool may_report_again(struct book *b, const struct book_line *line)
{
    struct book_message *m;
    struct book_recipient *r = book_find(b, bytes_of(line->about), &m);

    if (r == NULL || r->report_mercy == 0)
        return false;
    r->report_mercy--;
    return true;
}

/* With the last time that it was delivered; only that one can still be forgiven. */
static void compare_with_before(struct book *b, const struct book_line *line)
{
    const struct book_line *last = NULL;

    for (unsigned i = 0; i < b->line_count; i++) {
        const struct book_line *before = &b->lines[i];
        if (strcmp(before->about, line->about) == 0 && strcmp(before->action, line->action) == 0 &&
            strcmp(before->to, line->to) == 0)
            last = before;
    }
    if (last == NULL)
        return;
    if (strcmp(last->id, line->id) != 0)
        book_fail(b, "%s and %s are the same for %s", last->id, line->id, line->to);
    else if (!last->may_repeat && !may_report_again(b, line))
        book_fail(b, "%s is delivered to %s twice", line->id, line->to);
}

static void add_line(struct book *b, const struct book_line *line)
{
    if (b->line_count < BOOK_LINES)
        b->lines[b->line_count++] = *line;
    else
        book_fail(b, "there is no end of deliveries");
}

/* `about`: what it says of one recipient. */
static void note_report(struct book *b, struct book_line *line, struct bytes about)
{
    struct book_message *m;

    while (about.len > 0 && about.at[0] == ' ')
        about = bytes_skip(about, 1);
    copy_word(line->about, sizeof(line->about), about);
    copy_word(line->action, sizeof(line->action), behind(about, "Action: "));
    if (book_find(b, bytes_of(line->about), &m) == NULL)
        book_fail(b, "a report is about '%s'", line->about);
}

static void note_message(struct book *b, struct book_line *line, struct bytes content)
{
    struct book_message *m;
    struct book_recipient *r = book_find(b, bytes_of(line->to), &m);

    copy_word(line->id, sizeof(line->id), behind(content, "SMTP id "));
    if (r == NULL)
        book_fail(b, "mail for %s, which nobody sent", line->to);
    else if (!book_is_content(m, content, true))
        book_fail(b, "mail for %s is not what was sent", line->to);
    else if (m->is_refused)
        book_fail(b, "mail for %s is delivered, and was refused", line->to);
    else if (r->is_bounced)
        book_fail(b, "mail for %s is delivered, and was returned", line->to);
}

void book_take(struct book *b, bool is_at_b, struct bytes sender, struct bytes to,
               struct bytes content)
{
    struct book_line line = {.is_at_b = is_at_b};
    struct bytes about = sender.len == 0 ? behind(content, RECIPIENT) : bytes_of("");
    bool is_report = about.len > 0;

    copy_word(line.to, sizeof(line.to), to);
    if (is_report)
        copy_word(line.id, sizeof(line.id), behind(content, "Message-ID: <"));
    else
        note_message(b, &line, content);
    do {
        if (is_report)
            note_report(b, &line, about);
        compare_with_before(b, &line);
        add_line(b, &line);
        about = behind(about, RECIPIENT);
    } while (about.len > 0);
}

/* ---- what the log says ---- */

static bool is_event(struct bytes line, const char *event)
{
    return bytes_start_with_nocase(line, event) && line.at[strlen(event)] == ' ';
}

/* Nobody but the log tells of a Maildir. */
static void note_delivered(struct book *b, const char *id, const char *to, uint64_t now_ms)
{
    struct book_line box = {.is_box = true, .is_told = true, .told_ms = now_ms};
    bool is_known = false;

    for (unsigned i = 0; i < b->line_count; i++) {
        struct book_line *line = &b->lines[i];
        if (strcmp(line->id, id) != 0 || strcmp(line->to, to) != 0)
            continue;
        line->is_told = is_known = true;
        line->told_ms = now_ms;
    }
    if (is_known)
        return;
    snprintf(box.id, sizeof(box.id), "%s", id);
    snprintf(box.to, sizeof(box.to), "%s", to);
    add_line(b, &box);
}

/* No name is durable, and none is known not to be. */
static void note_not_synced(struct book *b)
{
    for (unsigned i = 0; i < b->line_count; i++)
        b->lines[i].was_unsynced = true;
}

void book_hear(struct book *b, struct bytes line, uint64_t now_ms)
{
    static const char *const duties[] = {"held", "released", "deleted", "bounced", "rerouted"};
    char id[ID_LENGTH + 1], to[BOOK_ADDRESS];
    struct bytes rcpt = behind(line, " rcpt=<");
    struct book_message *m;
    struct book_recipient *r;

    copy_word(id, sizeof(id), behind(line, " transaction="));
    copy_word(to, sizeof(to), rcpt);
    r = book_find(b, bytes_of(to), &m);
    if (is_event(line, "delivered"))
        note_delivered(b, id, to, now_ms);
    if (is_event(line, "queue-not-synced"))
        note_not_synced(b);
    if (is_event(line, "queue-file") && behind(line, " failed=write").len > 0)
        b->unwritten++;
    for (size_t i = 0; rcpt.len == 0 && i < ARRAY_LENGTH(duties); i++)
        b->is_duty_done = b->is_duty_done || is_event(line, duties[i]);
    if (r == NULL)
        return;
    if (is_event(line, "bounced") || is_event(line, "expired")) {
        r->is_bounced = true;
        r->bounced_ms = now_ms;
        memcpy(r->id, id, sizeof(r->id));
    }
    r->is_reported = r->is_reported || behind(line, " report=").len > 0;
}

/* ---- a process is no more ---- */

static bool is_name_of(const char *path, const char *id)
{
    return strcmp(strrchr(path, '/') + 1, id) == 0;
}

static bool is_there(struct sim *w, const char *id)
{
    static const char *const folders[] = {"/spool/queue", "/spool/hold"};
    const char *path;

    for (size_t f = 0; f < ARRAY_LENGTH(folders); f++)
        for (unsigned i = 0; (path = sim_file_below(w, folders[f], i)) != NULL; i++)
            if (is_name_of(path, id))
                return true;
    return false;
}

/* It may be back: its name was removed, and that was not synced for sure. */
static bool may_be_back(struct sim *w, const char *id, uint64_t told_ms)
{
    return sim_now_ms(w) - told_ms <= LATE_MS && !is_there(w, id);
}

static void forgive_recipient(struct book *b, struct book_recipient *r, struct sim *w,
                              bool is_power)
{
    bool is_told = false;

    if (is_power && r->is_bounced && may_be_back(w, r->id, r->bounced_ms)) {
        r->is_bounced = false;
        r->report_mercy++;
    }
    for (unsigned i = 0; i < b->line_count; i++)
        if (b->lines[i].is_box && strcmp(b->lines[i].to, r->address) == 0)
            is_told = is_told || !b->lines[i].may_repeat;
    r->box_mercy += !is_told;
    r->report_mercy += !r->is_reported && !b->is_orderly;
}

/* What is in no record may be delivered again. What is may not, but where it was the removal of a
 * name, and that is not synced yet. */
void book_death(struct book *b, struct sim *w, bool is_power)
{
    for (unsigned i = 0; i < b->line_count; i++) {
        struct book_line *line = &b->lines[i];

        if (!line->is_told) {
            line->may_repeat = true;
        } else if ((line->was_unsynced && !is_there(w, line->id)) ||
                   may_be_back(w, line->id, line->told_ms)) {
            line->may_repeat = line->may_repeat || is_power;
            line->was_unsynced = true;
        }
    }
    for (unsigned i = 0; i < b->message_count; i++) {
        struct book_message *m = &b->messages[i];
        m->is_refused = m->is_refused && !is_power; /* its name may be back */
        for (unsigned k = 0; k < m->recipient_count; k++)
            forgive_recipient(b, &m->recipients[k], w, is_power);
    }
}
