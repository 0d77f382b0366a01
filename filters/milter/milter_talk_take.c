/* SPDX-License-Identifier: BSD-2-Clause */
/* What a milter answers, and what that means. */
#include "proxy/base/error.h"

#include "filters/milter/milter_talk_private.h"

/* ---- options ---- */

static int keep_lists(struct milter_talk *talk, struct milter_terms *terms)
{
    int error = 0;

    for (unsigned stage = 0; stage < MILTER_STAGES && error == 0; stage++) {
        struct bytes list = terms->lists[stage];

        if (list.at == NULL)
            continue;
        error = arena_copy(&talk->of_connection, list, &terms->lists[stage]);
        if (list.len == 0)
            terms->lists[stage] = bytes_of(""); /* it wants none */
    }
    return error;
}

static void take_options(struct milter_talk *talk, const struct milter_packet *packet,
                         struct milter_talk_event *event_out)
{
    struct milter_terms offer = milter_talk_offer(talk->choice), terms;
    const char *problem = milter_terms_read(packet, &offer, &terms, &event_out->bits);

    if (problem == NULL && keep_lists(talk, &terms) != 0)
        problem = "no memory";
    if (problem != NULL) {
        milter_talk_break(talk, problem);
        return;
    }
    talk->terms = terms;
    talk->state = MILTER_TALK_OPEN;
    event_out->kind = MILTER_TALK_READY;
    if (talk->asked != SESSION_STAGE_NONE)
        milter_talk_advance(talk);
}

/* ---- verdicts ---- */

static struct milter_verdict verdict_of(const struct milter_answer *answer)
{
    static const enum filter_opinion opinions[] = {[MILTER_CONTINUE] = FILTER_CONTINUE,
                                                   [MILTER_ACCEPT] = FILTER_ACCEPT,
                                                   [MILTER_REPLY] = FILTER_REPLY,
                                                   [MILTER_DISCARD] = FILTER_DISCARD};

    assert(answer->kind < ARRAY_LENGTH(opinions));
    return (struct milter_verdict){.opinion = opinions[answer->kind], .reply = answer->reply};
}

/* No more is said about this message. A reply lies in `texts`, which the next answer changes. */
static void decide(struct milter_talk *talk, struct milter_verdict verdict)
{
    static const struct milter_verdict go_on = {.opinion = FILTER_CONTINUE};
    struct milter_talk_message *m = &talk->message;

    if (verdict.opinion == FILTER_REPLY &&
        reply_copy(&talk->of_message, &verdict.reply, &verdict.reply) != 0) {
        milter_talk_break(talk, "no memory");
        return;
    }
    m->is_decided = true;
    m->is_sent = false;
    m->verdict = verdict;
    if (talk->asked == SESSION_STAGE_COMMAND)
        milter_talk_tell(talk, &go_on);
    else if (talk->asked != SESSION_STAGE_NONE)
        milter_talk_tell(talk, &verdict);
}

/* ---- answers to what is asked ---- */

/* Of the client: at CONNECT or HELO. */
static void take_of_client(struct milter_talk *talk, const struct milter_answer *answer)
{
    struct milter_verdict verdict;

    if (answer->kind == MILTER_CONTINUE || answer->kind == MILTER_DISCARD) {
        milter_talk_advance(talk); /* there is nothing yet that could be discarded */
        return;
    }
    verdict = verdict_of(answer);
    verdict.is_of_session = true;
    milter_talk_tell(talk, &verdict);
}

/* What was said of one recipient, or one command, and not of more. */
static void take_of_one(struct milter_talk *talk, const struct milter_answer *answer)
{
    struct milter_verdict verdict = verdict_of(answer);

    milter_talk_tell(talk, &verdict);
}

/* A refusal is of the command alone. Anything else that is final is of the message, if there is
 * one.
 */
static void take_of_command(struct milter_talk *talk, const struct milter_answer *answer)
{
    if (answer->kind == MILTER_REPLY)
        take_of_one(talk, answer);
    else if (answer->kind == MILTER_CONTINUE || !talk->message.is_begun)
        milter_talk_advance(talk);
    else
        decide(talk, verdict_of(answer));
}

static void take_step(struct milter_talk *talk, const struct milter_answer *answer)
{
    enum milter_step step = talk->step;

    talk->step = MILTER_STEP_NONE;
    if (step == MILTER_STEP_CONNECT || step == MILTER_STEP_HELO)
        take_of_client(talk, answer);
    else if (step == MILTER_STEP_UNKNOWN)
        take_of_command(talk, answer);
    else if (step == MILTER_STEP_RCPT && answer->kind == MILTER_REPLY)
        take_of_one(talk, answer);
    else if (answer->kind == MILTER_CONTINUE && step != MILTER_STEP_END)
        milter_talk_advance(talk);
    else
        decide(talk, verdict_of(answer));
}

/* ---- answers to content ---- */

/* The part of the content whose answer is due next; NONE: what is asked, or nothing. */
static enum milter_step oldest_due(const struct milter_talk *talk)
{
    for (unsigned step = MILTER_STEP_FIELD; step < MILTER_STEP_END; step++)
        if (talk->message.due[step] != 0)
            return (enum milter_step)step;
    return MILTER_STEP_NONE;
}

/* The rest of what was sent may be answered or not. */
static void take_content(struct milter_talk *talk, enum milter_step step,
                         const struct milter_answer *answer)
{
    talk->message.due[step]--;
    if (answer->kind == MILTER_CONTINUE)
        return;
    if (milter_talk_is_due(talk))
        talk->state = MILTER_TALK_SPENT;
    decide(talk, verdict_of(answer));
}

/* ---- edits ---- */

/* A new body comes in one go. NULL: it is fine. */
static const char *check_body(struct milter_talk_message *m, enum filter_edit_kind kind)
{
    if (kind != FILTER_REPLACE_BODY)
        m->has_whole_body = m->has_body;
    else if (m->has_whole_body)
        return "a new body in two parts";
    else
        m->has_body = true;
    return NULL;
}

static void take_edit(struct milter_talk *talk, const struct milter_answer *answer,
                      struct milter_talk_event *event_out)
{
    bool is_allowed = (talk->terms.actions & answer->action) != 0;
    bool is_body = answer->edit.kind == FILTER_REPLACE_BODY;
    const char *problem = check_body(&talk->message, answer->edit.kind);

    if (talk->step != MILTER_STEP_END || oldest_due(talk) != MILTER_STEP_NONE)
        problem = "a change before the end of the message";
    else if (is_body && !is_allowed)
        problem = "a new body, which was not agreed on";
    if (problem != NULL) {
        milter_talk_break(talk, problem);
        return;
    }
    event_out->kind = is_allowed ? MILTER_TALK_EDIT : MILTER_TALK_IGNORED;
    event_out->edit = answer->edit;
}

/* ---- packets ---- */

/* "No more of this": what comes once only needs no such thing, and it means "go on". */
static const char *take_skip(struct milter_talk *talk, enum milter_step step,
                             struct milter_answer *answer)
{
    if ((talk->terms.steps & SMFIP_SKIP) == 0)
        return "skip, which was not agreed on";
    if (step == MILTER_STEP_FIELD || step == MILTER_STEP_BODY || step == MILTER_STEP_RCPT)
        talk->message.skips[step] = true;
    answer->kind = MILTER_CONTINUE;
    return step == MILTER_STEP_END ? "skip at the end of the message" : NULL;
}

static void take_answer(struct milter_talk *talk, const struct milter_packet *packet,
                        struct milter_talk_event *event_out)
{
    bool keeps_space = (talk->terms.steps & SMFIP_HDR_LEADSPC) != 0;
    enum milter_step content = oldest_due(talk), step = content;
    struct milter_answer answer;
    const char *problem = milter_answer_read(&talk->texts, packet, keeps_space, &answer);

    if (step == MILTER_STEP_NONE)
        step = talk->step;
    if (problem == NULL && step == MILTER_STEP_NONE)
        problem = "an answer to nothing";
    if (problem == NULL && answer.kind == MILTER_SKIP)
        problem = take_skip(talk, step, &answer);
    if (problem != NULL)
        milter_talk_break(talk, problem);
    else if (answer.kind == MILTER_PROGRESS)
        event_out->kind = MILTER_TALK_PROGRESS;
    else if (answer.kind == MILTER_EDIT)
        take_edit(talk, &answer, event_out);
    else if (content != MILTER_STEP_NONE)
        take_content(talk, content, &answer);
    else
        take_step(talk, &answer);
    if (content != MILTER_STEP_NONE && event_out->kind == MILTER_TALK_MORE)
        event_out->kind = MILTER_TALK_PROGRESS;
}

/* False: nothing has come of it yet. */
static bool take_packet(struct milter_talk *talk, struct bytes *in,
                        struct milter_talk_event *event_out)
{
    struct milter_packet packet;
    int error = milter_reader_take(&talk->in, in, &packet);

    if (error == ERR_NOT_FOUND)
        return false;
    if (error != 0)
        milter_talk_break(talk, error == ERR_MEMORY ? "no memory" : "a packet of a bad length");
    else if (talk->state == MILTER_TALK_OPTIONS)
        take_options(talk, &packet, event_out);
    else
        take_answer(talk, &packet, event_out);
    return true;
}

static bool is_reading(const struct milter_talk *talk)
{
    return talk->state == MILTER_TALK_OPTIONS || talk->state == MILTER_TALK_OPEN;
}

/* What was found without anything coming in. */
static bool take_known(struct milter_talk *talk, struct milter_talk_event *event_out)
{
    if (talk->out.has_failed)
        milter_talk_break(talk, "no memory");
    if (talk->problem != NULL) {
        event_out->kind = MILTER_TALK_FAILED;
        event_out->problem = talk->problem;
        talk->problem = NULL;
        return true;
    }
    if (!talk->has_verdict)
        return false;
    event_out->kind = MILTER_TALK_VERDICT;
    event_out->verdict = talk->verdict;
    talk->has_verdict = false;
    return true;
}

void milter_talk_take(struct milter_talk *talk, struct bytes *in,
                      struct milter_talk_event *event_out)
{
    *event_out = (struct milter_talk_event){.kind = MILTER_TALK_MORE};
    while (event_out->kind == MILTER_TALK_MORE && !take_known(talk, event_out)) {
        if (!is_reading(talk)) {
            *in = bytes_skip(*in, in->len); /* nobody listens any more */
            return;
        }
        if (!take_packet(talk, in, event_out))
            return;
    }
}
