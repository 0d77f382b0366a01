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
