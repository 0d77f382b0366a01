/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program reads of a report: delivery status (RFC 3464) and what is returned (RFC 6522). */
#include <assert.h>

#include "proxy/base/netaddr.h"
#include "proxy/base/text.h"
#include "proxy/smtp/params.h"
#include "spool/bounce_private.h"

#define LINE_OCTETS_MAX 998 /* octets before CRLF, RFC 5322 2.1.1 */
#define FIELD_MAX       500 /* octets of a value that has no blanks to fold at */
#define TYPE_MAX        80  /* octets of an address type in ORCPT, which is a word like "rfc822" */

/* ---- status ---- */

/* "5.1.1" of "550 5.1.1 text". Empty: there is none, or its class is not that of the code. */
static struct bytes enhanced_of(struct bytes reply)
{
    struct bytes text = reply.len > 4 ? bytes_skip(reply, 4) : bytes_make(NULL, 0);
    struct bytes code = text_word(&text);
    size_t digits = 0, dots = 0;

    for (size_t i = 0; i < code.len; i++) {
        if (byte_is_digit(code.at[i]) && digits < (dots == 0 ? 1 : 3)) {
            digits++;
        } else if (code.at[i] == '.' && digits > 0 && dots < 2) {
            dots++;
            digits = 0;
        } else {
            return bytes_make(NULL, 0);
        }
    }
    return dots == 2 && digits > 0 && code.at[0] == reply.at[0] ? code : bytes_make(NULL, 0);
}

/* The status that the reply has, or else the one that follows from `kind`. */
static struct bytes status_of(const struct spool_recipient *s, enum bounce_kind kind)
{
    static const char *const otherwise[] = {[BOUNCE_FAILED] = "5.0.0",
                                            [BOUNCE_DELAYED] = "4.0.0",
                                            [BOUNCE_RELAYED] = "2.0.0",
                                            [BOUNCE_DELIVERED] = "2.0.0"};
    struct bytes said = enhanced_of(s->reply);

    assert((size_t)kind < ARRAY_LENGTH(otherwise));
    return said.len > 0 && said.at[0] == otherwise[kind][0] ? said : bytes_of(otherwise[kind]);
}

/* ---- fields ---- */

/* The value of a parameter; empty: it is not there. */
static struct bytes find_param(struct bytes params, const char *keyword)
{
    struct param param;

    while (params_next(&params, &param) == 0)
        if (bytes_is_nocase(param.keyword, keyword))
            return param.value;
    return bytes_make(NULL, 0);
}

static int hex_value(uint8_t c)
{
    if (byte_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 3461 4. A "+" without two hex digits stays as it is: Postfix does not encode everywhere. */
static void put_decoded(struct buf *out, struct bytes xtext)
{
    uint8_t decoded[FIELD_MAX];
    size_t len = 0;

    for (size_t i = 0; i < xtext.len && len < sizeof(decoded); i++) {
        int high = i + 2 < xtext.len ? hex_value(xtext.at[i + 1]) : -1;
        int low = i + 2 < xtext.len ? hex_value(xtext.at[i + 2]) : -1;

        if (xtext.at[i] == '+' && high >= 0 && low >= 0) {
            decoded[len++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            decoded[len++] = xtext.at[i];
        }
    }
    bounce_text_printable(out, bytes_make(decoded, len));
}

static void put_field(struct buf *out, const char *name, struct bytes value)
{
    buf_cat(out, name, ": ", NULL);
    bounce_text_printable(out, bytes_first(value, FIELD_MAX));
    buf_text(out, "\r\n");
}

static void put_date_field(struct buf *out, const char *name, int64_t wall_s)
{
    if (wall_s == 0)
        return;
    buf_cat(out, name, ": ", NULL);
    text_put_date(out, wall_s);
    buf_text(out, "\r\n");
}

/* "rfc822; local@domain", without the angle brackets. */
static void put_address_field(struct buf *out, const char *name, const struct address *address)
{
    buf_cat(out, name, ": rfc822; ", NULL);
    bounce_text_mailbox(out, address);
    buf_text(out, "\r\n");
}

/* ORCPT=type;address: only what the sender said may stand here (RFC 3464 2.3.1). */
static void put_original_recipient(struct buf *out, const struct spool_recipient *s)
{
    struct bytes orcpt = find_param(s->params, "ORCPT");
    size_t type = bytes_find(orcpt, ';');

    if (type == 0 || type > TYPE_MAX || type + 1 >= orcpt.len)
        return;
    buf_text(out, "Original-Recipient: ");
    bounce_text_printable(out, bytes_first(orcpt, type));
    buf_text(out, "; ");
    put_decoded(out, bytes_skip(orcpt, type + 1));
    buf_text(out, "\r\n");
}

/* "dns; [192.0.2.1]", or a name if `remote` is no address. */
static void put_remote(struct buf *out, struct bytes remote)
{
    char text[NETADDR_TEXT_MAX];
    struct netaddr address;

    if (remote.len == 0)
        return;
    if (netaddr_parse_with_port(remote, 0, &address) != 0) {
        buf_text(out, text_is_host_name(remote) ? "Remote-MTA: dns; " : "Remote-MTA: x-postern; ");
        bounce_text_printable(out, bytes_first(remote, FIELD_MAX));
    } else {
        buf_cat(out, "Remote-MTA: dns; ", address.family == NETADDR_IPV6 ? "[IPv6:" : "[",
                netaddr_text(&address, text), "]", NULL);
    }
    buf_text(out, "\r\n");
}

static void put_diagnostic(struct buf *out, const struct spool_recipient *s)
{
    static const char theirs[] = "Diagnostic-Code: smtp; ", ours[] = "Diagnostic-Code: x-postern; ";
    const char *name = s->remote.len > 0 ? theirs : ours;

    if (text_trim(s->reply).len == 0)
        return;
    buf_text(out, name);
    bounce_text_words(out, s->reply, strlen(name), " "); /* unfolding gives the same text */
    buf_text(out, "\r\n");
}

static void put_recipient(struct buf *out, const struct bounce_job *job,
                          const struct spool_recipient *s)
{
    static const char *const actions[] = {[BOUNCE_FAILED] = "failed",
                                          [BOUNCE_DELAYED] = "delayed",
                                          [BOUNCE_RELAYED] = "relayed",
                                          [BOUNCE_DELIVERED] = "delivered"};

    buf_text(out, "\r\n");
    put_original_recipient(out, s);
    put_address_field(out, "Final-Recipient", &s->to);
    buf_cat(out, "Action: ", actions[job->kind], "\r\n", NULL);
    put_field(out, "Status", status_of(s, job->kind));
    if (job->kind != BOUNCE_DELIVERED) { /* where a mailbox lies here is nobody's business */
        put_remote(out, s->remote);
        put_diagnostic(out, s);
    }
    put_date_field(out, "Last-Attempt-Date", s->tried_ms / 1000);
    if (job->kind == BOUNCE_DELAYED)
        put_date_field(out, "Will-Retry-Until", job->will_retry_s);
}

void bounce_dsn_put(struct buf *out, const struct bounce_report *report)
{
    const struct spool_message *m = report->job->message;
    struct bytes envid = find_param(m->envelope.params, "ENVID");

    if (envid.len > 0) {
        buf_text(out, "Original-Envelope-Id: ");
        put_decoded(out, envid);
        buf_text(out, "\r\n");
    }
    buf_text(out, "Reporting-MTA: dns; ");
    bounce_text_printable(out, bytes_first(report->conf->hostname, FIELD_MAX));
    buf_text(out, "\r\n");
    put_date_field(out, "Arrival-Date", m->arrived_ms / 1000);
    put_field(out, "X-Postern-Id", bytes_of(m->head.id.text));
    if (!address_is_null(&m->envelope.from))
        put_address_field(out, "X-Postern-Sender", &m->envelope.from);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        if (bounce_tells(report->job, i))
            put_recipient(out, report->job, &m->recipients[i]);
}

/* ---- what is returned ---- */

uint64_t bounce_message_bytes(const struct spool_message *message)
{
    struct spool_shown shown = spool_shown_to_all(message);
    return spool_shown_bytes(&shown);
}

/* RFC 3461 4.3: RET is about failures; every other report has headers alone. So has that of a
 * binary message, whose body cannot stand among lines. */
static bool returns_whole(const struct spool_message *m, enum bounce_kind kind)
{
    return kind == BOUNCE_FAILED && !m->envelope.is_binary &&
           bounce_message_bytes(m) <= BOUNCE_WHOLE_MAX &&
           !bytes_is_nocase(find_param(m->envelope.params, "RET"), "HDRS");
}

uint64_t bounce_content_bytes(const struct spool_message *message, enum bounce_kind kind)
{
    uint64_t all = bounce_message_bytes(message);

    return returns_whole(message, kind) || all < BOUNCE_HEADERS_MAX ? all : BOUNCE_HEADERS_MAX;
}

/* The headers up to the empty line. Without an empty line, a last line that is not whole is left
 * out. */
static struct bytes headers_of(struct bytes content, bool is_whole)
{
    size_t end = 0; /* where the last whole line ends */

    while (end < content.len) {
        struct bytes rest = bytes_skip(content, end);
        size_t line = bytes_find(rest, '\n');

        if (line == 0 || (line == 1 && rest.at[0] == '\r'))
            break;
        if (line == rest.len)
            return is_whole ? content : bytes_first(content, end);
        end += line + 1;
    }
    return bytes_first(content, end);
}

static bool has_8bit(struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++)
        if (octets.at[i] > 127)
            return true;
    return false;
}

/* A message/rfc822 part cannot be encoded (RFC 2046 5.2.1). Of a message that is not 7-bit only the
 * headers are returned, for humans to read. */
void bounce_dsn_choose(struct bounce_report *report)
{
    const struct bounce_job *job = report->job;
    const struct spool_message *m = job->message;
    bool has_all = job->content.len >= bounce_message_bytes(m);

    report->is_whole =
        has_all && returns_whole(m, job->kind) && !(job->is_7bit && has_8bit(job->content));
    report->returned = report->is_whole ? job->content : headers_of(job->content, has_all);
    report->is_8bit = !job->is_7bit && has_8bit(report->returned);
}

/* Puts one line, given without its end. Octets that may not stand in a line become "?". A line that
 * is too long is broken, and its rest begins with `indent`. */
static void put_line(struct buf *out, struct bytes line, const char *indent, bool is_8bit)
{
    size_t start = 0, column = 0;

    assert(strlen(indent) < LINE_OCTETS_MAX);
    for (size_t i = 0; i < line.len; i++, column++) {
        uint8_t c = line.at[i];

        assert(column <= LINE_OCTETS_MAX);
        if (column == LINE_OCTETS_MAX) {
            buf_put(out, bytes_make(line.at + start, i - start));
            buf_cat(out, "\r\n", indent, NULL);
            start = i;
            column = strlen(indent);
        }
        if (c == '\0' || c == '\r' || (c > 127 && !is_8bit)) {
            buf_put(out, bytes_make(line.at + start, i - start));
            buf_byte(out, '?');
            start = i + 1;
        }
    }
    buf_put(out, bytes_skip(line, start));
    buf_text(out, "\r\n");
}

void bounce_dsn_put_returned(struct buf *out, const struct bounce_report *report)
{
    struct bytes rest = report->returned;
    const char *indent = " "; /* folds a long line in headers; in the body the line is broken */

    while (rest.len > 0) {
        struct bytes line = bytes_first(rest, bytes_find(rest, '\n'));

        rest = bytes_skip(rest, line.len < rest.len ? line.len + 1 : line.len);
        if (line.len > 0 && line.at[line.len - 1] == '\r')
            line.len--;
        if (line.len == 0)
            indent = "";
        put_line(out, line, indent, report->is_8bit);
    }
}
