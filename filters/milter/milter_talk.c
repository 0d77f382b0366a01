/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said to a milter. */
#include "filters/milter/milter_talk.h"

#include "filters/milter/milter_talk_private.h"
#include "proxy/smtp/header_field.h"

#define OUT_MAX       (1U << 20) /* its owner stops long before */
#define CONNECTED_MAX 32768      /* lists of macros */
#define MESSAGE_MAX   MILTER_PACKET_MAX
#define QUESTION_MAX  16384

/* A command: which macros go before it, which steps say that the milter does not want it, or gives
 * no answer to it. */
static const struct step_row {
    uint8_t command;
    unsigned stage; /* MILTER_STAGE_COUNT: it has no macros */
    uint32_t no, no_reply;
    uint32_t version; /* since when it exists */
} step_rows[] = {
    [MILTER_STEP_NONE] = {.command = 0},
    [MILTER_STEP_CONNECT] = {SMFIC_CONNECT, SMFIM_CONNECT, SMFIP_NOCONNECT, SMFIP_NR_CONN, 2},
    [MILTER_STEP_HELO] = {SMFIC_HELO, SMFIM_HELO, SMFIP_NOHELO, SMFIP_NR_HELO, 2},
    [MILTER_STEP_MAIL] = {SMFIC_MAIL, SMFIM_ENVFROM, SMFIP_NOMAIL, SMFIP_NR_MAIL, 2},
    [MILTER_STEP_RCPT] = {SMFIC_RCPT, SMFIM_ENVRCPT, SMFIP_NORCPT, SMFIP_NR_RCPT, 2},
    [MILTER_STEP_DATA] = {SMFIC_DATA, SMFIM_DATA, SMFIP_NODATA, SMFIP_NR_DATA, 4},
    [MILTER_STEP_UNKNOWN] = {SMFIC_UNKNOWN, MILTER_STAGE_UNKNOWN, SMFIP_NOUNKNOWN, SMFIP_NR_UNKN,
                             3},
    [MILTER_STEP_FIELD] = {SMFIC_HEADER, MILTER_STAGE_COUNT, SMFIP_NOHDRS, SMFIP_NR_HDR, 2},
    [MILTER_STEP_HEADER_END] = {SMFIC_EOH, SMFIM_EOH, SMFIP_NOEOH, SMFIP_NR_EOH, 2},
    [MILTER_STEP_BODY] = {SMFIC_BODY, MILTER_STAGE_COUNT, SMFIP_NOBODY, SMFIP_NR_BODY, 2},
    [MILTER_STEP_END] = {SMFIC_BODYEOB, SMFIM_EOM, 0, 0, 2},
};

/* ---- commands ---- */

static bool is_wanted(const struct milter_talk *talk, enum milter_step step)
{
    const struct step_row *row = &step_rows[step];

    return (talk->terms.steps & row->no) == 0 && talk->terms.version >= row->version &&
           !talk->message.skips[step];
}

static bool is_answered(const struct milter_talk *talk, enum milter_step step)
{
    return (talk->terms.steps & step_rows[step].no_reply) == 0;
}

/* What the milter asked for, or the operator, or the usual. */
static struct bytes list_for(const struct milter_talk *talk, unsigned stage)
{
    if (stage < MILTER_STAGES && talk->terms.lists[stage].at != NULL)
        return talk->terms.lists[stage];
    return talk->choice->lists[stage].at != NULL ? talk->choice->lists[stage]
                                                 : milter_macros_usual(stage);
}

static void put_macros(const struct milter_talk *talk, enum milter_step step, struct buf *out)
{
    const struct step_row *row = &step_rows[step];

    milter_macros_put(out, row->command, list_for(talk, row->stage), &talk->about);
}

/* An unconfirmed name is none: mail servers give the address in its place. */
static void put_connect(struct milter_talk *talk)
{
    const struct identity *who = talk->about.client;
    char host[NETADDR_TEXT_MAX + 2], text[NETADDR_TEXT_MAX];
    struct bytes address = bytes_of(netaddr_text(&who->client, text));

    host[0] = '[';
    memcpy(host + 1, address.at, address.len);
    host[address.len + 1] = ']';
    milter_put_connect(
        &talk->out,
        who->name_state == IDENTITY_NAME_CONFIRMED ? who->name : bytes_make(host, address.len + 2),
        &who->client);
}

static void put_command(struct milter_talk *talk, enum milter_step step)
{
    const struct milter_about *about = &talk->about;
    uint8_t command = step_rows[step].command;

    switch (step) {
    case MILTER_STEP_CONNECT:
        put_connect(talk);
        return;
    case MILTER_STEP_HELO:
        milter_put_text(&talk->out, command, about->helo);
        return;
    case MILTER_STEP_UNKNOWN:
        milter_put_text(&talk->out, command, about->line);
        return;
    case MILTER_STEP_MAIL:
        milter_put_path(&talk->out, command, &about->envelope->from, about->envelope->params);
        return;
    case MILTER_STEP_RCPT:
        milter_put_path(&talk->out, command, about->rcpt, about->rcpt_params);
        return;
    case MILTER_STEP_DATA:
    case MILTER_STEP_HEADER_END:
    case MILTER_STEP_END:
        milter_put_bare(&talk->out, command);
        return;
    case MILTER_STEP_NONE:
    case MILTER_STEP_FIELD:
    case MILTER_STEP_BODY:
        break;
    }
    assert(false); /* content has its own ways */
}

/* ---- the stages ---- */

static bool is_of_message(enum milter_step step)
{
    return step != MILTER_STEP_CONNECT && step != MILTER_STEP_HELO && step != MILTER_STEP_UNKNOWN;
}

static enum milter_step step_of(enum session_stage stage)
{
    switch (stage) {
    case SESSION_STAGE_CONNECT:
        return MILTER_STEP_CONNECT;
    case SESSION_STAGE_HELO:
        return MILTER_STEP_HELO;
    case SESSION_STAGE_MAIL:
        return MILTER_STEP_MAIL;
    case SESSION_STAGE_RCPT:
        return MILTER_STEP_RCPT;
    case SESSION_STAGE_DATA:
        return MILTER_STEP_DATA;
    case SESSION_STAGE_END:
        return MILTER_STEP_END;
    case SESSION_STAGE_COMMAND:
        return MILTER_STEP_UNKNOWN;
    case SESSION_STAGE_NONE:
    case SESSION_STAGE_LINE:
        break;
    }
    return MILTER_STEP_NONE;
}

/* What has not been told before what is asked, and then that; NONE: all of it was. */
static enum milter_step next_step(const struct milter_talk *talk)
{
    enum milter_step own = step_of(talk->asked);

    if (!talk->has_told_connect)
        return MILTER_STEP_CONNECT;
    if (own == MILTER_STEP_CONNECT)
        return MILTER_STEP_NONE;
    if (!talk->has_told_helo && talk->about.helo.len != 0)
        return MILTER_STEP_HELO;
    if (own == MILTER_STEP_HELO)
        return MILTER_STEP_NONE;
    if (is_of_message(own) && !talk->message.is_begun)
        return MILTER_STEP_MAIL;
    return own == MILTER_STEP_MAIL || talk->has_told_own ? MILTER_STEP_NONE : own;
}

static void note_told(struct milter_talk *talk, enum milter_step step)
{
    if (step == MILTER_STEP_CONNECT)
        talk->has_told_connect = true;
    else if (step == MILTER_STEP_HELO)
        talk->has_told_helo = true;
    else if (step == MILTER_STEP_MAIL)
        talk->message.is_begun = true;
    else
        talk->has_told_own = true;
}

/* The end of the header comes with the content, when nothing is asked. */
static void keep_end_macros(struct milter_talk *talk)
{
    struct buf packet;

    buf_init(&packet, talk->out.pool, MILTER_PACKET_MAX);
    put_macros(talk, MILTER_STEP_HEADER_END, &packet);
    if (packet.has_failed ||
        arena_copy(&talk->of_message, buf_bytes(&packet), &talk->message.end_macros) != 0)
        milter_talk_break(talk, "no memory");
    buf_done(&packet);
}

/* Macros are defined for a command that the milter does not want, too: they stay. True: an answer
 * is due. */
static bool say(struct milter_talk *talk, enum milter_step step)
{
    note_told(talk, step);
    put_macros(talk, step, &talk->out);
    if (step == MILTER_STEP_DATA)
        keep_end_macros(talk);
    if (!is_wanted(talk, step))
        return false;
    put_command(talk, step);
    talk->message.is_sent = talk->message.is_sent || is_of_message(step);
    return is_answered(talk, step);
}

static void end_header(struct milter_talk *talk);

void milter_talk_advance(struct milter_talk *talk)
{
    static const struct milter_verdict go_on = {.opinion = FILTER_CONTINUE};
    enum milter_step step;

    if (talk->message.is_decided && is_of_message(step_of(talk->asked))) {
        milter_talk_tell(talk, &talk->message.verdict);
        return;
    }
    if (talk->asked == SESSION_STAGE_END)
        end_header(talk);
    while ((step = next_step(talk)) != MILTER_STEP_NONE && talk->state == MILTER_TALK_OPEN) {
        if (!say(talk, step))
            continue;
        talk->step = step;
        return;
    }
    if (talk->state == MILTER_TALK_OPEN)
        milter_talk_tell(talk, &go_on);
}

void milter_talk_tell(struct milter_talk *talk, const struct milter_verdict *verdict)
{
    talk->asked = SESSION_STAGE_NONE;
    talk->step = MILTER_STEP_NONE;
    talk->verdict = *verdict;
    talk->has_verdict = true;
    arena_reset(&talk->of_question);
}

void milter_talk_break(struct milter_talk *talk, const char *problem)
{
    if (talk->state == MILTER_TALK_BROKEN)
        return;
    talk->state = MILTER_TALK_BROKEN;
    talk->problem = problem;
}

/* ---- questions ---- */

/* Is the question over for `about` when this has returned? */
static bool is_told_all(const struct milter_talk *talk)
{
    return talk->state == MILTER_TALK_OPEN && talk->step == step_of(talk->asked);
}

void milter_talk_ask(struct milter_talk *talk, enum session_stage stage,
                     const struct milter_about *about)
{
    assert(talk->asked == SESSION_STAGE_NONE && !talk->has_verdict);
    assert(talk->state != MILTER_TALK_BROKEN && step_of(stage) != MILTER_STEP_NONE);
    assert(talk->state != MILTER_TALK_SPENT || stage == SESSION_STAGE_END);
    talk->asked = stage;
    talk->about = *about;
    talk->has_told_own = false;
    if (stage == SESSION_STAGE_HELO)
        talk->has_told_helo = false;
    if (talk->state == MILTER_TALK_OPEN || talk->state == MILTER_TALK_SPENT)
        milter_talk_advance(talk);
    if (talk->asked != SESSION_STAGE_NONE && !is_told_all(talk) &&
        milter_about_copy(&talk->of_question, about, &talk->about) != 0)
        milter_talk_break(talk, "no memory");
}

/* The answer is not wanted any more. */
static void forget_question(struct milter_talk *talk)
{
    if (talk->step != MILTER_STEP_NONE && talk->state == MILTER_TALK_OPEN)
        talk->state = MILTER_TALK_SPENT;
    talk->asked = SESSION_STAGE_NONE;
    talk->step = MILTER_STEP_NONE;
    talk->has_verdict = false;
    arena_reset(&talk->of_question);
}

/* ---- content ---- */

static bool takes_content(const struct milter_talk *talk)
{
    return talk->state == MILTER_TALK_OPEN && !talk->message.is_decided;
}

static void note_sent(struct milter_talk *talk, enum milter_step step)
{
    talk->message.is_sent = true;
    talk->message.due[step] += is_answered(talk, step);
}

static void end_header(struct milter_talk *talk)
{
    if (talk->message.is_header_over || !takes_content(talk))
        return;
    talk->message.is_header_over = true;
    buf_put(&talk->out, talk->message.end_macros);
    if (!is_wanted(talk, MILTER_STEP_HEADER_END))
        return;
    put_command(talk, MILTER_STEP_HEADER_END);
    note_sent(talk, MILTER_STEP_HEADER_END);
}

static void put_body(struct milter_talk *talk, struct bytes piece)
{
    end_header(talk);
    while (piece.len > 0 && takes_content(talk) && is_wanted(talk, MILTER_STEP_BODY)) {
        size_t len = piece.len <= MILTER_CHUNK_SIZE ? piece.len : piece.len / 2;
        struct bytes chunk = bytes_first(piece, len < MILTER_CHUNK_SIZE ? len : MILTER_CHUNK_SIZE);

        milter_put_body(&talk->out, chunk);
        note_sent(talk, MILTER_STEP_BODY);
        piece = bytes_skip(piece, chunk.len);
    }
}

/* A line without a name ends the header for those who read the message after us: what is in it and
 * behind it is body, the empty line too. */
void milter_talk_field(struct milter_talk *talk, struct bytes field)
{
    bool keeps_space = (talk->terms.steps & SMFIP_HDR_LEADSPC) != 0;

    if (!takes_content(talk))
        return;
    if (!talk->message.is_header_over && header_field_name(field).len != 0) {
        if (!is_wanted(talk, MILTER_STEP_FIELD))
            return;
        milter_put_field(&talk->out, field, keeps_space);
        note_sent(talk, MILTER_STEP_FIELD);
        return;
    }
    talk->message.is_cut_short = true;
    put_body(talk, field);
}

void milter_talk_body(struct milter_talk *talk, struct bytes piece)
{
    if (talk->message.is_cut_short)
        put_body(talk, bytes_of("\r\n"));
    talk->message.is_cut_short = false;
    put_body(talk, piece);
}

/* ---- ends ---- */

/* Answers that are due would be taken for those to the next message. */
void milter_talk_end_message(struct milter_talk *talk)
{
    bool is_due = milter_talk_is_due(talk);

    forget_question(talk);
    if (talk->message.is_sent && talk->state == MILTER_TALK_OPEN)
        milter_put_bare(&talk->out, SMFIC_ABORT);
    if (is_due && talk->state == MILTER_TALK_OPEN)
        talk->state = MILTER_TALK_SPENT;
    talk->message = (struct milter_talk_message){.is_begun = false};
    arena_reset(&talk->of_message);
}

void milter_talk_quit(struct milter_talk *talk)
{
    if (talk->state == MILTER_TALK_OPEN || talk->state == MILTER_TALK_SPENT)
        milter_put_bare(&talk->out, SMFIC_QUIT);
}

/* ---- life ---- */

/* What exists in a version: bits of SMFIP_*. */
static uint32_t steps_of(uint32_t version)
{
    static const uint32_t steps[] = {
        [2] = SMFI_V2_PROT,
        [3] = SMFI_V2_PROT | SMFIP_NR_HDR | SMFIP_NOUNKNOWN,
        [4] = SMFI_V2_PROT | SMFIP_NR_HDR | SMFIP_NOUNKNOWN | SMFIP_NODATA,
        [6] = SMFI_CURR_PROT,
    };

    assert(version < ARRAY_LENGTH(steps) && steps[version] != 0);
    return steps[version];
}

struct milter_terms milter_talk_offer(const struct milter_choice *choice)
{
    return (struct milter_terms){.version = choice->version,
                                 .actions = choice->actions & milter_actions_of(choice->version),
                                 .steps = steps_of(choice->version)};
}

void milter_talk_init(struct milter_talk *talk, const struct milter_choice *choice,
                      struct pool *small, struct pool *medium)
{
    *talk = (struct milter_talk){.choice = choice};
    buf_init(&talk->out, medium, OUT_MAX);
    milter_reader_init(&talk->in, medium);
    milter_texts_init(&talk->texts, small, medium);
    arena_init(&talk->of_connection, small, CONNECTED_MAX);
    arena_init(&talk->of_message, small, MESSAGE_MAX);
    arena_init(&talk->of_question, small, QUESTION_MAX);
}

void milter_talk_done(struct milter_talk *talk)
{
    buf_done(&talk->out);
    milter_reader_done(&talk->in);
    milter_texts_done(&talk->texts);
    arena_reset(&talk->of_connection);
    arena_reset(&talk->of_message);
    arena_reset(&talk->of_question);
}

void milter_talk_begin(struct milter_talk *talk)
{
    struct milter_terms offer = milter_talk_offer(talk->choice);

    assert(talk->state == MILTER_TALK_NEW);
    milter_put_options(&talk->out, offer.version, offer.actions, offer.steps);
    talk->state = MILTER_TALK_OPTIONS;
}

/* ---- what is known ---- */

bool milter_talk_is_usable(const struct milter_talk *talk)
{
    return talk->state != MILTER_TALK_SPENT && talk->state != MILTER_TALK_BROKEN;
}

bool milter_talk_is_due(const struct milter_talk *talk)
{
    unsigned due = talk->step != MILTER_STEP_NONE || talk->state == MILTER_TALK_OPTIONS;

    for (unsigned step = MILTER_STEP_FIELD; step < MILTER_STEP_END; step++)
        due += talk->message.due[step];
    return due != 0;
}
