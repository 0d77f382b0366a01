/* SPDX-License-Identifier: BSD-2-Clause */
/* What targets of every dialect are told, hostile names, and the limit of 512 octets. */
#include "proxy/smtp/identity.h"

#include "tests/unit/lib.h"

#include "proxy/base/text.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* ---- clients ---- */

static struct netaddr address(const char *text)
{
    struct netaddr a = {.family = NETADDR_NONE};

    if (*text != '\0')
        assert_int_equal(netaddr_parse_with_port(bytes_of(text), 0, &a), 0);
    return a;
}

static struct identity client(const char *from, const char *to)
{
    return (struct identity){
        .client = address(from),
        .local = address(to),
        .name_state = IDENTITY_NAME_CONFIRMED,
        .name = bytes_of("client.example"),
        .helo = bytes_of("helo.example"),
        .is_esmtp = true,
    };
}

#define V4 "192.0.2.1:40000", "198.51.100.2:25"
#define V6 "[2001:db8::1]:40000", "[2001:db8:2::2]:25"

static struct capability announced(const char *lines)
{
    struct reply r = {.code = 250, .wire = bytes_of(lines)};

    return capability_parse(&r);
}

/* ---- XCLIENT: one row for each line of the table of dialects, and each kind of client ---- */

#define POSTFIX "250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"
#define HARAKA  "250-XCLIENT NAME ADDR PROTO HELO LOGIN"
#define DOVECOT "250-XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT"
#define EXIM    "250-XCLIENT  ADDR NAME PORT LOGIN DESTADDR DESTPORT"
#define KUMO    "250-XCLIENT ADDR PORT DESTADDR DESTPORT"

struct xclient_row {
    const char *announced;
    const char *from, *to;
    enum identity_form form;
    const char *command;
};

static const struct xclient_row xclient_rows[] = {
    {POSTFIX, V4, IDENTITY_FORM_AUTO,
     "XCLIENT NAME=client.example ADDR=192.0.2.1 PORT=40000 DESTADDR=198.51.100.2 DESTPORT=25 "
     "PROTO=ESMTP HELO=helo.example\r\n"},
    {POSTFIX, V6, IDENTITY_FORM_AUTO,
     "XCLIENT NAME=client.example ADDR=IPV6:2001:db8::1 PORT=40000 DESTADDR=IPV6:2001:db8:2::2 "
     "DESTPORT=25 PROTO=ESMTP HELO=helo.example\r\n"},
    {HARAKA, V4, IDENTITY_FORM_AUTO,
     "XCLIENT NAME=client.example ADDR=192.0.2.1 PROTO=ESMTP HELO=helo.example\r\n"},
    {HARAKA, V6, IDENTITY_FORM_AUTO,
     "XCLIENT NAME=client.example ADDR=IPV6:2001:db8::1 PROTO=ESMTP HELO=helo.example\r\n"},
    {DOVECOT, V4, IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=192.0.2.1 PORT=40000 PROTO=ESMTP TTL=10 HELO=helo.example\r\n"},
    {DOVECOT, V6, IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=IPV6:2001:db8::1 PORT=40000 PROTO=ESMTP TTL=10 HELO=helo.example\r\n"},
    {EXIM, V4, IDENTITY_FORM_AUTO,
     "XCLIENT NAME=client.example ADDR=192.0.2.1 PORT=40000 DESTADDR=198.51.100.2 DESTPORT=25\r\n"},
    {EXIM, V6, IDENTITY_FORM_AUTO,
     "XCLIENT NAME=client.example ADDR=2001:db8::1 PORT=40000 DESTADDR=2001:db8:2::2 "
     "DESTPORT=25\r\n"},
    {KUMO, V4, IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=192.0.2.1 PORT=40000 DESTADDR=198.51.100.2 DESTPORT=25\r\n"},
    {KUMO, V6, IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=2001:db8::1 PORT=40000 DESTADDR=2001:db8:2::2 DESTPORT=25\r\n"},
    {"250-XCLIENT NAME ADDR PORT LOGIN", V6, IDENTITY_FORM_AUTO,
     "XCLIENT NAME=client.example ADDR=2001:db8::1 PORT=40000\r\n"},
    /* an attribute more or less, and it is another server */
    {KUMO " PROTO", V6, IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=IPV6:2001:db8::1 PORT=40000 DESTADDR=IPV6:2001:db8:2::2 DESTPORT=25 "
     "PROTO=ESMTP\r\n"},
    {KUMO " SESSION", V6, IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=IPV6:2001:db8::1 PORT=40000 DESTADDR=IPV6:2001:db8:2::2 DESTPORT=25\r\n"},
    {"250-XCLIENT ADDR", V6, IDENTITY_FORM_AUTO, "XCLIENT ADDR=IPV6:2001:db8::1\r\n"},
    /* as the configuration says */
    {KUMO, V6, IDENTITY_FORM_PREFIXED,
     "XCLIENT ADDR=IPV6:2001:db8::1 PORT=40000 DESTADDR=IPV6:2001:db8:2::2 DESTPORT=25\r\n"},
    {HARAKA, V6, IDENTITY_FORM_BARE,
     "XCLIENT NAME=client.example ADDR=2001:db8::1 PROTO=ESMTP HELO=helo.example\r\n"},
    {KUMO, V4, IDENTITY_FORM_PREFIXED,
     "XCLIENT ADDR=192.0.2.1 PORT=40000 DESTADDR=198.51.100.2 DESTPORT=25\r\n"},
    /* a mapped address is IPv4; what is not known is said */
    {KUMO, "[::ffff:192.0.2.1]:1", "", IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=192.0.2.1 PORT=1 DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]\r\n"},
    {KUMO, "", "", IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] "
     "DESTPORT=[UNAVAILABLE]\r\n"},
    {KUMO, "192.0.2.1", "2001:db8::2", IDENTITY_FORM_AUTO,
     "XCLIENT ADDR=192.0.2.1 PORT=[UNAVAILABLE] DESTADDR=2001:db8::2 DESTPORT=[UNAVAILABLE]\r\n"},
    /* no address, no identity */
    {"250-XCLIENT NAME PORT", V4, IDENTITY_FORM_AUTO, ""},
    {"250-XCLIENT", V4, IDENTITY_FORM_AUTO, ""},
};

static struct capability announced_line(const char *line)
{
    static struct lib_text ehlo;

    ehlo.len = 0;
    lib_put(&ehlo, "250-target.example\r\n250-PIPELINING\r\n%s\r\n250 HELP\r\n", line);
    return announced(ehlo.at);
}

static void test_xclient_dialects(void **state)
{
    struct pool pool;

    (void)state;
    pool_init(&pool, 1024, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(xclient_rows); i++) {
        const struct xclient_row *row = &xclient_rows[i];
        struct identity who = client(row->from, row->to);
        struct buf out;

        buf_init(&out, &pool, 4096);
        identity_put_xclient(
            &out, &who,
            &(struct identity_way){.attributes = announced_line(row->announced).xclient,
                                   .form = row->form});
        lib_same_bytes(i, "command", bytes_of(row->command), buf_bytes(&out));
        buf_done(&out);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* ---- names and HELO, what they may be and what they may not ---- */

struct name_row {
    enum identity_name state;
    struct bytes name, reverse_name, helo;
    bool is_esmtp;
    const char *xclient, *xforward;
};

#define NAME_OF(value)     "XCLIENT NAME=" value " ADDR=192.0.2.1 PROTO=ESMTP"
#define FORWARD_OF(value)  "XFORWARD NAME=" value " ADDR=192.0.2.1 HELO="
#define FORWARD_OF_HELO(h) FORWARD_OF("c.example") h " PROTO=ESMTP\r\n"
#define CONFIRMED          IDENTITY_NAME_CONFIRMED, LITERAL("c.example"), LITERAL("")

static const struct name_row name_rows[] = {
    {CONFIRMED, LITERAL("h"), true, NAME_OF("c.example") " HELO=h\r\n", FORWARD_OF_HELO("h")},
    {CONFIRMED, LITERAL("h"), false, "XCLIENT NAME=c.example ADDR=192.0.2.1 PROTO=SMTP HELO=h\r\n",
     FORWARD_OF("c.example") "h PROTO=SMTP\r\n"},
    {IDENTITY_NAME_UNAVAILABLE, LITERAL(""), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_TEMPORARY, LITERAL(""), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[TEMPUNAVAIL]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_PENDING, LITERAL(""), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[TEMPUNAVAIL]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    /* the PTR that does not lead back */
    {IDENTITY_NAME_UNAVAILABLE, LITERAL(""), LITERAL("r.example"), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " REVERSE_NAME=r.example HELO=h\r\n",
     FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL("c.example"), LITERAL("C.Example"), LITERAL("h"), true,
     NAME_OF("c.example") " HELO=h\r\n", FORWARD_OF_HELO("h")},
    {IDENTITY_NAME_CONFIRMED, LITERAL("c.example"), LITERAL("r.example"), LITERAL("h"), true,
     NAME_OF("c.example") " REVERSE_NAME=r.example HELO=h\r\n", FORWARD_OF_HELO("h")},
    /* hostile PTR records */
    {IDENTITY_NAME_CONFIRMED, LITERAL("c.example\r\nRSET"), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL("c.example ADDR=127.0.0.1"), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL("IPV6:::1"), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL("c\0.example"), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL("\xc3\xa4.example"), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL("a+b=c.example"), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL("127.0.0.1"), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_CONFIRMED, LITERAL(""), LITERAL(""), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_UNAVAILABLE, LITERAL(""), LITERAL("r\r\nRSET"), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    {IDENTITY_NAME_UNAVAILABLE, LITERAL(""), LITERAL("r LOGIN=root"), LITERAL("h"), true,
     NAME_OF("[UNAVAILABLE]") " HELO=h\r\n", FORWARD_OF("[UNAVAILABLE]") "h PROTO=ESMTP\r\n"},
    /* HELO as xtext */
    {CONFIRMED, LITERAL("[192.0.2.9]"), true, NAME_OF("c.example") " HELO=[192.0.2.9]\r\n",
     FORWARD_OF_HELO("[192.0.2.9]")},
    {CONFIRMED, LITERAL("a+b=c"), true, NAME_OF("c.example") " HELO=a+2Bb+3Dc\r\n",
     FORWARD_OF_HELO("a+2Bb+3Dc")},
    {CONFIRMED, LITERAL("\";@<>()"), true, NAME_OF("c.example") " HELO=\";@<>()\r\n",
     FORWARD_OF_HELO("\";@<>()")},
    {CONFIRMED, LITERAL(""), true, NAME_OF("c.example") " HELO=[UNAVAILABLE]\r\n",
     FORWARD_OF_HELO("[UNAVAILABLE]")},
    {CONFIRMED, LITERAL("a b"), true, NAME_OF("c.example") " HELO=[UNAVAILABLE]\r\n",
     FORWARD_OF_HELO("[UNAVAILABLE]")},
    {CONFIRMED, LITERAL("a\r\nb"), true, NAME_OF("c.example") " HELO=[UNAVAILABLE]\r\n",
     FORWARD_OF_HELO("[UNAVAILABLE]")},
    {CONFIRMED, LITERAL("a\xff"), true, NAME_OF("c.example") " HELO=[UNAVAILABLE]\r\n",
     FORWARD_OF_HELO("[UNAVAILABLE]")},
    {CONFIRMED, LITERAL("a\x7f"), true, NAME_OF("c.example") " HELO=[UNAVAILABLE]\r\n",
     FORWARD_OF_HELO("[UNAVAILABLE]")},
    {CONFIRMED, LITERAL("a\0"), true, NAME_OF("c.example") " HELO=[UNAVAILABLE]\r\n",
     FORWARD_OF_HELO("[UNAVAILABLE]")},
};

static void test_names(void **state)
{
    const uint32_t common = ATTRIBUTE_NAME | ATTRIBUTE_ADDR | ATTRIBUTE_PROTO | ATTRIBUTE_HELO;
    struct pool pool;

    (void)state;
    pool_init(&pool, 1024, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(name_rows); i++) {
        const struct name_row *row = &name_rows[i];
        struct identity who = client(V4);
        struct buf out;

        who.name_state = row->state;
        who.name = row->name;
        who.reverse_name = row->reverse_name;
        who.helo = row->helo;
        who.is_esmtp = row->is_esmtp;
        buf_init(&out, &pool, 4096);
        identity_put_xclient(&out, &who,
                             &(struct identity_way){.attributes = common | ATTRIBUTE_REVERSE_NAME,
                                                    .form = IDENTITY_FORM_AUTO});
        lib_same_bytes(i, "XCLIENT", bytes_of(row->xclient), buf_bytes(&out));
        buf_reset(&out);
        identity_put_xforward(&out, &who, common, bytes_of("ID"));
        lib_same_bytes(i, "XFORWARD", bytes_of(row->xforward), buf_bytes(&out));
        buf_done(&out);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* ---- XFORWARD ---- */

#define POSTFIX_XFORWARD "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"

struct xforward_row {
    const char *announced;
    const char *from;
    struct bytes ident;
    unsigned commands;
    const char *text;
};

static const struct xforward_row xforward_rows[] = {
    {POSTFIX_XFORWARD, "192.0.2.1:40000", LITERAL("3BCDFGHJKLMNPQRS"), 1,
     "XFORWARD NAME=client.example ADDR=192.0.2.1 PORT=40000 HELO=helo.example "
     "IDENT=3BCDFGHJKLMNPQRS PROTO=ESMTP SOURCE=REMOTE\r\n"},
    {POSTFIX_XFORWARD, "[2001:db8::1]:40000", LITERAL("1"), 1,
     "XFORWARD NAME=client.example ADDR=IPV6:2001:db8::1 PORT=40000 HELO=helo.example "
     "IDENT=1 PROTO=ESMTP SOURCE=REMOTE\r\n"},
    {POSTFIX_XFORWARD, "", LITERAL(""), 1,
     "XFORWARD NAME=client.example ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] HELO=helo.example "
     "IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=REMOTE\r\n"},
    {POSTFIX_XFORWARD, "192.0.2.1:1", LITERAL("a\r\nb"), 1,
     "XFORWARD NAME=client.example ADDR=192.0.2.1 PORT=1 HELO=helo.example "
     "IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=REMOTE\r\n"},
    {"250-XFORWARD NAME ADDR PROTO HELO", "192.0.2.1:1", LITERAL("1"), 1,
     "XFORWARD NAME=client.example ADDR=192.0.2.1 HELO=helo.example PROTO=ESMTP\r\n"},
    {"250-XFORWARD ADDR LOGIN DESTADDR FOO", "192.0.2.1:1", LITERAL("1"), 1,
     "XFORWARD ADDR=192.0.2.1\r\n"},
    {"250-XFORWARD LOGIN FOO", "192.0.2.1:1", LITERAL("1"), 0, ""},
    {"250-XFORWARD", "192.0.2.1:1", LITERAL("1"), 0, ""},
};

static void test_xforward(void **state)
{
    struct pool pool;

    (void)state;
    pool_init(&pool, 1024, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(xforward_rows); i++) {
        const struct xforward_row *row = &xforward_rows[i];
        struct identity who = client(row->from, "198.51.100.2:25");
        struct buf out;
        unsigned commands;

        buf_init(&out, &pool, 4096);
        commands =
            identity_put_xforward(&out, &who, announced_line(row->announced).xforward, row->ident);
        lib_same_number(i, "commands", row->commands, commands);
        lib_same_bytes(i, "text", bytes_of(row->text), buf_bytes(&out));
        buf_done(&out);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* ---- 512 octets ---- */

#define LONG 320

/* Names and HELOs of every length: each command stays within the limit, holds whole attributes
 * only, and none is lost but those that may be. */
struct sizes {
    uint8_t name[LONG], helo[LONG];
};

static struct sizes long_texts(uint8_t helo_octet)
{
    struct sizes s;

    for (size_t i = 0; i < LONG; i++)
        s.name[i] = i % 50 == 49 ? '.' : 'n';
    memset(s.helo, helo_octet, LONG);
    return s;
}

static size_t count_of(struct bytes text, const char *what)
{
    size_t count = 0, len = strlen(what);

    for (size_t i = 0; i + len <= text.len; i++)
        if (memcmp(text.at + i, what, len) == 0)
            count++;
    return count;
}

static void check_commands(size_t row, struct bytes all, const char *verb, unsigned commands)
{
    lib_same_number(row, "verbs", commands, (int64_t)count_of(all, verb));
    for (unsigned i = 0; i < commands; i++) {
        size_t end = bytes_find(all, '\n');

        lib_is_true(row, "length", end + 1 <= IDENTITY_COMMAND_MAX);
        lib_is_true(row, "begins with the verb", bytes_start_with_nocase(all, verb));
        lib_is_true(row, "ends", end < all.len && end > 0 && all.at[end - 1] == '\r');
        if (end == all.len)
            return;
        all = bytes_skip(all, end + 1);
    }
    lib_same_number(row, "rest", 0, (int64_t)all.len);
}

static void check_long(size_t row, struct identity *who, struct pool *pool)
{
    const uint32_t every = ATTRIBUTE_OTHER - 1;
    bool is_name = text_is_host_name(who->name);
    size_t helo_length = text_xtext_length(who->helo);
    struct bytes all;
    struct buf out;
    unsigned commands;

    buf_init(&out, pool, 4096);
    identity_put_xclient(&out, who,
                         &(struct identity_way){.attributes = every, .form = IDENTITY_FORM_AUTO});
    all = buf_bytes(&out);
    check_commands(row, all, "XCLIENT", 1);
    lib_same_number(row, "name", is_name, 1 - (int64_t)count_of(all, "NAME=[UNAVAILABLE]"));
    lib_same_number(row, "attributes", 6,
                    (int64_t)(count_of(all, " NAME=") + count_of(all, " ADDR=") +
                              count_of(all, " PORT=") + count_of(all, " DESTADDR=") +
                              count_of(all, " DESTPORT=") + count_of(all, " PROTO=")));
    lib_is_true(row, "HELO where it fits",
                count_of(all, " HELO=") == 1 || all.len + 6 + helo_length > IDENTITY_COMMAND_MAX);
    buf_reset(&out);

    commands = identity_put_xforward(&out, who, every, bytes_of("3BCDFGHJKLMNPQRS"));
    all = buf_bytes(&out);
    lib_is_true(row, "one or two", commands == 1 || commands == 2);
    check_commands(row, all, "XFORWARD", commands);
    lib_same_number(row, "attributes of XFORWARD", 7, (int64_t)count_of(all, "="));
    lib_same_number(row, "HELO of XFORWARD", helo_length > 0 && helo_length <= 255,
                    1 - (int64_t)count_of(all, "HELO=[UNAVAILABLE]"));
    buf_done(&out);
}

static void test_limit(void **state)
{
    static const uint8_t octets[] = {'h', '+'};
    struct identity who = client("[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
                                 "[2001:db8:1111:2222:3333:4444:5555:7777]:65535");
    struct pool pool;

    (void)state;
    pool_init(&pool, 512, 1);
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(octets); i++) {
        struct sizes s = long_texts(octets[i / 2]);

        who.reverse_name = bytes_of(i % 2 == 0 ? "" : "a.name.that.does.not.lead.back.example");
        for (size_t name = 0; name <= LONG; name += name < 240 ? 40 : 5) {
            for (size_t helo = 0; helo <= LONG; helo += helo < 60 ? 15 : 1) {
                who.name = bytes_make(s.name, name);
                who.helo = bytes_make(s.helo, helo);
                check_long(i * 1000000 + name * 1000 + helo, &who, &pool);
            }
        }
    }
    pool_done(&pool);
    lib_end_rows();
}

/* Exactly 512 octets still go. */
static void test_limit_exactly(void **state)
{
    struct sizes s = long_texts('h');
    struct identity who = client(V4);
    bool was_full = false;
    struct pool pool;

    (void)state;
    pool_init(&pool, 1024, 1);
    who.name = bytes_make(s.name, 254);
    for (size_t helo = 150; helo <= 255; helo++) {
        struct buf out;

        buf_init(&out, &pool, 4096);
        who.helo = bytes_make(s.helo, helo);
        identity_put_xclient(
            &out, &who,
            &(struct identity_way){.attributes = ATTRIBUTE_OTHER - 1, .form = IDENTITY_FORM_AUTO});
        was_full = was_full || buf_length(&out) == IDENTITY_COMMAND_MAX;
        buf_done(&out);
    }
    assert_true(was_full);
    pool_done(&pool);
}

/* ---- the PROXY protocol ---- */

struct proxy_row {
    const char *from, *to; /* NULL: no client */
    const char *v1;
    struct bytes v2; /* behind the signature */
};

static const struct proxy_row proxy_rows[] = {
    {NULL, NULL, "PROXY UNKNOWN\r\n", LITERAL("\x20\x00\x00\x00")},
    {V4, "PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\r\n",
     LITERAL("\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x00\x19")},
    {V6, "PROXY TCP6 2001:db8::1 2001:db8:2::2 40000 25\r\n",
     LITERAL("\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
             "\x20\x01\x0d\xb8\x00\x02\0\0\0\0\0\0\0\0\0\x02\x9c\x40\x00\x19")},
    {"[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
     LITERAL("\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02")},
    /* unspecified addresses, for what cannot be said: nobody takes the client for us */
    {"", "192.0.2.1:25", "PROXY TCP4 0.0.0.0 192.0.2.1 0 25\r\n",
     LITERAL("\x21\x11\x00\x0c\0\0\0\0\xc0\x00\x02\x01\0\0\0\x19")},
    {"192.0.2.1:25", "[2001:db8::1]:26", "PROXY TCP4 192.0.2.1 0.0.0.0 25 26\r\n",
     LITERAL("\x21\x11\x00\x0c\xc0\x00\x02\x01\0\0\0\0\0\x19\0\x1a")},
    {"[2001:db8::1]:25", "", "PROXY TCP6 2001:db8::1 :: 25 0\r\n",
     LITERAL("\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x19\0\0")},
};

static void test_proxy(void **state)
{
    static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
    struct pool pool;

    (void)state;
    pool_init(&pool, 1024, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(proxy_rows); i++) {
        const struct proxy_row *row = &proxy_rows[i];
        struct identity who =
            row->from == NULL ? (struct identity){.is_esmtp = true} : client(row->from, row->to);
        const struct identity *client_or_none = row->from == NULL ? NULL : &who;
        struct bytes v2;
        struct buf out;

        buf_init(&out, &pool, 4096);
        identity_put_proxy_v1(&out, client_or_none);
        lib_same_bytes(i, "v1", bytes_of(row->v1), buf_bytes(&out));
        lib_is_true(i, "v1 length", buf_length(&out) <= 107);
        buf_reset(&out);
        identity_put_proxy_v2(&out, client_or_none, bytes_of(""));
        v2 = buf_bytes(&out);
        lib_same_bytes(i, "signature", bytes_make(signature, 12), bytes_first(v2, 12));
        lib_same_bytes(i, "v2", row->v2, bytes_skip(v2, 12));
        buf_done(&out);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* ---- no memory ---- */

static bool put_all(void *given)
{
    struct identity who = client(V6);
    bool has_failed;
    struct pool pool;
    struct buf out;

    (void)given;
    pool_init(&pool, 32, 0);
    buf_init(&out, &pool, 4096);
    identity_put_xclient(
        &out, &who,
        &(struct identity_way){.attributes = ATTRIBUTE_OTHER - 1, .form = IDENTITY_FORM_AUTO});
    identity_put_xforward(&out, &who, ATTRIBUTE_OTHER - 1, bytes_of("ID"));
    identity_put_proxy_v1(&out, &who);
    identity_put_proxy_v2(&out, &who, bytes_of("ID"));
    has_failed = out.has_failed;
    buf_done(&out);
    pool_done(&pool);
    return !has_failed;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(put_all, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xclient_dialects),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_xforward),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_exactly),
        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
