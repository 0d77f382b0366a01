/* SPDX-License-Identifier: BSD-2-Clause */
/* Field names are matched octet by octet, the rest of a line is skipped at the speed of memchr. */
#include "proxy/smtp/header.h"

#include "proxy/base/netaddr.h"
#include "proxy/base/text.h"

#define ID_MAX      250 /* octets of a Message-ID */
#define OTHER_FIELD 0xff
#define TAKING_ID   0xfe
#define AWAITING_ID 0xfd /* the line behind "Message-ID:" begins; the id may follow there */

enum header_name { HEADER_RECEIVED, HEADER_MESSAGE_ID };
static const char *const header_names[] = {
    [HEADER_RECEIVED] = "received:", [HEADER_MESSAGE_ID] = "message-id:"};

void header_counter_init(struct header_counter *counter, struct arena *arena)
{
    *counter = (struct header_counter){.arena = arena, .is_line_empty = true};
}

static void end_line(struct header_counter *counter)
{
    bool goes_on = counter->matched == TAKING_ID && counter->id_len == 0;

    counter->is_over = counter->is_line_empty;
    counter->is_line_empty = true;
    counter->matched = goes_on ? AWAITING_ID : 0;
}

static void end_name(struct header_counter *counter)
{
    counter->matched = OTHER_FIELD;
    if (counter->name == HEADER_RECEIVED) {
        if (counter->received < UINT16_MAX)
            counter->received++;
        return;
    }
    if (counter->id == NULL && counter->arena != NULL)
        counter->id = arena_alloc(counter->arena, ID_MAX);
    if (counter->id != NULL && counter->id_len == 0)
        counter->matched = TAKING_ID;
}

static bool is_of_id(uint8_t octet)
{
    return !byte_is_blank(octet) && octet != '\r' && octet != '\n';
}

/* It ends at a blank; those in front of it do not count. Returns its octets in front of `rest`. */
static size_t take_id(struct header_counter *counter, struct bytes rest)
{
    size_t room = (size_t)(ID_MAX - counter->id_len), len = 0;

    while (len < rest.len && is_of_id(rest.at[len]))
        len++;
    size_t kept = len < room ? len : room;
    if (kept != 0)
        memcpy(counter->id + counter->id_len, rest.at, kept);
    counter->id_len = (uint16_t)(counter->id_len + kept);
    if (kept < len)
        counter->matched = OTHER_FIELD;
    return len;
}

/* One octet of a line that may still become one of the fields. */
static void match(struct header_counter *counter, uint8_t octet)
{
    if (octet == '\n') {
        end_line(counter);
        return;
    }
    if (octet != '\r')
        counter->is_line_empty = false;
    if (counter->matched == AWAITING_ID)
        counter->matched = byte_is_blank(octet) ? TAKING_ID : 0;
    if (counter->matched == TAKING_ID) { /* a blank */
        counter->matched = counter->id_len > 0 ? OTHER_FIELD : TAKING_ID;
        return;
    }
    if (counter->matched == 0)
        counter->name = byte_lower(octet) == 'm' ? HEADER_MESSAGE_ID : HEADER_RECEIVED;
    const char *name = header_names[counter->name];
    if (byte_lower(octet) != (uint8_t)name[counter->matched]) {
        /* A CR may be the end of an empty line. */
        counter->matched = counter->is_line_empty ? 0 : OTHER_FIELD;
        return;
    }
    if (name[++counter->matched] == '\0')
        end_name(counter);
}

void header_counter_feed(struct header_counter *counter, struct bytes content)
{
    struct bytes rest = content;

    while (rest.len > 0 && !counter->is_over) {
        size_t passed = 0;

        if (counter->matched == OTHER_FIELD)
            passed = bytes_find(rest, '\n');
        else if (counter->matched == TAKING_ID)
            passed = take_id(counter, rest);
        rest = bytes_skip(rest, passed);
        if (rest.len == 0)
            return;
        match(counter, rest.at[0]);
        rest = bytes_skip(rest, 1);
    }
}

/* May the octet stand in a Received field as it came? */
static bool is_harmless(uint8_t octet)
{
    switch (octet) {
    case '(':
    case ')':
    case '<':
    case '>':
    case '[':
    case ']':
    case '\\':
    case ',':
    case ';':
    case ':':
    case '"':
        return false;
    }
    return octet >= 33 && octet <= 126;
}

/* RFC 5321 4.4:  Extended-Domain = Domain / ( Domain FWS "(" TCP-info ")" ) /
 *                                  ( address-literal FWS "(" TCP-info ")" ) */
static void put_client(struct buf *out, const struct identity *client)
{
    bool is_named = client->name_state == IDENTITY_NAME_CONFIRMED && client->name.len > 0;
    char text[NETADDR_TEXT_MAX];

    if (client->helo.len == 0)
        buf_text(out, "unknown");
    else if (address_is_literal(client->helo))
        buf_put(out, client->helo);
    else
        text_put_neutral(out, client->helo, is_harmless);
    buf_text(out, " (");
    text_put_neutral(out, is_named ? client->name : bytes_of("unknown"), is_harmless);
    if (client->client.family != NETADDR_NONE)
        buf_cat(out, client->client.family == NETADDR_IPV6 ? " [IPv6:" : " [",
                netaddr_text(&client->client, text), "]", NULL);
    buf_byte(out, ')');
}

void header_put_received(struct buf *out, const struct header_trace *trace)
{
    buf_text(out, "Received: from ");
    put_client(out, trace->client);
    buf_text(out, "\r\n\tby ");
    buf_put(out, trace->by);
    buf_text(out, " (postern) with ");
    identity_put_with(out, trace->client);
    buf_text(out, " id ");
    buf_put(out, trace->id);
    if (trace->rcpt != NULL) {
        buf_text(out, "\r\n\tfor <");
        address_put(out, trace->rcpt);
        buf_byte(out, '>');
    }
    buf_text(out, ";\r\n\t");
    text_put_date(out, trace->wall_s);
    buf_text(out, "\r\n");
}
