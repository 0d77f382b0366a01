/* SPDX-License-Identifier: BSD-2-Clause */
/* Framing by BDAT: cutting changes nothing; octets of chunks are content and never commands, and
 * each message is what its chunks hold, whatever stands in them. */
#include "proxy/smtp/bdat.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/session.h"
#include "tests/fuzz/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXPECTED_MAX 900 /* octets: less than a loop's Received fields */

struct target {
    int none;
};
static struct target relay;

struct run {
    struct pool small, medium;
    struct session_conf conf;
    struct session session;
    struct pieces_seen replies, messages, content;
};

/* ---- a session whose only target takes everything ---- */

static void route(struct run *run, struct recipient *rcpt)
{
    struct routed_leg leg = {.target = &relay, .to = rcpt->original};
    struct routed routed = {.legs = &leg, .leg_count = 1};

    session_feed_transaction(&run->session,
                             &(struct event){.kind = EV_ROUTED, .rcpt = rcpt, .routed = &routed});
}

static void settle(struct run *run)
{
    if (reply_is_positive(&run->session.tx->outcome)) {
        pieces_see_number(&run->messages, (int64_t)run->content.len);
        pieces_see(&run->messages, pieces_seen_bytes(&run->content));
    }
    run->content.len = 0;
}

static void carry(struct run *run, const struct action *todo)
{
    struct event ev = {.branch = todo->branch,
                       .rcpt = todo->rcpt,
                       .fate = FATE_ACCEPTED,
                       .reply = reply_own(REPLY_OK)};

    switch (todo->kind) {
    case ACT_OPEN:
        todo->branch->shell = run;
        break;
    case ACT_RCPT:
        ev.kind = EV_ANSWER;
        session_feed_transaction(&run->session, &ev);
        break;
    case ACT_END:
        ev.kind = EV_FINAL;
        session_feed_transaction(&run->session, &ev);
        break;
    case ACT_SETTLED:
        settle(run);
        break;
    case ACT_GO:
    case ACT_PREPARE:
    case ACT_COMMIT:
    case ACT_DROP:
    case ACT_PREPARE_SPOOL:
    case ACT_COMMIT_SPOOL:
        break;
    }
}

static void drain(struct run *run)
{
    struct session_action todo;
    struct buf *out = &run->session.out;

    while (session_next(&run->session, &todo)) {
        if (todo.kind == SESSION_ACT_ROUTE)
            route(run, todo.rcpt);
        else if (todo.kind == SESSION_ACT_CONTENT)
            pieces_see(&run->content, todo.bytes);
        else if (todo.kind == SESSION_ACT_TRANSACTION)
            carry(run, &todo.of_transaction);
    }
    pieces_see(&run->replies, buf_bytes(out));
    buf_consume(out, buf_length(out));
}

static void feed(void *object, struct bytes piece)
{
    struct run *run = object;

    while (piece.len > 0) {
        struct session_event ev = {.kind = SESSION_EV_BYTES, .bytes = piece};
        size_t used = session_feed(&run->session, &ev);
        PIECES_MUST(used > 0 && used <= piece.len);
        drain(run);
        piece = bytes_skip(piece, used);
    }
}

static void play(struct run *run, bool is_binary, bool is_strict, struct bytes stream,
                 uint64_t seed)
{
    const struct netaddr nobody = {.family = NETADDR_NONE};

    *run = (struct run){.conf = {.name = bytes_of("mx"),
                                 .recipients_max = 10,
                                 .errors_max = 100000,
                                 .junk_max = 100000,
                                 .overshoot_max = 100000,
                                 .rejects_bare_newline = is_strict,
                                 .announces = CAPABILITY_CHUNKING | CAPABILITY_BINARYMIME,
                                 .bridges = UINT32_MAX}};
    pool_init(&run->small, 1024, 8);
    pool_init(&run->medium, 4096, 8);
    session_init(&run->session, &run->conf, &run->small, &run->medium, &nobody, &nobody);
    session_greet(&run->session);
    feed(run, bytes_of("EHLO c\r\nMAIL FROM:<f@x>"));
    feed(run, bytes_of(is_binary ? " BODY=BINARYMIME\r\n" : "\r\n"));
    feed(run, bytes_of("RCPT TO:<u@x>\r\n"));
    run->replies.len = 0;
    pieces_feed(stream, seed, feed, run);
}

static void end(struct run *run)
{
    session_feed(&run->session, &(struct session_event){.kind = SESSION_EV_LOST});
    drain(run);
    session_done(&run->session);
    pool_done(&run->small);
    pool_done(&run->medium);
    pieces_forget(&run->replies);
    pieces_forget(&run->messages);
    pieces_forget(&run->content);
}

/* ---- the same in the simplest way: all chunks of the first message ---- */

struct expected {
    struct pieces_seen replies, content;
    bool is_whole; /* LAST has come */
    bool is_bare, is_hidden;
};

/* Where the body begins: behind the first empty line. False: there is none. */
static bool find_body(struct bytes content, size_t *at_out)
{
    for (size_t at = 0; at < content.len;) {
        size_t line = bytes_find(bytes_skip(content, at), '\n');
        bool is_empty = line == 0 || (line == 1 && content.at[at] == '\r');
        at += line + 1;
        *at_out = at;
        if (at <= content.len && is_empty)
            return true;
    }
    return false;
}

static void normalize(struct bytes in, struct expected *e, struct pieces_seen *out)
{
    for (size_t i = 0; i < in.len; i++) {
        bool is_after_cr = i > 0 && in.at[i - 1] == '\r';
        bool is_before_lf = i + 1 < in.len && in.at[i + 1] == '\n';
        if (in.at[i] == '\n') {
            pieces_see(out, bytes_of("\r\n"));
            e->is_bare = e->is_bare || !is_after_cr;
        } else if (in.at[i] != '\r') {
            pieces_see(out, bytes_make(&in.at[i], 1));
        } else if (!is_before_lf) {
            pieces_see(out, bytes_of(" "));
            e->is_bare = true;
        }
    }
}

/* A line of NULs around one dot. */
static bool has_hidden_dot(struct bytes in)
{
    for (size_t at = 0; at < in.len; at += bytes_find(bytes_skip(in, at), '\n') + 1) {
        size_t nuls = 0, dots = 0, i = at;
        for (; i < in.len && (in.at[i] == '\0' || in.at[i] == '.'); i++)
            (in.at[i] == '.' ? &dots : &nuls)[0]++;
        if (dots == 1 && nuls > 0 && (i == in.len || in.at[i] == '\r' || in.at[i] == '\n'))
            return true;
    }
    return false;
}

static void finish(struct expected *e, bool is_binary)
{
    struct bytes raw = pieces_seen_bytes(&e->content);
    struct pieces_seen made = {.len = 0};
    size_t lines = raw.len, at;
    bool has_any_octets = is_binary && find_body(raw, &at);

    if (has_any_octets)
        lines = at;
    normalize(bytes_first(raw, lines), e, &made);
    e->is_hidden = has_hidden_dot(bytes_first(raw, lines));
    pieces_see(&made, bytes_skip(raw, lines));
    if (!has_any_octets && made.len > 0 && made.at[made.len - 1] != '\n')
        pieces_see(&made, bytes_of("\r\n"));
    pieces_forget(&e->content);
    e->content = made;
}

/* Reads BDAT commands, and stops at LAST or at anything else. */
static void expect(struct expected *e, struct bytes stream, bool is_binary)
{
    char reply[64];

    *e = (struct expected){.is_whole = false};
    while (!e->is_whole) {
        struct bytes line = bytes_first(stream, bytes_find(stream, '\n'));
        struct bytes octets = bytes_skip(stream, line.len == stream.len ? line.len : line.len + 1);
        struct bdat bdat;
        if (line.len == stream.len || line.len < 6 || line.at[line.len - 1] != '\r' ||
            !bytes_start_with_nocase(line, "BDAT ") || bytes_find(line, '\0') < line.len ||
            bytes_find(line, '\r') < line.len - 1 ||
            bdat_parse(bytes_make(line.at + 5, line.len - 6), &bdat) != 0 ||
            bdat.bytes > octets.len)
            return;
        pieces_see(&e->content, bytes_first(octets, (size_t)bdat.bytes));
        stream = bytes_skip(octets, (size_t)bdat.bytes);
        e->is_whole = bdat.is_last;
        snprintf(reply, sizeof(reply), "250 2.0.0 %llu octets received\r\n",
                 (unsigned long long)bdat.bytes);
        if (!bdat.is_last)
            pieces_see(&e->replies, bytes_of(reply));
    }
    finish(e, is_binary);
}

static bool begins_with(const struct pieces_seen *seen, const struct pieces_seen *with)
{
    return bytes_equal(bytes_first(pieces_seen_bytes(seen), with->len), pieces_seen_bytes(with));
}

static void check(const struct run *run, const struct expected *e, bool is_strict)
{
    struct pieces_seen first = {.len = 0};

    PIECES_MUST(begins_with(&run->replies, &e->replies));
    if (!e->is_whole)
        return;
    if (e->is_hidden || (e->is_bare && is_strict)) {
        PIECES_MUST(run->replies.len > e->replies.len + 3 &&
                    memcmp(run->replies.at + e->replies.len, "550", 3) == 0);
        return;
    }
    pieces_see_number(&first, (int64_t)e->content.len);
    pieces_see(&first, pieces_seen_bytes(&e->content));
    PIECES_MUST(begins_with(&run->messages, &first));
    pieces_forget(&first);
}

static bool is_same(const struct pieces_seen *a, const struct pieces_seen *b)
{
    return bytes_equal(pieces_seen_bytes(a), pieces_seen_bytes(b));
}

/* The first octet says how to cut, the second what message it is, the rest is what the client sends
 * behind RCPT. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole, again;
    struct expected expected;

    if (size < 2)
        return 0;
    bool is_binary = (data[1] & 1) != 0, is_strict = (data[1] & 2) != 0;
    uint64_t seeds[] = {1, 2 + ((uint64_t)data[0] << 38)};
    struct bytes stream = bytes_make(data + 2, size - 2);

    play(&whole, is_binary, is_strict, stream, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(seeds); i++) {
        play(&again, is_binary, is_strict, stream, seeds[i]);
        PIECES_MUST(is_same(&whole.replies, &again.replies));
        PIECES_MUST(is_same(&whole.messages, &again.messages));
        end(&again);
    }
    if (stream.len <= EXPECTED_MAX) {
        expect(&expected, stream, is_binary);
        check(&whole, &expected, is_strict);
        pieces_forget(&expected.replies);
        pieces_forget(&expected.content);
    }
    end(&whole);
    return 0;
}
