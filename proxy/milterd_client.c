/* SPDX-License-Identifier: BSD-2-Clause */
/* A client of a mail server, and what the filters are asked about it. */
#include "proxy/milterd_client.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/log_fields.h"
#include "proxy/milterd_text.h"
#include "proxy/smtp/header_strip.h"
#include "proxy/smtp/params.h"

#define SESSION_MAX  (64 * 1024) /* octets of what is known of a client */
#define ENVELOPE_MAX (4U << 20)  /* ... and of its message */

struct milterd_client {
    struct milterd *of;
    struct list in_milterd;
    struct id id;
    struct identity identity;
    struct arena session, greeting, mail; /* name; HELO; `tx` and its login */
    struct chain_walk *walk;
    struct transaction *tx; /* NULL: no message is under way */
    struct copy *copy; /* its content, as far as a filter has not read it; NULL: there is none */
    struct recipient *rcpt; /* the latest */
    struct bytes queue_id;  /* the mail server's; in `mail` */
    uint64_t begun_us;
    unsigned results_count;                            /* Authentication-Results fields so far */
    unsigned forged[MILTERD_FORGED_MAX], forged_count; /* those among them that are not ours */
    bool is_unchecked;                                 /* there was no memory to look */
    bool has_content;                                  /* of the message some has come */
    struct milterd_call *call;                         /* that waits for the filters; NULL: none */
    struct session_question about;
};

static struct loop *loop_of(const struct milterd_client *c)
{
    return c->of->services.loop;
}

/* ---- log ---- */

static struct log_line begin_line(const struct milterd_client *c, const char *event)
{
    const struct services *services = &c->of->services;
    char address[NETADDR_TEXT_MAX];
    struct log_line line = log_begin(services->log, services->log_sinks, LOG_LEVEL_INFO, event);

    log_put_text(&line, "session", c->id.text);
    log_put_text(&line, "client", netaddr_text_with_port(&c->identity.client, address));
    log_put_text(&line, "transaction", c->tx->envelope.id.text);
    return line;
}

static struct log_line begin_recipients(const void *owner)
{
    return begin_line(owner, "recipients");
}

static void log_transaction(const struct milterd_client *c, const struct reply *outcome)
{
    struct pool *pool = &loop_pools(loop_of(c))->medium;
    struct buf words;
    struct log_line line = begin_line(c, "transaction");

    log_put_given(&line, "queue", c->queue_id);
    log_put_client_name(&line, &c->identity);
    log_put(&line, "helo", c->identity.helo);
    log_put_given(&line, "login", c->identity.login);
    log_put_address(&line, pool, "from", &c->tx->envelope.from);
    bool are_all_named = log_put_recipients(&line, pool, c->tx);
    buf_init(&words, pool, 4096);
    chain_put_words(c->walk, &words);
    if (buf_length(&words) != 0)
        log_put_list(&line, "filters", buf_bytes(&words));
    buf_done(&words);
    if (outcome == NULL)
        log_put_text(&line, "outcome", "abandoned");
    else if (outcome->code == 0)
        log_put_text(&line, "outcome", "accepted");
    else
        log_put_reply(&line, pool, "outcome", outcome);
    log_put_number(&line, "ms", (int64_t)((loop_precise_us(loop_of(c)) - c->begun_us) / 1000));
    log_end(&line);
    if (!are_all_named)
        log_recipients(c->tx, pool, begin_recipients, c);
}

/* ---- answers ---- */

/* The words may be gone when the message is. */
static void note_refusal(struct milterd_call *call, const struct reply *refusal)
{
    struct milterd_answer *given = call->answer;

    if (given == NULL || refusal->code < 400)
        return;
    given->refusal =
        refusal->wire.len <= sizeof(given->words) ? *refusal : reply_own(REPLY_LOCAL_PROBLEM);
    memcpy(given->words, given->refusal.wire.at, given->refusal.wire.len);
    given->refusal.wire.at = given->words;
}

static void answer(struct milterd_client *c, struct milterd_call *call)
{
    crossing_answer(c->of->crossing, &call->crossing);
}

static void answer_own(struct milterd_client *c, struct milterd_call *call, enum reply_id id)
{
    const struct reply reply = reply_own(id);

    note_refusal(call, &reply);
    answer(c, call);
}

/* `outcome` NULL: the mail server gave it up; code 0: it goes on with it. */
static void end_message(struct milterd_client *c, const struct reply *outcome)
{
    if (c->tx == NULL)
        return;
    log_transaction(c, outcome);
    chain_message_ended(c->walk);
    copy_free(&c->copy);
    c->has_content = false;
    c->tx = NULL;
    c->rcpt = NULL;
    c->queue_id = c->identity.login = bytes_make(NULL, 0);
    c->results_count = c->forged_count = 0;
    c->is_unchecked = false;
    arena_reset(&c->mail);
    c->of->message_count--;
    c->of->message_over(c->of);
}

static void put_lines(struct milterd_client *c, struct milterd_call *call, struct reply *refusal)
{
    struct buf lines;

    buf_init(&lines, &loop_pools(loop_of(c))->medium, sizeof(call->answer->lines));
    chain_put_lines(c->walk, &lines);
    if (lines.has_failed)
        *refusal = reply_own(REPLY_LOCAL_PROBLEM);
    else if (buf_length(&lines) != 0)
        memcpy(call->answer->lines, buf_bytes(&lines).at,
               call->answer->lines_len = buf_length(&lines));
    buf_done(&lines);
}

static void put_forged(const struct milterd_client *c, const struct milterd_call *call,
                       struct reply *refusal)
{
    if (c->is_unchecked || c->forged_count > MILTERD_FORGED_MAX) {
        *refusal = reply_own(c->is_unchecked ? REPLY_LOCAL_PROBLEM : REPLY_FORGED_RESULTS);
        return;
    }
    memcpy(call->answer->forged, c->forged, c->forged_count * sizeof(c->forged[0]));
    call->answer->forged_count = c->forged_count;
}

/* What follows from an answer for what we know of the message. */
static void note_answer(struct milterd_client *c, enum milterd_event event,
                        const struct reply *refusal)
{
    bool refuses = refusal->code >= 400;

    if (event == MILTERD_RCPT)
        c->rcpt->envelope = !refuses                   ? FATE_ACCEPTED
                            : refusal->code / 100 == 4 ? FATE_DEFERRED
                                                       : FATE_REFUSED;
    else if (event == MILTERD_END || (refuses && (event == MILTERD_MAIL || event == MILTERD_DATA)))
        end_message(c, refusal);
}

static void on_answered(void *owner, const struct reply *reply)
{
    struct milterd_client *c = owner;
    struct milterd_call *call = c->call;
    struct reply refusal = *reply;

    c->call = NULL;
    if (call->event == MILTERD_END && refusal.code == 0) {
        put_lines(c, call, &refusal);
        put_forged(c, call, &refusal);
    }
    /* At CONNECT libmilter takes no words. The chain refuses again at HELO, and from then on. */
    if (call->event == MILTERD_CONNECT)
        refusal.code = 0;
    note_refusal(call, &refusal);
    note_answer(c, call->event, &refusal);
    answer(c, call);
}

static const struct chain_walk_use walk_use = {.answered = on_answered};

static void ask(struct milterd_client *c, struct milterd_call *call, enum session_stage stage,
                struct bytes text)
{
    c->call = call;
    c->about = (struct session_question){
        .stage = stage, .text = text, .transaction = c->tx, .rcpt = c->rcpt};
    if ((c->of->chain.stages & (1U << stage)) == 0)
        on_answered(c, &(struct reply){.code = 0});
    else
        chain_ask(c->walk, &c->about);
}

/* ---- the client ---- */

static bool begin(struct milterd_client *c, const struct milterd_call *call)
{
    const struct services *services = &c->of->services;
    const struct chain_log log = {
        .log = services->log, .sinks = services->log_sinks, .session = &c->id};
    const struct chain_client about = {.client = &c->identity,
                                       .origin = &c->identity,
                                       .hostname = services->config->core.hostname,
                                       .listener = c->of->conf->section};
    struct pool *pool = &loop_pools(loop_of(c))->small;

    arena_init(&c->session, pool, SESSION_MAX);
    arena_init(&c->greeting, pool, SESSION_MAX);
    arena_init(&c->mail, pool, ENVELOPE_MAX);
    c->id = services_next_id(&c->of->services);
    c->identity.client = call->address;
    c->identity.name_state = milterd_text_name(call->text, call->macro);
    if (c->identity.name_state == IDENTITY_NAME_CONFIRMED &&
        arena_copy(&c->session, call->text, &c->identity.name) != 0)
        return false;
    c->walk = chain_walk_new(&c->of->chain, loop_of(c), &about, &log, &walk_use, c);
    return c->walk != NULL;
}

static void free_client(struct milterd_client *c)
{
    if (c->call != NULL) {
        chain_forget(c->walk);
        answer_own(c, c->call, REPLY_LOCAL_PROBLEM);
    }
    end_message(c, NULL);
    chain_walk_end(&c->walk);
    arena_reset(&c->mail);
    arena_reset(&c->greeting);
    arena_reset(&c->session);
    list_remove(&c->in_milterd);
    c->of->client_count--;
    mem_free(c);
}

void milterd_clients_free(struct milterd *d)
{
    LIST_EACH (link, &d->clients)
        free_client(LIST_ENTRY(link, struct milterd_client, in_milterd));
}

static void take_connect(struct milterd *d, struct milterd_call *call)
{
    struct milterd_client *c =
        d->client_count < MILTERD_CLIENTS_MAX && !d->is_stopping ? mem_zalloc(sizeof(*c)) : NULL;

    if (c == NULL) {
        crossing_answer(d->crossing, &call->crossing);
        return;
    }
    c->of = d;
    list_append(&d->clients, &c->in_milterd);
    d->client_count++;
    if (!begin(c, call)) {
        free_client(c);
        crossing_answer(d->crossing, &call->crossing);
        return;
    }
    call->client = c;
    ask(c, call, SESSION_STAGE_CONNECT, bytes_make(NULL, 0));
}

static void take_helo(struct milterd_client *c, struct milterd_call *call)
{
    c->identity.helo = bytes_make(NULL, 0);
    arena_reset(&c->greeting);
    if (arena_copy(&c->greeting, call->text, &c->identity.helo) != 0)
        answer_own(c, call, REPLY_LOCAL_PROBLEM);
    else
        ask(c, call, SESSION_STAGE_HELO, c->identity.helo);
}

/* ---- its message ---- */

static int copy_text(struct milterd_client *c, const char *text, struct bytes *copy_out)
{
    return text == NULL ? 0 : arena_copy(&c->mail, bytes_of(text), copy_out);
}

/* The mail server may have given its id to the message meanwhile. */
static void note_queue_id(struct milterd_client *c, const struct milterd_call *call)
{
    if (c->tx != NULL && c->queue_id.len == 0)
        (void)copy_text(c, call->queue_id, &c->queue_id);
}

/* In one text, as the client sent them. */
static int copy_params(struct milterd_client *c, const struct milterd_call *call,
                       struct bytes *params_out)
{
    size_t len = 0;
    uint8_t *at;

    for (char *const *param = call->params; *param != NULL; param++)
        len += strlen(*param) + 1;
    if (len == 0)
        return 0;
    at = arena_alloc(&c->mail, len);
    if (at == NULL)
        return ERR_MEMORY;
    *params_out = bytes_make(at, len - 1);
    for (char *const *param = call->params; *param != NULL; param++) {
        size_t part = strlen(*param);
        memcpy(at, *param, part);
        at[part] = ' ';
        at += part + 1;
    }
    return 0;
}

static void read_params(struct envelope *envelope)
{
    struct bytes rest = envelope->params;
    struct param param;

    while (params_next(&rest, &param) == 0) {
        if (bytes_is_nocase(param.keyword, "BODY"))
            envelope->is_8bit = bytes_is_nocase(param.value, "8BITMIME");
        else if (bytes_is_nocase(param.keyword, "SIZE"))
            (void)text_decimal(param.value, UINT64_MAX, &envelope->size_bytes);
    }
}

static enum reply_id begin_message(struct milterd_client *c, const struct milterd_call *call)
{
    struct envelope envelope = {.id = services_next_id(&c->of->services)};
    struct transaction *tx = arena_alloc(&c->mail, sizeof(*tx));
    int error =
        tx == NULL ? ERR_MEMORY : milterd_text_address(call->text, &c->mail, &envelope.from);

    if (error == 0)
        error = copy_params(c, call, &envelope.params);
    if (error == 0)
        error = copy_text(c, call->login, &c->identity.login);
    if (error != 0) {
        c->identity.login = bytes_make(NULL, 0);
        arena_reset(&c->mail);
        return error == ERR_SYNTAX ? REPLY_SENDER_SYNTAX : REPLY_LOCAL_PROBLEM;
    }
    read_params(&envelope);
    transaction_init(tx, &c->mail, &envelope, &c->identity);
    c->tx = tx;
    c->begun_us = loop_precise_us(loop_of(c));
    c->of->message_count++;
    note_queue_id(c, call);
    return REPLY_OK;
}

static void take_mail(struct milterd_client *c, struct milterd_call *call)
{
    end_message(c, NULL);
    enum reply_id id = c->of->is_stopping ? REPLY_LOCAL_PROBLEM : begin_message(c, call);
    if (id != REPLY_OK)
        answer_own(c, call, id);
    else
        ask(c, call, SESSION_STAGE_MAIL, call->text);
}

static enum reply_id add_recipient(struct milterd_client *c, const struct milterd_call *call)
{
    struct address to;
    int error = milterd_text_address(call->text, &c->mail, &to);

    if (error == ERR_SYNTAX)
        return REPLY_RECIPIENT_SYNTAX;
    c->rcpt = error == 0 ? transaction_add(c->tx, &to) : NULL;
    if (c->rcpt == NULL)
        return REPLY_TOO_MANY_RECIPIENTS;
    return copy_params(c, call, &c->rcpt->params) == 0 ? REPLY_OK : REPLY_TOO_MANY_RECIPIENTS;
}

static void take_rcpt(struct milterd_client *c, struct milterd_call *call)
{
    enum reply_id id = add_recipient(c, call);

    note_queue_id(c, call);
    if (id != REPLY_OK)
        answer_own(c, call, id);
    else
        ask(c, call, SESSION_STAGE_RCPT, call->text);
}

/* ---- content ---- */

/* The mail server keeps the message; here it only passes by. */
static void lose_content(struct milterd_client *c)
{
    if (c->copy == NULL)
        return;
    chain_hide(c->walk);
    copy_free(&c->copy);
    c->is_unchecked = true;
}

static void on_copy_room(void *owner)
{
    (void)owner; /* nobody waits for it */
}

static void on_copy_failed(void *owner)
{
    lose_content(owner);
}

static void on_copy_unkept(void *owner, int error)
{
    (void)error;
    lose_content(owner);
}

static bool on_copy_is_ending(void *owner)
{
    (void)owner;
    return false;
}

static const struct copy_use copy_use = {.room = on_copy_room,
                                         .unkept = on_copy_unkept,
                                         .failed = on_copy_failed,
                                         .refused = on_copy_failed,
                                         .is_ending = on_copy_is_ending};

/* Nothing is kept that the filters have read. */
static void begin_content(struct milterd_client *c)
{
    struct copy_limits *limits = &c->of->services.copies;
    const struct view view = view_whole();

    c->has_content = true;
    if (!c->of->chain.reads_content)
        return;
    c->copy = copy_new(loop_of(c), limits, copy_net_of(limits, &c->identity.client), &copy_use, c);
    if (c->copy == NULL) {
        c->is_unchecked = true;
        return;
    }
    chain_show(c->walk, c->copy, &view, 0);
    copy_let_go(c->copy);
}

static void append(struct milterd_client *c, struct bytes content)
{
    if (!c->has_content)
        begin_content(c);
    if (c->copy == NULL || content.len == 0)
        return;
    if (copy_room(c->copy) < content.len || copy_append(c->copy, content) != 0)
        lose_content(c);
    else
        chain_flush(c->walk);
}

/* Where the field's octets go: to the filters, and to what finds forged results. */
struct field_readers {
    struct milterd_client *client;
    struct header_strip *strip;
    bool stays; /* some of it was let through */
};

static void strip(struct field_readers *to, struct bytes content)
{
    struct bytes kept;

    while (header_strip_take(to->strip, &content, &kept))
        to->stays = to->stays || kept.len != 0;
}

static void give(struct field_readers *to, struct bytes content)
{
    append(to->client, content);
    if (content.len != 0)
        strip(to, content);
}

/* Lines end in CRLF where content streams; the value has LF alone at its folds. */
static void give_field(struct field_readers *to, const struct milterd_call *call)
{
    struct bytes rest = call->value;

    give(to, call->text);
    give(to, bytes_of(":"));
    while (rest.len > 0) {
        size_t end = bytes_find(rest, '\n');
        struct bytes line = bytes_first(rest, end);
        bool is_fold = end < rest.len;
        rest = bytes_skip(rest, is_fold ? end + 1 : end);
        if (line.len > 0 && line.at[line.len - 1] == '\r')
            line.len--;
        give(to, line);
        if (is_fold)
            give(to, bytes_of("\r\n"));
    }
    give(to, bytes_of("\r\n"));
}

/* Nobody but our filters may write results in our name. */
static void take_field(struct milterd_client *c, struct milterd_call *call)
{
    const struct milterd *d = c->of;
    struct header_strip strip;
    struct field_readers to = {.client = c, .strip = &strip};

    header_strip_init(&strip, d->names, d->chain.name_count, &loop_pools(loop_of(c))->small);
    give_field(&to, call);
    to.stays = to.stays || header_strip_end(&strip).len != 0;
    c->is_unchecked = c->is_unchecked || strip.held.has_failed;
    header_strip_done(&strip);
    if (bytes_is_nocase(call->text, "Authentication-Results")) {
        c->results_count++;
        if (!to.stays && c->forged_count++ < MILTERD_FORGED_MAX)
            c->forged[c->forged_count - 1] = c->results_count;
    }
    answer(c, call);
}

static void take_content(struct milterd_client *c, struct milterd_call *call)
{
    append(c, call->event == MILTERD_BODY ? call->text : bytes_of("\r\n"));
    answer(c, call);
}

/* ---- events ---- */

static void take_abort(struct milterd_client *c, struct milterd_call *call)
{
    end_message(c, NULL);
    answer(c, call);
}

static void take_data(struct milterd_client *c, struct milterd_call *call)
{
    note_queue_id(c, call);
    ask(c, call, SESSION_STAGE_DATA, bytes_make(NULL, 0));
}

static void take_end(struct milterd_client *c, struct milterd_call *call)
{
    note_queue_id(c, call);
    append(c, bytes_make(NULL, 0));
    if (c->copy != NULL) {
        copy_end_message(c->copy);
        copy_finish(c->copy);
        chain_whole(c->walk);
    }
    ask(c, call, SESSION_STAGE_END, bytes_make(NULL, 0));
}

static void take_command(struct milterd_client *c, struct milterd_call *call)
{
    ask(c, call, SESSION_STAGE_COMMAND, call->text);
}

static const struct {
    void (*take)(struct milterd_client *c, struct milterd_call *call);
    bool is_of_message;
} events[] = {
    [MILTERD_HELO] = {take_helo, false},   [MILTERD_MAIL] = {take_mail, false},
    [MILTERD_RCPT] = {take_rcpt, true},    [MILTERD_DATA] = {take_data, true},
    [MILTERD_FIELD] = {take_field, true},  [MILTERD_HEADER_END] = {take_content, true},
    [MILTERD_BODY] = {take_content, true}, [MILTERD_END] = {take_end, true},
    [MILTERD_ABORT] = {take_abort, false}, [MILTERD_COMMAND] = {take_command, false},
};

void milterd_client_take(struct milterd *d, struct milterd_call *call)
{
    struct milterd_client *c = call->client;

    if (call->event == MILTERD_CONNECT) {
        take_connect(d, call);
    } else if (call->event == MILTERD_CLOSE) {
        free_client(c);
        crossing_answer(d->crossing, &call->crossing);
    } else if (events[call->event].is_of_message && c->tx == NULL) {
        answer_own(c, call, REPLY_NEED_MAIL); /* the mail server has lost its way */
    } else {
        assert(c->call == NULL);
        events[call->event].take(c, call);
    }
}
