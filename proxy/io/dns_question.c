/* SPDX-License-Identifier: BSD-2-Clause */
/* What c-ares is asked: each thing once, however many wait for it. */
#include "proxy/io/dns_uv.h"

#define GIVE_UP_MS      5000 /* however many servers there are */
#define TICK_MS         250
#define CLASS_IN        1
#define FOUND_MAX_S     3600
#define NOT_FOUND_MAX_S 60 /* also where nobody said for how long */
#define NET_PARTS       4  /* one client net has one of them */

struct dns_question {
    struct dns *dns;
    struct list link;          /* dns.in_time; in none: it is too late for an answer */
    struct list in_clients;    /* dns.of_clients; in none: it is for a target */
    struct netaddr client_net; /* whose clients were the first to ask */
    struct hash_entry by_text;
    struct list queries;
    struct dns_answer *answer; /* NULL: no response has come */
    enum dns_type type;
    unsigned responses_due; /* c-ares holds on to this while not 0 */
    bool is_temporary;      /* one response was no answer, or could not be kept */
    uint64_t asked_ms;
    uint8_t text[1 + DNS_NAME_MAX]; /* the type, and the name in lower case */
};

/* ---- answers ---- */

static void tell_all(struct dns_question *u, const struct dns_answer *answer)
{
    struct list *first;

    while ((first = list_first(&u->queries)) != NULL)
        dns_answer_later(LIST_ENTRY(first, struct dns_query, link), answer);
}

static void settle(struct dns_question *u)
{
    struct dns_answer *answer = u->answer;
    bool is_found = answer != NULL && answer->address_count + answer->name_count > 0;
    uint32_t most_s = is_found ? FOUND_MAX_S : NOT_FOUND_MAX_S;

    if (answer == NULL || (u->is_temporary && !is_found)) {
        tell_all(u, NULL);
        return;
    }
    answer->status = is_found ? DNS_FOUND : DNS_NOT_FOUND;
    if (answer->ttl_s > most_s)
        answer->ttl_s = most_s;
    if (!u->is_temporary)
        dns_cache_keep(&u->dns->cache, u->by_text.key, answer, loop_now_ms(u->dns->loop));
    tell_all(u, answer);
}

static void end(struct dns_question *u)
{
    hash_table_remove(&u->dns->questions, &u->by_text);
    list_remove(&u->link);
    u->dns->of_client_count -= !list_is_empty(&u->in_clients);
    list_remove(&u->in_clients);
    mem_free(u->answer);
    mem_free(u);
}

static struct dns_answer *answer_of(struct dns_question *u)
{
    if (u->answer == NULL && (u->answer = mem_alloc(sizeof(*u->answer))) != NULL) {
        u->answer->ttl_s = UINT32_MAX;
        u->answer->address_count = u->answer->name_count = 0;
    }
    return u->answer;
}

static void add_response(struct dns_question *u, int status, struct bytes octets)
{
    bool is_negative = status == ARES_ENODATA || status == ARES_ENOTFOUND;
    struct dns_answer *answer = answer_of(u);

    if (answer == NULL || (status != ARES_SUCCESS && status != ARES_EBADNAME && !is_negative))
        u->is_temporary = true;
    else if (octets.len > 0 && !dns_parse_response(octets, u->type, answer) && !is_negative)
        u->is_temporary = true;
}

static void on_response(void *argument, int status, int timeouts, unsigned char *octets, int len)
{
    struct dns_question *u = argument;

    (void)timeouts;
    u->responses_due--;
    if (!u->dns->is_ending)
        add_response(u, status, bytes_make(octets, len > 0 ? (size_t)len : 0));
    if (u->responses_due > 0)
        return;
    if (!u->dns->is_ending)
        settle(u);
    end(u);
}

static void on_tick(struct deadline *tick)
{
    struct dns *d = CONTAINER_OF(tick, struct dns, tick);
    uint64_t now_ms = loop_now_ms(d->loop);
    struct list *oldest;

    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    while ((oldest = list_first(&d->in_time)) != NULL) {
        struct dns_question *u = LIST_ENTRY(oldest, struct dns_question, link);

        if (u->asked_ms + GIVE_UP_MS > now_ms)
            break;
        list_remove(&u->link);
        tell_all(u, NULL);
    }
    d->is_ticking = d->questions.entry_count != 0;
    if (d->is_ticking)
        deadline_set(d->loop, tick, now_ms + TICK_MS);
}

static const struct deadline_use tick_use = {.reached = on_tick};

/* ---- questions ---- */

static unsigned count_of_net(const struct dns *d, const struct netaddr *net)
{
    unsigned count = 0;

    LIST_EACH (link, &d->of_clients)
        count += netaddr_equal(&LIST_ENTRY(link, struct dns_question, in_clients)->client_net, net);
    return count;
}

/* c-ares holds on to what nobody waits for any more, so what counts is what c-ares has. A net has a
 * quarter of what the other nets leave: however many are busy, one that asks little finds room. */
static bool has_room(const struct dns *d, const struct netaddr *client)
{
    if (d->questions.entry_count >= DNS_QUESTIONS_MAX)
        return false;
    if (client == NULL || d->of_client_count < DNS_OF_CLIENTS_MAX / NET_PARTS)
        return true;
    struct netaddr net = netaddr_client_net(client);
    return (NET_PARTS - 1) * count_of_net(d, &net) < DNS_OF_CLIENTS_MAX - d->of_client_count;
}

static void count_for(struct dns_question *u, const struct netaddr *client)
{
    list_init(&u->in_clients);
    if (client == NULL)
        return;
    u->client_net = netaddr_client_net(client);
    list_append(&u->dns->of_clients, &u->in_clients);
    u->dns->of_client_count++;
}

/* NULL: no memory, or no room. */
static struct dns_question *new_question(struct dns *d, struct bytes text,
                                         const struct netaddr *client)
{
    struct dns_question *u = has_room(d, client) ? mem_zalloc(sizeof(*u)) : NULL;

    if (u == NULL)
        return NULL;
    memcpy(u->text, text.at, text.len);
    if (hash_table_add(&d->questions, &u->by_text, bytes_make(u->text, text.len)) != 0) {
        mem_free(u);
        return NULL;
    }
    u->dns = d;
    u->type = (enum dns_type)text.at[0];
    u->asked_ms = loop_now_ms(d->loop);
    count_for(u, client);
    list_init(&u->queries);
    list_append(&d->in_time, &u->link);
    if (!d->is_ticking)
        deadline_set(d->loop, &d->tick, u->asked_ms + TICK_MS);
    d->is_ticking = true;
    return u;
}

/* It may be over within this call. */
static void ask_servers(struct dns_question *u, const char *name)
{
    struct dns *d = u->dns;

    u->responses_due = u->type == DNS_TYPE_A ? 2 : 1;
    if (u->type == DNS_TYPE_A)
        ares_query(d->channel, name, CLASS_IN, DNS_TYPE_AAAA, on_response, u);
    ares_query(d->channel, name, CLASS_IN, (int)u->type, on_response, u);
}

static struct bytes make_text(enum dns_type type, const char *name,
                              uint8_t text_out[1 + DNS_NAME_MAX])
{
    size_t len = strlen(name);

    text_out[0] = (uint8_t)type;
    for (size_t i = 0; i < len; i++)
        text_out[1 + i] = byte_lower((uint8_t)name[i]);
    return bytes_make(text_out, 1 + len);
}

void dns_question_ask(struct dns_query *q, enum dns_type type, const char *name,
                      const struct netaddr *client)
{
    struct dns *d = q->dns;
    uint8_t space[1 + DNS_NAME_MAX];
    struct bytes text = make_text(type, name, space);
    struct hash_entry *asked;
    struct dns_question *u;
    struct dns_answer answer;

    if (dns_cache_find(&d->cache, text, loop_now_ms(d->loop), &answer)) {
        dns_answer_later(q, &answer);
        return;
    }
    asked = hash_table_find(&d->questions, text);
    u = asked == NULL ? new_question(d, text, client)
                      : CONTAINER_OF(asked, struct dns_question, by_text);
    if (u == NULL || list_is_empty(&u->link)) { /* what was late a moment ago is no better now */
        dns_answer_later(q, NULL);
        return;
    }
    list_append(&u->queries, &q->link);
    if (asked == NULL)
        ask_servers(u, name);
}

/* ---- beginning and ending ---- */

void dns_questions_init(struct dns *d)
{
    hash_table_init(&d->questions, loop_hash_key(d->loop));
    dns_cache_init(&d->cache, loop_hash_key(d->loop));
    list_init(&d->in_time);
    list_init(&d->of_clients);
    deadline_init(&d->tick, &tick_use);
}

void dns_questions_done(struct dns *d)
{
    LIST_EACH (link, &d->in_time) {
        struct dns_question *u = LIST_ENTRY(link, struct dns_question, link);
        struct list *first;

        while ((first = list_first(&u->queries)) != NULL)
            dns_cancel(LIST_ENTRY(first, struct dns_query, link));
    }
    deadline_clear(d->loop, &d->tick);
    d->is_ending = true;
    ares_destroy(d->channel); /* on_response() frees the questions */
    hash_table_done(&d->questions);
    dns_cache_done(&d->cache);
}
