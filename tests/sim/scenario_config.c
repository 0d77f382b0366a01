/* SPDX-License-Identifier: BSD-2-Clause */
/* The configurations of scenarios: the seed chooses one, and it is read once. */
#include <stdio.h>

#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define VARIANTS 1024

static struct config *configs[VARIANTS];

/* What may be chosen, each as a bit. */
enum choice {
    ROOMY = 1,
    SPLITS_LATER = 2,
    TWO_ADDRESSES = 4,
    UNVERIFIED_WAITS = 8,
    MAYBE_TEMPFAIL = 16, /* with the one before */
    NEVER_RECEIVED = 32,
    NO_BOXES = 64,
    SECOND = 128,
    IMPATIENT = 256,
    LMTP = 512,
    SECOND_LMTP = 1024,
    GROUP = 2048,
    FAILS_OVER = 4096,
    ENCRYPTS = 8192,
    LOGS_IN = 16384,
    SECOND_LOGS_IN = 32768
};

/* Any two of the choices meet in some variants, and any three. */
static unsigned choices_of(unsigned variant)
{
    return variant * 0x9e3779b1U >> 16;
}

static bool is_strict(unsigned choices)
{
    return (choices & UNVERIFIED_WAITS) && (choices & MAYBE_TEMPFAIL);
}

static void put_login(char *text, size_t size, int target, bool logs_in)
{
    text[0] = '\0';
    if (logs_in)
        snprintf(text, size, "auth-user = relay-%c\nauth-password-file = %s\n", 'a' + target,
                 secret_path(target));
}

static void put_second(char *text, size_t size, unsigned choices)
{
    char login[100];

    put_login(login, sizeof(login), 1, (choices & SECOND_LOGS_IN) != 0);
    snprintf(text, size,
             "[relay \"b\"]\naddress = 198.51.100.2:25\n%sprotocol = %s\nretry = 2m 30m\n"
             "max-connections = 1\n%s%s",
             choices & GROUP ? "address = 198.51.100.3:25 2\nbalance = hash\n" : "",
             choices & SECOND_LMTP ? "lmtp" : "smtp",
             (choices & GROUP) && (choices & FAILS_OVER) ? "failover = yes\n" : "", login);
}

static struct config *config_of(unsigned choices)
{
    const char *expire = choices & IMPATIENT ? "expire = 4h\n" : "";
    char second[400] = "", login[100], text[2000];
    struct config *config;

    put_login(login, sizeof(login), 0, (choices & LOGS_IN) != 0);
    if (choices & SECOND)
        put_second(second, sizeof(second), choices);
    snprintf(text, sizeof(text),
             "copy-memory = %s\npostmaster = postmaster@a.test\nshutdown-timeout = 20s\n"
             "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\nsplit = %s\n"
             "[relay \"a\"]\naddress = 198.51.100.1:25\n%sprotocol = %s\n%s%s"
             "on-failure = %s\nretry = 1m 5m 20m\nunverified = %s\nreceived = %s\n%s"
             "%s%s"
             "[maildir \"box\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
             "[maildir \"shelf\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
             "[route]\n@a.test a\n@client.test a\n%s%s",
             choices & ROOMY ? "2m" : "64k", choices & SPLITS_LATER ? "defer" : "live",
             choices & TWO_ADDRESSES ? "address = 198.51.100.1:26\n" : "",
             choices & LMTP ? "lmtp" : "smtp", choices & ENCRYPTS ? "tls = encrypt\n" : "", login,
             is_strict(choices) ? "tempfail" : "spool",
             choices & UNVERIFIED_WAITS ? "defer" : "accept",
             choices & NEVER_RECEIVED ? "never" : "auto", expire, second,
             choices & SECOND ? expire : "", choices & SECOND ? "@b.test b\n" : "",
             choices & NO_BOXES ? "" : "@box.test box\n@list.test a, box\n@shelf.test shelf\n");
    config = stage_config(text);
    if (config != NULL && config_load_secrets(config) != 0)
        sim_fault("a password cannot be read");
    return config;
}

void scenario_forget_configs(void)
{
    for (unsigned i = 0; i < VARIANTS; i++)
        if (configs[i] != NULL)
            config_free(&configs[i]);
}

void scenario_configure(struct scenario *s)
{
    unsigned variant = (unsigned)scenario_below(s, VARIANTS), choices = choices_of(variant);
    bool is_impatient = (choices & IMPATIENT) != 0;

    if (configs[variant] == NULL)
        configs[variant] = config_of(choices);
    if (configs[variant] == NULL)
        sim_fault("a configuration has errors");
    s->config = configs[variant];
    s->plan.has_boxes = (choices & NO_BOXES) == 0;
    s->plan.is_impatient = is_impatient;
    s->plan.expire_ms = UINT64_C(3600000) * (is_impatient ? 4 : 5 * 24);
    s->targets.count = choices & SECOND ? 2 : 1;
    s->targets.is_strict = is_strict(choices);
    s->targets.is_lmtp[0] = (choices & LMTP) != 0;
    s->targets.is_lmtp[1] = (choices & SECOND_LMTP) != 0;
    s->targets.logins.at[0] = (choices & LOGS_IN) != 0;
    s->targets.logins.at[1] = (choices & SECOND_LOGS_IN) != 0;
    s->targets.encrypts = (choices & ENCRYPTS) != 0;
    s->targets.has_group = (choices & GROUP) != 0;
    s->targets.fails_over = (choices & FAILS_OVER) != 0;
}
