/* SPDX-License-Identifier: BSD-2-Clause */
/* Headers: Received fields are counted however the content is cut, and ours cannot be forged. */
#include "proxy/smtp/header.h"

#include "tests/fuzz/pieces.h"

#include "proxy/base/error.h"

static void feed(void *object, struct bytes piece)
{
    header_counter_feed(object, piece);
}

static struct header_counter count(struct bytes content, uint64_t seed)
{
    struct header_counter h;

    header_counter_init(&h, NULL);
    pieces_feed(content, seed, feed, &h);
    return h;
}

/* Line by line, with the whole content at hand. */
static size_t count_plainly(struct bytes content, bool *is_over)
{
    size_t received = 0;

    *is_over = false;
    while (content.len > 0 && !*is_over) {
        struct bytes line = bytes_first(content, bytes_find(content, '\n'));
        bool is_ended = line.len < content.len;
        size_t crs = 0;

        received += bytes_start_with_nocase(line, "Received:");
        content = bytes_skip(content, line.len + (is_ended ? 1 : 0));
        while (crs < line.len && line.at[crs] == '\r')
            crs++;
        *is_over = is_ended && crs == line.len;
        /* A field behind CRs alone is none, but content has no bare CR in the first place. */
        if (crs > 0 && crs < line.len)
            received += bytes_start_with_nocase(bytes_skip(line, crs), "Received:");
    }
    return received < UINT16_MAX ? received : UINT16_MAX;
}

static void check_counting(struct bytes content, uint64_t seed)
{
    struct header_counter whole = count(content, 0), single = count(content, 1);
    struct header_counter cut = count(content, seed);
    bool is_over;

    PIECES_MUST(whole.received == single.received && whole.received == cut.received);
    PIECES_MUST(whole.is_over == single.is_over && whole.is_over == cut.is_over);
    PIECES_MUST(whole.received == count_plainly(content, &is_over));
    PIECES_MUST(whole.is_over == is_over);
}

static size_t count_octet(struct bytes b, uint8_t octet)
{
    size_t found = 0;

    for (size_t i = 0; i < b.len; i++)
        found += b.at[i] == octet;
    return found;
}

/* One field on as many lines as it should have, all of them folded and printable. */
static void check_field(struct bytes field, size_t lines)
{
    bool is_first = true;

    PIECES_MUST(pieces_are_lines(field) && count_octet(field, '\n') == lines);
    while (field.len > 0) {
        struct bytes line = bytes_first(field, bytes_find(field, '\r'));

        field = bytes_skip(field, line.len + 2);
        PIECES_MUST(is_first ? bytes_start_with_nocase(line, "Received: from ")
                             : line.len > 0 && line.at[0] == '\t');
        PIECES_MUST(pieces_are_printable(is_first ? line : bytes_skip(line, 1)));
        if (is_first)
            PIECES_MUST(count_octet(line, '(') == 1 && count_octet(line, ')') == 1 &&
                        line.at[line.len - 1] == ')' && count_octet(line, ';') == 0);
        is_first = false;
    }
}

/* HELO, NAME and recipient as the client and its DNS would have them. */
static void check_writing(struct bytes input, uint8_t choice)
{
    struct identity client = {.is_esmtp = choice & 1,
                              .name_state =
                                  choice & 2 ? IDENTITY_NAME_CONFIRMED : IDENTITY_NAME_UNAVAILABLE};
    struct header_trace trace = {
        .client = &client, .by = bytes_of("mx.example"), .id = bytes_of("ID")};
    struct address rcpt;
    struct arena arena;
    struct pool pool;
    struct buf out;

    client.helo = pieces_take_text(&input);
    client.name = pieces_take_text(&input);
    netaddr_parse(bytes_of(choice & 4 ? "2001:db8::1" : "192.0.2.1"), &client.client);
    pool_init(&pool, 512, 1);
    arena_init(&arena, &pool, 1 << 20);
    if (address_parse_mailbox(pieces_take_text(&input), &arena, &rcpt) == 0)
        trace.rcpt = &rcpt;
    buf_init(&out, &pool, 1 << 20);
    header_put_received(&out, &trace);
    PIECES_MUST(!out.has_failed);
    check_field(buf_bytes(&out), trace.rcpt == NULL ? 3 : 4);
    buf_done(&out);
    arena_reset(&arena);
    pool_done(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first octet says how to cut and what kind of client it is; the rest is a content, and then
 * also a HELO, a name and a recipient, each on a line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    check_counting(bytes_make(data + 1, size - 1), 2 + ((uint64_t)data[0] << 38));
    check_writing(bytes_make(data + 1, size - 1), data[0]);
    return 0;
}
