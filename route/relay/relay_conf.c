/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of [relay "N"], and those of relays that no section declares. */
#include "route/relay/relay_conf.h"

#include "proxy/base/error.h"
#include "proxy/base/rendezvous.h"
#include "proxy/base/text.h"
#include "route/relay/relay_member.h"

#define REMEMBERED_MAX 1000000
#define LMTP_PORT      24

/* ---- addresses ---- */

static int parse_address(const struct cf_word *words, size_t word_count, struct arena *arena,
                         void *item_out, size_t *wrong_out)
{
    struct relay_address address = {.weight = 1};
    uint64_t weight = 1;
    (void)arena;
    *wrong_out = 0;
    if (endpoint_parse(words[0].text, &address.at) != 0)
        return ERR_SYNTAX;
    *wrong_out = 1;
    if (word_count > 1 &&
        (text_decimal(words[1].text, RENDEZVOUS_WEIGHT_MAX, &weight) != 0 || weight == 0))
        return ERR_SYNTAX;
    *wrong_out = 2;
    if (word_count > 2)
        return ERR_SYNTAX;
    address.weight = (uint32_t)weight;
    address.weight_column = word_count > 1 ? words[1].column : 0;
    memcpy(item_out, &address, sizeof address);
    return 0;
}

static void put_address(const void *item, struct buf *out)
{
    const struct relay_address *address = item;
    endpoint_put(&address->at, out);
    if (address->weight_column == 0)
        return;
    buf_byte(out, ' ');
    buf_decimal(out, address->weight);
}

static const struct setting_type address_type = {
    .expected = "IP, IP:PORT, [V6]:PORT, HOST:PORT or unix:/PATH, then maybe a weight of 1 to 1000",
    .item_bytes = sizeof(struct relay_address),
    .parse_words = parse_address,
    .put = put_address};

/* ---- remember ---- */

static int parse_remember(const struct cf_word *words, size_t word_count, struct arena *arena,
                          void *item_out, size_t *wrong_out)
{
    struct relay_remember remember;
    uint64_t count;
    (void)arena;
    *wrong_out = 0;
    if (text_duration_ms(words[0].text, &remember.accepted_ms) != 0)
        return ERR_SYNTAX;
    *wrong_out = 1;
    if (word_count < 2 || text_duration_ms(words[1].text, &remember.refused_ms) != 0)
        return ERR_SYNTAX;
    *wrong_out = 2;
    if (word_count < 3 || text_decimal(words[2].text, REMEMBERED_MAX, &count) != 0)
        return ERR_SYNTAX;
    *wrong_out = 3;
    if (word_count > 3)
        return ERR_SYNTAX;
    remember.count = (uint32_t)count;
    memcpy(item_out, &remember, sizeof remember);
    return 0;
}

static void put_remember(const void *item, struct buf *out)
{
    const struct relay_remember *remember = item;
    text_put_duration(out, remember->accepted_ms);
    buf_byte(out, ' ');
    text_put_duration(out, remember->refused_ms);
    buf_byte(out, ' ');
    buf_decimal(out, remember->count);
}

static const struct setting_type remember_type = {
    .expected = "two durations and a number of at most 1000000, as in 1d 1h 100000",
    .item_bytes = sizeof(struct relay_remember),
    .parse_words = parse_remember,
    .put = put_remember};

#define USER_MAX 255

static const char *wrong_user(struct bytes value)
{
    bool is_good = value.len <= USER_MAX;

    for (size_t i = 0; i < value.len; i++)
        is_good = is_good && value.at[i] >= ' ' && value.at[i] != 127;
    return is_good ? NULL : "at most 255 octets without control characters";
}

/* ---- rows ---- */

#define AT(member) SETTING_AT(relay_conf, member)

/* What the words of `identity` stand for, in their order. */
static const unsigned identity_kinds[] = {IDENTITY_KIND_AUTO,     IDENTITY_KIND_XCLIENT,
                                          IDENTITY_KIND_XFORWARD, IDENTITY_KIND_PROXY_V1,
                                          IDENTITY_KIND_PROXY_V2, IDENTITY_KIND_NONE};

static const struct setting rows[] = {
    {"name", SETTING_TEXT, AT(name), NULL, NULL, .initial_help = "the section's name",
     .help = "the host that is looked up when there is no address"},
    {"address", SETTING_PHRASES, AT(addresses), NULL, NULL, .initial_help = "name is looked up",
     .type = &address_type,
     .help = "where to connect; with balance = hash or round-robin a second word is its weight, 1 "
             "where there is none: its share of mailboxes or connections"},
    {"protocol", SETTING_CHOICE, AT(protocol), "smtp", "smtp|lmtp", .help = "what is spoken"},
    {"port", SETTING_COUNT, AT(port), "25", "1..65535", .initial_help = "25; with lmtp 24",
     .help = "the port of addresses that name none"},
    {"mx", SETTING_FLAG, AT(is_mx), "no", NULL,
     .help = "follow the MX records of name; a null MX: 556 5.1.10"},
    {"helo", SETTING_TEXT, AT(helo), NULL, NULL, .initial_help = "core.hostname",
     .wrong = setting_wrong_host, .help = "the name that EHLO gives"},
    {"identity", SETTING_CHOICES, AT(identity), "auto",
     "auto|xclient|xforward|proxy-v1|proxy-v2|none", .bits = identity_kinds,
     .help = "how the client's identity is handed on; auto: XCLIENT, else XFORWARD, as announced; "
             "several named are used together"},
    {"identity-failure", SETTING_CHOICE, AT(identity_failure), "defer", "defer|pass",
     .help =
         "a transaction whose identity could not be handed on; defer: 451; pass: it goes without"},
    {"xclient-address", SETTING_CHOICE, AT(xclient_address), "auto", "auto|prefixed|bare",
     .help = "how IPv6 addresses are written in XCLIENT and XFORWARD"},
    {"received", SETTING_CHOICE, AT(received), "auto", "auto|always|never",
     .help = "whether a Received field is added; auto: unless the target accepted XCLIENT or PROXY "
             "for this client"},
    {"on-failure", SETTING_CHOICE, AT(on_failure), "spool", "spool|tempfail",
     .help = "what becomes of mail while the target cannot be reached; spool: it is accepted and "
             "delivered later; tempfail: 451 4.4.1"},
    {"unverified", SETTING_CHOICE, AT(recipients.unverified), "accept", "accept|defer",
     .help = "recipients that come meanwhile, and that the target has neither accepted nor refused "
             "lately; defer: 451 4.4.1, so that an outage makes no bounces"},
    {"tls", SETTING_CHOICE, AT(tls.mode), "may", "none|may|encrypt|verify",
     .help =
         "may: where the target announces STARTTLS; if the handshake fails, in plain over another "
         "connection; encrypt: a target without counts as down; verify: so does one whose "
         "certificate is not that of name, or of the host in its address line"},
    {"tls-ca", SETTING_TEXT, AT(tls.files.ca), NULL, NULL, .initial_help = "the system's",
     .help = "a file (PEM) with the authorities that verify trusts"},
    {"tls-certificate", SETTING_TEXTS, AT(tls.files.certificates), NULL, NULL,
     .initial_help = "none",
     .help = "a file (PEM) with our certificate, for targets that ask for one"},
    {"tls-key", SETTING_TEXTS, AT(tls.files.keys), NULL, NULL,
     .initial_help = "in the certificate's file", .help = "a file (PEM) with its key"},
    {"auth-user", SETTING_TEXT, AT(auth.user), NULL, NULL, .initial_help = "none",
     .wrong = wrong_user,
     .help =
         "who we are to the target, which must take that: where it does not, or announces no "
         "mechanism that fits, it counts as down, and its mail waits. PLAIN, LOGIN and tokens are "
         "used under TLS alone. Where identity is xclient the target judges the client instead"},
    {"auth-password-file", SETTING_TEXT, AT(auth.password.path), NULL, NULL, .initial_help = "none",
     .help =
         "a file with the password alone in its one line, for SCRAM-SHA-256, PLAIN or LOGIN, the "
         "first of them that is announced; read anew when it changes, as certificates are"},
    {"auth-token-file", SETTING_TEXT, AT(auth.token.path), NULL, NULL, .initial_help = "none",
     .help = "likewise a file with a token, for OAUTHBEARER or XOAUTH2"},
    {"remember", SETTING_PHRASE, AT(recipients.remember), "1d 1h 100000", NULL,
     .type = &remember_type,
     .help = "for how long accepted and refused recipients are remembered, and how many"},
    {"retry", SETTING_DURATIONS, AT(retry.pauses), "5m 10m 20m 40m 1h", "1s..",
     .help = "the pauses between two tries of what waits; the last one repeats"},
    {"expire", SETTING_DURATION, AT(retry.expire_ms), "5d", "1s..",
     .help = "how long a message is tried before it goes back to its sender"},
    {"max-connections", SETTING_COUNT, AT(limits.max_connections), "40", "1..",
     .help =
         "connections to the target, for the whole host. The last eighth of them is for clients "
         "whose net (IPv4 /24, IPv6 /48) holds less than an eighth. While others wait for one, "
         "clients of one net keep a quarter of them, or an equal part where there are more than "
         "four nets, and a message that brings less than 64 KiB in 10 seconds gives its own up "
         "until it is whole"},
    {"idle-connections", SETTING_COUNT, AT(limits.idle_connections), "10", NULL,
     .help = "connections that are kept open for the next message"},
    {"balance", SETTING_CHOICE, AT(balance), "first", "first|round-robin|hash",
     .help = "which of several addresses is tried first; first: in the order in which they are "
             "written; round-robin: each in turn; hash: each mailbox has its own address, see "
             "MANY BACKENDS"},
    {"failover", SETTING_FLAG, AT(fails_over), NULL, NULL,
     .initial_help = "yes; with balance = hash: no",
     .help = "whether another address is tried where one is down; no: what belongs to it waits in "
             "the spool, or gets 451 4.4.1 with on-failure = tempfail"},
    {"idle-timeout", SETTING_DURATION, AT(times.idle_ms), "30s", NULL,
     .help = "how long an unused connection is kept"},
    {"max-transactions", SETTING_COUNT, AT(limits.max_transactions), "100", "1..",
     .help = "messages over one connection"},
    {"connect-timeout", SETTING_DURATION, AT(times.connect_ms), "10s", "1s..",
     .help = "for a connection to be made"},
    {"command-timeout", SETTING_DURATION, AT(times.command_ms), "1m", "1s..",
     .help = "for the reply to a command"},
    {"envelope-timeout", SETTING_DURATION, AT(times.envelope_ms), "2m", "1s..",
     .help = "from RCPT's arrival to its reply, all attempts together"},
    {"data-timeout", SETTING_DURATION, AT(times.data_ms), "3m", "1s..",
     .help = "while content is sent, for the target to take some"},
    {"final-timeout", SETTING_DURATION, AT(times.final_ms), "5m", "1s..",
     .help = "for the reply to the end of data; at least 10m for what was spooled"},
    {"chunking", SETTING_CHOICE, AT(chunking), "auto", "auto|no",
     .help = "whether content goes by BDAT where the target announces it"},
    {"health-interval", SETTING_DURATION, AT(times.health_interval_ms), "10s", "1s..",
     .help = "between probes of a target that counts as down"},
    {"filter", SETTING_TEXTS, AT(filters), NULL, NULL, .initial_help = "none",
     .help =
         "filters that judge, in this order and after the listener's, what goes to this target"},
};

const struct setting_section relay_conf_section = {
    .kind = "relay",
    .rows = rows,
    .row_count = ARRAY_LENGTH(rows),
    .conf_bytes = sizeof(struct relay_conf),
    .is_named = true,
    .name_offset = SETTING_AT(relay_conf, section),
    .help = "a target that is spoken to by SMTP or LMTP"};

#define RECIPIENTS_MAX 100 /* of one delivery: RFC 5321 4.5.3.1.8, what everybody takes */

/* When everything else is known. */
static void make_queue(struct relay_conf *conf)
{
    conf->queue = (struct target_queue){
        .retry_ms = conf->retry.pauses.at,
        .retry_count = conf->retry.pauses.count,
        .expire_ms = conf->retry.expire_ms,
        .connections_max = conf->limits.max_connections, /* of each address with balance = hash */
        .recipients_max = RECIPIENTS_MAX,
    };
}

static void check_identity(struct setting_reading *section, struct relay_conf *conf)
{
    const unsigned proxies = IDENTITY_KIND_PROXY_V1 | IDENTITY_KIND_PROXY_V2;
    const unsigned loners = IDENTITY_KIND_AUTO | IDENTITY_KIND_NONE;
    struct cf_problems *problems = section->problems;
    struct cf_place place = section->place_of(section, "identity", 0);
    bool is_several = (conf->identity & (conf->identity - 1)) != 0;
    if (conf->is_mx && !section->is_given(section, "identity"))
        conf->identity = IDENTITY_KIND_NONE;
    else if (conf->is_mx && conf->identity != IDENTITY_KIND_NONE)
        cf_unexpected(problems, place, "an identity with mx = yes", "none");
    if (is_several && (conf->identity & loners) != 0)
        cf_unexpected(problems, place, "auto or none beside another identity", "it to stand alone");
    if ((conf->identity & proxies) == proxies)
        cf_unexpected(problems, place, "proxy-v1 and proxy-v2", "one of them");
}

static void check_auth(struct setting_reading *section, struct relay_conf *conf)
{
    bool has_password = conf->auth.password.path.len != 0;
    bool has_token = conf->auth.token.path.len != 0;
    const char *key = has_token ? "auth-token-file" : "auth-password-file";

    if (has_password && has_token)
        cf_unexpected(section->problems, section->place_of(section, key, 0),
                      "auth-token-file beside auth-password-file", "one of them");
    else if (conf->auth.user.len != 0 && !has_password && !has_token)
        cf_unexpected(section->problems, section->place_of(section, "auth-user", 0),
                      "auth-user alone", "auth-password-file or auth-token-file beside it");
    else if (conf->auth.user.len == 0 && (has_password || has_token))
        cf_unexpected(section->problems, section->place_of(section, key, 0),
                      "a file without auth-user", "auth-user beside it");
}

static void check_balance(struct setting_reading *section, struct relay_conf *conf)
{
    struct cf_problems *problems = section->problems;
    if (!section->is_given(section, "failover"))
        conf->fails_over = conf->balance != RELAY_BALANCE_HASH;
    if (!conf->fails_over && conf->is_mx && conf->addresses.count == 0)
        cf_unexpected(problems, section->place_of(section, "failover", 0),
                      "failover = no with mx = yes", "yes");
    if (conf->balance == RELAY_BALANCE_HASH && conf->addresses.count == 0)
        cf_unexpected(problems, section->place_of(section, "balance", 0), "hash without an address",
                      "an address for each backend");
    for (size_t i = 0; i < conf->addresses.count; i++) {
        struct cf_place place = section->place_of(section, "address", i);
        if (conf->balance != RELAY_BALANCE_FIRST || conf->addresses.at[i].weight_column == 0)
            continue;
        place.column = conf->addresses.at[i].weight_column;
        cf_unexpected(problems, place, "a weight with balance = first",
                      "none, or balance = hash or round-robin");
    }
}

void relay_conf_finish(struct setting_reading *section)
{
    struct relay_conf *conf = section->conf;
    struct cf_problems *problems = section->problems;
    if (conf->name.len == 0)
        conf->name = conf->section;
    bool is_own_name = bytes_equal(conf->name, conf->section);
    if (is_own_name && !section->is_given(section, "address") && !text_is_host_name(conf->name))
        cf_fault(problems, section->place,
                 cf_phrase(problems, "[relay ", conf->section,
                           "] needs an address, for its name is no host's"));
    else if (!is_own_name && !text_is_host_name(conf->name))
        cf_error(problems, section->place_of(section, "name", 0), conf->name,
                 bytes_of("a host name"), bytes_make(NULL, 0));
    if (conf->helo.len == 0)
        conf->helo = section->hostname;
    if (conf->protocol == RELAY_LMTP && !section->is_given(section, "port"))
        conf->port = LMTP_PORT;
    if (conf->tls.mode == RELAY_TLS_VERIFY && !text_is_host_name(conf->name))
        cf_unexpected(problems, section->place_of(section, "tls", 0),
                      "verify where name is no host's", "a name that the certificate has");
    check_identity(section, conf);
    check_auth(section, conf);
    check_balance(section, conf);
    make_queue(conf);
    if (conf->balance == RELAY_BALANCE_HASH)
        relay_member_make_all(section, conf);
}

int relay_conf_implicit(struct bytes host, struct bytes helo, struct arena *arena,
                        struct relay_conf *conf_out)
{
    struct relay_conf conf = {.section = host};
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        int error = setting_default(&rows[i], &conf, arena);
        if (error != 0)
            return error;
    }
    conf.name = host;
    conf.helo = helo;
    conf.identity = IDENTITY_KIND_NONE;
    conf.is_implicit = true;
    conf.fails_over = true;
    make_queue(&conf);
    *conf_out = conf;
    return 0;
}
