/* SPDX-License-Identifier: BSD-2-Clause */
/* The channel between postern and its evaluator of SPF: any octets from either end. What is a
 * message is written the same way again; the evaluator replies to each request with a message. */
/* needs: filters/spf/spf_layer.c */
#include "filters/spf/spf_layer.h"
#include "filters/spf/spf_wire.h"
#include "tests/fuzz/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct spf_request request;

static void check_request(struct spf_layer *layer, struct bytes message)
{
    struct buf out;

    buf_init(&out, spf_layer_pool(layer), SPF_REQUEST_MAX);
    if (!spf_wire_read_request(message, &request)) {
        PIECES_MUST(!spf_layer_evaluate(layer, message, &out) && buf_length(&out) == 0);
        return;
    }
    spf_wire_put_head(&out, request.number, &request.subject, request.wants_explanation);
    for (unsigned i = 0; i < request.answer_count; i++)
        spf_wire_put_answer(&out, &request.answers[i]);
    PIECES_MUST(bytes_equal(buf_bytes(&out), message));
    buf_done(&out);
    PIECES_MUST(spf_layer_evaluate(layer, message, &out));
    struct spf_reply reply;
    PIECES_MUST(spf_wire_read_reply(buf_bytes(&out), &reply) && reply.number == request.number);
    buf_done(&out);
}

static void check_reply(struct spf_layer *layer, struct bytes message)
{
    struct spf_reply reply;
    struct buf out;

    if (!spf_wire_read_reply(message, &reply))
        return;
    buf_init(&out, spf_layer_pool(layer), SPF_REPLY_MAX);
    spf_wire_put_reply(&out, &reply);
    PIECES_MUST(bytes_equal(buf_bytes(&out), message));
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spf_layer *layer = spf_layer_new();

    PIECES_MUST(layer != NULL);
    check_request(layer, bytes_make(data, size));
    check_reply(layer, bytes_make(data, size));
    spf_layer_free(&layer);
    return 0;
}
