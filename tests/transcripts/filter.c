/* SPDX-License-Identifier: BSD-2-Clause */
/* A filter that says nothing of itself. */
#include "tests/transcripts/filter.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[] = {
    [SESSION_STAGE_NONE] = "",     [SESSION_STAGE_CONNECT] = "connect",
    [SESSION_STAGE_HELO] = "helo", [SESSION_STAGE_MAIL] = "mail",
    [SESSION_STAGE_RCPT] = "rcpt", [SESSION_STAGE_DATA] = "data",
    [SESSION_STAGE_END] = "end",   [SESSION_STAGE_COMMAND] = "command",
    [SESSION_STAGE_LINE] = "line",
};

/* All that a question shows is read now and when it is answered: it must be there that long. */
static int describe(const struct smtpd_question *q, char text[2048])
{
    const struct session_question *about = &q->about;
    int len = snprintf(text, 2048, "%s", names[about->stage]);

    if (about->text.len > 0)
        len += snprintf(text + len, 2048 - (size_t)len, " %.*s", (int)about->text.len,
                        (const char *)about->text.at);
    if (about->transaction != NULL)
        len += snprintf(text + len, 2048 - (size_t)len, " (from %.*s)",
                        (int)about->transaction->envelope.from.local.len,
                        (const char *)about->transaction->envelope.from.local.at);
    if (about->rcpt != NULL)
        len += snprintf(text + len, 2048 - (size_t)len, " (to %.*s)",
                        (int)about->rcpt->original.local.len,
                        (const char *)about->rcpt->original.local.at);
    return len + snprintf(text + len, 2048 - (size_t)len, "\r\n");
}

static void ask(void *owner, struct smtpd_question *q)
{
    struct filter *f = owner;
    char text[2048];

    if (q->client->client.family == NETADDR_NONE)
        abort();
    list_append(&f->unanswered, &q->in_judge);
    actor_hear(&f->ear, bytes_make(text, (size_t)describe(q, text)));
}

static void forget(void *owner, struct smtpd_question *q)
{
    struct filter *f = owner;

    list_remove(&q->in_judge);
    actor_hear(&f->ear, bytes_of("forgotten\r\n"));
}

bool filter_init(struct filter *f, const char *stages)
{
    char name[16];
    int used;

    *f = (struct filter){.judge = {.owner = f, .ask = ask, .forget = forget}};
    list_init(&f->unanswered);
    while (stages != NULL && sscanf(stages, "%15s%n", name, &used) == 1) {
        size_t i = 0;
        while (i < ARRAY_LENGTH(names) && strcmp(names[i], name) != 0)
            i++;
        if (i == ARRAY_LENGTH(names))
            return false;
        f->judge.stages |= 1U << i;
        stages += used;
    }
    return true;
}

bool filter_answer(struct filter *f, const char *words)
{
    struct reply reply = {.code = (uint16_t)atoi(words)};
    char text[2048], *wire;

    if (list_is_empty(&f->unanswered))
        return false;
    struct smtpd_question *q =
        LIST_ENTRY(list_first(&f->unanswered), struct smtpd_question, in_judge);
    (void)describe(q, text);
    list_remove(&q->in_judge);
    wire = malloc(strlen(words) + 3); /* its own block: who borrows it too long is found */
    if (wire == NULL)
        abort();
    reply.wire = bytes_make(wire, (size_t)sprintf(wire, "%s\r\n", words));
    q->answered(q, &reply);
    free(wire);
    return true;
}
