/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a client's session waits for what. */
#include "proxy/bridge.h"
#include "proxy/services.h"

#define TLS_MS 30000 /* for a handshake */

/* Others wait for the end of a process that retires, so an idle client does not keep it. */
static uint64_t command_ms(const struct bridge *b)
{
    const struct smtpd *d = b->smtpd;
    uint64_t command_ms = d->conf->times.command_ms;
    uint64_t shutdown_ms = d->services->config->core.shutdown_ms;

    return d->is_stopping && shutdown_ms < command_ms ? shutdown_ms : command_ms;
}

uint64_t bridge_wait_ms(const struct bridge *b)
{
    const struct smtpd_times *times = &b->smtpd->conf->times;

    switch (session_wait(&b->session)) {
    case SESSION_WAIT_GREETING:
        return times->greet_delay_ms;
    case SESSION_WAIT_TLS:
        return command_ms(b) < TLS_MS ? command_ms(b) : TLS_MS;
    case SESSION_WAIT_COMMAND:
        return command_ms(b);
    case SESSION_WAIT_CONTENT:
        return times->data_ms;
    case SESSION_WAIT_CLOSE:
        return BRIDGE_CLOSE_MS;
    case SESSION_WAIT_FINAL: /* has a due time of its own */
    case SESSION_WAIT_TARGETS:
        break;
    }
    return times->session_ms; /* targets have deadlines of their own */
}
