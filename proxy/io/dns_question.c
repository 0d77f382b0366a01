/* SPDX-License-Identifier: BSD-2-Clause */
/* Asks c-ares each question once, however many wait for the answer. */
#include "proxy/io/dns_uv.h"

#define GIVE_UP_MS      5000 /* however many servers there are */
#define TICK_MS         250
#define CLASS_IN        1
#define FOUND_MAX_S     3600
#define NOT_FOUND_MAX_S 60 /* also when the response does not say how long */
#define NET_PARTS       4  /* of the room for clients; one net may use one */

/* The name with what tells it from others: the form, the type, and which channel is asked, so that
 * nobody gets answers of servers that are no longer asked. */
#define TEXT_HEAD      6
#define TEXT_BYTES_MAX (TEXT_HEAD + DNS_NAME_MAX)

struct dns_question {
    struct dns *dns;
    struct dns_channel *channel;
    struct list link;          /* dns.in_time; in no list: it is too late for an answer */
    struct list in_clients;    /* dns.of_clients; in no list: it is for a target */
    struct netaddr client_net; /* of the client that was the first to ask */
    struct hash_entry by_text;
    struct list queries;
    struct dns_answer *answer; /* NULL: there was no response yet */
    struct buf records;        /* those of `answer` */
    enum dns_form form;
    enum dns_type type;
    unsigned responses_due; /* c-ares holds a pointer to the question while this is not 0 */
    bool is_temporary;      /* one response was no answer, or could not be kept */
    uint64_t asked_ms;
    uint8_t text[TEXT_BYTES_MAX];
};

/* ---- answers ---- */

static void tell_all(struct dns_question *question, const struct dns_answer *answer)
{
    struct list *first;

    while ((first = list_first(&question->queries)) != NULL)
        dns_answer_later(LIST_ENTRY(first, struct dns_query, link), answer);
}

static void finish(struct dns_question *question)
{
    struct dns_answer *answer = question->answer;
    bool is_found = answer != NULL && dns_answer_count(answer) > 0;
    uint32_t most_s = is_found ? FOUND_MAX_S : NOT_FOUND_MAX_S;

    if (answer == NULL || (question->is_temporary && !is_found)) {
        tell_all(question, NULL);
        return;
    }
    answer->records = buf_bytes(&question->records);
    answer->status = is_found ? DNS_FOUND : DNS_NOT_FOUND;
    if (answer->ttl_s > most_s)
        answer->ttl_s = most_s;
    if (!question->is_temporary)
        dns_cache_keep(&question->dns->cache, question->by_text.key, answer,
                       loop_now_ms(question->dns->loop));
    tell_all(question, answer);
}

static void free_question(struct dns_question *question)
{
    assert(question->responses_due == 0 && list_is_empty(&question->queries));
    hash_table_remove(&question->dns->questions, &question->by_text);
    list_remove(&question->link);
    question->dns->of_client_count -= !list_is_empty(&question->in_clients);
    list_remove(&question->in_clients);
    mem_free(question->answer);
    buf_done(&question->records);
    mem_free(question);
}

static struct dns_answer *answer_of(struct dns_question *question)
{
    if (question->answer == NULL &&
        (question->answer = mem_alloc(sizeof(*question->answer))) != NULL) {
        question->answer->ttl_s = UINT32_MAX;
        question->answer->address_count = question->answer->name_count = 0;
        question->answer->record_count = 0;
    }
    return question->answer;
}

/* False: it is garbage, or too much. */
static bool parse(struct dns_question *question, struct bytes octets, struct dns_answer *answer)
{
    bool is_fine;

    if (question->form == DNS_FORM_HOSTS)
        return dns_parse_response(octets, question->type, answer);
    is_fine = dns_parse_records(octets, question->type, &question->records, answer) &&
              !question->records.has_failed;
    if (!is_fine)
        answer->record_count = 0;
    return is_fine;
}

static void add_response(struct dns_question *question, int status, struct bytes octets)
{
    bool is_negative = status == ARES_ENODATA || status == ARES_ENOTFOUND;
    struct dns_answer *answer = answer_of(question);

    if (answer == NULL || (status != ARES_SUCCESS && status != ARES_EBADNAME && !is_negative))
        question->is_temporary = true;
    else if (octets.len > 0 && !parse(question, octets, answer) && !is_negative)
        question->is_temporary = true;
}

static void on_response(void *argument, int status, int timeouts, unsigned char *octets, int len)
{
    struct dns_question *question = argument;

    (void)timeouts;
    assert(question->responses_due > 0 && question->channel->due > 0);
    question->responses_due--;
    question->channel->due--;
    if (!question->dns->is_ending)
        add_response(question, status, bytes_make(octets, len > 0 ? (size_t)len : 0));
    if (question->responses_due > 0)
        return;
    if (!question->dns->is_ending)
        finish(question);
    free_question(question);
}

static void on_tick(struct deadline *tick)
{
    struct dns *dns = CONTAINER_OF(tick, struct dns, tick);
    uint64_t now_ms = loop_now_ms(dns->loop);
    struct list *oldest;

    dns_channels_tick(dns);
    while ((oldest = list_first(&dns->in_time)) != NULL) {
        struct dns_question *question = LIST_ENTRY(oldest, struct dns_question, link);

        if (question->asked_ms + GIVE_UP_MS > now_ms)
            break;
        list_remove(&question->link);
        tell_all(question, NULL);
    }
    dns->is_ticking = dns->questions.entry_count != 0;
    if (dns->is_ticking)
        deadline_set(dns->loop, tick, now_ms + TICK_MS);
}

static const struct deadline_use tick_use = {.reached = on_tick};

/* ---- questions ---- */

static unsigned count_of_net(const struct dns *dns, const struct netaddr *net)
{
    unsigned count = 0;

    LIST_EACH (link, &dns->of_clients)
        count += netaddr_equal(&LIST_ENTRY(link, struct dns_question, in_clients)->client_net, net);
    return count;
}

/* Counts all questions that c-ares has, even if nobody waits for the answer any more. A net may
 * have a quarter of what the other nets leave: however many are busy, a net that asks little finds
 * room. */
static bool has_room(const struct dns *dns, const struct netaddr *client)
{
    if (dns->questions.entry_count >= DNS_QUESTIONS_MAX)
        return false;
    if (client == NULL || dns->of_client_count < DNS_OF_CLIENTS_MAX / NET_PARTS)
        return true;
    struct netaddr net = netaddr_client_net(client);
    return (NET_PARTS - 1) * count_of_net(dns, &net) < DNS_OF_CLIENTS_MAX - dns->of_client_count;
}

static void count_for(struct dns_question *question, const struct netaddr *client)
{
    list_init(&question->in_clients);
    if (client == NULL)
        return;
    question->client_net = netaddr_client_net(client);
    list_append(&question->dns->of_clients, &question->in_clients);
    question->dns->of_client_count++;
}

/* NULL: no memory, or no room. */
static struct dns_question *new_question(struct dns *dns, struct bytes text,
                                         const struct netaddr *client)
{
    struct dns_question *question = has_room(dns, client) ? mem_zalloc(sizeof(*question)) : NULL;

    if (question == NULL)
        return NULL;
    assert(text.len <= sizeof(question->text));
    memcpy(question->text, text.at, text.len);
    if (hash_table_add(&dns->questions, &question->by_text, bytes_make(question->text, text.len)) !=
        0) {
        mem_free(question);
        return NULL;
    }
    question->dns = dns;
    question->form = (enum dns_form)text.at[0];
    question->type = (enum dns_type)text.at[1];
    buf_init(&question->records, &loop_pools(dns->loop)->medium, DNS_RECORDS_BYTES_MAX);
    question->asked_ms = loop_now_ms(dns->loop);
    count_for(question, client);
    list_init(&question->queries);
    list_append(&dns->in_time, &question->link);
    if (!dns->is_ticking)
        deadline_set(dns->loop, &dns->tick, question->asked_ms + TICK_MS);
    dns->is_ticking = true;
    return question;
}

/* The question may be answered and freed within this call. */
static void ask_servers(struct dns_question *question, const char *name)
{
    struct dns_channel *channel = question->dns->channel;
    bool asks_both = question->form == DNS_FORM_HOSTS && question->type == DNS_TYPE_A;

    question->channel = channel;
    question->responses_due = asks_both ? 2 : 1;
    channel->due += question->responses_due;
    if (asks_both)
        ares_query(channel->ares, name, CLASS_IN, DNS_TYPE_AAAA, on_response, question);
    ares_query(channel->ares, name, CLASS_IN, (int)question->type, on_response, question);
}

static struct bytes make_text(const struct dns *dns, enum dns_form form, enum dns_type type,
                              const char *name, uint8_t text_out[TEXT_BYTES_MAX])
{
    size_t len = strlen(name);

    assert(len <= DNS_NAME_MAX);
    text_out[0] = (uint8_t)form;
    text_out[1] = (uint8_t)type;
    memcpy(text_out + 2, &dns->channel_count, sizeof(dns->channel_count));
    for (size_t i = 0; i < len; i++)
        text_out[TEXT_HEAD + i] = byte_lower((uint8_t)name[i]);
    return bytes_make(text_out, TEXT_HEAD + len);
}

void dns_question_ask(struct dns_query *query, enum dns_form form, enum dns_type type,
                      const char *name, const struct netaddr *client)
{
    struct dns *dns = query->dns;
    uint8_t space[TEXT_BYTES_MAX];
    struct bytes text = make_text(dns, form, type, name, space);
    struct hash_entry *asked;
    struct dns_question *question;
    struct dns_answer answer;

    if (dns_cache_find(&dns->cache, text, loop_now_ms(dns->loop), &answer)) {
        dns_answer_later(query, &answer);
        return;
    }
    asked = hash_table_find(&dns->questions, text);
    question = asked == NULL ? new_question(dns, text, client)
                             : CONTAINER_OF(asked, struct dns_question, by_text);
    if (question == NULL ||
        list_is_empty(&question->link)) { /* a second try would be as late as the first */
        dns_answer_later(query, NULL);
        return;
    }
    list_append(&question->queries, &query->link);
    if (asked == NULL)
        ask_servers(question, name);
}

/* ---- beginning and ending ---- */

void dns_questions_init(struct dns *dns)
{
    hash_table_init(&dns->questions, loop_hash_key(dns->loop));
    dns_cache_init(&dns->cache, loop_hash_key(dns->loop));
    list_init(&dns->in_time);
    list_init(&dns->of_clients);
    deadline_init(&dns->tick, &tick_use);
}

void dns_questions_done(struct dns *dns)
{
    LIST_EACH (link, &dns->in_time) {
        struct dns_question *question = LIST_ENTRY(link, struct dns_question, link);
        struct list *first;

        while ((first = list_first(&question->queries)) != NULL)
            dns_cancel(LIST_ENTRY(first, struct dns_query, link));
    }
    deadline_clear(dns->loop, &dns->tick);
    dns->is_ending = true;
    dns_channels_done(dns); /* calls on_response(), which frees the questions */
    assert(dns->questions.entry_count == 0);
    hash_table_done(&dns->questions);
    dns_cache_done(&dns->cache);
}
