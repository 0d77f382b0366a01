/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of filter there is. */
#ifndef POSTERN_FILTER_KINDS_H
#define POSTERN_FILTER_KINDS_H

#include "filters/filter_kind.h"

/* In the order in which operators see them; NULL at the end. */
extern const struct filter_kind *const filter_kinds[];

#endif
