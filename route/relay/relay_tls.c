/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS towards one target: its certificates and trust, and whom it is expected to be. */
#include "route/relay/relay_tls.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/io/stream.h"
#include "route/relay/relay_private.h"

/* Without files there is nothing that only who serves may read: see context_of(). */
static bool needs_files(const struct relay_tls_conf *tls)
{
    return tls->mode == RELAY_TLS_VERIFY ||
           (tls->mode != RELAY_TLS_NONE && tls->files.certificates.count != 0);
}

int relay_tls_load(struct setting_reading *section)
{
    struct relay_conf *conf = section->conf;

    if (!needs_files(&conf->tls))
        return 0;
    return tls_conf_load(&conf->tls.files,
                         conf->tls.mode == RELAY_TLS_VERIFY ? TLS_CONF_CLIENT_THAT_VERIFIES
                                                            : TLS_CONF_CLIENT,
                         conf->section, "tls-ca", section);
}

struct tls_conf *relay_tls_files(void *settings)
{
    struct relay_conf *conf = settings;

    return needs_files(&conf->tls) ? &conf->tls.files : NULL;
}

enum outbound_tls relay_tls_policy(const struct relay_conf *conf)
{
    switch (conf->tls.mode) {
    case RELAY_TLS_MAY:
        return OUTBOUND_TLS_MAY;
    case RELAY_TLS_ENCRYPT:
    case RELAY_TLS_VERIFY:
        return OUTBOUND_TLS_REQUIRED;
    case RELAY_TLS_NONE:
        break;
    }
    return OUTBOUND_TLS_NONE;
}

/* What the section's files were made into; where it names none, one of this relay's own. NULL: no
 * memory. */
static struct tls *context_of(struct relay *r)
{
    const struct relay_conf *conf = r->conf->group.whole != NULL ? r->conf->group.whole : r->conf;
    struct tls_settings settings = {.section = conf->section};
    struct tls_problem problem;

    if (conf->tls.files.made != NULL)
        return conf->tls.files.made;
    assert(!needs_files(&conf->tls));
    if (r->tls == NULL)
        r->tls = tls_new_client(&settings, &problem);
    return r->tls;
}

int relay_tls_start(struct relay *r, struct stream *stream, const struct stream_target *to)
{
    struct stream_tls_start start = {.with = context_of(r), .names = {to->name}};
    size_t dropped; /* nothing: outbound takes all that comes */

    if (start.with == NULL)
        return ERR_MEMORY;
    if (text_is_host_name(r->conf->name))
        start.names[to->name.len == 0 ? 0 : 1] = r->conf->name;
    return stream_start_tls(stream, &start, &dropped);
}

void relay_tls_done(struct relay *r)
{
    tls_free(&r->tls);
}
