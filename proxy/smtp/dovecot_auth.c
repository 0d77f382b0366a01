/* SPDX-License-Identifier: BSD-2-Clause */
/* A line is words between TABs. Values have TAB, CR, LF, NUL and 0x01 itself written as 0x01 and a
 * second octet. */
#include "proxy/smtp/dovecot_auth.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/sasl.h"

#define ESCAPE   1
#define USER_MAX 512

static struct bytes next_word(struct bytes *rest)
{
    size_t end = bytes_find(*rest, '\t');
    struct bytes word = bytes_first(*rest, end);

    *rest = bytes_skip(*rest, end < rest->len ? end + 1 : end);
    return word;
}

static int next_number(struct bytes *rest, uint32_t *number_out)
{
    uint64_t number;
    int error = text_decimal(next_word(rest), UINT32_MAX, &number);

    if (error != 0)
        return ERR_SYNTAX;
    *number_out = (uint32_t)number;
    return 0;
}

/* Names of users are shown to others: no control characters, which an escape always stands for. */
static int check_user(struct bytes user)
{
    if (user.len == 0 || user.len > USER_MAX)
        return ERR_SYNTAX;
    for (size_t i = 0; i < user.len; i++)
        if (user.at[i] < ' ' || user.at[i] == 127)
            return ERR_SYNTAX;
    return 0;
}

/* "KEY=VALUE", or a KEY alone. */
static bool is_given(struct bytes word, const char *key, struct bytes *value_out)
{
    size_t end = bytes_find(word, '=');

    if (!bytes_is(bytes_first(word, end), key))
        return false;
    *value_out = bytes_skip(word, end < word.len ? end + 1 : end);
    return true;
}

static int read_ok(struct bytes rest, struct dovecot_auth_said *said)
{
    bool is_proxied = false, may_not_log_in = false;
    struct bytes value;

    while (rest.len != 0) {
        struct bytes word = next_word(&rest);
        if (is_given(word, "user", &value))
            said->user = value;
        is_proxied =
            is_proxied || is_given(word, "proxy", &value) || is_given(word, "proxy_maybe", &value);
        may_not_log_in = may_not_log_in || is_given(word, "nologin", &value);
    }
    said->kind = DOVECOT_AUTH_OK;
    if (may_not_log_in && !is_proxied) { /* else the others' proxy would have to ask elsewhere */
        said->kind = DOVECOT_AUTH_FAILED;
        said->failure = DOVECOT_AUTH_DISABLED;
    }
    return check_user(said->user);
}

static int read_failed(struct bytes rest, struct dovecot_auth_said *said)
{
    struct bytes value;

    said->kind = DOVECOT_AUTH_FAILED;
    while (rest.len != 0) {
        struct bytes word = next_word(&rest);
        if (is_given(word, "user", &value) && check_user(value) == 0)
            said->user = value;
        bool is_code = is_given(word, "code", &value);
        if (is_given(word, "temp", &value) || (is_code && bytes_is(value, "temp_fail")))
            said->failure = DOVECOT_AUTH_TEMPORARY;
        else if (is_given(word, "user_disabled", &value) ||
                 (is_code && bytes_is(value, "user_disabled")))
            said->failure = DOVECOT_AUTH_DISABLED;
    }
    return 0;
}

static int read_challenge(struct bytes rest, struct dovecot_auth_said *said)
{
    said->kind = DOVECOT_AUTH_CHALLENGE;
    said->challenge = next_word(&rest);
    return sasl_is_base64(said->challenge) ? 0 : ERR_SYNTAX;
}

static int read_version(struct bytes rest, struct dovecot_auth_said *said)
{
    said->kind = DOVECOT_AUTH_VERSION;
    return next_number(&rest, &said->version);
}

/* "private" ones are for Dovecot's own services. */
static int read_mechanism(struct bytes rest, struct dovecot_auth_said *said)
{
    said->kind = DOVECOT_AUTH_MECHANISM;
    said->mechanism = sasl_mechanism(next_word(&rest));
    while (rest.len != 0)
        if (bytes_is(next_word(&rest), "private"))
            said->mechanism = 0;
    return 0;
}

int dovecot_auth_read(struct bytes line, struct dovecot_auth_said *said_out)
{
    static const struct {
        const char *word;
        bool has_id;
        int (*read)(struct bytes rest, struct dovecot_auth_said *said);
    } known[] = {
        {"VERSION", false, read_version}, {"MECH", false, read_mechanism},
        {"CONT", true, read_challenge},   {"OK", true, read_ok},
        {"FAIL", true, read_failed},
    };
    struct dovecot_auth_said said = {.kind = DOVECOT_AUTH_OTHER};
    struct bytes word = next_word(&line);
    int error = 0;

    if (bytes_is(word, "DONE"))
        said.kind = DOVECOT_AUTH_READY;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        if (!bytes_is(word, known[i].word))
            continue;
        if (known[i].has_id)
            error = next_number(&line, &said.id);
        if (error == 0)
            error = known[i].read(line, &said);
    }
    *said_out = said;
    return error;
}

/* ---- what we say ---- */

void dovecot_auth_put_hello(struct buf *out, uint32_t client_id)
{
    buf_text(out, "VERSION\t1\t1\nCPID\t");
    buf_decimal(out, client_id);
    buf_byte(out, '\n');
}

static void begin(struct buf *out, const char *word, uint32_t id)
{
    buf_cat(out, word, "\t", NULL);
    buf_decimal(out, id);
}

static void put_endpoint(struct buf *out, const char *address_key, const char *port_key,
                         const struct netaddr *address)
{
    char text[NETADDR_TEXT_MAX];

    if (address->family == NETADDR_NONE)
        return;
    buf_cat(out, address_key, netaddr_text(address, text), port_key, NULL);
    buf_decimal(out, address->port);
}

void dovecot_auth_put_request(struct buf *out, uint32_t id, uint32_t mechanism,
                              const struct dovecot_auth_client *client)
{
    begin(out, "AUTH", id);
    /* nologin: no other service of Dovecot's will ask for the outcome. */
    buf_cat(out, "\t", sasl_name(mechanism), "\tservice=smtp\tnologin", NULL);
    put_endpoint(out, "\tlip=", "\tlport=", &client->who->local);
    put_endpoint(out, "\trip=", "\trport=", &client->who->client);
    if (client->who->is_secured)
        buf_text(out, "\tsecured");
    buf_text(out, "\tsession=");
    buf_put(out, client->session);
}

void dovecot_auth_put_continue(struct buf *out, uint32_t id)
{
    begin(out, "CONT", id);
    buf_byte(out, '\t');
}

void dovecot_auth_put_cancel(struct buf *out, uint32_t id)
{
    begin(out, "CANCEL", id);
    buf_byte(out, '\n');
}
