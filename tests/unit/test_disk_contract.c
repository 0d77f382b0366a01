/* SPDX-License-Identifier: BSD-2-Clause */
/* What disk.h promises, seen through the header alone: holds for proxy/io and for tests/sim. */
/* needs: io */
#include "proxy/io/disk.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "tests/unit/lib.h"

struct place {
    char root[64], a[128], b[128], sub[128];
};

static struct place new_place(void)
{
    struct place p;

    snprintf(p.root, sizeof(p.root), "/tmp/postern-contract-%ld", (long)getpid());
    snprintf(p.a, sizeof(p.a), "%s/a", p.root);
    snprintf(p.b, sizeof(p.b), "%s/b", p.root);
    snprintf(p.sub, sizeof(p.sub), "%s/x//yy/z/", p.root);
    assert_int_equal(disk_make_directories(p.root), 0);
    return p;
}

/* There is no call for it in disk.h; where directories are not real, nothing happens. */
static void remove_place(const struct place *p)
{
    static const char *const directories[] = {"/x/yy/z", "/x/yy", "/x", ""};
    char path[128];

    disk_unlink(p->a);
    disk_unlink(p->b);
    for (size_t i = 0; i < ARRAY_LENGTH(directories); i++) {
        snprintf(path, sizeof(path), "%s%s", p->root, directories[i]);
        rmdir(path);
    }
}

static void assert_file(const char *path, const char *expected)
{
    uint8_t *octets = NULL;
    size_t len = 0;

    assert_int_equal(disk_read_file(path, 100000, &octets, &len), 0);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(octets, expected, len);
    mem_free(octets);
}

static void put_file(const char *path, const char *text)
{
    int fd = disk_create(path);

    assert_true(fd >= 0);
    assert_int_equal(disk_write_at(fd, 0, bytes_of(text)), 0);
    assert_int_equal(disk_close(fd), 0);
}

static void reads_and_writes(void **state)
{
    struct place p = new_place();
    struct bytes pieces[40];
    char into[8] = "";
    int fd;

    (void)state;
    assert_int_equal(disk_open_read(p.a), -ENOENT);
    fd = disk_create(p.a);
    assert_true(fd >= 0);
    assert_int_equal(disk_create(p.a), -EEXIST);
    assert_int_equal(disk_write_at(fd, 0, bytes_of("0123456789")), 0);
    assert_int_equal(disk_write_at(fd, 4, bytes_of("xy")), 0);
    assert_int_equal(disk_write_at(fd, 0, bytes_make(NULL, 0)), 0);
    assert_int_equal(disk_sync(fd), 0);
    assert_int_equal(disk_sync_directory(p.root), 0);
    assert_int_equal(disk_close(fd), 0);
    assert_file(p.a, "0123xy6789");

    fd = disk_open_read(p.a);
    assert_true(fd >= 0);
    assert_int_equal(disk_read_at(fd, 3, into, 4), 0);
    assert_string_equal(into, "3xy6");
    assert_int_equal(disk_read_at(fd, 8, into, 4), -EIO); /* two are there */
    assert_int_equal(disk_read_at(fd, 10, into, 0), 0);
    assert_int_equal(disk_close(fd), 0);

    fd = disk_create(p.b);
    for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++)
        pieces[i] = bytes_make("abcdefghijklmnopqrst" + i / 2, i % 2);
    assert_int_equal(disk_write_pieces_at(fd, 1, pieces, (int)ARRAY_LENGTH(pieces)), 0);
    assert_int_equal(disk_write_pieces_at(fd, 0, pieces, 2), 0);
    assert_int_equal(disk_write_pieces_at(fd, 0, pieces, 0), 0);
    assert_int_equal(disk_close(fd), 0);
    assert_file(p.b, "aabcdefghijklmnopqrst");
    remove_place(&p);
}

static void names_unnamed_files(void **state)
{
    struct place p = new_place();
    int fd = disk_open_unnamed(p.root);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(disk_write_at(fd, 0, bytes_of("text")), 0);
    assert_int_equal(disk_open_read(p.a), -ENOENT);
    assert_int_equal(disk_link_unnamed(fd, p.a), 0);
    assert_int_equal(disk_close(fd), 0);
    assert_file(p.a, "text");
    fd = disk_open_unnamed(p.root);
    assert_int_equal(disk_link_unnamed(fd, p.a), -EEXIST);
    assert_int_equal(disk_close(fd), 0);
    assert_file(p.a, "text");
    assert_true(disk_open_unnamed("/nonexistent/postern") < 0);
    remove_place(&p);
}

static void renames(void **state)
{
    struct place p = new_place();

    (void)state;
    put_file(p.a, "a");
    assert_int_equal(disk_rename(p.a, p.b), 0);
    assert_int_equal(disk_rename(p.a, p.b), -ENOENT);
    put_file(p.a, "second");
    assert_int_equal(disk_rename(p.a, p.b), -EEXIST);
    assert_file(p.a, "second");
    assert_file(p.b, "a");
    assert_int_equal(disk_replace(p.a, p.b), 0);
    assert_file(p.b, "second");
    assert_int_equal(disk_open_read(p.a), -ENOENT);
    assert_int_equal(disk_unlink(p.b), 0);
    assert_int_equal(disk_unlink(p.b), -ENOENT);
    remove_place(&p);
}

static void makes_directories(void **state)
{
    struct place p = new_place();
    char inside[160];
    uint64_t free_bytes = 0;

    (void)state;
    assert_int_equal(disk_make_directories(p.sub), 0);
    assert_int_equal(disk_make_directories(p.sub), 0);
    snprintf(inside, sizeof(inside), "%sfile", p.sub);
    put_file(inside, "deep");
    assert_file(inside, "deep");
    assert_int_equal(disk_unlink(inside), 0);
    put_file(p.a, "");
    snprintf(inside, sizeof(inside), "%s/below", p.a);
    assert_int_equal(disk_make_directories(inside), -ENOTDIR);
    assert_int_equal(disk_make_directories(p.a), -ENOTDIR);
    assert_int_equal(disk_free_bytes(p.root, &free_bytes), 0);
    assert_true(free_bytes > 0);
    remove_place(&p);
}

static bool read_whole(void *given)
{
    uint8_t *octets = NULL;
    size_t len = 0;
    int error = disk_read_file(given, 40000, &octets, &len);

    if (error != 0) {
        assert_int_equal(error, ERR_MEMORY);
        assert_null(octets);
        return false;
    }
    assert_int_equal(len, 40000);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(octets[i], i % 251);
    mem_free(octets);
    return true;
}

static void reads_whole_files(void **state)
{
    struct place p = new_place();
    uint8_t text[40000], *octets = NULL;
    size_t len = 0;
    int fd = disk_create(p.a);

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i % 251);
    assert_int_equal(disk_write_at(fd, 0, bytes_make(text, sizeof(text))), 0);
    assert_int_equal(disk_close(fd), 0);
    assert_true(lib_fail_each_allocation(read_whole, p.a) > 0);
    assert_int_equal(disk_read_file(p.a, 39999, &octets, &len), -EFBIG);
    assert_int_equal(disk_read_file(p.b, 10, &octets, &len), -ENOENT);
    assert_null(octets);
    put_file(p.b, "");
    assert_int_equal(disk_read_file(p.b, 0, &octets, &len), 0);
    assert_int_equal(len, 0);
    mem_free(octets);
    remove_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),  cmocka_unit_test(names_unnamed_files),
        cmocka_unit_test(renames),           cmocka_unit_test(makes_directories),
        cmocka_unit_test(reads_whole_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
