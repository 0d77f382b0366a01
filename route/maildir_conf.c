/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of [maildir "N"]. */
#include "route/maildir_conf.h"

#include <stdbool.h>

static bool starts_with(struct bytes text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.at, prefix, len) == 0;
}

/* "${" begins a variable; any other "$" is an ordinary character. */
static const char *wrong_path(struct bytes value)
{
    if (value.at[0] != '/')
        return "an absolute path";
    for (size_t i = 0; i + 1 < value.len; i++) {
        struct bytes rest = bytes_skip(value, i);
        if (starts_with(rest, "${") && !starts_with(rest, "${RCPT_LOCAL}") &&
            !starts_with(rest, "${RCPT_DOMAIN}"))
            return "a path with no other variables than ${RCPT_LOCAL} and ${RCPT_DOMAIN}";
    }
    return NULL;
}

/* Only mail whose route was changed to lead to a Maildir waits for one in the queue. */
static const uint64_t retry_ms[] = {300000, 600000, 1200000, 2400000, 3600000};
const struct target_queue maildir_conf_queue = {
    .retry_ms = retry_ms,
    .retry_count = ARRAY_LENGTH(retry_ms),
    .expire_ms = 5ULL * 24 * 3600 * 1000,
    .connections_max = 4,
    .recipients_max = 100,
};

void maildir_conf_finish(struct setting_reading *section)
{
    struct maildir_conf *conf = section->conf;

    conf->hostname = section->hostname;
    if (!section->is_given(section, "path"))
        cf_fault(section->problems, section->place,
                 cf_phrase(section->problems, "[maildir ", conf->section, "] needs a path"));
}

static const struct setting rows[] = {
    {"path", SETTING_TEXT, SETTING_AT(maildir_conf, path), NULL, NULL,
     .initial_help = "must be given", .wrong = wrong_path,
     .help = "the Maildir; ${RCPT_LOCAL} and ${RCPT_DOMAIN} stand for the recipient's parts, in "
             "lower case unless the table is case-sensitive; missing directories are made"},
    {"filter", SETTING_TEXTS, SETTING_AT(maildir_conf, filters), NULL, NULL, .initial_help = "none",
     .help =
         "filters that judge, in this order and after the listener's, what goes to this target"},
};

const struct setting_section maildir_conf_section = {
    .kind = "maildir",
    .rows = rows,
    .row_count = ARRAY_LENGTH(rows),
    .conf_bytes = sizeof(struct maildir_conf),
    .is_named = true,
    .name_offset = SETTING_AT(maildir_conf, section),
    .help = "a target that delivers into a Maildir"};
