/* SPDX-License-Identifier: BSD-2-Clause */
/* The configurations of scenarios: the seed chooses one, and it is read once. */
#include <stdio.h>

#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define VARIANTS 512

static struct config *configs[VARIANTS];

static bool has_boxes(unsigned variant)
{
    return (variant & 64) == 0;
}

static bool has_second(unsigned variant)
{
    return (variant & 128) != 0;
}

static bool is_impatient(unsigned variant)
{
    return (variant & 256) != 0;
}

static struct config *config_of(unsigned variant)
{
    const char *expire = is_impatient(variant) ? "expire = 4h\n" : "";
    char text[2000];

    snprintf(text, sizeof(text),
             "copy-memory = %s\npostmaster = postmaster@a.test\nshutdown-timeout = 20s\n"
             "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\nsplit = %s\n"
             "[relay \"a\"]\naddress = 198.51.100.1:25\n%s"
             "on-failure = %s\nretry = 1m 5m 20m\nunverified = %s\nreceived = %s\n%s"
             "%s%s"
             "[maildir \"box\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
             "[maildir \"shelf\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
             "[route]\n@a.test a\n@client.test a\n%s%s",
             variant & 1 ? "2m" : "64k", variant & 2 ? "defer" : "live",
             variant & 4 ? "address = 198.51.100.1:26\n" : "",
             (variant & 24) == 24 ? "tempfail" : "spool", variant & 8 ? "defer" : "accept",
             variant & 32 ? "never" : "auto", expire,
             has_second(variant) ? "[relay \"b\"]\naddress = 198.51.100.2:25\nretry = 2m 30m\n"
                                   "max-connections = 1\n"
                                 : "",
             has_second(variant) ? expire : "", has_second(variant) ? "@b.test b\n" : "",
             has_boxes(variant) ? "@box.test box\n@list.test a, box\n@shelf.test shelf\n" : "");
    return stage_config(text);
}

void scenario_forget_configs(void)
{
    for (unsigned i = 0; i < VARIANTS; i++)
        if (configs[i] != NULL)
            config_free(&configs[i]);
}

void scenario_configure(struct scenario *s)
{
    unsigned variant = (unsigned)scenario_below(s, VARIANTS);

    if (configs[variant] == NULL)
        configs[variant] = config_of(variant);
    if (configs[variant] == NULL)
        sim_fault("a configuration has errors");
    s->config = configs[variant];
    s->plan.has_boxes = has_boxes(variant);
    s->plan.is_impatient = is_impatient(variant);
    s->plan.expire_ms = UINT64_C(3600000) * (is_impatient(variant) ? 4 : 5 * 24);
    s->targets.count = has_second(variant) ? 2 : 1;
}
