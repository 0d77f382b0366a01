/* SPDX-License-Identifier: BSD-2-Clause */
/* What the evaluator gives up before it reads its first request. */
#ifndef POSTERN_SPF_SANDBOX_H
#define POSTERN_SPF_SANDBOX_H

#define SPF_SANDBOX_MEMORY_BYTES (64 << 20)
#define SPF_SANDBOX_CPU_S        600 /* in all; postern starts a new one long before */

/* Sanitizers and gcov make system calls of their own, and reserve terabytes of addresses. */
#if defined(__SANITIZE_ADDRESS__) || defined(POSTERN_COVERAGE)
#define SPF_HAS_SANDBOX 0
#else
#define SPF_HAS_SANDBOX 1
#endif

/* Leaves descriptors 0, 1 and 2, little memory, and no cores; dies with its parent. 0 or -errno. */
int spf_sandbox_limit(void);
/* From here on: reading from descriptor 0, writing to 1, memory that nobody executes, and ending.
 * Any other system call kills the process. 0 or -errno. */
int spf_sandbox_close(void);

#endif
