/* SPDX-License-Identifier: BSD-2-Clause */
/* The text of a report for humans, and how text from outside is put. */
#include <assert.h>

#include "proxy/base/text.h"
#include "spool/bounce_private.h"

#define WIDTH     76
#define WORD_MAX  500  /* octets without a blank; a longer word is broken */
#define LOCAL_MAX 320  /* octets of a local part: twice as many, in quotes, fit in a line of 998 */
#define WORDS_MAX 1000 /* octets of one reply */

void bounce_text_printable(struct buf *out, struct bytes text)
{
    text_put_neutral(out, text, byte_is_printable);
}

/* Copies into `room`; what does not fit is cut off. */
static struct bytes make_printable(struct bytes text, uint8_t *room, size_t room_bytes)
{
    text = bytes_first(text, room_bytes);
    for (size_t i = 0; i < text.len; i++)
        room[i] = byte_is_printable(text.at[i]) ? text.at[i] : '?';
    return bytes_make(room, text.len);
}

void bounce_text_mailbox(struct buf *out, const struct address *address)
{
    uint8_t local[LOCAL_MAX], domain[ADDRESS_DOMAIN_MAX];
    struct address clean = {.local = make_printable(address->local, local, sizeof(local)),
                            .domain = make_printable(address->domain, domain, sizeof(domain)),
                            .keeps_dots = address->keeps_dots};

    address_put(out, &clean);
}

void bounce_text_address(struct buf *out, const struct address *address)
{
    buf_byte(out, '<');
    bounce_text_mailbox(out, address);
    buf_byte(out, '>');
}

void bounce_text_words(struct buf *out, struct bytes text, size_t column, const char *indent)
{
    struct bytes rest = bytes_first(text, WORDS_MAX);
    bool is_cut = rest.len < text.len;
    bool is_line_empty = true;

    for (struct bytes word = text_word(&rest); word.len > 0; word = text_word(&rest)) {
        if (word.len > WORD_MAX) {
            rest =
                bytes_make(word.at + WORD_MAX, (size_t)(rest.at + rest.len - word.at) - WORD_MAX);
            word = bytes_first(word, WORD_MAX);
        }
        if (is_line_empty) {
            is_line_empty = false;
        } else if (column + 1 + word.len > WIDTH) {
            buf_cat(out, "\r\n", indent, NULL);
            column = strlen(indent);
        } else {
            buf_byte(out, ' ');
            column++;
        }
        bounce_text_printable(out, word);
        column += word.len;
    }
    buf_text(out, is_cut ? "..." : "");
}

/* ---- the text ---- */

struct kind_text {
    const char *what, *why;
};

static const struct kind_text kinds[] = {
    [BOUNCE_FAILED] = {"could not be delivered to", "Nothing more will be tried."},
    [BOUNCE_DELAYED] = {"has not been delivered yet to",
                        "You need do nothing: it is being tried again."},
    [BOUNCE_RELAYED] = {"was handed on, to a system that makes no reports of its own, for",
                        "You will hear no more of it unless something goes wrong there."},
    [BOUNCE_DELIVERED] = {"was delivered to the mailbox of",
                          "That does not mean that it has been read."},
};

static void put_reply(struct buf *out, const struct spool_recipient *s)
{
    static const char indent[] = "    ";

    buf_text(out, indent);
    if (s->remote.len > 0) {
        bounce_text_printable(out, bytes_first(s->remote, WORD_MAX));
        buf_text(out, " said:\r\n    ");
    }
    bounce_text_words(out, s->reply, strlen(indent), indent);
    buf_text(out, "\r\n");
}

static void put_recipient(struct buf *out, const struct spool_recipient *s, enum bounce_kind kind)
{
    bounce_text_address(out, &s->original);
    if (!address_is_same(&s->original, &s->to)) {
        buf_text(out, ", that is ");
        bounce_text_address(out, &s->to);
    }
    buf_text(out, "\r\n");
    if (s->reply.len > 0 && kind != BOUNCE_DELIVERED)
        put_reply(out, s);
    if ((kind == BOUNCE_FAILED || kind == BOUNCE_DELAYED) && s->may_be_duplicate)
        buf_text(out, "    (it may have arrived all the same: an answer was lost)\r\n");
    buf_text(out, "\r\n");
}

void bounce_text_put(struct buf *out, const struct bounce_report *report)
{
    const struct bounce_job *job = report->job;
    const struct spool_message *m = job->message;

    assert((size_t)job->kind < ARRAY_LENGTH(kinds));
    buf_text(out, "This is postern, the mail system at ");
    bounce_text_printable(out, bytes_first(report->conf->hostname, WORD_MAX));
    buf_text(out, ".\r\n\r\nThe message ");
    if (address_is_null(&m->envelope.from)) {
        buf_text(out, "without a sender");
    } else {
        buf_text(out, "from ");
        bounce_text_address(out, &m->envelope.from);
    }
    buf_text(out, "\r\nof ");
    text_put_date(out, m->arrived_ms / 1000);
    buf_cat(out, "\r\n", kinds[job->kind].what, ":\r\n\r\n", NULL);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        if (bounce_tells(job, i))
            put_recipient(out, &m->recipients[i], job->kind);
    buf_cat(out, kinds[job->kind].why, "\r\n", NULL);
    if (job->kind == BOUNCE_DELAYED && job->will_retry_s != 0) {
        buf_text(out, "That goes on until ");
        text_put_date(out, job->will_retry_s);
        buf_text(out, ".\r\n");
    }
    if (report->returned.len > 0)
        buf_text(out, report->is_whole ? "The message itself is enclosed.\r\n"
                                       : "The headers of the message are enclosed.\r\n");
    else if (job->is_unreadable)
        buf_text(out, "The message itself cannot be read any more, and is not enclosed.\r\n");
}
