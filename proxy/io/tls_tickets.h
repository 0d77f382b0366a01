/* SPDX-License-Identifier: BSD-2-Clause */
/* The keys of session tickets. Each key is made from the one before it, which is then overwritten:
 * who gets hold of a process learns nothing of sessions that are older than two periods. Processes
 * that have forked from each other make the same keys without a word. */
#ifndef POSTERN_TLS_TICKETS_H
#define POSTERN_TLS_TICKETS_H

#include <stdbool.h>
#include <stdint.h>

#define TLS_TICKETS_PERIOD_S 7200 /* and so long a session can be resumed */
#define TLS_TICKET_NAME      16

struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME]; /* stands in the ticket */
    uint8_t cipher[32], mac[32];
};

struct tls_tickets {
    int64_t period;                /* number of the one that `keys[0]` is used in */
    uint8_t seed[32];              /* that keys[0] was made from */
    struct tls_ticket_key keys[2]; /* now; in the period before, where there was one */
};

/* `now_s` is a clock of the host that only goes on. False: OpenSSL fails. */
bool tls_tickets_init(struct tls_tickets *tickets, int64_t now_s);
/* Goes on to the period of `now_s`. False: likewise, and nothing has changed. */
bool tls_tickets_turn(struct tls_tickets *tickets, int64_t now_s);
/* NULL: none of these keys, or it has had its time. */
const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *tickets,
                                              const uint8_t name[TLS_TICKET_NAME]);

#endif
