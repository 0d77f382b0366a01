/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections that are taken back from unfinished transactions, for those who wait: relay_pace.h
 * says which. Its message goes on into the copy, and is replayed when it is whole. */
#ifndef POSTERN_RELAY_YIELD_H
#define POSTERN_RELAY_YIELD_H

struct relay;

/* For those who wait here, and have no connection on its way. Reports to nobody. */
void relay_yield_to_waiting(struct relay *r);
/* For so many who wait in other processes, and for whom none is being closed here or lies idle
 * anywhere. Reports to nobody. */
void relay_yield_to_others(struct relay *r, unsigned waiting);

#endif
