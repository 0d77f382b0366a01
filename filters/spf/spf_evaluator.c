/* SPDX-License-Identifier: BSD-2-Clause */
/* postern-spf: evaluates SPF for postern, which starts it. Requests come on descriptor 0, one
 * message each, and replies leave on 1. It ends when postern closes the channel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "filters/spf/spf_layer.h"
#include "filters/spf/spf_sandbox.h"
#include "filters/spf/spf_wire.h"

static uint8_t message[SPF_REQUEST_MAX];

/* libspf2 and the allocator do what they do once. */
static bool warm_up(struct spf_layer *layer)
{
    static const uint8_t policy[] = "\0\20v=spf1 a mx -all";
    const struct spf_subject subject = {.client = {.family = NETADDR_IPV4},
                                        .domain = bytes_of("warm.test")};
    struct spf_answer answer = {.type = SPF_TYPE_TXT,
                                .status = SPF_FOUND,
                                .name = subject.domain,
                                .count = 1,
                                .records = bytes_make(policy, sizeof(policy) - 1)};
    struct buf request, reply;
    bool is_fine;

    buf_init(&request, spf_layer_pool(layer), SPF_REQUEST_MAX);
    buf_init(&reply, spf_layer_pool(layer), SPF_REPLY_MAX);
    spf_wire_put_head(&request, 0, &subject, true);
    spf_wire_put_answer(&request, &answer);
    is_fine = spf_layer_evaluate(layer, buf_bytes(&request), &reply);
    buf_done(&request);
    buf_done(&reply);
    return is_fine;
}

/* False: postern is gone, or talks nonsense. */
static bool answer_one(struct spf_layer *layer)
{
    ssize_t length = read(STDIN_FILENO, message, sizeof(message));
    struct buf reply;
    bool goes_on;

    if (length <= 0)
        return false;
    buf_init(&reply, spf_layer_pool(layer), SPF_REPLY_MAX);
    goes_on = spf_layer_evaluate(layer, bytes_make(message, (size_t)length), &reply) &&
              write(STDOUT_FILENO, buf_bytes(&reply).at, buf_length(&reply)) ==
                  (ssize_t)buf_length(&reply);
    buf_done(&reply);
    return goes_on;
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "postern-spf: %s: %s\n", what, strerror(-error));
    return EX_OSERR;
}

int main(void)
{
    struct spf_layer *layer;
    int error;

    if (isatty(STDIN_FILENO)) {
        fprintf(stderr, "postern-spf is started by postern, see postern(8)\n");
        return EX_USAGE;
    }
    error = spf_sandbox_limit();
    if (error != 0)
        return fail("limits", error);
    layer = spf_layer_new();
    if (layer == NULL || !warm_up(layer))
        return EX_OSERR;
    error = SPF_HAS_SANDBOX ? spf_sandbox_close() : 0;
    if (error != 0)
        return fail("sandbox", error);
    while (answer_one(layer))
        continue;
    spf_layer_free(&layer);
    return 0;
}
