/* SPDX-License-Identifier: BSD-2-Clause */
/* The same contract, kept where everything is encrypted. */
/* needs: io */
#define UNSENT_MAX        (65536 + 1024)
#define CONTRACT_SETUP    tls_pair_set_up
#define CONTRACT_TEARDOWN tls_pair_tear_down

static int tls_pair_set_up(void **state);
static int tls_pair_tear_down(void **state);

#include "tests/unit/test_stream_contract.c"
#include "tests/unit/tls_pair.h"
