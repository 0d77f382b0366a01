/* SPDX-License-Identifier: BSD-2-Clause */
/* SPF as a kind of filter: [spf "N"]. */
#ifndef POSTERN_SPF_H
#define POSTERN_SPF_H

#include "filters/filter_kind.h"

extern const struct filter_kind spf_kind;

#endif
