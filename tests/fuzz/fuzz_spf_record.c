/* SPDX-License-Identifier: BSD-2-Clause */
/* SPF records: what passes the check is printable, each of its terms passes alone, and every text
 * in it can be expanded. */
#include "filters/spf/spf_macro.h"
#include "filters/spf/spf_record.h"
#include "tests/fuzz/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expand(struct bytes text, const struct spf_subject *subject)
{
    const struct spf_scope scope = {
        .subject = subject, .domain = bytes_of("d.test"), .confirmed = bytes_of("p.test")};
    struct pool pool;
    struct buf out;

    pool_init(&pool, 512, 1);
    buf_init(&out, &pool, 65536);
    spf_macro_expand(&out, text, &scope);
    buf_done(&out);
    pool_done(&pool);
}

static void check_domain(struct bytes text, const struct spf_subject *subject)
{
    PIECES_MUST(spf_macro_is_domain(text) && spf_macro_is_string(text));
    PIECES_MUST(spf_macro_is_explanation(text));
    expand(text, subject);
}

static void check_term(const struct spf_term *term, const struct spf_subject *subject)
{
    uint8_t alone[8192] = "v=spf1 ";
    struct spf_record record;
    struct bytes fault;

    PIECES_MUST(term->qualifier != 0 && strchr("+-~?", term->qualifier) != NULL);
    PIECES_MUST(term->text.len > 0 && bytes_find(term->text, ' ') == term->text.len);
    if (term->text.len < sizeof(alone) - 7) {
        memcpy(alone + 7, term->text.at, term->text.len);
        PIECES_MUST(spf_record_check(bytes_make(alone, 7 + term->text.len), &record, &fault));
    }
    if (term->domain.len > 0)
        check_domain(term->domain, subject);
    if (term->mechanism == SPF_IP4 || term->mechanism == SPF_IP6)
        PIECES_MUST(term->net.net.family ==
                    (term->mechanism == SPF_IP4 ? NETADDR_IPV4 : NETADDR_IPV6));
    PIECES_MUST(term->net.bits <= (term->mechanism == SPF_IP4 ? 32 : 128));
    PIECES_MUST(term->bits4 <= 32 && term->bits6 <= 128);
}

static void check_record(struct bytes text, const struct spf_subject *subject)
{
    struct spf_record record;
    struct spf_term term;
    struct bytes fault = {0};

    if (!spf_record_check(text, &record, &fault)) {
        PIECES_MUST(fault.len > 0);
        return;
    }
    PIECES_MUST(pieces_are_printable(text));
    while (spf_record_next(&record.terms, &term))
        check_term(&term, subject);
    if (record.redirect.len > 0)
        check_domain(record.redirect, subject);
    if (record.explanation.len > 0)
        check_domain(record.explanation, subject);
}

/* A text of a TXT record, and the local part of a sender. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_make(data, size);
    struct bytes text = pieces_take_text(&input);
    const struct spf_subject subject = {.client = {.family = NETADDR_IPV6},
                                        .local = input,
                                        .sender_domain = bytes_of("s.test"),
                                        .helo = bytes_of("h.test"),
                                        .receiver = bytes_of("r.test")};

    if (spf_record_is_policy(text))
        check_record(text, &subject);
    if (spf_macro_is_explanation(text)) {
        PIECES_MUST(pieces_are_printable(text));
        expand(text, &subject);
    }
    return 0;
}
