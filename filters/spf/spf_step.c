/* SPDX-License-Identifier: BSD-2-Clause */
/* Does a term match the client? (RFC 7208 5) */
#include "filters/spf/spf_evaluation_private.h"

#define EXPANDED_MAX 65536

static const struct spf_answer absent = {.status = SPF_ABSENT};

/* ---- limits ---- */

bool spf_count_term(struct spf_evaluation *e)
{
    if (e->is_explaining || ++e->terms <= SPF_ASKING_TERMS_MAX)
        return true;
    spf_stop(e, SPF_STOP_PERMERROR, "more than 10 terms that ask DNS");
    return false;
}

static bool count_void(struct spf_evaluation *e)
{
    if (++e->voids <= SPF_VOIDS_MAX)
        return true;
    spf_stop(e, SPF_STOP_PERMERROR, "more than 2 questions to DNS without an answer");
    return false;
}

/* ---- questions ---- */

static const struct spf_answer *find(const struct spf_request *request, enum spf_type type,
                                     struct bytes name)
{
    for (unsigned i = 0; i < request->answer_count; i++) {
        const struct spf_answer *answer = &request->answers[i];

        if (answer->type == type && bytes_equal_nocase(answer->name, name))
            return answer;
    }
    return NULL;
}

const struct spf_answer *spf_look_up(struct spf_evaluation *e, enum spf_type type,
                                     struct bytes text)
{
    const struct spf_answer *answer;
    struct spf_name name;

    if (!spf_name_read(text, &name))
        return &absent;
    answer = find(e->request, type, bytes_make(name.text, name.len));
    if (answer != NULL)
        return answer;
    spf_stop(e, SPF_STOP_NEED, NULL);
    e->need_type = type;
    e->need_name = name;
    return NULL;
}

/* The answer to a term's own question, which may be void, but not missing. */
static const struct spf_answer *look_up_for_term(struct spf_evaluation *e, enum spf_type type,
                                                 struct bytes name)
{
    const struct spf_answer *answer = spf_look_up(e, type, name);

    if (answer == NULL || (answer->status == SPF_ABSENT && !count_void(e)))
        return NULL;
    if (answer->status != SPF_TEMPORARY)
        return answer;
    spf_stop(e, SPF_STOP_TEMPERROR, "DNS does not answer");
    return NULL;
}

/* ---- addresses ---- */

static enum spf_type address_type(const struct spf_evaluation *e)
{
    return e->request->subject.client.family == NETADDR_IPV6 ? SPF_TYPE_AAAA : SPF_TYPE_A;
}

/* Is the client in the net of one of the addresses? */
static bool has_client(const struct spf_evaluation *e, const struct spf_answer *addresses,
                       const struct spf_term *term)
{
    const struct netaddr *client = &e->request->subject.client;
    bool is_ip6 = client->family == NETADDR_IPV6;
    struct bytes records = addresses->records;

    for (unsigned left = addresses->count; left > 0; left--) {
        struct bytes octets = spf_wire_next_record(&records);
        struct netmask mask = {.net.family = client->family,
                               .bits = is_ip6 ? term->bits6 : term->bits4};

        memcpy(mask.net.octets, octets.at, octets.len);
        if (netaddr_in(client, &mask))
            return true;
    }
    return false;
}

static enum spf_verdict verdict(bool matches)
{
    return matches ? SPF_MATCHES : SPF_MATCHES_NOT;
}

static enum spf_verdict ask_a(struct spf_evaluation *e, const struct spf_term *term,
                              struct bytes name)
{
    const struct spf_answer *answer = look_up_for_term(e, address_type(e), name);

    return answer == NULL ? SPF_STOPS : verdict(has_client(e, answer, term));
}

/* RFC 7208 4.6.4: more than ten MX hosts are an error. */
static enum spf_verdict ask_mx(struct spf_evaluation *e, const struct spf_term *term,
                               struct bytes name)
{
    const struct spf_answer *hosts = look_up_for_term(e, SPF_TYPE_MX, name);
    struct bytes records;

    if (hosts == NULL)
        return SPF_STOPS;
    if (hosts->count > SPF_HOSTS_MAX) {
        spf_stop(e, SPF_STOP_PERMERROR, "more than 10 MX hosts");
        return SPF_STOPS;
    }
    records = hosts->records;
    for (unsigned left = hosts->count; left > 0; left--) {
        const struct spf_answer *answer =
            spf_look_up(e, address_type(e), spf_wire_next_record(&records));

        if (answer != NULL && answer->status == SPF_TEMPORARY)
            spf_stop(e, SPF_STOP_TEMPERROR, "DNS does not answer");
        if (e->stop != SPF_STOP_NOT)
            return SPF_STOPS;
        if (has_client(e, answer, term))
            return SPF_MATCHES;
    }
    return SPF_MATCHES_NOT;
}

static enum spf_verdict ask_exists(struct spf_evaluation *e, struct bytes name)
{
    const struct spf_answer *answer = look_up_for_term(e, SPF_TYPE_A, name);

    return answer == NULL ? SPF_STOPS : verdict(answer->count > 0);
}

/* ---- the client's names ---- */

/* Which names count: the domain itself, those below it, any. */
enum nearness { THE_NAME, BELOW_IT, ANY_NAME };

static bool is_near(struct bytes name, struct bytes domain, enum nearness how)
{
    switch (how) {
    case THE_NAME:
        return bytes_equal_nocase(name, domain);
    case BELOW_IT:
        return name.len > domain.len && name.at[name.len - domain.len - 1] == '.' &&
               bytes_equal_nocase(bytes_skip(name, name.len - domain.len), domain);
    case ANY_NAME:
        break;
    }
    return true;
}

/* The first name of the client that leads back to it; empty: there is none, or the evaluation
 * stops. A name that DNS cannot answer for is passed over (RFC 7208 5.5). */
static struct bytes confirmed_name(struct spf_evaluation *e, const struct spf_answer *names,
                                   struct bytes domain, enum nearness how)
{
    const struct spf_term exact = {.bits4 = 32, .bits6 = 128};
    struct bytes records = names->records;
    unsigned left = names->count < SPF_HOSTS_MAX ? names->count : SPF_HOSTS_MAX;

    for (; left > 0 && e->stop == SPF_STOP_NOT; left--) {
        struct bytes name = spf_wire_next_record(&records);
        const struct spf_answer *addresses =
            is_near(name, domain, how) ? spf_look_up(e, address_type(e), name) : &absent;

        if (addresses != NULL && has_client(e, addresses, &exact))
            return name;
    }
    return bytes_make(NULL, 0);
}

static const struct spf_answer *look_up_client(struct spf_evaluation *e)
{
    char text[NETADDR_REVERSE_MAX];

    return spf_look_up(e, SPF_TYPE_PTR,
                       bytes_of(netaddr_reverse_name(&e->request->subject.client, text)));
}

static enum spf_verdict ask_ptr(struct spf_evaluation *e, struct bytes domain)
{
    const struct spf_answer *names = look_up_client(e);
    bool matches;

    if (names == NULL || (names->status == SPF_ABSENT && !count_void(e)))
        return SPF_STOPS;
    matches = confirmed_name(e, names, domain, THE_NAME).len > 0 ||
              confirmed_name(e, names, domain, BELOW_IT).len > 0;
    return e->stop == SPF_STOP_NOT ? verdict(matches) : SPF_STOPS;
}

/* RFC 7208 7.3: the domain itself is preferred, then a name below it, then any. */
static bool find_client_name(struct spf_evaluation *e, struct bytes domain, struct bytes *name_out)
{
    const struct spf_answer *names = spf_count_term(e) ? look_up_client(e) : NULL;
    struct bytes name = {0};

    for (int how = THE_NAME; names != NULL && how <= ANY_NAME && name.len == 0; how++)
        name = confirmed_name(e, names, domain, (enum nearness)how);
    *name_out = name.len > 0 ? name : bytes_of("unknown");
    return e->stop == SPF_STOP_NOT;
}

/* ---- domain-specs ---- */

bool spf_expand(struct spf_evaluation *e, unsigned place, struct bytes text, struct buf *out)
{
    const struct spf_name *domain = &e->places[place].domain;
    struct spf_scope scope = {.subject = &e->request->subject,
                              .domain = bytes_make(domain->text, domain->len)};

    if (spf_macro_wants_name(text) && !find_client_name(e, scope.domain, &scope.confirmed))
        return false;
    spf_macro_expand(out, text, &scope);
    return true;
}

/* What is longer than a name loses labels on the left (RFC 7208 7.3). */
static struct bytes shorten(struct bytes name)
{
    if (name.len > 0 && name.at[name.len - 1] == '.')
        name = bytes_first(name, name.len - 1);
    while (name.len > SPF_NAME_MAX) {
        size_t label = bytes_find(name, '.');

        name = bytes_skip(name, label < name.len ? label + 1 : label);
    }
    return name;
}

bool spf_step_target(struct spf_evaluation *e, const struct spf_step *step,
                     struct spf_name *name_out)
{
    struct buf expanded;
    bool goes_on;

    *name_out = e->places[step->place].domain;
    if (step->term.domain.len == 0)
        return true;
    buf_init(&expanded, e->pool, EXPANDED_MAX);
    goes_on = spf_expand(e, step->place, step->term.domain, &expanded);
    if (goes_on && (expanded.has_failed || !spf_name_read(shorten(buf_bytes(&expanded)), name_out)))
        name_out->len = 0;
    buf_done(&expanded);
    return goes_on;
}

/* ---- steps ---- */

static enum spf_verdict ask_dns(struct spf_evaluation *e, const struct spf_step *step)
{
    struct spf_name target;
    struct bytes name;

    if (!spf_count_term(e) || !spf_step_target(e, step, &target))
        return SPF_STOPS;
    name = bytes_make(target.text, target.len);
    switch (step->term.mechanism) {
    case SPF_A:
        return ask_a(e, &step->term, name);
    case SPF_MX:
        return ask_mx(e, &step->term, name);
    case SPF_PTR:
        return ask_ptr(e, name);
    case SPF_ALL:
    case SPF_IP4:
    case SPF_IP6:
    case SPF_INCLUDE:
    case SPF_REDIRECT:
    case SPF_EXISTS:
        break;
    }
    assert(step->term.mechanism == SPF_EXISTS); /* the others are not asked */
    return ask_exists(e, name);
}

enum spf_verdict spf_evaluation_ask(struct spf_evaluation *e, unsigned number)
{
    const struct spf_step *step = &e->steps[number];
    enum spf_mechanism mechanism = step->term.mechanism;
    bool is_decided = mechanism == SPF_ALL || mechanism == SPF_IP4 || mechanism == SPF_IP6;
    enum spf_verdict answer;

    assert(number > 0 && number < e->step_count);
    answer = is_decided ? SPF_MATCHES : ask_dns(e, step);
    if (answer == SPF_MATCHES)
        e->matched = number;
    return answer;
}
