/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a client's recipients go. */
#include "proxy/bridge.h"

void bridge_resolve(struct bridge *b, const struct recipient *rcpt, struct routed *routed_out)
{
    const struct smtpd_conf *conf = b->smtpd->conf;
    struct route_client client = {
        .may_relay = smtpd_may_relay(conf, &b->session.client),
        .rejects_routed = conf->routed_recipients == SMTPD_ROUTED_REJECT,
    };

    route_resolve(b->smtpd->routes, &rcpt->original, &client, &b->session.mail, routed_out);
}
