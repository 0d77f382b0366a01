/* SPDX-License-Identifier: BSD-2-Clause */
/* The same, on the disk of tests/sim. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_rewrite.c spool/store_mark.c spool/spool_index.c sim */
/* needs: spool/store_draft.c */
/* needs: spool/store_own.c spool/store_path.c */
#include "tests/unit/test_store.c"
