/* SPDX-License-Identifier: BSD-2-Clause */
/* What targets announce, up to the very end of the last line. */
#include "proxy/smtp/capability.h"

#include "tests/unit/lib.h"

struct row {
    const char *wire;
    uint32_t keywords;
    unsigned xclient, xforward;
};

#define POSTFIX_XCLIENT                                                                            \
    (ATTRIBUTE_NAME | ATTRIBUTE_ADDR | ATTRIBUTE_PROTO | ATTRIBUTE_HELO | ATTRIBUTE_REVERSE_NAME | \
     ATTRIBUTE_PORT | ATTRIBUTE_LOGIN | ATTRIBUTE_DESTADDR | ATTRIBUTE_DESTPORT)
#define POSTFIX_XFORWARD                                                                           \
    (ATTRIBUTE_NAME | ATTRIBUTE_ADDR | ATTRIBUTE_PROTO | ATTRIBUTE_HELO | ATTRIBUTE_SOURCE |       \
     ATTRIBUTE_PORT | ATTRIBUTE_IDENT)

static const struct row rows[] = {
    {"250 host\r\n", 0, 0, 0},
    {"250 PIPELINING\r\n", 0, 0, 0}, /* the first line names the host */
    {"250-PIPELINING\r\n250 SIZE 7\r\n", CAPABILITY_SIZE, 0, 0},
    {"250-host\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n250-STARTTLS\r\n"
     "250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT\r\n"
     "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n250-ENHANCEDSTATUSCODES\r\n"
     "250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n",
     CAPABILITY_PIPELINING | CAPABILITY_SIZE | CAPABILITY_8BITMIME |
         CAPABILITY_ENHANCEDSTATUSCODES | CAPABILITY_CHUNKING | CAPABILITY_XCLIENT |
         CAPABILITY_XFORWARD | CAPABILITY_ETRN | CAPABILITY_DSN | CAPABILITY_SMTPUTF8 |
         CAPABILITY_STARTTLS,
     POSTFIX_XCLIENT, POSTFIX_XFORWARD},
    /* the last keyword of the last line */
    {"250-h\r\n250 XFORWARD SOURCE IDENT\r\n", CAPABILITY_XFORWARD, 0,
     ATTRIBUTE_SOURCE | ATTRIBUTE_IDENT},
    {"250-h\r\n250 xforward  source\tIdent \r\n", CAPABILITY_XFORWARD, 0,
     ATTRIBUTE_SOURCE | ATTRIBUTE_IDENT},
    {"250-h\r\n250-xclient Addr\r\n250 XCLIENT PORT TTLS\r\n", CAPABILITY_XCLIENT,
     ATTRIBUTE_ADDR | ATTRIBUTE_PORT | ATTRIBUTE_OTHER, 0},
    /* Exim writes two spaces */
    {"250-h\r\n250-XCLIENT  ADDR NAME PORT LOGIN DESTADDR DESTPORT\r\n250 HELP\r\n",
     CAPABILITY_XCLIENT,
     ATTRIBUTE_ADDR | ATTRIBUTE_NAME | ATTRIBUTE_PORT | ATTRIBUTE_LOGIN | ATTRIBUTE_DESTADDR |
         ATTRIBUTE_DESTPORT,
     0},
    {"250-h\r\n250 XCLIENT\r\n", CAPABILITY_XCLIENT, 0, 0},
    {"250-h\r\n250 XCLIENT NAMES\r\n", CAPABILITY_XCLIENT, ATTRIBUTE_OTHER, 0},
    /* sizes */
    {"250-h\r\n250 SIZE\r\n", CAPABILITY_SIZE, 0, 0},
    {"250-h\r\n250 SIZE 0\r\n", CAPABILITY_SIZE, 0, 0},
    {"250-h\r\n250 SIZE 18446744073709551615\r\n", CAPABILITY_SIZE, 0, 0},
    {"250-h\r\n250 SIZE 18446744073709551616\r\n", CAPABILITY_SIZE, 0, 0},
    {"250-h\r\n250 SIZE 5m\r\n", CAPABILITY_SIZE, 0, 0},
    {"250-h\r\n250 size 5 6\r\n", CAPABILITY_SIZE, 0, 0},
    /* neither more nor less than a keyword */
    {"250-h\r\n250-PIPELININGX\r\n250-X PIPELINING\r\n250 PIPELIN\r\n", 0, 0, 0},
    {"250-h\r\n250-\r\n250-   \r\n250\r\n", 0, 0, 0},
    {"250-h\r\n250 pipelining foo\r\n", CAPABILITY_PIPELINING, 0, 0},
    {"250-h\r\n250 \x01\xff\r\n", 0, 0, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].wire));
        struct reply r = {.code = 250, .wire = guard.bytes};
        struct capability c = capability_parse(&r);

        lib_same_number(i, "keywords", rows[i].keywords, c.keywords);
        lib_same_number(i, "XCLIENT", rows[i].xclient, c.xclient);
        lib_same_number(i, "XFORWARD", rows[i].xforward, c.xforward);
        lib_is_true(i, "has its own", capability_has(&c, rows[i].keywords));
        lib_is_true(i, "has no other", !capability_has(&c, rows[i].keywords | 1u << 31));
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

/* What is kept of an announcement, and what is read again. */
static void test_words(void **state)
{
    static const struct {
        const char *wire, *words;
    } kept[] = {
        {"250 host\r\n", ""},
        {"250-h\r\n250-DSN\r\n250-XCLIENT NAME\r\n250 SIZE 7\r\n", "SIZE=7 DSN XCLIENT"},
        {"250-h\r\n250-SIZE 0\r\n250 8BITMIME\r\n", "SIZE 8BITMIME"},
        {"250-h\r\n250 SIZE 18446744073709551615\r\n", "SIZE=18446744073709551615"},
        {"250-h\r\n250 SIZE 18446744073709551616\r\n", "SIZE"},
        {"250-h\r\n250 size 5m\r\n", "SIZE"},
        {"250-h\r\n250-LIMITS rcptmax=10 X=1  MAILMAX=5 RCPTDOMAINMAX=x\r\n250 X\r\n",
         "LIMITS MAILMAX=5 RCPTMAX=10"},
        {"250-h\r\n250 LIMITS\r\n", "LIMITS"},
        {"250-h\r\n250 AUTH login FOO  PLAIN\tscram-sha-1 EXTERNAL\r\n",
         "AUTH=SCRAM-SHA-1,PLAIN,LOGIN"},
        {"250-h\r\n250 AUTH SCRAM-SHA-1-PLUS\r\n", "AUTH"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(kept); i++) {
        struct reply r = {.code = 250, .wire = bytes_of(kept[i].wire)};
        struct capability caps = capability_parse(&r), again;
        struct pool pool;
        struct buf words;
        pool_init(&pool, 256, 2);
        buf_init(&words, &pool, 256);
        capability_put_words(&words, &caps);
        buf_byte(&words, '\0');
        lib_same_text(i, "words", kept[i].words, (const char *)buf_bytes(&words).at);
        again = capability_read_words(bytes_of((const char *)buf_bytes(&words).at));
        lib_is_true(i, "again", capability_bridges_same(&caps, &again));
        again = capability_read_words(bytes_of("FOO DSN=7 BAR=1 RCPTMAX=2"));
        lib_same_number(i, "unknown words", CAPABILITY_DSN, again.keywords);
        buf_done(&words);
        pool_done(&pool);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
