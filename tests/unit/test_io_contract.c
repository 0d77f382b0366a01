/* SPDX-License-Identifier: BSD-2-Clause */
/* What loop.h, deadline.h, work.h, dns.h and log.h promise, seen through the headers alone: holds
 * for proxy/io and for tests/sim. */
/* needs: io */
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "proxy/io/dns.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "proxy/io/work.h"
#include "tests/unit/lib.h"

#define LATE_MS 1000 /* a busy machine is forgiven so much */

static struct loop *new_loop(void)
{
    struct loop *l = loop_new();

    assert_non_null(l);
    return l;
}

/* ---- loop ---- */

struct poster {
    struct loop *loop;
    struct loop_post post;
    struct poster *other; /* unposted when this one runs */
    int calls, again;     /* again: how often it posts itself anew */
    bool is_in_call;
};

static void on_post(void *owner)
{
    struct poster *p = owner;

    assert_false(p->is_in_call);
    p->calls++;
    if (p->other != NULL)
        loop_unpost(p->loop, &p->other->post);
    if (p->again == 0) {
        loop_stop(p->loop);
        return;
    }
    p->again--;
    p->is_in_call = true;
    loop_post(p->loop, &p->post, on_post, p);
    p->is_in_call = false;
}

static void posts(void **state)
{
    struct loop *l = new_loop();
    struct poster a = {.loop = l, .again = 3}, b = {.loop = l, .other = &a}, c = {.loop = l};

    (void)state;
    /* Once, however often it is posted. */
    a.is_in_call = true;
    loop_post(l, &a.post, on_post, &a);
    loop_post(l, &a.post, on_post, &a);
    a.is_in_call = false;
    loop_unpost(l, &b.post); /* not posted: nothing happens */
    assert_int_equal(loop_run(l), 0);
    assert_int_equal(a.calls, 4);
    assert_int_equal(b.calls, 0);

    /* In order; one that has been unposted by an earlier one does not run. */
    a.calls = 0;
    loop_post(l, &c.post, on_post, &c);
    loop_unpost(l, &c.post);
    loop_post(l, &b.post, on_post, &b);
    loop_post(l, &a.post, on_post, &a);
    loop_post(l, &c.post, on_post, &c);
    assert_int_equal(loop_run(l), 0);
    assert_int_equal(b.calls, 1);
    assert_int_equal(a.calls, 0);
    assert_int_equal(c.calls, 1);

    /* After the last of the list was unposted, others can be posted. */
    loop_post(l, &b.post, on_post, &b);
    loop_post(l, &a.post, on_post, &a);
    loop_unpost(l, &a.post);
    loop_post(l, &c.post, on_post, &c);
    assert_int_equal(loop_run(l), 0);
    assert_int_equal(c.calls, 2);
    loop_free(&l);
    assert_null(l);
    loop_free(&l);
}

static void tells_time_and_chance(void **state)
{
    struct loop *l = new_loop();
    struct hash_key key = loop_hash_key(l), same = loop_hash_key(l);
    uint64_t seen[100], us = loop_precise_us(l);

    (void)state;
    assert_memory_equal(&key, &same, sizeof(key));
    for (size_t i = 0; i < ARRAY_LENGTH(seen); i++) {
        seen[i] = loop_random(l);
        for (size_t j = 0; j < i; j++)
            assert_true(seen[i] != seen[j]);
    }
    assert_true(loop_precise_us(l) >= us);
    assert_true(loop_wall_ms(l) > 1000000000000); /* 2001 */
    loop_free(&l);
}

static void has_pools(void **state)
{
    struct loop *l = new_loop();
    struct loop_pools *pools = loop_pools(l);
    void *blocks[3] = {pool_take(&pools->small), pool_take(&pools->medium),
                       pool_take(&pools->chunk)};

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, (size_t[]){1024, 4096, 65536}[i]);
    }
    pool_give(&pools->small, blocks[0]);
    pool_give(&pools->medium, blocks[1]);
    pool_give(&pools->chunk, blocks[2]);
    loop_free(&l);
}

static bool make_loop(void *given)
{
    struct loop *l = loop_new();
    bool is_there = l != NULL;

    (void)given;
    loop_free(&l);
    return is_there;
}

static void loop_survives_shortage(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(make_loop, NULL) > 0);
}

/* ---- deadlines ---- */

struct alarm {
    struct deadline deadline;
    struct loop *loop;
    struct alarm *to_clear, *to_move;
    uint64_t due_ms, move_by_ms;
    int calls, again;
    int *left; /* the loop stops when all have fired */
};

static void set_alarm(struct alarm *a, uint64_t due_ms)
{
    a->due_ms = due_ms;
    deadline_set(a->loop, &a->deadline, due_ms);
}

static void on_alarm(struct deadline *d)
{
    struct alarm *a = CONTAINER_OF(d, struct alarm, deadline);
    uint64_t now_ms = loop_now_ms(a->loop);

    assert_true(now_ms >= a->due_ms);
    assert_true(now_ms <= a->due_ms + WHEEL_TICK_MS + LATE_MS);
    a->calls++;
    if (a->to_clear != NULL)
        deadline_clear(a->loop, &a->to_clear->deadline);
    if (a->to_move != NULL)
        set_alarm(a->to_move, now_ms + a->move_by_ms);
    if (a->again > 0) {
        a->again--;
        set_alarm(a, now_ms + 10);
    } else if (--*a->left == 0) {
        loop_stop(a->loop);
    }
}

static const struct deadline_use alarm_use = {.reached = on_alarm};

static void heeds_deadlines(void **state)
{
    static const int expected[] = {1, 1, 1, 0, 4, 1, 1, 1};
    struct loop *l = new_loop();
    struct alarm a[8];
    uint64_t now_ms = loop_now_ms(l);
    int left = 7; /* all but the one that is cleared in a callback */

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(a); i++) {
        a[i] = (struct alarm){.loop = l, .left = &left};
        deadline_init(&a[i].deadline, &alarm_use);
    }
    deadline_clear(l, &a[0].deadline); /* not armed: nothing happens */
    set_alarm(&a[0], now_ms + 40);
    set_alarm(&a[1], now_ms + 30);
    set_alarm(&a[1], now_ms + 400); /* later */
    set_alarm(&a[2], now_ms + 60000);
    set_alarm(&a[2], now_ms + 150); /* earlier */
    set_alarm(&a[3], now_ms + 300);
    a[0].to_clear = &a[3];
    set_alarm(&a[4], now_ms + 20);
    a[4].again = 3; /* sets itself again */
    set_alarm(&a[5], now_ms + 60000);
    a[2].to_move = &a[5]; /* earlier, from a callback */
    a[2].move_by_ms = 100;
    set_alarm(&a[6], now_ms - 1); /* past: soon */
    set_alarm(&a[7], now_ms + 200);
    a[6].to_move = &a[7]; /* later, from a callback */
    a[6].move_by_ms = 350;
    assert_int_equal(loop_run(l), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(a[i].calls, expected[i]);
    loop_free(&l);
}

static void on_last_alarm(struct deadline *d)
{
    struct alarm *a = CONTAINER_OF(d, struct alarm, deadline);

    loop_stop(a->loop);
    mem_free(a);
}

/* The owner goes in its own callback; and a deadline that is set does not hold the loop back. */
static void owner_goes_at_deadline(void **state)
{
    static const struct deadline_use last_use = {.reached = on_last_alarm};
    struct loop *l = new_loop();
    struct alarm *a = mem_zalloc(sizeof(*a)), late = {.loop = l};

    (void)state;
    assert_non_null(a);
    a->loop = l;
    deadline_init(&a->deadline, &last_use);
    deadline_init(&late.deadline, &last_use);
    deadline_set(l, &late.deadline, loop_now_ms(l) + 3600000);
    deadline_set(l, &a->deadline, loop_now_ms(l) + 5);
    assert_int_equal(loop_run(l), 0);
    deadline_clear(l, &late.deadline);
    loop_free(&l);
}

/* ---- work ---- */

struct job {
    struct work work;
    struct loop *loop;
    int runs, dones, again;
    int *left;
    bool is_posting;
};

static void run_job(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    j->runs++;
}

static void job_done(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    assert_false(j->is_posting);
    assert_null(w->shell);
    j->dones++;
    assert_int_equal(j->runs, j->dones);
    if (j->again-- > 0)
        assert_int_equal(work_run(j->loop, w), 0);
    else if (--*j->left == 0)
        loop_stop(j->loop);
}

static void runs_jobs(void **state)
{
    struct loop *l = new_loop();
    struct job jobs[20];
    int left = (int)ARRAY_LENGTH(jobs);

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(jobs); i++) {
        jobs[i] = (struct job){.work = {.run = run_job, .done = job_done},
                               .loop = l,
                               .left = &left,
                               .again = i == 3 ? 2 : 0,
                               .is_posting = true};
        assert_int_equal(work_run(l, &jobs[i].work), 0);
        jobs[i].is_posting = false;
    }
    assert_int_equal(loop_run(l), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(jobs); i++)
        assert_int_equal(jobs[i].dones, i == 3 ? 3 : 1);
    loop_free(&l);
}

static void job_survives_shortage(void **state)
{
    struct loop *l = new_loop();
    int left = 1, error;
    struct job j = {.work = {.run = run_job, .done = job_done}, .loop = l, .left = &left};

    (void)state;
    mem_fail_nth(1);
    error = work_run(l, &j.work);
    mem_fail_nth(0);
    if (error != 0) {
        assert_int_equal(error, ERR_MEMORY);
        assert_int_equal(work_run(l, &j.work), 0);
    }
    assert_int_equal(loop_run(l), 0);
    assert_int_equal(j.dones, 1);
    loop_free(&l);
}

/* ---- DNS ---- */

struct asker {
    struct loop *loop;
    struct dns *dns;
    bool is_in_call;
    int answers;
    enum dns_status status;
};

static void on_answer(void *owner, const struct dns_answer *answer)
{
    struct asker *a = owner;

    assert_false(a->is_in_call);
    a->answers++;
    a->status = answer->status;
    dns_free(&a->dns); /* legal here; what is under way is dropped */
    loop_stop(a->loop);
}

static void on_wrong_answer(void *owner, const struct dns_answer *answer)
{
    (void)owner;
    (void)answer;
    fail_msg("a cancelled question was answered");
}

static void asks_and_cancels(void **state)
{
    static const struct bytes servers[] = {{(const uint8_t *)"127.0.0.1:1", 11},
                                           {(const uint8_t *)"[::1]:1", 7}};
    struct bytes wrong = bytes_of("no address"), name = bytes_of("name.example");
    struct asker a = {.loop = new_loop(), .is_in_call = true};
    struct netaddr address;
    int error = 0;

    (void)state;
    assert_null(dns_new(a.loop, &wrong, 1, &error));
    assert_true(error < 0);
    a.dns = dns_new(a.loop, servers, 2, &error);
    assert_non_null(a.dns);
    netaddr_parse(bytes_of("192.0.2.1"), &address);
    dns_cancel(dns_ask_addresses(a.dns, name, NULL, on_wrong_answer, NULL));
    dns_cancel(dns_ask_names(a.dns, &address, on_wrong_answer, NULL));
    dns_cancel(dns_ask_mx(a.dns, name, on_wrong_answer, NULL));
    dns_cancel(dns_ask_addresses(a.dns, bytes_of(""), NULL, on_wrong_answer, NULL));
    assert_non_null(dns_ask_addresses(a.dns, name, NULL, on_wrong_answer, NULL));
    dns_free(&a.dns);
    assert_null(a.dns);
    dns_free(&a.dns);

    /* What cannot be a name is an answer too, and also comes later. */
    a.dns = dns_new(a.loop, servers, 2, &error);
    assert_non_null(dns_ask_addresses(a.dns, bytes_make("a\0b", 3), NULL, on_answer, &a));
    a.is_in_call = false;
    assert_int_equal(loop_run(a.loop), 0);
    assert_int_equal(a.answers, 1);
    assert_int_equal(a.status, DNS_NOT_FOUND);
    loop_free(&a.loop);
}

static bool make_dns(void *given)
{
    struct loop *l = given;
    struct bytes server = bytes_of("127.0.0.1:1");
    int error = 0;
    struct dns *d = dns_new(l, &server, 1, &error);
    bool is_there = d != NULL, has_asked;

    if (!is_there) {
        assert_true(error < 0);
        return false;
    }
    has_asked = dns_ask_mx(d, bytes_of("name.example"), on_wrong_answer, NULL) != NULL;
    dns_free(&d);
    return has_asked;
}

static void dns_survives_shortage(void **state)
{
    struct loop *l = new_loop();

    (void)state;
    assert_true(lib_fail_each_allocation(make_dns, l) > 0);
    loop_free(&l);
}

/* ---- log ---- */

static void log_some(struct log *g, uint32_t sinks)
{
    struct log_line line = log_begin(g, sinks, LOG_LEVEL_INFO, "test");

    log_put(&line, "octets", bytes_make("\0\xff\"\n", 4));
    log_put_text(&line, "text", "");
    log_put_number(&line, "number", INT64_MIN);
    log_put_error(&line, "error", ERR_CLOSED);
    log_put_error(&line, "errno", -ENOENT);
    log_end(&line);
    assert_false(line.is_open);
    log_put_text(&line, "late", "goes nowhere");
    log_end(&line);
}

static void logs(void **state)
{
    struct log_sink sinks[] = {{.kind = LOG_TO_FILE, .file_pattern = bytes_of("/dev/null")},
                               {.kind = LOG_TO_SYSLOG, .socket_path = "/nonexistent/log"}};
    struct loop *l = new_loop();
    int error = 0;
    struct log *g = log_new(l, sinks, 2, false, &error);

    (void)state;
    assert_non_null(g);
    assert_false(log_begin(g, 0, LOG_LEVEL_INFO, "nowhere").is_open);
    assert_false(log_begin(g, 1u << 2, LOG_LEVEL_INFO, "nowhere").is_open);
    for (int i = 0; i < 2000; i++)
        log_some(g, 3);
    log_flush(g);
    log_reopen(g);
    log_some(g, 1);
    log_free(&g);
    assert_null(g);
    loop_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts),
        cmocka_unit_test(tells_time_and_chance),
        cmocka_unit_test(has_pools),
        cmocka_unit_test(loop_survives_shortage),
        cmocka_unit_test(heeds_deadlines),
        cmocka_unit_test(owner_goes_at_deadline),
        cmocka_unit_test(runs_jobs),
        cmocka_unit_test(job_survives_shortage),
        cmocka_unit_test(asks_and_cancels),
        cmocka_unit_test(dns_survives_shortage),
        cmocka_unit_test(logs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
