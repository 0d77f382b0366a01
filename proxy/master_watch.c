/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates and keys: when they change, the configuration is read anew. They are looked at again
 * and again, since what is replaced by way of a symbolic link tells nobody. */
#include "proxy/master_private.h"

#define LOOK_MS 2000

uint64_t master_watch_due_ms(const struct master *m)
{
    bool has_files = m->serving != NULL && m->serving->config->secrets_state != 0;

    return has_files && !m->is_stopping ? m->watch.due_ms : UINT64_MAX;
}

bool master_watch_looks_anew(struct master *m, uint64_t now_ms)
{
    struct master_watch *watch = &m->watch;

    if (master_watch_due_ms(m) > now_ms)
        return false;
    watch->due_ms = now_ms + LOOK_MS;
    config_turn_tickets(m->serving->config);
    uint64_t state = config_secrets_state(m->serving->config);
    bool is_new = state != m->serving->config->secrets_state && state != watch->tried;
    bool is_steady = state == watch->seen; /* else a pair may be half written */
    watch->seen = state;
    if (!is_new || !is_steady)
        return false;
    watch->tried = state;
    return true;
}
