/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between processes: whole, in order, bounded; a name that is taken over; ends. */
/* needs: io */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/channel.h"
#include "proxy/io/deadline.h"
#include "tests/unit/lib.h"

#define CHANNELS_MAX 8
#define GIVE_UP_MS   10000

/* One end: a listener with its connections, or a connection. What it hears is `heard`. */
struct end {
    struct world *world;
    struct channel *channels[CHANNELS_MAX];
    int count, closes;
    char heard[4096];
    size_t longest;
    uint32_t messages;
    bool is_counting; /* each message is the number of those before it */
    bool answers, closes_itself;
};

struct world {
    struct loop *loop;
    char directory[64], path[100];
    struct end server, client;
    struct channel_listener *listener;
    struct deadline deadline;
    bool (*is_done)(struct world *w);
    bool is_late;
};

static void look(struct world *w)
{
    if (w->is_done != NULL && w->is_done(w))
        loop_stop(w->loop);
}

static void on_message(void *owner, struct channel *c, struct bytes message)
{
    struct end *e = owner;
    size_t length = strlen(e->heard);
    bool is_known = false;

    for (int i = 0; i < e->count; i++)
        is_known = is_known || e->channels[i] == c;
    if (!is_known)
        e->channels[e->count++] = c;
    if (message.len > e->longest)
        e->longest = message.len;
    if (e->is_counting)
        assert_memory_equal(message.at, &e->messages, sizeof(e->messages));
    e->messages++;
    if (message.len < 64 && !e->is_counting)
        (void)snprintf(e->heard + length, sizeof(e->heard) - length, "%.*s;", (int)message.len,
                       (const char *)message.at);
    if (e->answers)
        assert_true(channel_send(c, bytes_of("answer")));
    if (e->closes_itself)
        channel_close(c);
    look(e->world);
}

static void on_closed(void *owner, struct channel *c)
{
    struct end *e = owner;

    (void)c;
    e->closes++;
    look(e->world);
}

static const struct channel_events events = {.message = on_message, .closed = on_closed};

static void on_late(struct deadline *d)
{
    struct world *w = CONTAINER_OF(d, struct world, deadline);

    w->is_late = true;
    loop_stop(w->loop);
}

static const struct deadline_use late_use = {.reached = on_late};

static int set_up(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));

    w->loop = loop_new();
    deadline_init(&w->deadline, &late_use);
    w->server.world = w->client.world = w;
    strcpy(w->directory, "/tmp/postern-channel-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    (void)snprintf(w->path, sizeof(w->path), "%s/socket", w->directory);
    *state = w;
    return 0;
}

/* Runs until it is done (NULL: at once), and then to the end of everything, which the test or
 * `is_done` has brought about. */
static void run(struct world *w, bool (*is_done)(struct world *w))
{
    w->is_done = is_done;
    if (is_done == NULL)
        loop_stop(w->loop);
    else
        deadline_set(w->loop, &w->deadline, loop_now_ms(w->loop) + GIVE_UP_MS);
    assert_int_equal(loop_run(w->loop), 0);
    deadline_clear(w->loop, &w->deadline);
    assert_false(w->is_late);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char command[100];

    loop_free(&w->loop);
    (void)snprintf(command, sizeof(command), "rm -r %s", w->directory);
    assert_int_equal(system(command), 0);
    mem_free(w);
    return 0;
}

static void listen_at(struct world *w)
{
    int error = 1;

    w->listener = channel_listen(w->loop, w->path, &events, &w->server, &error);
    assert_non_null(w->listener);
}

static struct channel *connect_to(struct world *w)
{
    int error = 1;
    struct channel *c = channel_connect(w->loop, w->path, &events, &w->client, &error);

    assert_non_null(c);
    return c;
}

/* Closes what is left once the expected words were heard, so that the run ends. */
static bool close_all(struct world *w)
{
    deadline_clear(w->loop, &w->deadline);
    if (w->listener != NULL)
        channel_listener_close(w->listener);
    w->listener = NULL;
    return true;
}

/* ---- what is said arrives ---- */

static bool heard_both(struct world *w)
{
    return strcmp(w->server.heard, "one;two;three;") == 0 &&
           strcmp(w->client.heard, "answer;answer;answer;") == 0 && close_all(w);
}

static void test_whole_and_in_order(void **state)
{
    struct world *w = *state;

    listen_at(w);
    w->server.answers = true;
    struct channel *c = connect_to(w);
    assert_true(channel_send(c, bytes_of("one")));
    assert_true(channel_send(c, bytes_of("two")));
    assert_true(channel_send(c, bytes_of("three")));
    run(w, heard_both);
    assert_int_equal(w->server.closes, 1);
    assert_int_equal(w->client.closes, 1);
}

static bool heard_longest(struct world *w)
{
    return w->server.longest == CHANNEL_MESSAGE_MAX && close_all(w);
}

static void test_sizes(void **state)
{
    struct world *w = *state;
    uint8_t *octets = mem_zalloc(CHANNEL_MESSAGE_MAX + 1);

    listen_at(w);
    struct channel *c = connect_to(w);
    assert_false(channel_send(c, bytes_make(octets, 0)));
    assert_false(channel_send(c, bytes_make(octets, CHANNEL_MESSAGE_MAX + 1)));
    assert_true(channel_send(c, bytes_make(octets, CHANNEL_MESSAGE_MAX)));
    run(w, heard_longest);
    mem_free(octets);
}

/* A reader that never comes does not hold us. */
static void test_what_does_not_fit_is_lost(void **state)
{
    struct world *w = *state;
    uint8_t *octets = mem_zalloc(CHANNEL_MESSAGE_MAX);
    int sent = 0;

    listen_at(w);
    struct channel *c = connect_to(w);
    while (sent < 1000 && channel_send(c, bytes_make(octets, CHANNEL_MESSAGE_MAX)))
        sent++;
    assert_in_range(sent, 1, 999);
    mem_free(octets);
    channel_close(c);
    close_all(w);
    run(w, NULL);
}

#define MANY 5000

static bool heard_many(struct world *w)
{
    return w->server.messages == MANY && close_all(w);
}

/* More than the kernel takes at once comes all the same, in order. */
static void test_many_short_ones(void **state)
{
    struct world *w = *state;

    listen_at(w);
    struct channel *c = connect_to(w);
    for (uint32_t i = 0; i < MANY; i++)
        assert_true(channel_send(c, bytes_make(&i, sizeof(i))));
    w->server.is_counting = true;
    run(w, heard_many);
}

static bool heard_by_others(struct world *w)
{
    return strcmp(w->client.heard, "word;word;") == 0 && close_all(w);
}

static bool heard_three(struct world *w)
{
    if (strcmp(w->server.heard, "a;a;a;") != 0)
        return false;
    w->is_done = heard_by_others;
    channel_broadcast(w->listener, w->server.channels[0], bytes_of("word"));
    return false;
}

static void test_broadcast(void **state)
{
    struct world *w = *state;

    listen_at(w);
    for (int i = 0; i < 3; i++)
        assert_true(channel_send(connect_to(w), bytes_of("a")));
    run(w, heard_three);
    assert_int_equal(w->client.closes, 3);
}

/* ---- ends ---- */

static bool is_closed_twice(struct world *w)
{
    return w->server.closes == 1 && w->client.closes == 1 && close_all(w);
}

static void test_closing_within_a_message(void **state)
{
    struct world *w = *state;

    listen_at(w);
    w->server.closes_itself = true;
    struct channel *c = connect_to(w);
    assert_true(channel_send(c, bytes_of("one")));
    assert_true(channel_send(c, bytes_of("never heard")));
    run(w, is_closed_twice);
    assert_string_equal(w->server.heard, "one;");
}

static void test_sending_to_who_is_gone(void **state)
{
    struct world *w = *state;

    listen_at(w);
    struct channel *c = connect_to(w);
    close_all(w); /* never accepted */
    assert_false(channel_send(c, bytes_of("one")));
    channel_close(c);
    channel_close(c);
    assert_false(channel_send(c, bytes_of("two")));
    run(w, NULL);
    assert_int_equal(w->client.closes, 1);
}

static void test_nobody_there(void **state)
{
    struct world *w = *state;
    int error = 0;

    assert_null(channel_connect(w->loop, w->path, &events, &w->client, &error));
    assert_int_equal(error, -ENOENT);
    listen_at(w);
    int left = open(w->directory, O_RDONLY | O_DIRECTORY);
    assert_int_equal(linkat(left, "socket", left, "old", 0), 0);
    close_all(w);
    assert_int_equal(renameat(left, "old", left, "socket"), 0); /* as a killed process leaves it */
    assert_null(channel_connect(w->loop, w->path, &events, &w->client, &error));
    assert_int_equal(error, -ECONNREFUSED);
    listen_at(w);
    channel_close(connect_to(w));
    close_all(w);
    close(left);
    run(w, NULL);
}

/* ---- the name ---- */

static void test_mode(void **state)
{
    struct world *w = *state;
    struct stat facts;
    mode_t before = umask(022);

    listen_at(w);
    umask(before);
    assert_int_equal(stat(w->path, &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0600);
    close_all(w);
    assert_int_equal(stat(w->path, &facts), -1);
    run(w, NULL);
}

static void test_a_new_generation_takes_the_name_over(void **state)
{
    struct world *w = *state;
    struct channel_listener *old;
    struct stat facts;

    listen_at(w);
    old = w->listener;
    struct channel *to_old = connect_to(w);
    listen_at(w);
    struct channel *to_new = connect_to(w);
    channel_listener_close(old);
    assert_int_equal(stat(w->path, &facts), 0); /* it is no longer his to take away */
    assert_false(channel_send(to_old, bytes_of("old")));
    assert_true(channel_send(to_new, bytes_of("new")));
    channel_close(to_old);
    channel_close(to_new);
    close_all(w);
    run(w, NULL);
}

static void test_a_path_that_is_too_long(void **state)
{
    struct world *w = *state;
    char path[200];
    int error = 0;

    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_null(channel_listen(w->loop, path, &events, &w->server, &error));
    assert_int_equal(error, -ENAMETOOLONG);
    assert_null(channel_connect(w->loop, path, &events, &w->client, &error));
    assert_int_equal(error, -ENAMETOOLONG);
}

/* ---- who talks otherwise ---- */

static bool heard_short(struct world *w)
{
    return strcmp(w->server.heard, "short;") == 0 && close_all(w);
}

static void test_hostile_length(void **state)
{
    struct world *w = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    uint8_t *octets = mem_zalloc(CHANNEL_MESSAGE_MAX + 1);

    listen_at(w);
    strcpy(address.sun_path, w->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, octets, CHANNEL_MESSAGE_MAX + 1, 0), CHANNEL_MESSAGE_MAX + 1);
    assert_int_equal(send(fd, "short", 5, 0), 5);
    run(w, heard_short);
    assert_int_equal(w->server.longest, 5);
    close(fd);
    mem_free(octets);
}

static bool client_is_closed(struct world *w)
{
    return w->client.closes == 1;
}

/* What the other end had sent is heard, though it never read what we sent. */
static void test_an_end_with_unread_messages(void **state)
{
    struct world *w = *state;
    int ends[2], error = 0;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    struct channel *c = channel_adopt(w->loop, ends[0], &events, &w->client, &error);
    assert_non_null(c);
    assert_true(channel_send(c, bytes_of("unread")));
    assert_int_equal(send(ends[1], "one", 3, 0), 3);
    assert_int_equal(send(ends[1], "two", 3, 0), 3);
    close(ends[1]);
    run(w, client_is_closed);
    assert_string_equal(w->client.heard, "one;two;");
}

static bool make_with_failures(void *given)
{
    struct world *w = given;
    int error = 0;
    struct channel_listener *listener =
        channel_listen(w->loop, w->path, &events, &w->server, &error);
    struct channel *c = NULL;

    if (listener == NULL) {
        assert_int_equal(error, ERR_MEMORY);
        return false;
    }
    c = channel_connect(w->loop, w->path, &events, &w->client, &error);
    channel_listener_close(listener);
    if (c == NULL)
        assert_int_equal(error, ERR_MEMORY);
    else
        channel_close(c);
    return c != NULL;
}

static void test_no_memory(void **state)
{
    struct world *w = *state;

    assert_in_range(lib_fail_each_allocation(make_with_failures, w), 2, 100);
    run(w, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole_and_in_order),
        TEST(test_sizes),
        TEST(test_what_does_not_fit_is_lost),
        TEST(test_many_short_ones),
        TEST(test_broadcast),
        TEST(test_closing_within_a_message),
        TEST(test_sending_to_who_is_gone),
        TEST(test_nobody_there),
        TEST(test_mode),
        TEST(test_a_new_generation_takes_the_name_over),
        TEST(test_a_path_that_is_too_long),
        TEST(test_hostile_length),
        TEST(test_an_end_with_unread_messages),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
