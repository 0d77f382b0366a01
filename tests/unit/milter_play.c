/* SPDX-License-Identifier: BSD-2-Clause */
/* A conversation with a milter as text. */
#include "tests/unit/milter_play.h"

#include <stdio.h>
#include <stdlib.h>

static const struct identity client = {
    .client = {.family = NETADDR_IPV4, .port = 1234, .octets = {192, 0, 2, 1}},
    .local = {.family = NETADDR_IPV6, .port = 25, .octets = {0x20, 1, 0xD, 0xB8, [15] = 1}},
    .name_state = IDENTITY_NAME_CONFIRMED,
    .name = {(const uint8_t *)"client.test", 11},
    .reverse_name = {(const uint8_t *)"client.test", 11},
    .login = {(const uint8_t *)"joe", 3},
};

static const struct envelope envelope = {
    .from = {.local = {(const uint8_t *)"a", 1}, .domain = {(const uint8_t *)"b.test", 6}},
    .params = {(const uint8_t *)"BODY=8BITMIME SIZE=9", 20},
    .id = {"B1"},
};

static const struct address rcpt = {.local = {(const uint8_t *)"c d", 3},
                                    .domain = {(const uint8_t *)"e.test", 6}};

const struct milter_about milter_play_about = {
    .client = &client,
    .helo = {(const uint8_t *)"helo", 4},
    .hostname = {(const uint8_t *)"us.test", 7},
    .listener = {(const uint8_t *)"mx", 2},
    .version = {(const uint8_t *)"postern 1", 9},
    .envelope = &envelope,
    .rcpt = &rcpt,
    .rcpt_params = {(const uint8_t *)"NOTIFY=NEVER", 12},
    .line = {(const uint8_t *)"FOO bar", 7},
};

/* ---- octets ---- */

static uint8_t made[1 << 20];

static size_t put_number(size_t at, uint32_t number)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        made[at++] = (uint8_t)(number >> shift);
    return at;
}

static size_t put_data(size_t at, const char *text, size_t len)
{
    static const char from[] = "|~^", to[] = "\0\r\n";

    for (size_t i = 0; i < len; i++) {
        const char *special = strchr(from, text[i]);
        made[at++] = (uint8_t)(special == NULL ? text[i] : to[special - from]);
    }
    return at;
}

/* "O6 1ff 0", then lists: "O6 100 0 2:i j" */
static size_t put_options(size_t at, const char *line, size_t len)
{
    char text[256], *rest = text + 1;

    snprintf(text, sizeof(text), "%.*s", (int)len, line);
    for (int i = 0; i < 3; i++)
        at = put_number(at, (uint32_t)strtoul(rest, &rest, 16));
    while (*rest == ' ') {
        at = put_number(at, (uint32_t)strtoul(rest, &rest, 10));
        size_t list = strcspn(++rest, ";");
        at = put_data(at, rest, list);
        made[at++] = '\0';
        rest += list + (rest[list] == ';');
    }
    return at;
}

static size_t put_hex(size_t at, const char *line, size_t len)
{
    for (size_t i = 1; i + 1 < len; i += 2) {
        char digits[3] = {line[i], line[i + 1], '\0'};
        made[at++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return at;
}

struct bytes milter_play_octets(const char *lines)
{
    size_t at = 0;

    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n"), begun = at;
        if (*lines == '#') {
            at = put_hex(at, lines, len);
        } else {
            made[at + 4] = (uint8_t)*lines;
            at = *lines == 'O' ? put_options(at + 5, lines, len)
                               : put_data(at + 5, lines + 1, len - 1);
            put_number(begun, (uint32_t)(at - begun - 4));
        }
        lines += len + (lines[len] == '\n');
    }
    return bytes_make(made, at);
}

/* ---- text ---- */

static void put_octet(struct lib_text *seen, uint8_t c)
{
    static const char to[] = "|~^";
    if (c == '\0' || c == '\r' || c == '\n')
        lib_put(seen, "%c", to[c == '\0' ? 0 : c == '\r' ? 1 : 2]);
    else if (byte_is_printable(c))
        lib_put(seen, "%c", c);
    else
        lib_put(seen, "\\%02x", c);
}

static void put_octets(struct lib_text *seen, struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++)
        put_octet(seen, octets.at[i]);
}

void milter_play_put(struct lib_text *seen, struct bytes packets)
{
    uint32_t length;

    while (milter_take_number(&packets, &length) && length > 0 && length <= packets.len) {
        lib_put(seen, "> %c ", packets.at[0]);
        put_octets(seen, bytes_make(packets.at + 1, length - 1));
        lib_put(seen, "\n");
        packets = bytes_skip(packets, length);
    }
    if (packets.len != 0)
        lib_put(seen, "and %zu octets\n", packets.len);
}

static void put_text(struct lib_text *seen, const char *what, struct bytes text)
{
    lib_put(seen, " %s=", what);
    put_octets(seen, text);
}

static void put_edit(struct lib_text *seen, const struct filter_edit *edit)
{
    static const char *const names[] = {
        [FILTER_ADD_FIELD] = "add-field",         [FILTER_INSERT_FIELD] = "insert-field",
        [FILTER_CHANGE_FIELD] = "change-field",   [FILTER_REPLACE_BODY] = "replace-body",
        [FILTER_CHANGE_SENDER] = "change-sender", [FILTER_ADD_RCPT] = "add-rcpt",
        [FILTER_DELETE_RCPT] = "delete-rcpt",     [FILTER_QUARANTINE] = "quarantine"};

    lib_put(seen, "%s", names[edit->kind]);
    if (edit->index != 0)
        lib_put(seen, " index=%u", (unsigned)edit->index);
    if (edit->name.len != 0)
        put_text(seen, "name", edit->name);
    put_text(seen, "value", edit->value);
    if (edit->params.len != 0)
        put_text(seen, "params", edit->params);
}

void milter_play_put_answer(struct lib_text *seen, const struct milter_answer *answer)
{
    if (answer->kind == MILTER_EDIT)
        put_edit(seen, &answer->edit);
    else if (answer->kind == MILTER_REPLY)
        put_octets(seen, answer->reply.wire);
    else
        lib_put(seen, "%d", (int)answer->kind);
}

static void put_verdict(struct lib_text *seen, const struct milter_verdict *verdict)
{
    static const char *const names[] = {[FILTER_CONTINUE] = "continue",
                                        [FILTER_ACCEPT] = "accept",
                                        [FILTER_REPLY] = "reply",
                                        [FILTER_DISCARD] = "discard"};

    lib_put(seen, "%s%s", names[verdict->opinion], verdict->is_of_session ? " session" : "");
    if (verdict->opinion == FILTER_REPLY)
        put_text(seen, "wire", verdict->reply.wire);
    lib_put(seen, "\n");
}

void milter_play_put_event(struct lib_text *seen, const struct milter_talk_event *event)
{
    switch (event->kind) {
    case MILTER_TALK_MORE:
        return;
    case MILTER_TALK_READY:
        lib_put(seen, "ready beyond=%x\n", (unsigned)event->bits);
        return;
    case MILTER_TALK_PROGRESS:
        lib_put(seen, "progress\n");
        return;
    case MILTER_TALK_EDIT:
    case MILTER_TALK_IGNORED:
        lib_put(seen, event->kind == MILTER_TALK_EDIT ? "edit " : "ignored ");
        put_edit(seen, &event->edit);
        lib_put(seen, "\n");
        return;
    case MILTER_TALK_VERDICT:
        put_verdict(seen, &event->verdict);
        return;
    case MILTER_TALK_FAILED:
        lib_put(seen, "failed: %s\n", event->problem);
        return;
    }
}

/* ---- conversations ---- */

struct pool milter_play_small, milter_play_medium;

int milter_play_set_up(void **state)
{
    (void)state;
    pool_init(&milter_play_small, 1024, 4);
    pool_init(&milter_play_medium, 4096, 4);
    return 0;
}

int milter_play_tear_down(void **state)
{
    (void)state;
    pool_done(&milter_play_small);
    pool_done(&milter_play_medium);
    return 0;
}

struct play {
    const struct milter_play_row *row;
    struct milter_choice choice;
    struct milter_talk talk;
    struct lib_pieces *in; /* what the milter says; NULL: it is `whole` */
    struct bytes whole;
    struct lib_text *seen, came;
    bool has_failed, has_helo;
};

static void flush(struct play *p)
{
    milter_play_put(p->seen, buf_bytes(&p->talk.out));
    if (!p->talk.out.has_failed)
        buf_consume(&p->talk.out, buf_length(&p->talk.out));
}

static bool is_answered(const struct milter_talk *talk)
{
    return talk->asked == SESSION_STAGE_NONE && !talk->has_verdict;
}

static bool is_decided(const struct milter_talk *talk)
{
    return talk->message.is_decided;
}

static bool is_never(const struct milter_talk *talk)
{
    (void)talk;
    return false;
}

static bool next_piece(struct play *p, struct bytes *piece_out)
{
    if (p->in != NULL)
        return lib_next_piece(p->in, piece_out);
    *piece_out = p->whole;
    p->whole = bytes_make(NULL, 0);
    return piece_out->len != 0;
}

static void unread(struct play *p, struct bytes rest)
{
    if (p->in != NULL)
        lib_unread(p->in, rest.len);
    else
        p->whole = rest;
}

/* What is sent is written down before what came, since the milter of a row says everything at once.
 */
static void pump(struct play *p, bool (*is_enough)(const struct milter_talk *talk))
{
    struct milter_talk_event event = {.kind = MILTER_TALK_MORE};
    struct bytes piece = {NULL, 0};

    p->came.len = 0;
    p->came.at[0] = '\0';
    do {
        milter_talk_take(&p->talk, &piece, &event);
        milter_play_put_event(&p->came, &event);
        p->has_failed = event.kind == MILTER_TALK_FAILED;
    } while (!p->has_failed && !is_enough(&p->talk) &&
             (event.kind != MILTER_TALK_MORE || next_piece(p, &piece)));
    if (piece.len != 0)
        unread(p, piece);
    flush(p);
    lib_put(p->seen, "%s", p->came.at);
}

static enum session_stage stage_of(const char *word)
{
    static const char *const words[] = {
        [SESSION_STAGE_CONNECT] = "connect", [SESSION_STAGE_HELO] = "helo",
        [SESSION_STAGE_MAIL] = "mail",       [SESSION_STAGE_RCPT] = "rcpt",
        [SESSION_STAGE_DATA] = "data",       [SESSION_STAGE_END] = "end",
        [SESSION_STAGE_COMMAND] = "command"};

    for (size_t i = 1; i < ARRAY_LENGTH(words); i++)
        if (strcmp(words[i], word) == 0)
            return (enum session_stage)i;
    return SESSION_STAGE_NONE;
}

static void happen(struct play *p, const char *word)
{
    struct milter_talk *talk = &p->talk;
    enum session_stage stage = stage_of(word);
    struct milter_about about = milter_play_about;

    if (stage <= SESSION_STAGE_HELO || stage == SESSION_STAGE_COMMAND)
        about.envelope = NULL;
    if (stage != SESSION_STAGE_RCPT)
        about.rcpt = NULL;
    p->has_helo = p->has_helo || strcmp(word, "helo") == 0;
    if (!p->has_helo)
        about.helo = bytes_make(NULL, 0);
    lib_put(p->seen, "%s\n", word);
    if (strcmp(word, "late") == 0) {
        p->has_helo = true;
        return;
    }
    if (stage != SESSION_STAGE_NONE) {
        milter_talk_ask(talk, stage, &about);
        pump(p, is_answered);
    } else if (strcmp(word, "f") == 0) {
        milter_talk_field(talk, bytes_of("Subject : a\r\n\tb\r\n"));
    } else if (strcmp(word, "g") == 0) {
        milter_talk_field(talk, bytes_of("no field\r\n"));
    } else if (strcmp(word, "b") == 0) {
        milter_talk_body(talk, bytes_of("text\r\n"));
    } else if (strcmp(word, "hear") == 0) {
        pump(p, is_decided);
    } else if (strcmp(word, "over") == 0) {
        milter_talk_end_message(talk);
    } else if (strcmp(word, "ahead") == 0) {
        milter_talk_ask(talk, SESSION_STAGE_END, &about);
    } else {
        assert_string_equal(word, "quit");
        milter_talk_quit(talk);
    }
    flush(p);
}

static void set_row(struct play *p, const struct milter_play_row *row, struct lib_text *seen)
{
    *p = (struct play){.row = row, .seen = seen};
    p->choice.version = row->version == 0 ? 6 : row->version;
    p->choice.actions = row->actions == 0 ? SMFI_CURR_ACTS : row->actions;
    if (row->macros != NULL)
        p->choice.lists[SMFIM_CONNECT] = bytes_of(row->macros);
    milter_talk_init(&p->talk, &p->choice, &milter_play_small, &milter_play_medium);
    milter_talk_begin(&p->talk);
}

static void play_row(struct play *p)
{
    char word[16];
    int len;

    for (const char *at = p->row->happens; sscanf(at, "%15s%n", word, &len) == 1; at += len)
        if (!p->has_failed)
            happen(p, word);
    if (!p->has_failed)
        pump(p, is_never);
    milter_talk_done(&p->talk);
}

void milter_play_run(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    static struct play play;

    set_row(&play, given, seen);
    play.in = in;
    if (in == NULL)
        play.whole = milter_play_octets(play.row->says);
    play_row(&play);
}
