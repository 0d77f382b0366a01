/* SPDX-License-Identifier: BSD-2-Clause */
/* Our own credentials at one target: which mechanism, and what is said. Responses are made in jobs,
 * since a target may ask for a million rounds of SCRAM. */
#include "route/relay/relay_auth.h"

#include <assert.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/work.h"
#include "proxy/smtp/sasl.h"
#include "route/relay/relay_private.h"

struct relay_auth {
    struct work work;
    struct loop *loop;
    relay_auth_said said;
    void *owner; /* NULL: nobody wants to know any more */
    struct sasl_client *sasl;
    const char *mechanism;
    char *challenge;
    struct sasl_client_line line;
    int error;
    bool is_busy;
};

/* ---- what the section says ---- */

int relay_auth_load(struct setting_reading *section)
{
    struct relay_auth_conf *auth = &((struct relay_conf *)section->conf)->auth;
    int error = secret_load(&auth->password, "auth-password-file", section);

    return error != 0 ? error : secret_load(&auth->token, "auth-token-file", section);
}

static const struct relay_auth_conf *auth_of(const struct relay_conf *conf)
{
    return conf->group.whole != NULL ? &conf->group.whole->auth : &conf->auth;
}

struct secret *relay_auth_secret(void *settings)
{
    struct relay_auth_conf *auth = &((struct relay_conf *)settings)->auth;

    return auth->token.path.len != 0 ? &auth->token : &auth->password;
}

bool relay_auth_is_needed(const struct relay_conf *conf)
{
    return auth_of(conf)->user.len != 0;
}

/* ---- targets that repeat what they have heard ---- */

static bool begins_with(struct bytes base64, size_t skipped, struct bytes secret)
{
    size_t i = 0;

    while (i < secret.len && sasl_decoded(base64, skipped + i) == secret.at[i])
        i++;
    return i == secret.len;
}

/* It may stand behind a name there. No copy of it is made to find that out. */
static bool is_in_base64(struct bytes words, struct bytes secret)
{
    for (; words.len != 0; words = bytes_skip(words, 1))
        for (size_t skipped = 0; skipped < 3; skipped++)
            if (begins_with(words, skipped, secret))
                return true;
    return false;
}

bool relay_auth_is_in(const struct relay *r, struct bytes words)
{
    const struct relay_auth_conf *auth = auth_of(r->conf);
    struct bytes secret = auth->token.path.len != 0 ? auth->token.text : auth->password.text;

    return secret.len != 0 && words.len >= secret.len &&
           (memmem(words.at, words.len, secret.at, secret.len) != NULL ||
            is_in_base64(words, secret));
}

void relay_auth_withhold(const struct relay *r, struct reply *reply,
                         char cover[RELAY_AUTH_COVER_MAX])
{
    char codes[REPLY_CODES_MAX];

    if (!relay_auth_is_in(r, reply->wire))
        return;
    reply_put_codes(reply, codes);
    snprintf(cover, RELAY_AUTH_COVER_MAX, "%s The next host's words are withheld\r\n", codes);
    reply->wire = bytes_of(reply->code == 0 ? "" : cover); /* 0: it is no reply */
}

/* ---- which mechanism ---- */

/* The best first. */
static const uint32_t for_password[] = {SASL_SCRAM_SHA_256, SASL_PLAIN, SASL_LOGIN, 0};
static const uint32_t for_token[] = {SASL_OAUTHBEARER, SASL_XOAUTH2, 0};

/* NULL: *error_out says why. */
static const char *choose(const struct outbound *out, const uint32_t *mechanisms, int *error_out)
{
    *error_out = ERR_NO_AUTH;
    for (; *mechanisms != 0; mechanisms++) {
        if ((out->caps.sasl & *mechanisms) == 0)
            continue;
        if (out->hello.is_secured || (sasl_shown() & *mechanisms) == 0)
            return sasl_name(*mechanisms);
        *error_out = ERR_AUTH_PLAIN;
    }
    return NULL;
}

/* ---- one exchange ---- */

static void forget(struct relay_auth *auth)
{
    sasl_client_wipe(&auth->line);
    sasl_client_free(auth->sasl);
    mem_free(auth->challenge);
    mem_free(auth);
}

struct relay_auth *relay_auth_new(struct relay *r, const struct outbound *out, relay_auth_said said,
                                  void *owner, int *error_out)
{
    const struct relay_auth_conf *conf = auth_of(r->conf);
    bool has_token = conf->token.path.len != 0;
    const char *mechanism = choose(out, has_token ? for_token : for_password, error_out);
    struct relay_auth *auth;

    if (mechanism == NULL)
        return NULL;
    *error_out = ERR_MEMORY;
    auth = mem_zalloc(sizeof(*auth));
    if (auth == NULL)
        return NULL;
    auth->loop = r->service->loop;
    auth->said = said;
    auth->owner = owner;
    auth->mechanism = mechanism;
    auth->sasl =
        sasl_client_new(mechanism, conf->user, has_token ? conf->token.text : conf->password.text);
    if (auth->sasl != NULL)
        return auth;
    forget(auth);
    return NULL;
}

static void run(struct work *work)
{
    struct relay_auth *auth = CONTAINER_OF(work, struct relay_auth, work);

    auth->error = auth->challenge == NULL
                      ? ERR_GARBAGE
                      : sasl_client_step(auth->sasl, auth->challenge, &auth->line);
}

static void done(struct work *work)
{
    struct relay_auth *auth = CONTAINER_OF(work, struct relay_auth, work);
    struct sasl_client_line line = auth->line;

    auth->is_busy = false;
    auth->line = (struct sasl_client_line){.at = NULL};
    mem_free(auth->challenge);
    auth->challenge = NULL;
    if (auth->owner == NULL)
        forget(auth);
    else
        auth->said(auth->owner, &line, auth->error);
    sasl_client_wipe(&line);
}

/* What stands behind the code. False: it is no text, or has several lines. */
static bool read_challenge(const struct reply *reply, struct bytes *text_out)
{
    struct bytes text = bytes_skip(reply->wire, reply->wire.len < 4 ? reply->wire.len : 4);
    size_t end = bytes_find(text, '\n');
    bool is_one_line = end + 1 >= text.len;

    text = bytes_first(text, end);
    if (text.len > 0 && text.at[text.len - 1] == '\r')
        text.len--;
    *text_out = text;
    return is_one_line && bytes_find(text, '\0') == text.len;
}

bool relay_auth_step(struct relay_auth *auth, const struct reply *challenge)
{
    struct bytes text;

    assert(!auth->is_busy);
    if (read_challenge(challenge, &text)) {
        auth->challenge = mem_zalloc(text.len + 1);
        if (auth->challenge == NULL)
            return false;
        if (text.len != 0)
            memcpy(auth->challenge, text.at, text.len);
    }
    auth->work = (struct work){.run = run, .done = done};
    auth->is_busy = work_run(auth->loop, &auth->work) == 0;
    return auth->is_busy;
}

const char *relay_auth_mechanism(const struct relay_auth *auth)
{
    return auth->mechanism;
}

void relay_auth_leave(struct relay_auth **held)
{
    struct relay_auth *auth = *held;

    *held = NULL;
    if (auth != NULL && auth->is_busy)
        auth->owner = NULL;
    else if (auth != NULL)
        forget(auth);
}
