/* SPDX-License-Identifier: BSD-2-Clause */
/* The same contract, kept by tests/sim. */
/* needs: sim */
#include "tests/unit/test_close_contract.c"
