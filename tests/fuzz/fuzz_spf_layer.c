/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole evaluations of SPF, with libspf2, over a DNS that answers anything: they end, ask for
 * nothing twice, and ask for no more than the limits of RFC 7208 allow. */
/* needs: filters/spf/spf_layer.c */
#include "filters/spf/spf_layer.h"
#include "filters/spf/spf_evaluation.h"
#include "tests/fuzz/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The record of each term, and the hosts or names behind it; an explanation and the client's names.
 */
#define QUESTIONS_MAX ((1 + SPF_ASKING_TERMS_MAX) * (1 + SPF_HOSTS_MAX) + 2 + SPF_HOSTS_MAX)

static struct spf_request request;

static bool is_asked(enum spf_type type, struct bytes name)
{
    for (unsigned i = 0; i < request.answer_count; i++)
        if (request.answers[i].type == type && bytes_equal_nocase(request.answers[i].name, name))
            return true;
    return false;
}

/* Each "|" ends a record. Addresses are the client's, or begin with the octets of the text. */
static void put_answer(struct buf *out, struct pool *pool, const struct spf_reply *need,
                       struct bytes text)
{
    struct spf_answer answer = {.type = need->type, .status = SPF_ABSENT, .name = need->name};
    size_t size = need->type == SPF_TYPE_A ? 4 : need->type == SPF_TYPE_AAAA ? 16 : 0;
    struct buf records;

    buf_init(&records, pool, 32768);
    if (bytes_is(text, "!"))
        answer.status = SPF_TEMPORARY;
    while (text.len > 0 && answer.status != SPF_TEMPORARY) {
        struct bytes record = bytes_first(text, bytes_find(text, '|'));
        uint8_t address[16] = {192, 0, 2, 1};

        text = bytes_skip(text, record.len < text.len ? record.len + 1 : record.len);
        if (size > 0) {
            memcpy(address, record.at, record.len < size ? record.len : size);
            record = bytes_make(address, size);
        }
        record = bytes_first(record, 255);
        buf_byte(&records, (uint8_t)(record.len >> 8));
        buf_byte(&records, (uint8_t)record.len);
        buf_put(&records, record);
        answer.status = SPF_FOUND;
        answer.count++;
    }
    answer.records = buf_bytes(&records);
    if (!records.has_failed)
        spf_wire_put_answer(out, &answer);
    else
        out->has_failed = true;
    buf_done(&records);
}

/* False: the result was told. */
static bool go_on(struct spf_layer *layer, struct buf *message, struct bytes *input)
{
    struct spf_reply reply;
    struct buf out;

    PIECES_MUST(spf_wire_read_request(buf_bytes(message), &request));
    PIECES_MUST(request.answer_count <= QUESTIONS_MAX);
    buf_init(&out, spf_layer_pool(layer), SPF_REPLY_MAX);
    PIECES_MUST(spf_layer_evaluate(layer, buf_bytes(message), &out));
    PIECES_MUST(spf_wire_read_reply(buf_bytes(&out), &reply));
    if (reply.is_need) {
        PIECES_MUST(reply.name.len > 0 && pieces_are_printable(reply.name));
        PIECES_MUST(!is_asked(reply.type, reply.name));
        put_answer(message, spf_layer_pool(layer), &reply, pieces_take_text(input));
    } else {
        PIECES_MUST((reply.result == SPF_FAIL) || reply.explanation.len == 0);
        PIECES_MUST(reply.mechanism.len == 0 || reply.problem.len == 0);
    }
    buf_done(&out);
    return reply.is_need && !message->has_failed;
}

/* The client, HELO, the local part and the domain, each on a line; then an answer on each. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_make(data, size);
    struct spf_layer *layer;
    struct spf_subject subject = {.receiver = bytes_of("r.test")};
    struct buf message;

    if (size > 60000 || netaddr_parse(pieces_take_text(&input), &subject.client) != 0)
        return 0;
    subject.helo = pieces_take_text(&input);
    subject.local = pieces_take_text(&input);
    subject.sender_domain = subject.domain = pieces_take_text(&input);
    layer = spf_layer_new();
    PIECES_MUST(layer != NULL);
    buf_init(&message, spf_layer_pool(layer), SPF_REQUEST_MAX);
    spf_wire_put_head(&message, 1, &subject, true);
    while (!message.has_failed && go_on(layer, &message, &input))
        continue;
    buf_done(&message);
    spf_layer_free(&layer);
    return 0;
}
