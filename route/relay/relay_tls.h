/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS towards one target: its certificates and trust, and whom it is expected to be. */
#ifndef POSTERN_RELAY_TLS_H
#define POSTERN_RELAY_TLS_H

#include <stddef.h>

#include "proxy/base/setting.h"
#include "proxy/smtp/outbound.h"

struct relay;
struct relay_conf;
struct stream;
struct stream_target;

/* See target_kind.load and secrets. */
int relay_tls_load(struct setting_reading *section);
struct tls_conf *relay_tls_files(void *conf);
enum outbound_tls relay_tls_policy(const struct relay_conf *conf);

/* Begins the handshake with the target at this address: see stream_start_tls(). */
int relay_tls_start(struct relay *r, struct stream *stream, const struct stream_target *to);
void relay_tls_done(struct relay *r);

#endif
