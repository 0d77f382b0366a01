/* SPDX-License-Identifier: BSD-2-Clause */
/* Which ways of telling the client's identity a transaction uses on a connection. Pure. */
#ifndef POSTERN_RELAY_IDENTITY_H
#define POSTERN_RELAY_IDENTITY_H

#include <stdbool.h>

#include "proxy/smtp/capability.h"
#include "proxy/smtp/identity.h"
#include "route/relay/relay_conf.h"

/* What is known when the decision falls. */
struct relay_identity_facts {
    const struct capability *caps; /* as announced on this connection last */
    bool has_announced_xclient;    /* this target, ever */
    bool is_xclient_done;          /* this connection has carried XCLIENT for this client */
    bool has_origin;               /* XFORWARD has named somebody else than the client */
    bool avoids_xclient;           /* it was refused before, and identity-failure is pass */
};

struct relay_identity_choice {
    unsigned kinds;      /* enum identity_kind bits; 0: none */
    unsigned missing;    /* is_failure, is_lost: what should be used, and is not on offer */
    bool is_lost;        /* a delivery of the spool: the target does not see the client as it did
                            then, or could: who was never accepted has to wait */
    bool is_failure;     /* something that must be used is not on offer */
    bool is_unannounced; /* auto, and nothing is on offer */
};

/* With identity-failure = pass, is_failure is told but the kinds may be used as they are. */
struct relay_identity_choice relay_identity_choose(const struct relay_conf *conf,
                                                   const struct relay_identity_facts *facts);
/* The same for mail that was spooled: the kinds of its session once more (`before`), as far as they
 * are still on offer; where XCLIENT and PROXY are not, XFORWARD. 0: no target was reached then, and
 * the settings decide; IDENTITY_KIND_NONE: it is nobody's but our own. A message has one `before`
 * for all of its targets, so the target must see the client where it can whenever it has accepted
 * none of these recipients (`has_accepted`). */
struct relay_identity_choice relay_identity_choose_again(const struct relay_conf *conf,
                                                         const struct relay_identity_facts *facts,
                                                         unsigned before, bool has_accepted);
/* Could the target see the client on some connection? */
bool relay_identity_may_judge(const struct relay_conf *conf);
/* Does it, where these kinds are used? */
bool relay_identity_judges(unsigned kinds);
/* For outbound_start(): 0, 1 or 2. */
unsigned relay_identity_proxy(const struct relay_conf *conf);
enum identity_form relay_identity_form(const struct relay_conf *conf);
/* "none", "xclient", "proxy-v2+xforward"; a constant. */
const char *relay_identity_text(unsigned kinds);

#endif
