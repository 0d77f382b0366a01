/* SPDX-License-Identifier: BSD-2-Clause */
/* What libspf2 sees: a client, a sender and names that stand for steps of the evaluation. */
#include "filters/spf/spf_layer.h"

#include <netinet/in.h>

#include <arpa/nameser.h>
#include <spf2/spf.h>

#include "filters/spf/spf_evaluation.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"

#define BLOCK_BYTES 4096
#define KEEP_BLOCKS 8
#define CLIENT      "192.0.2.1"  /* whoever it is: libspf2 compares no addresses */
#define SENDER      "sender@0.t" /* leads to step 0 */
#define NAME_SUFFIX ".t"

struct spf_layer {
    SPF_dns_server_t dns; /* hook: this */
    SPF_server_t *server;
    struct pool pool;
    struct spf_request request;
    struct spf_evaluation evaluation;
};

/* The number of the step; step_count: none of ours. */
static unsigned read_number(const struct spf_evaluation *e, const char *name)
{
    struct bytes text = bytes_of(name);
    size_t suffix = strlen(NAME_SUFFIX);
    uint64_t number;

    if (text.len <= suffix || strcmp(name + text.len - suffix, NAME_SUFFIX) != 0 ||
        text_decimal(bytes_first(text, text.len - suffix), e->step_count - 1, &number) != 0)
        return e->step_count;
    return (unsigned)number;
}

/* ---- hooks of the DNS layer ---- */

/* "exists:N.t": one address when the step matches, none when it does not; TRY_AGAIN ends all. NULL:
 * no memory, after which libspf2 aborts. */
static SPF_dns_rr_t *on_lookup(SPF_dns_server_t *dns, const char *name, ns_type type, int caches)
{
    struct spf_layer *layer = dns->hook;
    unsigned number = read_number(&layer->evaluation, name);
    enum spf_verdict verdict = SPF_STOPS;
    SPF_dns_rr_t *answer;

    (void)caches;
    if (number > 0 && number < layer->evaluation.step_count)
        verdict = spf_evaluation_ask(&layer->evaluation, number);
    answer = SPF_dns_rr_new_init(dns, name, type, 0,
                                 verdict == SPF_MATCHES       ? NETDB_SUCCESS
                                 : verdict == SPF_MATCHES_NOT ? HOST_NOT_FOUND
                                                              : TRY_AGAIN);
    if (answer == NULL || verdict != SPF_MATCHES)
        return answer;
    if (SPF_dns_rr_buf_realloc(answer, 0, sizeof(answer->rr[0]->a)) != SPF_E_SUCCESS) {
        SPF_dns_rr_free(answer);
        return NULL;
    }
    answer->num_rr = 1;
    return answer;
}

/* The record of the first domain, of an include, or of a redirect. */
static SPF_errcode_t on_record(SPF_server_t *server, SPF_request_t *request,
                               SPF_response_t *response, SPF_record_t **record_out)
{
    struct spf_layer *layer = server->resolver->hook;
    struct spf_evaluation *e = &layer->evaluation;
    unsigned number = read_number(e, request->cur_dom);
    SPF_errcode_t error = SPF_E_DNS_ERROR;
    struct buf skeleton;

    *record_out = NULL;
    buf_init(&skeleton, &layer->pool, SPF_SKELETON_MAX);
    if (number < e->step_count && spf_evaluation_policy(e, number, &skeleton)) {
        buf_byte(&skeleton, 0);
        error = skeleton.has_failed ? SPF_E_NO_MEMORY
                                    : SPF_record_compile(server, response, record_out,
                                                         (const char *)buf_bytes(&skeleton).at);
    }
    buf_done(&skeleton);
    return error;
}

/* ---- beginning and ending ---- */

static void give_up(struct spf_layer *layer)
{
    if (layer->server != NULL)
        SPF_server_free(layer->server);
    mem_free(layer);
}

struct spf_layer *spf_layer_new(void)
{
    struct spf_layer *layer = mem_zalloc(sizeof(*layer));
    SPF_response_t *response = NULL;
    SPF_errcode_t error;

    if (layer == NULL)
        return NULL;
    SPF_error_handler = NULL; /* no word on stderr */
    SPF_warning_handler = SPF_info_handler = SPF_debug_handler = NULL;
    pool_init(&layer->pool, BLOCK_BYTES, KEEP_BLOCKS);
    layer->dns = (SPF_dns_server_t){
        .lookup = on_lookup, .get_spf = on_record, .name = "postern", .hook = layer};
    layer->server = SPF_server_new_dns(&layer->dns, 0);
    if (layer->server == NULL) {
        give_up(layer);
        return NULL;
    }
    /* Terms are counted by us, and the words of an explanation are ours. */
    SPF_server_set_max_dns_mech(layer->server, SPF_STEPS_MAX);
    error = SPF_server_set_explanation(layer->server, "failed", &response);
    if (response != NULL)
        SPF_response_free(response);
    if (error != SPF_E_SUCCESS) {
        give_up(layer);
        return NULL;
    }
    return layer;
}

void spf_layer_free(struct spf_layer **held)
{
    if (*held == NULL)
        return;
    pool_done(&(*held)->pool);
    give_up(*held);
    *held = NULL;
}

struct pool *spf_layer_pool(struct spf_layer *layer)
{
    return &layer->pool;
}

/* ---- evaluating ---- */

static SPF_errcode_t query(struct spf_layer *layer, SPF_result_t *result_out)
{
    SPF_request_t *request = SPF_request_new(layer->server);
    SPF_response_t *response = NULL;
    SPF_errcode_t error = SPF_E_NO_MEMORY;

    if (request == NULL)
        return error;
    if (SPF_request_set_ipv4_str(request, CLIENT) == SPF_E_SUCCESS &&
        SPF_request_set_env_from(request, SENDER) == SPF_E_SUCCESS)
        error = SPF_request_query_mailfrom(request, &response);
    if (response != NULL) {
        *result_out = SPF_response_result(response);
        SPF_response_free(response);
    }
    SPF_request_free(request);
    return error;
}

static enum spf_result result_of(SPF_result_t result)
{
    switch (result) {
    case SPF_RESULT_NEUTRAL:
        return SPF_NEUTRAL;
    case SPF_RESULT_PASS:
        return SPF_PASS;
    case SPF_RESULT_FAIL:
        return SPF_FAIL;
    case SPF_RESULT_SOFTFAIL:
        return SPF_SOFTFAIL;
    case SPF_RESULT_INVALID:
    case SPF_RESULT_NONE:
    case SPF_RESULT_TEMPERROR:
    case SPF_RESULT_PERMERROR:
        break;
    }
    return SPF_TEMPERROR; /* with no reason of ours: libspf2 had no memory */
}

static void put_stop(const struct spf_evaluation *e, struct spf_reply *reply)
{
    static const enum spf_result results[] = {[SPF_STOP_NONE] = SPF_NONE,
                                              [SPF_STOP_TEMPERROR] = SPF_TEMPERROR,
                                              [SPF_STOP_PERMERROR] = SPF_PERMERROR};

    reply->is_need = e->stop == SPF_STOP_NEED;
    reply->type = e->need_type;
    reply->name = bytes_make(e->need_name.text, e->need_name.len);
    reply->result = reply->is_need ? SPF_NONE : results[e->stop];
    reply->problem = e->fault.len > 0     ? e->fault
                     : e->problem != NULL ? bytes_of(e->problem)
                                          : bytes_make(NULL, 0);
}

bool spf_layer_evaluate(struct spf_layer *layer, struct bytes octets, struct buf *reply_out)
{
    struct spf_evaluation *e = &layer->evaluation;
    struct spf_reply reply = {0};
    SPF_result_t result = SPF_RESULT_INVALID;
    struct buf text;

    if (!spf_wire_read_request(octets, &layer->request))
        return false;
    reply.number = layer->request.number;
    spf_evaluation_begin(e, &layer->request, &layer->pool);
    (void)query(layer, &result); /* what went wrong stands in `e`, or result_of() says it */
    buf_init(&text, &layer->pool, SPF_TEXT_MAX);
    if (e->stop == SPF_STOP_NOT) {
        reply.result = result_of(result);
        if (e->matched > 0)
            reply.mechanism = spf_evaluation_mechanism(e);
        if (reply.result == SPF_FAIL && layer->request.wants_explanation &&
            spf_evaluation_explain(e, &text) && !text.has_failed)
            reply.explanation = buf_bytes(&text);
    }
    if (e->stop != SPF_STOP_NOT)
        put_stop(e, &reply);
    spf_wire_put_reply(reply_out, &reply);
    buf_done(&text);
    return !reply_out->has_failed;
}
