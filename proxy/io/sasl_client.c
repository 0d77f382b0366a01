/* SPDX-License-Identifier: BSD-2-Clause */
/* libgsasl has the mechanisms with passwords; those with tokens are a line each, and made here. */
#include "proxy/io/sasl_client.h"

#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/error.h"
#include "proxy/base/text.h"

#define COMMAND_MAX 512  /* RFC 4954 4: a longer AUTH is said without its response */
#define HEAD_MAX    1024 /* before a token */
#define ROUNDS_MIN  4096 /* RFC 7677 4 */
#define ROUNDS_MAX  1000000

struct sasl_client {
    const char *mechanism;
    Gsasl *library;         /* with a password */
    Gsasl_session *session; /* likewise */
    char *token_line;       /* with a token: what is said first, in base64; NULL: it was */
    char *held;             /* the first response, where AUTH went without it */
    bool has_begun;
    bool is_proof;   /* of what was said last: see struct sasl_client_line */
    bool is_refused; /* the token was */
    bool is_broken;  /* there was no memory within the library */
};

static bool is(const struct sasl_client *sasl, const char *mechanism)
{
    return strcmp(sasl->mechanism, mechanism) == 0;
}

/* Wipes and frees what malloc() has made, as the library does. */
static void forget_bytes(char *at, size_t len)
{
    if (at != NULL)
        explicit_bzero(at, len);
    free(at);
}

static void forget(char *text)
{
    forget_bytes(text, text == NULL ? 0 : strlen(text));
}

/* The pieces one after the other; asprintf() would leave copies behind. NULL: no memory. */
static char *join(struct bytes one, struct bytes two, struct bytes three, size_t *len_out)
{
    size_t len = one.len + two.len + three.len;
    char *text = malloc(len + 1);

    if (text == NULL)
        return NULL;
    memcpy(text, one.at, one.len);
    memcpy(text + one.len, two.at, two.len);
    memcpy(text + one.len + two.len, three.at, three.len);
    text[len] = '\0';
    *len_out = len;
    return text;
}

/* ---- beginning and ending ---- */

/* RFC 7628 3.1 with RFC 5801 4: "=" and "," in a name are written in hexadecimal. */
static void put_name(struct buf *out, struct bytes user)
{
    for (size_t i = 0; i < user.len; i++) {
        if (user.at[i] == '=')
            buf_text(out, "=3D");
        else if (user.at[i] == ',')
            buf_text(out, "=2C");
        else
            buf_byte(out, user.at[i]);
    }
}

static bool make_token_line(struct sasl_client *sasl, struct bytes user, struct bytes token)
{
    bool is_standard = is(sasl, "OAUTHBEARER");
    struct pool pool;
    struct buf head;
    char *text;
    size_t len;

    pool_init(&pool, HEAD_MAX, 0);
    buf_init(&head, &pool, HEAD_MAX);
    buf_text(&head, is_standard ? "n,a=" : "user=");
    if (is_standard)
        put_name(&head, user);
    else
        buf_put(&head, user);
    buf_text(&head, is_standard ? ",\1auth=Bearer " : "\1auth=Bearer ");
    text = head.has_failed ? NULL : join(buf_bytes(&head), token, bytes_of("\1\1"), &len);
    buf_done(&head);
    pool_done(&pool);
    if (text == NULL)
        return false;
    int error = gsasl_base64_to(text, len, &sasl->token_line, NULL);
    forget_bytes(text, len);
    return error == GSASL_OK;
}

/* A library that fails to begin has ended already, and is still pointed to. */
static bool begin_library(struct sasl_client *sasl)
{
    if (gsasl_init(&sasl->library) == GSASL_OK)
        return true;
    sasl->library = NULL;
    return false;
}

static bool begin_session(struct sasl_client *sasl, struct bytes user, struct bytes password)
{
    return begin_library(sasl) &&
           gsasl_client_start(sasl->library, sasl->mechanism, &sasl->session) == GSASL_OK &&
           gsasl_property_set_raw(sasl->session, GSASL_AUTHID, (const char *)user.at, user.len) ==
               GSASL_OK &&
           gsasl_property_set_raw(sasl->session, GSASL_PASSWORD, (const char *)password.at,
                                  password.len) == GSASL_OK;
}

struct sasl_client *sasl_client_new(const char *mechanism, struct bytes user, struct bytes secret)
{
    struct sasl_client *sasl = mem_zalloc(sizeof(*sasl));
    bool has_token = strcmp(mechanism, "XOAUTH2") == 0 || strcmp(mechanism, "OAUTHBEARER") == 0;

    if (sasl == NULL)
        return NULL;
    sasl->mechanism = mechanism;
    if (has_token ? make_token_line(sasl, user, secret) : begin_session(sasl, user, secret))
        return sasl;
    sasl_client_free(sasl);
    return NULL;
}

/* The library frees what it keeps without overwriting it. */
static void wipe_property(Gsasl_session *session, Gsasl_property property)
{
    char *kept = (char *)(uintptr_t)gsasl_property_fast(session, property);

    if (kept != NULL)
        explicit_bzero(kept, strlen(kept));
}

void sasl_client_free(struct sasl_client *sasl)
{
    if (sasl == NULL)
        return;
    if (sasl->session != NULL) {
        wipe_property(sasl->session, GSASL_PASSWORD);
        wipe_property(sasl->session, GSASL_SCRAM_SALTED_PASSWORD);
        if (!sasl->is_broken) /* libgsasl 2.2 would free some of it twice: rather it leaks */
            gsasl_finish(sasl->session);
    }
    if (sasl->library != NULL)
        gsasl_done(sasl->library);
    forget(sasl->token_line);
    forget(sasl->held);
    mem_free(sasl);
}

/* ---- responses ---- */

/* Does every number of rounds that a server names lie within bounds? The library takes any. */
static bool has_good_rounds(struct bytes rest)
{
    bool is_good = true;

    while (rest.len != 0) {
        struct bytes field = bytes_first(rest, bytes_find(rest, ','));
        uint64_t rounds = 0;
        rest = bytes_skip(rest, field.len < rest.len ? field.len + 1 : rest.len);
        if (field.len < 2 || field.at[0] != 'i' || field.at[1] != '=')
            continue;
        if (text_decimal(bytes_skip(field, 2), ROUNDS_MAX, &rounds) != 0 || rounds < ROUNDS_MIN)
            is_good = false;
    }
    return is_good;
}

static int error_of(int result)
{
    switch (result) {
    case GSASL_OK:
    case GSASL_NEEDS_MORE:
        return 0;
    case GSASL_MALLOC_ERROR:
    case GSASL_CRYPTO_ERROR: /* to hash takes no more than memory */
        return ERR_MEMORY;
    case GSASL_AUTHENTICATION_ERROR:
        return ERR_AUTH_PROOF;
    }
    return ERR_GARBAGE;
}

/* A server that does not take the token says why in JSON, and wants an answer to that before it
 * says 535. */
static int answer_refusal(struct sasl_client *sasl, char **response_out)
{
    if (sasl->is_refused)
        return ERR_GARBAGE;
    sasl->is_refused = true;
    sasl->is_proof = false;
    *response_out = strdup(is(sasl, "OAUTHBEARER") ? "AQ==" : "");
    return *response_out == NULL ? ERR_MEMORY : 0;
}

/* As gsasl_step64(), which leaves what is in base64 afterwards behind in memory. */
static int step(struct sasl_client *sasl, const char *challenge, char **response_out)
{
    char *asked = NULL, *said = NULL;
    size_t asked_len = 0, said_len = 0;

    if (sasl->is_proof)
        return ERR_GARBAGE; /* all is said; the library would say a password again and again */
    int result = gsasl_base64_from(challenge, strlen(challenge), &asked, &asked_len);

    if (result == GSASL_OK && is(sasl, "SCRAM-SHA-256") &&
        !has_good_rounds(bytes_make(asked, asked_len))) {
        free(asked);
        return ERR_AUTH_ROUNDS;
    }
    if (result == GSASL_OK)
        result = gsasl_step(sasl->session, asked, asked_len, &said, &said_len);
    free(asked);
    if (said == NULL && said_len != 0) /* the library does not always see that itself */
        result = GSASL_MALLOC_ERROR;
    sasl->is_broken = is(sasl, "SCRAM-SHA-256") && error_of(result) == ERR_MEMORY;
    sasl->is_proof = result == GSASL_OK;
    if (error_of(result) == 0 && gsasl_base64_to(said, said_len, response_out, NULL) != GSASL_OK)
        result = GSASL_MALLOC_ERROR;
    forget_bytes(said, said_len);
    return error_of(result);
}

/* In base64. */
static int respond(struct sasl_client *sasl, const char *challenge, char **response_out)
{
    if (sasl->session == NULL && sasl->token_line == NULL)
        return answer_refusal(sasl, response_out);
    if (sasl->session == NULL) {
        *response_out = sasl->token_line;
        sasl->token_line = NULL;
        sasl->is_proof = true;
        return 0;
    }
    return step(sasl, challenge, response_out);
}

/* `refused`: said of a text that cannot be prepared. The flag is the library's own choice. */
static int check_text(const struct sasl_client *sasl, Gsasl_property property, int refused)
{
    const char *text = gsasl_property_fast(sasl->session, property);
    char *prepared = NULL;
    int result = gsasl_saslprep(text, GSASL_ALLOW_UNASSIGNED, &prepared, NULL);

    forget(prepared);
    return result == GSASL_SASLPREP_ERROR ? refused : error_of(result);
}

/* RFC 5802 5.1. The library finds a password that cannot be prepared only when the server has sent
 * its salt, and then loses the memory of that. */
static int check_texts(const struct sasl_client *sasl)
{
    int error = check_text(sasl, GSASL_AUTHID, ERR_AUTH_USER);

    return error != 0 ? error : check_text(sasl, GSASL_PASSWORD, ERR_AUTH_PASSWORD);
}

/* Many servers do not take what LOGIN says first before they have asked for it. */
static int begin(struct sasl_client *sasl, struct sasl_client_line *line)
{
    const char *name = sasl->mechanism;
    char *first = NULL, command[32];
    int error = is(sasl, "SCRAM-SHA-256") ? check_texts(sasl) : 0;

    if (error == 0 && !is(sasl, "LOGIN"))
        error = respond(sasl, "", &first);
    if (error != 0)
        return error;
    bool fits = first != NULL && strlen("AUTH  \r\n") + strlen(name) + strlen(first) <= COMMAND_MAX;
    snprintf(command, sizeof(command), fits ? "AUTH %s " : "AUTH %s", name);
    line->at = join(bytes_of(command), bytes_of(fits ? first : ""), bytes_of("\r\n"), &line->len);
    line->is_proof = fits && sasl->is_proof;
    if (fits)
        forget(first);
    else
        sasl->held = first;
    return line->at == NULL ? ERR_MEMORY : 0;
}

static int go_on(struct sasl_client *sasl, const char *challenge, struct sasl_client_line *line)
{
    char *response = sasl->held;
    bool is_held = response != NULL;
    int error = 0;

    sasl->held = NULL;
    if (!is_held)
        error = respond(sasl, challenge, &response);
    else if (challenge[0] != '\0')
        error = ERR_GARBAGE;
    if (error == 0)
        line->at = join(bytes_of(response), bytes_of("\r\n"), bytes_of(""), &line->len);
    if (error == 0 && line->at == NULL)
        error = ERR_MEMORY;
    line->is_proof = sasl->is_proof;
    forget(response);
    return error;
}

int sasl_client_step(struct sasl_client *sasl, const char *challenge,
                     struct sasl_client_line *line_out)
{
    bool has_begun = sasl->has_begun;

    *line_out = (struct sasl_client_line){.at = NULL};
    sasl->has_begun = true;
    return has_begun ? go_on(sasl, challenge, line_out) : begin(sasl, line_out);
}

void sasl_client_wipe(struct sasl_client_line *line)
{
    forget(line->at);
    *line = (struct sasl_client_line){.at = NULL};
}
