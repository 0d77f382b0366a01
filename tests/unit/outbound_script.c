/* SPDX-License-Identifier: BSD-2-Clause */
/* Plays a script, and writes down what really happens in the script's own form. */
#include "tests/unit/outbound_script.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/outbound.h"

#define RECIPIENTS_MAX 200
#define WAY_WHOLE      SIZE_MAX
#define WAY_BYTES      (SIZE_MAX - 1)

struct player {
    struct outbound outbound;
    struct outbound_conf conf;
    struct pool small, medium;
    struct identity client;
    struct envelope envelope;
    struct recipient recipients[RECIPIENTS_MAX];
    char names[RECIPIENTS_MAX][16];
    size_t recipient_count;
    size_t way; /* or the offset in all of the target's octets at which a segment is cut */
    size_t fed;
    bool is_gone;
    struct lib_text *seen;
};

/* ---- writing down ---- */

static const char *const fates[] = {"open", "accepted", "deferred", "refused",
                                    "lost", "unknown",  "discarded"};
static const char *const gones[] = {"closed",  "refused",  "lost",   "shortage",
                                    "verdict", "identity", "aborted"};

static void put_reply(struct player *p, const char *before, const struct reply *r)
{
    struct bytes rest = r->wire;

    while (rest.len > 0) {
        size_t end = bytes_find(rest, '\n');

        lib_put(p->seen, "%s", before);
        lib_put_bytes(p->seen, bytes_first(rest, end - 1));
        rest = bytes_skip(rest, end + 1);
        before = " / ";
    }
}

static void put_event(struct player *p, const struct outbound_event *ev)
{
    static const char *const kinds[] = {"secure", "auth",  "ready", "login",   "answer",
                                        "go",     "final", "idle",  "refused", "gone"};

    lib_put(p->seen, "E: %s", kinds[ev->kind]);
    if (ev->rcpt != NULL)
        lib_put(p->seen, " %.*s", (int)ev->rcpt->to.local.len, (const char *)ev->rcpt->to.local.at);
    if (ev->kind == OUTBOUND_ANSWER || ev->kind == OUTBOUND_FINAL_ANSWER)
        lib_put(p->seen, " %s", fates[ev->fate]);
    if (ev->kind == OUTBOUND_GONE || ev->kind == OUTBOUND_REFUSED)
        lib_put(p->seen, " %s", gones[ev->why]);
    lib_put(p->seen, "%s%s%s", ev->is_early ? " early" : "", ev->is_end_sent ? " end-sent" : "",
            ev->kind == OUTBOUND_FINAL_ANSWER && !ev->is_last ? " more" : "");
    if (ev->reply.code != 0)
        put_reply(p, " ", &ev->reply);
    if (ev->is_confused)
        put_reply(p, " <- ", &ev->heard);
    lib_put(p->seen, "\n");
}

static void drain(struct player *p)
{
    struct outbound_event ev;

    while (outbound_next(&p->outbound, &ev)) {
        assert_false(p->is_gone);
        p->is_gone = ev.kind == OUTBOUND_GONE;
        put_event(p, &ev);
        if (ev.kind == OUTBOUND_IDLE || ev.kind == OUTBOUND_READY)
            assert_true(outbound_is_idle(&p->outbound) || p->way != WAY_WHOLE);
    }
}

static void flush(struct player *p)
{
    struct bytes out = buf_bytes(&p->outbound.out);
    size_t length = out.len;

    while (out.len > 0) {
        struct bytes line = bytes_first(out, bytes_find(out, '\n') + 1);

        assert_true(line.len <= 512);
        assert_true(line.len >= 2 && line.at[line.len - 2] == '\r');
        lib_put(p->seen, "C: ");
        lib_put_bytes(p->seen, bytes_first(line, line.len - 2));
        lib_put(p->seen, "\n");
        out = bytes_skip(out, line.len);
    }
    outbound_said(&p->outbound, length);
}

/* ---- what the target says ---- */

/* A piece in memory of its own, which is gone afterwards. */
static void feed(struct player *p, struct bytes in)
{
    uint8_t *copy = malloc(in.len + 1);

    memcpy(copy, in.at, in.len);
    outbound_feed(&p->outbound, bytes_make(copy, in.len));
    free(copy);
    drain(p);
}

static void feed_segment(struct player *p, struct bytes in)
{
    size_t cut = p->way - p->fed;

    p->fed += in.len;
    if (p->way == WAY_BYTES) {
        for (size_t i = 0; i < in.len; i++)
            feed(p, bytes_make(in.at + i, 1));
    } else if (p->way != WAY_WHOLE && cut > 0 && cut < in.len) {
        feed(p, bytes_first(in, cut));
        feed(p, bytes_skip(in, cut));
    } else {
        feed(p, in);
    }
}

/* Takes "S:" lines off `*script`, as long as there are some. */
static void play_segment(struct player *p, const char **script)
{
    static uint8_t segment[16384];
    size_t len = 0;

    while (strncmp(*script, "S: ", 3) == 0) {
        const char *end = strchr(*script, '\n');

        lib_put(p->seen, "%.*s\n", (int)(end - *script), *script);
        for (const char *at = *script + 3; at < end; at++) {
            bool is_nul = at[0] == '\\' && at[1] == '0';

            segment[len++] = is_nul ? 0 : (uint8_t)*at;
            at += is_nul;
        }
        memcpy(segment + len, "\r\n", 2);
        len += 2;
        *script = end + 1;
    }
    feed_segment(p, bytes_make(segment, len));
}

/* ---- what is done ---- */

static void call_start(struct player *p, struct bytes words)
{
    struct bytes word = text_word(&words), helo = bytes_of("proxy.example");
    unsigned version = bytes_is(word, "proxy1") ? 1 : bytes_is(word, "proxy2") ? 2 : 0;
    const struct identity *client = NULL;
    struct identity own = {.is_esmtp = false};

    netaddr_parse_with_port(bytes_of("10.0.0.2:4000"), 0, &own.client);
    netaddr_parse_with_port(bytes_of("10.0.0.1:25"), 0, &own.local);
    if (version != 0)
        word = text_word(&words);
    if (bytes_is(word, "lmtp"))
        p->conf.is_lmtp = true;
    if (bytes_is(word, "may"))
        p->conf.tls = OUTBOUND_TLS_MAY;
    if (bytes_is(word, "required"))
        p->conf.tls = OUTBOUND_TLS_REQUIRED;
    if (bytes_is(word, "auth"))
        p->conf.authenticates = true;
    if (bytes_is(word, "client")) {
        client = &p->client;
        word = text_word(&words);
    }
    if (bytes_is(word, "helo"))
        helo = text_trim(words);
    outbound_start(&p->outbound, version, client, &own, bytes_of(""), helo);
}

static void call_begin(struct player *p, struct bytes words)
{
    struct outbound_job job = {
        .envelope = &p->envelope, .client = &p->client, .origin = &p->client};

    p->recipient_count = 0;
    p->envelope = (struct envelope){.params = bytes_of("SIZE=100 BODY=7BIT"),
                                    .from.local = bytes_of("joe"),
                                    .from.domain = bytes_of("example.com")};
    memcpy(p->envelope.id.text, "BCDFGHJKLMNPQRST", ID_LENGTH);
    for (struct bytes word = text_word(&words); word.len > 0; word = text_word(&words)) {
        job.sends_xclient |= bytes_is(word, "xclient");
        job.sends_xforward |= bytes_is(word, "xforward");
        job.passes_without_identity |= bytes_is(word, "pass");
        if (bytes_is(word, "odd"))
            p->client.helo = bytes_of("a\r\nRCPT TO:<b@example.org>");
        if (bytes_is(word, "long")) {
            p->client.name = bytes_of(SCRIPT_LONG_NAME);
            p->client.helo = bytes_of(SCRIPT_LONG_HELO);
        }
        if (bytes_is(word, "8bit")) {
            p->envelope.is_8bit = true;
            p->envelope.params = bytes_of("body=8BITMIME SIZE=7");
        } else if (bytes_is(word, "bounce")) {
            p->envelope.from = (struct address){.is_literal = false};
            p->envelope.params = bytes_of("");
        }
    }
    outbound_begin(&p->outbound, &job);
}

static void call_rcpt(struct player *p, struct bytes words)
{
    for (struct bytes word = text_word(&words); word.len > 0; word = text_word(&words)) {
        size_t i = p->recipient_count++;
        struct recipient *rcpt = &p->recipients[i];

        assert_true(i < RECIPIENTS_MAX && word.len < sizeof(p->names[i]));
        memcpy(p->names[i], word.at, word.len);
        *rcpt = (struct recipient){.to.local = bytes_make(p->names[i], word.len),
                                   .to.domain = bytes_of("example.org")};
        list_init(&rcpt->in_outbound);
        outbound_rcpt(&p->outbound, rcpt);
    }
}

static void call_frame(struct player *p, struct bytes words, struct lib_text *result)
{
    struct bytes tail = bytes_of("?");
    uint64_t available = 0, octets;

    text_decimal(text_word(&words), UINT64_MAX, &available);
    octets = outbound_frame(&p->outbound, available, words.len > 0, &tail);
    assert_true(octets == 0 || !p->outbound.out.has_failed);
    lib_put(result, "R: %llu", (unsigned long long)octets);
    if (tail.len > 0)
        lib_put(result, " and ");
    lib_put_bytes(result, tail);
    lib_put(result, "\n");
}

/* Our AUTH, or that of a client. */
static void call_auth(struct player *p, struct bytes verb, struct bytes words)
{
    struct bytes said = text_trim(words);
    char text[512];
    int len = snprintf(text, sizeof(text), "%.*s\r\n", (int)said.len, (const char *)said.at);
    struct bytes line = bytes_make(text, (size_t)len);

    if (bytes_is(verb, "login"))
        outbound_login(&p->outbound, line);
    else
        outbound_auth(&p->outbound, line,
                      bytes_is(verb, "prove") ? OUTBOUND_AUTH_PROOF : OUTBOUND_AUTH_GOES_ON);
}

static void call_introduce(struct player *p, struct bytes words, struct lib_text *result)
{
    struct outbound_job job = {.client = &p->client,
                               .sends_xclient = bytes_is(text_word(&words), "xclient")};

    lib_put(result, "R: %s\n",
            outbound_introduce(&p->outbound, &job) ? "ready follows" : "nothing to say");
}

static void call(struct player *p, struct bytes words, struct lib_text *result)
{
    struct bytes verb = text_word(&words);
    uint64_t octets = 0;

    if (bytes_is(verb, "start"))
        call_start(p, words);
    else if (bytes_is(verb, "begin"))
        call_begin(p, words);
    else if (bytes_is(verb, "rcpt"))
        call_rcpt(p, words);
    else if (bytes_is(verb, "data"))
        outbound_data(&p->outbound);
    else if (bytes_is(verb, "frame"))
        call_frame(p, words, result);
    else if (bytes_is(verb, "wrote") && text_decimal(text_word(&words), UINT64_MAX, &octets) == 0)
        outbound_wrote(&p->outbound, octets);
    else if (bytes_is(verb, "ended"))
        outbound_ended(&p->outbound);
    else if (bytes_is(verb, "abort"))
        lib_put(result, "R: %s\n", outbound_abort(&p->outbound) ? "lives" : "must be closed");
    else if (bytes_is(verb, "secured"))
        outbound_secured(&p->outbound);
    else if (bytes_is(verb, "say") || bytes_is(verb, "prove") || bytes_is(verb, "login"))
        call_auth(p, verb, words);
    else if (bytes_is(verb, "introduce"))
        call_introduce(p, words, result);
    else if (bytes_is(verb, "fail"))
        outbound_auth_failed(&p->outbound, ERR_NO_AUTH);
    else if (bytes_is(verb, "quit"))
        outbound_quit(&p->outbound);
    else if (bytes_is(verb, "eof"))
        outbound_eof(&p->outbound);
    else if (bytes_is(verb, "idle"))
        lib_put(result, "R: %s\n", outbound_is_idle(&p->outbound) ? "idle" : "busy");
    else
        fail_msg("no such call in a script");
}

/* Takes the line at `*script`. */
static void play_call(struct player *p, const char **script)
{
    static struct lib_text result;
    const char *end = strchr(*script, '\n');

    result.len = 0;
    result.at[0] = '\0';
    lib_put(p->seen, "%.*s\n", (int)(end - *script), *script);
    call(p, bytes_make(*script + 2, (size_t)(end - *script - 2)), &result);
    *script = end + 1;
    drain(p);
    flush(p);
    lib_put(p->seen, "%s", result.at);
}

/* ---- a whole script ---- */

static void set_up(struct player *p, const struct outbound_script *script, size_t way,
                   struct lib_text *seen)
{
    *p = (struct player){.conf.uses_chunking = !script->avoids_chunking, .way = way, .seen = seen};
    p->client = (struct identity){.name_state = IDENTITY_NAME_CONFIRMED,
                                  .name = bytes_of("mail.example.net"),
                                  .helo = bytes_of("client.example.net"),
                                  .is_esmtp = true};
    netaddr_parse_with_port(bytes_of("192.0.2.1:1025"), 0, &p->client.client);
    netaddr_parse_with_port(bytes_of("192.0.2.25:25"), 0, &p->client.local);
    pool_init(&p->small, 1024, 4);
    pool_init(&p->medium, 4096, 4);
    outbound_init(&p->outbound, &p->conf, &p->small, &p->medium);
    seen->len = 0;
    seen->at[0] = '\0';
}

/* Stops where the connection is gone unasked for: nothing may be called then. */
static void play(const struct outbound_script *script, size_t way, struct lib_text *seen,
                 bool may_fail)
{
    static struct player p;
    const char *at = script->text;

    set_up(&p, script, way, seen);
    while (*at != '\0' && !(may_fail && p.is_gone)) {
        if (strncmp(at, "S: ", 3) == 0) {
            play_segment(&p, &at);
            flush(&p);
        } else if (strncmp(at, "> ", 2) == 0) {
            play_call(&p, &at);
        } else {
            at = strchr(at, '\n') + 1;
        }
        assert_true(p.outbound.sent.count <= OUTBOUND_SENT_MAX);
    }
    outbound_done(&p.outbound);
    assert_int_equal(p.small.taken + p.medium.taken, 0);
    pool_done(&p.small);
    pool_done(&p.medium);
}

static size_t count_octets(const char *text)
{
    size_t octets = 0;

    for (; *text != '\0'; text = strchr(text, '\n') + 1)
        if (strncmp(text, "S: ", 3) == 0)
            octets += (size_t)(strchr(text, '\n') - text) - 3 + 2;
    return octets;
}

/* Without memory the connection may be lost, or a target's words; nothing else may change. */
static bool play_without_memory(void *given)
{
    static struct lib_text seen;
    const struct outbound_script *script = given;

    play(script, WAY_WHOLE, &seen, true);
    if (strcmp(seen.at, script->text) == 0)
        return true;
    if (strstr(seen.at, "E: gone") == NULL && strstr(seen.at, "Local problem") == NULL)
        fail_msg("%s: a failed allocation is hidden:\n%s", script->name, seen.at);
    return false;
}

void outbound_script_play(const struct outbound_script *scripts, size_t count)
{
    static struct lib_text seen;

    for (size_t i = 0; i < count; i++) {
        struct outbound_script script = scripts[i];
        size_t octets = count_octets(script.text);
        bool is_same = true;

        for (size_t way = 0; is_same && way <= octets + 1; way++) {
            play(&script, way == 0 ? WAY_WHOLE : way > octets ? WAY_BYTES : way, &seen, false);
            is_same = lib_same_text(i, script.name, script.text, seen.at);
        }
        if (is_same)
            lib_fail_each_allocation(play_without_memory, &script);
    }
    lib_end_rows();
}
