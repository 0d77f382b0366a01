/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections that are taken back from unfinished transactions, for those who wait: relay_pace.h
 * says which. Its message goes on into the copy, and is replayed when it is whole. */
#ifndef POSTERN_RELAY_YIELD_H
#define POSTERN_RELAY_YIELD_H

struct relay;

/* As many as are wanted, where so many are to be had; the first `claims` of them for nets that hold
 * less than their share. Reports to nobody. */
void relay_yield(struct relay *r, unsigned wanted, unsigned claims);
/* For those who wait here, and have no connection on its way. */
void relay_yield_to_waiting(struct relay *r);

#endif
