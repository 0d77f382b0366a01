/* SPDX-License-Identifier: BSD-2-Clause */
/* libspf2 with a DNS layer of our own, which answers from the request. Runs in the evaluator alone:
 * this and what lies below it is what hostile records reach. */
#ifndef POSTERN_SPF_LAYER_H
#define POSTERN_SPF_LAYER_H

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

struct spf_layer;

/* NULL: no memory. */
struct spf_layer *spf_layer_new(void);
void spf_layer_free(struct spf_layer **held);
/* Writes the reply to one request. False: it is no request, or there is no memory; nothing is
 * written. */
bool spf_layer_evaluate(struct spf_layer *layer, struct bytes request, struct buf *reply_out);
/* For the owner's buffers. */
struct pool *spf_layer_pool(struct spf_layer *layer);

#endif
