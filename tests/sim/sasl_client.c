/* SPDX-License-Identifier: BSD-2-Clause */
/* sasl_client.h in a world: PLAIN, LOGIN, and a SCRAM-SHA-256 that is repeatable. */
#include "proxy/io/sasl_client.h"

#include <assert.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "tests/sim/sasl.h"

#define LINE_SIZE 256

struct sasl_client {
    const char *mechanism;
    char user[32], password[32];
    struct sasl_text challenge; /* SCRAM: what the server's proof is about */
    unsigned steps;
    bool is_proof; /* of what was said last */
};

static void keep(char *kept, size_t size, struct bytes text)
{
    assert(text.len < size);
    memcpy(kept, text.at, text.len);
}

struct sasl_client *sasl_client_new(const char *mechanism, struct bytes user, struct bytes secret)
{
    struct sasl_client *sasl = mem_zalloc(sizeof(*sasl));

    if (sasl == NULL)
        return NULL;
    sasl->mechanism = mechanism;
    keep(sasl->user, sizeof(sasl->user), user);
    keep(sasl->password, sizeof(sasl->password), secret);
    return sasl;
}

void sasl_client_free(struct sasl_client *sasl)
{
    mem_free(sasl);
}

/* ---- what is said ---- */

static struct sasl_text say_plain(struct sasl_client *sasl)
{
    sasl->is_proof = true;
    return sasl_text_of("%c%s%c%s", '\0', sasl->user, '\0', sasl->password);
}

static struct sasl_text say_login(struct sasl_client *sasl)
{
    sasl->is_proof = sasl->steps == 2;
    return sasl_text_of("%s", sasl->is_proof ? sasl->password : sasl->user);
}

/* 0, or ERR_AUTH_PROOF: the server does not know the password. */
static int say_scram(struct sasl_client *sasl, const struct sasl_text *challenge,
                     struct sasl_text *text_out)
{
    struct bytes asked = bytes_make(challenge->at, challenge->len);
    struct sasl_text proof;

    if (sasl->steps == 0) {
        *text_out = sasl_text_of("n,,n=%s", sasl->user);
    } else if (sasl->steps == 1) {
        sasl->challenge = *challenge;
        *text_out = sasl_proof(SASL_CLIENT, sasl->password, asked);
    } else {
        proof = sasl_proof(SASL_SERVER, sasl->password,
                           bytes_make(sasl->challenge.at, sasl->challenge.len));
        sasl->is_proof = bytes_is(asked, proof.at);
        *text_out = sasl_text_of("%s", "");
        return sasl->is_proof ? 0 : ERR_AUTH_PROOF;
    }
    return 0;
}

static int respond(struct sasl_client *sasl, const char *challenge, struct sasl_text *text_out)
{
    struct sasl_text asked;

    if (sasl->is_proof || !sasl_decode(bytes_of(challenge), &asked))
        return ERR_GARBAGE;
    if (strcmp(sasl->mechanism, "SCRAM-SHA-256") == 0)
        return say_scram(sasl, &asked, text_out);
    *text_out = strcmp(sasl->mechanism, "PLAIN") == 0 ? say_plain(sasl) : say_login(sasl);
    return 0;
}

int sasl_client_step(struct sasl_client *sasl, const char *challenge,
                     struct sasl_client_line *line_out)
{
    bool is_login = strcmp(sasl->mechanism, "LOGIN") == 0;
    struct sasl_text text = {.len = 0};
    char base64[SASL_LINE_SIZE];
    int error = sasl->steps == 0 && is_login ? 0 : respond(sasl, challenge, &text);

    *line_out = (struct sasl_client_line){.at = NULL};
    if (error != 0)
        return error;
    line_out->at = mem_alloc(LINE_SIZE);
    if (line_out->at == NULL)
        return ERR_MEMORY;
    sasl_encode(&text, base64);
    if (sasl->steps == 0)
        line_out->len = (size_t)snprintf(line_out->at, LINE_SIZE, "AUTH %s%s%s\r\n",
                                         sasl->mechanism, is_login ? "" : " ", base64);
    else
        line_out->len = (size_t)snprintf(line_out->at, LINE_SIZE, "%s\r\n", base64);
    line_out->is_proof = sasl->is_proof;
    sasl->steps++;
    return 0;
}

void sasl_client_wipe(struct sasl_client_line *line)
{
    mem_free(line->at);
    *line = (struct sasl_client_line){.at = NULL};
}
