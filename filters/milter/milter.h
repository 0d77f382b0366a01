/* SPDX-License-Identifier: BSD-2-Clause */
/* Milters as a kind of filter: [milter "N"]. */
#ifndef POSTERN_MILTER_H
#define POSTERN_MILTER_H

#include "filters/filter_kind.h"

extern const struct filter_kind milter_kind;

#endif
