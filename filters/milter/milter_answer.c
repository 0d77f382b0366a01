/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the answers of milters. */
#include "filters/milter/milter_answer.h"

#include "proxy/base/error.h"

#define TEXT_MAX  (3 * MILTER_MAX_DATA_SIZE) /* each LF becomes CRLF and a blank at most */
#define ARENA_MAX 4096

void milter_texts_init(struct milter_texts *texts, struct pool *small, struct pool *medium)
{
    arena_init(&texts->arena, small, ARENA_MAX);
    buf_init(&texts->text, medium, TEXT_MAX);
    reply_parser_init(&texts->reply, medium);
}

void milter_texts_done(struct milter_texts *texts)
{
    arena_reset(&texts->arena);
    buf_done(&texts->text);
    reply_parser_done(&texts->reply);
}

static void forget(struct milter_texts *texts)
{
    arena_reset(&texts->arena);
    buf_reset(&texts->text);
}

/* ---- replies ---- */

/* The text is a format of Sendmail's: "%%" stands for "%", and a single one for nothing. What no
 * line may hold becomes "?". */
static void put_line(struct buf *out, struct bytes line)
{
    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.at[i];

        if (c == '%' && (i + 1 == line.len || line.at[i + 1] != '%'))
            continue;
        i += c == '%';
        buf_byte(out, (c < ' ' && c != '\t') || c == 0x7F ? '?' : c);
    }
    buf_text(out, "\r\n");
}

/* RFC 3463 2 demands that the class of the enhanced code is that of the code. */
static bool has_class(struct bytes text, uint8_t class)
{
    return text.len < 3 || !byte_is_digit(text.at[0]) || text.at[1] != '.' ||
           !byte_is_digit(text.at[2]) || text.at[0] == class;
}

/* "550 5.7.1 Text", "550-5.7.1 Text" in all lines but the last. */
static bool is_line(struct bytes line, const uint8_t *code, bool is_last)
{
    return line.len >= 4 && (line.at[0] == '4' || line.at[0] == '5') && byte_is_digit(line.at[1]) &&
           byte_is_digit(line.at[2]) && memcmp(line.at, code, 3) == 0 &&
           line.at[3] == (is_last ? ' ' : '-') && has_class(bytes_skip(line, 4), line.at[0]);
}

/* Takes a line off `*rest`. False: it ends in anything but CRLF or the end, or has a CR or LF. */
static bool take_line(struct bytes *rest, struct bytes *line_out, bool *is_last_out)
{
    size_t len = bytes_find(*rest, '\r'), lf = bytes_find(*rest, '\n');

    *line_out = bytes_first(*rest, len);
    *is_last_out = len == rest->len;
    if (lf != (*is_last_out ? rest->len : len + 1) || (!*is_last_out && lf == rest->len))
        return false;
    *rest = bytes_skip(*rest, *is_last_out ? len : len + 2);
    return true;
}

static const char *read_reply(struct milter_texts *texts, struct bytes data,
                              struct milter_answer *answer_out)
{
    static const char malformed[] = "malformed reply";
    struct bytes rest, line;
    bool is_last = false;

    if (!milter_take_text(&data, &rest) || data.len != 0)
        return "reply without its NUL, or with several";
    const uint8_t *code = rest.at;
    while (!is_last) {
        if (!take_line(&rest, &line, &is_last) || !is_line(line, code, is_last))
            return malformed;
        put_line(&texts->text, line);
    }
    rest = buf_bytes(&texts->text);
    int error = texts->text.has_failed
                    ? ERR_MEMORY
                    : reply_parser_take(&texts->reply, &rest, &answer_out->reply);
    if (error != 0) {
        reply_parser_done(&texts->reply);
        return error == ERR_MEMORY ? "no memory" : "reply that is too long";
    }
    answer_out->kind = MILTER_REPLY;
    return NULL;
}

/* ---- edits: header fields ---- */

static bool is_name(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!byte_is_printable(name.at[i]) || name.at[i] == ' ' || name.at[i] == ':')
            return false;
    return name.len != 0;
}

/* Takes line ends off `*value`; LF alone and CRLF are the same. */
static bool take_newlines(struct bytes *value)
{
    size_t before = value->len;

    while (value->len > 0 &&
           (value->at[0] == '\n' || (value->len > 1 && memcmp(value->at, "\r\n", 2) == 0)))
        *value = bytes_skip(*value, value->at[0] == '\n' ? 1 : 2);
    return value->len != before;
}

/* As it stands in a message. Milters end their folds in LF; where the blank behind it is missing,
 * the rest would be a field of its own. False: it has a CR alone. */
static bool put_value(struct buf *out, struct bytes value)
{
    while (value.len > 0) {
        size_t len = 0;

        if (take_newlines(&value) && value.len > 0) {
            buf_text(out, "\r\n");
            if (!byte_is_blank(value.at[0]))
                buf_byte(out, '\t');
        }
        while (len < value.len && value.at[len] != '\n' && value.at[len] != '\r')
            len++;
        buf_put(out, bytes_first(value, len));
        value = bytes_skip(value, len);
        if (value.len > 0 && value.at[0] == '\r' && (value.len == 1 || value.at[1] != '\n'))
            return false;
    }
    return true;
}

static const char *read_field(struct milter_texts *texts, struct bytes data, bool keeps_space,
                              struct filter_edit *edit)
{
    struct bytes value;
    bool is_removal;

    if (edit->kind != FILTER_ADD_FIELD && !milter_take_number(&data, &edit->index))
        return "field without its index";
    if (!milter_take_text(&data, &edit->name) || !milter_take_text(&data, &value) || data.len != 0)
        return "field that is not a name and a value";
    if (edit->kind == FILTER_CHANGE_FIELD && edit->index == 0)
        edit->index = 1; /* as Sendmail and Postfix read it */
    if (edit->index > INT32_MAX)
        return "field with a bad index";
    if (!is_name(edit->name))
        return "field with a bad name";
    is_removal = edit->kind == FILTER_CHANGE_FIELD && value.len == 0;
    if (!keeps_space && !is_removal)
        buf_byte(&texts->text, ' ');
    if (!put_value(&texts->text, value))
        return "field with a carriage return";
    edit->value = buf_bytes(&texts->text);
    return texts->text.has_failed ? "no memory" : NULL;
}

/* ---- edits: envelope ---- */

static bool are_words(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!byte_is_printable(text.at[i]))
            return false;
    return true;
}

static struct bytes without_brackets(struct bytes text)
{
    if (text.len >= 2 && text.at[0] == '<' && text.at[text.len - 1] == '>')
        return bytes_make(text.at + 1, text.len - 2);
    return text;
}

/* An address, and ESMTP words where `takes_params`. */
static const char *read_address(struct milter_texts *texts, struct bytes data, bool takes_params,
                                struct filter_edit *edit)
{
    struct address address;
    struct bytes text;

    if (!milter_take_text(&data, &text))
        return "address without its NUL";
    if (takes_params && data.len != 0 && !milter_take_text(&data, &edit->params))
        return "parameters without their NUL";
    if (data.len != 0)
        return "address with something behind it";
    edit->value = without_brackets(text);
    if (edit->value.len == 0)
        return edit->kind == FILTER_CHANGE_SENDER ? NULL : "empty address";
    int error = address_parse_mailbox(edit->value, &texts->arena, &address);
    if (error != 0)
        return error == ERR_MEMORY ? "no memory" : "bad address";
    return are_words(edit->params) ? NULL : "bad parameters";
}

static const char *read_reason(struct bytes data, struct filter_edit *edit)
{
    return milter_take_text(&data, &edit->value) && data.len == 0
               ? NULL
               : "reason without its NUL, or with several";
}

/* ---- answers ---- */

static const struct edit_row {
    uint8_t command;
    enum filter_edit_kind kind;
    uint32_t action;
} edit_rows[] = {
    {SMFIR_ADDHEADER, FILTER_ADD_FIELD, SMFIF_ADDHDRS},
    {SMFIR_INSHEADER, FILTER_INSERT_FIELD, SMFIF_ADDHDRS},
    {SMFIR_CHGHEADER, FILTER_CHANGE_FIELD, SMFIF_CHGHDRS},
    {SMFIR_REPLBODY, FILTER_REPLACE_BODY, SMFIF_CHGBODY},
    {SMFIR_CHGFROM, FILTER_CHANGE_SENDER, SMFIF_CHGFROM},
    {SMFIR_ADDRCPT, FILTER_ADD_RCPT, SMFIF_ADDRCPT},
    {SMFIR_ADDRCPT_PAR, FILTER_ADD_RCPT, SMFIF_ADDRCPT_PAR},
    {SMFIR_DELRCPT, FILTER_DELETE_RCPT, SMFIF_DELRCPT},
    {SMFIR_QUARANTINE, FILTER_QUARANTINE, SMFIF_QUARANTINE},
};

static const char *read_edit(struct milter_texts *texts, const struct milter_packet *packet,
                             bool keeps_space, struct milter_answer *answer_out)
{
    struct filter_edit *edit = &answer_out->edit;

    switch (edit->kind) {
    case FILTER_ADD_FIELD:
    case FILTER_INSERT_FIELD:
    case FILTER_CHANGE_FIELD:
        return read_field(texts, packet->data, keeps_space, edit);
    case FILTER_REPLACE_BODY:
        edit->value = packet->data;
        return NULL;
    case FILTER_CHANGE_SENDER:
        return read_address(texts, packet->data, true, edit);
    case FILTER_ADD_RCPT:
        return read_address(texts, packet->data, packet->command == SMFIR_ADDRCPT_PAR, edit);
    case FILTER_DELETE_RCPT:
        return read_address(texts, packet->data, false, edit);
    case FILTER_QUARANTINE:
        break;
    }
    return read_reason(packet->data, edit);
}

/* Those that are a letter and nothing more. */
static bool read_bare(uint8_t command, struct milter_answer *answer_out)
{
    switch (command) {
    case SMFIR_CONTINUE:
        answer_out->kind = MILTER_CONTINUE;
        return true;
    case SMFIR_ACCEPT:
        answer_out->kind = MILTER_ACCEPT;
        return true;
    case SMFIR_DISCARD:
        answer_out->kind = MILTER_DISCARD;
        return true;
    case SMFIR_SKIP:
        answer_out->kind = MILTER_SKIP;
        return true;
    case SMFIR_PROGRESS:
        answer_out->kind = MILTER_PROGRESS;
        return true;
    case SMFIR_REJECT:
        answer_out->reply = reply_own(REPLY_MILTER_REJECTS);
        break;
    case SMFIR_TEMPFAIL:
        answer_out->reply = reply_own(REPLY_MILTER_DEFERS);
        break;
    case SMFIR_SHUTDOWN:
    case SMFIR_CONN_FAIL:
        answer_out->reply = reply_own(REPLY_MILTER_CLOSES);
        break;
    default:
        return false;
    }
    answer_out->kind = MILTER_REPLY;
    return true;
}

const char *milter_answer_read(struct milter_texts *texts, const struct milter_packet *packet,
                               bool keeps_space, struct milter_answer *answer_out)
{
    *answer_out = (struct milter_answer){.kind = MILTER_EDIT};
    forget(texts);
    if (packet->command == SMFIR_REPLYCODE)
        return read_reply(texts, packet->data, answer_out);
    if (read_bare(packet->command, answer_out))
        return packet->data.len == 0 ? NULL : "octets behind an answer that takes none";
    for (size_t i = 0; i < ARRAY_LENGTH(edit_rows); i++) {
        if (edit_rows[i].command != packet->command)
            continue;
        answer_out->edit.kind = edit_rows[i].kind;
        answer_out->action = edit_rows[i].action;
        return read_edit(texts, packet, keeps_space, answer_out);
    }
    return "unknown answer";
}

/* ---- options ---- */

static const char *read_lists(struct bytes data, struct milter_terms *terms)
{
    struct bytes list;
    uint32_t stage;

    while (data.len > 0) {
        if (!milter_take_number(&data, &stage) || !milter_take_text(&data, &list))
            return "options with a broken list of macros";
        if (list.len > MILTER_LIST_MAX)
            return "options with too many macros";
        if (stage < MILTER_STAGES)
            terms->lists[stage] = list;
    }
    return NULL;
}

uint32_t milter_actions_of(uint32_t version)
{
    return version < SMFI_PROT_VERSION ? SMFI_V2_ACTS : SMFI_CURR_ACTS;
}

/* A milter may ask for actions that the operator withholds, as rspamd does whatever it is offered:
 * it does not get them. */
const char *milter_terms_read(const struct milter_packet *packet, const struct milter_terms *offer,
                              struct milter_terms *terms_out, uint32_t *beyond_out)
{
    struct bytes data = packet->data;
    struct milter_terms terms = {.version = 0};

    if (packet->command != SMFIC_OPTNEG)
        return "no options for an answer to ours";
    if (!milter_take_number(&data, &terms.version) || !milter_take_number(&data, &terms.actions) ||
        !milter_take_number(&data, &terms.steps))
        return "options that are too short";
    if (terms.version < 2 || terms.version > offer->version)
        return "a version that was not offered";
    if ((terms.actions & ~milter_actions_of(offer->version)) != 0)
        return "actions that do not exist";
    terms.actions &= offer->actions;
    *beyond_out = terms.steps & ~(offer->steps | SMFI_INTERNAL);
    terms.steps &= offer->steps;
    const char *problem = read_lists(data, &terms);
    if (problem == NULL)
        *terms_out = terms;
    return problem;
}
