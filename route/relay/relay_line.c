/* SPDX-License-Identifier: BSD-2-Clause */
/* Who waits for a connection to a target, by client net. */
#include "route/relay/relay_line.h"

#include <assert.h>

#include "proxy/base/mem.h"

#define SHARES_MIN 4

static void init_net(struct relay_net *net, uint64_t key)
{
    *net = (struct relay_net){.key = key};
    list_init(&net->in_turns);
    list_init(&net->waiting);
}

void relay_line_init(struct relay_line *line, struct hash_key secret)
{
    *line = (struct relay_line){.waiting_count = 0};
    hash_table_init(&line->nets, secret);
    init_net(&line->nameless, 0);
    list_init(&line->turns);
}

void relay_line_done(struct relay_line *line)
{
    assert(line->waiting_count == 0 && line->held_count == 0);
    hash_table_done(&line->nets);
}

uint64_t relay_line_key(const struct netaddr *client)
{
    unsigned octets = client->family == NETADDR_IPV4 ? 3 : client->family == NETADDR_IPV6 ? 6 : 0;
    uint64_t key = 1 + (uint64_t)client->family; /* never RELAY_LINE_QUEUE */

    for (unsigned i = 0; i < octets; i++)
        key = key << 8 | client->octets[i];
    return key;
}

/* ---- nets ---- */

static struct bytes key_of(const uint64_t *key)
{
    return bytes_make(key, sizeof(*key));
}

static struct relay_net *find(const struct relay_line *line, uint64_t key)
{
    struct hash_entry *found = hash_table_find(&line->nets, key_of(&key));

    return found == NULL ? NULL : CONTAINER_OF(found, struct relay_net, entry);
}

static struct relay_net *find_or_add(struct relay_line *line, uint64_t key)
{
    struct relay_net *net = find(line, key);

    if (net != NULL)
        return net;
    net = mem_alloc(sizeof(*net));
    if (net == NULL)
        return &line->nameless;
    init_net(net, key);
    if (hash_table_add(&line->nets, &net->entry, key_of(&net->key)) != 0) {
        mem_free(net);
        return &line->nameless;
    }
    return net;
}

static void forget_idle(struct relay_line *line, struct relay_net *net)
{
    if (net->held != 0 || !list_is_empty(&net->waiting) || net == &line->nameless)
        return;
    hash_table_remove(&line->nets, &net->entry);
    mem_free(net);
}

struct relay_net *relay_line_hold(struct relay_line *line, uint64_t key)
{
    struct relay_net *net = find_or_add(line, key);

    net->held++;
    line->held_count++;
    return net;
}

void relay_line_let_go(struct relay_line *line, struct relay_net *net)
{
    assert(net->held > 0);
    net->held--;
    line->held_count--;
    forget_idle(line, net);
}

unsigned relay_line_held(const struct relay_line *line, uint64_t key)
{
    const struct relay_net *net = find(line, key);

    return net == NULL ? 0 : net->held;
}

/* ---- those who wait ---- */

void relay_line_enter(struct relay_line *line, struct relay_waiter *waiter, uint64_t key)
{
    assert(waiter->net == NULL);
    waiter->net = find_or_add(line, key);
    if (list_is_empty(&waiter->net->waiting))
        list_append(&line->turns, &waiter->net->in_turns);
    list_append(&waiter->net->waiting, &waiter->in_net);
    line->waiting_count++;
}

void relay_line_leave(struct relay_line *line, struct relay_waiter *waiter)
{
    struct relay_net *net = waiter->net;

    assert(net != NULL && line->waiting_count != 0);
    list_remove(&waiter->in_net);
    waiter->net = NULL;
    line->waiting_count--;
    list_remove(&net->in_turns); /* it has had its turn */
    if (!list_is_empty(&net->waiting))
        list_append(&line->turns, &net->in_turns);
    forget_idle(line, net);
}

/* Of all nets alike: four that hold a quarter each would shut out the fifth. */
unsigned relay_line_share(const struct relay_line *line, unsigned connections)
{
    size_t nets = line->nets.entry_count;
    size_t share = connections / (nets < SHARES_MIN ? SHARES_MIN : nets);

    return share == 0 ? 1 : (unsigned)share;
}

/* The next one from `at` on that holds less than its share, or does not. Those that hold theirs are
 * no more than there are connections, so they are passed over quickly. */
static struct relay_net *find_turn(const struct relay_line *line, struct list *at, unsigned share,
                                   bool is_below)
{
    for (; at != &line->turns; at = at->next) {
        struct relay_net *net = LIST_ENTRY(at, struct relay_net, in_turns);
        if ((net->held < share) == is_below)
            return net;
    }
    return NULL;
}

static struct relay_net *next_net(const struct relay_line *line, unsigned share,
                                  const struct relay_net *after)
{
    struct list *at = after == NULL ? line->turns.next : after->in_turns.next;
    struct relay_net *net = NULL;

    if (after != NULL && after->held >= share)
        return find_turn(line, at, share, false);
    net = find_turn(line, at, share, true);
    return net != NULL ? net : find_turn(line, line->turns.next, share, false);
}

struct relay_waiter *relay_line_next(const struct relay_line *line, unsigned share,
                                     const struct relay_waiter *after)
{
    struct relay_net *net;
    struct list *at;

    if (after != NULL && after->in_net.next != &after->net->waiting) {
        at = after->in_net.next;
    } else {
        net = next_net(line, share, after == NULL ? NULL : after->net);
        at = net == NULL ? NULL : net->waiting.next;
    }
    return at == NULL ? NULL : LIST_ENTRY(at, struct relay_waiter, in_net);
}
