/* SPDX-License-Identifier: BSD-2-Clause */
/* disk_rename() on a file system that has links, but no renaming without replacing (NFS). */
/* needs: proxy/io/disk.c proxy/io/disk_steps.c */
#include "proxy/io/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/unit/lib.h"

static bool unlink_fails;

/* In the place of the C library's. */
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    (void)from_fd;
    (void)from;
    (void)to_fd;
    (void)to;
    (void)flags;
    errno = EINVAL;
    return -1;
}

int unlink(const char *path)
{
    if (!unlink_fails)
        return unlinkat(AT_FDCWD, path, 0);
    errno = EIO;
    return -1;
}

static bool is_there(const char *path)
{
    struct disk_facts facts;
    return disk_facts_of_path(path, &facts) == 0;
}

static void renames_by_links(void **state)
{
    char a[64], b[64];

    (void)state;
    snprintf(a, sizeof(a), "/tmp/postern-links-%ld-a", (long)getpid());
    snprintf(b, sizeof(b), "/tmp/postern-links-%ld-b", (long)getpid());
    assert_int_equal(disk_close(disk_create(a)), 0);
    assert_int_equal(disk_rename(a, b), 0);
    assert_true(!is_there(a) && is_there(b));
    assert_int_equal(disk_rename(a, b), -ENOENT);

    /* Another one's file has that name: both stay. */
    assert_int_equal(disk_close(disk_create(a)), 0);
    assert_int_equal(disk_rename(a, b), -EEXIST);
    assert_true(is_there(a) && is_there(b));
    assert_int_equal(disk_unlink(b), 0);

    /* Half of it has happened: the next call does the rest. */
    unlink_fails = true;
    assert_int_equal(disk_rename(a, b), -EIO);
    assert_true(is_there(a) && is_there(b));
    unlink_fails = false;
    assert_int_equal(disk_rename(a, b), 0);
    assert_true(!is_there(a) && is_there(b));
    assert_int_equal(disk_unlink(b), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renames_by_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
