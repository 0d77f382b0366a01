/* SPDX-License-Identifier: BSD-2-Clause */
/* Who the client is, and the three ways to tell a target: XCLIENT, XFORWARD, PROXY. Pure. */
#ifndef POSTERN_IDENTITY_H
#define POSTERN_IDENTITY_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"
#include "proxy/base/tls_facts.h"
#include "proxy/smtp/capability.h"

/* What reverse DNS said. NAME is only ever a forward-confirmed name. */
enum identity_name {
    IDENTITY_NAME_PENDING,     /* not known yet */
    IDENTITY_NAME_CONFIRMED,   /* `name` is set */
    IDENTITY_NAME_UNAVAILABLE, /* none, or one that does not lead back: [UNAVAILABLE] */
    IDENTITY_NAME_TEMPORARY    /* SERVFAIL or too late: [TEMPUNAVAIL] */
};

struct identity {
    struct netaddr client; /* address and port */
    struct netaddr local;  /* our address and port that the client connected to */
    enum identity_name name_state;
    struct bytes name;         /* a strict host name */
    struct bytes reverse_name; /* the unconfirmed PTR, a strict host name; empty: none */
    struct bytes helo;         /* as the client said it; empty: it did not yet */
    struct bytes login;        /* as whom it has authenticated; empty: it has not */
    uint32_t mechanism;        /* ... by which, a bit of sasl.def; 0: who is in front says so */
    struct bytes reference;    /* how who is in front logs it; empty: nobody has said so */
    /* as who is in front says them, in Dovecot's XCLIENT: for us, or to be passed on */
    uint8_t hops_left;           /* TTL: proxies that it may still pass; 0: nobody counts */
    uint32_t patience_s;         /* TIMEOUT: how long it waits for a reply; 0: nobody says */
    struct bytes transport;      /* CLIENT-TRANSPORT: "TLS", "insecure" */
    struct bytes destination;    /* DESTNAME: the host name that the client connected to */
    struct bytes forwarded;      /* FORWARD */
    bool is_esmtp;               /* greeted with EHLO, or LHLO */
    bool is_lmtp;                /* ... with LHLO */
    bool is_secured;             /* its connection is encrypted: to us, or to who is in front */
    const struct tls_facts *tls; /* how; its session's. NULL: not at all, or the session is over */
    /* of XFORWARD alone */
    struct bytes protocol; /* PROTO; empty: as is_esmtp says */
    bool is_local;         /* SOURCE */
};

/* The ways to hand an identity on, as bits. The values stand in files of the spool: never change
 * one. */
enum identity_kind {
    IDENTITY_KIND_AUTO = 1, /* a setting: whatever the target announces */
    IDENTITY_KIND_XCLIENT = 2,
    IDENTITY_KIND_XFORWARD = 4,
    IDENTITY_KIND_PROXY_V1 = 8,
    IDENTITY_KIND_PROXY_V2 = 16,
    IDENTITY_KIND_NONE = 32 /* on purpose */
};

/* How XCLIENT and XFORWARD write an IPv6 address (relay.xclient-address). */
enum identity_form { IDENTITY_FORM_AUTO, IDENTITY_FORM_PREFIXED, IDENTITY_FORM_BARE };

#define IDENTITY_COMMAND_MAX 512  /* octets of one command, CRLF included */
#define IDENTITY_LONGEST_MAX 1024 /* ... and of XCLIENT with FORWARD, whose readers take more */
#define IDENTITY_HOPS        10   /* proxies that a client may pass, if nobody counted before us */

/* What identity_read_xclient() knows. */
#define IDENTITY_XCLIENT                                                                           \
    (ATTRIBUTE_NAME | ATTRIBUTE_ADDR | ATTRIBUTE_PORT | ATTRIBUTE_PROTO | ATTRIBUTE_HELO |         \
     ATTRIBUTE_LOGIN | ATTRIBUTE_DESTADDR | ATTRIBUTE_DESTPORT | ATTRIBUTE_REVERSE_NAME |          \
     ATTRIBUTE_SESSION | ATTRIBUTE_TTL | ATTRIBUTE_TIMEOUT | ATTRIBUTE_CLIENT_TRANSPORT |          \
     ATTRIBUTE_DESTNAME | ATTRIBUTE_FORWARD)

/* The argument of XCLIENT changes *who; *given_out: the attributes that it has. What hangs on an
 * attribute is forgotten where the command does not say it too: a port with its address, HELO,
 * PROTO, LOGIN and Dovecot's (but TTL) always; without NAME an ADDR leaves the name pending. The
 * texts lie in `argument`, or in `arena`. 0; ERR_SYNTAX; ERR_RANGE: TTL is used up; ERR_MEMORY. If
 * it fails, *who is as it was. */
int identity_read_xclient(struct bytes argument, struct arena *arena, struct identity *who,
                          uint32_t *given_out);
/* What identity_read_xforward() knows. */
#define IDENTITY_XFORWARD                                                                          \
    (ATTRIBUTE_NAME | ATTRIBUTE_ADDR | ATTRIBUTE_PORT | ATTRIBUTE_PROTO | ATTRIBUTE_HELO |         \
     ATTRIBUTE_IDENT | ATTRIBUTE_SOURCE)

/* Where XFORWARD begins: nothing is known. */
struct identity identity_unknown(void);
/* The argument of XFORWARD changes *who; otherwise as above. */
int identity_read_xforward(struct bytes argument, struct arena *arena, struct identity *who);
const char *identity_greeted(const struct identity *who); /* "ESMTP", by its greeting */
/* The same with what RFC 3848 adds: "ESMTPSA". */
void identity_put_with(struct buf *out, const struct identity *who);
struct bytes identity_protocol(const struct identity *who); /* the same, or as XFORWARD says */
/* A copy with texts of its own, all in one block: mem_free() it. NULL: no memory. */
struct identity *identity_copy(const struct identity *who);

/* How long to let the client wait that could be let wait for `most_ms`: it shall have its answer
 * before it goes away. */
uint64_t identity_patience_ms(const struct identity *who, uint64_t most_ms);

/* How a target is told. */
struct identity_way {
    uint32_t attributes; /* that it announced */
    enum identity_form form;
    uint32_t patience_s; /* how long we wait for its replies; 0: not said */
};

/* One XCLIENT command of announced attributes only, never over IDENTITY_COMMAND_MAX: LOGIN,
 * REVERSE_NAME, SESSION, HELO and the like are left out where they do not fit.
 * IDENTITY_FORM_AUTO writes the bare form only to targets that announce exactly what Exim or
 * KumoMTA does. */
void identity_put_xclient(struct buf *out, const struct identity *who,
                          const struct identity_way *way);
/* XFORWARD in one or more commands, each up to IDENTITY_COMMAND_MAX, with [UNAVAILABLE] for what is
 * not known; `ident` is the transaction's id. Returns how many commands were written. */
unsigned identity_put_xforward(struct buf *out, const struct identity *who, uint32_t attributes,
                               struct bytes ident);
/* The header of the PROXY protocol. `who` NULL: nobody's connection, for which v1 says UNKNOWN, v2
 * LOCAL. A target takes those for our own, so a client whose address is not known is never one of
 * them: unspecified addresses (0.0.0.0, ::) stand for what is not known, or of another family than
 * the client's. */
void identity_put_proxy_v1(struct buf *out, const struct identity *who);
/* `unique_id`: by which we log the connection, at most 128 octets; empty: it is not said. */
void identity_put_proxy_v2(struct buf *out, const struct identity *who, struct bytes unique_id);

#endif
