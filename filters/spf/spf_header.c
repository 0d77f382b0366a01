/* SPDX-License-Identifier: BSD-2-Clause */
/* Received-SPF and Authentication-Results, and the words of a refusal. */
#include "filters/spf/spf_header.h"

#include "proxy/base/text.h"

#define FOLD "\r\n\t"

static const struct words {
    const char *name;
    const char *before, *behind; /* the domain and the client stand between and behind them */
    const char *end;
} words[SPF_RESULT_COUNT] = {
    [SPF_NONE] = {"none", "", " has no SPF policy for ", ""},
    [SPF_NEUTRAL] = {"neutral", "", " says nothing about mail from ", ""},
    [SPF_PASS] = {"pass", "", " permits mail from ", ""},
    [SPF_FAIL] = {"fail", "", " forbids mail from ", ""},
    [SPF_SOFTFAIL] = {"softfail", "", " does not expect mail from ", ""},
    [SPF_TEMPERROR] = {"temperror", "the policy of ", " could not be asked about ", " for now"},
    [SPF_PERMERROR] = {"permerror", "the policy of ", " cannot be applied to ", ""},
};

const char *spf_result_name(enum spf_result result)
{
    assert(result < SPF_RESULT_COUNT);
    return words[result].name;
}

/* In a comment: no parenthesis, no quoted pair. */
static bool is_plain(uint8_t c)
{
    return byte_is_printable(c) && c != '(' && c != ')' && c != '\\';
}

static void put_client(struct buf *out, const struct spf_subject *subject)
{
    char text[NETADDR_TEXT_MAX];

    buf_text(out, netaddr_text(&subject->client, text));
}

/* "d.test forbids mail from 192.0.2.1" */
static void put_sentence(struct buf *out, const struct spf_report *report)
{
    const struct words *w = &words[report->reply.result];

    buf_text(out, w->before);
    text_put_neutral(out, bytes_first(report->subject.domain, SPF_NAME_MAX), is_plain);
    buf_text(out, w->behind);
    put_client(out, &report->subject);
    buf_text(out, w->end);
}

/* ---- values ---- */

/* dot-atom of RFC 5322 3.2.3 and what mail addresses have: needs no quotes. */
static bool is_atom(uint8_t c)
{
    return byte_is_letter(c) || byte_is_digit(c) ||
           (c != 0 && strchr("!#$&'*+-/^_`{|}~.", c) != NULL);
}

static bool is_dot_atom(struct bytes value)
{
    bool was_dot = true;

    for (size_t i = 0; i < value.len; i++) {
        if (!is_atom(value.at[i]) || (value.at[i] == '.' && was_dot))
            return false;
        was_dot = value.at[i] == '.';
    }
    return !was_dot;
}

static void put_quoted(struct buf *out, struct bytes value)
{
    value = bytes_first(value, SPF_VALUE_MAX);
    buf_byte(out, '"');
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = byte_is_printable(value.at[i]) ? value.at[i] : '?';

        if (c == '"' || c == '\\')
            buf_byte(out, '\\');
        buf_byte(out, c);
    }
    buf_byte(out, '"');
}

static void put_value(struct buf *out, struct bytes value)
{
    if (value.len <= SPF_VALUE_MAX && is_dot_atom(value))
        buf_put(out, value);
    else
        put_quoted(out, value);
}

/* local@domain; an address is no dot-atom, though its parts are. */
static void put_sender(struct buf *out, const struct spf_subject *subject, bool in_quotes)
{
    uint8_t octets[2 * SPF_VALUE_MAX + 1];
    struct bytes local = bytes_first(
        subject->local.len == 0 ? bytes_of("postmaster") : subject->local, SPF_VALUE_MAX);
    struct bytes domain = bytes_first(subject->sender_domain, SPF_VALUE_MAX);
    struct bytes whole = bytes_make(octets, local.len + 1 + domain.len);

    memcpy(octets, local.at, local.len);
    octets[local.len] = '@';
    if (domain.len > 0)
        memcpy(octets + local.len + 1, domain.at, domain.len);
    if (in_quotes || whole.len > SPF_VALUE_MAX || !is_dot_atom(local) || !is_dot_atom(domain))
        put_quoted(out, whole);
    else
        buf_put(out, whole);
}

/* ---- Received-SPF ---- */

static void put_key(struct buf *out, const char *key, struct bytes value)
{
    buf_cat(out, FOLD, key, "=", NULL);
    put_value(out, value);
    buf_byte(out, ';');
}

void spf_header_put_received(struct buf *out, const struct spf_report *report)
{
    const struct spf_subject *subject = &report->subject;
    const struct spf_reply *reply = &report->reply;
    char client[NETADDR_TEXT_MAX];

    buf_cat(out, "Received-SPF: ", spf_result_name(reply->result), FOLD "(", NULL);
    text_put_neutral(out, subject->receiver, is_plain);
    buf_text(out, ": ");
    put_sentence(out, report);
    buf_byte(out, ')');
    put_key(out, "client-ip", bytes_of(netaddr_text(&subject->client, client)));
    buf_text(out, FOLD "envelope-from=");
    put_sender(out, subject, true);
    buf_byte(out, ';');
    put_key(out, "helo", subject->helo);
    put_key(out, "receiver", subject->receiver);
    put_key(out, "identity", bytes_of(report->identity == SPF_IDENTITY_HELO ? "helo" : "mailfrom"));
    if (reply->mechanism.len > 0)
        put_key(out, "mechanism", reply->mechanism);
    if (reply->problem.len > 0)
        put_key(out, "problem", reply->problem);
    buf_text(out, "\r\n");
}

/* ---- Authentication-Results ---- */

void spf_header_put_results(struct buf *out, struct bytes authserv_id,
                            const struct spf_report *reports, size_t count)
{
    buf_text(out, "Authentication-Results: ");
    buf_put(out, authserv_id);
    for (size_t i = 0; i < count; i++) {
        const struct spf_report *report = &reports[i];

        buf_cat(out, ";" FOLD "spf=", spf_result_name(report->reply.result), " (", NULL);
        put_sentence(out, report);
        buf_text(out, ")" FOLD);
        if (report->identity == SPF_IDENTITY_HELO) {
            buf_text(out, "smtp.helo=");
            put_value(out, report->subject.helo);
        } else {
            buf_text(out, "smtp.mailfrom=");
            put_sender(out, &report->subject, false);
        }
    }
    buf_text(out, "\r\n");
}

/* ---- refusals ---- */

void spf_header_put_refusal(struct buf *out, const struct spf_report *report)
{
    struct buf text;

    buf_init(&text, out->pool, 1024);
    put_sentence(&text, report);
    buf_text(&text, " (SPF)");
    if (report->reply.result == SPF_FAIL && report->reply.explanation.len > 0) {
        buf_text(&text, "; its explanation: ");
        text_put_neutral(&text, bytes_first(report->reply.explanation, SPF_TEXT_MAX),
                         byte_is_printable);
    }
    buf_put(out, bytes_first(buf_bytes(&text), SPF_REFUSAL_MAX));
    out->has_failed = out->has_failed || text.has_failed;
    buf_done(&text);
}
