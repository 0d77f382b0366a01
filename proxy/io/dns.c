/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions and answers on c-ares. Owners are called by posts alone, never by c-ares. */
#include "proxy/io/dns.h"

#include <netdb.h>
#include <sys/socket.h>

#include "proxy/base/error.h"
#include "proxy/io/dns_uv.h"

#define SERVERS_TEXT_MAX 1024
#define TRY_MS           1500 /* the second try waits twice as long */
#define TRIES            2
#define GIVE_UP_MS       5000 /* however many servers there are */
#define TICK_MS          250
#define HOSTS_TTL_S      60
#define NAME_IN_MAX      255 /* RFC 1035 2.3.4 */
#define CLASS_IN         1

struct dns_query {
    struct dns *dns;
    struct list link;
    struct loop_post telling;
    dns_callback *fn; /* NULL: nobody waits */
    void *owner;
    struct dns_answer *answer; /* NULL: nothing found yet */
    enum dns_type type;
    unsigned responses_due; /* c-ares holds on to this while not 0 */
    bool is_temporary;      /* one response was no answer */
    uint64_t asked_ms;
};

static const struct dns_answer not_found = {.status = DNS_NOT_FOUND};
static const struct dns_answer temporary = {.status = DNS_TEMPORARY};

/* ---- answering ---- */

static void free_query(struct dns_query *q)
{
    list_remove(&q->link);
    mem_free(q->answer);
    mem_free(q);
}

/* Called by the loop. The owner may do anything, dns_free() included: nothing of `q` or the dns
 * is used after the call. */
static void tell(void *owner)
{
    struct dns_query *q = owner;
    struct dns_answer *own = q->answer;
    const struct dns_answer *answer = q->is_temporary ? &temporary : &not_found;
    dns_callback *fn = q->fn;
    void *fn_owner = q->owner;

    q->fn = NULL;
    q->answer = NULL;
    if (own != NULL && own->address_count + own->name_count > 0)
        answer = own;
    list_remove(&q->link);
    if (q->responses_due > 0)
        list_append(&q->dns->given_up, &q->link);
    else
        free_query(q);
    fn(fn_owner, answer);
    mem_free(own);
}

static void answer_later(struct dns_query *q)
{
    list_remove(&q->link);
    list_append(&q->dns->answered, &q->link);
    loop_post(q->dns->loop, &q->telling, tell, q);
}

static void add_response(struct dns_query *q, struct bytes octets)
{
    if (q->answer == NULL) {
        q->answer = mem_alloc(sizeof(*q->answer));
        if (q->answer == NULL) {
            q->is_temporary = true;
            return;
        }
        q->answer->status = DNS_FOUND;
        q->answer->ttl_s = UINT32_MAX;
        q->answer->address_count = q->answer->name_count = 0;
    }
    if (!dns_parse_response(octets, q->type, q->answer))
        q->is_temporary = true;
}

static void on_response(void *argument, int status, int timeouts, unsigned char *octets, int len)
{
    struct dns_query *q = argument;
    bool is_wanted = q->fn != NULL && !q->telling.is_posted && !q->dns->is_ending;

    (void)timeouts;
    q->responses_due--;
    if (is_wanted && status == ARES_SUCCESS && len > 0)
        add_response(q, bytes_make(octets, (size_t)len));
    else if (status != ARES_ENODATA && status != ARES_ENOTFOUND && status != ARES_EBADNAME)
        q->is_temporary = true;
    if (q->responses_due > 0)
        return;
    if (is_wanted)
        answer_later(q);
    else if (!q->telling.is_posted)
        free_query(q);
}

static void on_tick(struct deadline *tick)
{
    struct dns *d = CONTAINER_OF(tick, struct dns, tick);
    uint64_t now_ms = loop_now_ms(d->loop);
    struct list *oldest;

    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    while ((oldest = list_first(&d->asked)) != NULL) {
        struct dns_query *q = LIST_ENTRY(oldest, struct dns_query, link);

        if (q->asked_ms + GIVE_UP_MS > now_ms)
            break;
        q->is_temporary = true;
        answer_later(q);
    }
    d->is_ticking = !list_is_empty(&d->asked) || !list_is_empty(&d->given_up);
    if (d->is_ticking)
        deadline_set(d->loop, tick, now_ms + TICK_MS);
}

static const struct deadline_use tick_use = {.reached = on_tick};

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
    list_init(&d->asked);
    list_init(&d->given_up);
    list_init(&d->answered);
    list_init(&d->sockets);
    deadline_init(&d->tick, &tick_use);
    options.sock_state_cb_data = d;
    if (ares_init_options(&d->channel, &options,
                          ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                              ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS) {
        mem_free(d);
        *error_out = ERR_MEMORY;
        return NULL;
    }
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
    struct list *link;

    if (d == NULL)
        return;
    deadline_clear(d->loop, &d->tick);
    while ((link = list_first(&d->answered)) != NULL) {
        struct dns_query *q = LIST_ENTRY(link, struct dns_query, link);

        loop_unpost(d->loop, &q->telling);
        q->fn = NULL;
        list_remove(link);
        if (q->responses_due == 0)
            free_query(q);
    }
    d->is_ending = true;
    ares_destroy(d->channel); /* on_response() frees what c-ares held on to */
    mem_free(d);
    *dns = NULL;
}

/* ---- asking ---- */

static struct dns_query *new_query(struct dns *d, enum dns_type type, dns_callback *fn, void *owner)
{
    struct dns_query *q = mem_zalloc(sizeof(*q));

    if (q == NULL)
        return NULL;
    q->dns = d;
    q->type = type;
    q->fn = fn;
    q->owner = owner;
    q->asked_ms = loop_now_ms(d->loop);
    list_init(&q->link);
    return q;
}

static void ask(struct dns_query *q, const char *name)
{
    struct dns *d = q->dns;

    list_append(&d->asked, &q->link);
    if (!d->is_ticking)
        deadline_set(d->loop, &d->tick, q->asked_ms + TICK_MS);
    d->is_ticking = true;
    q->responses_due = q->type == DNS_TYPE_A ? 2 : 1;
    if (q->type == DNS_TYPE_A)
        ares_query(d->channel, name, CLASS_IN, DNS_TYPE_AAAA, on_response, q);
    ares_query(d->channel, name, CLASS_IN, (int)q->type, on_response, q);
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

static void add_host_addresses(struct dns_answer *answer, const struct hostent *host)
{
    for (char **at = host->h_addr_list; *at != NULL; at++) {
        struct netaddr *a = &answer->addresses[answer->address_count];

        if (answer->address_count == DNS_ADDRESSES_MAX)
            return;
        *a = (struct netaddr){.family = host->h_addrtype == AF_INET ? NETADDR_IPV4 : NETADDR_IPV6};
        memcpy(a->octets, *at, host->h_addrtype == AF_INET ? 4 : 16);
        answer->address_count++;
    }
}

/* A literal, or a name of the hosts file: answered without a question. */
static bool answer_locally(struct dns_query *q, struct bytes name, const char *text)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct dns_answer found = {.status = DNS_FOUND, .ttl_s = HOSTS_TTL_S};
    struct hostent *host;

    if (netaddr_parse(name, &found.addresses[0]) == 0) {
        found.address_count = 1;
    } else {
        for (size_t i = 0; i < ARRAY_LENGTH(families); i++) {
            if (ares_gethostbyname_file(q->dns->channel, text, families[i], &host) != ARES_SUCCESS)
                continue;
            add_host_addresses(&found, host);
            ares_free_hostent(host);
        }
    }
    if (found.address_count == 0)
        return false;
    q->answer = mem_alloc(sizeof(found));
    if (q->answer == NULL)
        q->is_temporary = true;
    else
        *q->answer = found;
    answer_later(q);
    return true;
}

struct dns_query *dns_ask_addresses(struct dns *d, struct bytes name, dns_callback *fn, void *owner)
{
    struct dns_query *q = new_query(d, DNS_TYPE_A, fn, owner);
    char text[NAME_IN_MAX + 1];

    if (q == NULL)
        return NULL;
    if (!copy_name(name, text))
        answer_later(q);
    else if (!answer_locally(q, name, text))
        ask(q, text);
    return q;
}

struct dns_query *dns_ask_names(struct dns *d, const struct netaddr *address, dns_callback *fn,
                                void *owner)
{
    struct dns_query *q = new_query(d, DNS_TYPE_PTR, fn, owner);
    char text[NETADDR_REVERSE_MAX];

    if (q != NULL && address->family == NETADDR_NONE)
        answer_later(q);
    else if (q != NULL)
        ask(q, netaddr_reverse_name(address, text));
    return q;
}

struct dns_query *dns_ask_mx(struct dns *d, struct bytes name, dns_callback *fn, void *owner)
{
    struct dns_query *q = new_query(d, DNS_TYPE_MX, fn, owner);
    char text[NAME_IN_MAX + 1];

    if (q != NULL && copy_name(name, text))
        ask(q, text);
    else if (q != NULL)
        answer_later(q);
    return q;
}

void dns_cancel(struct dns_query *q)
{
    loop_unpost(q->dns->loop, &q->telling);
    q->fn = NULL;
    list_remove(&q->link);
    if (q->responses_due > 0)
        list_append(&q->dns->given_up, &q->link);
    else
        free_query(q);
}
