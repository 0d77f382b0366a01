/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of filter there is: a new one is an entry here, and a file of its own. */
#include "proxy/config/filter_kinds.h"

#include "filters/milter/milter.h"
#include "filters/spf/spf.h"

const struct filter_kind *const filter_kinds[] = {&spf_kind, &milter_kind, NULL};
