/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of [spf "N"]. */
#include "filters/spf/spf_conf.h"

#define AT(member) SETTING_AT(spf_conf, member)

#define ACTION_ROW(key, result, initial, text)                                                     \
    {                                                                                              \
        key, SETTING_CHOICE, AT(actions[result]), initial, "reject|defer|mark|pass", .help = text  \
    }

static const unsigned fields[] = {SPF_FIELD_RECEIVED, SPF_FIELD_RESULTS, SPF_FIELD_NONE};

static const struct setting rows[] = {
    ACTION_ROW("fail", SPF_FAIL, "reject",
               "the domain forbids mail from the client. reject: 550 5.7.23; defer: 451 4.7.23; "
               "mark: a header field says so; pass: it is let through"),
    ACTION_ROW("softfail", SPF_SOFTFAIL, "mark", "the domain does not expect mail from the client"),
    ACTION_ROW("neutral", SPF_NEUTRAL, "mark", "the domain says nothing about the client"),
    ACTION_ROW("none", SPF_NONE, "mark", "there is no policy, or no domain that could have one"),
    ACTION_ROW(
        "permerror", SPF_PERMERROR, "mark",
        "the policy has an error, or goes beyond the limits of RFC 7208. reject: 550 5.7.24"),
    ACTION_ROW("temperror", SPF_TEMPERROR, "defer",
               "DNS does not answer, or not in time. defer: 451 4.7.24"),
    {"check", SETTING_CHOICE, AT(check), "mail", "mail|helo|both",
     .help = "whose policy is asked. mail: that of MAIL FROM, or of HELO for the null sender; with "
             "both the worse result counts"},
    {"header", SETTING_CHOICES, AT(header), "received-spf",
     "received-spf|authentication-results|none", .bits = fields,
     .help = "the header fields that a mark and a pass add"},
    {"authserv-id", SETTING_TEXT, AT(authserv_id), NULL, NULL, .initial_help = "core.hostname",
     .wrong = setting_wrong_host, .help = "who we are in Authentication-Results"},
    {"explain", SETTING_FLAG, AT(explain), "yes", NULL,
     .help = "ask for the domain's explanation of a failure (exp=), and tell it to the client as "
             "the domain's own words"},
    {"timeout", SETTING_DURATION, AT(timeout_ms), "20s", "1s..5m",
     .help = "for one check, all questions to DNS together; then it is a temperror"},
    FILTER_ROWS(spf_conf),
    FILTER_ON_ERROR_ROW(spf_conf),
};

const struct setting_section spf_conf_section = {
    .kind = "spf",
    .rows = rows,
    .row_count = ARRAY_LENGTH(rows),
    .conf_bytes = sizeof(struct spf_conf),
    .is_named = true,
    .name_offset = AT(common.section),
    .help = "a filter that checks whether the sender's domain permits the client (RFC 7208)",
};

void spf_conf_finish(struct setting_reading *section)
{
    struct spf_conf *conf = section->conf;

    conf->hostname = section->hostname;
    conf->actions[SPF_PASS] = SPF_ACTION_MARK;
    if (conf->authserv_id.len == 0)
        conf->authserv_id = conf->hostname;
    if ((conf->header & SPF_FIELD_NONE) != 0 && conf->header != SPF_FIELD_NONE)
        cf_unexpected(section->problems, section->place_of(section, "header", 0),
                      "none beside other fields", "none alone, or fields");
}
