/* SPDX-License-Identifier: BSD-2-Clause */
/* Which ways of telling the client's identity a transaction uses on a connection. */
#include "route/relay/relay_identity.h"

#define PROXY_KINDS (IDENTITY_KIND_PROXY_V1 | IDENTITY_KIND_PROXY_V2)

unsigned relay_identity_proxy(const struct relay_conf *conf)
{
    if (conf->identity & IDENTITY_KIND_PROXY_V2)
        return 2;
    return conf->identity & IDENTITY_KIND_PROXY_V1 ? 1 : 0;
}

static unsigned proxy_kind(const struct relay_conf *conf)
{
    unsigned version = relay_identity_proxy(conf);
    if (version == 0)
        return 0;
    return version == 2 ? IDENTITY_KIND_PROXY_V2 : IDENTITY_KIND_PROXY_V1;
}

static bool has_xclient(const struct relay_identity_facts *facts)
{
    return facts->is_xclient_done ||
           (!facts->avoids_xclient && capability_has(facts->caps, CAPABILITY_XCLIENT));
}

static struct relay_identity_choice choose_auto(const struct relay_identity_facts *facts)
{
    struct relay_identity_choice choice = {.kinds = 0};

    if (has_xclient(facts)) {
        choice.kinds = IDENTITY_KIND_XCLIENT;
        if (facts->has_origin && capability_has(facts->caps, CAPABILITY_XFORWARD))
            choice.kinds |= IDENTITY_KIND_XFORWARD;
        return choice;
    }
    if (capability_has(facts->caps, CAPABILITY_XFORWARD))
        choice.kinds = IDENTITY_KIND_XFORWARD;
    choice.is_failure = facts->has_announced_xclient && !facts->avoids_xclient;
    choice.missing = choice.is_failure ? IDENTITY_KIND_XCLIENT : 0;
    choice.is_unannounced = choice.kinds == 0;
    return choice;
}

struct relay_identity_choice relay_identity_choose(const struct relay_conf *conf,
                                                   const struct relay_identity_facts *facts)
{
    struct relay_identity_choice choice = {.kinds = proxy_kind(conf)};

    if (conf->identity & IDENTITY_KIND_AUTO)
        return choose_auto(facts);
    if (conf->identity & IDENTITY_KIND_XCLIENT) {
        if (has_xclient(facts))
            choice.kinds |= IDENTITY_KIND_XCLIENT;
        else if (!facts->avoids_xclient)
            choice.missing |= IDENTITY_KIND_XCLIENT;
    }
    if (conf->identity & IDENTITY_KIND_XFORWARD) {
        if (capability_has(facts->caps, CAPABILITY_XFORWARD))
            choice.kinds |= IDENTITY_KIND_XFORWARD;
        else if (!facts->is_xclient_done) /* after XCLIENT it is often not on offer any more */
            choice.missing |= IDENTITY_KIND_XFORWARD;
    }
    choice.is_failure = choice.missing != 0;
    return choice;
}

struct relay_identity_choice relay_identity_choose_again(const struct relay_conf *conf,
                                                         const struct relay_identity_facts *facts,
                                                         unsigned before, bool has_accepted)
{
    struct relay_identity_choice live = relay_identity_choose(conf, facts);
    struct relay_identity_choice choice = {.kinds = proxy_kind(conf)};
    bool sees_now = relay_identity_judges(live.kinds);
    bool is_blind = live.is_failure && !sees_now && relay_identity_may_judge(conf);
    bool is_ours = before == IDENTITY_KIND_NONE;

    if (before == 0 || (sees_now && !has_accepted && !is_ours)) {
        live.is_lost = is_blind;
        live.is_failure = live.is_failure && !is_blind;
        return live;
    }
    if ((before & IDENTITY_KIND_XCLIENT) != 0 && has_xclient(facts))
        choice.kinds |= IDENTITY_KIND_XCLIENT;
    choice.is_lost = !relay_identity_judges(choice.kinds) && !is_ours &&
                     (relay_identity_judges(before) || sees_now || is_blind);
    if ((choice.is_lost || (before & IDENTITY_KIND_XFORWARD) != 0) &&
        capability_has(facts->caps, CAPABILITY_XFORWARD))
        choice.kinds |= IDENTITY_KIND_XFORWARD;
    choice.is_failure = (before & conf->identity & IDENTITY_KIND_XFORWARD) != 0 &&
                        choice.kinds == 0 && !choice.is_lost;
    if (choice.is_lost)
        choice.missing =
            (before | live.kinds | live.missing) & (IDENTITY_KIND_XCLIENT | PROXY_KINDS);
    else if (choice.is_failure)
        choice.missing = IDENTITY_KIND_XFORWARD;
    return choice;
}

bool relay_identity_may_judge(const struct relay_conf *conf)
{
    return (conf->identity & (IDENTITY_KIND_AUTO | IDENTITY_KIND_XCLIENT | PROXY_KINDS)) != 0;
}

bool relay_identity_judges(unsigned kinds)
{
    return (kinds & (IDENTITY_KIND_XCLIENT | PROXY_KINDS)) != 0;
}

enum identity_form relay_identity_form(const struct relay_conf *conf)
{
    switch (conf->xclient_address) {
    case RELAY_XCLIENT_PREFIXED:
        return IDENTITY_FORM_PREFIXED;
    case RELAY_XCLIENT_BARE:
        return IDENTITY_FORM_BARE;
    case RELAY_XCLIENT_AUTO:
        break;
    }
    return IDENTITY_FORM_AUTO;
}

const char *relay_identity_text(unsigned kinds)
{
    static const char *const texts[3][4] = {
        {"none", "xclient", "xforward", "xclient+xforward"},
        {"proxy-v1", "proxy-v1+xclient", "proxy-v1+xforward", "proxy-v1+xclient+xforward"},
        {"proxy-v2", "proxy-v2+xclient", "proxy-v2+xforward", "proxy-v2+xclient+xforward"},
    };
    unsigned proxy = kinds & IDENTITY_KIND_PROXY_V1 ? 1 : 0;
    unsigned commands =
        (kinds & IDENTITY_KIND_XCLIENT ? 1U : 0U) | (kinds & IDENTITY_KIND_XFORWARD ? 2U : 0U);

    if (kinds & IDENTITY_KIND_PROXY_V2)
        proxy = 2;
    return texts[proxy][commands];
}
