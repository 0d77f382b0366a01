/* SPDX-License-Identifier: BSD-2-Clause */
/* A kind of filter that postern never heard of: [subject "N"] refuses what has a word in its
 * Subject. */
#include "proxy/config/filter_kinds.h"

#include <string.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/smtp/header_field.h"

struct subject_conf {
    struct filter_common common;
    struct bytes word;
};

struct subject {
    struct filter filter;
    const struct subject_conf *conf;
};

/* ---- settings ---- */

static const struct setting rows[] = {
    {"word", SETTING_TEXT, SETTING_AT(subject_conf, word), "spam", NULL, .help = "the word"},
    FILTER_ROWS(subject_conf),
    FILTER_ON_ERROR_ROW(subject_conf),
};

static const struct setting_section section = {.kind = "subject",
                                               .rows = rows,
                                               .row_count = ARRAY_LENGTH(rows),
                                               .conf_bytes = sizeof(struct subject_conf),
                                               .is_named = true,
                                               .name_offset =
                                                   SETTING_AT(subject_conf, common.section),
                                               .help = "refuses mail by a word in its Subject"};

/* ---- judging ---- */

/* Any pointer but NULL says that the word was found. */
static void look(struct filter_seat *seat, struct bytes field)
{
    const struct subject *s = CONTAINER_OF(seat->filter, struct subject, filter);
    struct bytes value = header_field_value(field);

    if (header_field_is(field, "Subject") &&
        memmem(value.at, value.len, s->conf->word.at, s->conf->word.len) != NULL)
        seat->message = seat;
}

static void ask(struct filter_seat *seat, const struct filter_question *question)
{
    static const struct reply no = {.code = 550,
                                    .enhanced = {5, 7, 1},
                                    .wire = {(const uint8_t *)"550 5.7.1 Not this word\r\n", 25}};
    struct filter_verdict verdict = {.opinion = FILTER_CONTINUE};

    (void)question;
    if (seat->message != NULL)
        verdict = (struct filter_verdict){
            .opinion = FILTER_REPLY, .reply = no, .word = bytes_of("found")};
    filter_answer(seat, &verdict);
}

static void end_message(struct filter_seat *seat)
{
    seat->message = NULL;
}

/* ---- life ---- */

static void free_filter(struct filter *filter)
{
    mem_free(CONTAINER_OF(filter, struct subject, filter));
}

static const struct filter_ops ops = {
    .ask = ask, .field = look, .message_ended = end_message, .free = free_filter};

static struct filter *open_filter(struct filter_services *services, const void *conf,
                                  int *error_out)
{
    struct subject *s = mem_zalloc(sizeof(*s));

    (void)services;
    *error_out = ERR_MEMORY;
    if (s == NULL)
        return NULL;
    s->conf = conf;
    s->filter =
        (struct filter){.ops = &ops, .common = &s->conf->common, .stages = 1U << SESSION_STAGE_END};
    return &s->filter;
}

static const struct filter_kind subject_kind = {.section = &section, .open = open_filter};

/* In place of that of proxy/config/filter_kinds.c. */
const struct filter_kind *const filter_kinds[] = {&subject_kind, NULL};
