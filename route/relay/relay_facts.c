/* SPDX-License-Identifier: BSD-2-Clause */
/* Facts are kept as the lines that they are written as: one allocation each. */
#include "route/relay/relay_facts.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "route/relay/relay_announced.h"

#define XCLIENT_END     " xclient"
#define WORDS_MAX_BYTES 512 /* of a reply that is kept; of a longer one its first line */

struct relay_fact {
    struct hash_entry by_key; /* "TARGET RECIPIENT", in `line` */
    struct list in_target;
    struct relay_facts_target *target;
    int64_t at_s;
    enum relay_fact_kind kind;
    bool is_held;
    uint32_t line_len;
    uint8_t line[];
};

/* Of a target that nobody has set limits for (yet). */
static const struct relay_remember usual = {
    .accepted_ms = 86400000, .refused_ms = 3600000, .count = 100000};

static const char *const kinds[] = {"accepted", "refused", "open"};

/* ---- life ---- */

void relay_facts_init(struct relay_facts *f, struct hash_key secret, struct pool *pool)
{
    *f = (struct relay_facts){.first = NULL};
    f->link = &f->first;
    f->pool = pool;
    hash_table_init(&f->targets, secret);
    hash_table_init(&f->recipients, secret);
}

static void forget(struct relay_facts *f, struct relay_fact *fact)
{
    hash_table_remove(&f->recipients, &fact->by_key);
    list_remove(&fact->in_target);
    assert(fact->target->count != 0 && f->held >= fact->is_held);
    fact->target->count--;
    f->held -= fact->is_held;
    mem_free(fact);
}

static struct relay_fact *oldest(const struct relay_facts_target *t)
{
    return LIST_ENTRY(t->facts.next, struct relay_fact, in_target);
}

void relay_facts_done(struct relay_facts *f)
{
    struct relay_facts_target *next;

    for (struct relay_facts_target *t = f->first; t != NULL; t = next) {
        next = t->next;
        while (!list_is_empty(&t->facts))
            forget(f, oldest(t));
        mem_free(t->announced);
        mem_free(t);
    }
    hash_table_done(&f->targets);
    hash_table_done(&f->recipients);
}

/* ---- targets ---- */

/* `name` as xtext. */
static struct relay_facts_target *find_target(const struct relay_facts *f, struct bytes name)
{
    struct hash_entry *entry = hash_table_find(&f->targets, name);
    return entry == NULL ? NULL : CONTAINER_OF(entry, struct relay_facts_target, by_name);
}

static struct relay_facts_target *find_named(const struct relay_facts *f, struct bytes target)
{
    struct relay_facts_target *t;
    struct buf name;

    buf_init(&name, f->pool, RELAY_FACTS_LINE_MAX);
    text_put_xtext(&name, target);
    t = name.has_failed ? NULL : find_target(f, buf_bytes(&name));
    buf_done(&name);
    return t;
}

static struct relay_facts_target *target_of(struct relay_facts *f, struct bytes name)
{
    struct relay_facts_target *t = find_target(f, name);

    if (t != NULL)
        return t;
    t = mem_zalloc(sizeof(*t) + name.len + strlen(XCLIENT_END));
    if (t == NULL)
        return NULL;
    list_init(&t->facts);
    t->how = usual;
    if (name.len != 0)
        memcpy(t->line, name.at, name.len);
    memcpy(t->line + name.len, XCLIENT_END, strlen(XCLIENT_END));
    t->line_len = name.len + strlen(XCLIENT_END);
    if (hash_table_add(&f->targets, &t->by_name, bytes_make(t->line, name.len)) != 0) {
        mem_free(t);
        return NULL;
    }
    *f->link = t;
    f->link = &t->next;
    return t;
}

static void bound(struct relay_facts *f, struct relay_facts_target *t)
{
    while (t->count > t->how.count)
        forget(f, oldest(t));
}

const struct relay_facts_target *relay_facts_limit(struct relay_facts *f, struct bytes target,
                                                   const struct relay_remember *how)
{
    struct relay_facts_target *t;
    struct buf name;

    buf_init(&name, f->pool, RELAY_FACTS_LINE_MAX);
    text_put_xtext(&name, target);
    t = name.has_failed ? NULL : target_of(f, buf_bytes(&name));
    buf_done(&name);
    if (t == NULL)
        return NULL;
    t->how = *how;
    bound(f, t);
    return t;
}

/* ---- ages ---- */

static uint64_t lifetime_s(const struct relay_fact *fact)
{
    const struct relay_remember *how = &fact->target->how;
    return (fact->kind == RELAY_FACT_ACCEPTED ? how->accepted_ms : how->refused_ms) / 1000;
}

/* Clocks are set back, too: what is of the far future is as worthless as what is of long ago. */
static uint64_t distance(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static bool is_alive(const struct relay_fact *fact, int64_t now_s)
{
    return distance(fact->at_s, now_s) < lifetime_s(fact);
}

/* What lies in the future is no reason to believe what is of now the less. */
static bool is_older(int64_t known_s, int64_t said_s, int64_t now_s)
{
    return known_s > said_s && known_s <= now_s;
}

/* Saying it again would bring nothing: the file would be written without end. */
static bool is_fresh(const struct relay_fact *fact, int64_t at_s)
{
    return distance(fact->at_s, at_s) <= lifetime_s(fact) / 8;
}

/* ---- lines ---- */

/* A line, taken to pieces. */
struct said {
    enum relay_fact_kind kind;
    struct bytes target, recipient, reply;
    struct bytes key; /* target, a blank, recipient */
    int64_t at_s;
};

static bool read_xclient(struct bytes line, struct said *said)
{
    said->kind = RELAY_FACT_XCLIENT;
    said->target = text_word(&line);
    return said->target.len != 0 && bytes_is(text_word(&line), "xclient") && line.len == 0;
}

static bool read_kind(struct bytes word, enum relay_fact_kind *kind_out)
{
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (!bytes_is(word, kinds[i]))
            continue;
        *kind_out = (enum relay_fact_kind)i;
        return true;
    }
    return false;
}

static bool read_recipient(struct bytes line, struct said *said)
{
    bool has_kind = read_kind(text_word(&line), &said->kind);
    uint64_t at_s;

    if (!has_kind || text_decimal(text_word(&line), INT64_MAX, &at_s) != 0)
        return false;
    said->at_s = (int64_t)at_s;
    said->target = text_word(&line);
    said->recipient = text_word(&line);
    said->reply = text_word(&line);
    said->key = bytes_make(said->target.at, said->target.len + 1 + said->recipient.len);
    return said->recipient.len != 0 && line.len == 0 &&
           said->recipient.at == said->target.at + said->target.len + 1 &&
           (said->kind == RELAY_FACT_REFUSED) == (said->reply.len != 0);
}

static struct relay_fact *find(const struct relay_facts *f, struct bytes key)
{
    struct hash_entry *entry = hash_table_find(&f->recipients, key);
    return entry == NULL ? NULL : CONTAINER_OF(entry, struct relay_fact, by_key);
}

static enum relay_facts_result add(struct relay_facts *f, struct bytes line,
                                   const struct said *said)
{
    struct relay_facts_target *t = target_of(f, said->target);
    struct relay_fact *fact = t == NULL ? NULL : mem_zalloc(sizeof(*fact) + line.len);

    if (fact == NULL)
        return RELAY_FACTS_NO_MEMORY;
    memcpy(fact->line, line.at, line.len);
    fact->line_len = (uint32_t)line.len;
    fact->target = t;
    fact->kind = said->kind;
    fact->at_s = said->at_s;
    if (hash_table_add(&f->recipients, &fact->by_key,
                       bytes_make(fact->line + (said->key.at - line.at), said->key.len)) != 0) {
        mem_free(fact);
        return RELAY_FACTS_NO_MEMORY;
    }
    list_append(&t->facts, &fact->in_target);
    t->count++;
    bound(f, t);
    return RELAY_FACTS_NEWS;
}

/* `known` NULL: nothing. */
static bool is_news(const struct relay_fact *known, enum relay_fact_kind kind, int64_t at_s,
                    int64_t now_s)
{
    if (kind == RELAY_FACT_OPEN && (known == NULL || known->kind != RELAY_FACT_REFUSED))
        return false;
    return known == NULL ||
           (!is_older(known->at_s, at_s, now_s) && (known->kind != kind || !is_fresh(known, at_s)));
}

static enum relay_facts_result learn_recipient(struct relay_facts *f, struct bytes line,
                                               const struct said *said, int64_t now_s)
{
    struct relay_fact *known = find(f, said->key);

    if (!is_news(known, said->kind, said->at_s, now_s))
        return RELAY_FACTS_NOTHING;
    if (known != NULL)
        forget(f, known);
    return add(f, line, said);
}

static enum relay_facts_result learn_xclient(struct relay_facts *f, struct bytes target)
{
    struct relay_facts_target *t = target_of(f, target);

    if (t == NULL)
        return RELAY_FACTS_NO_MEMORY;
    if (t->has_xclient)
        return RELAY_FACTS_NOTHING;
    t->has_xclient = true;
    return RELAY_FACTS_XCLIENT;
}

static enum relay_facts_result learn_announced(struct relay_facts *f, struct bytes line,
                                               const struct relay_announced_said *said,
                                               int64_t now_s)
{
    struct relay_facts_target *t = target_of(f, said->target);

    if (t == NULL)
        return RELAY_FACTS_NO_MEMORY;
    if (t->announced != NULL && (bytes_equal(relay_announced_words(t->announced), said->words) ||
                                 is_older(t->announced->at_s, said->at_s, now_s)))
        return RELAY_FACTS_NOTHING;
    struct relay_announced *announced = relay_announced_new(line, said);
    if (announced == NULL)
        return RELAY_FACTS_NO_MEMORY;
    if (t->announced != NULL) {
        announced->is_held = t->announced->is_held;
        mem_free(t->announced);
    }
    t->announced = announced;
    return RELAY_FACTS_ANNOUNCED;
}

enum relay_facts_result relay_facts_learn(struct relay_facts *f, struct bytes line, int64_t now_s)
{
    struct relay_announced_said announced;
    struct said said;

    if (line.len > RELAY_FACTS_LINE_MAX)
        return RELAY_FACTS_NOTHING;
    if (read_xclient(line, &said))
        return learn_xclient(f, said.target);
    if (relay_announced_read(line, &announced))
        return learn_announced(f, line, &announced, now_s);
    return read_recipient(line, &said) ? learn_recipient(f, line, &said, now_s)
                                       : RELAY_FACTS_NOTHING;
}

/* ---- what others do not know yet ---- */

static void hold(struct relay_facts *f, bool *is_held)
{
    f->held += !*is_held;
    *is_held = true;
}

void relay_facts_hold(struct relay_facts *f, struct bytes line)
{
    struct relay_facts_target *t;
    struct relay_fact *fact;
    struct relay_announced_said announced;
    struct said said;

    if (read_xclient(line, &said)) {
        t = find_target(f, said.target);
        if (t != NULL)
            hold(f, &t->is_held);
    } else if (relay_announced_read(line, &announced)) {
        t = find_target(f, announced.target);
        if (t != NULL && t->announced != NULL)
            hold(f, &t->announced->is_held);
    } else if (read_recipient(line, &said)) {
        fact = find(f, said.key);
        if (fact != NULL)
            hold(f, &fact->is_held);
    }
}

static bool tell_one(struct relay_facts *f, bool *is_held, struct bytes line,
                     bool (*tell)(void *owner, struct bytes line), void *owner)
{
    if (!*is_held)
        return true;
    if (!tell(owner, line))
        return false;
    *is_held = false;
    f->held--;
    return true;
}

static bool tell_target(struct relay_facts *f, struct relay_facts_target *t,
                        bool (*tell)(void *owner, struct bytes line), void *owner)
{
    if (!tell_one(f, &t->is_held, bytes_make(t->line, t->line_len), tell, owner))
        return false;
    if (t->announced != NULL &&
        !tell_one(f, &t->announced->is_held, relay_announced_line(t->announced), tell, owner))
        return false;
    LIST_EACH (at, &t->facts) {
        struct relay_fact *fact = LIST_ENTRY(at, struct relay_fact, in_target);
        if (!tell_one(f, &fact->is_held, bytes_make(fact->line, fact->line_len), tell, owner))
            return false;
    }
    return true;
}

bool relay_facts_tell(struct relay_facts *f, bool (*tell)(void *owner, struct bytes line),
                      void *owner)
{
    for (struct relay_facts_target *t = f->first; t != NULL && f->held != 0; t = t->next)
        if (!tell_target(f, t, tell, owner))
            return false;
    return true;
}

static void tell_recent_of(const struct relay_facts_target *t, int64_t since_s,
                           bool (*tell)(void *owner, struct bytes line), void *owner)
{
    if (t->has_xclient)
        tell(owner, bytes_make(t->line, t->line_len));
    if (t->announced != NULL)
        tell(owner, relay_announced_line(t->announced));
    LIST_EACH (at, &t->facts) {
        const struct relay_fact *fact = LIST_ENTRY(at, struct relay_fact, in_target);
        if (fact->at_s >= since_s)
            tell(owner, bytes_make(fact->line, fact->line_len));
    }
}

void relay_facts_tell_recent(struct relay_facts *f, int64_t since_s,
                             bool (*tell)(void *owner, struct bytes line), void *owner)
{
    for (const struct relay_facts_target *t = f->first; t != NULL; t = t->next)
        tell_recent_of(t, since_s, tell, owner);
}

/* ---- recipients ---- */

static void put_recipient(struct buf *out, const struct address *rcpt, struct pool *pool)
{
    uint8_t domain[ADDRESS_DOMAIN_MAX];
    struct address lower = {.local = rcpt->local}; /* one mailbox, with quotes or without */
    struct buf text;

    lower.domain = bytes_make(domain, bytes_first(rcpt->domain, sizeof domain).len);
    for (size_t i = 0; i < lower.domain.len; i++)
        domain[i] = byte_lower(rcpt->domain.at[i]);
    buf_init(&text, pool, RELAY_FACTS_LINE_MAX);
    address_put(&text, &lower);
    text_put_xtext(out, buf_bytes(&text));
    out->has_failed = out->has_failed || text.has_failed;
    buf_done(&text);
}

static void put_key(struct buf *out, struct bytes target, const struct address *rcpt,
                    struct pool *pool)
{
    text_put_xtext(out, target);
    buf_byte(out, ' ');
    put_recipient(out, rcpt, pool);
}

/* "250-..." of a longer one becomes "250 ...". */
static void put_words(struct buf *out, struct bytes wire)
{
    uint8_t first[WORDS_MAX_BYTES];
    size_t len = bytes_find(wire, '\r');

    if (wire.len <= WORDS_MAX_BYTES || len < 4) {
        text_put_xtext(out, bytes_first(wire, WORDS_MAX_BYTES));
        return;
    }
    len = len < WORDS_MAX_BYTES - 2 ? len : WORDS_MAX_BYTES - 2;
    memcpy(first, wire.at, len);
    first[3] = ' ';
    memcpy(first + len, "\r\n", 2);
    text_put_xtext(out, bytes_make(first, len + 2));
}

void relay_facts_put(const struct relay_facts *f, struct buf *out, enum relay_fact_kind kind,
                     int64_t now_s, struct bytes target, const struct address *rcpt,
                     const struct reply *reply)
{
    if (kind == RELAY_FACT_XCLIENT) {
        text_put_xtext(out, target);
        buf_text(out, XCLIENT_END);
        return;
    }
    buf_text(out, kinds[kind]);
    buf_byte(out, ' ');
    buf_decimal(out, now_s < 0 ? 0 : (uint64_t)now_s);
    buf_byte(out, ' ');
    put_key(out, target, rcpt, f->pool);
    if (kind == RELAY_FACT_REFUSED) {
        buf_byte(out, ' ');
        put_words(out, reply->wire);
    }
}

bool relay_facts_announced(const struct relay_facts *f, struct bytes target,
                           struct capability *caps_out)
{
    const struct relay_facts_target *t = find_named(f, target);

    if (t == NULL || t->announced == NULL)
        return false;
    *caps_out = capability_read_words(relay_announced_words(t->announced));
    return true;
}

static struct relay_fact *find_recipient(const struct relay_facts *f, struct bytes target,
                                         const struct address *rcpt)
{
    struct relay_fact *fact;
    struct buf key;

    buf_init(&key, f->pool, RELAY_FACTS_LINE_MAX);
    put_key(&key, target, rcpt, f->pool);
    fact = key.has_failed ? NULL : find(f, buf_bytes(&key));
    buf_done(&key);
    return fact;
}

bool relay_facts_would_learn(const struct relay_facts *f, enum relay_fact_kind kind, int64_t now_s,
                             struct bytes target, const struct address *rcpt)
{
    return is_news(find_recipient(f, target, rcpt), kind, now_s, now_s);
}

bool relay_facts_find(const struct relay_facts *f, struct bytes target, const struct address *rcpt,
                      int64_t now_s, enum relay_fact_kind *kind_out, struct bytes *reply_out)
{
    const struct relay_fact *fact = find_recipient(f, target, rcpt);

    if (fact == NULL || !is_alive(fact, now_s))
        return false;
    const uint8_t *behind = fact->by_key.key.at + fact->by_key.key.len;
    struct bytes rest = bytes_make(behind, (size_t)(fact->line + fact->line_len - behind));
    *kind_out = fact->kind;
    *reply_out = text_word(&rest);
    return true;
}

/* ---- all of it ---- */

static void forget_old(struct relay_facts *f, struct relay_facts_target *t, int64_t now_s)
{
    struct list *next;

    for (struct list *at = t->facts.next; at != &t->facts; at = next) {
        struct relay_fact *fact = LIST_ENTRY(at, struct relay_fact, in_target);
        next = at->next;
        if (!is_alive(fact, now_s))
            forget(f, fact);
    }
}

static size_t image_length(const struct relay_facts *f)
{
    size_t len = 0;

    for (const struct relay_facts_target *t = f->first; t != NULL; t = t->next) {
        len += t->has_xclient ? t->line_len + 1 : 0;
        len += t->announced != NULL ? t->announced->line_len + 1 : 0;
        LIST_EACH (at, &t->facts)
            len += LIST_ENTRY(at, struct relay_fact, in_target)->line_len + 1;
    }
    return len;
}

static uint8_t *put_line(uint8_t *at, const uint8_t *line, size_t len)
{
    memcpy(at, line, len);
    at[len] = '\n';
    return at + len + 1;
}

static uint8_t *put_target(uint8_t *to, const struct relay_facts_target *t)
{
    if (t->has_xclient)
        to = put_line(to, t->line, t->line_len);
    if (t->announced != NULL)
        to = put_line(to, t->announced->line, t->announced->line_len);
    LIST_EACH (at, &t->facts) {
        const struct relay_fact *fact = LIST_ENTRY(at, struct relay_fact, in_target);
        to = put_line(to, fact->line, fact->line_len);
    }
    return to;
}

int relay_facts_image(struct relay_facts *f, int64_t now_s, uint8_t **octets_out, size_t *len_out)
{
    uint8_t *octets, *at;

    for (struct relay_facts_target *t = f->first; t != NULL; t = t->next)
        forget_old(f, t, now_s);
    size_t len = image_length(f);
    octets = mem_alloc(len == 0 ? 1 : len);
    if (octets == NULL)
        return ERR_MEMORY;
    at = octets;
    for (const struct relay_facts_target *t = f->first; t != NULL; t = t->next)
        at = put_target(at, t);
    *octets_out = octets;
    *len_out = len;
    return 0;
}

void relay_facts_count(const struct relay_facts *f, struct bytes target, uint32_t *accepted_out,
                       uint32_t *refused_out)
{
    uint32_t counts[] = {
        [RELAY_FACT_ACCEPTED] = 0, [RELAY_FACT_REFUSED] = 0, [RELAY_FACT_OPEN] = 0};
    const struct relay_facts_target *t = find_named(f, target);

    if (t != NULL) {
        LIST_EACH (at, &t->facts)
            counts[LIST_ENTRY(at, struct relay_fact, in_target)->kind]++;
    }
    *accepted_out = counts[RELAY_FACT_ACCEPTED];
    *refused_out = counts[RELAY_FACT_REFUSED];
}
