/* SPDX-License-Identifier: BSD-2-Clause */
/* The evaluator's sandbox: limits, no new privileges, seccomp. */
#include "filters/spf/spf_sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static int limit(int what, rlim_t most)
{
    struct rlimit both = {.rlim_cur = most, .rlim_max = most};

    return setrlimit((__rlimit_resource_t)what, &both) == 0 ? 0 : -errno;
}

int spf_sandbox_limit(void)
{
    int error = 0;

    if (close_range(3, ~0u, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        error = -errno;
    if (error == 0 && SPF_HAS_SANDBOX)
        error = limit(RLIMIT_AS, SPF_SANDBOX_MEMORY_BYTES);
    if (error == 0)
        error = limit(RLIMIT_CPU, SPF_SANDBOX_CPU_S);
    if (error == 0)
        error = limit(RLIMIT_CORE, 0);
    return error;
}

static int add_rules(scmp_filter_ctx filter)
{
    static const int freely[] = {SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap),
                                 SCMP_SYS(exit_group)};
    int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(read), 1,
                                 SCMP_A0(SCMP_CMP_EQ, STDIN_FILENO, 0));

    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1,
                                 SCMP_A0(SCMP_CMP_EQ, STDOUT_FILENO, 0));
    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                                 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                                 SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
    for (size_t i = 0; i < sizeof(freely) / sizeof(freely[0]) && error == 0; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, freely[i], 0);
    return error;
}

int spf_sandbox_close(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int error = filter == NULL ? -ENOMEM : add_rules(filter);

    if (error == 0)
        error = seccomp_load(filter); /* sets no_new_privs */
    if (filter != NULL)
        seccomp_release(filter);
    return error;
}
