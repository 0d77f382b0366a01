/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings that every kind of filter has. */
#include "filters/filter_conf.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"

static int parse_exempt(struct bytes word, struct arena *arena, void *item_out)
{
    struct filter_exempt exempt = {.kind = FILTER_EXEMPT_NET};

    (void)arena;
    if (bytes_is(word, "authenticated")) {
        exempt.kind = FILTER_EXEMPT_AUTHENTICATED;
    } else if (word.len > 1 && word.at[0] == '@') {
        exempt.kind = FILTER_EXEMPT_DOMAIN;
        exempt.domain = bytes_skip(word, 1);
        if (!text_is_host_name(exempt.domain))
            return ERR_SYNTAX;
    } else if (netaddr_parse_mask(word, &exempt.net) != 0) {
        return ERR_SYNTAX;
    }
    memcpy(item_out, &exempt, sizeof(exempt));
    return 0;
}

static void put_exempt(const void *item, struct buf *out)
{
    const struct filter_exempt *exempt = item;

    switch (exempt->kind) {
    case FILTER_EXEMPT_NET:
        setting_put_net(&exempt->net, out);
        return;
    case FILTER_EXEMPT_DOMAIN:
        buf_byte(out, '@');
        buf_put(out, exempt->domain);
        return;
    case FILTER_EXEMPT_AUTHENTICATED:
        buf_text(out, "authenticated");
        return;
    }
}

const struct setting_type filter_exempt_type = {
    .expected = "a network (ADDR or ADDR/BITS), @DOMAIN or authenticated",
    .item_bytes = sizeof(struct filter_exempt),
    .parse = parse_exempt,
    .put = put_exempt};

static bool spares(const struct filter_exempt *exempt, const struct identity *client,
                   const struct address *sender)
{
    switch (exempt->kind) {
    case FILTER_EXEMPT_NET:
        return netaddr_in(&client->client, &exempt->net);
    case FILTER_EXEMPT_DOMAIN:
        return sender != NULL && bytes_equal_nocase(sender->domain, exempt->domain);
    case FILTER_EXEMPT_AUTHENTICATED:
        break;
    }
    return client->login.len != 0;
}

bool filter_exempts(const struct filter_exempts *exempts, const struct identity *client,
                    const struct address *sender)
{
    for (size_t i = 0; i < exempts->count; i++)
        if (spares(&exempts->at[i], client, sender))
            return true;
    return false;
}

bool filter_spares(const struct filter_common *common, const struct identity *client,
                   const struct address *sender)
{
    return filter_exempts(&common->exempts, client, sender);
}

bool filter_spares_late(const struct filter_common *common)
{
    for (size_t i = 0; i < common->exempts.count; i++)
        if (common->exempts.at[i].kind != FILTER_EXEMPT_NET)
            return true;
    return false;
}
