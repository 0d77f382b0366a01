/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said in AUTH, by libgsasl and by ourselves, and what comes of it where memory is short,
 * there or here: with each allocation of an exchange failing once it ends with ERR_MEMORY, or as it
 * would have ended. */
/* needs: io */
#include "proxy/io/sasl_client.h"

#include <dlfcn.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "tests/unit/lib.h"

#define STEPS_MAX 8

/* Of a sanitizer, where there is one. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

/* ---- an allocator that fails ---- */

static uint64_t asked, fails_at; /* 0: none does */
static bool is_counting;

static bool fails(void)
{
    return is_counting && ++asked == fails_at;
}

/* Those of the library behind this program: a sanitizer's, or libc's. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

void *malloc(size_t size)
{
    static void *(*real)(size_t);

    if (real == NULL)
        *(void **)&real = next("malloc");
    return fails() ? NULL : real(size);
}

void *calloc(size_t count, size_t size)
{
    static void *(*real)(size_t, size_t);

    if (real == NULL)
        *(void **)&real = next("calloc");
    return fails() ? NULL : real(count, size);
}

void *realloc(void *block, size_t size)
{
    static void *(*real)(void *, size_t);

    if (real == NULL)
        *(void **)&real = next("realloc");
    return fails() ? NULL : real(block, size);
}

char *strdup(const char *text)
{
    char *copy = malloc(strlen(text) + 1);

    return copy == NULL ? NULL : strcpy(copy, text);
}

/* ---- servers ---- */

static int on_property(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
    (void)library;
    if (property != GSASL_PASSWORD)
        return GSASL_NO_CALLBACK;
    return gsasl_property_set(session, GSASL_PASSWORD, "sesame");
}

/* libgsasl's, for SCRAM: its answers hang on what the client makes up. */
struct server {
    Gsasl *library;
    Gsasl_session *session;
};

static void server_begin(struct server *server)
{
    assert_int_equal(gsasl_init(&server->library), GSASL_OK);
    gsasl_callback_set(server->library, on_property);
    assert_int_equal(gsasl_server_start(server->library, "SCRAM-SHA-256", &server->session),
                     GSASL_OK);
}

static void server_end(struct server *server)
{
    gsasl_finish(server->session);
    gsasl_done(server->library);
}

/* What stands behind 334; false: it is content. */
static bool server_ask(struct server *server, struct bytes line, char challenge[512])
{
    char said[512] = "", *out = NULL;
    int result;

    memcpy(said, line.at, line.len < sizeof(said) ? line.len : sizeof(said) - 1);
    result = gsasl_step64(server->session, said, &out);
    assert_true(result == GSASL_OK || result == GSASL_NEEDS_MORE);
    snprintf(challenge, 512, "%s", out == NULL ? "" : out);
    gsasl_free(out);
    return result == GSASL_NEEDS_MORE || challenge[0] != '\0';
}

/* ---- exchanges ---- */

struct row {
    const char *mechanism;
    const char *secret;
    const char *challenges[3]; /* the first is what comes after AUTH */
    const char *lines[4];      /* NULL: no more */
    int error;                 /* of the step behind the last line; 0: none is asked for */
};

#define SECRET_OF_20 "aaaaaaaaaaaaaaaaaaaa"
#define SECRET_OF_400                                                                              \
    SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20     \
        SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 \
            SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20 SECRET_OF_20

static const struct row rows[] = {
    {"PLAIN", "sesame", {""}, {"AUTH PLAIN AGpvZQBzZXNhbWU=\r\n"}, ERR_GARBAGE},
    /* a command has no room for it */
    {"PLAIN", SECRET_OF_400, {""}, {"AUTH PLAIN\r\n", "AGpvZQ*\r\n"}, ERR_GARBAGE},
    {"LOGIN",
     "sesame",
     {"VXNlcm5hbWU6", "UGFzc3dvcmQ6", ""},
     {"AUTH LOGIN\r\n", "am9l\r\n", "c2VzYW1l\r\n"},
     ERR_GARBAGE},
    {"XOAUTH2",
     "t",
     {"e30=", ""},
     {"AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgdAEB\r\n", "\r\n"},
     ERR_GARBAGE},
    {"OAUTHBEARER",
     "t",
     {"e30=", ""},
     {"AUTH OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFyZXIgdAEB\r\n", "AQ==\r\n"},
     ERR_GARBAGE},
};

static int step(struct sasl_client *sasl, const char *challenge, struct sasl_client_line *line)
{
    is_counting = true;
    int error = sasl_client_step(sasl, challenge, line);
    is_counting = false;
    assert_true((line->at == NULL) == (error != 0));
    return error;
}

static struct sasl_client *begin(const char *mechanism, const char *secret)
{
    struct sasl_client *sasl;

    is_counting = true;
    sasl = sasl_client_new(mechanism, bytes_of("joe"), bytes_of(secret));
    is_counting = false;
    return sasl;
}

/* A "*" stands for the rest but for the line end. */
static bool is_line(const struct sasl_client_line *line, const char *expected)
{
    size_t same = strcspn(expected, "*");

    if (expected[same] == '*')
        return line->len > same && memcmp(line->at, expected, same) == 0;
    return line->len == same && memcmp(line->at, expected, same) == 0;
}

static int play_row(const struct row *row)
{
    struct sasl_client *sasl = begin(row->mechanism, row->secret);
    struct sasl_client_line line;
    int error = sasl == NULL ? ERR_MEMORY : 0;

    for (size_t i = 0; error == 0 && row->lines[i] != NULL; i++) {
        error = step(sasl, i == 0 ? "" : row->challenges[i - 1], &line);
        if (error == 0 && !is_line(&line, row->lines[i]))
            fail_msg("%s: it says %s", row->mechanism, line.at);
        sasl_client_wipe(&line);
    }
    if (error == 0) {
        error = step(sasl, "", &line);
        sasl_client_wipe(&line);
        error = error == row->error ? 0 : error == 0 ? 1 : error;
    }
    is_counting = true;
    sasl_client_free(sasl);
    is_counting = false;
    return error;
}

static int play_scram(const struct row *row)
{
    struct sasl_client *sasl = begin("SCRAM-SHA-256", row->secret);
    int error = sasl == NULL ? ERR_MEMORY : 0;
    char challenge[512] = "";
    struct server server;
    bool is_proved = false;

    server_begin(&server);
    for (unsigned i = 0; error == 0 && !is_proved; i++) {
        struct sasl_client_line line;
        assert_true(i < STEPS_MAX);
        error = step(sasl, challenge, &line);
        is_proved = line.is_proof;
        size_t behind = i == 0 ? strlen("AUTH SCRAM-SHA-256 ") : 0;
        if (error == 0 && !is_proved)
            assert_true(server_ask(&server, bytes_make(line.at + behind, line.len - behind - 2),
                                   challenge));
        sasl_client_wipe(&line);
    }
    server_end(&server);
    sasl_client_free(sasl);
    return error;
}

/* Until one asks for less than that. SCRAM within the library may take that for something else. */
static void starve(int (*play)(const struct row *row), const struct row *row)
{
    bool is_scram = play == play_scram;
    int error;

    for (fails_at = 1;; fails_at++) {
        asked = 0;
        error = play(row);
        if (asked < fails_at)
            break;
        if (error != 0 && error != ERR_MEMORY && !is_scram)
            fail_msg("%s: %s, where allocation %u fails", row->mechanism, error_text(error),
                     (unsigned)fails_at);
    }
    fails_at = 0;
    assert_int_equal(error, 0);
    assert_true(asked > 2);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_same_number(i, rows[i].mechanism, 0, play_row(&rows[i]));
    lib_end_rows();
}

static void test_no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        starve(play_row, &rows[i]);
}

static void test_scram(void **state)
{
    static const struct row right = {.mechanism = "SCRAM-SHA-256", .secret = "sesame"};

    (void)state;
    assert_int_equal(play_scram(&right), 0);
    if (__lsan_disable != NULL)
        __lsan_disable(); /* a session that is broken leaks */
    starve(play_scram, &right);
    if (__lsan_enable != NULL)
        __lsan_enable();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_scram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
