/* SPDX-License-Identifier: BSD-2-Clause */
/* One message and two targets that do what they are told to. */
#include "tests/unit/transaction_play.h"

struct target {
    const char *name;
};

static struct target targets[] = {{"one"}, {"two"}};

static const char rcpt_words[] = "250 2.1.5 Fine\r\n";

static struct reply reply(const char *text)
{
    return (struct reply){
        .code = (uint16_t)((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0')),
        .wire = bytes_of(text)};
}

void play_begin(struct play *p)
{
    struct envelope envelope = {.id = {.text = PLAY_ID}};

    *p = (struct play){.ways = {ACCEPTS, ACCEPTS}};
    pool_init(&p->pool, 4096, 4);
    arena_init(&p->arena, &p->pool, SIZE_MAX);
    transaction_init(&p->t, &p->arena, &envelope, &p->client);
    p->t.splits = true;
}

void play_end(struct play *p)
{
    arena_reset(&p->arena);
    pool_done(&p->pool);
}

static int number_of(const struct branch *b)
{
    return b->target == &targets[0] ? 0 : 1;
}

void play_feed(struct play *p, struct event ev)
{
    transaction_feed(&p->t, &ev);
}

struct routed_leg play_leg(const struct play *p, int target)
{
    return (struct routed_leg){.target = &targets[target],
                               .can_prepare = p->kinds[target] == MAILDIR,
                               .may_spool = p->kinds[target] == SPOOLABLE};
}

struct recipient *play_add(struct play *p, const struct routed_leg *legs, int count)
{
    struct routed routed = {.legs = legs, .leg_count = count, .names_domain = true};
    struct address to = {.local = bytes_of("joe"), .domain = bytes_of("x.test")};
    struct recipient *r = transaction_add(&p->t, &to);

    if (r != NULL)
        play_feed(p, (struct event){.kind = EV_ROUTED, .rcpt = r, .routed = &routed});
    return r;
}

void play_address_apart(struct play *p)
{
    for (int i = 0; i < 2; i++) {
        struct routed_leg to = play_leg(p, i);
        p->rcpts[i] = play_add(p, &to, 1);
    }
}

void play_address_list(struct play *p)
{
    struct routed_leg legs[] = {play_leg(p, 0), play_leg(p, 1)};
    p->rcpts[0] = play_add(p, legs, 2);
    p->rcpts[1] = p->rcpts[0]->next_in_list;
}

void play_answer_end(struct play *p, struct branch *b)
{
    static const char *const words[] = {"250 2.0.0 Taken\r\n", "450 4.2.0 Later\r\n",
                                        "550 5.7.1 Never\r\n"};
    struct event ev = {.kind = EV_FINAL, .branch = b, .fate = FATE_ACCEPTED};

    p->ended++;
    switch (p->ways[number_of(b)]) {
    case ACCEPTS:
        ev.reply = reply(words[0]);
        break;
    case DEFERS:
        ev.fate = FATE_DEFERRED;
        ev.reply = reply(words[1]);
        break;
    case REFUSES:
        ev.fate = FATE_REFUSED;
        ev.reply = reply(words[2]);
        break;
    case VANISHES:
        ev = (struct event){.kind = EV_BROKEN, .branch = b, .is_end_sent = true};
        ev.reply = reply_own(REPLY_TARGET_LOST);
        break;
    default:
        b->is_end_sent = true;
        return;
    }
    b->is_end_sent = true;
    play_feed(p, ev);
}

static void perform(struct play *p, const struct action *todo)
{
    struct branch *b = todo->branch;

    if (todo->kind == ACT_SETTLED) {
        p->is_settled = true;
    } else if (todo->kind == ACT_PREPARE_SPOOL) {
        p->was_prepared = true;
        if (!p->withholds_prepare)
            play_feed(p, (struct event){.kind = EV_PREPARED, .error = p->prepare_error});
    } else if (todo->kind == ACT_COMMIT_SPOOL) {
        p->was_committed = true;
        if (!p->withholds_commit)
            play_feed(p, (struct event){.kind = EV_COMMITTED, .error = p->commit_error});
    } else if (todo->kind == ACT_PREPARE) {
        if (!p->withholds_undo)
            play_feed(p, (struct event){.kind = EV_PREPARED, .branch = b, .error = p->undo_error});
    } else if (todo->kind == ACT_COMMIT) {
        p->appeared++;
        if (!p->withholds_appear)
            play_feed(p,
                      (struct event){.kind = EV_COMMITTED, .branch = b, .error = p->appear_error});
    } else if (todo->kind == ACT_DROP) {
        p->dropped++;
    } else if (todo->kind == ACT_END) {
        play_answer_end(p, b);
    }
}

void play_drain(struct play *p)
{
    struct action todo;
    while (transaction_next(&p->t, &todo))
        perform(p, &todo);
}

void play_answer_rcpt(struct play *p, int i)
{
    struct event ev = {.kind = EV_ANSWER,
                       .branch = p->rcpts[i]->branch,
                       .rcpt = p->rcpts[i],
                       .fate = FATE_ACCEPTED,
                       .reply = reply(rcpt_words)};

    if (p->rcpts[i]->branch == NULL)
        return;
    if (p->ways[i] == REFUSES_RCPT) {
        ev.fate = FATE_REFUSED;
        ev.reply = reply("550 5.1.1 Nobody\r\n");
    } else if (p->ways[i] == DEFERS_RCPT) {
        ev.fate = FATE_DEFERRED;
        ev.reply = reply("450 4.2.0 Later\r\n");
    }
    play_feed(p, ev);
}

static void in_content(struct play *p, int i)
{
    struct branch *b = p->rcpts[i]->branch;

    if (p->ways[i] == BREAKS)
        play_feed(p, (struct event){
                         .kind = EV_BROKEN, .branch = b, .reply = reply_own(REPLY_TARGET_LOST)});
    else if (p->ways[i] == REFUSES_EARLY)
        play_feed(p, (struct event){.kind = EV_FINAL,
                                    .branch = b,
                                    .fate = FATE_REFUSED,
                                    .reply = reply("550 5.3.4 Too much\r\n")});
}

static void let_go(struct play *p, enum unkept when)
{
    if (p->unkept == when)
        play_feed(p, (struct event){.kind = EV_UNKEPT, .error = ERR_FULL});
    play_drain(p);
}

static void quarantine(struct play *p)
{
    const char *which = p->quarantined;

    if (which == NULL)
        return;
    const struct target *target = which[0] == 'a' ? NULL : p->rcpts[which[0] - '0']->branch->target;
    assert_int_equal(transaction_quarantine(&p->t, target, bytes_of("virus")), 0);
    play_drain(p);
}

bool play(struct play *p)
{
    play_drain(p);
    play_answer_rcpt(p, 0);
    play_answer_rcpt(p, 1);
    play_drain(p);
    transaction_data(&p->t);
    play_drain(p);
    if (transaction_go(&p->t) != TRANSACTION_GO_AHEAD)
        return false;
    let_go(p, UNKEPT_BEFORE);
    in_content(p, 0);
    in_content(p, 1);
    let_go(p, UNKEPT_AFTER);
    quarantine(p);
    transaction_end(&p->t);
    play_drain(p);
    return true;
}

static char letter(enum outcome_disposition disposition)
{
    static const char letters[] = {[OUTCOME_NOTHING] = '-',
                                   [OUTCOME_SPOOL] = 'S',
                                   [OUTCOME_BOUNCE] = 'B',
                                   [OUTCOME_HOLD] = 'H'};
    return letters[disposition];
}

static bool has_id(struct bytes words)
{
    for (size_t i = 0; i + sizeof(PLAY_ID) - 1 < words.len; i++)
        if (memcmp(words.at + i, PLAY_ID, sizeof(PLAY_ID) - 1) == 0)
            return true;
    return false;
}

static void describe_spool(const struct play *p, struct lib_text *text)
{
    lib_put(text, " %c%c%s%s", letter(outcome_disposition(&p->t, p->rcpts[0])),
            letter(outcome_disposition(&p->t, p->rcpts[1])), p->was_prepared ? " p" : "",
            p->was_committed ? " c" : "");
}

void play_describe(const struct play *p, struct lib_text *text)
{
    lib_put(text, "%u%s", p->t.outcome.code, has_id(p->t.outcome.wire) ? "Q" : "");
    describe_spool(p, text);
}

void play_describe_each(const struct play *p, struct lib_text *text)
{
    LIST_EACH (link, &p->t.recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        struct reply words = outcome_of_list(&p->t, r->head);

        if (r->head == r && outcome_is_acknowledged(r))
            lib_put(text, "%s%u%s", text->len == 0 ? "" : " ", words.code,
                    has_id(words.wire) ? "Q" : "");
        else if (r->head == r)
            lib_put(text, "%s-", text->len == 0 ? "" : " ");
    }
    describe_spool(p, text);
}
