/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of [smtpd "N"]. */
#include "proxy/config/smtpd_conf.h"

#include "proxy/smtp/capability.h"
#include "proxy/base/error.h"
#include "proxy/base/text.h"

/* RFC 5321 4.2: what may stand in a reply; "521 " and CR LF count towards 512 octets. */
static const char *wrong_reply_text(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] >= 0x80)
            return "text in ASCII";
    return value.len <= 500 ? NULL : "text of at most 500 characters";
}

static bool is_service(struct bytes text)
{
    uint64_t port;
    if (text_decimal(text, UINT16_MAX, &port) == 0)
        return port > 0;
    bool has_letter = false;
    for (size_t i = 0; i < text.len; i++) {
        has_letter = has_letter || byte_is_letter(text.at[i]);
        if (!byte_is_letter(text.at[i]) && !byte_is_digit(text.at[i]) && text.at[i] != '-')
            return false;
    }
    return has_letter;
}

/* Checks the form only: names are looked up at start. */
static const char *wrong_listen_port(struct bytes value)
{
    static const char expected[] = "PORT, HOST:PORT, ADDR:PORT or [V6]:PORT";
    struct netaddr ip;
    if (netaddr_parse_with_port(value, 0, &ip) == 0)
        return ip.port == 0 ? expected : NULL;
    size_t colon = bytes_find(value, ':');
    if (value.len > 0 && value.at[0] == '[') {
        size_t close = bytes_find(value, ']');
        if (close == value.len || netaddr_parse(bytes_make(value.at + 1, close - 1), &ip) != 0 ||
            ip.family != NETADDR_IPV6)
            return expected;
        colon = close + 1;
    } else if (colon < value.len && !text_is_host_name(bytes_first(value, colon)) &&
               netaddr_parse(bytes_first(value, colon), &ip) != 0) {
        return expected;
    }
    if (colon < value.len && value.at[colon] != ':')
        return expected;
    struct bytes port = colon < value.len ? bytes_skip(value, colon + 1) : value;
    return is_service(port) ? NULL : expected;
}

/* ---- etrn-from ---- */

/* "#TARGET", or a domain. */
static int parse_etrn_word(struct bytes word, struct smtpd_etrn *etrn)
{
    if (word.at[0] == '#' && word.len > 1)
        etrn->targets.at[etrn->targets.count++] = bytes_skip(word, 1);
    else if (text_is_host_name(word))
        etrn->domains.at[etrn->domains.count++] = word;
    else
        return ERR_SYNTAX;
    return 0;
}

static int parse_etrn(const struct cf_word *words, size_t word_count, struct arena *arena,
                      void *item_out, size_t *wrong_out)
{
    struct smtpd_etrn etrn = {.domains = {.count = 0}};
    *wrong_out = 0;
    if (netaddr_parse_mask(words[0].text, &etrn.net) != 0)
        return ERR_SYNTAX;
    etrn.domains.at = arena_alloc(arena, word_count * sizeof(struct bytes));
    etrn.targets.at = arena_alloc(arena, word_count * sizeof(struct bytes));
    if (etrn.domains.at == NULL || etrn.targets.at == NULL)
        return ERR_MEMORY;
    for (size_t i = 1; i < word_count; i++) {
        *wrong_out = i;
        if (parse_etrn_word(words[i].text, &etrn) != 0)
            return ERR_SYNTAX;
    }
    memcpy(item_out, &etrn, sizeof etrn);
    return 0;
}

static void put_target(struct buf *out, struct bytes target)
{
    buf_text(out, " \"#");
    for (size_t i = 0; i < target.len; i++) {
        if (target.at[i] == '"' || target.at[i] == '\\')
            buf_byte(out, '\\');
        buf_byte(out, target.at[i]);
    }
    buf_byte(out, '"');
}

static void put_etrn(const void *item, struct buf *out)
{
    const struct smtpd_etrn *etrn = item;
    setting_put_net(&etrn->net, out);
    for (size_t i = 0; i < etrn->domains.count; i++) {
        buf_byte(out, ' ');
        cf_put_word(out, etrn->domains.at[i], false);
    }
    for (size_t i = 0; i < etrn->targets.count; i++)
        put_target(out, etrn->targets.at[i]);
}

static const struct setting_type etrn_type = {
    .expected = "a network (ADDR or ADDR/BITS), then domains and targets (\"#TARGET\")",
    .item_bytes = sizeof(struct smtpd_etrn),
    .parse_words = parse_etrn,
    .put = put_etrn};

/* ---- relay-from ---- */

static int parse_relay_from(struct bytes word, struct arena *arena, void *item_out)
{
    struct smtpd_relay_from from = {.is_authenticated = bytes_is_nocase(word, "authenticated")};

    (void)arena;
    if (!from.is_authenticated && netaddr_parse_mask(word, &from.net) != 0)
        return ERR_SYNTAX;
    memcpy(item_out, &from, sizeof from);
    return 0;
}

static void put_relay_from(const void *item, struct buf *out)
{
    const struct smtpd_relay_from *from = item;

    if (from->is_authenticated)
        buf_text(out, "authenticated");
    else
        setting_put_net(&from->net, out);
}

static const struct setting_type relay_from_type = {
    .expected = "a network (ADDR or ADDR/BITS), or authenticated",
    .item_bytes = sizeof(struct smtpd_relay_from),
    .parse = parse_relay_from,
    .put = put_relay_from};

bool smtpd_may_relay(const struct smtpd_conf *conf, const struct identity *client)
{
    for (size_t i = 0; i < conf->relay_from.count; i++) {
        const struct smtpd_relay_from *from = &conf->relay_from.at[i];
        if (from->is_authenticated ? client->login.len != 0
                                   : netaddr_in(&client->client, &from->net))
            return true;
    }
    return false;
}

/* ---- auth ---- */

static int parse_auth(struct bytes word, struct arena *arena, void *item_out)
{
    static const char dovecot[] = "dovecot:";
    struct smtpd_auth_how how = {.by = SMTPD_AUTH_BY_NONE, .word = word};

    (void)arena;
    if (bytes_start_with_nocase(word, dovecot)) {
        how.by = SMTPD_AUTH_BY_DOVECOT;
        how.socket = bytes_skip(word, strlen(dovecot));
        if (how.socket.len < 2 || how.socket.len > SETTING_SOCKET_PATH_MAX ||
            how.socket.at[0] != '/')
            return ERR_SYNTAX;
    } else if (bytes_is_nocase(word, "passthrough")) {
        how.by = SMTPD_AUTH_BY_TARGET;
    } else if (!bytes_is_nocase(word, "none")) {
        return ERR_SYNTAX;
    }
    memcpy(item_out, &how, sizeof how);
    return 0;
}

static void put_auth(const void *item, struct buf *out)
{
    const struct smtpd_auth_how *how = item;

    cf_put_word(out, how->word, false);
}

static const struct setting_type auth_type = {
    .expected = "none, passthrough, or dovecot:/PATH of the socket of its auth service",
    .item_bytes = sizeof(struct smtpd_auth_how),
    .parse = parse_auth,
    .put = put_auth};

/* ---- rows ---- */

#define AT(member) SETTING_AT(smtpd_conf, member)

/* "|KEYWORD" for each that a listener may announce. */
#define WORD_OWN(name)                   "|" name
#define WORD_PASSED(name)                "|" name
#define WORD_NEVER(name)                 ""
#define CAPABILITY(id, name, bit, offer) WORD_##offer(name)
static const char keywords[] =
#include "proxy/smtp/capability.def"
    ;
#undef CAPABILITY

static const struct setting rows[] = {
    {"name", SETTING_TEXT, AT(name), NULL, NULL, .initial_help = "the section's name",
     .wrong = setting_wrong_host, .help = "the name in the greeting"},
    {"listen-port", SETTING_TEXTS, AT(listen_ports), NULL, NULL,
     .initial_help = "the section's name, port 25", .wrong = wrong_listen_port,
     .help = "PORT (all addresses), HOST:PORT, ADDR:PORT or [V6]:PORT; ports may be service names, "
             "hosts ipv4-localhost and ipv6-localhost"},
    {"protocol", SETTING_CHOICE, AT(protocol), "smtp", "smtp|lmtp",
     .help = "what is spoken; smtp: LHLO begins LMTP there too; lmtp: nothing else does"},
    {"routing-table", SETTING_TEXTS, AT(routing_tables), NULL, NULL,
     .initial_help = "the global one alone",
     .help = "tables that are asked in this order, the global one last"},
    {"filter", SETTING_TEXTS, AT(filters.names), NULL, NULL, .initial_help = "none",
     .help = "filters that judge clients and their mail, in this order"},
    {"logger", SETTING_TEXT, AT(logger), NULL, NULL, .initial_help = "core.logger",
     .help = "where this listener's log lines go"},
    {"max-message-size", SETTING_SIZE, AT(limits.message_bytes), "50m", "1..",
     .help = "larger messages are refused"},
    {"max-recipients", SETTING_COUNT, AT(limits.recipients), "1000", "1..",
     .help = "recipients of one message"},
    {"max-connections", SETTING_COUNT, AT(limits.connections), "10000", "1..",
     .help = "connections that are open at the same time"},
    {"max-connections-per-client", SETTING_COUNT, AT(limits.connections_per_client), "50", "1..",
     .help =
         "the same from one address; of IPv6 from one /64, and 4 times as many from its /56, 16 "
         "times from its /48"},
    {"max-overshoot", SETTING_COUNT, AT(limits.overshoot), "1000", "1..",
     .help = "commands of one session that limits of our own answer with 4xx (recipients beyond "
             "max-recipients, MAIL below spool-reserve), before the connection is closed"},
    {"max-errors", SETTING_COUNT, AT(limits.errors), "20", "1..",
     .help = "errors of the client before the connection is closed"},
    {"max-junk-commands", SETTING_COUNT, AT(limits.junk_commands), "100", "1..",
     .help =
         "commands that bring no mail forward (NOOP, RSET, VRFY), before the connection is closed"},
    {"command-timeout", SETTING_DURATION, AT(times.command_ms), "5m", "1s..",
     .help = "for the client's next command"},
    {"data-timeout", SETTING_DURATION, AT(times.data_ms), "5m", "1s..",
     .help = "for the next piece of content"},
    {"session-timeout", SETTING_DURATION, AT(times.session_ms), "1h", "1s..",
     .help = "for a whole session"},
    {"greet-delay", SETTING_DURATION, AT(times.greet_delay_ms), "0s", NULL,
     .help = "before the greeting; clients that talk first are rejected"},
    {"bare-newline", SETTING_CHOICE, AT(bare_newline), "normalize", "normalize|reject",
     .help =
         "LF and CR that stand alone; normalize: in content LF becomes CRLF and CR a space, and a "
         "command may end in LF; reject: 550 5.5.2 at the end of data, 500 for a command"},
    {"bare-newline-exempt", SETTING_NETS, AT(bare_newline_exempt), NULL, NULL,
     .initial_help = "nobody", .help = "clients that bare-newline = reject spares"},
    {"etrn-from", SETTING_PHRASES, AT(etrn_from), NULL, NULL, .initial_help = "nobody",
     .type = &etrn_type,
     .help = "who may start which queues by ETRN; without domains and targets: all that the tables "
             "route"},
    {"split", SETTING_CHOICE, AT(split), "live", "live|defer",
     .help = "what a recipient gets that would go to a second target; live: the target's answer; "
             "defer: 452 4.5.3, as always where a relay has on-failure = tempfail"},
    {"relay-from", SETTING_CUSTOM_LIST, AT(relay_from), "127.0.0.0/8 ::1 authenticated", NULL,
     .type = &relay_from_type,
     .help = "who may reach, through a pattern that names no domain, a relay that does not itself "
             "judge the client"},
    {"routed-recipients", SETTING_CHOICE, AT(routed_recipients), "reject", "reject|pass",
     .help = "local parts with %, ! or @ on their way to a relay; reject: 553 5.1.3, unless the "
             "line matched that very address or the target took XCLIENT or PROXY"},
    {"early-input", SETTING_CHOICE, AT(early_input), "reject", "reject|accept",
     .help =
         "octets after EHLO, HELO, DATA, STARTTLS, XCLIENT or AUTH that came before the reply; "
         "reject: "
         "554 5.5.0, and the connection is closed; accept: those after STARTTLS and XCLIENT are "
         "thrown away"},
    {"tls", SETTING_CHOICE, AT(tls.mode), "none", "none|starttls|required|implicit",
     .help = "starttls: it is offered; required: no mail without it, which port 25 of the Internet "
             "must not ask for; implicit: the connection begins with it, as at port 465"},
    {"tls-certificate", SETTING_TEXTS, AT(tls.files.certificates), NULL, NULL,
     .initial_help = "none",
     .help =
         "files (PEM), each with a certificate and those that lead to its root; a client gets the "
         "first one that has the name that it asks for (SNI), or the first of all"},
    {"tls-key", SETTING_TEXTS, AT(tls.files.keys), NULL, NULL,
     .initial_help = "in the files of the certificates",
     .help = "files (PEM) with the keys, in the order of the certificates"},
    {"tls-client-ca", SETTING_TEXT, AT(tls.files.ca), NULL, NULL,
     .initial_help = "clients are not asked",
     .help =
         "a file (PEM) with authorities; clients are asked for a certificate, and one that these "
         "have signed is logged and told to filters; none is refused for want of one"},
    {"auth", SETTING_CUSTOM, AT(auth.how), "none", NULL, .type = &auth_type,
     .help = "how clients authenticate themselves; passthrough: at auth-target, in its own words; "
             "dovecot:PATH: by Dovecot, at that socket of its auth service"},
    {"auth-target", SETTING_TEXT, AT(auth.target), NULL, NULL,
     .initial_help = "the only relay that the tables lead to",
     .help = "the [relay] that AUTH is passed to, as it announces it; who has logged in there has "
             "that connection for its own: when it is lost, the client gets 421"},
    {"auth-plaintext", SETTING_FLAG, AT(auth.takes_plaintext), "no", NULL,
     .help =
         "mechanisms that show the password (PLAIN, LOGIN, XOAUTH2, OAUTHBEARER) also where the "
         "connection is not encrypted"},
    {"xclient-from", SETTING_NETS, AT(fronts.xclient), NULL, NULL, .initial_help = "nobody",
     .help = "who may say by XCLIENT who the client is: other mail servers and proxies"},
    {"xforward-from", SETTING_NETS, AT(fronts.xforward), NULL, NULL, .initial_help = "nobody",
     .help = "who may say by XFORWARD whose mail it is: mail servers whose filter we are; filters, "
             "log and targets learn it, rights and limits stay those of the client"},
    {"proxy-protocol-from", SETTING_NETS, AT(fronts.proxy_protocol), NULL, NULL,
     .initial_help = "nobody",
     .help =
         "balancers whose connections begin with a header of the PROXY protocol, v1 or v2, that "
         "says who the client is; without one they are closed"},
    {"limit-exempt", SETTING_NETS, AT(limits.exempt), NULL, NULL, .initial_help = "nobody",
     .help = "clients that the limits on connections spare"},
    {"resolve-timeout", SETTING_DURATION, AT(times.resolve_ms), "5s", NULL,
     .help = "how long the first RCPT waits for the client's name"},
    {"refuse", SETTING_TEXT, AT(refuse), NULL, NULL, .initial_help = "off",
     .wrong = wrong_reply_text, .help = "answer every connection 521 and this text"},
    {"resolve-names", SETTING_FLAG, AT(resolves_names), "yes", NULL,
     .help = "look up the names of clients, forward-confirmed"},
    {"announce", SETTING_TEXTS, AT(keywords.announce), NULL, keywords + 1,
     .initial_help = "what the targets announce",
     .help = "EHLO keywords that are announced whatever the targets can do"},
    {"hide", SETTING_TEXTS, AT(keywords.hide), NULL, keywords + 1, .initial_help = "none",
     .help = "EHLO keywords that are never announced"},
};

const struct setting_section smtpd_conf_section = {.kind = "smtpd",
                                                   .rows = rows,
                                                   .row_count = ARRAY_LENGTH(rows),
                                                   .conf_bytes = sizeof(struct smtpd_conf),
                                                   .is_named = true,
                                                   .name_offset = SETTING_AT(smtpd_conf, section),
                                                   .help = "a listener"};

int smtpd_conf_load(struct setting_reading *section)
{
    struct smtpd_conf *conf = section->conf;

    conf->tls.files.hears_secrets = conf->auth.how.by != SMTPD_AUTH_BY_NONE;
    return conf->tls.mode == SMTPD_TLS_NONE
               ? 0
               : tls_conf_load(&conf->tls.files, TLS_CONF_SERVER, conf->section, "tls-client-ca",
                               section);
}

uint32_t smtpd_conf_keywords(const struct setting_texts *names)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < names->count; i++)
        bits |= capability_keyword(names->at[i]);
    return bits;
}
