/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a client's recipients go. */
#include "proxy/bridge.h"

void bridge_resolve(struct bridge *b, const struct recipient *rcpt, struct routed *routed_out)
{
    const struct smtpd_conf *conf = b->smtpd->conf;
    struct route_client client = {
        .may_relay = setting_nets_hold(&conf->relay_from, &b->session.client.client),
        .rejects_routed = conf->routed_recipients == SMTPD_ROUTED_REJECT,
    };

    route_resolve(b->smtpd->routes, &rcpt->original, &client, &b->session.mail, routed_out);
}
