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

static void remove_place(const struct place *p)
{
    static const char *const directories[] = {"/x/yy/z", "/x/yy", "/x", ""};
    char path[128];

    disk_unlink(p->a);
    disk_unlink(p->b);
    for (size_t i = 0; i < ARRAY_LENGTH(directories); i++) {
        snprintf(path, sizeof(path), "%s%s", p->root, directories[i]);
        disk_remove_directory(path);
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
    assert_int_equal(disk_open_directory(p.a), -ENOTDIR);
    assert_int_equal(disk_open_directory(p.b), -ENOENT);
    fd = disk_open_directory(p.root);
    assert_true(fd >= 0);
    assert_int_equal(disk_sync_open_directory(fd), 0);
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

/* ---- directories ---- */

struct names {
    char at[8][32];
    size_t count, most;
};

static bool keep_name(void *owner, const char *name)
{
    struct names *n = owner;

    assert_true(n->count < n->most && strlen(name) < sizeof(n->at[0]));
    memcpy(n->at[n->count++], name, strlen(name) + 1);
    return n->count < n->most;
}

static bool has_name(const struct names *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->at[i], name) == 0)
            return true;
    return false;
}

static void lists_and_removes_directories(void **state)
{
    struct place p = new_place();
    struct names all = {.most = 8}, one = {.most = 1}, none = {.most = 8};

    (void)state;
    put_file(p.a, "a");
    put_file(p.b, "b");
    assert_int_equal(disk_make_directories(p.sub), 0);
    assert_int_equal(disk_list(p.root, keep_name, &all), 0);
    assert_int_equal(all.count, 3); /* what lies deeper is not told */
    assert_true(has_name(&all, "a") && has_name(&all, "b") && has_name(&all, "x"));
    assert_int_equal(disk_list(p.root, keep_name, &one), 0);
    assert_int_equal(one.count, 1);
    assert_int_equal(disk_list(p.sub, keep_name, &none), 0);
    assert_int_equal(none.count, 0);
    assert_int_equal(disk_list(p.a, keep_name, &none), -ENOTDIR);
    assert_int_equal(disk_remove_directory(p.root), -ENOTEMPTY);
    assert_int_equal(disk_remove_directory(p.sub), 0);
    assert_int_equal(disk_remove_directory(p.sub), -ENOENT);
    assert_int_equal(disk_remove_directory(p.a), -ENOTDIR);
    assert_int_equal(disk_list(p.sub, keep_name, &none), -ENOENT);
    assert_file(p.a, "a");
    remove_place(&p);
}

/* ---- files that change ---- */

static void changes_files(void **state)
{
    struct place p = new_place();
    struct disk_facts facts;
    int fd;

    (void)state;
    assert_int_equal(disk_open_append(p.a), -ENOENT);
    put_file(p.a, "0123456789");
    fd = disk_open_append(p.a);
    assert_true(fd >= 0);
    assert_int_equal(disk_truncate(fd, 4), 0);
    assert_int_equal(disk_write_at(fd, 4, bytes_of("xyz")), 0);
    assert_file(p.a, "0123xyz");
    assert_int_equal(disk_truncate(fd, 5), 0);
    assert_int_equal(disk_write_at(fd, 7, bytes_of("z")), 0);
    assert_int_equal(disk_facts_of(fd, &facts), 0);
    assert_int_equal(facts.bytes, 8);
    assert_int_equal(facts.links, 1);
    assert_int_equal(disk_facts_of_path(p.a, &facts), 0);
    assert_int_equal(facts.bytes, 8);
    assert_int_equal(disk_facts_of_path(p.b, &facts), -ENOENT);
    assert_int_equal(disk_facts_of_path(p.root, &facts), 0);
    assert_int_equal(disk_unlink(p.a), 0);
    assert_int_equal(disk_facts_of(fd, &facts), 0);
    assert_int_equal(facts.links, 0);
    assert_int_equal(facts.bytes, 8); /* it is there as long as it is open */
    assert_int_equal(disk_close(fd), 0);

    fd = disk_open_unnamed(p.root);
    assert_int_equal(disk_facts_of(fd, &facts), 0);
    assert_int_equal(facts.links, 0);
    assert_int_equal(disk_link_unnamed(fd, p.b), 0);
    assert_int_equal(disk_facts_of(fd, &facts), 0);
    assert_int_equal(facts.links, 1);
    assert_int_equal(disk_close(fd), 0);
    remove_place(&p);
}

/* A name leads to the file that was given it last; descriptors stay with theirs. */
static void marks_files(void **state)
{
    struct place p = new_place();
    struct disk_facts facts;
    int fd;

    (void)state;
    put_file(p.a, "text");
    fd = disk_open_append(p.a);
    assert_int_equal(disk_facts_of(fd, &facts), 0);
    assert_int_equal(facts.marks, 0);
    assert_int_equal(disk_mark(fd, DISK_MARK_TRIED), 0);
    assert_int_equal(disk_facts_of(fd, &facts), 0);
    assert_int_equal(facts.marks, DISK_MARK_TRIED);
    assert_int_equal(disk_mark(fd, DISK_MARK_SYNCING | DISK_MARK_UNSYNCED), 0);
    assert_int_equal(disk_close(fd), 0);
    assert_int_equal(disk_rename(p.a, p.b), 0); /* it is the file's, not its name's */
    assert_int_equal(disk_facts_of_path(p.b, &facts), 0);
    assert_int_equal(facts.marks, DISK_MARK_SYNCING | DISK_MARK_UNSYNCED);
    fd = disk_open_append(p.b);
    assert_int_equal(disk_mark(fd, 0), 0);
    assert_int_equal(disk_facts_of(fd, &facts), 0);
    assert_int_equal(facts.marks, 0);
    assert_int_equal(disk_close(fd), 0);
    assert_file(p.b, "text");
    remove_place(&p);
}

static void tells_files_apart(void **state)
{
    struct place p = new_place();
    struct disk_facts first, second, named;
    int fd, new_fd;

    (void)state;
    put_file(p.a, "first");
    fd = disk_open_read(p.a);
    new_fd = disk_open_unnamed(p.root);
    assert_int_equal(disk_facts_of(fd, &first), 0);
    assert_int_equal(disk_facts_of(new_fd, &second), 0);
    assert_true(first.number != second.number);
    assert_int_equal(disk_facts_of_path(p.a, &named), 0);
    assert_true(named.number == first.number);
    assert_int_equal(disk_link_unnamed(new_fd, p.b), 0);
    assert_int_equal(disk_replace(p.b, p.a), 0);
    assert_int_equal(disk_facts_of_path(p.a, &named), 0);
    assert_true(named.number == second.number);
    assert_int_equal(disk_facts_of(fd, &first), 0);
    assert_int_equal(first.links, 0);
    assert_true(first.number != second.number);
    assert_int_equal(disk_close(fd), 0);
    assert_int_equal(disk_close(new_fd), 0);
    remove_place(&p);
}

static void locks_files(void **state)
{
    struct place p = new_place();
    int first, second;

    (void)state;
    put_file(p.a, "");
    first = disk_open_append(p.a);
    second = disk_open_append(p.a);
    assert_int_equal(disk_lock(first), 0);
    assert_int_equal(disk_lock(first), 0); /* it is ours */
    assert_int_equal(disk_lock(second), -EAGAIN);
    assert_int_equal(disk_rename(p.a, p.b), 0); /* the name does not matter */
    assert_int_equal(disk_lock(second), -EAGAIN);
    disk_unlock(second); /* it is not his */
    assert_int_equal(disk_lock(second), -EAGAIN);
    assert_int_equal(disk_close(first), 0);
    assert_int_equal(disk_lock(second), 0);
    first = disk_open_append(p.b);
    assert_int_equal(disk_lock(first), -EAGAIN);
    disk_unlock(second);
    assert_int_equal(disk_lock(first), 0);
    assert_int_equal(disk_close(second), 0);
    assert_int_equal(disk_close(first), 0);
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
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(names_unnamed_files),
        cmocka_unit_test(renames),
        cmocka_unit_test(makes_directories),
        cmocka_unit_test(lists_and_removes_directories),
        cmocka_unit_test(changes_files),
        cmocka_unit_test(marks_files),
        cmocka_unit_test(tells_files_apart),
        cmocka_unit_test(locks_files),
        cmocka_unit_test(reads_whole_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
