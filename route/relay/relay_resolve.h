/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a relay's connections may go: its addresses, names looked up, own listeners struck out. */
#ifndef POSTERN_RELAY_RESOLVE_H
#define POSTERN_RELAY_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/dns.h"
#include "proxy/io/stream.h"
#include "proxy/smtp/reply.h"

struct relay;
struct relay_lookup;

#define RELAY_PLACES_MAX     64
#define RELAY_PLACE_TEXT_MAX 128 /* NUL included */

struct relay_place {
    struct stream_target to;
    uint64_t down_since_ms; /* meaningful while is_down */
    bool is_down;           /* the circuit is open: only probes go there */
};

enum relay_places_state {
    RELAY_PLACES_UNKNOWN, /* being looked up, or never asked for */
    RELAY_PLACES_KNOWN,
    RELAY_PLACES_FAILED, /* no address to be had now */
    RELAY_PLACES_OWN,    /* nothing is left but our own listeners */
    RELAY_PLACES_NULL_MX /* the domain says that it takes no mail (RFC 7505) */
};

struct relay_places {
    struct relay_place *at; /* in the order of preference */
    unsigned count, down_count;
    enum relay_places_state state;
    uint64_t expires_ms;         /* UINT64_MAX: never */
    struct relay_lookup *lookup; /* under way; NULL: none */
    char **paths;                /* unix sockets as C strings, one per configured address */
    unsigned turn;               /* round-robin: where the next attempt begins */
};

/* 0 or ERR_MEMORY. */
int relay_resolve_init(struct relay *r);
void relay_resolve_done(struct relay *r);
/* True: the state is something else than UNKNOWN; what has grown old is looked up again beside.
 * False: the first look-up is under way; relay_connect_resolved() will be called, later. */
bool relay_resolve(struct relay *r);
/* Looks up again even what FAILED. */
void relay_resolve_again(struct relay *r);
/* What every recipient is refused with, for good, since there is nowhere to connect to; REPLY_OK:
 * there is, or may be soon. */
enum reply_id relay_resolve_refusal(const struct relay *r);
/* This address turned out to be ourselves. */
void relay_resolve_strike(struct relay *r, const struct stream_target *to);

/* Hosts in the order of preference: those of equal preference change places by chance. */
void relay_resolve_shuffle(struct loop *l, struct dns_name *hosts, int count);

/* 0.0.0.0 or ::, as a listener has it. */
bool relay_place_is_any(const struct netaddr *a);
bool relay_place_equal(const struct stream_target *a, const struct stream_target *b);
struct relay_place *relay_place_find(struct relay *r, const struct stream_target *to); /* or NULL */
/* "192.0.2.1:25", "unix:/run/lmtp"; returns text_out. */
const char *relay_place_text(const struct stream_target *to, char text_out[RELAY_PLACE_TEXT_MAX]);

#endif
