/* SPDX-License-Identifier: BSD-2-Clause */
/* What postern and its evaluator of SPF say to each other: one message each. Pure.
 *
 *   request   version, number, client, time, flags, names of the subject, answers so far
 *   reply     version, number, then "need NAME TYPE", or the result
 *
 * The same request is sent again, with one more answer, until the reply is a result. */
#ifndef POSTERN_SPF_WIRE_H
#define POSTERN_SPF_WIRE_H

#include <stdbool.h>

#include "filters/spf/spf_macro.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

#define SPF_REQUEST_MAX 65536 /* a message between processes is not larger */
#define SPF_REPLY_MAX   4096
#define SPF_ANSWERS_MAX 160 /* ten terms, each of ten MX hosts or names, and explanations */
#define SPF_TEXT_MAX    512 /* explanation */
#define SPF_WORD_MAX    128 /* mechanism, problem */
#define SPF_NAME_MAX    253

enum spf_result {
    SPF_NONE,
    SPF_NEUTRAL,
    SPF_PASS,
    SPF_FAIL,
    SPF_SOFTFAIL,
    SPF_TEMPERROR,
    SPF_PERMERROR,
    SPF_RESULT_COUNT
};

/* RFC 1035 3.2.2, RFC 3596. */
enum spf_type {
    SPF_TYPE_A = 1,
    SPF_TYPE_PTR = 12,
    SPF_TYPE_MX = 15,
    SPF_TYPE_TXT = 16,
    SPF_TYPE_AAAA = 28
};

enum spf_status { SPF_FOUND, SPF_ABSENT, SPF_TEMPORARY };

/* In lower case. */
struct spf_name {
    size_t len;
    uint8_t text[SPF_NAME_MAX];
};

/* One set of records; each is preceded by its length in two octets. A and AAAA: the address; MX
 * and PTR: a name as text; TXT: its strings, joined. */
struct spf_answer {
    enum spf_type type;
    enum spf_status status;
    struct bytes name;
    unsigned count;
    struct bytes records;
};

struct spf_request {
    uint32_t number;
    bool wants_explanation;
    struct spf_subject subject;
    unsigned answer_count;
    struct spf_answer answers[SPF_ANSWERS_MAX];
};

struct spf_reply {
    uint32_t number;
    bool is_need; /* `type` and `name` are needed; else the rest is set */
    enum spf_type type;
    struct bytes name;
    enum spf_result result;
    struct bytes explanation; /* of the domain, as it wrote it: hostile */
    struct bytes mechanism;   /* the term that decided, as it wrote it */
    struct bytes problem;     /* why it is an error: our words, or a faulty term */
};

/* Readers: false: not a message of that kind, complete and within all limits. What they return
 * borrows from the message. */
bool spf_wire_read_request(struct bytes message, struct spf_request *request_out);
bool spf_wire_read_reply(struct bytes message, struct spf_reply *reply_out);
/* Takes the first of an answer's records. Legal when the answer came from a request that was read.
 */
struct bytes spf_wire_next_record(struct bytes *records);

/* False: no name server can be asked for it. */
bool spf_name_read(struct bytes text, struct spf_name *name_out);

/* Writers. A request is its head, and then answers; texts that are too long are cut. */
void spf_wire_put_head(struct buf *out, uint32_t number, const struct spf_subject *subject,
                       bool wants_explanation);
void spf_wire_put_answer(struct buf *out, const struct spf_answer *answer);
size_t spf_wire_size(const struct spf_answer *answer); /* octets that this puts */
void spf_wire_put_reply(struct buf *out, const struct spf_reply *reply);

#endif
