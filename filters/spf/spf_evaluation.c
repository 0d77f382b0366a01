/* SPDX-License-Identifier: BSD-2-Clause */
/* Finds records and makes skeletons of them; what steps ask is in spf_step.c. */
#include "filters/spf/spf_evaluation_private.h"

void spf_evaluation_begin(struct spf_evaluation *e, const struct spf_request *request,
                          struct pool *pool)
{
    e->request = request;
    e->pool = pool;
    e->stop = SPF_STOP_NOT;
    e->problem = NULL;
    e->is_explaining = false;
    e->fault = bytes_make(NULL, 0);
    e->terms = e->voids = e->matched = e->place_count = 0;
    e->step_count = 1;
}

void spf_stop(struct spf_evaluation *e, enum spf_stop why, const char *problem)
{
    if (e->stop != SPF_STOP_NOT) /* the first reason counts */
        return;
    e->stop = why;
    e->problem = problem;
}

/* ---- the record ---- */

/* The first domain is a client's word; RFC 7208 4.3. */
static bool take_subject(struct spf_evaluation *e, struct spf_name *domain_out)
{
    struct bytes domain = e->request->subject.domain;

    if (domain.len > 0 && domain.at[domain.len - 1] == '.')
        domain = bytes_first(domain, domain.len - 1);
    if (domain.len <= SPF_NAME_MAX && spf_name_read(domain, domain_out) && domain.at[0] != '[' &&
        bytes_find(domain, '.') < domain.len)
        return true;
    spf_stop(e, SPF_STOP_NONE, "not the name of a domain");
    return false;
}

static bool take_target(struct spf_evaluation *e, unsigned number, struct spf_name *domain_out)
{
    if (!spf_count_term(e) || !spf_step_target(e, &e->steps[number], domain_out))
        return false;
    if (domain_out->len > 0)
        return true;
    spf_stop(e, SPF_STOP_PERMERROR, "include or redirect to what is no name");
    return false;
}

/* The one policy among the records; none: there must be one where a record led here. */
static bool select_policy(struct spf_evaluation *e, const struct spf_answer *answer, bool is_first,
                          struct bytes *policy_out)
{
    struct bytes records = answer->records;
    unsigned found = 0;

    for (unsigned left = answer->count; left > 0; left--) {
        struct bytes record = spf_wire_next_record(&records);

        if (!spf_record_is_policy(record))
            continue;
        found++;
        *policy_out = record;
    }
    if (found == 1)
        return true;
    if (found > 1)
        spf_stop(e, SPF_STOP_PERMERROR, "several SPF records");
    else if (is_first)
        spf_stop(e, SPF_STOP_NONE, "no SPF record");
    else
        spf_stop(e, SPF_STOP_PERMERROR, "include or redirect to a domain without an SPF record");
    return false;
}

static bool find_record(struct spf_evaluation *e, const struct spf_name *domain, bool is_first,
                        struct spf_record *record_out)
{
    const struct spf_answer *answer =
        spf_look_up(e, SPF_TYPE_TXT, bytes_make(domain->text, domain->len));
    struct bytes policy;

    if (answer == NULL)
        return false;
    if (answer->status == SPF_TEMPORARY) {
        spf_stop(e, SPF_STOP_TEMPERROR, "DNS does not answer");
        return false;
    }
    if (!select_policy(e, answer, is_first, &policy))
        return false;
    if (spf_record_check(policy, record_out, &e->fault))
        return true;
    spf_stop(e, SPF_STOP_PERMERROR, "not a valid SPF record");
    return false;
}

/* ---- the skeleton ---- */

static void put_step(struct spf_evaluation *e, struct buf *out, const struct spf_term *term)
{
    bool is_redirect = term->mechanism == SPF_REDIRECT;

    assert(e->step_count < SPF_STEPS_MAX && e->place_count > 0);
    buf_byte(out, ' ');
    if (!is_redirect)
        buf_byte(out, term->qualifier);
    buf_text(out, is_redirect                      ? "redirect="
                  : term->mechanism == SPF_INCLUDE ? "include:"
                                                   : "exists:");
    buf_decimal(out, e->step_count);
    buf_text(out, ".t"); /* libspf2 warns of names without a letter behind a dot */
    e->steps[e->step_count++] = (struct spf_step){.term = *term, .place = e->place_count - 1};
}

/* Does it match whatever DNS says? Or never: then it is no step. */
static bool is_decided(const struct spf_term *term, const struct netaddr *client, bool *matches_out)
{
    *matches_out = term->mechanism == SPF_ALL || netaddr_in(client, &term->net);
    return term->mechanism == SPF_ALL || term->mechanism == SPF_IP4 || term->mechanism == SPF_IP6;
}

/* A step is always the last that can be reached: one that matches, a redirect, or the term with
 * which there are too many. */
static void put_skeleton(struct spf_evaluation *e, const struct spf_record *record, struct buf *out)
{
    struct bytes rest = record->terms;
    struct spf_term term;
    unsigned asking = 0;

    buf_text(out, "v=spf1");
    while (spf_record_next(&rest, &term)) {
        bool matches;

        if (is_decided(&term, &e->request->subject.client, &matches)) {
            if (!matches)
                continue;
            put_step(e, out, &term);
            return;
        }
        put_step(e, out, &term);
        if (++asking > SPF_ASKING_TERMS_MAX)
            return;
    }
    if (record->redirect.len > 0)
        term = (struct spf_term){
            .mechanism = SPF_REDIRECT, .text = bytes_of("redirect"), .domain = record->redirect};
    else
        term =
            (struct spf_term){.mechanism = SPF_ALL, .qualifier = '?', .text = bytes_of("default")};
    put_step(e, out, &term);
}

bool spf_evaluation_policy(struct spf_evaluation *e, unsigned number, struct buf *skeleton_out)
{
    struct spf_place place = {.led_here = number};
    struct spf_record record;

    assert(number < e->step_count && (number == 0) == (e->place_count == 0));
    if (!(number == 0 ? take_subject(e, &place.domain) : take_target(e, number, &place.domain)) ||
        !find_record(e, &place.domain, number == 0, &record))
        return false;
    assert(e->place_count < SPF_PLACES_MAX);
    place.explanation = record.explanation;
    e->places[e->place_count++] = place;
    put_skeleton(e, &record, skeleton_out);
    return true;
}

/* ---- what decided ---- */

/* The steps of which this one is a part; 0: it stands in the first record. */
static unsigned led_to(const struct spf_evaluation *e, unsigned number)
{
    return e->places[e->steps[number].place].led_here;
}

/* What an include decides is its own record's term. */
static unsigned deciding_step(const struct spf_evaluation *e)
{
    unsigned deciding = e->matched;

    assert(e->matched > 0);
    for (unsigned outer = led_to(e, e->matched); outer != 0; outer = led_to(e, outer))
        if (e->steps[outer].term.mechanism == SPF_INCLUDE)
            deciding = outer;
    return deciding;
}

struct bytes spf_evaluation_mechanism(const struct spf_evaluation *e)
{
    assert(e->matched > 0);
    return e->steps[deciding_step(e)].term.text;
}

/* The text of the one TXT record; empty: there is none that may be used. */
static struct bytes explanation_of(const struct spf_answer *answer)
{
    struct bytes records = answer->records, text;

    if (answer->count != 1)
        return bytes_make(NULL, 0);
    text = spf_wire_next_record(&records);
    return spf_macro_is_explanation(text) ? text : bytes_make(NULL, 0);
}

/* Failures to find it are none of the evaluation (RFC 7208 6.2): there is no text, then. */
bool spf_evaluation_explain(struct spf_evaluation *e, struct buf *text_out)
{
    struct spf_step step;
    const struct spf_answer *answer;
    struct spf_name name;

    assert(e->matched > 0);
    step.place = e->steps[deciding_step(e)].place;
    step.term = (struct spf_term){.domain = e->places[step.place].explanation};
    if (step.term.domain.len == 0)
        return true;
    e->is_explaining = true;
    if (!spf_step_target(e, &step, &name) || name.len == 0)
        return e->stop != SPF_STOP_NEED;
    answer = spf_look_up(e, SPF_TYPE_TXT, bytes_make(name.text, name.len));
    if (answer != NULL)
        spf_expand(e, step.place, explanation_of(answer), text_out);
    return e->stop != SPF_STOP_NEED;
}
