/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports: whatever addresses, replies, parameters and messages say, what is made of them is a
 * report of the form that is meant. */
#include "spool/bounce.h"

#include "tests/fuzz/pieces.h"

#define RECIPIENTS 2

struct scene {
    struct bounce_conf conf;
    struct spool_message message;
    struct spool_recipient recipients[RECIPIENTS];
    bool is_due[RECIPIENTS];
    struct bounce_job job;
};

/* "local@domain", with anything in it. */
static struct address take_address(struct bytes *input)
{
    struct bytes text = pieces_take_text(input);
    size_t at = bytes_find(text, '@');

    return (struct address){.local = bytes_first(text, at),
                            .domain = bytes_skip(text, at < text.len ? at + 1 : at)};
}

static void take_recipient(struct bytes *input, struct spool_recipient *r)
{
    r->original = take_address(input);
    r->to = take_address(input);
    r->params = pieces_take_text(input);
    r->reply = pieces_take_text(input);
    r->remote = pieces_take_text(input);
    r->may_be_duplicate = r->reply.len % 2 == 0;
    r->tried_ms = 1000 * (int64_t)r->remote.len;
}

static void take_scene(struct bytes input, uint8_t choice, struct scene *s)
{
    *s = (struct scene){.is_due = {true, (choice & 16) != 0}};
    s->conf.hostname = pieces_take_text(&input);
    s->conf.postmaster = pieces_take_text(&input);
    s->conf.to = choice & 3;
    s->message = (struct spool_message){.head.id.text = "0123456789BCDFGH",
                                        .view = view_whole(),
                                        .envelope.from = take_address(&input),
                                        .envelope.params = pieces_take_text(&input),
                                        .recipients = s->recipients,
                                        .recipient_count = RECIPIENTS,
                                        .arrived_ms = 1795318000000};
    for (size_t i = 0; i < RECIPIENTS; i++)
        take_recipient(&input, &s->recipients[i]);
    s->message.head.body_bytes = input.len + (choice & 32 ? 1 : 0); /* else all is there */
    s->job = (struct bounce_job){.message = &s->message,
                                 .is_due = s->is_due,
                                 .kind = (choice >> 2 & 3) % 3,
                                 .is_7bit = (choice & 128) != 0,
                                 .now_s = 1795318061,
                                 .will_retry_s = choice & 64 ? 1795750000 : 0,
                                 .content = input};
}

/* ---- reading it back ---- */

static struct bytes take_line(struct bytes *rest)
{
    struct bytes line = bytes_first(*rest, bytes_find(*rest, '\r'));

    *rest = bytes_skip(*rest, line.len + 2);
    return line;
}

static bool is_field_name(struct bytes line)
{
    size_t len = bytes_find(line, ':');

    for (size_t i = 0; i < len; i++)
        if (!byte_is_letter(line.at[i]) && !byte_is_digit(line.at[i]) && line.at[i] != '-')
            return false;
    return len > 0 && len < line.len;
}

/* Fields up to an empty line, each once in `names`, and no other; `names` ends with NULL. */
static void check_fields(struct bytes *rest, const char *const *names)
{
    unsigned seen = 0;

    for (struct bytes line = take_line(rest); line.len > 0; line = take_line(rest)) {
        unsigned i = 0;

        if (line.at[0] == ' ' || line.at[0] == '\t')
            continue;
        PIECES_MUST(is_field_name(line) && pieces_are_printable(line));
        while (names[i] != NULL && !bytes_start_with_nocase(line, names[i]))
            i++;
        PIECES_MUST(names[i] != NULL && (seen & 1u << i) == 0);
        seen |= 1u << i;
    }
    PIECES_MUST((seen & 7) == 7); /* the first three must be there */
}

static struct bytes find_boundary(struct bytes report)
{
    static const char before[] = "\r\n\tboundary=\"";
    const uint8_t *at = memmem(report.at, report.len, before, strlen(before));
    struct bytes rest;

    PIECES_MUST(at != NULL);
    rest = bytes_skip(report, (size_t)(at - report.at) + strlen(before));
    return bytes_first(rest, bytes_find(rest, '"'));
}

/* What stands before the next delimiter, with the line end in front of that. */
static struct bytes take_part(struct bytes *rest, struct bytes boundary)
{
    struct bytes all = *rest;
    size_t at = 0;

    PIECES_MUST(all.len > boundary.len + 4);
    while (memcmp(all.at + at, "\r\n--", 4) != 0 ||
           memcmp(all.at + at + 4, boundary.at, boundary.len) != 0) {
        at++;
        PIECES_MUST(at + boundary.len + 4 < all.len);
    }
    *rest = bytes_skip(all, at + 4 + boundary.len);
    return bytes_first(all, at + 2);
}

static void check_status(struct bytes part, const struct scene *s)
{
    static const char *const message[] = {"Reporting-MTA: dns; ",
                                          "X-Postern-Id: 0",
                                          "Arrival-Date: ",
                                          "Original-Envelope-Id: ",
                                          "X-Postern-Sender: rfc822; ",
                                          NULL};
    static const char *const recipient[] = {"Final-Recipient: rfc822; ",
                                            "Action: ",
                                            "Status: ",
                                            "Remote-MTA: ",
                                            "Diagnostic-Code: ",
                                            "Last-Attempt-Date:",
                                            "Original-Recipient",
                                            "Will-Retry-Until",
                                            NULL};
    unsigned told = 0;

    check_fields(&part, message);
    for (size_t i = 0; i < RECIPIENTS; i++)
        told += s->is_due[i] && bounce_is_wanted(&s->recipients[i], s->job.kind);
    for (; told > 0; told--)
        check_fields(&part, recipient);
    PIECES_MUST(part.len == 0);
}

static void check_report(struct bytes report, const struct scene *s, bool is_8bit)
{
    static const char *const fields[] = {"From: ",         "To: ",
                                         "Message-ID: <",  "Subject: ",
                                         "Date: ",         "Auto-Submitted",
                                         "MIME-Version: ", "Content-Type: multipart/report; ",
                                         "Content-Tra",    NULL};
    struct bytes boundary = find_boundary(report), rest = report, part;

    PIECES_MUST(pieces_are_lines(report));
    while (rest.len > 0) {
        struct bytes line = take_line(&rest);

        PIECES_MUST(line.len <= 998 && bytes_find(line, '\0') == line.len);
        for (size_t i = 0; i < line.len; i++)
            PIECES_MUST(line.at[i] <= 127 || is_8bit);
    }
    rest = report;
    check_fields(&rest, fields);
    take_part(&rest, boundary); /* the preamble */
    part = take_part(&rest, boundary);
    PIECES_MUST(bytes_start_with_nocase(part, "\r\nContent-Type: text/plain; "));
    part = take_part(&rest, boundary);
    PIECES_MUST(bytes_start_with_nocase(part, "\r\nContent-Type: message/delivery-status\r\n"));
    take_line(&part);
    take_line(&part);
    take_line(&part);
    take_line(&part);
    check_status(part, s);
    if (!bytes_is(rest, "--\r\n")) {
        part = take_part(&rest, boundary);
        PIECES_MUST(bytes_start_with_nocase(part, "\r\nContent-Type: message/rfc822\r\n") ||
                    bytes_start_with_nocase(part, "\r\nContent-Type: text/rfc822-headers\r\n"));
    }
    PIECES_MUST(bytes_is(rest, "--\r\n")); /* and no delimiter more */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first octet chooses; then each text is a line, and what is left is the message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spool_message report;
    enum bounce_result result;
    struct arena arena;
    struct pool pool;
    struct buf content;
    struct scene s;

    if (size == 0)
        return 0;
    take_scene(bytes_make(data + 1, size - 1), data[0], &s);
    pool_init(&pool, 4096, 1);
    arena_init(&arena, &pool, 1 << 20);
    buf_init(&content, &pool, BOUNCE_REPORT_MAX);
    PIECES_MUST(bounce_make(&s.conf, &s.job, &arena, &report, &content, &result) == 0);
    PIECES_MUST((result == BOUNCE_MADE) == (buf_length(&content) > 0));
    if (result == BOUNCE_MADE) {
        PIECES_MUST(report.recipient_count > 0 && report.head.body_bytes == buf_length(&content));
        check_report(buf_bytes(&content), &s, report.envelope.is_8bit);
    }
    buf_done(&content);
    arena_reset(&arena);
    pool_done(&pool);
    return 0;
}
