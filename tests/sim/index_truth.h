/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef POSTERN_INDEX_TRUTH_H
#define POSTERN_INDEX_TRUTH_H

#include "tests/sim/sim.h"

/* A message of which the index of its directory knows less than stands in its file, or something
 * else; NULL: there is none. The path is good until the next call of sim.h. */
const char *index_lie(struct sim *w);

#endif
