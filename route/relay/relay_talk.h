/* SPDX-License-Identifier: BSD-2-Clause */
/* One conversation with one address of a target that brings it no mail, told stage by stage. The
 * outbound machine, streams and credentials are those of a relay. */
#ifndef POSTERN_RELAY_TALK_H
#define POSTERN_RELAY_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/stream.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/identity.h"

struct relay_conf;
struct relay_talk;
struct relay_service;

enum relay_talk_aim {
    RELAY_TALK_ENVELOPE, /* MAIL, RCPT and RSET, one after the other */
    RELAY_TALK_PIPELINE, /* likewise, MAIL and RCPT in one write */
    RELAY_TALK_CHUNK,    /* likewise, and BDAT before RSET */
    RELAY_TALK_IDENTITY, /* likewise, for a client with a documentation address */
    RELAY_TALK_SMUGGLE   /* DATA with what looks like a second message in it: leaves mail there */
};

struct relay_talk_job {
    enum relay_talk_aim aim;
    unsigned identity;   /* IDENTITY: an enum identity_kind bit */
    struct bytes ending; /* SMUGGLE: what may pass for the end of data */
    struct address to;   /* whom RCPT names; borrowed */
};

/* One stage that is over. */
struct relay_talk_step {
    const char *stage; /* "connect", "EHLO" */
    uint64_t us;       /* how long it took */
    struct bytes said; /* the target's words, as they came; borrowed; empty: none */
    const char
        *problem; /* why it failed, where its words do not say it; NULL: nothing or they do */
    bool is_good;
};

/* What the conversation has shown, when it is over. */
struct relay_talk_result {
    bool is_good;    /* every stage was */
    bool is_greeted; /* EHLO was answered: `caps` are known */
    struct capability caps;
    bool is_unasked;  /* there were replies to no command */
    bool is_answered; /* RCPT was, by the target itself */
    bool is_written;  /* CHUNK, SMUGGLE: content was */
    bool is_believed; /* IDENTITY: words of the target hold the client's address */
    bool is_smuggled; /* SMUGGLE: it has answered commands in the content */
    bool is_refused;  /* SMUGGLE: it has not taken the content */
};

struct relay_talk_events {
    void (*step)(void *owner, const struct relay_talk_step *step);
    /* The handshake has taken so long. Both are borrowed. */
    void (*secured)(void *owner, const struct stream *stream, const struct tls_facts *facts,
                    uint64_t us);
    /* The last; the probe is gone when it has returned. */
    void (*over)(void *owner, const struct relay_talk_result *result);
};

/* NULL: no memory. All that is given outlives it. Nothing is told within the call. */
struct relay_talk *relay_talk_new(const struct relay_service *service,
                                  const struct relay_conf *conf, const struct stream_target *to,
                                  const struct relay_talk_job *job,
                                  const struct relay_talk_events *events, void *owner);

#endif
