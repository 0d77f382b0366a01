/* SPDX-License-Identifier: BSD-2-Clause */
/* dns.h in a world: a table of answers, with delays. */
#include "proxy/io/dns.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "tests/sim/world.h"

#define GIVES_UP_MS 5000
#define TTL_S       300

struct dns_query {
    struct sim_event event;
    struct sim_timer timer;
    struct list link;
    dns_callback *fn;
    void *owner;
    struct dns_answer answer;
};

struct dns {
    struct loop *loop;
    struct list queries;
};

/* ---- the table ---- */

/* "10/mail.test", "0/." for the root; without a number names come one behind the other. */
static void read_name(struct dns_answer *answer, struct bytes word)
{
    struct dns_name *name = &answer->names[answer->name_count++];
    size_t slash = bytes_find(word, '/');
    uint64_t preference = (uint64_t)answer->name_count;
    struct dns_name added = {.text = ""};

    if (slash < word.len) {
        if (text_decimal(bytes_first(word, slash), UINT16_MAX, &preference) != 0)
            sim_fault("no preference in an answer of DNS");
        word = bytes_skip(word, slash + 1);
    }
    if (!bytes_is(word, "."))
        snprintf(added.text, sizeof(added.text), "%.*s", (int)word.len, (const char *)word.at);
    added.preference = (uint16_t)preference;
    for (; name > answer->names && name[-1].preference > preference; name--)
        *name = name[-1];
    *name = added;
}

static void read_text(struct dns_answer *answer, enum sim_question what, const char *text)
{
    struct bytes left = bytes_of(text);

    while (left.len > 0) {
        struct bytes word = bytes_first(left, bytes_find(left, ' '));
        left = bytes_skip(left, word.len < left.len ? word.len + 1 : word.len);
        if (what == SIM_ADDRESSES) {
            if (netaddr_parse(word, &answer->addresses[answer->address_count++]) != 0)
                sim_fault("no address in an answer of DNS");
        } else {
            read_name(answer, word);
        }
    }
}

void sim_dns(struct sim *w, enum sim_question what, const char *about, enum dns_status status,
             uint64_t delay_ms, const char *text)
{
    struct sim_answer *a = sim_alloc(sizeof(*a));

    a->what = what;
    a->about = sim_alloc(strlen(about) + 1);
    memcpy(a->about, about, strlen(about));
    a->delay_ms = delay_ms;
    a->answer.status = status;
    a->answer.ttl_s = TTL_S;
    if (status == DNS_FOUND)
        read_text(&a->answer, what, text);
    list_prepend(&w->answers, &a->link);
}

static const struct sim_answer *find(struct sim *w, enum sim_question what, struct bytes about)
{
    LIST_EACH (link, &w->answers) {
        struct sim_answer *a = LIST_ENTRY(link, struct sim_answer, link);
        if (a->what == what && bytes_is_nocase(about, a->about))
            return a;
    }
    return NULL;
}

void sim_dns_done(struct sim *w)
{
    LIST_EACH (link, &w->answers) {
        struct sim_answer *a = LIST_ENTRY(link, struct sim_answer, link);
        list_remove(link);
        free(a->about);
        free(a);
    }
}

/* ---- asking ---- */

struct dns *dns_new(struct loop *l, const struct bytes *servers, int count, int *error_out)
{
    struct netaddr address;
    struct dns *d;

    for (int i = 0; i < count; i++) {
        if (netaddr_parse_with_port(servers[i], 53, &address) != 0) {
            *error_out = ERR_SYNTAX;
            return NULL;
        }
    }
    d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    d->loop = l;
    list_init(&d->queries);
    return d;
}

void dns_cancel(struct dns_query *q)
{
    list_remove(&q->link);
    list_remove(&q->timer.link);
    list_remove(&q->event.link);
    mem_free(q);
}

void dns_free(struct dns **dns)
{
    struct dns *d = *dns;

    if (d == NULL)
        return;
    LIST_EACH (link, &d->queries)
        dns_cancel(LIST_ENTRY(link, struct dns_query, link));
    mem_free(d);
    *dns = NULL;
}

static void on_event(struct sim_event *e)
{
    struct dns_query *q = CONTAINER_OF(e, struct dns_query, event);
    struct dns_answer answer = q->answer;
    dns_callback *fn = q->fn;
    void *owner = q->owner;

    dns_cancel(q);
    fn(owner, &answer);
}

static struct dns_query *ask(struct dns *d, enum sim_question what, struct bytes about,
                             dns_callback *fn, void *owner)
{
    struct dns_query *q = mem_zalloc(sizeof(*q));
    const struct sim_answer *a = find(d->loop->world, what, about);
    uint64_t delay_ms = a == NULL ? 0 : a->delay_ms;

    if (q == NULL)
        return NULL;
    q->event.fn = on_event;
    q->event.process = d->loop->process;
    q->fn = fn;
    q->owner = owner;
    list_init(&q->event.link);
    list_init(&q->timer.link);
    list_append(&d->queries, &q->link);
    q->answer.status = DNS_NOT_FOUND;
    if (delay_ms >= GIVES_UP_MS) {
        delay_ms = GIVES_UP_MS;
        q->answer.status = DNS_TEMPORARY;
    } else if (a != NULL) {
        q->answer = a->answer;
    }
    if (delay_ms == 0)
        sim_ready(d->loop->world, &q->event);
    else
        sim_at(d->loop->world, &q->timer, &q->event, delay_ms);
    return q;
}

struct dns_query *dns_ask_addresses(struct dns *d, struct bytes name, const struct netaddr *client,
                                    dns_callback *fn, void *owner)
{
    (void)client;
    return ask(d, SIM_ADDRESSES, name, fn, owner);
}

struct dns_query *dns_ask_names(struct dns *d, const struct netaddr *address, dns_callback *fn,
                                void *owner)
{
    char text[NETADDR_TEXT_MAX];

    return ask(d, SIM_NAMES, bytes_of(netaddr_text(address, text)), fn, owner);
}

struct dns_query *dns_ask_mx(struct dns *d, struct bytes name, dns_callback *fn, void *owner)
{
    return ask(d, SIM_MX, name, fn, owner);
}

/* No record is in the table yet: nothing in a world asks for them. */
struct dns_query *dns_ask_records(struct dns *d, enum dns_type type, struct bytes name,
                                  const struct netaddr *client, dns_callback *fn, void *owner)
{
    (void)type;
    (void)client;
    return ask(d, SIM_RECORDS, name, fn, owner);
}
