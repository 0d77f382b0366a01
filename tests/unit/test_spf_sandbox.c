/* SPDX-License-Identifier: BSD-2-Clause */
/* The evaluator's sandbox: in a process of its own for each attempt, whose end tells what became of
 * it. */
/* needs: filters/spf/spf_sandbox.c */
#include "filters/spf/spf_sandbox.h"

#include "tests/unit/lib.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Straight to the kernel, past what sanitizers put around calls. 0: it was done. */
static long do_read(void)
{
    char octet;

    return syscall(SYS_read, STDIN_FILENO, &octet, 1) == 1 && octet == 'x' ? 0 : -1;
}

static long do_write(void)
{
    return syscall(SYS_write, STDOUT_FILENO, "y", 1) == 1 ? 0 : -1;
}

static long map(int protection, int flags)
{
    return syscall(SYS_mmap, NULL, 65536, protection, flags, -1, 0) == -1 ? -1 : 0;
}

static long do_map(void)
{
    return map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
}

static long do_map_code(void)
{
    return map(PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
}

static long do_map_file(void)
{
    return map(PROT_READ, MAP_PRIVATE);
}

static long do_protect(void)
{
    return syscall(SYS_mprotect, (uintptr_t)do_map & ~(uintptr_t)4095, 4096, PROT_WRITE);
}

static long do_read_other(void)
{
    char octet;

    return syscall(SYS_read, STDOUT_FILENO, &octet, 1);
}

static long do_write_other(void)
{
    return syscall(SYS_write, STDERR_FILENO, "y", 1);
}

static long do_open(void)
{
    return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
}

static long do_socket(void)
{
    return syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
}

static long do_send(void)
{
    return syscall(SYS_sendto, STDOUT_FILENO, "y", 1, 0, NULL, 0);
}

static long do_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long do_execute(void)
{
    char *const arguments[] = {NULL};

    return syscall(SYS_execve, "/bin/true", arguments, arguments);
}

static long do_kill(void)
{
    return syscall(SYS_kill, getppid(), 0);
}

static long do_control(void)
{
    return syscall(SYS_ioctl, STDIN_FILENO, 0, 0);
}

static long do_ask_time(void)
{
    return syscall(SYS_clock_gettime, 0, NULL);
}

static const struct row {
    const char *name;
    long (*attempt)(void);
    bool may;
} rows[] = {
    {"read requests", do_read, true},
    {"write replies", do_write, true},
    {"map memory", do_map, true},
    {"map code", do_map_code, false},
    {"map a file", do_map_file, false},
    {"change protection", do_protect, false},
    {"read from elsewhere", do_read_other, false},
    {"write elsewhere", do_write_other, false},
    {"open a file", do_open, false},
    {"open a socket", do_socket, false},
    {"send on the channel in another way", do_send, false},
    {"fork", do_fork, false},
    {"execute a program", do_execute, false},
    {"send a signal", do_kill, false},
    {"ioctl", do_control, false},
    {"ask for the time", do_ask_time, false},
};

/* In the new process. */
static void try(int fd, long (*attempt)(void))
{
    long code = 1;

    if (dup2(fd, STDIN_FILENO) == STDIN_FILENO && dup2(fd, STDOUT_FILENO) == STDOUT_FILENO &&
        spf_sandbox_close() == 0)
        code = attempt() == 0 ? 0 : 2;
    syscall(SYS_exit_group, code);
}

/* The exit code, or the negative signal. */
static int end_of(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static bool is_in_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return preloaded != NULL && strstr(preloaded, "vgpreload") != NULL;
}

static void test_system_calls(void **state)
{
    (void)state;
    if (is_in_valgrind()) /* its own system calls would be refused */
        skip();
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        int ends[2];
        pid_t child;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
        assert_int_equal(write(ends[0], "x", 1), 1);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
            try(ends[1], rows[i].attempt);
        lib_same_number(i, rows[i].name, rows[i].may ? 0 : -SIGSYS, end_of(child));
        close(ends[0]);
        close(ends[1]);
    }
    lib_end_rows();
}

static bool has_limit(int what, rlim_t most)
{
    struct rlimit now;

    return getrlimit((__rlimit_resource_t)what, &now) == 0 && now.rlim_cur == most &&
           now.rlim_max == most;
}

static void check_limits(int fd)
{
    int error = spf_sandbox_limit();
    bool are_set = error == 0 && has_limit(RLIMIT_CORE, 0) &&
                   has_limit(RLIMIT_CPU, SPF_SANDBOX_CPU_S) &&
                   (!SPF_HAS_SANDBOX || has_limit(RLIMIT_AS, SPF_SANDBOX_MEMORY_BYTES));

    syscall(SYS_exit_group, are_set && fcntl(fd, F_GETFD) < 0 && errno == EBADF ? 0 : 1);
}

static void test_limits(void **state)
{
    int fd = dup(STDERR_FILENO);
    pid_t child;

    (void)state;
    if (is_in_valgrind())
        skip();
    assert_true(fd > 2);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        check_limits(fd);
    assert_int_equal(end_of(child), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_system_calls),
                                       cmocka_unit_test(test_limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
