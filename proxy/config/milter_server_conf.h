/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of [milter-server "N"], which postern-milter serves. */
#ifndef POSTERN_MILTER_SERVER_CONF_H
#define POSTERN_MILTER_SERVER_CONF_H

#include "filters/filter_kind.h"
#include "proxy/base/bytes.h"
#include "proxy/base/setting.h"

struct milter_server_conf {
    struct bytes section;         /* N */
    struct setting_texts listen;  /* inet:PORT@HOST, unix:PATH */
    struct setting_texts filters; /* as written */
    struct filter_choices chosen;
    uint32_t socket_mode; /* of unix sockets */
};

extern const struct setting_section milter_server_section;

#endif
