/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of [core], [syslog] and [logfile "N"]. */
#include "proxy/config/config_core.h"

#include <syslog.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"

static const char *wrong_path(struct bytes value)
{
    return value.at[0] == '/' ? NULL : "an absolute path";
}

static const char *wrong_socket(struct bytes value)
{
    bool is_fine = value.at[0] == '/' && value.len <= SETTING_LISTEN_PATH_MAX;
    return is_fine ? NULL : "an absolute path of at most 99 octets";
}

/* Its sockets have longer names, and while they are made still longer ones; the kernel takes 107.
 */
static const char *wrong_spool(struct bytes value)
{
    return value.at[0] == '/' && value.len <= 91 ? NULL : "an absolute path of at most 91 octets";
}

/* A mailbox, or a local name that the tables know. */
static const char *wrong_mailbox(struct bytes value)
{
    size_t at = bytes_find(value, '@');
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] <= ' ' || value.at[i] >= 0x7F)
            return "an address, or a local name";
    bool is_whole = at > 0 && (at == value.len || text_is_host_name(bytes_skip(value, at + 1)));
    return is_whole ? NULL : "an address, or a local name";
}

static int parse_duration_or_off(struct bytes word, struct arena *arena, void *item_out)
{
    uint64_t duration_ms = 0;
    (void)arena;
    if (!bytes_is(word, "off") && (text_duration_ms(word, &duration_ms) != 0 || duration_ms == 0))
        return ERR_SYNTAX;
    memcpy(item_out, &duration_ms, sizeof duration_ms);
    return 0;
}

static void put_duration_or_off(const void *item, struct buf *out)
{
    uint64_t duration_ms;
    memcpy(&duration_ms, item, sizeof duration_ms);
    if (duration_ms == 0)
        buf_text(out, "off");
    else
        text_put_duration(out, duration_ms);
}

static const struct setting_type duration_or_off = {.expected = "a duration (4h), or off",
                                                    .item_bytes = sizeof(uint64_t),
                                                    .parse = parse_duration_or_off,
                                                    .put = put_duration_or_off};

#define AT(member) SETTING_AT(core_conf, member)

static const struct setting core_rows[] = {
    {"hostname", SETTING_TEXT, AT(hostname), NULL, NULL,
     .initial_help = "the fully qualified name of this host", .wrong = setting_wrong_host,
     .help = "our own name"},
    {"logger", SETTING_TEXTS, AT(loggers), "stderr", NULL,
     .help = "where log lines go: stderr, syslog, journal, or the name of a [logfile]"},
    {"log-format", SETTING_CHOICE, AT(log_format), "text", "text|json",
     .help = "one event a line, as key=value or as a JSON object"},
    {"user-id", SETTING_TEXT, AT(user_id), NULL, NULL,
     .initial_help = "postern when started as root",
     .help = "the account to run as once the ports are open; root only when it stands here"},
    {"group-id", SETTING_TEXT, AT(group_id), NULL, NULL, .initial_help = "the account's own group",
     .help = "the group to run as"},
    {"pid-file", SETTING_TEXT, AT(pid_file), NULL, NULL, .initial_help = "none",
     .wrong = wrong_path, .help = "where the process id is written"},
    {"spool-directory", SETTING_TEXT, AT(spool_directory), "/var/spool/postern", NULL,
     .wrong = wrong_spool,
     .help =
         "where messages wait whose target is down, and where copies of large messages go while "
         "they are under way; it must belong to user-id, and nobody else may write to it"},
    {"workers", SETTING_COUNT, AT(workers), NULL, "..64", .initial_help = "one for each core",
     .help = "processes that serve clients; 0: one process does everything, for debugging, "
             "and reads configuration, certificates and credentials only once"},
    {"control-socket", SETTING_TEXT, AT(control_socket), NULL, NULL,
     .initial_help = "control in the spool directory", .wrong = wrong_socket,
     .help = "where posternctl(8) finds the server"},
    {"resolver", SETTING_CUSTOM_LIST, AT(resolvers), NULL, NULL,
     .initial_help = "those of /etc/resolv.conf", .type = &setting_address,
     .help = "the DNS servers to ask; when resolv.conf has changed, those that it names now"},
    {"shutdown-timeout", SETTING_DURATION, AT(shutdown_ms), "30s", NULL,
     .help = "how long running transactions may take to end"},
    {"max-memory", SETTING_SIZE, AT(max_memory_bytes), NULL, "64k..",
     .initial_help = "a quarter of the memory",
     .help =
         "for messages in flight; beyond it their copies go to temporary files, and an envelope "
         "of more than 16k gets 452 4.5.3 for further recipients, as it does where those of a "
         "client's net (IPv4 /24, IPv6 /48) have a quarter of this"},
    {"copy-memory", SETTING_SIZE, AT(copy_memory_bytes), "2m", "64k..",
     .help = "of one message, before it goes to a temporary file; where it may not be spooled, or "
             "the file cannot be written, its client is read as fast as its target reads"},
    {"max-copies", SETTING_SIZE, AT(max_copies_bytes), "4g", NULL,
     .help =
         "of all these files, each worker with its share; beyond it one message after the other "
         "may finish, and what finds no room for five seconds, or does not grow by 64 KiB in "
         "these while others find none, gets 452 4.3.1. A client's net (IPv4 /24, IPv6 /48) has "
         "a quarter of it, and of max-memory, while others find no room"},
    {"spool-reserve", SETTING_SIZE, AT(spool_reserve_bytes), NULL, NULL,
     .initial_help = "the smaller of 1g and 5 % of the file system",
     .help = "free space in the spool directory below which MAIL gets 452 4.3.1; messages whose "
             "target is down may use it"},
    {"postmaster", SETTING_TEXT, AT(postmaster), "postmaster", NULL, .wrong = wrong_mailbox,
     .help = "who gets bounces that cannot be delivered"},
    {"bounce-to", SETTING_CHOICE, AT(bounce_to), "sender", "sender|postmaster|both|none",
     .help = "who is told that a message could not be delivered; none: it is held and logged"},
    {"bounce-relay", SETTING_TEXT, AT(bounce_relay), NULL, NULL,
     .initial_help = "the relay that the recipient was routed to",
     .help =
         "the relay that bounces and notices are given to, past all tables. Recipients of a "
         "Maildir have none: their reports, which DSN promises, go to the relay that the tables "
         "lead the sender to, and if there is none, to the postmaster"},
    {"delay-warning", SETTING_CUSTOM, AT(delay_warning_ms), "off", NULL, .type = &duration_or_off,
     .help = "how long a message waits before its sender is told of the delay"},
    {"quarantine-expire", SETTING_DURATION, AT(quarantine_expire_ms), "30d", NULL,
     .help = "how long a message that a filter has quarantined waits for an operator before it is "
             "removed; nobody is told. What operators hold does not expire"},
};

#undef AT

static const struct setting syslog_rows[] = {
    {"ident", SETTING_TEXT, SETTING_AT(syslog_conf, ident), "postern", NULL,
     .help = "the name in front of each line"},
    {"facility", SETTING_TEXT, SETTING_AT(syslog_conf, facility), "mail",
     "auth|authpriv|cron|daemon|ftp|kern|lpr|mail|news|syslog|user|uucp|local0|local1|local2|"
     "local3|local4|local5|local6|local7",
     .help = "the facility of syslog(3)"},
};

static const struct setting logfile_rows[] = {
    {"file", SETTING_TEXT, SETTING_AT(logfile_conf, file), NULL, NULL,
     .initial_help = "must be given", .wrong = wrong_path,
     .help = "the file, a pattern of strftime(3)"},
};

const struct setting_section config_core_section = {.kind = "core",
                                                    .rows = core_rows,
                                                    .row_count = ARRAY_LENGTH(core_rows),
                                                    .conf_bytes = sizeof(struct core_conf),
                                                    .help = "what holds for the whole server"};

const struct setting_section config_core_syslog = {.kind = "syslog",
                                                   .rows = syslog_rows,
                                                   .row_count = ARRAY_LENGTH(syslog_rows),
                                                   .conf_bytes = sizeof(struct syslog_conf),
                                                   .help = "how the logger syslog writes"};

const struct setting_section config_core_logfile = {.kind = "logfile",
                                                    .rows = logfile_rows,
                                                    .row_count = ARRAY_LENGTH(logfile_rows),
                                                    .conf_bytes = sizeof(struct logfile_conf),
                                                    .is_named = true,
                                                    .name_offset =
                                                        SETTING_AT(logfile_conf, section),
                                                    .help = "a file that log lines go to"};

int config_core_facility(struct bytes name)
{
    static const struct {
        const char *name;
        int number;
    } facilities[] = {
        {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},
        {"daemon", LOG_DAEMON}, {"ftp", LOG_FTP},           {"kern", LOG_KERN},
        {"lpr", LOG_LPR},       {"mail", LOG_MAIL},         {"news", LOG_NEWS},
        {"syslog", LOG_SYSLOG}, {"user", LOG_USER},         {"uucp", LOG_UUCP},
        {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2},
        {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},     {"local5", LOG_LOCAL5},
        {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(facilities); i++)
        if (bytes_is(name, facilities[i].name))
            return facilities[i].number;
    return LOG_MAIL;
}
