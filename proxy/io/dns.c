/* SPDX-License-Identifier: BSD-2-Clause */
/* Who asks and who is told. Owners are called by posts alone, never by c-ares. */
#include "proxy/io/dns.h"

#include "proxy/base/error.h"
#include "proxy/io/dns_uv.h"

#define SERVERS_TEXT_MAX 1024
#define TRY_MS           1500 /* the second try waits twice as long */
#define TRIES            2
#define HOSTS_FILE       "/etc/hosts"
#define HOSTS_TTL_S      60
#define NAME_IN_MAX      255 /* RFC 1035 2.3.4 */

static const struct dns_answer not_found = {.status = DNS_NOT_FOUND};
static const struct dns_answer temporary = {.status = DNS_TEMPORARY};

/* ---- answering ---- */

/* Called by the loop. The owner may do anything, dns_free() included: nothing of `q` or the dns
 * is used after the call. */
static void tell(void *owner)
{
    struct dns_query *q = owner;
    struct dns_answer *answer = q->answer;
    dns_callback *fn = q->fn;
    void *fn_owner = q->owner;

    list_remove(&q->link);
    mem_free(q);
    fn(fn_owner, answer == NULL ? &temporary : answer);
    mem_free(answer);
}

void dns_answer_later(struct dns_query *q, const struct dns_answer *answer)
{
    if (answer != NULL && (q->answer = mem_alloc(sizeof(*answer))) != NULL)
        *q->answer = *answer;
    list_remove(&q->link);
    list_append(&q->dns->answered, &q->link);
    loop_post(q->dns->loop, &q->telling, tell, q);
}

/* ---- beginning and ending ---- */

static int set_servers(struct dns *d, const struct bytes *servers, int count)
{
    char list[SERVERS_TEXT_MAX], text[NETADDR_TEXT_MAX];
    size_t used = 0;

    for (int i = 0; i < count; i++) {
        struct netaddr address;
        size_t length;
        int error = netaddr_parse_with_port(servers[i], 53, &address);

        if (error != 0)
            return error;
        length = strlen(netaddr_text_with_port(&address, text));
        if (used + length + 2 > sizeof(list))
            return ERR_TOO_LONG;
        if (used > 0)
            list[used++] = ',';
        memcpy(list + used, text, length + 1);
        used += length;
    }
    return count == 0 || ares_set_servers_ports_csv(d->channel, list) == ARES_SUCCESS ? 0
                                                                                      : ERR_MEMORY;
}

struct dns *dns_new(struct loop *l, const struct bytes *servers, int count, int *error_out)
{
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH,
                                   .timeout = TRY_MS,
                                   .tries = TRIES,
                                   .sock_state_cb = dns_socket_changed};
    struct dns *d = mem_zalloc(sizeof(*d));
    int error;

    if (d == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    d->loop = l;
    list_init(&d->answered);
    list_init(&d->sockets);
    dns_questions_init(d);
    options.sock_state_cb_data = d;
    if (ares_init_options(&d->channel, &options,
                          ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                              ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS) {
        mem_free(d);
        *error_out = ERR_MEMORY;
        return NULL;
    }
    error = dns_hosts_read(&d->hosts, loop_hash_key(l), HOSTS_FILE);
    if (error == 0)
        error = set_servers(d, servers, count);
    if (error != 0) {
        dns_free(&d);
        *error_out = error;
    }
    return d;
}

void dns_free(struct dns **dns)
{
    struct dns *d = *dns;

    if (d == NULL)
        return;
    LIST_EACH (link, &d->answered)
        dns_cancel(LIST_ENTRY(link, struct dns_query, link));
    dns_questions_done(d);
    dns_hosts_done(&d->hosts);
    mem_free(d);
    *dns = NULL;
}

/* ---- asking ---- */

static struct dns_query *new_query(struct dns *d, dns_callback *fn, void *owner)
{
    struct dns_query *q = mem_zalloc(sizeof(*q));

    if (q == NULL)
        return NULL;
    q->dns = d;
    q->fn = fn;
    q->owner = owner;
    list_init(&q->link);
    return q;
}

/* The name as c-ares wants it; false where no such name can exist. */
static bool copy_name(struct bytes name, char copy_out[NAME_IN_MAX + 1])
{
    if (name.len == 0 || name.len > NAME_IN_MAX || bytes_find(name, 0) < name.len)
        return false;
    memcpy(copy_out, name.at, name.len);
    copy_out[name.len] = '\0';
    return true;
}

/* A literal, or a name of the hosts file: answered without a question. */
static bool answer_locally(struct dns_query *q, struct bytes name)
{
    struct dns_answer found = {.status = DNS_FOUND, .ttl_s = HOSTS_TTL_S};

    if (netaddr_parse(name, &found.addresses[0]) == 0)
        found.address_count = 1;
    else
        dns_hosts_find(&q->dns->hosts, name, &found);
    if (found.address_count > 0)
        dns_answer_later(q, &found);
    return found.address_count > 0;
}

struct dns_query *dns_ask_addresses(struct dns *d, struct bytes name, const struct netaddr *client,
                                    dns_callback *fn, void *owner)
{
    struct dns_query *q = new_query(d, fn, owner);
    char text[NAME_IN_MAX + 1];

    if (q == NULL)
        return NULL;
    if (!copy_name(name, text))
        dns_answer_later(q, &not_found);
    else if (!answer_locally(q, name))
        dns_question_ask(q, DNS_TYPE_A, text, client);
    return q;
}

struct dns_query *dns_ask_names(struct dns *d, const struct netaddr *address, dns_callback *fn,
                                void *owner)
{
    struct dns_query *q = new_query(d, fn, owner);
    char text[NETADDR_REVERSE_MAX];

    if (q != NULL && address->family == NETADDR_NONE)
        dns_answer_later(q, &not_found);
    else if (q != NULL)
        dns_question_ask(q, DNS_TYPE_PTR, netaddr_reverse_name(address, text), address);
    return q;
}

struct dns_query *dns_ask_mx(struct dns *d, struct bytes name, dns_callback *fn, void *owner)
{
    struct dns_query *q = new_query(d, fn, owner);
    char text[NAME_IN_MAX + 1];

    if (q != NULL && copy_name(name, text))
        dns_question_ask(q, DNS_TYPE_MX, text, NULL);
    else if (q != NULL)
        dns_answer_later(q, &not_found);
    return q;
}

void dns_cancel(struct dns_query *q)
{
    loop_unpost(q->dns->loop, &q->telling);
    list_remove(&q->link);
    mem_free(q->answer);
    mem_free(q);
}
