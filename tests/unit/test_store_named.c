/* SPDX-License-Identifier: BSD-2-Clause */
/* The same, on a file system that has no unnamed files. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_rewrite.c spool/store_mark.c spool/spool_index.c sim */
/* needs: spool/store_draft.c */
/* needs: spool/store_own.c spool/store_path.c */
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

static int take_unnamed_files_away(void **state)
{
    (void)state;
    sim_disk_without_unnamed(sim_current());
    return 0;
}

#define SETUP take_unnamed_files_away
#include "tests/unit/test_store.c"
