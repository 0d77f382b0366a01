/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of a name server of this test's own, honest and hostile ones. */
/* needs: io */
#include "proxy/io/dns.h"

#include <time.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "tests/unit/lib.h"

#define TYPE_A    1
#define TYPE_PTR  12
#define TYPE_MX   15
#define TYPE_TXT  16
#define TYPE_AAAA 28

/* One record; `data` as in the message. Owner is the name asked for. */
#define NAME                      "\xc0\x0c"
#define RECORD(type, ttl, length) NAME "\0" type "\0\1\0\0" ttl "\0" length

struct reply {
    const char *name; /* what was asked, as text */
    unsigned type;
    unsigned rcode; /* 17: truncated by half; 18: NXDOMAIN, and the records are of the authority
                       section */
    unsigned answers;
    const char *records;
    size_t len;
};
#define REPLY(name, type, rcode, answers, records)                                                 \
    {                                                                                              \
        name, type, rcode, answers, records, sizeof(records) - 1                                   \
    }

/* For so long there is no such record: the record's TTL, the zone's minimum. */
#define SOA(ttl, minimum)                                                                          \
    RECORD("\6", ttl, "\26") "\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0" minimum

#define ONES21  "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"
#define LABEL60 "\74aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"

static const struct reply replies[] = {
    REPLY("both.example", TYPE_A, 0, 2,
          RECORD("\1", "\1\0", "\4") "\300\0\2\1" RECORD("\1", "\0\7", "\4") "\300\0\2\2"),
    REPLY("both.example", TYPE_AAAA, 0, 1,
          RECORD("\34", "\2\0", "\20") "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"),
    REPLY("alias.example", TYPE_A, 0, 2,
          RECORD("\5", "\0\x3c", "\7") "\4real\xc0\x12" NAME "\0\1\0\1\0\0\1\0\0\4\300\0\2\3"),
    REPLY("none.example", TYPE_A, 3, 0, ""),
    REPLY("none.example", TYPE_AAAA, 3, 0, ""),
    REPLY("empty.example", TYPE_A, 0, 0, ""),
    REPLY("absent.example", TYPE_MX, 18, 1, SOA("\0\x14", "\0\x1e")),
    REPLY("absent2.example", TYPE_MX, 18, 2,
          RECORD("\2", "\0\1", "\1") "\0" SOA("\0\x1e", "\0\x14")),
    REPLY("absent3.example", TYPE_MX, 18, 1, SOA("\xff\xff", "\xff\xff")),
    REPLY("absent4.example", TYPE_MX, 18, 1, RECORD("\6", "\0\x14", "\3") "\0\0\0"),
    REPLY("absent5.example", TYPE_MX, 18, 1, RECORD("\6", "\0\x14", "\xff") "\0\0"),
    REPLY("absent6.example", TYPE_MX, 18, 0, ""),
    REPLY("once.example", TYPE_MX, 0, 1, RECORD("\17", "\0\0", "\5") "\0\x0a\1y\0"),
    REPLY("long.example", TYPE_MX, 0, 1, RECORD("\17", "\xff\xff", "\5") "\0\x0a\1y\0"),
    REPLY("bad.example", TYPE_MX, 2, 0, ""),
    REPLY("half.example", TYPE_A, 2, 0, ""),
    REPLY("sick.example", TYPE_A, 2, 0, ""),
    REPLY("sick.example", TYPE_AAAA, 2, 0, ""),
    REPLY("mapped.example", TYPE_AAAA, 0, 1,
          RECORD("\34", "\0\5", "\20") "\0\0\0\0\0\0\0\0\0\0\xff\xff\300\0\2\4"),
    REPLY("short.example", TYPE_A, 0, 1, RECORD("\1", "\0\5", "\3") "\300\0\2"),
    REPLY("cut.example", TYPE_A, 0, 2, RECORD("\1", "\0\5", "\4") "\300\0\2\1" NAME "\0\1"),
    REPLY("overlong.example", TYPE_A, 0, 1, RECORD("\1", "\0\5", "\377") "\300\0\2\1"),
    REPLY("1.2.0.192.in-addr.arpa", TYPE_PTR, 0, 2,
          RECORD("\14", "\1\0", "\x0e") "\4mail\7example\0" RECORD("\14", "\1\0",
                                                                   "\x0b") "\1b\7example\0"),
    /* NUL, newline and a dot within labels; and one that says it is a reply of ours */
    REPLY(
        "2.2.0.192.in-addr.arpa", TYPE_PTR, 0, 2,
        RECORD("\14", "\1\0", "\7") "\5a\0\n.b\0" RECORD("\14", "\1\0", "\x0f") "\x0d"
                                                                                "[UNAVAILABLE]\0"),
    /* 243 letters and dots fit; 64 octets, each of which is written with four, do not */
    REPLY("3.2.0.192.in-addr.arpa", TYPE_PTR, 0, 2,
          RECORD("\14", "\1\0", "\xf5") LABEL60 LABEL60 LABEL60 LABEL60
          "\0" RECORD("\14", "\1\0", "\x43") "\77" ONES21 ONES21 ONES21 "\1\1\0"),
    /* a name that points at itself */
    REPLY("4.2.0.192.in-addr.arpa", TYPE_PTR, 0, 1, RECORD("\14", "\1\0", "\2") "\xc0\x34"),
    REPLY("5.2.0.192.in-addr.arpa", TYPE_PTR, 17, 1, RECORD("\14", "\1\0", "\7") "\5a\0\n.b\0"),
    REPLY("mx.example", TYPE_MX, 0, 3,
          RECORD("\17", "\1\0", "\5") "\0\x14\1z\0" RECORD(
              "\17", "\1\0", "\5") "\0\x0a\1y\0" RECORD("\17", "\1\0", "\5") "\0\x14\1x\0"),
    REPLY("text.example", TYPE_TXT, 0, 3,
          RECORD("\20", "\1\0", "\6") "\2a\0\2bc" RECORD("\20", "\1\0", "\1") "\0" RECORD(
              "\20", "\0\7", "\2") "\1|"),
    REPLY("alias.example", TYPE_TXT, 0, 2,
          RECORD("\5", "\0\x3c", "\7") "\4real\xc0\x12" RECORD("\20", "\1\0", "\2") "\1a"),
    REPLY("void.example", TYPE_TXT, 0, 1, RECORD("\20", "\1\0", "\0")),
    REPLY("longer.example", TYPE_TXT, 0, 1, RECORD("\20", "\1\0", "\3") "\3ab"),
    REPLY("nullmx.example", TYPE_MX, 0, 1, RECORD("\17", "\1\0", "\3") "\0\0\0"),
};

static struct {
    int fd;
    pthread_t thread;
    char address[32];
    atomic_uint asked; /* queries that came */
} server;

/* The question's name as text, dots between labels; returns the offset behind the question. */
static size_t read_question(const uint8_t *query, size_t len, char name_out[256], unsigned *type)
{
    size_t at = 12, used = 0;

    while (at < len && query[at] != 0) {
        if (used > 0)
            name_out[used++] = '.';
        memcpy(name_out + used, query + at + 1, query[at]);
        used += query[at];
        at += 1u + query[at];
    }
    name_out[used] = '\0';
    *type = query[at + 2];
    return at + 5;
}

static size_t make_reply(uint8_t *message, size_t len)
{
    char name[256];
    unsigned type, rcode = 0, answers = 0, authorities = 0;
    size_t end = read_question(message, len, name, &type), full = end;

    if (strncmp(name, "silent", 6) == 0 || strstr(name, ".9.in-addr.arpa") != NULL)
        return 0; /* no reply at all */
    for (size_t i = 0; i < ARRAY_LENGTH(replies); i++) {
        if (strcasecmp(replies[i].name, name) != 0 || replies[i].type != type)
            continue;
        rcode = replies[i].rcode;
        answers = replies[i].answers;
        memcpy(message + end, replies[i].records, replies[i].len);
        full = end + replies[i].len;
    }
    if (rcode == 17) {
        full -= 3;
        rcode = 0;
    }
    if (rcode == 18) {
        authorities = answers;
        answers = 0;
        rcode = 3;
    }
    message[2] = 0x81;
    message[3] = (uint8_t)(0x80 | rcode);
    message[7] = (uint8_t)answers;
    memset(message + 8, 0, 4);
    message[9] = (uint8_t)authorities;
    return full;
}

static void *serve(void *unused)
{
    uint8_t message[2048];

    for (;;) {
        struct sockaddr_in from;
        socklen_t length = sizeof(from);
        ssize_t n = recvfrom(server.fd, message, 512, 0, (struct sockaddr *)&from, &length);
        size_t out;

        if (n < 17)
            return unused; /* the end of the test */
        server.asked++;
        out = make_reply(message, (size_t)n);
        if (out > 0)
            sendto(server.fd, message, out, 0, (struct sockaddr *)&from, length);
    }
}

static int start_server(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    (void)state;
    server.fd = socket(AF_INET, SOCK_DGRAM, 0);
    bind(server.fd, (struct sockaddr *)&address, sizeof(address));
    getsockname(server.fd, (struct sockaddr *)&address, &length);
    snprintf(server.address, sizeof(server.address), "127.0.0.1:%d", ntohs(address.sin_port));
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    (void)state;
    getsockname(server.fd, (struct sockaddr *)&address, &length);
    sendto(server.fd, "", 1, 0, (struct sockaddr *)&address, length);
    pthread_join(server.thread, NULL);
    return close(server.fd);
}

/* ---- asking ---- */

struct asker {
    struct loop *loop;
    struct dns *dns;
    int left;
    bool is_in_call, stays;   /* stays: when it has its answers it may ask again */
    struct dns_answer answer; /* the last one */
    uint8_t records[4096];
};

static void on_answer(void *owner, const struct dns_answer *answer)
{
    struct asker *a = owner;

    assert_false(a->is_in_call);
    a->answer = *answer;
    assert_true(answer->records.len <= sizeof(a->records));
    if (answer->records.len > 0)
        memcpy(a->records, answer->records.at, answer->records.len);
    a->answer.records.at = a->records;
    if (--a->left > 0)
        return;
    if (!a->stays)
        dns_free(&a->dns);
    loop_stop(a->loop);
}

static void open_asker(struct asker *a)
{
    struct bytes address = bytes_of(server.address);
    int error = 0;

    memset(a, 0, sizeof(*a));
    a->loop = loop_new();
    assert_non_null(a->loop);
    a->dns = dns_new(a->loop, &address, 1, &error);
    assert_non_null(a->dns);
    a->left = 1;
}

static void await_answer(struct asker *a)
{
    a->is_in_call = false;
    assert_int_equal(loop_run(a->loop), 0);
    assert_int_equal(a->left, 0);
    loop_free(&a->loop);
}

static void write_records(const struct dns_answer *answer, struct lib_text *out)
{
    struct bytes left = answer->records;

    for (unsigned i = 0; i < answer->record_count; i++) {
        size_t len = (size_t)left.at[0] << 8 | left.at[1];

        lib_put(out, " ");
        lib_put_bytes(out, bytes_first(bytes_skip(left, 2), len));
        left = bytes_skip(left, 2 + len);
    }
    assert_int_equal(left.len, 0);
}

/* "found 300 192.0.2.1 mail.example/10", the order as answered. */
static void write_answer(const struct dns_answer *answer, struct lib_text *out)
{
    static const char *const names[] = {"found", "not found", "temporary"};

    out->len = 0;
    lib_put(out, "%s", names[answer->status]);
    if (answer->status != DNS_FOUND)
        return;
    lib_put(out, " %u", answer->ttl_s);
    for (int i = 0; i < answer->address_count; i++) {
        char text[NETADDR_TEXT_MAX];

        lib_put(out, " %s", netaddr_text(&answer->addresses[i], text));
    }
    for (int i = 0; i < answer->name_count; i++)
        lib_put(out, " %s/%u", answer->names[i].text, answer->names[i].preference);
    write_records(answer, out);
}

static struct dns_query *ask(struct asker *a, char kind, struct bytes question)
{
    static const char kinds[] = "46PMT";
    static const enum dns_type types[] = {DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_PTR, DNS_TYPE_MX,
                                          DNS_TYPE_TXT};
    struct netaddr address;

    if (kind == 'a')
        return dns_ask_addresses(a->dns, question, NULL, on_answer, a);
    if (kind == 'm')
        return dns_ask_mx(a->dns, question, on_answer, a);
    if (kind == 'p' && netaddr_parse(question, &address) == 0)
        return dns_ask_names(a->dns, &address, on_answer, a);
    assert_int_equal(netaddr_parse(bytes_of("192.0.2.1"), &address), 0);
    return dns_ask_records(a->dns, types[strchr(kinds, kind) - kinds], question, &address,
                           on_answer, a);
}

static const struct {
    char kind; /* a: addresses, p: names, m: MX; records: 4, 6, P, M, T */
    const char *question, *expected;
} answer_rows[] = {
    {'a', "both.example", "found 7 192.0.2.1 192.0.2.2 2001:db8::1"},
    {'a', "alias.example", "found 60 192.0.2.3"},
    {'a', "none.example", "not found"},
    {'a', "empty.example", "not found"},
    {'a', "half.example", "temporary"},
    {'a', "sick.example", "temporary"},
    {'a', "mapped.example", "found 5 192.0.2.4"},
    {'a', "short.example", "temporary"},
    {'a', "cut.example", "found 5 192.0.2.1"},
    {'a', "overlong.example", "temporary"},
    {'a', "192.0.2.9", "found 60 192.0.2.9"},
    {'a', "", "not found"},
    {'a', "double..dot", "not found"},
    {'p', "192.0.2.1", "found 256 mail.example/0 b.example/0"},
    {'p', "192.0.2.2", "found 256 a\\000\\010\\.b/0 [UNAVAILABLE]/0"},
    {'p', "192.0.2.3",
     "found 256 aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff."
     "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff."
     "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff."
     "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff/0"},
    {'p', "192.0.2.4", "temporary"},
    {'p', "192.0.2.5", "temporary"},
    {'p', "192.0.2.6", "not found"},
    {'p', "2001:db8::1", "not found"},
    {'m', "mx.example", "found 256 y/10 z/20 x/20"},
    {'m', "nullmx.example", "found 256 /0"},
    {'m', "none.example", "not found"},
    {'4', "both.example", "found 7 \\xc0\\x00\\x02\\x01 \\xc0\\x00\\x02\\x02"},
    {'6', "both.example",
     "found 512  \\x01\\r\\xb8\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01"},
    {'6', "alias.example", "not found"},
    {'4', "192.0.2.9", "not found"},
    {'4', "localhost", "not found"},
    {'4', "cut.example", "temporary"},
    {'P', "1.2.0.192.in-addr.arpa", "found 256 mail.example b.example"},
    {'M', "mx.example", "found 256 z y x"},
    {'M', "nullmx.example", "found 256 "},
    {'T', "text.example", "found 7 a\\x00bc  |"},
    {'T', "alias.example", "found 60 a"},
    {'T', "void.example", "found 256 "},
    {'T', "longer.example", "temporary"},
    {'T', "", "not found"},
};

static void answers(void **state)
{
    static struct lib_text text;
    static struct asker a;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(answer_rows); i++) {
        open_asker(&a);
        a.is_in_call = true;
        assert_non_null(ask(&a, answer_rows[i].kind, bytes_of(answer_rows[i].question)));
        await_answer(&a);
        write_answer(&a.answer, &text);
        lib_same_text(i, answer_rows[i].question, answer_rows[i].expected, text.at);
    }
    lib_end_rows();
}

static void answers_many_at_once(void **state)
{
    static struct asker a;
    struct dns_query *dropped[100];

    (void)state;
    open_asker(&a);
    a.left = 100;
    a.is_in_call = true;
    for (int i = 0; i < 100; i++) {
        assert_non_null(dns_ask_mx(a.dns, bytes_of("mx.example"), on_answer, &a));
        dropped[i] = dns_ask_addresses(a.dns, bytes_of("both.example"), NULL, on_answer, NULL);
        assert_non_null(dropped[i]);
    }
    for (int i = 0; i < 100; i++)
        dns_cancel(dropped[i]);
    await_answer(&a);
    assert_int_equal(a.answer.name_count, 3);
}

/* ---- what is asked once ---- */

/* Asks for the MX of `name`; how many queries that took. */
static unsigned asked_for(struct asker *a, const char *name)
{
    unsigned before = server.asked;

    a->left = 1;
    assert_non_null(dns_ask_mx(a->dns, bytes_of(name), on_answer, a));
    assert_int_equal(loop_run(a->loop), 0);
    return server.asked - before;
}

static void keeps_answers(void **state)
{
    static const struct {
        const char *name;
        unsigned again; /* queries, the second time */
        enum dns_status status;
        uint32_t ttl_s, again_ttl_s; /* 0: whatever */
    } rows[] = {
        {"mx.example", 0, DNS_FOUND, 256, 256},
        {"MX.example", 0, DNS_FOUND, 256, 256},
        {"nullmx.example", 0, DNS_FOUND, 256, 256},
        {"absent.example", 0, DNS_NOT_FOUND, 20, 20},
        {"absent2.example", 0, DNS_NOT_FOUND, 20, 20},
        {"absent3.example", 0, DNS_NOT_FOUND, 60, 60},
        {"absent4.example", 0, DNS_NOT_FOUND, 60, 60},
        {"absent5.example", 0, DNS_NOT_FOUND, 60, 60},
        {"absent6.example", 0, DNS_NOT_FOUND, 60, 60},
        {"once.example", 1, DNS_FOUND, 0, 0},
        {"long.example", 0, DNS_FOUND, 3600, 3600},
        {"bad.example", 1, DNS_TEMPORARY, 0, 0},
    };
    static struct asker a;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        unsigned first, again;

        open_asker(&a);
        a.stays = true;
        first = asked_for(&a, rows[i].name);
        lib_is_true(i, "was asked", first > 0);
        lib_same_number(i, "status", rows[i].status, a.answer.status);
        lib_same_number(i, "ttl", rows[i].ttl_s, a.answer.ttl_s);
        again = asked_for(&a, rows[i].name);
        lib_same_number(i, "asked again", rows[i].again * first, again);
        lib_same_number(i, "status again", rows[i].status, a.answer.status);
        lib_same_number(i, "ttl again", rows[i].again_ttl_s, a.answer.ttl_s);
        dns_free(&a.dns);
        loop_free(&a.loop);
    }
    lib_end_rows();
}

/* Hosts and records of one name and type are different questions. */
static void keeps_forms_apart(void **state)
{
    static struct asker a;

    (void)state;
    open_asker(&a);
    a.left = 2;
    assert_non_null(ask(&a, 'a', bytes_of("both.example")));
    assert_non_null(ask(&a, '4', bytes_of("both.example")));
    await_answer(&a);
    assert_true((a.answer.address_count == 3) != (a.answer.record_count == 2));
}

/* However many wait for it, in whatever case it is written; some lose their patience. */
static void asks_once_for_all(void **state)
{
    static struct asker a;
    unsigned before;

    (void)state;
    open_asker(&a);
    before = server.asked;
    a.left = 50;
    for (int i = 0; i < 50; i++) {
        assert_non_null(dns_ask_addresses(a.dns, bytes_of(i % 2 ? "both.example" : "BOTH.example"),
                                          NULL, on_answer, &a));
        dns_cancel(dns_ask_addresses(a.dns, bytes_of("both.example"), NULL, on_answer, NULL));
    }
    await_answer(&a);
    assert_int_equal(a.answer.address_count, 3);
    assert_int_equal(server.asked - before, 2); /* A and AAAA */
}

/* ---- how many at the same time ---- */

static void on_refusal(void *owner, const struct dns_answer *answer)
{
    assert_int_equal(answer->status, DNS_TEMPORARY);
    ++*(int *)owner;
}

/* For `count` clients of the net 9.0.`net`.0/24, of which nobody gets an answer. */
static void ask_for_clients(struct dns *d, uint8_t net, int count, int *refused)
{
    struct netaddr client = {.family = NETADDR_IPV4, .octets = {9, 0, net}};

    for (int i = 0; i < count; i++) {
        client.octets[3] = (uint8_t)i;
        assert_non_null(dns_ask_names(d, &client, on_refusal, refused));
    }
}

/* A net of clients has its share, clients have theirs, and targets always find room. */
static void bounds_questions(void **state)
{
    static struct asker a;
    struct netaddr client = {.family = NETADDR_IPV4, .octets = {9, 0, 200}};
    int of_net = 0, of_others = 0, of_last_net = 0, of_crowd = 0, of_name = 0, of_targets = 0;
    char name[32];

    (void)state;
    open_asker(&a);
    ask_for_clients(a.dns, 0, DNS_OF_CLIENTS_MAX / 4 + 70, &of_net);
    for (uint8_t net = 1; net < 4; net++)
        ask_for_clients(a.dns, net, DNS_OF_CLIENTS_MAX / 4, &of_others);
    ask_for_clients(a.dns, 4, 10, &of_last_net); /* that is a hundredth of theirs */
    for (uint8_t net = 5; net < 200; net++)
        ask_for_clients(a.dns, net, 40, &of_crowd); /* until all of theirs is used */
    assert_non_null(
        dns_ask_addresses(a.dns, bytes_of("both.example"), &client, on_refusal, &of_name));
    assert_non_null(dns_ask_mx(a.dns, bytes_of("mx.example"), on_answer, &a));
    for (int i = 0; i < DNS_QUESTIONS_MAX - DNS_OF_CLIENTS_MAX - 1 + 5; i++) {
        snprintf(name, sizeof(name), "silent%d.example", i);
        assert_non_null(dns_ask_mx(a.dns, bytes_of(name), on_refusal, &of_targets));
    }
    await_answer(&a); /* of mx.example; who was refused has heard so before */
    assert_int_equal(a.answer.name_count, 3);
    assert_int_equal(of_net, 70);
    assert_int_equal(of_others, 3 * 128 - 96 - 72 - 54);
    assert_int_equal(of_last_net, 0);
    assert_int_equal(of_name, 1);
    assert_int_equal(of_targets, 5);
}

/* A server that never answers; another question is freed unanswered. */
static void times_out(void **state)
{
    static struct asker a;
    time_t start;

    (void)state;
    open_asker(&a);
    assert_non_null(dns_ask_mx(a.dns, bytes_of("silent.example"), on_answer, &a));
    assert_non_null(dns_ask_mx(a.dns, bytes_of("silent.example"), on_answer, NULL));
    start = time(NULL);
    await_answer(&a);
    assert_int_equal(a.answer.status, DNS_TEMPORARY);
    assert_in_range(time(NULL) - start, 3, 7);
}

/* Memory fails somewhere between question and answer: the answer is temporary, nothing is lost. */
static bool ask_once(void *given)
{
    struct asker *a = given;
    bool is_asked;

    (void)given;
    is_asked = dns_ask_mx(a->dns, bytes_of("mx.example"), on_answer, a) != NULL;
    if (!is_asked) {
        dns_free(&a->dns);
        loop_stop(a->loop);
        loop_run(a->loop);
        return false;
    }
    loop_run(a->loop);
    assert_true(a->answer.status == DNS_FOUND || a->answer.status == DNS_TEMPORARY);
    return a->answer.status == DNS_FOUND;
}

static void survives_shortage(void **state)
{
    static struct asker a;

    (void)state;
    for (uint64_t nth = 1;; nth++) {
        bool is_whole;

        open_asker(&a);
        mem_fail_nth(nth);
        is_whole = ask_once(&a);
        mem_fail_nth(0);
        loop_free(&a.loop);
        if (is_whole) {
            assert_true(nth > 2); /* the question, the socket, the answer */
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),           cmocka_unit_test(answers_many_at_once),
        cmocka_unit_test(keeps_answers),     cmocka_unit_test(keeps_forms_apart),
        cmocka_unit_test(asks_once_for_all), cmocka_unit_test(bounds_questions),
        cmocka_unit_test(times_out),         cmocka_unit_test(survives_shortage),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
