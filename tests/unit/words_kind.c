/* SPDX-License-Identifier: BSD-2-Clause */
/* A kind of filter that does what words in the mail tell it, in place of all shipped kinds: [words
 * "N"]. It refuses HELO refuse-helo, the senders refuse-mail, defer-mail, refuse-data, the
 * recipient bulk, and a message with "spam" in its Subject or "worm" in a piece of its body; it
 * answers the sender slow late, and the sender never not at all. */
#include "proxy/config/filter_kinds.h"

#include <string.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "proxy/smtp/header_field.h"

struct words_conf {
    struct filter_common common;
};

struct words {
    struct filter filter;
    struct loop *loop;
};

struct message {
    struct filter_seat *seat;
    struct deadline deadline;
    struct loop *loop;
    struct filter_verdict verdict; /* of the sender slow */
    bool is_bad;
};

static const struct setting rows[] = {
    FILTER_ROWS(words_conf),
    FILTER_ON_ERROR_ROW(words_conf),
};

static const struct setting_section section = {.kind = "words",
                                               .rows = rows,
                                               .row_count = ARRAY_LENGTH(rows),
                                               .conf_bytes = sizeof(struct words_conf),
                                               .is_named = true,
                                               .name_offset =
                                                   SETTING_AT(words_conf, common.section),
                                               .help = "for tests"};

static const char lines[] = "Authentication-Results: postern.example.test;\r\n"
                            "\twords=pass (100%)\r\n"
                            "X-Words: second\r\n";

/* ---- verdicts ---- */

static struct filter_verdict refusal(uint16_t code, const char *wire)
{
    return (struct filter_verdict){
        .opinion = FILTER_REPLY,
        .reply = {.code = code, .enhanced = {(uint8_t)(code / 100), 7, 1}, .wire = bytes_of(wire)},
        .word = bytes_of("found")};
}

static void on_deadline(struct deadline *deadline)
{
    struct message *m = CONTAINER_OF(deadline, struct message, deadline);

    filter_answer(m->seat, &m->verdict);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static struct message *message_of(struct filter_seat *seat)
{
    struct message *m = seat->message;

    if (m == NULL) {
        m = seat->message = mem_zalloc(sizeof(*m));
        m->seat = seat;
        m->loop = CONTAINER_OF(seat->filter, struct words, filter)->loop;
        deadline_init(&m->deadline, &deadline_use);
    }
    return m;
}

static bool is_from(const struct filter_question *q, const char *local)
{
    return q->message != NULL && bytes_is(q->message->envelope.from.local, local);
}

static struct filter_verdict judge(struct filter_seat *seat, const struct filter_question *q)
{
    struct filter_verdict go_on = {.opinion = FILTER_CONTINUE};

    if (q->stage == SESSION_STAGE_HELO && bytes_is(q->helo, "refuse-helo"))
        return refusal(550, "550 5.7.1 Not this name\r\n");
    if (q->stage == SESSION_STAGE_MAIL && is_from(q, "refuse-mail"))
        return refusal(550, "550-5.7.1 Not 100% sure\r\n550 5.7.1 but no\r\n");
    if (q->stage == SESSION_STAGE_MAIL && is_from(q, "defer-mail"))
        return refusal(451, "451 4.7.1 Later\r\n");
    if (q->stage == SESSION_STAGE_RCPT && bytes_is(q->rcpt->to.local, "bulk"))
        return refusal(550, "550 5.7.1 Not to bulk\r\n");
    if (q->stage == SESSION_STAGE_DATA && is_from(q, "refuse-data"))
        return refusal(550, "550 5.7.1 Not now\r\n");
    if (q->stage == SESSION_STAGE_END && message_of(seat)->is_bad)
        return refusal(550, "550 5.7.1 Not this message\r\n");
    if (q->stage == SESSION_STAGE_MAIL)
        go_on.lines = bytes_of(lines);
    return go_on;
}

static void ask(struct filter_seat *seat, const struct filter_question *q)
{
    struct filter_verdict verdict = judge(seat, q);
    struct message *m = message_of(seat);

    if (q->stage != SESSION_STAGE_RCPT || (!is_from(q, "slow") && !is_from(q, "never"))) {
        filter_answer(seat, &verdict);
    } else if (is_from(q, "slow")) {
        m->verdict = verdict;
        deadline_set(m->loop, &m->deadline, loop_now_ms(m->loop) + 200);
    }
}

static void forget(struct filter_seat *seat)
{
    struct message *m = message_of(seat);

    deadline_clear(m->loop, &m->deadline);
}

static bool look_at_field(struct filter_seat *seat, struct bytes field)
{
    struct bytes value = header_field_value(field);

    if (header_field_is(field, "Subject") && memmem(value.at, value.len, "spam", 4) != NULL)
        message_of(seat)->is_bad = true;
    return true;
}

static bool look_at_body(struct filter_seat *seat, struct bytes piece)
{
    if (memmem(piece.at, piece.len, "worm", 4) != NULL)
        message_of(seat)->is_bad = true;
    return true;
}

static void end_message(struct filter_seat *seat)
{
    mem_free(seat->message);
    seat->message = NULL;
}

/* ---- life ---- */

static void free_filter(struct filter *filter)
{
    mem_free(CONTAINER_OF(filter, struct words, filter));
}

static const struct filter_ops ops = {.ask = ask,
                                      .forget = forget,
                                      .field = look_at_field,
                                      .body = look_at_body,
                                      .message_ended = end_message,
                                      .session_ended = end_message,
                                      .free = free_filter};

static struct filter *open_filter(struct filter_services *services, const void *conf,
                                  int *error_out)
{
    const struct words_conf *words = conf;
    struct words *w = mem_zalloc(sizeof(*w));

    *error_out = ERR_MEMORY;
    if (w == NULL)
        return NULL;
    w->loop = services->loop;
    w->filter = (struct filter){.ops = &ops,
                                .common = &words->common,
                                .stages = 1U << SESSION_STAGE_HELO | 1U << SESSION_STAGE_MAIL |
                                          1U << SESSION_STAGE_RCPT | 1U << SESSION_STAGE_DATA |
                                          1U << SESSION_STAGE_END,
                                .timeout_ms = 1000,
                                .authserv_id = bytes_of("postern.example.test")};
    return &w->filter;
}

static const struct filter_kind words_kind = {.section = &section, .open = open_filter};

/* In place of that of proxy/config/filter_kinds.c. */
const struct filter_kind *const filter_kinds[] = {&words_kind, NULL};
