/* SPDX-License-Identifier: BSD-2-Clause */
/* posternctl probe: what a target does, stage by stage. It asks no server: it speaks to the target
 * itself, with the server's settings and as the server's account. */
#ifndef POSTERN_CONTROL_PROBE_H
#define POSTERN_CONTROL_PROBE_H

#include <stdbool.h>

#include "proxy/base/buf.h"
#include "proxy/config/config.h"

#define CONTROL_PROBE_WORDS_MAX 4

/* What was typed behind `probe`. */
struct control_probe_request {
    struct bytes target;
    struct address to;
    bool smuggles; /* leaves mail at `to` */
    bool is_json;
};

/* NULL: *request_out is filled in; else what is wrong. Texts stay in `words`, or in `arena`. */
const char *control_probe_read(char *const *words, int count, struct arena *arena,
                               struct control_probe_request *request_out);

/* Probes. Gives `print` an answer as control_begin() makes it, piece by piece. 0, or the exit code
 * where there is no answer: told on stderr. */
int control_probe(struct config *config, const struct control_probe_request *request,
                  void (*print)(void *owner, struct bytes piece), void *owner);

#endif
