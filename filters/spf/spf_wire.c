/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes and reads messages. Both ends distrust each other: every length is checked. */
#include "filters/spf/spf_wire.h"

#define REQUEST        'Q'
#define REPLY          'R'
#define ADDRESS_OCTETS 16
#define LABEL_MAX      63

/* ---- names ---- */

/* Backslashes mean something to resolvers, and no host has one in its name. */
bool spf_name_read(struct bytes text, struct spf_name *name_out)
{
    struct spf_name name = {.len = text.len};
    size_t label = 0;

    if (text.len == 0 || text.len > SPF_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.at[i];

        if (!byte_is_printable(c) || c == '\\' || (c == '.' && label == 0) ||
            (c != '.' && label == LABEL_MAX))
            return false;
        label = c == '.' ? 0 : label + 1;
        name.text[i] = byte_lower(c);
    }
    *name_out = name;
    return label > 0;
}

/* ---- writing ---- */

static void put_16(struct buf *out, size_t number)
{
    assert(number <= UINT16_MAX);
    buf_byte(out, (uint8_t)(number >> 8));
    buf_byte(out, (uint8_t)number);
}

static void put_64(struct buf *out, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_byte(out, (uint8_t)(number >> shift));
}

static void put_32(struct buf *out, uint32_t number)
{
    put_16(out, number >> 16);
    put_16(out, number & 0xffff);
}

static void put_text(struct buf *out, struct bytes text, size_t max)
{
    text = bytes_first(text, max);
    put_16(out, text.len);
    buf_put(out, text);
}

void spf_wire_put_head(struct buf *out, uint32_t number, const struct spf_subject *subject,
                       bool wants_explanation)
{
    buf_byte(out, REQUEST);
    put_32(out, number);
    buf_byte(out, (uint8_t)subject->client.family);
    buf_put(out, bytes_make(subject->client.octets, ADDRESS_OCTETS));
    put_64(out, subject->wall_s);
    buf_byte(out, wants_explanation);
    put_text(out, subject->helo, UINT16_MAX);
    put_text(out, subject->local, UINT16_MAX);
    put_text(out, subject->sender_domain, UINT16_MAX);
    put_text(out, subject->domain, UINT16_MAX);
    put_text(out, subject->receiver, UINT16_MAX);
}

void spf_wire_put_answer(struct buf *out, const struct spf_answer *answer)
{
    buf_byte(out, (uint8_t)answer->type);
    buf_byte(out, (uint8_t)answer->status);
    put_text(out, answer->name, SPF_NAME_MAX);
    put_16(out, answer->count);
    buf_put(out, answer->records);
}

size_t spf_wire_size(const struct spf_answer *answer)
{
    return 6 + bytes_first(answer->name, SPF_NAME_MAX).len + answer->records.len;
}

void spf_wire_put_reply(struct buf *out, const struct spf_reply *reply)
{
    buf_byte(out, REPLY);
    put_32(out, reply->number);
    buf_byte(out, reply->is_need);
    if (reply->is_need) {
        buf_byte(out, (uint8_t)reply->type);
        put_text(out, reply->name, SPF_NAME_MAX);
        return;
    }
    buf_byte(out, (uint8_t)reply->result);
    put_text(out, reply->explanation, SPF_TEXT_MAX);
    put_text(out, reply->mechanism, SPF_WORD_MAX);
    put_text(out, reply->problem, SPF_WORD_MAX);
}

/* ---- reading ---- */

/* Once something is wrong everything that follows is empty; is_wrong is asked at the end. */
struct reader {
    struct bytes rest;
    bool is_wrong;
};

static struct bytes take(struct reader *r, size_t len)
{
    struct bytes taken = bytes_first(r->rest, len);

    r->is_wrong = r->is_wrong || taken.len < len;
    r->rest = r->is_wrong ? bytes_make(NULL, 0) : bytes_skip(r->rest, len);
    return r->is_wrong ? r->rest : taken;
}

static uint64_t take_number(struct reader *r, size_t octets)
{
    struct bytes taken = take(r, octets);
    uint64_t number = 0;

    for (size_t i = 0; i < taken.len; i++)
        number = number << 8 | taken.at[i];
    return number;
}

/* A value of an enum that has no holes. */
static unsigned take_choice(struct reader *r, unsigned count)
{
    uint64_t number = take_number(r, 1);

    r->is_wrong = r->is_wrong || number >= count;
    return r->is_wrong ? 0 : (unsigned)number;
}

static struct bytes take_text(struct reader *r, size_t max)
{
    uint64_t len = take_number(r, 2);

    r->is_wrong = r->is_wrong || len > max;
    return take(r, (size_t)len);
}

static enum spf_type take_type(struct reader *r)
{
    uint64_t number = take_number(r, 1);

    switch (number) {
    case SPF_TYPE_A:
    case SPF_TYPE_PTR:
    case SPF_TYPE_MX:
    case SPF_TYPE_TXT:
    case SPF_TYPE_AAAA:
        return (enum spf_type)number;
    }
    r->is_wrong = true;
    return SPF_TYPE_A;
}

static size_t size_of_type(enum spf_type type)
{
    return type == SPF_TYPE_A ? 4 : type == SPF_TYPE_AAAA ? ADDRESS_OCTETS : 0;
}

static void take_answer(struct reader *r, struct spf_answer *answer)
{
    const uint8_t *start;
    size_t size;

    answer->type = take_type(r);
    answer->status = (enum spf_status)take_choice(r, SPF_TEMPORARY + 1);
    answer->name = take_text(r, SPF_NAME_MAX);
    answer->count = (unsigned)take_number(r, 2);
    r->is_wrong = r->is_wrong || (answer->count > 0) != (answer->status == SPF_FOUND);
    size = size_of_type(answer->type);
    start = r->rest.at;
    for (unsigned left = answer->count; left > 0 && !r->is_wrong; left--) {
        struct bytes record = take_text(r, UINT16_MAX);

        r->is_wrong = r->is_wrong || (size != 0 && record.len != size);
    }
    answer->records = bytes_make(start, r->is_wrong ? 0 : (size_t)(r->rest.at - start));
}

static void take_subject(struct reader *r, struct spf_subject *s)
{
    struct bytes octets;

    *s = (struct spf_subject){.client.family =
                                  (enum netaddr_family)take_choice(r, NETADDR_IPV6 + 1)};
    octets = take(r, ADDRESS_OCTETS);
    if (octets.len > 0)
        memcpy(s->client.octets, octets.at, octets.len);
    r->is_wrong = r->is_wrong || s->client.family == NETADDR_NONE;
    s->wall_s = take_number(r, 8);
}

bool spf_wire_read_request(struct bytes message, struct spf_request *q)
{
    struct reader r = {.rest = message, .is_wrong = message.len > SPF_REQUEST_MAX};
    struct spf_subject *s = &q->subject;

    r.is_wrong = take_number(&r, 1) != REQUEST || r.is_wrong;
    q->number = (uint32_t)take_number(&r, 4);
    take_subject(&r, s);
    q->wants_explanation = take_choice(&r, 2) == 1;
    s->helo = take_text(&r, UINT16_MAX);
    s->local = take_text(&r, UINT16_MAX);
    s->sender_domain = take_text(&r, UINT16_MAX);
    s->domain = take_text(&r, UINT16_MAX);
    s->receiver = take_text(&r, UINT16_MAX);
    for (q->answer_count = 0; r.rest.len > 0 && !r.is_wrong; q->answer_count++) {
        if (q->answer_count == SPF_ANSWERS_MAX)
            return false;
        take_answer(&r, &q->answers[q->answer_count]);
    }
    return !r.is_wrong;
}

bool spf_wire_read_reply(struct bytes message, struct spf_reply *reply_out)
{
    struct reader r = {.rest = message, .is_wrong = message.len > SPF_REPLY_MAX};
    struct spf_reply reply = {0};

    r.is_wrong = take_number(&r, 1) != REPLY || r.is_wrong;
    reply.number = (uint32_t)take_number(&r, 4);
    reply.is_need = take_choice(&r, 2) == 1;
    if (reply.is_need) {
        reply.type = take_type(&r);
        reply.name = take_text(&r, SPF_NAME_MAX);
    } else {
        reply.result = (enum spf_result)take_choice(&r, SPF_RESULT_COUNT);
        reply.explanation = take_text(&r, SPF_TEXT_MAX);
        reply.mechanism = take_text(&r, SPF_WORD_MAX);
        reply.problem = take_text(&r, SPF_WORD_MAX);
    }
    if (r.is_wrong || r.rest.len > 0)
        return false;
    *reply_out = reply;
    return true;
}

struct bytes spf_wire_next_record(struct bytes *records)
{
    size_t len;
    struct bytes record;

    assert(records->len >= 2);
    len = (size_t)records->at[0] << 8 | records->at[1];
    assert(records->len >= 2 + len);
    record = bytes_make(records->at + 2, len);
    *records = bytes_skip(*records, 2 + len);
    return record;
}
