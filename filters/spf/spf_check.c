/* SPDX-License-Identifier: BSD-2-Clause */
/* Asks the evaluator, and asks DNS what the evaluator needs. */
#include "filters/spf/spf_check.h"

_Static_assert((int)SPF_TYPE_A == DNS_TYPE_A && (int)SPF_TYPE_AAAA == DNS_TYPE_AAAA &&
                   (int)SPF_TYPE_MX == DNS_TYPE_MX && (int)SPF_TYPE_PTR == DNS_TYPE_PTR &&
                   (int)SPF_TYPE_TXT == DNS_TYPE_TXT,
               "both are RFC 1035's");

static void stop(struct spf_check *check)
{
    if (check->query != NULL)
        dns_cancel(check->query);
    if (check->is_called)
        spf_child_forget(check->service->child, &check->call);
    check->query = NULL;
    check->is_called = false;
    deadline_clear(check->service->loop, &check->deadline);
    buf_done(&check->message);
}

static void end(struct spf_check *check, enum spf_result result, const char *problem)
{
    stop(check);
    check->done(check, &(struct spf_reply){.result = result, .problem = bytes_of(problem)});
}

static void on_deadline(struct deadline *deadline)
{
    end(CONTAINER_OF(deadline, struct spf_check, deadline), SPF_TEMPERROR,
        "no result within the time-out");
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* ---- DNS ---- */

static void call(struct spf_check *check)
{
    check->call.message = buf_bytes(&check->message);
    check->is_called = true;
    spf_child_ask(check->service->child, &check->call);
}

static void on_answer(void *owner, const struct dns_answer *found)
{
    static const enum spf_status statuses[] = {
        [DNS_FOUND] = SPF_FOUND, [DNS_NOT_FOUND] = SPF_ABSENT, [DNS_TEMPORARY] = SPF_TEMPORARY};
    struct spf_check *check = owner;
    struct spf_answer answer = {.type = check->type,
                                .status = statuses[found->status],
                                .name = bytes_make(check->name.text, check->name.len)};

    check->query = NULL;
    if (answer.status == SPF_FOUND) {
        answer.count = found->record_count;
        answer.records = found->records;
    }
    if (buf_length(&check->message) + spf_wire_size(&answer) > SPF_REQUEST_MAX) {
        end(check, SPF_PERMERROR, "DNS answers more than a policy may need");
        return;
    }
    spf_wire_put_answer(&check->message, &answer);
    if (check->message.has_failed)
        end(check, SPF_TEMPERROR, "out of memory");
    else
        call(check);
}

/* False: there is no memory. */
static bool ask_dns(struct spf_check *check, enum spf_type type, struct bytes name)
{
    check->type = type;
    check->query = dns_ask_records(check->service->dns, (enum dns_type)type, name, &check->client,
                                   on_answer, check);
    return check->query != NULL;
}

/* ---- the evaluator ---- */

static void on_reply(struct spf_call *answered, const struct spf_reply *reply)
{
    struct spf_check *check = CONTAINER_OF(answered, struct spf_check, call);

    check->is_called = false;
    if (reply == NULL) {
        end(check, SPF_TEMPERROR, "the evaluator did not answer");
    } else if (!reply->is_need) {
        stop(check);
        check->done(check, reply);
    } else if (check->answers++ >= SPF_ANSWERS_MAX || !spf_name_read(reply->name, &check->name)) {
        end(check, SPF_PERMERROR, "more questions to DNS than a policy may need");
    } else if (!ask_dns(check, reply->type, reply->name)) {
        end(check, SPF_TEMPERROR, "out of memory");
    }
}

/* ---- beginning and ending ---- */

/* Every evaluation begins with the record of the domain, unless that is no name. */
static bool begin(struct spf_check *check, struct bytes domain)
{
    if (!spf_name_read(domain, &check->domain)) {
        check->domain.len = 0;
        call(check);
        return true;
    }
    check->name = check->domain;
    check->answers = 1;
    return ask_dns(check, SPF_TYPE_TXT, domain);
}

bool spf_check_begin(struct spf_check *check, struct spf_service *service,
                     const struct spf_subject *subject, bool wants_explanation, uint64_t timeout_ms,
                     void (*done)(struct spf_check *check, const struct spf_reply *reply))
{
    *check = (struct spf_check){.service = service, .client = subject->client, .done = done};
    check->call.number = ++service->checks;
    check->call.answered = on_reply;
    deadline_init(&check->deadline, &deadline_use);
    buf_init(&check->message, &loop_pools(service->loop)->medium, SPF_REQUEST_MAX);
    spf_wire_put_head(&check->message, check->call.number, subject, wants_explanation);
    if (check->message.has_failed || !begin(check, subject->domain)) {
        stop(check);
        return false;
    }
    check->call.domain = bytes_make(check->domain.text, check->domain.len);
    deadline_set(service->loop, &check->deadline, loop_now_ms(service->loop) + timeout_ms);
    return true;
}

void spf_check_cancel(struct spf_check *check)
{
    assert(check->query != NULL || check->is_called);
    stop(check);
}
