/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads a conversation once more, in the simplest way that is right. */
#include "tests/fuzz/session_client.h"

struct reading {
    struct bytes said, heard;
    bool has_mail;
    struct session_message now; /* its recipients, so far */
};

void session_client_say(struct session_client *c, struct bytes octets)
{
    if (c->peer == NULL || !sim_may_send(c->peer))
        return;
    pieces_see(&c->said, octets);
    sim_send(c->peer, octets);
}

void session_client_listen(struct session_client *c)
{
    struct bytes in;

    if (c->peer == NULL)
        return;
    in = sim_received(c->peer);
    if (in.len > 0)
        pieces_see(&c->heard, in);
    sim_take(c->peer, in.len);
}

void session_client_forget(struct session_client *c)
{
    c->peer = NULL;
    c->said.len = c->heard.len = 0;
}

/* ---- replies ---- */

/* The code of the next whole reply; 0: there is none. All lines of a reply bear the same code. */
static unsigned next_reply(struct reading *r)
{
    unsigned code = 0;
    struct bytes rest = r->heard;

    for (;;) {
        size_t len = bytes_find(rest, '\n');
        unsigned now;
        if (len == rest.len)
            return 0;
        PIECES_MUST(len >= 4 && rest.at[len - 1] == '\r');
        for (int i = 0; i < 3; i++)
            PIECES_MUST(byte_is_digit(rest.at[i]));
        now = (unsigned)(rest.at[0] - '0') * 100 + (unsigned)(rest.at[1] - '0') * 10 +
              (unsigned)(rest.at[2] - '0');
        PIECES_MUST(code == 0 || code == now);
        PIECES_MUST(rest.at[3] == ' ' || rest.at[3] == '-' || rest.at[3] == '\r');
        code = now;
        bool is_last = rest.at[3] != '-';
        rest = bytes_skip(rest, len + 1);
        if (is_last)
            break;
    }
    r->heard = rest;
    return code;
}

/* ---- content ---- */

/* Where the final dot begins; said.len: it has not come. Only CRLF . CRLF counts. */
static size_t find_end(struct bytes said)
{
    static const char final[] = "\r\n.\r\n";
    const uint8_t *end;

    if (said.len >= 3 && memcmp(said.at, final + 2, 3) == 0)
        return 0;
    end = said.len == 0 ? NULL : memmem(said.at, said.len, final, strlen(final));
    return end == NULL ? said.len : (size_t)(end - said.at) + 2;
}

/* bare-newline = normalize. Line by line: what stands before an LF, with its CRs. */
static void decode(struct bytes in, struct pieces_seen *out)
{
    bool is_start = true;

    while (in.len > 0) {
        size_t feed = bytes_find(in, '\n');
        bool has_feed = feed < in.len, has_return = has_feed && feed > 0 && in.at[feed - 1] == '\r';
        struct bytes line = bytes_first(in, has_return ? feed - 1 : feed);

        in = bytes_skip(in, has_feed ? feed + 1 : feed);
        if (is_start && line.len > 0 && line.at[0] == '.')
            line = bytes_skip(line, 1);
        pieces_see(out, line);
        for (uint8_t *at = out->at + out->len - line.len; at < out->at + out->len; at++)
            if (*at == '\r')
                *at = ' ';
        if (has_feed)
            pieces_see(out, bytes_of("\r\n"));
        is_start = has_return;
    }
}

/* ---- commands ---- */

static void forget_mail(struct reading *r)
{
    r->has_mail = false;
    r->now.rcpt_count = 0;
}

static void note_rcpt(struct reading *r, struct bytes line)
{
    static const char *const domains[] = {"@target.test>", "@mail.test>", "@list.test>"};
    struct bytes prefix = bytes_of("RCPT TO:<");
    int at = r->now.rcpt_count;

    PIECES_MUST(r->has_mail);
    if (at == SESSION_RCPTS_MAX)
        at--; /* then one of the others is not looked at */
    else
        r->now.rcpt_count++;
    r->now.domains[at] = SESSION_OTHER;
    for (int i = 0; i < 3; i++) {
        size_t len = strlen(domains[i]), local = line.len - len - prefix.len;
        if (line.len < prefix.len + len + 1 || local >= sizeof(r->now.locals[0]) ||
            memcmp(line.at, prefix.at, prefix.len) != 0 ||
            memcmp(line.at + line.len - len, domains[i], len) != 0)
            continue;
        for (size_t j = 0; j < local; j++)
            if (!byte_is_letter(line.at[prefix.len + j]))
                return;
        r->now.domains[at] = (enum session_domain)i;
        memset(r->now.locals[at], 0, sizeof(r->now.locals[at]));
        memcpy(r->now.locals[at], line.at + prefix.len, local);
    }
}

static bool is_verb(struct bytes line, const char *verb)
{
    size_t len = strlen(verb);

    return bytes_start_with_nocase(line, verb) &&
           (line.len == len || line.at[len] == ' ' || line.at[len] == '\t');
}

/* False: the conversation ends within the content. */
static bool read_content(struct reading *r, struct session_message *message_out)
{
    size_t end = find_end(r->said);

    if (end == r->said.len)
        return false;
    *message_out = r->now;
    message_out->content = (struct pieces_seen){.len = 0};
    decode(bytes_first(r->said, end), &message_out->content);
    r->said = bytes_skip(r->said, end + 3);
    message_out->code = next_reply(r);
    forget_mail(r);
    return true;
}

/* What an accepted command changes. */
static void follow(struct reading *r, struct bytes line)
{
    if (is_verb(line, "RSET") || is_verb(line, "EHLO") || is_verb(line, "HELO")) {
        forget_mail(r);
    } else if (is_verb(line, "MAIL")) {
        PIECES_MUST(!r->has_mail);
        r->has_mail = true;
    } else if (is_verb(line, "RCPT")) {
        note_rcpt(r, line);
    }
}

/* Replies that the client did not stay for: any DATA may have been obeyed, and any RCPT. */
static int guess(struct bytes said, struct session_message *messages, int count, int max)
{
    while (count < max) {
        struct bytes line = bytes_first(said, bytes_find(said, '\n'));
        if (line.len == said.len)
            break;
        said = bytes_skip(said, line.len + 1);
        if (!bytes_start_with_nocase(line, "DATA"))
            continue;
        size_t end = find_end(said);
        if (end == said.len)
            break;
        messages[count] = (struct session_message){.rcpt_count = SESSION_RCPTS_MAX};
        for (int i = 0; i < SESSION_RCPTS_MAX; i++)
            messages[count].domains[i] = SESSION_OTHER;
        decode(bytes_first(said, end), &messages[count++].content);
    }
    return count;
}

static bool is_farewell(unsigned code)
{
    return code == 421 || code == 554 || code == 451;
}

int session_client_read(const struct session_client *c, struct session_message *messages, int count,
                        int max)
{
    struct reading r = {.said = pieces_seen_bytes(&c->said), .heard = pieces_seen_bytes(&c->heard)};
    struct bytes unanswered = r.said;
    unsigned code = next_reply(&r); /* the greeting */

    while (code != 0 && count < max) {
        unanswered = r.said;
        struct bytes line = bytes_first(r.said, bytes_find(r.said, '\n'));
        if (line.len == r.said.len)
            break;
        r.said = bytes_skip(r.said, line.len + 1);
        if (line.len > 0 && line.at[line.len - 1] == '\r')
            line.len--;
        code = next_reply(&r);
        if (code == 354) {
            PIECES_MUST(is_verb(line, "DATA") && r.has_mail && r.now.rcpt_count > 0);
            unanswered = bytes_make(NULL, 0);
            if (!read_content(&r, &messages[count]))
                break;
            code = messages[count++].code;
            unanswered = r.said;
        } else if (code / 100 == 2) {
            follow(&r, line);
        }
    }
    if (code == 0)
        count = guess(unanswered, messages, count, max);
    /* Behind them stands at most a farewell that nobody asked for. */
    if (count < max) {
        code = next_reply(&r);
        PIECES_MUST(code == 0 || is_farewell(code));
        PIECES_MUST(next_reply(&r) == 0);
    }
    return count;
}
