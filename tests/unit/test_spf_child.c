/* SPDX-License-Identifier: BSD-2-Clause */
/* The evaluator from postern's side: calls are answered, whatever the program does. The program is
 * this one again, and does what the domain of a request says. */
/* needs: io filters/spf/spf_child.c */
#include "filters/spf/spf_child.h"

#include "tests/unit/lib.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"

#define CALLS_MAX (SPF_CALLS_MAX + SPF_SENT_MAX + 10)
#define HELPER    "POSTERN_TEST_HELPER"
#define WAITS_MS  20000

/* ---- the program ---- */

static struct spf_request request;

static bool reply_to(struct bytes message, struct buf *out)
{
    if (!spf_wire_read_request(message, &request) || bytes_is(request.subject.domain, "die.test"))
        return false;
    while (bytes_is(request.subject.domain, "hang.test"))
        pause();
    if (bytes_is(request.subject.domain, "garbage.test"))
        buf_text(out, "garbage");
    else
        spf_wire_put_reply(out, &(struct spf_reply){.number = request.number,
                                                    .result = SPF_PASS,
                                                    .problem = request.subject.domain});
    return true;
}

static int be_evaluator(void)
{
    static uint8_t octets[SPF_REQUEST_MAX];
    struct pool pool;
    struct buf out;

    pool_init(&pool, 4096, 1);
    buf_init(&out, &pool, SPF_REPLY_MAX);
    for (;;) {
        ssize_t length = read(STDIN_FILENO, octets, sizeof(octets));

        if (length <= 0 || !reply_to(bytes_make(octets, (size_t)length), &out) ||
            write(STDOUT_FILENO, buf_bytes(&out).at, buf_length(&out)) < 0)
            _exit(0);
        buf_reset(&out);
    }
}

/* ---- calls ---- */

static char itself[4096]; /* the program */

struct one {
    struct spf_call call;
    struct buf message;
    const char *domain;
    char seen; /* p: passed, e: permerror, -: no reply, f: forgotten; 0: it waits */
};

static struct {
    struct loop *loop;
    struct spf_child *child;
    struct deadline deadline;
    struct loop_post ending;
    void (*more)(void); /* asks more, once, when all is answered */
    struct one calls[CALLS_MAX];
    unsigned count, waiting, troubles;
} all;

static void end(void *owner)
{
    (void)owner;
    deadline_clear(all.loop, &all.deadline);
    spf_child_close(&all.child);
    assert_null(all.child);
    loop_stop(all.loop);
}

static void when_answered(void)
{
    void (*more)(void) = all.more;

    all.more = NULL;
    if (all.waiting == 0 && more != NULL)
        more();
    else if (all.waiting == 0)
        loop_post(all.loop, &all.ending, end, NULL);
    else
        all.more = more;
}

static void on_answered(struct spf_call *call, const struct spf_reply *reply)
{
    struct one *one = CONTAINER_OF(call, struct one, call);

    assert_int_equal(one->seen, 0);
    one->seen = reply == NULL ? '-' : reply->result == SPF_PASS ? 'p' : 'e';
    if (one->seen == 'p')
        assert_true(bytes_is(reply->problem, one->domain));
    all.waiting--;
    when_answered();
}

static void on_deadline(struct deadline *deadline)
{
    (void)deadline;
    fail_msg("%u calls were not answered", all.waiting);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void on_trouble(void *owner, struct bytes domain, int error)
{
    assert_null(owner);
    assert_true((domain.len == 0) == (error != 0));
    all.troubles++;
}

static void begin(const char *path)
{
    memset(&all, 0, sizeof(all));
    all.loop = loop_new();
    assert_non_null(all.loop);
    all.child = spf_child_new(all.loop, path, on_trouble, NULL);
    assert_non_null(all.child);
    deadline_init(&all.deadline, &deadline_use);
}

static void ask(const char *domain)
{
    struct one *one = &all.calls[all.count];
    const struct spf_subject subject = {.client = {.family = NETADDR_IPV4},
                                        .domain = bytes_of(domain)};

    assert_true(all.count < CALLS_MAX);
    *one = (struct one){.domain = domain};
    buf_init(&one->message, &loop_pools(all.loop)->medium, 4096);
    spf_wire_put_head(&one->message, all.count, &subject, false);
    one->call = (struct spf_call){.message = buf_bytes(&one->message),
                                  .number = all.count++,
                                  .domain = subject.domain,
                                  .answered = on_answered};
    all.waiting++;
    spf_child_ask(all.child, &one->call);
}

static void forget(unsigned number)
{
    spf_child_forget(all.child, &all.calls[number].call);
    all.calls[number].seen = 'f';
    all.waiting--;
}

/* Until all are answered; what became of each. */
static const char *await(void)
{
    static char seen[CALLS_MAX + 1];

    deadline_set(all.loop, &all.deadline, loop_now_ms(all.loop) + WAITS_MS);
    when_answered();
    assert_int_equal(loop_run(all.loop), 0);
    for (unsigned i = 0; i < all.count; i++) {
        seen[i] = all.calls[i].seen;
        buf_done(&all.calls[i].message);
    }
    seen[all.count] = '\0';
    loop_free(&all.loop);
    return seen;
}

/* ---- cases ---- */

static void test_answers(void **state)
{
    (void)state;
    begin(itself);
    for (int i = 0; i < 20; i++)
        ask("a.test");
    assert_string_equal(await(), "pppppppppppppppppppp");
}

/* Before they are sent, while they are evaluated, and while they wait behind others. */
static void test_forgotten(void **state)
{
    (void)state;
    begin(itself);
    for (int i = 0; i < SPF_SENT_MAX + 4; i++)
        ask("a.test");
    forget(0);
    forget(7);
    forget(SPF_SENT_MAX + 1);
    assert_string_equal(await(), "fppppppfpppppppppfpp");
}

static void ask_more(void)
{
    ask("DIE.test");
    ask("b.test");
}

/* Who kills it is asked again, and who does it twice is known for it; the others notice nothing. */
static void test_deaths(void **state)
{
    (void)state;
    begin(itself);
    ask("a.test");
    ask("die.test");
    ask("a.test");
    ask("die.test");
    ask("b.test");
    ask("a.test");
    all.more = ask_more;
    assert_string_equal(await(), "pepeppep");
    assert_int_equal(all.troubles, 2);
}

static void test_garbage(void **state)
{
    (void)state;
    begin(itself);
    ask("garbage.test");
    ask("a.test");
    assert_string_equal(await(), "ep");
}

static void test_hang(void **state)
{
    (void)state;
    begin(itself);
    ask("a.test");
    ask("hang.test");
    ask("a.test");
    assert_string_equal(await(), "p-p");
}

static void ask_and_forget(void)
{
    ask("hang.test");
    ask("b.test");
    forget(1);
}

/* Nobody is to blame when who hung it has gone. */
static void test_forgotten_hang(void **state)
{
    (void)state;
    begin(itself);
    ask("a.test");
    all.more = ask_and_forget;
    assert_string_equal(await(), "pfp");
    assert_int_equal(all.troubles, 0);
}

static void test_no_program(void **state)
{
    (void)state;
    begin("/nonexistent/postern-spf");
    ask("a.test");
    ask("a.test");
    assert_string_equal(await(), "--");
}

/* Without a program nothing is sent; what is over the limit gets no reply, and the others do. */
static void test_bound(void **state)
{
    static char expected[CALLS_MAX + 1];

    (void)state;
    begin(itself);
    for (int i = 0; i < SPF_CALLS_MAX + 10; i++)
        ask("a.test");
    memset(expected, 'p', SPF_CALLS_MAX);
    memset(expected + SPF_CALLS_MAX, '-', 10);
    assert_string_equal(await(), expected);
}

static void test_closed_at_once(void **state)
{
    (void)state;
    begin(itself);
    assert_string_equal(await(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_deaths),         cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_hang),           cmocka_unit_test(test_forgotten_hang),
        cmocka_unit_test(test_no_program),     cmocka_unit_test(test_bound),
        cmocka_unit_test(test_closed_at_once),
    };

    if (getenv(HELPER) != NULL)
        return be_evaluator();
    if (readlink("/proc/self/exe", itself, sizeof(itself) - 1) < 0) /* as valgrind has it */
        return 1;
    setenv(HELPER, "yes", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
