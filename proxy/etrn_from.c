/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may start which queue: smtpd.etrn-from. */
#include "proxy/etrn.h"

bool etrn_may_ask(const struct smtpd_etrns *conf, const struct netaddr *client)
{
    for (size_t i = 0; i < conf->count; i++)
        if (netaddr_in(client, &conf->at[i].net))
            return true;
    return false;
}

static bool has_text(const struct setting_texts *texts, struct bytes text)
{
    for (size_t i = 0; i < texts->count; i++)
        if (bytes_equal(texts->at[i], text))
            return true;
    return false;
}

static bool is_at_or_below(struct bytes domain, struct bytes above)
{
    if (domain.len < above.len)
        return false;
    struct bytes tail = bytes_skip(domain, domain.len - above.len);
    return bytes_equal_nocase(tail, above) &&
           (domain.len == above.len || domain.at[domain.len - above.len - 1] == '.');
}

static bool lists_domain(const struct setting_texts *domains, const struct etrn_node *node)
{
    for (size_t i = 0; i < domains->count; i++) {
        if (node->form == COMMAND_ETRN_SUBDOMAINS ? is_at_or_below(node->name, domains->at[i])
                                                  : bytes_equal_nocase(node->name, domains->at[i]))
            return true;
    }
    return false;
}

static bool tables_have(const struct etrn_node *node,
                        bool (*knows_domain)(const void *owner, struct bytes domain),
                        const void *owner)
{
    struct bytes domain = node->name;

    if (knows_domain(owner, domain))
        return true;
    while (node->form == COMMAND_ETRN_SUBDOMAINS) {
        size_t dot = bytes_find(domain, '.');
        if (dot == domain.len)
            break;
        domain = bytes_skip(domain, dot + 1);
        if (knows_domain(owner, domain))
            return true;
    }
    return false;
}

static bool is_single_label(struct bytes domain)
{
    return bytes_find(domain, '.') == domain.len;
}

static bool entry_entitles(const struct smtpd_etrn *entry, const struct etrn_node *node,
                           bool (*knows_domain)(const void *owner, struct bytes domain),
                           const void *owner)
{
    bool is_for_all = entry->domains.count == 0 && entry->targets.count == 0;

    if (node->form == COMMAND_ETRN_TARGET)
        return is_for_all || has_text(&entry->targets, node->name);
    if (is_for_all)
        return tables_have(node, knows_domain, owner);
    return lists_domain(&entry->domains, node);
}

bool etrn_is_entitled(const struct smtpd_etrns *conf, const struct netaddr *client,
                      const struct etrn_node *node,
                      bool (*knows_domain)(const void *owner, struct bytes domain),
                      const void *owner)
{
    if (node->form == COMMAND_ETRN_SUBDOMAINS && is_single_label(node->name))
        return false; /* RFC 1985 8: @com is everybody's */
    for (size_t i = 0; i < conf->count; i++)
        if (netaddr_in(client, &conf->at[i].net) &&
            entry_entitles(&conf->at[i], node, knows_domain, owner))
            return true;
    return false;
}
