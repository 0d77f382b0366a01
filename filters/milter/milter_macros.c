/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of macros, and who gets which. */
#include "filters/milter/milter_macros.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/params.h"
#include "proxy/smtp/sasl.h"

/* ---- what is spoken of ---- */

static int copy_tls(struct arena *arena, const struct tls_facts *tls,
                    const struct tls_facts **copy_out)
{
    struct tls_facts *copy = arena_alloc(arena, sizeof(*copy));
    int error;

    if (copy == NULL)
        return ERR_MEMORY;
    *copy = *tls;
    error = arena_copy(arena, tls->subject, &copy->subject);
    if (error == 0)
        error = arena_copy(arena, tls->issuer, &copy->issuer);
    copy->server_name = copy->common_name = bytes_make(NULL, 0);
    *copy_out = copy;
    return error;
}

static int copy_identity(struct arena *arena, const struct identity *who,
                         const struct identity **copy_out)
{
    struct identity *copy = arena_alloc(arena, sizeof(*copy));
    int error;

    if (copy == NULL)
        return ERR_MEMORY;
    *copy = *who;
    error = arena_copy(arena, who->name, &copy->name);
    if (error == 0)
        error = arena_copy(arena, who->reverse_name, &copy->reverse_name);
    if (error == 0)
        error = arena_copy(arena, who->helo, &copy->helo);
    if (error == 0)
        error = arena_copy(arena, who->login, &copy->login);
    if (error == 0 && who->tls != NULL)
        error = copy_tls(arena, who->tls, &copy->tls);
    copy->reference = copy->protocol = bytes_make(NULL, 0);
    *copy_out = copy;
    return error;
}

static int copy_envelope(struct arena *arena, const struct envelope *envelope,
                         const struct envelope **copy_out)
{
    struct envelope *copy = arena_alloc(arena, sizeof(*copy));
    int error;

    if (copy == NULL)
        return ERR_MEMORY;
    *copy = *envelope;
    error = address_copy(arena, &envelope->from, &copy->from);
    if (error == 0)
        error = arena_copy(arena, envelope->params, &copy->params);
    *copy_out = copy;
    return error;
}

static int copy_rcpt(struct arena *arena, const struct milter_about *about,
                     struct milter_about *copy)
{
    struct address *rcpt = arena_alloc(arena, sizeof(*rcpt));
    int error = rcpt == NULL ? ERR_MEMORY : address_copy(arena, about->rcpt, rcpt);

    if (error == 0)
        error = arena_copy(arena, about->rcpt_params, &copy->rcpt_params);
    copy->rcpt = rcpt;
    return error;
}

int milter_about_copy(struct arena *arena, const struct milter_about *about,
                      struct milter_about *copy_out)
{
    struct milter_about copy = *about;
    int error = copy_identity(arena, about->client, &copy.client);

    if (error == 0)
        error = arena_copy(arena, about->helo, &copy.helo);
    if (error == 0)
        error = arena_copy(arena, about->hostname, &copy.hostname);
    if (error == 0)
        error = arena_copy(arena, about->listener, &copy.listener);
    if (error == 0)
        error = arena_copy(arena, about->line, &copy.line);
    if (error == 0 && about->envelope != NULL)
        error = copy_envelope(arena, about->envelope, &copy.envelope);
    if (error == 0 && about->rcpt != NULL)
        error = copy_rcpt(arena, about, &copy);
    if (error == 0)
        *copy_out = copy;
    return error;
}

/* ---- values ---- */

static struct bytes name_of(const struct identity *who)
{
    return who->name_state == IDENTITY_NAME_CONFIRMED ? who->name : bytes_of("unknown");
}

static struct bytes reverse_name_of(const struct identity *who)
{
    return who->reverse_name.len != 0 ? who->reverse_name : name_of(who);
}

/* As mail servers write it in macros: RFC 5321's form, without its brackets. */
static void put_address(struct buf *out, const struct netaddr *address)
{
    char text[NETADDR_TEXT_MAX];

    if (address->family == NETADDR_NONE)
        return;
    if (address->family == NETADDR_IPV6)
        buf_text(out, "IPv6:");
    buf_text(out, netaddr_text(address, text));
}

static void put_port(struct buf *out, const struct netaddr *address)
{
    if (address->family != NETADDR_NONE && address->port != 0)
        buf_decimal(out, address->port);
}

/* "mail.example [192.0.2.1]": the name as the address has it, and whether it leads back. */
static void put_client(struct buf *out, const struct identity *who)
{
    if (who->client.family == NETADDR_NONE)
        return;
    buf_put(out, reverse_name_of(who));
    buf_text(out, " [");
    put_address(out, &who->client);
    buf_text(out, "]");
    if (!bytes_equal_nocase(name_of(who), reverse_name_of(who)))
        buf_text(out, " (may be forged)");
}

enum macro {
    MACRO_J,
    MACRO_V,
    MACRO_UNDERSCORE,
    MACRO_I,
    MACRO_DAEMON_NAME,
    MACRO_DAEMON_ADDR,
    MACRO_DAEMON_PORT,
    MACRO_CLIENT_ADDR,
    MACRO_CLIENT_NAME,
    MACRO_CLIENT_PTR,
    MACRO_CLIENT_PORT,
    MACRO_AUTH_AUTHEN,
    MACRO_AUTH_AUTHOR,
    MACRO_AUTH_TYPE,
    MACRO_TLS_VERSION,
    MACRO_CIPHER,
    MACRO_CIPHER_BITS,
    MACRO_CERT_SUBJECT,
    MACRO_CERT_ISSUER,
    MACRO_MAIL_ADDR,
    MACRO_MAIL_HOST,
    MACRO_MAIL_MAILER,
    MACRO_RCPT_ADDR,
    MACRO_RCPT_HOST,
    MACRO_RCPT_MAILER,
    MACRO_COUNT
};

static const char *const macro_names[MACRO_COUNT] = {
    [MACRO_J] = "j",
    [MACRO_V] = "v",
    [MACRO_UNDERSCORE] = "_",
    [MACRO_I] = "i",
    [MACRO_DAEMON_NAME] = "daemon_name",
    [MACRO_DAEMON_ADDR] = "daemon_addr",
    [MACRO_DAEMON_PORT] = "daemon_port",
    [MACRO_CLIENT_ADDR] = "client_addr",
    [MACRO_CLIENT_NAME] = "client_name",
    [MACRO_CLIENT_PTR] = "client_ptr",
    [MACRO_CLIENT_PORT] = "client_port",
    [MACRO_AUTH_AUTHEN] = "auth_authen",
    [MACRO_AUTH_AUTHOR] = "auth_author",
    [MACRO_AUTH_TYPE] = "auth_type",
    [MACRO_TLS_VERSION] = "tls_version",
    [MACRO_CIPHER] = "cipher",
    [MACRO_CIPHER_BITS] = "cipher_bits",
    [MACRO_CERT_SUBJECT] = "cert_subject",
    [MACRO_CERT_ISSUER] = "cert_issuer",
    [MACRO_MAIL_ADDR] = "mail_addr",
    [MACRO_MAIL_HOST] = "mail_host",
    [MACRO_MAIL_MAILER] = "mail_mailer",
    [MACRO_RCPT_ADDR] = "rcpt_addr",
    [MACRO_RCPT_HOST] = "rcpt_host",
    [MACRO_RCPT_MAILER] = "rcpt_mailer",
};

/* Of the connection. */
static void put_of_client(struct buf *out, enum macro macro, const struct milter_about *about)
{
    const struct identity *who = about->client;

    if (macro == MACRO_UNDERSCORE)
        put_client(out, who);
    else if (macro == MACRO_DAEMON_ADDR)
        put_address(out, &who->local);
    else if (macro == MACRO_DAEMON_PORT)
        put_port(out, &who->local);
    else if (macro == MACRO_CLIENT_ADDR)
        put_address(out, &who->client);
    else if (macro == MACRO_CLIENT_PORT)
        put_port(out, &who->client);
    else if (macro == MACRO_CLIENT_NAME)
        buf_put(out, name_of(who));
    else if (macro == MACRO_CLIENT_PTR)
        buf_put(out, reverse_name_of(who));
    else if (macro == MACRO_AUTH_AUTHEN)
        buf_put(out, who->login);
    else if (macro == MACRO_AUTH_TYPE && who->login.len != 0)
        buf_text(out, who->mechanism != 0 ? sasl_name(who->mechanism)
                                          : "XCLIENT"); /* who is in front knows how */
}

/* Of how it is encrypted. */
static void put_of_tls(struct buf *out, enum macro macro, const struct tls_facts *tls)
{
    if (tls == NULL)
        return;
    if (macro == MACRO_TLS_VERSION)
        buf_text(out, tls->version);
    else if (macro == MACRO_CIPHER)
        buf_text(out, tls->cipher);
    else if (macro == MACRO_CIPHER_BITS)
        buf_decimal(out, tls->bits);
    else
        buf_put(out, macro == MACRO_CERT_SUBJECT ? tls->subject : tls->issuer);
}

/* Of an address: itself, its domain, how it travels. */
static void put_of_address(struct buf *out, const struct address *a, unsigned part)
{
    if (a == NULL)
        return;
    if (part == 0)
        address_put(out, a);
    else if (part == 1)
        buf_put(out, a->domain);
    else
        buf_text(out, "smtp");
}

/* Nothing where it is not known. */
/* As Postfix has it: what the client says, whoever it is. */
static void put_author(struct buf *out, struct bytes mail_params)
{
    struct param param;

    while (params_next(&mail_params, &param) == 0)
        if (params_is_of_author(&param))
            buf_put(out, param.value);
}

static void put_macro(struct buf *out, enum macro macro, const struct milter_about *about)
{
    const struct envelope *envelope = about->envelope;

    switch (macro) {
    case MACRO_J:
        buf_put(out, about->hostname);
        return;
    case MACRO_V:
        buf_put(out, about->version);
        return;
    case MACRO_DAEMON_NAME:
        buf_put(out, about->listener);
        return;
    case MACRO_I:
        if (envelope != NULL)
            buf_text(out, envelope->id.text);
        return;
    case MACRO_AUTH_AUTHOR:
        if (envelope != NULL)
            put_author(out, envelope->params);
        return;
    case MACRO_MAIL_ADDR:
    case MACRO_MAIL_HOST:
    case MACRO_MAIL_MAILER:
        put_of_address(out, envelope == NULL ? NULL : &envelope->from, macro - MACRO_MAIL_ADDR);
        return;
    case MACRO_RCPT_ADDR:
    case MACRO_RCPT_HOST:
    case MACRO_RCPT_MAILER:
        put_of_address(out, about->rcpt, macro - MACRO_RCPT_ADDR);
        return;
    case MACRO_TLS_VERSION:
    case MACRO_CIPHER:
    case MACRO_CIPHER_BITS:
    case MACRO_CERT_SUBJECT:
    case MACRO_CERT_ISSUER:
        put_of_tls(out, macro, about->client->tls);
        return;
    case MACRO_UNDERSCORE:
    case MACRO_DAEMON_ADDR:
    case MACRO_DAEMON_PORT:
    case MACRO_CLIENT_ADDR:
    case MACRO_CLIENT_NAME:
    case MACRO_CLIENT_PTR:
    case MACRO_CLIENT_PORT:
    case MACRO_AUTH_AUTHEN:
    case MACRO_AUTH_TYPE:
    case MACRO_COUNT:
        break;
    }
    put_of_client(out, macro, about);
}

/* ---- lists of names ---- */

const char *const milter_stage_names[MILTER_STAGE_COUNT] = {
    [SMFIM_CONNECT] = "connect", [SMFIM_HELO] = "helo",
    [SMFIM_ENVFROM] = "mail",    [SMFIM_ENVRCPT] = "rcpt",
    [SMFIM_DATA] = "data",       [SMFIM_EOM] = "eom",
    [SMFIM_EOH] = "eoh",         [MILTER_STAGE_UNKNOWN] = "unknown",
};

/* Postfix's. */
static const char *const usual[MILTER_STAGE_COUNT] = {
    [SMFIM_CONNECT] = "j {daemon_name} {daemon_addr} v _",
    [SMFIM_HELO] = "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}",
    [SMFIM_ENVFROM] =
        "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}",
    [SMFIM_ENVRCPT] = "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
    [SMFIM_DATA] = "i",
    [SMFIM_EOM] = "i",
    [SMFIM_EOH] = "i",
    [MILTER_STAGE_UNKNOWN] = "",
};

struct bytes milter_macros_usual(unsigned stage)
{
    assert(stage < MILTER_STAGE_COUNT);
    return bytes_of(usual[stage]);
}

static struct bytes take_name(struct bytes *names)
{
    size_t len = 0;

    while (names->len > 0 && (names->at[0] == ' ' || names->at[0] == ','))
        *names = bytes_skip(*names, 1);
    while (len < names->len && names->at[len] != ' ' && names->at[len] != ',')
        len++;
    struct bytes name = bytes_first(*names, len);
    *names = bytes_skip(*names, len);
    return name;
}

/* With or without braces. MACRO_COUNT: we have no such thing. */
static enum macro find_macro(struct bytes name)
{
    size_t at = 0;

    if (name.len > 2 && name.at[0] == '{' && name.at[name.len - 1] == '}')
        name = bytes_make(name.at + 1, name.len - 2);
    while (at < MACRO_COUNT && !bytes_is(name, macro_names[at]))
        at++;
    return (enum macro)at;
}

/* The name, and its value; `*begun_at` where the packet began, if it has. */
static void put_pair(struct buf *out, uint8_t command, struct bytes name,
                     const struct milter_about *about, size_t *begun_at)
{
    size_t before = buf_length(out), valued;
    enum macro macro = find_macro(name);

    if (macro == MACRO_COUNT)
        return;
    if (*begun_at == SIZE_MAX) {
        *begun_at = milter_begin(out, SMFIC_MACRO);
        buf_byte(out, command);
    }
    milter_put_string(out, name);
    valued = buf_length(out);
    put_macro(out, macro, about);
    if (!out->has_failed && buf_length(out) != valued) {
        buf_byte(out, '\0');
        return;
    }
    buf_drop_last(out, buf_length(out) - before);
    if (before <= *begun_at)
        *begun_at = SIZE_MAX;
}

/* Those for which there is no room are left out: a value is as long as a command at most. */
void milter_macros_put(struct buf *out, uint8_t command, struct bytes names,
                       const struct milter_about *about)
{
    size_t begun_at = SIZE_MAX, start = buf_length(out);
    struct bytes name;

    while ((name = take_name(&names)).len != 0)
        if (buf_length(out) - start < MILTER_MAX_DATA_SIZE / 2)
            put_pair(out, command, name, about, &begun_at);
    if (begun_at != SIZE_MAX)
        milter_end(out, begun_at);
}
