/* SPDX-License-Identifier: BSD-2-Clause */
/* How targets of a scenario go wrong, at one place of a connection. */
#include "tests/sim/scenario_target.h"

static const enum scenario_count place_counts[PLACES] = {
    COUNT_AT_CONNECT, COUNT_AT_GREETING, COUNT_AT_STARTTLS, COUNT_AT_HANDSHAKE,
    COUNT_AT_HELLO,   COUNT_AT_AUTH,     COUNT_AT_MAIL,     COUNT_AT_RCPT,
    COUNT_AT_DATA,    COUNT_AT_CONTENT,  COUNT_AT_END,
};

/* ---- saying ---- */

void server_say(struct server *v, const char *text)
{
    if (v->is_over || v->is_silent || !sim_may_send(v->peer))
        return;
    if (v->holds) {
        sim_put(&v->late, bytes_of(text));
        return;
    }
    scenario_heard(v->scenario, "T<", v->number, bytes_of(text));
    sim_send(v->peer, bytes_of(text));
}

void server_say_late(struct server *v)
{
    struct bytes late = bytes_make(v->late.at, v->late.len);

    if (v->holds && !v->is_silent && sim_may_send(v->peer)) {
        scenario_heard(v->scenario, "T<", v->number, late);
        sim_send(v->peer, late);
        v->said_count = v->delivery_count;
    }
    v->late.len = 0;
    v->holds = false;
}

/* Of what was said behind the content is known later whether it was read. What a reset has taken
 * away nobody reads. */
void server_hang_up(struct server *v, bool with_reset)
{
    v->is_over = true;
    if (sim_peer_state(v->peer) != SIM_PEER_OPEN)
        return;
    server_look_at_answer(v);
    if (with_reset) {
        v->said_count = 0;
        sim_reset(v->peer);
    } else if (v->said_count > 0 && sim_unread(v->peer) > 0) {
        sim_shutdown(v->peer);
    } else {
        sim_close(v->peer);
    }
}

void server_wait(struct server *v, uint64_t ms)
{
    v->is_waiting = true;
    scenario_later(v->scenario, &v->timer, &v->event, ms);
}

/* ---- going wrong ---- */

void server_note_outage(struct server *v)
{
    struct scenario_targets *targets = &v->scenario->targets;
    targets->failed_ms[v->target] = targets->backend_failed_ms[v->backend] =
        sim_now_ms(v->scenario->world);
}

void server_note_no(struct server *v, const char *to, bool is_for_good)
{
    if (is_for_good)
        ledger_refuse(v->scenario, v->target, v->mail.sender, to);
    else
        ledger_put_off(v->scenario, v->mail.sender, to);
}

/* What a fault at that place means for the mail that it meets. */
static void note_fault(struct server *v, enum place place, const char *to, enum fault fault)
{
    bool is_for_good = fault == FAULT_5XX;

    if (!is_for_good && fault != FAULT_4XX)
        server_note_outage(v);
    else if (place < PLACE_MAIL)
        v->scenario->targets.hello_refusals += is_for_good && place != PLACE_STARTTLS &&
                                               place != PLACE_HANDSHAKE && place != PLACE_AUTH;
    else if (place == PLACE_MAIL)
        server_note_no(v, NULL, is_for_good);
    else if (place == PLACE_RCPT)
        server_note_no(v, v->mail.recipients[v->mail.recipient_count], is_for_good);
    else if (to != NULL)
        server_note_no(v, to, is_for_good);
    else
        for (unsigned i = 0; i < v->mail.recipient_count; i++)
            server_note_no(v, v->mail.recipients[i], is_for_good);
    if (place < PLACE_MAIL)
        server_note_outage(v);
}

bool server_is_weak_point(struct server *v, enum place place)
{
    if (place != v->weak.place || v->weak.fault == FAULT_NONE || v->scenario->is_healthy)
        return false;
    return v->weak.pass == 0 || v->weak.pass-- == 0;
}

bool server_is_end(enum fault fault)
{
    return fault == FAULT_CLOSE || fault == FAULT_RESET || fault == FAULT_SILENCE ||
           fault == FAULT_421 || fault == FAULT_GARBAGE || fault == FAULT_RECORD;
}

/* What it has said may be read before that, or not. */
static void break_off(struct server *v)
{
    if (!v->is_secured || sim_peer_state(v->peer) != SIM_PEER_OPEN) {
        server_hang_up(v, true);
        return;
    }
    v->is_over = true;
    server_look_at_answer(v);
    v->said_count = 0;
    sim_close_garbled(v->peer);
}

static void go_wrong(struct server *v, enum place place, enum fault fault)
{
    bool is_login = place == PLACE_AUTH;

    switch (fault) {
    case FAULT_4XX:
        server_say(v, is_login ? "454 4.7.0 not now " SCENARIO_WORD_LOGIN "\r\n"
                               : "451 4.2.1 not now\r\n");
        break;
    case FAULT_5XX:
        server_say(v, is_login ? "535 5.7.8 never " SCENARIO_WORD_LOGIN "\r\n"
                               : "554 5.7.0 never\r\n");
        break;
    case FAULT_GARBAGE:
        server_say(v, "what?\r\n");
        break;
    case FAULT_SILENCE:
    case FAULT_TAKE_SILENCE:
        v->is_silent = true;
        break;
    case FAULT_421:
        server_say(v, "421 4.3.2 going down\r\n");
        server_hang_up(v, false);
        break;
    case FAULT_CLOSE:
    case FAULT_TAKE_CLOSE:
    case FAULT_RESET:
        server_hang_up(v, fault == FAULT_RESET);
        break;
    case FAULT_RECORD:
        break_off(v);
        break;
    case FAULT_SLOW:
    case FAULT_NONE:
        break;
    }
}

bool server_answer(struct server *v, enum place place, const char *to, const char *text)
{
    enum fault fault = v->weak.fault;

    if (!server_is_weak_point(v, place)) {
        server_say(v, text);
        return true;
    }
    scenario_count(v->scenario, place_counts[place]);
    note_fault(v, place, to, fault);
    v->weak.fault = FAULT_NONE;
    if (fault == FAULT_SLOW) {
        v->holds = true;
        server_say(v, text);
        server_wait(v, scenario_below(v->scenario, SERVER_SLOW_MS));
        return true;
    }
    if (fault == FAULT_TAKE_CLOSE || fault == FAULT_TAKE_SILENCE)
        scenario_count(v->scenario, COUNT_TAKEN_UNSAID);
    go_wrong(v, place, fault);
    return fault == FAULT_TAKE_CLOSE || fault == FAULT_TAKE_SILENCE;
}

bool server_breaks_in_content(struct server *v)
{
    enum fault fault = v->weak.fault;

    if (v->weak.place != PLACE_CONTENT || fault == FAULT_NONE ||
        v->mail.content.len < v->weak.content_at || !server_is_weak_point(v, PLACE_CONTENT))
        return false;
    scenario_count(v->scenario, COUNT_AT_CONTENT);
    note_fault(v, PLACE_CONTENT, NULL, fault);
    v->weak.fault = FAULT_NONE;
    if (fault == FAULT_SLOW)
        server_wait(v, scenario_below(v->scenario, SERVER_SLOW_MS));
    go_wrong(v, PLACE_CONTENT, fault);
    v->is_silent = fault != FAULT_SLOW; /* it has said all that it will say */
    return true;
}

void server_plan_fault(struct server *v)
{
    struct scenario *s = v->scenario;

    if (!scenario_chance(s, s->targets.trouble_percent))
        return;
    v->weak.place = scenario_chance(s, 40) ? PLACE_END : (enum place)scenario_below(s, PLACES);
    v->weak.fault = FAULT_CLOSE + (enum fault)scenario_below(s, FAULT_RECORD);
    if (v->weak.place == PLACE_END && scenario_chance(s, 40))
        v->weak.fault = scenario_chance(s, 50) ? FAULT_TAKE_CLOSE : FAULT_TAKE_SILENCE;
    v->weak.pass =
        v->weak.place > PLACE_HELLO && scenario_chance(s, 30) ? (unsigned)scenario_below(s, 3) : 0;
    v->weak.content_at = scenario_below(s, 600);
}
