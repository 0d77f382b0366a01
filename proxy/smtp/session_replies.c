/* SPDX-License-Identifier: BSD-2-Clause */
/* Replies in the order of commands; refusals are counted and logged. */
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/session_private.h"

/* A reply that must wait for an earlier one. */
struct slot {
    struct list link;
    struct recipient *rcpt; /* the reply is this recipient's answer; NULL: `reply` */
    struct reply reply;
    struct session_named named;
};

void session_put_answer(struct session *s, const struct reply *reply, bool lacks_enhanced)
{
    bool is_expected = (s->offered & CAPABILITY_ENHANCEDSTATUSCODES) != 0;
    reply_put(&s->out, reply, reply->code == 421 ? 451 : 0,
              lacks_enhanced && is_expected ? REPLY_ENHANCED_ADDED : REPLY_AS_IT_IS);
}

/* A 4xx is not the client's fault: often it is for recipients that do not fit in this transaction,
 * of which there may be many. */
void session_count_error(struct session *s, const struct reply *reply)
{
    if (reply->code < 500)
        return;
    if (++s->counts.errors >= s->conf->errors_max && s->state != SESSION_CLOSED)
        session_close_with(s, REPLY_TOO_MANY_ERRORS);
}

/* A limit of our own deferred the command before it made a recipient: nothing else counts it. */
static bool is_overshoot(const struct reply *reply, const struct recipient *rcpt)
{
    return rcpt == NULL && (reply->code == 451 || reply->code == 452);
}

/* Only the first of a kind is logged, since a client may send such commands as fast as it can. */
static bool is_first_overshoot(const struct session *s, const struct reply *reply)
{
    return (s->counts.overshoot_logged & 1U << reply->enhanced[1]) == 0;
}

static bool count_overshoot(struct session *s, const struct reply *reply)
{
    bool is_first = is_first_overshoot(s, reply);

    s->counts.overshoot_logged |= 1U << reply->enhanced[1];
    if (++s->counts.overshoot >= s->conf->overshoot_max && s->state != SESSION_CLOSED)
        session_close_with(s, REPLY_TOO_MUCH_OVERSHOOT);
    return is_first;
}

/* Of the command that runs, where its refusal will be logged. The argument is copied: it is needed
 * when the line has gone. */
static struct session_named named_by_command(struct session *s, const struct reply *reply)
{
    const struct session_rule *rule = s->command.rule;
    struct session_named named = {.is_sender = rule != NULL && rule->verb == VERB_MAIL};
    bool is_named = named.is_sender || (rule != NULL && rule->verb == VERB_RCPT);
    bool is_logged = reply->code >= 400 && s->command.rcpt == NULL &&
                     (!is_overshoot(reply, NULL) || is_first_overshoot(s, reply));

    if (is_named && is_logged)
        (void)arena_copy(&s->mail, s->command.argument, &named.argument); /* else it goes without */
    return named;
}

static void reject(struct session *s, const struct reply *reply, struct recipient *rcpt,
                   const struct session_named *named)
{
    if (session_has_room_to_do(s))
        session_do(s,
                   &(struct session_action){
                       .kind = SESSION_ACT_REJECT, .reply = *reply, .rcpt = rcpt, .named = *named});
}

static void note_refusal(struct session *s, const struct reply *reply, struct recipient *rcpt,
                         const struct session_named *named)
{
    if (reply->code < 400)
        return;
    if (!is_overshoot(reply, rcpt) || count_overshoot(s, reply))
        reject(s, reply, rcpt, named);
    session_count_error(s, reply);
}

static bool add_slot(struct session *s, struct recipient *rcpt, const struct reply *reply)
{
    struct slot *slot = arena_alloc(&s->mail, sizeof(*slot));
    if (slot == NULL)
        return false;
    slot->rcpt = rcpt;
    if (reply != NULL) {
        slot->reply = *reply;
        slot->named = named_by_command(s, reply);
    }
    list_append(&s->slots, &slot->link);
    s->slot_count++;
    return true;
}

void session_say_reply(struct session *s, const struct reply *reply)
{
    if (!list_is_empty(&s->slots)) {
        if (!add_slot(s, NULL, reply))
            session_close_with(s, REPLY_NO_MEMORY);
        return;
    }
    reply_put(&s->out, reply, 0, REPLY_AS_IT_IS);
    const struct session_named named = named_by_command(s, reply);
    note_refusal(s, reply, NULL, &named);
}

void session_say(struct session *s, enum reply_id id)
{
    struct reply reply = reply_own(id);
    session_say_reply(s, &reply);
}

bool session_say_when_answered(struct session *s, struct recipient *rcpt)
{
    return add_slot(s, rcpt, NULL);
}

void session_hang_up(struct session *s, const struct reply *reply)
{
    struct recipient *rcpt = s->command.rcpt;
    const struct session_named named = named_by_command(s, reply);

    reject(s, reply, rcpt, &named);
    if (rcpt != NULL) { /* it was the last to get a slot */
        list_remove(s->slots.prev);
        s->slot_count--;
    }
    session_end_with_reply(s, reply, "filter");
}

void session_tell_slots(struct session *s)
{
    struct list *first;

    while ((first = list_first(&s->slots)) != NULL && session_has_room_to_do(s) &&
           buf_length(&s->out) < SESSION_UNSENT_MAX) {
        struct slot *slot = LIST_ENTRY(first, struct slot, link);
        if (slot->rcpt == NULL) {
            reply_put(&s->out, &slot->reply, 0, REPLY_AS_IT_IS);
        } else {
            const struct recipient *speaker = outcome_of_envelope(slot->rcpt);
            if (speaker == NULL)
                return;
            session_put_answer(s, &speaker->answer,
                               speaker->branch != NULL && speaker->branch->lacks_enhanced);
            slot->reply = speaker->answer;
        }
        list_remove(&slot->link);
        s->slot_count--;
        note_refusal(s, &slot->reply, slot->rcpt, &slot->named);
    }
}
