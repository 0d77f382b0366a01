/* SPDX-License-Identifier: BSD-2-Clause */
/* A conversation with a milter that says anything: the first line is what happens on our side, the
 * rest are its octets, cut in any way. Whatever it says, what we say are whole packets, edits and
 * replies are within their bounds, and the cuts change nothing. */
#include "filters/milter/milter_talk.h"

#include "proxy/base/error.h"
#include "tests/fuzz/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct identity client = {
    .client = {.family = NETADDR_IPV6, .port = 1234, .octets = {0x20, 1, 0xD, 0xB8}},
    .local = {.family = NETADDR_IPV4, .port = 25, .octets = {192, 0, 2, 1}},
    .name_state = IDENTITY_NAME_UNAVAILABLE,
    .reverse_name = {(const uint8_t *)"client.test", 11},
    .login = {(const uint8_t *)"joe", 3},
};

static const struct envelope envelope = {
    .from = {.local = {(const uint8_t *)"a b", 3}, .domain = {(const uint8_t *)"c.test", 6}},
    .params = {(const uint8_t *)"BODY=8BITMIME", 13},
    .id = {"B1"},
};

struct run {
    struct pool small, medium;
    struct milter_talk talk;
    struct bytes in; /* what the milter has not said yet */
    uint64_t seed;
    struct pieces_seen came, said;
    bool has_failed, is_at_end;
};

/* ---- what must hold ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void check_value(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        PIECES_MUST(value.at[i] != '\0');
        if (value.at[i] == '\r')
            PIECES_MUST(i + 2 < value.len && value.at[i + 1] == '\n' && is_blank(value.at[i + 2]));
        if (value.at[i] == '\n')
            PIECES_MUST(i > 0 && value.at[i - 1] == '\r');
    }
}

static void check_edit(const struct filter_edit *edit)
{
    switch (edit->kind) {
    case FILTER_ADD_FIELD:
    case FILTER_INSERT_FIELD:
    case FILTER_CHANGE_FIELD:
        PIECES_MUST(edit->name.len != 0 && pieces_are_printable(edit->name));
        PIECES_MUST(bytes_find(edit->name, ':') == edit->name.len);
        PIECES_MUST(edit->kind != FILTER_CHANGE_FIELD || edit->index > 0);
        check_value(edit->value);
        break;
    case FILTER_CHANGE_SENDER:
    case FILTER_ADD_RCPT:
    case FILTER_DELETE_RCPT:
        PIECES_MUST(pieces_are_printable(edit->value) && pieces_are_printable(edit->params));
        PIECES_MUST(edit->value.len != 0 || edit->kind == FILTER_CHANGE_SENDER);
        break;
    case FILTER_REPLACE_BODY:
    case FILTER_QUARANTINE:
        break;
    }
}

static void check_verdict(const struct milter_verdict *verdict)
{
    PIECES_MUST(verdict->opinion != FILTER_FAILED);
    if (verdict->opinion != FILTER_REPLY)
        return;
    PIECES_MUST(verdict->reply.code >= 400 && verdict->reply.code < 600);
    PIECES_MUST(verdict->reply.wire.len > 4 && pieces_are_lines(verdict->reply.wire));
    PIECES_MUST(bytes_find(verdict->reply.wire, '\0') == verdict->reply.wire.len);
}

/* Every packet of ours reads back, and holds what its command has. */
static void check_said(struct run *r, struct bytes out)
{
    struct milter_reader reader;
    struct milter_packet packet;
    struct bytes text;

    pieces_see(&r->said, out);
    milter_reader_init(&reader, &r->medium);
    while (out.len > 0) {
        PIECES_MUST(milter_reader_take(&reader, &out, &packet) == 0);
        PIECES_MUST(memchr("OCHMRTLNBEAQKDU", packet.command, 15) != NULL);
        if (memchr("TNEAQK", packet.command, 6) != NULL)
            PIECES_MUST(packet.data.len == 0);
        if (packet.command == SMFIC_MACRO)
            packet.data = bytes_skip(packet.data, 1);
        if (memchr("HMRLDU", packet.command, 6) == NULL)
            continue;
        PIECES_MUST(packet.data.len != 0);
        while (packet.data.len > 0)
            PIECES_MUST(milter_take_text(&packet.data, &text));
    }
    milter_reader_done(&reader);
}

/* ---- the run ---- */

static void see(struct run *r, const struct milter_talk_event *event)
{
    PIECES_MUST(!r->has_failed);
    if (event->kind == MILTER_TALK_MORE)
        return;
    pieces_see_number(&r->came, event->kind);
    if (event->kind == MILTER_TALK_EDIT || event->kind == MILTER_TALK_IGNORED) {
        PIECES_MUST(r->is_at_end && r->talk.asked == SESSION_STAGE_END);
        check_edit(&event->edit);
        pieces_see_number(&r->came, event->edit.kind + (int64_t)event->edit.index);
        pieces_see(&r->came, event->edit.name);
        pieces_see(&r->came, event->edit.value);
        pieces_see(&r->came, event->edit.params);
    }
    if (event->kind == MILTER_TALK_VERDICT) {
        check_verdict(&event->verdict);
        pieces_see_number(&r->came, event->verdict.opinion);
        pieces_see(&r->came, event->verdict.reply.wire);
    }
    if (event->kind == MILTER_TALK_FAILED) {
        r->has_failed = true;
        pieces_see(&r->came, bytes_of(event->problem));
    }
}

static size_t next_length(struct run *r)
{
    r->seed = r->seed < 2 ? r->seed : r->seed * 6364136223846793005u + 1442695040888963407u;
    return r->seed == 0 ? r->in.len : r->seed == 1 ? 1 : 1 + (size_t)(r->seed >> 40) % 40;
}

static bool is_answered(const struct milter_talk *talk)
{
    return talk->asked == SESSION_STAGE_NONE && !talk->has_verdict;
}

/* Each piece is a block of its own. */
static void feed(struct run *r, struct bytes piece)
{
    struct milter_talk_event event = {.kind = MILTER_TALK_PROGRESS};
    uint8_t *block = malloc(piece.len + 1);
    struct bytes rest = bytes_make(block, piece.len);

    PIECES_MUST(block != NULL);
    if (piece.len > 0)
        memcpy(block, piece.at, piece.len);
    while (event.kind != MILTER_TALK_MORE && !r->has_failed && !is_answered(&r->talk)) {
        milter_talk_take(&r->talk, &rest, &event);
        see(r, &event);
    }
    r->in = bytes_skip(r->in, piece.len - rest.len);
    free(block);
}

static void hear(struct run *r)
{
    feed(r, bytes_make(NULL, 0));
    while (!r->has_failed && !is_answered(&r->talk) && r->in.len > 0)
        feed(r, bytes_first(r->in, next_length(r)));
}

static void ask(struct run *r, enum session_stage stage)
{
    struct milter_about about = {.client = &client,
                                 .helo = bytes_of("helo"),
                                 .hostname = bytes_of("us.test"),
                                 .listener = bytes_of("mx"),
                                 .version = bytes_of("postern"),
                                 .line = bytes_of("FOO"),
                                 .envelope = &envelope,
                                 .rcpt = &envelope.from};
    bool is_late = stage == SESSION_STAGE_END && r->talk.message.is_decided;

    if (!is_answered(&r->talk) || (!milter_talk_is_usable(&r->talk) && !is_late))
        return;
    r->is_at_end = stage == SESSION_STAGE_END;
    milter_talk_ask(&r->talk, stage, &about);
    hear(r);
}

static void happen(struct run *r, uint8_t what)
{
    static const char stages[] = "chmrdex";
    static const enum session_stage of[] = {
        SESSION_STAGE_CONNECT, SESSION_STAGE_HELO, SESSION_STAGE_MAIL,   SESSION_STAGE_RCPT,
        SESSION_STAGE_DATA,    SESSION_STAGE_END,  SESSION_STAGE_COMMAND};
    const char *stage = memchr(stages, what, sizeof(stages) - 1);

    if (stage != NULL)
        ask(r, of[stage - stages]);
    else if (what == 'f')
        milter_talk_field(&r->talk, bytes_of("Subject: a\r\n b\r\n"));
    else if (what == 'g')
        milter_talk_field(&r->talk, bytes_of("none\r\n"));
    else if (what == 'b')
        milter_talk_body(&r->talk, bytes_of("body\r\n"));
    else if (what == 'o')
        milter_talk_end_message(&r->talk);
    else if (what == 'q')
        milter_talk_quit(&r->talk);
}

/* The first digit is the version. */
static void run(struct run *r, struct bytes happens, struct bytes in, uint64_t seed)
{
    static const uint32_t versions[] = {6, 2, 3, 4};
    struct milter_choice choice = {.version = versions[happens.len == 0 ? 0 : happens.at[0] % 4],
                                   .actions = SMFI_CURR_ACTS};

    *r = (struct run){.in = in, .seed = seed};
    pool_init(&r->small, 1024, 8);
    pool_init(&r->medium, 4096, 8);
    milter_talk_init(&r->talk, &choice, &r->small, &r->medium);
    milter_talk_begin(&r->talk);
    for (size_t i = 0; i < happens.len && i < 256 && !r->has_failed; i++) {
        happen(r, happens.at[i]);
        check_said(r, buf_bytes(&r->talk.out));
        buf_consume(&r->talk.out, buf_length(&r->talk.out));
    }
    milter_talk_done(&r->talk);
    pool_done(&r->small);
    pool_done(&r->medium);
}

static void same(struct run *a, struct run *b)
{
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&a->came), pieces_seen_bytes(&b->came)));
    PIECES_MUST(bytes_equal(pieces_seen_bytes(&a->said), pieces_seen_bytes(&b->said)));
    pieces_forget(&b->came);
    pieces_forget(&b->said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_make(data, size), happens = pieces_take_text(&in);
    static struct run whole, cut;

    run(&whole, happens, in, 0);
    run(&cut, happens, in, 1);
    same(&whole, &cut);
    run(&cut, happens, in, 2 + size);
    same(&whole, &cut);
    pieces_forget(&whole.came);
    pieces_forget(&whole.said);
    return 0;
}
