/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading the first block and the records. */
#include "spool/spool_format.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "spool/spool_format_private.h"

#define BODY_BYTES_MAX (UINT64_C(1) << 56)
/* Of the smallest RECIPIENT: what a count of them is held against before memory is asked for. */
#define RECIPIENT_BYTES_MIN 64
/* Octets of the last words of targets: of one recipient, and of all of them. */
#define REPLY_TEXT_MAX 4096
#define REPLIES_MAX    (2U << 20)
/* How many octets are summed, for each one there is, in search of a record behind one that is not
 * whole; and at least. */
#define SEARCH_FACTOR 16
#define SEARCH_MIN    65536

/* ---- contents ---- */

struct bytes spool_take(struct spool_content *c, size_t octets)
{
    struct bytes taken = bytes_first(c->left, octets);

    if (taken.len < octets) {
        c->is_short = true;
        c->left = bytes_make(NULL, 0);
        return c->left;
    }
    c->left = bytes_skip(c->left, octets);
    return taken;
}

uint64_t spool_take_number(struct spool_content *c, size_t octets)
{
    struct bytes taken = spool_take(c, octets);
    return spool_load_number(taken.at, taken.len);
}

struct bytes spool_take_text(struct spool_content *c)
{
    struct bytes text = spool_take(c, (size_t)spool_take_number(c, 4)), copy = {NULL, 0};

    if (arena_copy(c->arena, text, &copy) != 0)
        c->has_no_memory = true;
    return copy;
}

void spool_take_address(struct spool_content *c, struct address *a)
{
    unsigned bits = (unsigned)spool_take_number(c, 1);

    a->is_literal = (bits & ADDRESS_IS_LITERAL) != 0;
    a->keeps_case = (bits & ADDRESS_KEEPS_CASE) != 0;
    a->keeps_dots = (bits & ADDRESS_KEEPS_DOTS) != 0;
    a->local = spool_take_text(c);
    a->domain = spool_take_text(c);
}

void spool_take_tries(struct spool_content *c, struct spool_recipient *r)
{
    uint64_t fate = spool_take_number(c, 1);
    unsigned bits = (unsigned)spool_take_number(c, 1);

    if (fate > FATE_DISCARDED)
        c->is_short = true; /* there is no such fate */
    else
        r->fate = (enum fate)fate;
    r->may_be_duplicate = (bits & RECIPIENT_MAY_BE_DUPLICATE) != 0;
    r->is_relayed = (bits & RECIPIENT_IS_RELAYED) != 0;
    r->is_reported = (bits & RECIPIENT_IS_REPORTED) != 0;
    r->is_warned = (bits & RECIPIENT_IS_WARNED) != 0;
    r->is_unverified = (bits & RECIPIENT_IS_UNVERIFIED) != 0;
    r->tries = (uint32_t)spool_take_number(c, 4);
    r->tried_ms = (int64_t)spool_take_number(c, 8);
}

int spool_content_error(const struct spool_content *c)
{
    if (c->has_no_memory)
        return ERR_MEMORY;
    return c->is_short ? ERR_SYNTAX : 0;
}

/* ---- the first block ---- */

int spool_head_parse(struct bytes block, struct spool_head *head_out)
{
    struct spool_head head = {0};

    if (block.len < SPOOL_HEAD_BYTES ||
        memcmp(block.at + HEAD_MAGIC, SPOOL_MAGIC, SPOOL_MAGIC_BYTES) != 0 ||
        spool_load_number(block.at + HEAD_SUM, 8) != hash_chain(0, bytes_first(block, HEAD_SUM)))
        return ERR_SYNTAX;
    if (spool_load_number(block.at + HEAD_VERSION, 4) != SPOOL_VERSION)
        return ERR_RANGE;
    memcpy(head.id.text, block.at + HEAD_ID, ID_LENGTH);
    head.body_bytes = spool_load_number(block.at + HEAD_BODY_BYTES, 8);
    head.body_sum = spool_load_number(block.at + HEAD_BODY_SUM, 8);
    if (head.body_bytes > BODY_BYTES_MAX)
        return ERR_SYNTAX;
    *head_out = head;
    return 0;
}

uint64_t spool_records_at(const struct spool_head *head)
{
    return (SPOOL_HEAD_BYTES + head->body_bytes + 7) & ~(uint64_t)7;
}

/* ---- records ---- */

/* The id is as long as a key of the hash. */
_Static_assert(ID_LENGTH == sizeof(struct hash_key), "an id is a key");

uint64_t spool_record_sum(const struct id *id, uint64_t offset, struct bytes record)
{
    assert(record.len >= RECORD_HEAD_BYTES);
    const uint8_t *text = (const uint8_t *)id->text;
    const struct hash_key key = {
        {spool_load_number(text, 8), spool_load_number(text + 8, 8) ^ offset}};

    return hash_bytes(&key, bytes_skip(record, RECORD_LENGTH));
}

struct record {
    unsigned type;
    struct bytes content;
    size_t whole_bytes; /* with what stands before the content, and behind it */
};

/* Of the record that `left` begins with, whatever may follow. */
static uint64_t whole_bytes(struct bytes left)
{
    uint64_t content = spool_load_number(left.at + RECORD_LENGTH, 4);
    return RECORD_HEAD_BYTES + ((content + 7) & ~(uint64_t)7);
}

/* The record that `left` begins with. False: there is none, or it is not whole. */
static bool take_record(const struct spool_head *head, uint64_t at, struct bytes left,
                        struct record *record_out)
{
    if (left.len < RECORD_HEAD_BYTES)
        return false;

    uint64_t content = spool_load_number(left.at + RECORD_LENGTH, 4);
    uint64_t whole = whole_bytes(left);
    if (whole > left.len)
        return false;

    struct bytes record = bytes_first(left, (size_t)whole);
    if (spool_load_number(left.at + RECORD_SUM, 8) != spool_record_sum(&head->id, at, record))
        return false;
    record_out->type = (unsigned)spool_load_number(left.at + RECORD_TYPE, 2);
    record_out->content = bytes_first(bytes_skip(record, RECORD_HEAD_BYTES), (size_t)content);
    record_out->whole_bytes = (size_t)whole;
    return true;
}

/* `left` begins, at `at` in the file, with a record that is not whole: does one follow that is, and
 * was written later? Of what was written in one go a crash may leave any part. Where the search
 * becomes too long, lengths were forged, and that is damage too. */
static bool is_followed(const struct spool_head *head, uint64_t at, struct bytes left)
{
    uint64_t budget = SEARCH_MIN + SEARCH_FACTOR * (uint64_t)left.len;
    struct record record;

    while (left.len >= 8 + RECORD_HEAD_BYTES) {
        left = bytes_skip(left, 8);
        at += 8;
        uint64_t whole = whole_bytes(left);
        bool may_be_one = whole <= left.len && spool_load_number(left.at + RECORD_FOLLOWS, 2) == 0;
        if (!may_be_one)
            continue;
        if (whole > budget || take_record(head, at, left, &record))
            return true;
        budget -= whole;
    }
    return false;
}

static void take_netaddr(struct spool_content *c, struct netaddr *a)
{
    uint64_t family = spool_take_number(c, 1);

    a->family = family == NETADDR_IPV4   ? NETADDR_IPV4
                : family == NETADDR_IPV6 ? NETADDR_IPV6
                                         : NETADDR_NONE;
    a->port = (uint16_t)spool_take_number(c, 2);
    struct bytes octets = spool_take(c, sizeof(a->octets));
    if (octets.len != 0)
        memcpy(a->octets, octets.at, octets.len);
}

static void take_identity(struct spool_content *c, struct identity *who)
{
    take_netaddr(c, &who->client);
    take_netaddr(c, &who->local);
    uint64_t name_state = spool_take_number(c, 1);
    who->name_state = name_state <= IDENTITY_NAME_TEMPORARY ? (enum identity_name)name_state
                                                            : IDENTITY_NAME_UNAVAILABLE;
    who->is_esmtp = spool_take_number(c, 1) != 0;
    who->name = spool_take_text(c);
    who->reverse_name = spool_take_text(c);
    who->helo = spool_take_text(c);
}

static void take_message(struct spool_content *c, struct spool_message *m)
{
    m->recipient_count = (uint32_t)spool_take_number(c, 4);
    unsigned bits = (unsigned)spool_take_number(c, 4);
    m->is_held = (bits & MESSAGE_IS_HELD) != 0;
    m->is_report = (bits & MESSAGE_IS_REPORT) != 0;
    m->envelope.is_8bit = (bits & MESSAGE_IS_8BIT) != 0;
    m->envelope.is_dsn = (bits & MESSAGE_IS_DSN) != 0;
    m->arrived_ms = (int64_t)spool_take_number(c, 8);
    m->envelope.size_bytes = spool_take_number(c, 8);
    struct bytes id = spool_take(c, ID_LENGTH);
    if (id.len != 0)
        memcpy(m->envelope.id.text, id.at, id.len);
    spool_take_address(c, &m->envelope.from);
    m->envelope.params = spool_take_text(c);
    take_identity(c, &m->client);
    m->listener = spool_take_text(c);
    m->hostname = spool_take_text(c);
}

static void take_state(struct spool_content *c, struct spool_recipient *r)
{
    spool_take_tries(c, r);
    r->reply = spool_take_text(c);
    r->remote = spool_take_text(c);
}

static void take_way(struct spool_content *c, struct spool_recipient *r)
{
    spool_take_address(c, &r->to);
    r->target = spool_take_text(c);
}

static void take_recipient(struct spool_content *c, struct spool_recipient *r)
{
    spool_take_address(c, &r->original);
    take_way(c, r);
    r->params = spool_take_text(c);
    r->identity = (unsigned)spool_take_number(c, 4);
    take_state(c, r);
}

/* An outcome says nothing of what was reported already. */
static void take_outcome(struct spool_content *c, struct spool_recipient *r)
{
    struct spool_recipient before = *r;

    take_state(c, r);
    r->is_reported = before.is_reported;
    r->is_warned = before.is_warned;
    r->is_unverified = before.is_unverified;
}

/* ---- a message ---- */

struct reading {
    struct arena *arena;
    struct spool_message *message;
    struct bytes left; /* what follows the last record that counted */
    struct record record;
};

/* The next record, which counts from here on if the caller likes what stands in it. */
static bool next_record(struct reading *r)
{
    return take_record(&r->message->head, r->message->records_end, r->left, &r->record);
}

static void accept_record(struct reading *r)
{
    assert(r->record.whole_bytes <= r->left.len && r->record.whole_bytes % 8 == 0);
    r->left = bytes_skip(r->left, r->record.whole_bytes);
    r->message->records_end += r->record.whole_bytes;
}

/* What a message begins with. */
static int read_first_records(struct reading *r)
{
    struct spool_message *m = r->message;
    struct spool_content c = {.arena = r->arena};

    if (!next_record(r) || r->record.type != RECORD_MESSAGE)
        return ERR_SYNTAX;
    c.left = r->record.content;
    take_message(&c, m);
    if (spool_content_error(&c) != 0)
        return spool_content_error(&c);
    accept_record(r);
    if (m->recipient_count == 0 || m->recipient_count > r->left.len / RECIPIENT_BYTES_MIN)
        return ERR_SYNTAX;
    m->recipients = arena_alloc(r->arena, m->recipient_count * sizeof(*m->recipients));
    if (m->recipients == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (!next_record(r) || r->record.type != RECORD_RECIPIENT)
            return ERR_SYNTAX;
        c.left = r->record.content;
        take_recipient(&c, &m->recipients[i]);
        if (spool_content_error(&c) != 0)
            return spool_content_error(&c);
        accept_record(r);
    }
    return 0;
}

/* A record of what happened later, of one recipient. */
static int read_change(struct reading *r, struct spool_content *c)
{
    uint64_t index = spool_take_number(c, 4);
    struct spool_recipient changed;

    if (index >= r->message->recipient_count)
        return ERR_SYNTAX;
    changed = r->message->recipients[index];
    if (r->record.type == RECORD_OUTCOME)
        take_outcome(c, &changed);
    else if (r->record.type == RECORD_REROUTED)
        take_way(c, &changed);
    else if (r->record.type == RECORD_REPORTED)
        changed.is_reported = true;
    else if (r->record.type == RECORD_WARNED)
        changed.is_warned = true;
    if (spool_content_error(c) == 0)
        r->message->recipients[index] = changed;
    return spool_content_error(c);
}

static int read_hold(struct reading *r, struct spool_content *c)
{
    bool is_held = spool_take_number(c, 1) != 0;

    if (spool_content_error(c) == 0)
        r->message->is_held = is_held;
    return spool_content_error(c);
}

/* 0, ERR_MEMORY, or ERR_SYNTAX: the sum is right, and yet it makes no sense. Types that are not
 * known here are passed over: whoever adds one that must not be raises the version. */
static int read_later_record(struct reading *r)
{
    struct spool_content c = {.left = r->record.content, .arena = r->arena};

    switch (r->record.type) {
    case RECORD_MESSAGE:
    case RECORD_RECIPIENT:
        return ERR_SYNTAX;
    case RECORD_OUTCOME:
    case RECORD_REPORTED:
    case RECORD_WARNED:
    case RECORD_REROUTED:
        return read_change(r, &c);
    case RECORD_HOLD:
        return read_hold(r, &c);
    default:
        return 0;
    }
}

size_t spool_reply_max(uint32_t recipient_count)
{
    size_t each = REPLIES_MAX / (recipient_count + (size_t)1);
    return each < REPLY_TEXT_MAX ? each : REPLY_TEXT_MAX;
}

int spool_message_parse(const struct spool_head *head, struct bytes records, struct arena *arena,
                        struct spool_message *message_out)
{
    struct spool_message message = {.head = *head, .records_end = spool_records_at(head)};
    struct reading reading = {.arena = arena, .message = &message, .left = records};
    int error = read_first_records(&reading);

    if (error != 0)
        return error;
    while (next_record(&reading)) {
        error = read_later_record(&reading);
        if (error == ERR_MEMORY)
            return error;
        if (error != 0)
            break;
        accept_record(&reading);
        message.has_later_records = true;
    }
    if (is_followed(head, message.records_end, reading.left))
        return ERR_SYNTAX;
    message.has_torn_end = reading.left.len != 0;
    *message_out = message;
    return 0;
}
