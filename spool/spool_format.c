/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading the first block and the records. */
#include "spool/spool_format.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "spool/spool_format_private.h"

#define BODY_BYTES_MAX (UINT64_C(1) << 56)
/* Of the smallest RECIPIENT. A count of recipients is checked against it before memory is
 * allocated. */
#define RECIPIENT_BYTES_MIN 64
/* Octets of the last replies: of one recipient, and of all of them. */
#define REPLY_TEXT_MAX 4096
#define REPLIES_MAX    (2U << 20)
/* How many octets are summed, for each octet there is, in the search for a record after one that is
 * not whole; and how many at least. */
#define SEARCH_FACTOR 16
#define SEARCH_MIN    65536

/* ---- contents ---- */

struct bytes spool_take(struct spool_content *content, size_t octets)
{
    struct bytes taken = bytes_first(content->left, octets);

    if (taken.len < octets) {
        content->is_short = true;
        content->left = bytes_make(NULL, 0);
        return content->left;
    }
    content->left = bytes_skip(content->left, octets);
    return taken;
}

uint64_t spool_take_number(struct spool_content *content, size_t octets)
{
    struct bytes taken = spool_take(content, octets);
    return spool_load_number(taken.at, taken.len);
}

struct bytes spool_take_text(struct spool_content *content)
{
    struct bytes text = spool_take(content, (size_t)spool_take_number(content, 4)),
                 copy = {NULL, 0};

    if (arena_copy(content->arena, text, &copy) != 0)
        content->has_no_memory = true;
    return copy;
}

void spool_take_address(struct spool_content *content, struct address *address)
{
    unsigned bits = (unsigned)spool_take_number(content, 1);

    address->is_literal = (bits & ADDRESS_IS_LITERAL) != 0;
    address->keeps_case = (bits & ADDRESS_KEEPS_CASE) != 0;
    address->keeps_dots = (bits & ADDRESS_KEEPS_DOTS) != 0;
    address->local = spool_take_text(content);
    address->domain = spool_take_text(content);
}

void spool_take_tries(struct spool_content *content, struct spool_recipient *s)
{
    uint64_t fate = spool_take_number(content, 1);
    unsigned bits = (unsigned)spool_take_number(content, 1);

    if (fate > FATE_DISCARDED)
        content->is_short = true; /* there is no such fate */
    else
        s->fate = (enum fate)fate;
    s->may_be_duplicate = (bits & RECIPIENT_MAY_BE_DUPLICATE) != 0;
    s->is_relayed = (bits & RECIPIENT_IS_RELAYED) != 0;
    s->is_delivered = (bits & RECIPIENT_IS_DELIVERED) != 0;
    s->is_reported = (bits & RECIPIENT_IS_REPORTED) != 0;
    s->is_warned = (bits & RECIPIENT_IS_WARNED) != 0;
    s->is_unverified = (bits & RECIPIENT_IS_UNVERIFIED) != 0;
    s->tries = (uint32_t)spool_take_number(content, 4);
    s->tried_ms = (int64_t)spool_take_number(content, 8);
}

int spool_content_error(const struct spool_content *content)
{
    if (content->has_no_memory)
        return ERR_MEMORY;
    return content->is_short ? ERR_SYNTAX : 0;
}

/* ---- the first block ---- */

int spool_head_parse(struct bytes block, struct spool_head *head_out)
{
    struct spool_head head = {0};

    if (block.len < SPOOL_HEAD_BYTES ||
        memcmp(block.at + HEAD_MAGIC, SPOOL_MAGIC, SPOOL_MAGIC_BYTES) != 0 ||
        spool_load_number(block.at + HEAD_SUM, 8) != hash_chain(0, bytes_first(block, HEAD_SUM)))
        return ERR_SYNTAX;
    uint64_t version = spool_load_number(block.at + HEAD_VERSION, 4);
    if (version == 0 || version > SPOOL_VERSION)
        return ERR_RANGE;
    head.is_version_2 = version == SPOOL_VERSION;
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
    size_t whole_bytes; /* with its head and the zeros after its content */
};

/* The length of the record that `left` begins with, as its head says. */
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

/* `left` begins, at `at` in the file, with a record that is not whole. Does a whole record follow
 * that was written later? (A crash may leave any part of what was written in one go.) If the search
 * becomes too long, lengths were forged, which counts as damage too. */
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

static void take_netaddr(struct spool_content *content, struct netaddr *address)
{
    uint64_t family = spool_take_number(content, 1);

    address->family = family == NETADDR_IPV4   ? NETADDR_IPV4
                      : family == NETADDR_IPV6 ? NETADDR_IPV6
                                               : NETADDR_NONE;
    address->port = (uint16_t)spool_take_number(content, 2);
    struct bytes octets = spool_take(content, sizeof(address->octets));
    if (octets.len != 0)
        memcpy(address->octets, octets.at, octets.len);
}

static void take_identity(struct spool_content *content, struct identity *who)
{
    take_netaddr(content, &who->client);
    take_netaddr(content, &who->local);
    uint64_t name_state = spool_take_number(content, 1);
    who->name_state = name_state <= IDENTITY_NAME_TEMPORARY ? (enum identity_name)name_state
                                                            : IDENTITY_NAME_UNAVAILABLE;
    uint64_t protocol = spool_take_number(content, 1);
    who->is_secured = (protocol & SPOOL_PROTOCOL_TLS) != 0;
    protocol &= ~(uint64_t)SPOOL_PROTOCOL_TLS;
    who->is_esmtp = protocol != 0;
    who->is_lmtp = protocol == 2;
    who->name = spool_take_text(content);
    who->reverse_name = spool_take_text(content);
    who->helo = spool_take_text(content);
}

static void take_asserted(struct spool_content *content, struct identity *who)
{
    who->login = spool_take_text(content);
    who->reference = spool_take_text(content);
    who->hops_left = (uint8_t)spool_take_number(content, 1);
}

/* A text that older versions did not write. */
static struct bytes take_new_text(struct spool_content *content)
{
    return content->left.len == 0 ? bytes_make(NULL, 0) : spool_take_text(content);
}

static void take_origin(struct spool_content *content, struct identity *who)
{
    *who = (struct identity){.is_esmtp = false};
    take_identity(content, who);
    who->reference = spool_take_text(content);
    who->protocol = spool_take_text(content);
    who->is_local = spool_take_number(content, 1) != 0;
}

static void take_message(struct spool_content *content, struct spool_message *m)
{
    m->recipient_count = (uint32_t)spool_take_number(content, 4);
    unsigned bits = (unsigned)spool_take_number(content, 4);
    m->is_held = (bits & MESSAGE_IS_HELD) != 0;
    m->is_report = (bits & MESSAGE_IS_REPORT) != 0;
    m->envelope.is_8bit = (bits & MESSAGE_IS_8BIT) != 0;
    m->envelope.is_binary = (bits & MESSAGE_IS_BINARY) != 0;
    m->envelope.is_dsn = (bits & MESSAGE_IS_DSN) != 0;
    m->arrived_ms = (int64_t)spool_take_number(content, 8);
    m->envelope.size_bytes = spool_take_number(content, 8);
    struct bytes id = spool_take(content, ID_LENGTH);
    if (id.len != 0)
        memcpy(m->envelope.id.text, id.at, id.len);
    spool_take_address(content, &m->envelope.from);
    m->envelope.params = spool_take_text(content);
    take_identity(content, &m->client);
    m->listener = spool_take_text(content);
    m->hostname = spool_take_text(content);
    if (content->left.len != 0) /* older files end here */
        take_asserted(content, &m->client);
    m->view = view_whole();
    m->view.lines = take_new_text(content);
    m->view.above = m->view.lines.len;
    m->has_origin = content->left.len != 0;
    m->origin = m->client;
    if (m->has_origin)
        take_origin(content, &m->origin);
}

static void take_state(struct spool_content *content, struct spool_recipient *s)
{
    spool_take_tries(content, s);
    s->reply = spool_take_text(content);
    s->remote = spool_take_text(content);
}

static void take_way(struct spool_content *content, struct spool_recipient *s)
{
    spool_take_address(content, &s->to);
    s->target = spool_take_text(content);
}

/* Older files, and reports, do not know it: all of the local part counts. */
static void take_mailbox(struct spool_content *content, struct spool_recipient *s)
{
    s->to.mailbox = content->left.len == 0 ? 0 : spool_take_number(content, 8);
    if (s->to.mailbox == 0)
        s->to.mailbox = address_mailbox(&s->to, s->to.local);
}

/* `lines_out`: header fields for this recipient's target alone, as postern wrote them when it had
 * no views. */
static void take_recipient(struct spool_content *content, struct spool_recipient *s,
                           struct bytes *lines_out)
{
    spool_take_address(content, &s->original);
    take_way(content, s);
    s->params = spool_take_text(content);
    s->identity = (unsigned)spool_take_number(content, 4);
    take_state(content, s);
    *lines_out = take_new_text(content);
    s->view = content->left.len == 0 ? 0 : (uint32_t)spool_take_number(content, 4);
    take_mailbox(content, s);
}

static void take_new_way(struct spool_content *content, struct spool_recipient *s)
{
    take_way(content, s);
    take_mailbox(content, s);
}

/* An outcome does not say what was reported already. */
static void take_outcome(struct spool_content *content, struct spool_recipient *s)
{
    struct spool_recipient before = *s;

    take_state(content, s);
    s->is_reported = before.is_reported;
    s->is_warned = before.is_warned;
    s->is_unverified = before.is_unverified;
}

/* ---- a message ---- */

struct reading {
    struct arena *arena;
    struct spool_message *message;
    struct bytes left; /* what follows the last record that counted */
    struct record record;
};

/* Reads the next record. accept_record() follows if its content makes sense. */
static bool next_record(struct reading *reading)
{
    return take_record(&reading->message->head, reading->message->records_end, reading->left,
                       &reading->record);
}

static void accept_record(struct reading *reading)
{
    assert(reading->record.whole_bytes <= reading->left.len &&
           reading->record.whole_bytes % 8 == 0);
    reading->left = bytes_skip(reading->left, reading->record.whole_bytes);
    reading->message->records_end += reading->record.whole_bytes;
}

/* Older files do not say by whom: only operators held messages then, or the queue itself. */
static int read_hold(struct reading *reading, struct spool_content *content)
{
    bool is_held = spool_take_number(content, 1) != 0;
    struct spool_hold hold = {.by = SPOOL_HELD_BY_OPERATOR};

    if (content->left.len != 0) {
        uint64_t by = spool_take_number(content, 1);
        hold.since_ms = (int64_t)spool_take_number(content, 8);
        hold.reason = spool_take_text(content);
        if (by > SPOOL_HELD_BY_QUEUE)
            return ERR_SYNTAX;
        hold.by = (enum spool_holder)by;
    }
    if (spool_content_error(content) == 0) {
        reading->message->is_held = is_held;
        reading->message->hold = hold;
    }
    return spool_content_error(content);
}

/* ---- what a message begins with ---- */

/* Room for a view each. */
static int make_room_for_views(struct reading *reading)
{
    struct spool_message *m = reading->message;

    if (m->views == NULL)
        m->views = arena_alloc(reading->arena, m->recipient_count * sizeof(*m->views));
    return m->views == NULL ? ERR_MEMORY : 0;
}

/* `is_first`: of the VIEWs, where alone the message's own may stand. */
static int take_view(struct reading *reading, struct spool_content *content, bool is_first)
{
    struct spool_message *m = reading->message;
    uint64_t number = spool_take_number(content, 4), bits = spool_take_number(content, 4);
    struct view view;

    view.at = spool_take_number(content, 8);
    view.end = spool_take_number(content, 8);
    view.above = (size_t)spool_take_number(content, 4);
    view.lines = spool_take_text(content);
    if (spool_content_error(content) != 0)
        return spool_content_error(content);
    bool makes_sense = view.above <= view.lines.len && view.at <= m->head.body_bytes &&
                       view.at <= view.end &&
                       (view.end <= m->head.body_bytes || view.end == VIEW_TO_END);
    if (!makes_sense)
        return ERR_SYNTAX;
    if (number == 0 && is_first) {
        m->view = view;
        return 0;
    }
    if (number != m->view_count + 1 || m->view_count == m->recipient_count)
        return ERR_SYNTAX;
    int error = make_room_for_views(reading);
    if (error == 0)
        m->views[m->view_count++] =
            (struct spool_view){.view = view, .is_in_front = (bits & VIEW_IS_IN_FRONT) != 0};
    return error;
}

static int read_first_hold(struct reading *reading)
{
    struct spool_content content = {.arena = reading->arena};

    if (!next_record(reading) || reading->record.type != RECORD_HOLD)
        return 0;
    content.left = reading->record.content;
    int error = read_hold(reading, &content);
    if (error == 0)
        accept_record(reading);
    return error;
}

static int read_views(struct reading *reading)
{
    struct spool_content content = {.arena = reading->arena};

    for (bool is_first = true; next_record(reading) && reading->record.type == RECORD_VIEW;
         is_first = false) {
        content.left = reading->record.content;
        int error = take_view(reading, &content, is_first);
        if (error != 0)
            return error;
        accept_record(reading);
    }
    return 0;
}

/* An older file has the fields in front of the message with each recipient. */
static int take_own_lines(struct reading *reading, struct spool_recipient *s, struct bytes lines)
{
    struct spool_message *m = reading->message;

    if (lines.len == 0)
        return s->view <= m->view_count ? 0 : ERR_SYNTAX;
    while (s->view < m->view_count && !bytes_equal(m->views[s->view].view.lines, lines))
        s->view++;
    if (s->view++ < m->view_count)
        return 0;
    int error = make_room_for_views(reading);
    if (error != 0)
        return error;
    if (m->view_count == m->recipient_count)
        return ERR_SYNTAX;
    m->views[m->view_count++] =
        (struct spool_view){.view = {.lines = lines, .above = lines.len}, .is_in_front = true};
    return 0;
}

static int read_recipient(struct reading *reading, struct spool_recipient *s)
{
    struct spool_content content = {.arena = reading->arena};
    struct bytes lines;

    if (!next_record(reading) || reading->record.type != RECORD_RECIPIENT)
        return ERR_SYNTAX;
    content.left = reading->record.content;
    take_recipient(&content, s, &lines);
    int error = spool_content_error(&content);
    if (error == 0)
        error = take_own_lines(reading, s, lines);
    if (error == 0)
        accept_record(reading);
    return error;
}

/* Older files, and reports, have none. */
static int read_session(struct reading *reading)
{
    struct spool_content content = {.arena = reading->arena};

    if (!next_record(reading) || reading->record.type != RECORD_SESSION)
        return 0;
    content.left = reading->record.content;
    struct bytes session = spool_take(&content, ID_LENGTH);
    if (session.len == 0)
        return ERR_SYNTAX;
    memcpy(reading->message->envelope.session.text, session.at, session.len);
    accept_record(reading);
    return 0;
}

static int read_first_records(struct reading *reading)
{
    struct spool_message *m = reading->message;
    struct spool_content content = {.arena = reading->arena};

    if (!next_record(reading) || reading->record.type != RECORD_MESSAGE)
        return ERR_SYNTAX;
    content.left = reading->record.content;
    take_message(&content, m);
    if (spool_content_error(&content) != 0)
        return spool_content_error(&content);
    accept_record(reading);
    if (m->recipient_count == 0 || m->recipient_count > reading->left.len / RECIPIENT_BYTES_MIN)
        return ERR_SYNTAX;
    int error = read_first_hold(reading);
    if (error == 0)
        error = read_views(reading);
    if (error != 0)
        return error;
    m->recipients = arena_alloc(reading->arena, m->recipient_count * sizeof(*m->recipients));
    if (m->recipients == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < m->recipient_count && error == 0; i++)
        error = read_recipient(reading, &m->recipients[i]);
    return error == 0 ? read_session(reading) : error;
}

/* ---- what follows ---- */

/* A later record, about one recipient. */
static int read_change(struct reading *reading, struct spool_content *content)
{
    uint64_t index = spool_take_number(content, 4);
    struct spool_recipient changed;

    if (index >= reading->message->recipient_count)
        return ERR_SYNTAX;
    changed = reading->message->recipients[index];
    if (reading->record.type == RECORD_OUTCOME)
        take_outcome(content, &changed);
    else if (reading->record.type == RECORD_REROUTED)
        take_new_way(content, &changed);
    else if (reading->record.type == RECORD_REPORTED)
        changed.is_reported = true;
    else if (reading->record.type == RECORD_WARNED)
        changed.is_warned = true;
    if (spool_content_error(content) == 0)
        reading->message->recipients[index] = changed;
    return spool_content_error(content);
}

/* 0, ERR_MEMORY, or ERR_SYNTAX: the sum is right, and yet the record makes no sense. Unknown types
 * are passed over: whoever adds a type that must not be passed over raises the version. */
static int read_later_record(struct reading *reading)
{
    struct spool_content content = {.left = reading->record.content, .arena = reading->arena};

    switch (reading->record.type) {
    case RECORD_MESSAGE:
    case RECORD_RECIPIENT:
    case RECORD_VIEW:
        return ERR_SYNTAX;
    case RECORD_OUTCOME:
    case RECORD_REPORTED:
    case RECORD_WARNED:
    case RECORD_REROUTED:
        return read_change(reading, &content);
    case RECORD_HOLD:
        return read_hold(reading, &content);
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
