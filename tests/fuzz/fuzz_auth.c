/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH in a session, with any client and any server: lines of the input are the client's, but those
 * that begin with '!', which answer what was asked: the rest is a reply, or a login where it begins
 * with 235. However the client's octets are cut, the same is heard and asked; nobody has a login
 * whom no answer gave one; no password is asked for in plain; nothing of a response stays. */
#include "proxy/smtp/sasl.h"
#include "proxy/smtp/session.h"

#include "tests/fuzz/pieces.h"

#define OUT_MAX   65536
#define INPUT_MAX 65536

struct play {
    struct pool small, medium;
    struct session session;
    struct pieces_seen *seen;
    bool was_given_login;
};

static void feed(struct play *p, const struct session_event *ev)
{
    session_feed(&p->session, ev);
}

/* What was asked is what may be asked. */
static void check_sasl(struct play *p)
{
    struct session_sasl sasl = session_sasl(&p->session);

    PIECES_MUST((sasl.mechanism & (SASL_PLAIN | SASL_CRAM_MD5)) != 0);
    PIECES_MUST((sasl.mechanism & sasl_shown()) == 0 || p->session.conf->auth == SESSION_AUTH_ANY);
    PIECES_MUST(sasl.response.len <= SASL_LINE_MAX && sasl_is_base64(sasl.response));
    PIECES_MUST(sasl.has_response || (sasl.is_first && sasl.response.len == 0));
    PIECES_MUST(p->session.tx == NULL && p->session.client.login.len == 0);
    pieces_see(p->seen, sasl.response);
}

static void perform(struct play *p, const struct session_action *todo)
{
    pieces_see_number(p->seen, (int64_t)todo->kind);
    if (todo->kind == SESSION_ACT_MECHANISMS)
        feed(p, &(struct session_event){.kind = SESSION_EV_MECHANISMS,
                                        .mechanisms = SASL_PLAIN | SASL_CRAM_MD5});
    else if (todo->kind == SESSION_ACT_AUTH)
        check_sasl(p);
    else
        PIECES_MUST(todo->kind != SESSION_ACT_ROUTE); /* no line is one of RCPT */
}

static void drain(struct play *p)
{
    struct session_action todo;
    struct buf *out = &p->session.out;

    while (session_next(&p->session, &todo))
        perform(p, &todo);
    pieces_see(p->seen, buf_bytes(out));
    buf_consume(out, buf_length(out));
    PIECES_MUST(p->session.peer.auth.response == NULL ||
                session_awaits(&p->session, SESSION_ACT_AUTH));
    PIECES_MUST(p->session.client.login.len == 0 || p->was_given_login);
}

static void answer(struct play *p, struct bytes text)
{
    static const char *const replies[] = {"334 \r\n", "334 AAAA\r\n", "535 no\r\n", "454 no\r\n"};
    struct session_event ev = {.kind = SESSION_EV_ANSWER};
    uint8_t which = text.len == 0 ? 0 : text.at[0];

    if (!session_awaits(&p->session, SESSION_ACT_AUTH))
        return;
    ev.reply.wire = bytes_of(replies[which % ARRAY_LENGTH(replies)]);
    ev.reply.code = (uint16_t)(which % 4 < 2 ? 334 : which % 4 == 2 ? 535 : 454);
    if (text.len != 0 && bytes_start_with_nocase(text, "235")) {
        ev = (struct session_event){.kind = SESSION_EV_AUTHENTICATED,
                                    .bytes = text,
                                    .reply = reply_own(REPLY_AUTHENTICATED)};
        p->was_given_login = true;
    }
    feed(p, &ev);
    drain(p);
}

/* The octets are overwritten once they were taken. */
static void client_says(struct play *p, struct bytes line, size_t step)
{
    uint8_t *copy = malloc(line.len + 2);
    size_t len = line.len + 2, at = 0, shown = 0;

    PIECES_MUST(copy != NULL);
    if (line.len != 0)
        memcpy(copy, line.at, line.len);
    memcpy(copy + line.len, "\r\n", 2);
    while (at < len) {
        shown = step < len - shown ? shown + step : len;
        struct session_event ev = {.kind = SESSION_EV_BYTES,
                                   .bytes = bytes_make(copy + at, shown - at)};
        size_t used = session_feed(&p->session, &ev);
        memset(copy + at, 'X', used);
        drain(p);
        at += used;
        if (used == 0 && shown == len)
            break; /* it waits for an answer, or is closed */
    }
    free(copy);
}

static void run(struct bytes in, enum session_auth_policy policy, size_t step,
                struct pieces_seen *seen)
{
    const struct session_conf conf = {.name = bytes_of("mx"),
                                      .errors_max = 100,
                                      .junk_max = 1000,
                                      .overshoot_max = 100,
                                      .recipients_max = 1,
                                      .auth = policy,
                                      .announces = CAPABILITY_AUTH,
                                      .bridges = CAPABILITY_AUTH};
    struct netaddr nobody = {.family = NETADDR_NONE};
    struct play p = {.seen = seen};

    pool_init(&p.small, 1024, 8);
    pool_init(&p.medium, 4096, 8);
    session_init(&p.session, &conf, &p.small, &p.medium, &nobody, &nobody);
    session_greet(&p.session);
    drain(&p);
    while (in.len != 0) {
        struct bytes line = bytes_first(in, bytes_find(in, '\n'));
        in = bytes_skip(in, line.len < in.len ? line.len + 1 : line.len);
        if (line.len != 0 && line.at[0] == '!')
            answer(&p, bytes_skip(line, 1));
        else if (!bytes_start_with_nocase(line, "RCPT") && session_wants_input(&p.session))
            client_says(&p, line, step);
    }
    feed(&p, &(struct session_event){.kind = SESSION_EV_LOST});
    drain(&p);
    PIECES_MUST(p.session.peer.auth.response == NULL);
    session_done(&p.session);
    PIECES_MUST(p.small.taken == 0 && p.medium.taken == 0);
    pool_done(&p.small);
    pool_done(&p.medium);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 7, 1000};
    enum session_auth_policy policy =
        size != 0 && data[0] == '+' ? SESSION_AUTH_ANY : SESSION_AUTH_SAFE;
    struct pieces_seen whole = {.len = 0};

    if (size > INPUT_MAX)
        return 0;
    run(bytes_make(data, size), policy, SIZE_MAX / 2, &whole);
    for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
        struct pieces_seen seen = {.len = 0};
        run(bytes_make(data, size), policy, steps[i], &seen);
        PIECES_MUST(bytes_equal(pieces_seen_bytes(&whole), pieces_seen_bytes(&seen)));
        pieces_forget(&seen);
    }
    pieces_forget(&whole);
    return 0;
}
