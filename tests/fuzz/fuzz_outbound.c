/* SPDX-License-Identifier: BSD-2-Clause */
/* A hostile target against the outbound machine: any octets, between any calls that are legal. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/smtp/outbound.h"

#define RECIPIENTS_MAX 80

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* All that is borrowed for a transaction, in memory that goes with it. */
struct lent {
    struct envelope envelope;
    struct identity client;
    struct recipient recipients[RECIPIENTS_MAX];
    bool is_answered[RECIPIENTS_MAX];
    char helo[300];
    char local[1001], params[1001]; /* what recipients may bring: as long as a line */
};

enum privacy { IN_PLAIN, SECURING, SECURED };

struct fuzz_auth {
    bool is_proving, is_proof;                          /* ours */
    enum { LOGIN_NONE, LOGIN_SAID, LOGIN_ASKED } login; /* a client's */
};

struct fuzz {
    struct outbound outbound;
    struct outbound_conf conf;
    struct pool small, medium;
    const uint8_t *at, *end;
    struct lent *lent; /* NULL: no transaction */
    struct identity client;
    unsigned recipients, accepted;
    enum privacy privacy;
    struct fuzz_auth auth;
    bool is_ready, has_data, has_go, is_whole, has_tail, is_ended, is_aborted, is_gone;
    bool is_short;      /* an allocation may have failed: only then may a buffer */
    uint64_t available; /* content that was not written */
    uint64_t chunk;     /* announced and not written, as read in what was sent */
    bool is_last;
};

static uint8_t take(struct fuzz *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

static void give_back(struct fuzz *f)
{
    free(f->lent);
    f->lent = NULL;
}

/* ---- what the machine tells ---- */

static void on_answer(struct fuzz *f, const struct outbound_event *ev)
{
    size_t i = (size_t)(ev->rcpt - f->lent->recipients);

    CHECK(!f->is_aborted && i < f->recipients && !f->lent->is_answered[i]);
    CHECK(ev->reply.code >= 200 && ev->reply.code != 421 && ev->reply.code != 521);
    CHECK(ev->fate == FATE_ACCEPTED || ev->fate == FATE_DEFERRED || ev->fate == FATE_REFUSED);
    CHECK((ev->fate == FATE_ACCEPTED) == reply_is_positive(&ev->reply));
    f->lent->is_answered[i] = true;
    f->accepted += ev->fate == FATE_ACCEPTED;
}

static void on_event(struct fuzz *f, const struct outbound_event *ev)
{
    CHECK(!f->is_gone);
    switch (ev->kind) {
    case OUTBOUND_AUTH:
        CHECK(f->conf.authenticates && !f->is_ready);
        CHECK(ev->reply.code == 0 || ev->reply.code / 100 == 3);
        f->auth.is_proving = true;
        break;
    case OUTBOUND_SECURE:
        CHECK(f->conf.tls != OUTBOUND_TLS_NONE && f->privacy == IN_PLAIN && !f->auth.is_proving);
        CHECK(buf_length(&f->outbound.unread) == 0);
        f->privacy = SECURING;
        break;
    case OUTBOUND_READY:
        CHECK(!f->conf.authenticates || f->auth.is_proof);
        CHECK(!f->is_ready && f->lent == NULL);
        f->is_ready = true;
        break;
    case OUTBOUND_ANSWER:
        CHECK(f->lent != NULL);
        on_answer(f, ev);
        break;
    case OUTBOUND_GO:
        CHECK(f->lent != NULL && !f->has_go && f->has_data && f->accepted > 0);
        f->has_go = true;
        break;
    case OUTBOUND_FINAL_ANSWER:
        CHECK(f->lent != NULL && f->accepted > 0 && ev->reply.code >= 200);
        CHECK(ev->is_early || f->is_ended);
        CHECK(ev->fate != FATE_ACCEPTED || (f->is_ended && f->chunk == 0));
        give_back(f);
        break;
    case OUTBOUND_LOGIN:
        CHECK(f->auth.login == LOGIN_SAID && f->lent == NULL);
        CHECK(ev->reply.code == 235 || ev->reply.code == 334 || ev->reply.code >= 400);
        CHECK(ev->reply.code != 421 && ev->reply.code != 521);
        f->auth.login = ev->reply.code == 334 ? LOGIN_ASKED : LOGIN_NONE;
        break;
    case OUTBOUND_IDLE:
        CHECK(f->lent == NULL && f->chunk == 0);
        break;
    case OUTBOUND_REFUSED:
        CHECK(!ev->is_end_sent && (f->lent == NULL || !f->has_go));
        give_back(f);
        break;
    case OUTBOUND_GONE:
        CHECK(!ev->is_end_sent || (f->is_ended && f->chunk == 0));
        CHECK(f->is_short || ev->why != GONE_SHORTAGE);
        f->is_gone = true;
        give_back(f);
        break;
    }
}

/* ---- what it sends ---- */

static bool starts(struct bytes line, const char *with)
{
    return line.len >= strlen(with) && memcmp(line.at, with, strlen(with)) == 0;
}

/* "BDAT n[ LAST]" */
static void on_bdat(struct fuzz *f, struct bytes line)
{
    struct bytes digits = bytes_skip(line, 5);
    uint64_t octets = 0;
    size_t i = 0;

    for (; i < digits.len && byte_is_digit(digits.at[i]); i++)
        octets = octets * 10 + (uint64_t)(digits.at[i] - '0');
    CHECK(i > 0 && f->has_go && !f->is_last && f->chunk == 0 && octets == f->available);
    f->is_last = bytes_is(bytes_skip(digits, i), " LAST");
    CHECK(f->is_last || i == digits.len);
    CHECK(!f->is_last || f->is_whole);
    CHECK(octets > 0 || f->is_last);
    f->chunk = octets;
    f->is_ended = f->is_last && f->chunk == 0;
}

static void on_line(struct fuzz *f, struct bytes line)
{
    static const char *const verbs[] = {"EHLO ",      "HELO ", "XCLIENT ", "XFORWARD ",
                                        "MAIL FROM:", "DATA",  "RSET",     "QUIT",
                                        "AUTH ",      "*",     "STARTTLS", "YQ=="};
    bool is_known = false;

    CHECK(line.len <= (starts(line, "RCPT TO:<") ? 2046 : 510));
    for (size_t i = 0; i < line.len; i++)
        CHECK(line.at[i] >= ' ' && line.at[i] <= '~');
    if (starts(line, "BDAT ")) {
        on_bdat(f, line);
        return;
    }
    CHECK(f->chunk == 0 && !f->is_ended);
    if (bytes_is(line, ".")) {
        CHECK(f->accepted == 0 && f->outbound.accepted == 0 && !f->has_go);
        return;
    }
    if (starts(line, "AUTH ") || starts(line, "XCLIENT ") || starts(line, "MAIL FROM:"))
        CHECK(f->privacy == SECURED || f->conf.tls != OUTBOUND_TLS_REQUIRED);
    if (starts(line, "RCPT TO:<"))
        is_known = f->lent != NULL && memmem(line.at, line.len, "@example.de>", 12) != NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++)
        is_known = is_known || starts(line, verbs[i]);
    CHECK(is_known);
}

/* Commands that were sent; a PROXY header is not looked at. */
static void flush_once(struct fuzz *f, bool has_header)
{
    struct bytes out = buf_bytes(&f->outbound.out);
    size_t length = out.len;

    CHECK(f->outbound.sent.count <= OUTBOUND_SENT_MAX);
    CHECK(f->is_short || !f->outbound.out.has_failed);
    CHECK(f->is_short || !f->outbound.unread.has_failed);
    CHECK(f->is_short || !f->outbound.xforward.has_failed);
    CHECK(f->is_short || !f->outbound.refusal.words.has_failed);
    while (!has_header && out.len > 0 && !f->outbound.out.has_failed) {
        size_t end = bytes_find(out, '\n');

        CHECK(end > 0 && end < out.len && out.at[end - 1] == '\r');
        on_line(f, bytes_first(out, end - 1));
        out = bytes_skip(out, end + 1);
    }
    outbound_said(&f->outbound, length);
}

/* What had no room follows: it is of the transaction that runs now. */
static void flush(struct fuzz *f, bool has_header)
{
    do
        flush_once(f, has_header);
    while (buf_length(&f->outbound.out) > 0);
}

static void drain(struct fuzz *f)
{
    struct outbound_event ev;

    while (outbound_next(&f->outbound, &ev))
        on_event(f, &ev);
    if (f->outbound.state == OUT_IDLE)
        f->is_ended = f->is_last = false;
}

/* ---- what the target says ---- */

static void feed(struct fuzz *f, const void *octets, size_t length)
{
    uint8_t *copy = malloc(length + 1);

    memcpy(copy, octets, length);
    outbound_feed(&f->outbound, bytes_make(copy, length));
    free(copy);
}

static void feed_reply(struct fuzz *f)
{
    static const char *const replies[] = {
        "250 ok\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
        "220 hi\r\n",
        "550 5.1.1 no\r\n",
        "450 4.7.1 later\r\n",
        "503 5.5.1 what\r\n",
        "421 4.7.0 bye\r\n",
        "521 no mail\r\n",
        "250-",
        "250 ok\n",
        "2",
        "50 a\r\n",
        "250-a\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-CHUNKING\r\n"
        "250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n"
        "250 XCLIENT NAME ADDR PORT HELO\r\n",
        "250-a\r\n250-PIPELINING\r\n250 XFORWARD NAME HELO IDENT PROTO SOURCE\r\n",
        "250-a\r\n250-CHUNKING\r\n250-XFORWARD NAME HELO IDENT PROTO\r\n250 XCLIENT ADDR\r\n",
        "250-a\r\n250 PIPELINING\r\n",
        "235 2.7.0 yes\r\n",
        "334 Yg==\r\n"};
    const char *reply = replies[take(f) % ARRAY_LENGTH(replies)];

    feed(f, reply, strlen(reply));
}

static void feed_many(struct fuzz *f)
{
    for (unsigned i = take(f) % 80; i > 0; i--)
        feed(f, "250 ok\r\n", 8);
}

static void feed_raw(struct fuzz *f)
{
    size_t length = take(f), left = (size_t)(f->end - f->at);

    length = length < left ? length : left;
    feed(f, f->at, length);
    f->at += length;
}

/* ---- what is done ---- */

static void fill_client(struct fuzz *f, struct identity *client, char *helo, size_t helo_max)
{
    size_t left = (size_t)(f->end - f->at), length = take(f);

    *client = (struct identity){.name_state = IDENTITY_NAME_CONFIRMED,
                                .name = bytes_of("mail.example.net"),
                                .client = {.family = NETADDR_IPV4, .port = 25},
                                .local = {.family = NETADDR_IPV4, .port = 25}};
    length = length < left ? length : left;
    length = length < helo_max ? length : helo_max;
    if (left > 0 && length < left)
        memcpy(helo, f->at, length);
    else
        length = 0;
    client->helo = bytes_make(helo, length);
}

static void begin(struct fuzz *f)
{
    struct outbound_job job = {.envelope = NULL};
    uint8_t flags = take(f);

    if (!f->is_ready || f->lent != NULL || !outbound_is_idle(&f->outbound))
        return;
    f->lent = calloc(1, sizeof(*f->lent));
    f->lent->envelope.from.local = bytes_of("joe");
    f->lent->envelope.params = bytes_of("SIZE=1 BODY=8BITMIME");
    f->lent->envelope.is_8bit = (flags & 1) != 0;
    memset(f->lent->local, 'r', sizeof(f->lent->local));
    memset(f->lent->params, 'p', sizeof(f->lent->params));
    memcpy(f->lent->envelope.id.text, "BCDFGHJKLMNPQRST", ID_LENGTH);
    fill_client(f, &f->lent->client, f->lent->helo, sizeof(f->lent->helo));
    job = (struct outbound_job){.envelope = &f->lent->envelope,
                                .client = &f->lent->client,
                                .origin = &f->lent->client,
                                .sends_xclient = (flags & 2) != 0,
                                .sends_xforward = (flags & 4) != 0,
                                .passes_without_identity = (flags & 8) != 0};
    f->recipients = f->accepted = 0;
    f->has_data = f->has_go = f->is_whole = f->has_tail = f->is_aborted = false;
    f->available = 0;
    outbound_begin(&f->outbound, &job);
}

static void rcpt(struct fuzz *f)
{
    unsigned count = 1 + take(f) % 70, length = take(f);

    for (unsigned n = count; n > 0; n--) {
        struct recipient *r;

        if (f->lent == NULL || f->is_aborted || f->has_data || f->recipients == RECIPIENTS_MAX)
            return;
        r = &f->lent->recipients[f->recipients++];
        r->to.local = bytes_make(f->lent->local, length < 128 ? 9 : 1000 * (length % 2) + 1);
        if (length >= 128)
            r->params = bytes_make(f->lent->params, 1000 * (length / 2 % 2));
        r->to.domain = bytes_of("example.de");
        list_init(&r->in_outbound);
        outbound_rcpt(&f->outbound, r);
    }
}

static void frame(struct fuzz *f)
{
    struct bytes tail;
    uint64_t more = take(f), octets;

    if ((more & 1) != 0)
        more *= 4096;
    if (!f->is_whole)
        f->available += more;
    if ((more & 6) == 2 && f->has_data)
        f->is_whole = true;
    octets = outbound_frame(&f->outbound, f->available, f->is_whole, &tail);
    CHECK(octets <= f->available);
    CHECK(octets == 0 || !f->outbound.out.has_failed);
    CHECK(f->has_go || (octets == 0 && tail.len == 0));
    CHECK(f->is_whole || tail.len == 0);
    flush(f, false);
    CHECK(f->outbound.out.has_failed || f->outbound.is_dot_content || octets == f->chunk);
    f->has_tail = tail.len > 0;
    CHECK(!f->has_tail || octets == f->available);
}

static void wrote(struct fuzz *f)
{
    uint8_t part = take(f);
    uint64_t framed = f->chunk, octets;

    if (f->outbound.is_dot_content && f->has_go && f->lent != NULL)
        framed = f->available;
    octets = part % 3 == 0 ? framed : framed * (part % 8) / 8;
    f->available -= octets;
    if (f->chunk > 0) {
        f->chunk -= octets;
        f->is_ended = f->is_ended || (f->is_last && f->chunk == 0);
    }
    outbound_wrote(&f->outbound, octets);
    drain(f);
    if (f->has_tail && f->lent != NULL && f->available == 0 && f->outbound.is_dot_content) {
        f->is_ended = true;
        f->has_tail = false;
        outbound_ended(&f->outbound);
    }
}

static void secure(struct fuzz *f)
{
    f->privacy = SECURED;
    outbound_secured(&f->outbound);
}

/* A client's line, or first who it is. */
static void log_in(struct fuzz *f, uint8_t what)
{
    const struct outbound_job job = {
        .client = &f->client, .origin = &f->client, .sends_xclient = (what & 1) != 0};
    bool may_begin = f->is_ready && f->lent == NULL && outbound_is_idle(&f->outbound);

    if (may_begin && (what & 2) != 0) {
        f->is_ready = !outbound_introduce(&f->outbound, &job);
    } else if (may_begin || f->auth.login == LOGIN_ASKED) {
        const char *line = f->auth.login == LOGIN_ASKED ? "YQ==\r\n" : "AUTH PLAIN AGEAYg==\r\n";
        f->auth.login = LOGIN_SAID;
        outbound_login(&f->outbound, bytes_of(line));
    }
}

/* What AUTH says, unless there is nothing to be said: ours, or a client's. */
static void prove(struct fuzz *f)
{
    uint8_t what = take(f);

    if (!f->auth.is_proving) {
        log_in(f, what);
        return;
    }
    f->auth.is_proving = false;
    f->auth.is_proof = (what & 1) != 0;
    if (what >= 224)
        outbound_auth_failed(&f->outbound, ERR_NO_AUTH);
    else
        outbound_auth(&f->outbound, bytes_of("AUTH PLAIN AGEAYg==\r\n"),
                      f->auth.is_proof ? OUTBOUND_AUTH_PROOF : OUTBOUND_AUTH_GOES_ON);
}

static void give_up(struct fuzz *f)
{
    if (f->lent == NULL)
        return;
    f->is_aborted = true;
    if (!outbound_abort(&f->outbound))
        f->is_gone = true;
    give_back(f);
}

static void data(struct fuzz *f)
{
    if (f->lent == NULL || f->recipients == 0)
        return;
    f->has_data = true;
    outbound_data(&f->outbound);
}

static void step(struct fuzz *f)
{
    uint8_t what = take(f);

    switch (what % 16) {
    case 0:
        begin(f);
        break;
    case 1:
        rcpt(f);
        break;
    case 2:
        data(f);
        break;
    case 3:
    case 4:
        frame(f);
        break;
    case 5:
        wrote(f);
        break;
    case 6:
        give_up(f);
        break;
    case 7:
        if (take(f) % 8 == 0)
            outbound_eof(&f->outbound);
        break;
    case 8:
        if (take(f) % 8 == 0)
            outbound_quit(&f->outbound);
        break;
    case 9:
        f->is_short = true;
        mem_fail_nth(take(f));
        break;
    case 10:
        feed_raw(f);
        break;
    case 11:
        feed_many(f);
        break;
    case 12:
        if (f->privacy == SECURING)
            secure(f);
        else
            prove(f);
        break;
    default:
        feed_reply(f);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
    static struct fuzz f;
    char helo[300];
    uint8_t flags;

    f = (struct fuzz){.at = octets, .end = octets + size};
    flags = take(&f);
    f.conf.uses_chunking = (flags & 1) != 0;
    f.conf.authenticates = (flags & 32) != 0;
    if ((flags & 64) != 0)
        f.conf.tls = (flags & 128) != 0 ? OUTBOUND_TLS_REQUIRED : OUTBOUND_TLS_MAY;
    pool_init(&f.small, 1024, 4);
    pool_init(&f.medium, 4096, 4);
    outbound_init(&f.outbound, &f.conf, &f.small, &f.medium);
    fill_client(&f, &f.client, helo, sizeof(helo));
    outbound_start(&f.outbound, (flags >> 1) % 3, (flags & 8) != 0 ? &f.client : NULL, NULL,
                   bytes_of("ID"), (flags & 16) != 0 ? f.client.helo : bytes_of("proxy.example"));
    flush(&f, true);
    while (f.at < f.end && !f.is_gone) {
        step(&f);
        drain(&f);
        flush(&f, false);
    }
    mem_fail_nth(0);
    outbound_done(&f.outbound);
    give_back(&f);
    CHECK(f.small.taken == 0 && f.medium.taken == 0);
    pool_done(&f.small);
    pool_done(&f.medium);
    return 0;
}
