/* SPDX-License-Identifier: BSD-2-Clause */
/* The argument of BDAT; and content that came by it on its way to a target that wants DATA. */
#include "proxy/smtp/bdat.h"

#include <inttypes.h>

#include "proxy/base/error.h"
#include "proxy/smtp/dot.h"
#include "tests/unit/lib.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct {
    struct bytes argument;
    const char *read;
} arguments[] = {
    {LITERAL("0"), "0"},
    {LITERAL("1"), "1"},
    {LITERAL("0 LAST"), "0 last"},
    {LITERAL("86 last"), "86 last"},
    {LITERAL("86 \t LaSt"), "86 last"},
    {LITERAL("00000000000000000012"), "12"},
    {LITERAL("18446744073709551615"), "18446744073709551615"},
    {LITERAL("18446744073709551616"), "18446744073709551615"},
    {LITERAL("99999999999999999999 LAST"), "18446744073709551615 last"},
    {LITERAL("000000000000000000012"), "bad"}, /* 21 digits */
    {LITERAL("100000000000000000000"), "bad"},
    {LITERAL(""), "bad"},
    {LITERAL("LAST"), "bad"},
    {LITERAL("x"), "bad"},
    {LITERAL("1x"), "bad"},
    {LITERAL("-1"), "bad"},
    {LITERAL("+1"), "bad"},
    {LITERAL("0x10"), "bad"},
    {LITERAL("1\0"), "bad"},
    {LITERAL("1,LAST"), "bad"},
    {LITERAL("1 LASTS"), "bad"},
    {LITERAL("1 LAS"), "bad"},
    {LITERAL("1 2"), "bad"},
    {LITERAL("1 LAST LAST"), "bad"},
    {LITERAL("1LAST"), "bad"},
};

static void test_arguments(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(arguments); i++) {
        struct bdat bdat;
        struct lib_text seen = {.len = 0};
        int error = bdat_parse(arguments[i].argument, &bdat);

        if (error != 0)
            lib_put(&seen, error == ERR_SYNTAX ? "bad" : "another error");
        else
            lib_put(&seen, "%" PRIu64 "%s", bdat.bytes, bdat.is_last ? " last" : "");
        lib_same_text(i, "argument", arguments[i].read, seen.at);
    }
    lib_end_rows();
}

/* ---- content as it is ---- */

static const struct {
    struct bytes wire;
    const char *seen;
} rows[] = {
    {LITERAL(""), ""},
    {LITERAL("a"), "a\\r\\n"},
    {LITERAL("a\r\n"), "a\\r\\n"},
    {LITERAL("."), ".\\r\\n"},
    {LITERAL(".\r\n"), ".\\r\\n"},
    {LITERAL("a\r\n.\r\n"), "a\\r\\n.\\r\\n"},
    {LITERAL("a\r\n..\r\n.b"), "a\\r\\n..\\r\\n.b\\r\\n"},
    {LITERAL("a\n.\nb"), "a\\r\\n.\\r\\nb\\r\\n bare"},
    {LITERAL("a\r.\r\n"), "a .\\r\\n bare"},
    {LITERAL("a\r\r\n"), "a \\r\\n bare"},
    {LITERAL("a\r"), "a \\r\\n bare"},
    {LITERAL("\r"), " \\r\\n bare"},
    {LITERAL("\n"), "\\r\\n bare"},
    {LITERAL("\0\r\n"), "\\x00\\r\\n"},
    {LITERAL("\0.\r\n"), "\\x00.\\r\\n hidden"},
    {LITERAL("\0."), "\\x00.\\r\\n hidden"},
    {LITERAL(".\0\r\n"), ".\\x00\\r\\n hidden"},
    {LITERAL("a\r\n.\0"), "a\\r\\n.\\x00\\r\\n hidden"},
    {LITERAL("..\0\r\n"), "..\\x00\\r\\n"},
    {LITERAL("\0..\r\n"), "\\x00..\\r\\n"},
    {LITERAL("\0.\r"), "\\x00. \\r\\n bare hidden"},
};

static void decode(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    struct bytes piece, content;
    struct dot d;

    (void)given;
    dot_init_plain(&d);
    while (lib_next_piece(in, &piece))
        while (piece.len > 0) {
            piece = bytes_skip(piece, dot_decode(&d, piece, &content));
            assert_true(d.state != DOT_ENDED);
            lib_put_bytes(seen, content);
        }
    lib_put_bytes(seen, dot_finish(&d));
    lib_put(seen, "%s%s", d.has_bare_newline ? " bare" : "", d.has_hidden_dot ? " hidden" : "");
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_run_three_ways(i, rows[i].wire, rows[i].seen, decode, NULL);
    lib_end_rows();
}

/* ---- BDAT in, DATA out ---- */

static void take(struct dot *d, struct bytes piece, struct lib_octets *content)
{
    while (piece.len > 0) {
        struct bytes run;
        piece = bytes_skip(piece, dot_decode(d, piece, &run));
        lib_add(content, run);
    }
}

static void stuff(struct bytes content, struct lib_octets *wire)
{
    struct dot_stuffer stuffer = {.is_inside_line = false};
    struct bytes runs[32];
    size_t covered, octets = 0;
    int count = content.len == 0 ? 0 : dot_stuff(&stuffer, content, runs, 32, &covered);

    for (int i = 0; i < count; i++) {
        lib_add(wire, runs[i]);
        octets += runs[i].len;
    }
    assert_int_equal(dot_stuffer_wrote(&stuffer, runs, count, octets), content.len);
    lib_add(wire, bytes_of(".\r\n"));
}

/* A target that takes CR, LF and CRLF for the end of a line, and maybe drops NULs: how much of the
 * wire it has taken when it sees the end of data. */
static size_t see_end(const struct lib_octets *wire, bool drops_nul)
{
    bool is_lone = true; /* the line so far is empty, or a dot */
    size_t line = 0;

    for (size_t i = 0; i < wire->len; i++) {
        uint8_t octet = wire->at[i];
        if (octet == '\0' && drops_nul)
            continue;
        if (octet != '\r' && octet != '\n') {
            is_lone = line == 0 && octet == '.';
            line++;
            continue;
        }
        if (is_lone && line == 1)
            return octet == '\r' && i + 1 < wire->len && wire->at[i + 1] == '\n' ? i + 2 : i + 1;
        line = 0;
        is_lone = false;
    }
    return SIZE_MAX;
}

/* The chunks end at `cut` and at the end of `content`. */
static bool is_one_message(struct bytes content, size_t cut)
{
    static struct lib_octets decoded, wire;
    struct dot d;

    decoded.len = wire.len = 0;
    dot_init_plain(&d);
    take(&d, bytes_first(content, cut), &decoded);
    take(&d, bytes_skip(content, cut), &decoded);
    lib_add(&decoded, dot_finish(&d));
    stuff(bytes_make(decoded.at, decoded.len), &wire);
    return see_end(&wire, false) == wire.len &&
           (d.has_hidden_dot || see_end(&wire, true) == wire.len);
}

/* Every text of up to seven octets of these, in two chunks that are cut anywhere. */
static void test_never_two_messages(void **state)
{
    static const uint8_t alphabet[5] = {'\r', '\n', '.', '\0', 'a'};
    uint8_t content[7];
    size_t texts = 1;

    (void)state;
    for (size_t len = 0; len <= sizeof(content); len++, texts *= sizeof(alphabet))
        for (size_t number = 0; number < texts; number++) {
            size_t rest = number;
            for (size_t i = 0; i < len; i++, rest /= sizeof(alphabet))
                content[i] = alphabet[rest % sizeof(alphabet)];
            for (size_t cut = 0; cut <= len; cut++)
                assert_true(is_one_message(bytes_make(content, len), cut));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_never_two_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
