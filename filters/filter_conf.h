/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings that every kind of filter has. */
#ifndef POSTERN_FILTER_CONF_H
#define POSTERN_FILTER_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/setting.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/transaction.h"

enum filter_exempt_kind { FILTER_EXEMPT_NET, FILTER_EXEMPT_DOMAIN, FILTER_EXEMPT_AUTHENTICATED };

/* Whom a filter spares: exempt = CIDR, @DOMAIN of the sender, or authenticated. */
struct filter_exempt {
    enum filter_exempt_kind kind;
    struct netmask net;
    struct bytes domain; /* without "@" */
};

struct filter_exempts {
    struct filter_exempt *at;
    size_t count;
};

enum filter_on_error { FILTER_ON_ERROR_DEFER, FILTER_ON_ERROR_PASS };

/* First member of the settings of every kind. */
struct filter_common {
    struct bytes section; /* N */
    struct filter_exempts exempts;
    bool shadow; /* judges and logs, and does nothing */
    enum filter_on_error on_error;
};

extern const struct setting_type filter_exempt_type;

/* The rows of `struct CONF_TYPE`, whose first member is `struct filter_common common`. */
#define FILTER_ROWS(conf_type)                                                                     \
    {"exempt",                                                                                     \
     SETTING_CUSTOM_LIST,                                                                          \
     SETTING_AT(conf_type, common.exempts),                                                        \
     NULL,                                                                                         \
     NULL,                                                                                         \
     .initial_help = "nobody",                                                                     \
     .type = &filter_exempt_type,                                                                  \
     .help = "whom the filter spares: networks of clients, @DOMAIN of the sender, authenticated"}, \
    {                                                                                              \
        "shadow", SETTING_FLAG, SETTING_AT(conf_type, common.shadow), "no", NULL,                  \
            .help = "judge, log and do nothing"                                                    \
    }
#define FILTER_ON_ERROR_ROW(conf_type)                                                             \
    {                                                                                              \
        "on-error", SETTING_CHOICE, SETTING_AT(conf_type, common.on_error), "defer", "defer|pass", \
            .help = "what the client gets while the filter cannot judge: 451 4.7.1, or nothing"    \
    }

/* Is the client, or the sender, one of these? `sender` NULL: there is none yet. */
bool filter_exempts(const struct filter_exempts *exempts, const struct identity *client,
                    const struct address *sender);
bool filter_spares(const struct filter_common *common, const struct identity *client,
                   const struct address *sender);
/* May a client be spared for what it says later: its sender, a login? */
bool filter_spares_late(const struct filter_common *common);

#endif
