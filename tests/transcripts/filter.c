/* SPDX-License-Identifier: BSD-2-Clause */
/* A filter that says nothing of itself. */
#include "tests/transcripts/filter.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/edit_words.h"

static const char *const names[] = {
    [SESSION_STAGE_NONE] = "",     [SESSION_STAGE_CONNECT] = "connect",
    [SESSION_STAGE_HELO] = "helo", [SESSION_STAGE_MAIL] = "mail",
    [SESSION_STAGE_RCPT] = "rcpt", [SESSION_STAGE_DATA] = "data",
    [SESSION_STAGE_END] = "end",   [SESSION_STAGE_COMMAND] = "command",
    [SESSION_STAGE_LINE] = "line",
};

struct unanswered {
    struct list in_scripted;
    struct filter_seat *seat;
};

static struct scripted *scripted_of(struct filter *filter)
{
    return CONTAINER_OF(filter, struct scripted, filter);
}

/* All that a question shows. */
static void describe(const struct filter_question *q, struct actor *ear)
{
    char text[2048];
    int len = snprintf(text, sizeof(text), "%s", names[q->stage]);

    if (q->stage == SESSION_STAGE_HELO)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " %.*s", (int)q->helo.len,
                        (const char *)q->helo.at);
    if (q->text.len > 0)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " %.*s", (int)q->text.len,
                        (const char *)q->text.at);
    if (q->message != NULL)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " (from %.*s)",
                        (int)q->message->envelope.from.local.len,
                        (const char *)q->message->envelope.from.local.at);
    if (q->rcpt != NULL)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " (to %.*s)",
                        (int)q->rcpt->original.local.len, (const char *)q->rcpt->original.local.at);
    len += snprintf(text + len, sizeof(text) - (size_t)len, "\r\n");
    actor_hear(ear, bytes_make(text, (size_t)len));
}

static void say(struct filter_seat *seat, const char *words)
{
    static const char go_on[] = "go on";
    struct filter_verdict verdict = {.opinion = FILTER_CONTINUE};
    char *wire = malloc(strlen(words) + 3); /* its own block: who borrows it too long is found */

    if (wire == NULL)
        abort();
    struct bytes line = bytes_make(wire, (size_t)sprintf(wire, "%s\r\n", words));
    if (atoi(words) != 0) {
        verdict.opinion = FILTER_REPLY;
        verdict.reply = (struct reply){.code = (uint16_t)atoi(words), .wire = line};
    } else if (strcmp(words, "failed") == 0) {
        verdict.opinion = FILTER_FAILED;
    } else if (strcmp(words, "discard") == 0) {
        verdict.opinion = FILTER_DISCARD;
    } else if (strncmp(words, "edit ", 5) == 0) {
        if (!edit_words_give(seat, words + 5))
            abort();
    } else if (strlen(words) > sizeof(go_on)) {
        verdict.lines = bytes_skip(line, sizeof(go_on));
        verdict.word = bytes_of("seen");
    }
    filter_answer(seat, &verdict);
    free(wire);
}

static void ask(struct filter_seat *seat, const struct filter_question *q)
{
    struct scripted *f = scripted_of(seat->filter);
    struct unanswered *u = malloc(sizeof(*u));

    describe(q, &f->ear);
    if (f->ahead != NULL) {
        const char *words = f->ahead;
        f->ahead = NULL;
        free(u);
        say(seat, words);
        return;
    }
    if (u == NULL || seat->session != NULL || q->client->client.family == NETADDR_NONE)
        abort();
    u->seat = seat;
    seat->session = u;
    list_append(&f->unanswered, &u->in_scripted);
}

static struct filter_seat *take(struct unanswered *u)
{
    struct filter_seat *seat = u->seat;

    list_remove(&u->in_scripted);
    seat->session = NULL;
    free(u);
    return seat;
}

static void forget(struct filter_seat *seat)
{
    struct scripted *f = scripted_of(seat->filter);

    (void)take(seat->session);
    actor_hear(&f->ear, bytes_of("forgotten\r\n"));
}

static void end(struct filter *filter)
{
    (void)filter;
}

static const struct filter_ops ops = {.ask = ask, .forget = forget, .free = end};

bool scripted_init(struct scripted *f, const char *stages)
{
    char name[16];
    int used;

    *f = (struct scripted){.common = {.section = bytes_of("scripted")}};
    f->filter = (struct filter){.ops = &ops,
                                .common = &f->common,
                                .timeout_ms = 3600000,
                                .authserv_id = bytes_of("mx.test")};
    list_init(&f->unanswered);
    while (stages != NULL && sscanf(stages, "%15s%n", name, &used) == 1) {
        size_t i = 0;
        while (i < ARRAY_LENGTH(names) && strcmp(names[i], name) != 0)
            i++;
        if (strcmp(name, "content") == 0)
            f->filter.edits |= FILTER_EDITS_CONTENT;
        else if (strcmp(name, "envelope") == 0)
            f->filter.edits |= FILTER_EDITS_ENVELOPE;
        else if (strcmp(name, "hold") == 0)
            f->filter.edits |= FILTER_EDIT(FILTER_QUARANTINE);
        else if (i == ARRAY_LENGTH(names))
            return false;
        else
            f->filter.stages |= 1U << i;
        stages += used;
    }
    return true;
}

bool scripted_answer(struct scripted *f, const char *words)
{
    if (list_is_empty(&f->unanswered))
        return false;
    say(take(LIST_ENTRY(list_first(&f->unanswered), struct unanswered, in_scripted)), words);
    return true;
}
