/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of the milter protocol. */
#include "filters/milter/milter_wire.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/header_field.h"

#define HEAD_BYTES (MILTER_LEN_BYTES + 1)

/* ---- in ---- */

void milter_reader_init(struct milter_reader *reader, struct pool *pool)
{
    *reader = (struct milter_reader){.is_whole = false};
    buf_init(&reader->begun, pool, MILTER_PACKET_MAX);
}

void milter_reader_done(struct milter_reader *reader)
{
    buf_done(&reader->begun);
}

/* In network order. Legal when four octets are there. */
static uint32_t number_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* How long the packet that begins here is with its head; 0: that cannot be said yet. */
static int measure(struct bytes begun, size_t *bytes_out)
{
    uint32_t length;

    *bytes_out = 0;
    if (begun.len < MILTER_LEN_BYTES)
        return 0;
    length = number_at(begun.at);
    if (length == 0 || length > 1 + MILTER_MAX_DATA_SIZE)
        return ERR_RANGE;
    *bytes_out = MILTER_LEN_BYTES + (size_t)length;
    return 0;
}

static struct milter_packet packet_of(struct bytes whole)
{
    assert(whole.at != NULL && whole.len >= HEAD_BYTES);
    return (struct milter_packet){.command = whole.at[MILTER_LEN_BYTES],
                                  .data = bytes_skip(whole, HEAD_BYTES)};
}

/* Takes as much of `*in` as the packet still needs: first its length, then the rest. */
static int take_some(struct milter_reader *reader, struct bytes *in, bool *is_whole_out)
{
    size_t have = buf_length(&reader->begun), whole;
    int error = measure(buf_bytes(&reader->begun), &whole);
    struct bytes part = bytes_first(*in, (whole == 0 ? MILTER_LEN_BYTES : whole) - have);

    *is_whole_out = false;
    if (error != 0)
        return error;
    buf_put(&reader->begun, part);
    if (reader->begun.has_failed)
        return ERR_MEMORY;
    *in = bytes_skip(*in, part.len);
    *is_whole_out = whole != 0 && have + part.len == whole;
    return 0;
}

int milter_reader_take(struct milter_reader *reader, struct bytes *in,
                       struct milter_packet *packet_out)
{
    bool is_whole = false;
    size_t whole;
    int error;

    if (reader->is_whole)
        buf_reset(&reader->begun);
    reader->is_whole = false;
    if (buf_length(&reader->begun) == 0) {
        error = measure(*in, &whole);
        if (error != 0)
            return error;
        if (whole != 0 && whole <= in->len) { /* nothing has to be kept */
            *packet_out = packet_of(bytes_first(*in, whole));
            *in = bytes_skip(*in, whole);
            return 0;
        }
    }
    while (in->len > 0 && !is_whole) {
        error = take_some(reader, in, &is_whole);
        if (error != 0)
            return error;
    }
    if (!is_whole) /* also where the length alone has come, and is wrong */
        return measure(buf_bytes(&reader->begun), &whole) != 0 ? ERR_RANGE : ERR_NOT_FOUND;
    reader->is_whole = true;
    *packet_out = packet_of(buf_bytes(&reader->begun));
    return 0;
}

bool milter_take_number(struct bytes *data, uint32_t *number_out)
{
    if (data->len < MILTER_LEN_BYTES)
        return false;
    *number_out = number_at(data->at);
    *data = bytes_skip(*data, MILTER_LEN_BYTES);
    return true;
}

bool milter_take_text(struct bytes *data, struct bytes *text_out)
{
    size_t len = bytes_find(*data, '\0');

    if (len == data->len)
        return false;
    *text_out = bytes_first(*data, len);
    *data = bytes_skip(*data, len + 1);
    return true;
}

/* ---- out ---- */

static void put_number(struct buf *out, uint32_t number)
{
    uint8_t octets[] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                        (uint8_t)number};

    buf_put(out, bytes_make(octets, sizeof(octets)));
}

size_t milter_begin(struct buf *out, uint8_t command)
{
    size_t begun = buf_length(out);

    put_number(out, 0);
    buf_byte(out, command);
    return begun;
}

/* The length is known now. */
void milter_end(struct buf *out, size_t begun)
{
    size_t length = buf_length(out) - begun - MILTER_LEN_BYTES;
    uint8_t octets[] = {(uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                        (uint8_t)length};

    if (out->has_failed)
        return;
    assert(length > 0 && length <= 1 + MILTER_MAX_DATA_SIZE);
    buf_overwrite(out, begun, bytes_make(octets, sizeof(octets)));
}

static bool is_no_nul(uint8_t c)
{
    return c != '\0';
}

/* Without its NUL. */
static void put_octets(struct buf *out, struct bytes text)
{
    if (bytes_find(text, '\0') == text.len)
        buf_put(out, text);
    else
        text_put_neutral(out, text, is_no_nul);
}

void milter_put_string(struct buf *out, struct bytes text)
{
    put_octets(out, text);
    buf_byte(out, '\0');
}

void milter_put_bare(struct buf *out, uint8_t command)
{
    milter_end(out, milter_begin(out, command));
}

void milter_put_text(struct buf *out, uint8_t command, struct bytes text)
{
    size_t begun = milter_begin(out, command);

    milter_put_string(out, text);
    milter_end(out, begun);
}

void milter_put_options(struct buf *out, uint32_t version, uint32_t actions, uint32_t steps)
{
    size_t begun = milter_begin(out, SMFIC_OPTNEG);

    put_number(out, version);
    put_number(out, actions);
    put_number(out, steps);
    milter_end(out, begun);
}

void milter_put_connect(struct buf *out, struct bytes host, const struct netaddr *client)
{
    static const uint8_t families[] = {
        [NETADDR_NONE] = SMFIA_UNKNOWN, [NETADDR_IPV4] = SMFIA_INET, [NETADDR_IPV6] = SMFIA_INET6};
    uint8_t port[] = {(uint8_t)(client->port >> 8), (uint8_t)client->port};
    char text[NETADDR_TEXT_MAX];
    size_t begun = milter_begin(out, SMFIC_CONNECT);

    milter_put_string(out, host);
    buf_byte(out, families[client->family]);
    if (client->family != NETADDR_NONE) {
        buf_put(out, bytes_make(port, sizeof(port)));
        milter_put_string(out, bytes_of(netaddr_text(client, text)));
    }
    milter_end(out, begun);
}

void milter_put_path(struct buf *out, uint8_t command, const struct address *path,
                     struct bytes params)
{
    size_t begun = milter_begin(out, command);
    struct bytes word;

    buf_byte(out, '<');
    address_put(out, path);
    buf_text(out, ">");
    buf_byte(out, '\0');
    while ((word = text_word(&params)).len != 0)
        milter_put_string(out, word);
    milter_end(out, begun);
}

/* Without the CR of its folds. */
static void put_value(struct buf *out, struct bytes value)
{
    while (value.len > 0) {
        size_t len = bytes_find(value, '\r');
        bool is_cr = len < value.len, is_fold = len + 1 < value.len && value.at[len + 1] == '\n';

        put_octets(out, bytes_first(value, len + (is_cr && !is_fold)));
        value = bytes_skip(value, len + is_cr);
    }
}

/* One that is longer than a packet can be is cut off. */
void milter_put_field(struct buf *out, struct bytes field, bool keeps_space)
{
    size_t name = header_field_name(field).len, room = MILTER_MAX_DATA_SIZE - 2, begun;
    struct bytes value = bytes_skip(field, bytes_find(field, ':') + 1);

    assert(name != 0);
    while (value.len > 0 && (value.at[value.len - 1] == '\n' || value.at[value.len - 1] == '\r'))
        value.len--;
    if (!keeps_space && value.len > 0 && value.at[0] == ' ')
        value = bytes_skip(value, 1);
    name = name < room ? name : room;
    begun = milter_begin(out, SMFIC_HEADER);
    milter_put_string(out, bytes_first(field, name));
    put_value(out, bytes_first(value, room - name));
    buf_byte(out, '\0');
    milter_end(out, begun);
}

void milter_put_body(struct buf *out, struct bytes chunk)
{
    assert(chunk.len > 0 && chunk.len <= MILTER_CHUNK_SIZE);
    put_number(out, (uint32_t)chunk.len + 1);
    buf_byte(out, SMFIC_BODY);
    buf_put(out, chunk);
}
