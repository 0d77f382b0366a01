/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses of a relay with balance = hash, each as the settings of a relay of its own. */
#include "route/relay/relay_member.h"

#define TEXT_MAX 512 /* of a socket's path, a host and its port */

/* What stands for the address when mailboxes are given to addresses, so it must never change: as it
 * was configured, without the quotes of a path, a host in lower case. */
static void put_text(const struct endpoint *at, struct buf *out)
{
    if (at->kind == ENDPOINT_UNIX) {
        buf_text(out, "unix:");
        buf_put(out, at->path);
        return;
    }
    if (at->kind == ENDPOINT_IP) {
        endpoint_put(at, out);
        return;
    }
    for (size_t i = 0; i < at->host.len; i++)
        buf_byte(out, byte_lower(at->host.at[i]));
    buf_byte(out, ':');
    buf_decimal(out, at->port);
}

/* N/ADDRESS in the arena, of which the address is the later part. False: no memory. */
static bool name(struct relay_conf *member, struct bytes section, struct arena *arena)
{
    struct buf text;
    struct bytes whole = bytes_make(NULL, 0);

    buf_init(&text, arena->pool, section.len + TEXT_MAX);
    buf_put(&text, section);
    buf_byte(&text, '/');
    put_text(&member->addresses.at->at, &text);
    bool is_named = !text.has_failed && arena_copy(arena, buf_bytes(&text), &whole) == 0;
    buf_done(&text);
    if (!is_named)
        return false;
    member->section = whole;
    member->group.address = bytes_skip(whole, section.len + 1);
    return true;
}

static void check_twice(struct setting_reading *section, const struct relay_conf *conf, size_t at)
{
    const struct bytes text = conf->group.members[at].group.address;

    for (size_t i = 0; i < at; i++)
        if (bytes_equal(conf->group.members[i].group.address, text))
            cf_error(section->problems, section->place_of(section, "address", at), text,
                     bytes_of("an address that does not stand here already"), bytes_make(NULL, 0));
}

void relay_member_make_all(struct setting_reading *section, struct relay_conf *conf)
{
    const struct relay_addresses *addresses = &conf->addresses;

    conf->group.members =
        arena_alloc(section->arena, (addresses->count + 1) * sizeof(*conf->group.members));
    for (size_t i = 0; conf->group.members != NULL && i < addresses->count; i++) {
        struct relay_conf *member = &conf->group.members[i];
        *member = *conf;
        member->group = (struct relay_group){.whole = conf};
        member->addresses = (struct relay_addresses){.at = &addresses->at[i], .count = 1};
        member->balance = RELAY_BALANCE_FIRST;
        member->fails_over = true; /* a host may have several addresses */
        if (!name(member, conf->section, section->arena))
            break;
        check_twice(section, conf, i);
        conf->group.member_count++;
    }
    section->problems->has_no_memory |= conf->group.member_count != addresses->count;
}
