/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes questions and tells the answers. Owners are called by posts alone, never by c-ares. */
#include "proxy/io/dns.h"

#include "proxy/base/error.h"
#include "proxy/io/dns_uv.h"

#define HOSTS_FILE  "/etc/hosts"
#define HOSTS_TTL_S 60
#define NAME_IN_MAX 255 /* RFC 1035 2.3.4 */

static const struct dns_answer not_found = {.status = DNS_NOT_FOUND};
static const struct dns_answer temporary = {.status = DNS_TEMPORARY};

/* ---- answering ---- */

/* Called by the loop. The owner may do anything, dns_free() included, so that neither `query` nor
 * the dns is used after the call. */
static void tell(void *owner)
{
    struct dns_query *query = owner;
    struct dns_answer *answer = query->answer;
    dns_callback *fn = query->fn;
    void *fn_owner = query->owner;

    list_remove(&query->link);
    mem_free(query);
    fn(fn_owner, answer == NULL ? &temporary : answer);
    mem_free(answer);
}

static struct dns_answer *copy_answer(const struct dns_answer *answer)
{
    struct dns_answer *copy = mem_alloc(sizeof(*answer) + answer->records.len);

    if (copy == NULL)
        return NULL;
    *copy = *answer;
    if (answer->records.len > 0)
        memcpy(copy + 1, answer->records.at, answer->records.len);
    copy->records.at = (const uint8_t *)(copy + 1);
    return copy;
}

void dns_answer_later(struct dns_query *query, const struct dns_answer *answer)
{
    assert(query->answer == NULL && !query->telling.is_posted);
    if (answer != NULL)
        query->answer = copy_answer(answer);
    list_remove(&query->link);
    list_append(&query->dns->answered, &query->link);
    loop_post(query->dns->loop, &query->telling, tell, query);
}

/* ---- beginning and ending ---- */

struct dns *dns_new(struct loop *loop, const struct bytes *servers, int count, int *error_out)
{
    struct dns *dns = mem_zalloc(sizeof(*dns));
    int error, hosts_error;

    if (dns == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    dns->loop = loop;
    list_init(&dns->answered);
    dns_questions_init(dns);
    hosts_error = dns_hosts_read(&dns->hosts, loop_hash_key(loop), HOSTS_FILE);
    error = dns_channels_init(dns, servers, count);
    if (error == 0)
        error = hosts_error;
    if (error != 0) {
        dns_free(&dns);
        *error_out = error;
    }
    return dns;
}

void dns_free(struct dns **held)
{
    struct dns *dns = *held;

    if (dns == NULL)
        return;
    LIST_EACH (link, &dns->answered)
        dns_cancel(LIST_ENTRY(link, struct dns_query, link));
    dns_questions_done(dns);
    dns_hosts_done(&dns->hosts);
    mem_free(dns);
    *held = NULL;
}

/* ---- asking ---- */

static struct dns_query *new_query(struct dns *dns, dns_callback *fn, void *owner)
{
    struct dns_query *query = mem_zalloc(sizeof(*query));

    if (query == NULL)
        return NULL;
    query->dns = dns;
    query->fn = fn;
    query->owner = owner;
    list_init(&query->link);
    return query;
}

/* The name as c-ares wants it; false: no such name can exist. */
static bool copy_name(struct bytes name, char copy_out[NAME_IN_MAX + 1])
{
    if (name.len == 0 || name.len > NAME_IN_MAX || bytes_find(name, 0) < name.len)
        return false;
    memcpy(copy_out, name.at, name.len);
    copy_out[name.len] = '\0';
    return true;
}

static void ask_servers(struct dns_query *query, enum dns_form form, enum dns_type type,
                        struct bytes name, const struct netaddr *client)
{
    char text[NAME_IN_MAX + 1];

    if (copy_name(name, text))
        dns_question_ask(query, form, type, text, client);
    else
        dns_answer_later(query, &not_found);
}

/* Answers a literal or a name of the hosts file without a question. */
static bool answer_locally(struct dns_query *query, struct bytes name)
{
    struct dns_answer found = {.status = DNS_FOUND, .ttl_s = HOSTS_TTL_S};

    if (netaddr_parse(name, &found.addresses[0]) == 0)
        found.address_count = 1;
    else
        dns_hosts_find(&query->dns->hosts, name, &found);
    if (found.address_count > 0)
        dns_answer_later(query, &found);
    return found.address_count > 0;
}

struct dns_query *dns_ask_addresses(struct dns *dns, struct bytes name,
                                    const struct netaddr *client, dns_callback *fn, void *owner)
{
    struct dns_query *query = new_query(dns, fn, owner);

    if (query != NULL && !answer_locally(query, name))
        ask_servers(query, DNS_FORM_HOSTS, DNS_TYPE_A, name, client);
    return query;
}

struct dns_query *dns_ask_names(struct dns *dns, const struct netaddr *address, dns_callback *fn,
                                void *owner)
{
    struct dns_query *query = new_query(dns, fn, owner);
    char text[NETADDR_REVERSE_MAX];

    if (query != NULL && address->family == NETADDR_NONE)
        dns_answer_later(query, &not_found);
    else if (query != NULL)
        dns_question_ask(query, DNS_FORM_HOSTS, DNS_TYPE_PTR, netaddr_reverse_name(address, text),
                         address);
    return query;
}

struct dns_query *dns_ask_mx(struct dns *dns, struct bytes name, dns_callback *fn, void *owner)
{
    struct dns_query *query = new_query(dns, fn, owner);

    if (query != NULL)
        ask_servers(query, DNS_FORM_HOSTS, DNS_TYPE_MX, name, NULL);
    return query;
}

struct dns_query *dns_ask_records(struct dns *dns, enum dns_type type, struct bytes name,
                                  const struct netaddr *client, dns_callback *fn, void *owner)
{
    struct dns_query *query = new_query(dns, fn, owner);

    if (query != NULL)
        ask_servers(query, DNS_FORM_RECORDS, type, name, client);
    return query;
}

void dns_cancel(struct dns_query *query)
{
    loop_unpost(query->dns->loop, &query->telling);
    list_remove(&query->link);
    mem_free(query->answer);
    mem_free(query);
}
