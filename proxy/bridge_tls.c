/* SPDX-License-Identifier: BSD-2-Clause */
/* The TLS handshake with a client: by STARTTLS, or before the greeting. */
#include "proxy/base/error.h"
#include "proxy/bridge.h"

#define HANDSHAKES_MAX 256 /* at once, of a listener in one process: each holds about 60 KiB */

static void count(struct bridge *b, int change)
{
    struct smtpd_handshakes *handshakes = &b->smtpd->handshakes;

    b->tls.is_running = change > 0;
    handshakes->count += (unsigned)change;
    handshakes->is_full = handshakes->count >= HANDSHAKES_MAX;
}

int bridge_tls_start(struct bridge *b)
{
    struct stream_tls_start start = {.with = b->smtpd->conf->tls.files.made};
    size_t dropped;

    assert(b->session.state == SESSION_SECURING && !b->tls.is_begun);
    int error = stream_start_tls(b->stream, &start, &dropped);
    b->tls.is_begun = true;
    b->tls.dropped += dropped;
    if (error == 0)
        count(b, 1);
    return error;
}

void bridge_tls_forget(struct bridge *b)
{
    if (b->tls.is_running)
        count(b, -1);
}

bool bridge_tls_secured(struct bridge *b, const struct tls_facts *facts)
{
    struct tls_facts *copy = tls_facts_copy(facts);

    bridge_tls_forget(b);
    if (copy == NULL)
        return false;
    bridge_log_tls(b, copy);
    bridge_auth_forget(b); /* RFC 3207 4.2: what was known of the client is not any more */
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_SECURED, .tls = copy});
    if (b->session.state == SESSION_NEW)
        bridge_client_greet(b);
    return true;
}
