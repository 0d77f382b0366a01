/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH at the targets of a scenario: who logs in there, and how that goes wrong. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/smtp/sasl.h"
#include "tests/sim/scenario_target.h"

#define LINES_MAX 6 /* that postern says in one exchange, "*" and QUIT among them */

/* What a target may say to the lines of an exchange. */
static const char granted[] = "235 2.7.0 welcome " SCENARIO_WORD_LOGIN "\r\n";
static const char refused[] = "535 5.7.8 wrong " SCENARIO_WORD_LOGIN "\r\n";
static const char given_up[] = "501 5.7.0 given up " SCENARIO_WORD_LOGIN "\r\n";

/* ---- what is announced ---- */

static uint32_t announced(const struct server *v)
{
    const struct scenario_logins *logins = &v->scenario->targets.logins;

    if (v->login.whim == WHIM_UNANNOUNCED || (logins->are_hidden && !v->is_secured))
        return 0;
    return v->login.whim == WHIM_FOREIGN ? SASL_CRAM_MD5 : logins->mechanisms;
}

static bool is_due(const struct server *v)
{
    return v->login.is_wanted && !v->login.is_done;
}

void server_name_mechanisms(struct server *v, char text[SERVER_AUTH_SIZE])
{
    uint32_t usable = announced(v) & (SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256);

    if (!v->is_secured)
        usable &= ~sasl_shown();
    if (is_due(v) && (usable == 0 || v->login.whim != WHIM_NONE))
        server_note_outage(v);
    text[0] = '\0';
    if (announced(v) != 0)
        snprintf(text, SERVER_AUTH_SIZE, "250-AUTH%s%s%s%s\r\n",
                 announced(v) & SASL_PLAIN ? " PLAIN" : "",
                 announced(v) & SASL_LOGIN ? " LOGIN" : "",
                 announced(v) & SASL_SCRAM_SHA_256 ? " SCRAM-SHA-256" : "",
                 announced(v) & SASL_CRAM_MD5 ? " CRAM-MD5" : "");
}

/* In the place of the answer to the AUTH that comes next, unless that is STARTTLS. */
void server_grant_unasked(struct server *v)
{
    bool may_be_asked = v->is_secured || (v->scenario->targets.announces & STARTTLS) == 0;

    if (!is_due(v) || v->login.whim != WHIM_UNASKED || !may_be_asked || v->login.is_granted)
        return;
    v->login.is_granted = true;
    server_say(v, granted);
}

/* ---- saying something else ---- */

/* The password may stand behind other octets there: in base64 it looks otherwise then. */
static void repeat(struct server *v)
{
    static const char *const words[] = {"535 5.7.8 wrong: ",
                                        "454 4.7.0 not now: ",
                                        "535-5.7.8 this is wrong:\r\n535 5.7.8 ",
                                        "",
                                        "334 ",
                                        "421 4.7.0 no: "};
    struct scenario *s = v->scenario;
    size_t which = scenario_below(s, ARRAY_LENGTH(words));
    const char *password = secret_of(v->target);
    char base64[SASL_LINE_SIZE], text[2 * SASL_LINE_SIZE];
    struct sasl_text behind = sasl_text_of("%.*s%s~", (int)scenario_below(s, 3), "me", password);

    sasl_encode(&behind, base64);
    snprintf(text, sizeof(text), "%s%s\r\n", words[which],
             scenario_chance(s, 50) ? base64 : password);
    server_say(v, text);
    if (which == ARRAY_LENGTH(words) - 1)
        server_hang_up(v, false);
}

/* No challenge: it is not base64, or has several lines; or the server's proof is wrong. */
static void lie(struct server *v)
{
    static const char *const lies[] = {"334 ?\r\n", "334-dj0w\r\n334 dj0w\r\n", "334 dj0w\r\n"};

    server_say(v, lies[scenario_below(v->scenario, ARRAY_LENGTH(lies))]);
}

/* False: it has none in this place. */
static bool has_said_by_whim(struct server *v, bool is_end)
{
    enum login_whim whim = v->login.whim;

    if (v->scenario->is_healthy || whim == WHIM_NONE)
        return false;
    server_note_outage(v);
    switch (whim) {
    case WHIM_ENDLESS:
        server_say(v, "334 \r\n");
        return true;
    case WHIM_LIES:
        lie(v);
        return true;
    case WHIM_EARLY:
        if (!is_end)
            server_say(v, granted);
        v->login.is_asking = is_end;
        return !is_end;
    case WHIM_REPEATS:
        if (is_end)
            repeat(v);
        return is_end;
    case WHIM_UNASKED:
        v->is_silent = !is_end; /* or it was said in advance */
        return v->is_silent;
    case WHIM_UNANNOUNCED:
    case WHIM_FOREIGN:
    case WHIM_NONE:
    case WHIMS:
        break;
    }
    return false;
}

/* ---- one exchange ---- */

static bool is_locked(const struct server *v)
{
    const struct scenario *s = v->scenario;

    return !s->is_healthy && sim_now_ms(s->world) < s->targets.logins.locked_until_ms[v->backend];
}

static void challenge(struct server *v, const struct sasl_text *text)
{
    char base64[SASL_LINE_SIZE], line[SASL_LINE_SIZE + 8];

    sasl_encode(text, base64);
    snprintf(line, sizeof(line), "334 %s\r\n", base64);
    v->login.is_asking = server_answer(v, PLACE_AUTH, NULL, line);
}

/* All is said. */
static void judge(struct server *v, bool is_right)
{
    struct server_login *login = &v->login;

    login->is_asking = false;
    if (!is_right)
        scenario_fail(v->scenario, "target %d gets credentials that are not its own", v->target);
    if (login->is_granted) {
        login->is_done = is_right;
    } else if (!is_right || is_locked(v)) {
        scenario_count(v->scenario, COUNT_LOCKED);
        server_note_outage(v);
        server_say(v, refused);
    } else {
        login->is_done = server_answer(v, PLACE_AUTH, NULL, granted);
    }
    v->scenario->result->counts[COUNT_LOGINS] += login->is_done;
}

static bool is_user(const struct server *v, const char *user)
{
    return strcmp(user, v->target == 0 ? "relay-a" : "relay-b") == 0;
}

static bool is_right_plain(const struct server *v, const struct sasl_text *said)
{
    const char *user = said->at + strlen(said->at) + 1;
    const char *password = user + strlen(user) + 1;

    return said->len == (size_t)(password - said->at) + strlen(password) && is_user(v, user) &&
           strcmp(password, secret_of(v->target)) == 0;
}

/* Each returns how the exchange stands: it goes on, or what the judgement is. */
enum standing { GOES_ON, RIGHT, WRONG };

static enum standing hear_plain(struct server *v, unsigned step, const struct sasl_text *said)
{
    (void)step;
    return is_right_plain(v, said) ? RIGHT : WRONG;
}

static enum standing hear_login(struct server *v, unsigned step, const struct sasl_text *said)
{
    struct sasl_text asked = sasl_text_of("Password:");

    if (step != 0)
        return strcmp(said->at, secret_of(v->target)) == 0 ? RIGHT : WRONG;
    if (!is_user(v, said->at))
        return WRONG;
    challenge(v, &asked);
    return GOES_ON;
}

static enum standing hear_scram(struct server *v, unsigned step, const struct sasl_text *said)
{
    struct sasl_text asked = sasl_text_of("r=%u", v->number);
    struct bytes about = bytes_make(asked.at, asked.len);
    struct sasl_text proof = sasl_proof(SASL_CLIENT, secret_of(v->target), about);

    if (step == 0) {
        if (strncmp(said->at, "n,,n=", 5) != 0 || !is_user(v, said->at + 5))
            return WRONG;
    } else if (step == 1) {
        if (strcmp(said->at, proof.at) != 0)
            return WRONG;
        asked = sasl_proof(SASL_SERVER, secret_of(v->target), about);
    } else {
        return RIGHT;
    }
    challenge(v, &asked);
    return GOES_ON;
}

static bool is_last_step(const struct server_login *login)
{
    return login->step == (login->mechanism == SASL_SCRAM_SHA_256 ? 2
                           : login->mechanism == SASL_LOGIN       ? 1
                                                                  : 0);
}

static void on_response(struct server *v, struct bytes line)
{
    struct server_login *login = &v->login;
    enum standing standing = WRONG;
    struct sasl_text said;

    if (has_said_by_whim(v, is_last_step(login)))
        return;
    if (!sasl_decode(line, &said))
        scenario_fail(v->scenario, "target %d hears what is no response", v->target);
    else if (login->mechanism == SASL_PLAIN)
        standing = hear_plain(v, login->step, &said);
    else if (login->mechanism == SASL_LOGIN)
        standing = hear_login(v, login->step, &said);
    else
        standing = hear_scram(v, login->step, &said);
    login->step++;
    if (standing != GOES_ON)
        judge(v, standing == RIGHT);
}

void server_hear_response(struct server *v, struct bytes line)
{
    if (v->login.lines++ == LINES_MAX)
        scenario_fail(v->scenario, "target %d asks for ever, and is answered", v->target);
    if (!bytes_is(line, "*")) {
        on_response(v, line);
        return;
    }
    v->login.is_asking = false;
    server_say(v, v->login.whim == WHIM_ENDLESS ? "334 \r\n" : given_up);
}

/* `line`: all of the command. */
void server_hear_auth(struct server *v, struct bytes line)
{
    struct bytes rest = bytes_skip(line, strlen("AUTH "));
    struct bytes name = bytes_first(rest, bytes_find(rest, ' '));
    struct sasl_text asked = sasl_text_of("Username:");

    v->login.mechanism = sasl_mechanism(name);
    v->login.step = v->login.lines = 0;
    if (!is_due(v) || (announced(v) & v->login.mechanism) == 0) {
        scenario_fail(v->scenario, "target %d has not asked for this: %.*s", v->target,
                      (int)line.len, (const char *)line.at);
        return;
    }
    v->login.is_asking = true;
    if (name.len < rest.len)
        server_hear_response(v, bytes_skip(rest, name.len + 1));
    else if (!has_said_by_whim(v, false))
        challenge(v, &asked);
}

/* Before it knows who asks, a target hears nothing else; nor does anybody hear the password. */
void server_check_login(struct server *v, struct bytes line)
{
    static const char *const before[] = {"EHLO ", "LHLO ", "HELO ", "STARTTLS", "AUTH ", "QUIT"};
    bool is_fine = !is_due(v) || v->login.is_asking || v->is_shaking;
    bool may_be_told = v->is_secured && is_due(v) &&
                       (v->login.is_asking || bytes_start_with_nocase(line, "AUTH "));

    for (size_t i = 0; i < ARRAY_LENGTH(before); i++)
        is_fine = is_fine || bytes_start_with_nocase(line, before[i]);
    if (!is_fine)
        scenario_fail(v->scenario, "target %d wants AUTH, and has not said 235: %.*s", v->target,
                      (int)line.len, (const char *)line.at);
    if (!may_be_told)
        secret_check(v->scenario, "a target", line);
}

void server_plan_login(struct server *v)
{
    struct scenario *s = v->scenario;

    v->login.is_wanted = s->targets.logins.at[v->target];
    if (v->login.is_wanted && !s->is_healthy && scenario_chance(s, s->targets.trouble_percent / 3))
        v->login.whim = WHIM_NONE + 1 + (enum login_whim)scenario_below(s, WHIMS - 1);
}
