/* SPDX-License-Identifier: BSD-2-Clause */
/* What filters did to a message, when they have agreed to it. */
#include "proxy/base/error.h"
#include "proxy/bridge_filter_private.h"
#include "proxy/services.h"
#include "proxy/smtp/params.h"

#define PARAMS_MAX 8192 /* octets of ESMTP words */

static struct arena *mail_of(const struct bridge_filters *f)
{
    return &f->bridge->session.mail;
}

static bool is_edited(const struct chain_walk *walk)
{
    return (chain_edited(walk) & FILTER_EDITS_CONTENT) != 0;
}

/* ---- content ---- */

int bridge_filter_take_content(struct bridge_filters *f)
{
    if (f->own == NULL || !is_edited(f->own))
        return 0;
    return transaction_show(f->bridge->session.tx, NULL, chain_view(f->own));
}

int bridge_filter_take_target_content(struct target_walk *t)
{
    if (!is_edited(t->walk))
        return 0;
    return transaction_show(t->of->bridge->session.tx, t->target, chain_view(t->walk));
}

/* ---- envelope ---- */

/* What the walk along the edits has come to. */
struct taking {
    struct bridge_filters *of;
    const struct filter_edit *quarantine; /* the first; NULL: none */
    enum reply_id failure;
};

static void log_ignored(struct taking *taking, const struct filter_edit *edit, const char *why)
{
    const struct bridge *b = taking->of->bridge;
    struct log_line line =
        log_begin(b->smtpd->services->log, b->smtpd->log_sinks, LOG_LEVEL_WARNING, "edit-ignored");

    log_put_text(&line, "session", b->id.text);
    log_put_text(&line, "transaction", b->session.tx->envelope.id.text);
    log_put(&line, "address", edit->value);
    log_put_text(&line, "reason", why);
    log_end(&line);
}

/* An address as filters write them; the null sender too. */
static int read_address(struct taking *taking, struct bytes text, struct address *address_out)
{
    struct address read;

    if (text.len == 0) {
        *address_out = (struct address){.is_literal = false};
        return 0;
    }
    int error = address_parse_mailbox(text, mail_of(taking->of), &read);
    return error != 0 ? error : address_copy(mail_of(taking->of), &read, address_out);
}

/* Only what says how to report on a message is a filter's to change (RFC 3461). */
static bool is_of_sender(const struct param *param)
{
    return (bytes_is_nocase(param->keyword, "RET") && params_is_ret(param->value)) ||
           (bytes_is_nocase(param->keyword, "ENVID") && params_is_envid(param->value));
}

static bool is_another(const struct param *param)
{
    return !bytes_is_nocase(param->keyword, "RET") && !bytes_is_nocase(param->keyword, "ENVID");
}

static bool is_of_recipient(const struct param *param)
{
    return (bytes_is_nocase(param->keyword, "NOTIFY") && params_is_notify(param->value)) ||
           (bytes_is_nocase(param->keyword, "ORCPT") && params_is_orcpt(param->value));
}

static void put_params(struct buf *out, struct bytes rest, bool (*fits)(const struct param *param))
{
    struct param param;

    while (params_next(&rest, &param) == 0) {
        if (!fits(&param))
            continue;
        if (buf_length(out) != 0)
            buf_byte(out, ' ');
        buf_put(out, param.keyword);
        if (param.value.len != 0)
            buf_byte(out, '=');
        buf_put(out, param.value);
    }
}

static void begin_params(struct taking *taking, struct buf *out)
{
    buf_init(out, &loop_pools(taking->of->bridge->carrier.loop)->medium, PARAMS_MAX);
}

static int keep_params(struct taking *taking, struct buf *out, struct bytes *params_out)
{
    int error =
        out->has_failed ? ERR_MEMORY : arena_copy(mail_of(taking->of), buf_bytes(out), params_out);

    buf_done(out);
    return error;
}

static int sender_params(struct taking *taking, struct bytes given, struct bytes *params_out)
{
    const struct transaction *tx = taking->of->bridge->session.tx;
    struct buf out;

    *params_out = tx->envelope.params;
    if (given.len == 0)
        return 0;
    begin_params(taking, &out);
    put_params(&out, tx->envelope.params, is_another);
    put_params(&out, given, is_of_sender);
    return keep_params(taking, &out, params_out);
}

static int recipient_params(struct taking *taking, struct bytes given, struct bytes *params_out)
{
    struct buf out;

    *params_out = bytes_make(NULL, 0);
    begin_params(taking, &out);
    put_params(&out, given, is_of_recipient);
    return keep_params(taking, &out, params_out);
}

static void change_sender(struct taking *taking, const struct filter_edit *edit)
{
    struct address from;
    struct bytes params;
    int error = read_address(taking, edit->value, &from);

    if (error == ERR_MEMORY || sender_params(taking, edit->params, &params) != 0)
        taking->failure = REPLY_LOCAL_PROBLEM;
    else if (error != 0)
        log_ignored(taking, edit, "no address");
    else
        transaction_change_sender(taking->of->bridge->session.tx, &from, params);
}

static void include(struct taking *taking, const struct address *to, const struct filter_edit *edit)
{
    struct bridge *b = taking->of->bridge;
    const struct recipient asked = {.original = *to, .to = *to};
    struct bytes params;
    struct routed routed;

    if (transaction_includes(b->session.tx, to))
        return;
    bridge_resolve(b, &asked, &routed);
    if (routed.reply.code != 0) {
        log_ignored(taking, edit, "no route");
        return;
    }
    routed.guard = REPLY_OK; /* it is not the client that goes there */
    if (recipient_params(taking, edit->params, &params) != 0 ||
        transaction_include(b->session.tx, to, params, &routed) != 0)
        taking->failure = REPLY_LOCAL_PROBLEM;
}

static void change_recipients(struct taking *taking, const struct filter_edit *edit)
{
    struct address to;
    int error = read_address(taking, edit->value, &to);

    if (error == ERR_MEMORY)
        taking->failure = REPLY_LOCAL_PROBLEM;
    else if (error != 0 || to.local.len == 0)
        log_ignored(taking, edit, "no address");
    else if (edit->kind == FILTER_ADD_RCPT)
        include(taking, &to, edit);
    else if (!transaction_exclude(taking->of->bridge->session.tx, &to))
        log_ignored(taking, edit, "no such recipient");
}

static void take(void *owner, const struct filter_edit *edit)
{
    struct taking *taking = owner;

    switch (edit->kind) {
    case FILTER_CHANGE_SENDER:
        change_sender(taking, edit);
        break;
    case FILTER_ADD_RCPT:
    case FILTER_DELETE_RCPT:
        change_recipients(taking, edit);
        break;
    case FILTER_QUARANTINE:
        if (taking->quarantine == NULL)
            taking->quarantine = edit;
        break;
    case FILTER_ADD_FIELD:
    case FILTER_INSERT_FIELD:
    case FILTER_CHANGE_FIELD:
    case FILTER_REPLACE_BODY:
        break; /* the view has them */
    }
}

static enum reply_id take_all(struct bridge_filters *f, const struct chain_walk *walk,
                              const struct target *target)
{
    struct transaction *tx = f->bridge->session.tx;
    struct taking taking = {.of = f, .failure = REPLY_OK};

    if (chain_discards(walk)) {
        transaction_discard(tx, target);
        return REPLY_OK;
    }
    chain_each_edit(walk, take, &taking);
    if (taking.failure == REPLY_OK && taking.quarantine != NULL &&
        transaction_quarantine(tx, target, taking.quarantine->value) != 0)
        taking.failure = REPLY_LOCAL_PROBLEM;
    return taking.failure;
}

enum reply_id bridge_filter_take_fates(struct bridge_filters *f)
{
    enum reply_id id = REPLY_OK;

    LIST_EACH (link, &f->targets) {
        struct target_walk *t = target_walk_of(link);
        if (id == REPLY_OK && t->refusal.code == 0)
            id = take_all(f, t->walk, t->target);
    }
    return id == REPLY_OK && f->own != NULL ? take_all(f, f->own, NULL) : id;
}
