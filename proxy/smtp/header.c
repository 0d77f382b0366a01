/* SPDX-License-Identifier: BSD-2-Clause */
/* Field names are matched octet by octet, the rest of a line is skipped at the speed of memchr. */
#include "proxy/smtp/header.h"

#include "proxy/base/netaddr.h"
#include "proxy/base/text.h"

static const char received[] = "received:";

#define RECEIVED_LENGTH (sizeof(received) - 1)
#define OTHER_FIELD     0xff

void header_counter_init(struct header_counter *counter)
{
    *counter = (struct header_counter){.is_line_empty = true};
}

static void end_line(struct header_counter *counter)
{
    counter->is_over = counter->is_line_empty;
    counter->is_line_empty = true;
    counter->matched = 0;
}

/* One octet of a line that may still become a Received field. */
static void match(struct header_counter *counter, uint8_t octet)
{
    if (octet == '\n') {
        end_line(counter);
        return;
    }
    if (octet != '\r')
        counter->is_line_empty = false;
    if (byte_lower(octet) != (uint8_t)received[counter->matched]) {
        /* A CR may be the end of an empty line. */
        counter->matched = counter->is_line_empty ? 0 : OTHER_FIELD;
        return;
    }
    counter->matched++;
    if (counter->matched < RECEIVED_LENGTH)
        return;
    counter->matched = OTHER_FIELD;
    if (counter->received < UINT16_MAX)
        counter->received++;
}

void header_counter_feed(struct header_counter *counter, struct bytes content)
{
    struct bytes rest = content;

    while (rest.len > 0 && !counter->is_over) {
        size_t skipped = counter->matched == OTHER_FIELD ? bytes_find(rest, '\n') : 0;

        rest = bytes_skip(rest, skipped);
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
