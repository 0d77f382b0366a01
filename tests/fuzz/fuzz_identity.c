/* SPDX-License-Identifier: BSD-2-Clause */
/* Identity: whatever DNS and the client say, a target is told whole commands of at most 512 octets
 * with the attributes that it announced, each once, and no value has a space. */
#include "proxy/smtp/identity.h"

#include "tests/fuzz/pieces.h"

static const char *const names[] = {
    "NAME",         "ADDR",   "PORT",   "PROTO", "HELO",    "LOGIN", "DESTADDR", "DESTPORT",
    "REVERSE_NAME", "IDENT",  "SOURCE", "",      "SESSION", "TTL",   "TIMEOUT",  "CLIENT-TRANSPORT",
    "DESTNAME",     "FORWARD"};

/* The bit of "NAME=value"; names stand in the order of their bits. */
static uint32_t bit_of(struct bytes word)
{
    struct bytes name = bytes_first(word, bytes_find(word, '='));

    PIECES_MUST(name.len + 1 < word.len);
    PIECES_MUST(word.len - name.len - 1 <= 255 || bytes_is(name, "FORWARD"));
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (bytes_is(name, names[i]))
            return 1u << i;
    PIECES_MUST(!"an attribute that there is not");
    return 0;
}

static bool has_forward(struct bytes line)
{
    while (line.len != 0 && !bytes_start_with_nocase(line, " FORWARD="))
        line = bytes_skip(line, 1);
    return line.len != 0;
}

/* Takes "VERB A=x B=y CRLF" off; returns the bits. */
static uint32_t read_command(struct bytes *text, const char *verb)
{
    struct bytes line = bytes_first(*text, bytes_find(*text, '\n'));
    struct bytes rest = bytes_skip(line, strlen(verb));
    uint32_t seen = 0;

    PIECES_MUST(line.len < text->len && line.len + 1 <= IDENTITY_LONGEST_MAX);
    PIECES_MUST(line.len + 1 <= IDENTITY_COMMAND_MAX || has_forward(line));
    PIECES_MUST(bytes_equal(bytes_first(line, strlen(verb)), bytes_of(verb)));
    PIECES_MUST(line.at[line.len - 1] == '\r');
    *text = bytes_skip(*text, line.len + 1);
    rest.len--;
    PIECES_MUST(pieces_are_printable(rest));
    while (rest.len > 0) {
        struct bytes word;
        uint32_t bit;

        PIECES_MUST(rest.at[0] == ' ');
        rest = bytes_skip(rest, 1);
        word = bytes_first(rest, bytes_find(rest, ' '));
        rest = bytes_skip(rest, word.len);
        bit = bit_of(word);
        PIECES_MUST((seen & bit) == 0);
        seen |= bit;
    }
    PIECES_MUST(seen != 0);
    return seen;
}

static void check_xclient(struct buf *out, const struct identity *who, uint32_t attributes,
                          enum identity_form form)
{
    uint32_t optional = ATTRIBUTE_HELO | ATTRIBUTE_REVERSE_NAME | ATTRIBUTE_LOGIN |
                        ATTRIBUTE_SESSION | ATTRIBUTE_TIMEOUT | ATTRIBUTE_CLIENT_TRANSPORT |
                        ATTRIBUTE_DESTNAME | ATTRIBUTE_FORWARD;
    uint32_t never = ATTRIBUTE_IDENT | ATTRIBUTE_SOURCE | ATTRIBUTE_OTHER;
    struct bytes text;
    uint32_t seen;

    identity_put_xclient(
        out, who,
        &(struct identity_way){.attributes = attributes, .form = form, .patience_s = attributes});
    text = buf_bytes(out);
    if ((attributes & ATTRIBUTE_ADDR) == 0) {
        PIECES_MUST(text.len == 0);
        return;
    }
    seen = read_command(&text, "XCLIENT");
    PIECES_MUST(text.len == 0 && (seen & ~attributes) == 0);
    PIECES_MUST((seen | optional) == ((attributes | optional) & ~never));
    buf_reset(out);
}

static void check_xforward(struct buf *out, const struct identity *who, uint32_t attributes,
                           struct bytes ident)
{
    const uint32_t known = ATTRIBUTE_NAME | ATTRIBUTE_ADDR | ATTRIBUTE_PORT | ATTRIBUTE_HELO |
                           ATTRIBUTE_IDENT | ATTRIBUTE_PROTO | ATTRIBUTE_SOURCE;
    unsigned commands = identity_put_xforward(out, who, attributes, ident);
    struct bytes text = buf_bytes(out);
    uint32_t seen = 0;

    for (unsigned i = 0; i < commands; i++) {
        uint32_t more = read_command(&text, "XFORWARD");

        PIECES_MUST((seen & more) == 0);
        seen |= more;
    }
    PIECES_MUST(text.len == 0 && seen == (attributes & known));
    buf_reset(out);
}

static void check_proxy(struct buf *out, const struct identity *who)
{
    struct bytes text;

    identity_put_proxy_v1(out, who);
    text = buf_bytes(out);
    PIECES_MUST(text.len <= 107 && pieces_are_lines(text));
    PIECES_MUST(bytes_find(text, '\n') == text.len - 1);
    buf_reset(out);
    identity_put_proxy_v2(out, who, bytes_first(who->helo, 128));
    text = buf_bytes(out);
    PIECES_MUST(text.len >= 16);
    PIECES_MUST(text.len == 16u + ((unsigned)text.at[14] << 8 | text.at[15]));
    buf_reset(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two octets of attributes, two of choices; then client and local address with port, the name, the
 * unverified one, HELO and the transaction's id, each on a line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity who = {.is_esmtp = false};
    struct bytes input, ident;
    uint32_t attributes;
    struct pool pool;
    struct buf out;

    if (size < 4)
        return 0;
    attributes = (uint32_t)(data[2] >> 6) << 16 | (uint32_t)data[0] << 8 | data[1];
    who.is_esmtp = data[2] & 1;
    who.name_state = data[2] & 2   ? IDENTITY_NAME_CONFIRMED
                     : data[2] & 4 ? IDENTITY_NAME_TEMPORARY
                                   : IDENTITY_NAME_UNAVAILABLE;
    input = bytes_make(data + 4, size - 4);
    netaddr_parse_with_port(pieces_take_text(&input), 25, &who.client);
    netaddr_parse_with_port(pieces_take_text(&input), 25, &who.local);
    who.name = pieces_take_text(&input);
    who.reverse_name = pieces_take_text(&input);
    who.helo = pieces_take_text(&input);
    who.login = who.reference = who.transport = who.destination = who.forwarded = who.helo;
    who.hops_left = data[2] >> 3;
    ident = pieces_take_text(&input);
    pool_init(&pool, 512, 1);
    buf_init(&out, &pool, 1 << 20);
    check_xclient(&out, &who, attributes, data[3] % 3);
    check_xforward(&out, &who, attributes, ident);
    check_proxy(&out, &who);
    PIECES_MUST(!out.has_failed);
    buf_done(&out);
    pool_done(&pool);
    return 0;
}
