/* SPDX-License-Identifier: BSD-2-Clause */
/* What a session asks filters, and what they answer. */
#include "proxy/bridge.h"

struct bridge_question {
    struct smtpd_question question;
    struct bridge *bridge;
};

/* `b` may be gone after this, where nothing is being drained. */
static void answer(struct bridge *b, const struct reply *reply)
{
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_ANSWER, .reply = *reply});
    carrier_drain(&b->carrier);
}

static void on_answer(struct smtpd_question *question, const struct reply *reply)
{
    struct bridge_question *q = CONTAINER_OF(question, struct bridge_question, question);
    struct bridge *b = q->bridge;

    b->question = NULL;
    mem_free(q);
    answer(b, reply);
}

void bridge_filter_ask(struct bridge *b)
{
    const struct smtpd_judge *judge = b->smtpd->conf->judge;
    struct bridge_question *q = mem_zalloc(sizeof(*q));

    assert(b->question == NULL);
    if (q == NULL) {
        struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
        answer(b, &reply);
        return;
    }
    q->bridge = b;
    q->question = (struct smtpd_question){.about = session_question(&b->session),
                                          .client = &b->session.client,
                                          .answered = on_answer};
    b->question = q;
    judge->ask(judge->owner, &q->question);
}

void bridge_filter_forget_late(struct bridge *b)
{
    const struct smtpd_judge *judge = b->smtpd->conf->judge;

    if (b->question == NULL || session_asks_filters(&b->session))
        return;
    judge->forget(judge->owner, &b->question->question);
    mem_free(b->question);
    b->question = NULL;
}
