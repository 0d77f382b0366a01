/* SPDX-License-Identifier: BSD-2-Clause */
/* Performs a script before a worker of postern, once. */
#ifndef POSTERN_PERFORM_H
#define POSTERN_PERFORM_H

#include "proxy/config/config.h"
#include "tests/sim/sim.h"
#include "tests/transcripts/script.h"

/* How one performance differs from the others. */
struct way {
    const char *name; /* for messages */
    uint64_t seed;
    struct sim_ways sim;
    bool is_bytewise;
    bool cuts_target; /* whose octets are cut in two: */
    unsigned cut_actor;
    uint64_t cut_at;   /* 0: nobody's */
    uint64_t fail_nth; /* allocation; 0: none. What happens then need not follow the script */
    bool is_loud;      /* prints what is said */
};

/* False: it went otherwise, and a message was printed. `allocations_out`: how many were asked for
 * while the script was performed. */
bool perform(const struct script *s, const struct config *config, const struct way *way,
             uint64_t *allocations_out);

#endif
