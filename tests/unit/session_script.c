/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/session_script.h"

#include <stdio.h>
#include <stdlib.h>

struct session_script *session_script_new(const struct session_script_use *use,
                                          const struct session_conf *conf)
{
    struct session_script *s = calloc(1, sizeof(*s));
    struct netaddr nobody = {.family = NETADDR_NONE};

    assert_non_null(s);
    s->use = use;
    s->conf = *conf;
    s->conf.name = bytes_of("mx");
    pool_init(&s->small, 1024, 8);
    pool_init(&s->medium, 4096, 8);
    session_init(&s->session, &s->conf, &s->small, &s->medium, &nobody, &nobody);
    session_greet(&s->session);
    return s;
}

void session_script_note(struct session_script *s, const char *kind, const char *text)
{
    int len = snprintf(s->log + s->log_bytes, sizeof(s->log) - s->log_bytes, "%s %s\n", kind, text);

    s->log_bytes += (size_t)len;
    assert_true(s->log_bytes < sizeof(s->log));
}

void session_script_drain(struct session_script *s)
{
    struct session_action todo;
    struct buf *out = &s->session.out;

    while (session_next(&s->session, &todo)) {
        assert_false(s->is_closed);
        s->is_closed = todo.kind == SESSION_ACT_CLOSE;
        s->use->perform(s, &todo);
    }
    while (buf_length(out) != 0) {
        struct bytes rest = buf_bytes(out);
        size_t end = bytes_find(rest, '\n');
        char line[1024];
        assert_true(end > 0 && end < rest.len && rest.at[end - 1] == '\r');
        snprintf(line, sizeof(line), "%.*s", (int)(end - 1), (const char *)rest.at);
        session_script_note(s, "S", line);
        buf_consume(out, end + 1);
    }
}

void session_script_say(struct session_script *s, const char *text, size_t len, size_t step)
{
    uint8_t *line = malloc(len + 2);
    size_t at = 0, shown = 0, text_len = strlen(text);

    assert_non_null(line);
    while (at < len + 2) {
        shown = shown + step < len + 2 ? shown + step : len + 2;
        for (size_t i = at; i < shown; i++)
            line[i] = i >= len       ? (uint8_t) "\r\n"[i - len]
                      : i < text_len ? (uint8_t)text[i]
                                     : (uint8_t)'.';
        struct bytes in = bytes_make(line + at, shown - at);
        size_t used = session_feed(&s->session,
                                   &(struct session_event){.kind = SESSION_EV_BYTES, .bytes = in});
        memset(line + at, 'X', used);
        session_script_drain(s);
        at += used;
        if (used == 0 && shown == len + 2)
            break;
    }
    free(line);
}

static void expect(struct session_script *s, const char *line, const char *name, size_t number)
{
    size_t len = strlen(line);

    if (s->log_bytes < len + 1 || memcmp(s->log, line, len) != 0 || s->log[len] != '\n')
        fail_msg("%s, line %zu: expected \"%s\", got \"%.*s\"", name, number, line,
                 (int)s->log_bytes, s->log);
    s->log_bytes -= len + 1;
    memmove(s->log, s->log + len + 1, s->log_bytes);
}

void session_script_play(struct session_script *s, const char *name, const char *script,
                         size_t step)
{
    char line[2048];
    size_t number = 0;

    session_script_drain(s);
    expect(s, "S 220 mx ESMTP postern", name, 0);
    for (const char *at = script; *at != '\0'; at = strchr(at, '\n') + 1) {
        snprintf(line, sizeof(line), "%.*s", (int)(strchr(at, '\n') - at), at);
        number++;
        if (line[0] == 'S' || line[0] == 'A')
            expect(s, line, name, number);
        else if (s->log_bytes != 0)
            fail_msg("%s, line %zu: not expected: \"%.*s\"", name, number, (int)s->log_bytes,
                     s->log);
        else
            s->use->play(s, line, step);
    }
    if (s->log_bytes != 0)
        fail_msg("%s: not expected at the end: \"%.*s\"", name, (int)s->log_bytes, s->log);
}

void session_script_free(struct session_script *s)
{
    session_done(&s->session);
    assert_int_equal(s->small.taken + s->medium.taken, 0);
    pool_done(&s->small);
    pool_done(&s->medium);
    free(s);
}
