/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenery of the tests of reports. */
#include "tests/unit/bounce_world.h"

#include "tests/unit/lib.h"

const char bounce_world_original[] = "From: Ann <ann@example.com>\r\n"
                                     "Subject: hello\r\n"
                                     "\r\n"
                                     "How are you?\r\n";

struct address bounce_world_address(const char *text)
{
    struct bytes all = bytes_of(text);
    size_t at = bytes_find(all, '@');

    return (struct address){.local = bytes_first(all, at),
                            .domain = at < all.len ? bytes_skip(all, at + 1) : bytes_first(all, 0)};
}

void bounce_world_content(struct bounce_world *s, struct bytes content)
{
    s->job.content = content;
    s->message.head.body_bytes = content.len;
}

void bounce_world_open(struct bounce_world *s)
{
    *s = (struct bounce_world){.is_due = {true, false, false}};
    pool_init(&s->pool, 512, 4);
    arena_init(&s->arena, &s->pool, 1 << 20);
    buf_init(&s->content, &s->pool, BOUNCE_REPORT_MAX);
    s->conf = (struct bounce_conf){.hostname = bytes_of("mx.example.net"),
                                   .postmaster = bytes_of("postmaster")};
    s->message = (struct spool_message){.head.id.text = "06H4TZ0BC00F3X04",
                                        .view = view_whole(),
                                        .envelope.from = bounce_world_address("ann@example.com"),
                                        .listener = bytes_of("mx"),
                                        .arrived_ms = 1795318000000,
                                        .recipients = s->recipients,
                                        .recipient_count = BOUNCE_WORLD_RECIPIENTS};
    for (size_t i = 0; i < BOUNCE_WORLD_RECIPIENTS; i++) {
        static const char *const names[] = {"bob@example.org", "cy@example.org", "di@example.org"};
        s->recipients[i].original = s->recipients[i].to = bounce_world_address(names[i]);
    }
    s->recipients[0].fate = FATE_REFUSED;
    s->recipients[0].reply = bytes_of("550 5.1.1 no such user");
    s->recipients[0].remote = bytes_of("192.0.2.1:25");
    s->recipients[0].tried_ms = 1795318060000;
    s->job = (struct bounce_job){
        .message = &s->message, .is_due = s->is_due, .kind = BOUNCE_FAILED, .now_s = 1795318061};
    bounce_world_content(s, bytes_of(bounce_world_original));
}

int bounce_world_make(struct bounce_world *s)
{
    buf_reset(&s->content);
    s->report = (struct spool_message){.recipient_count = 0};
    return bounce_make(&s->conf, &s->job, &s->arena, &s->report, &s->content, &s->result);
}

void bounce_world_close(struct bounce_world *s)
{
    buf_done(&s->content);
    arena_reset(&s->arena);
    assert_int_equal(s->pool.taken, 0);
    pool_done(&s->pool);
}

bool bounce_world_has(const struct bounce_world *s, const char *text)
{
    struct bytes content = buf_bytes(&s->content);
    return memmem(content.at, content.len, text, strlen(text)) != NULL;
}

void bounce_world_check_lines(size_t row, const struct bounce_world *s)
{
    struct bytes rest = buf_bytes(&s->content);

    while (rest.len > 0) {
        struct bytes line = bytes_first(rest, bytes_find(rest, '\n'));

        lib_is_true(row, "ends in CRLF",
                    line.len < rest.len && line.len > 0 && line.at[line.len - 1] == '\r');
        lib_is_true(row, "at most 998 octets", line.len <= 999);
        lib_is_true(row, "no CR, no NUL",
                    bytes_find(line, '\r') + 1 == line.len && bytes_find(line, 0) == line.len);
        rest = bytes_skip(rest, line.len < rest.len ? line.len + 1 : line.len);
    }
}
struct bytes bounce_world_repeat(struct bounce_world *s, const char *before, const char *piece,
                                 size_t len)
{
    size_t start = strlen(before);
    uint8_t *at = arena_alloc(&s->arena, len);

    assert_non_null(at);
    memcpy(at, before, start);
    for (size_t i = start; i < len; i++)
        at[i] = (uint8_t)piece[(i - start) % strlen(piece)];
    return bytes_make(at, len);
}
