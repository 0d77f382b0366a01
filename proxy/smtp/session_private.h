/* SPDX-License-Identifier: BSD-2-Clause */
/* What the session's files share. Pure. */
#ifndef POSTERN_SESSION_PRIVATE_H
#define POSTERN_SESSION_PRIVATE_H

#include "proxy/smtp/command.h"
#include "proxy/smtp/session.h"

enum session_rule_flags {
    RULE_IS_JUNK = 1 << 0,    /* does not lead to mail: counts against junk_max */
    RULE_WAITS = 1 << 1,      /* runs when every earlier command has its reply */
    RULE_ENDS_GROUP = 1 << 2, /* RFC 2920: the client must wait for its reply */
    RULE_NEEDS_HELO = 1 << 3,
    RULE_NO_ARGUMENT = 1 << 4,
    RULE_BEFORE_TLS = 1 << 7, /* taken where TLS is required, and not there yet */
    RULE_DROPS_EARLY = 1 << 6 /* nobody knows who says what came with it: that is thrown away
                                 where early input does not end the session */
};

/* A command is checked, filters are asked about it, and it proceeds; each step finds it in
 * session.command. While a question has no answer the session stands still (SESSION_PENDING). */
struct session_rule {
    enum verb verb;
    unsigned flags;
    enum session_stage stage;
    /* REPLY_OK, or what the client is told instead; REPLY_NO_MEMORY ends the session. NULL: nothing
     * to check. */
    enum reply_id (*check)(struct session *s);
    void (*proceed)(struct session *s);
    /* After a 3xx the client's next line belongs to the command. NULL: there is never one. */
    void (*line)(struct session *s, struct bytes line);
    /* Filters refuse the command; the reply lies in `mail`. NULL: the client is told, no more. */
    void (*refuse)(struct session *s, const struct reply *reply);
};

const struct session_rule *session_rule_find(enum verb verb);

/* session_command.c: one command from its line to its end. */
void session_run(struct session *s, const struct session_rule *rule, struct bytes argument);
/* Legal when a command runs, which then waits for the answer to `question`. */
void session_wait_for(struct session *s, const struct session_action *question);
/* Is this a question about a command that does not wait any more? The session was closed between
 * the command and the drain of its actions. */
bool session_is_given_up(const struct session *s, enum session_action_kind question);
/* Copies the command's argument, which points into its line. False: no memory; the session ends. */
bool session_keep_argument(struct session *s);
/* Keeps the command until every earlier one has its reply. */
void session_hold(struct session *s, const struct session_rule *rule, struct bytes argument);
void session_run_held(struct session *s);                    /* legal in SESSION_HELD */
void session_run_line(struct session *s, struct bytes line); /* legal in SESSION_LINE */
void session_forget_command(struct session *s);
/* Filters are asked about a line of a command that nobody knows. */
void session_filter_line(struct session *s, struct bytes line);
/* These resume a command that waits. */
void session_on_answer(struct session *s, const struct reply *reply);
void session_on_routed(struct session *s, const struct recipient *rcpt);

/* session_replies.c. Replies leave in the order of commands. A refusal (4xx, 5xx) is logged, and
 * counted where it is permanent. The reply's words are a constant, or lie in `mail`. */
void session_say(struct session *s, enum reply_id id);
void session_say_reply(struct session *s, const struct reply *reply);
/* The reply is the recipient's answer, when there is one. False: no memory. */
bool session_say_when_answered(struct session *s, struct recipient *rcpt);

/* Sends the replies that are known, up to the first that is not. */
void session_tell_slots(struct session *s);
/* A target's reply: its words are changed in two cases only. The client expects enhanced codes and
 * the target gives none, or it says 421, which ends its connection but not ours with the client. */
void session_put_answer(struct session *s, const struct reply *reply, bool lacks_enhanced);
/* A 5xx counts against errors_max. */
void session_count_error(struct session *s, const struct reply *reply);
/* No recipient was accepted, and content is to come. */
static inline enum reply_id session_need_rcpt(const struct session *s)
{
    return s->client.is_lmtp ? REPLY_NEED_RCPT_LMTP : REPLY_NEED_RCPT;
}

void session_do(struct session *s, const struct session_action *action);
bool session_has_room_to_do(const struct session *s);
/* The transaction is given up; `why` in the log's words. */
void session_abandon(struct session *s, const char *why);
/* Sends the reply and closes, whatever runs. */
void session_close_with(struct session *s, enum reply_id id);
/* The same, but after the replies that earlier commands wait for. */
void session_end_with(struct session *s, enum reply_id id);
/* Likewise, in any words; `why` as in session_over. */
void session_end_with_reply(struct session *s, const struct reply *reply, const char *why);
/* The reply to the command that runs is 421, by a filter: the last that the client gets. */
void session_hang_up(struct session *s, const struct reply *reply);

/* session_identity.c: who the client is. */
void session_forget_helo(struct session *s);
/* False: no memory, and the old one stays. */
bool session_keep_helo(struct session *s, struct bytes helo);
void session_xclient(struct session *s);
void session_forget_asserted(struct session *s);
void session_xforward(struct session *s);
void session_reset_origin(struct session *s); /* legal when no transaction runs */
void session_forget_origin(struct session *s);

/* session_tls.c */
enum reply_id session_check_starttls(struct session *s);
void session_starttls(struct session *s);
void session_on_secured(struct session *s, struct tls_facts *facts);
void session_forget_tls(struct session *s);
/* Is the command not to be taken before TLS is there? */
static inline bool session_lacks_tls(const struct session *s, const struct session_rule *rule)
{
    return s->conf->tls == SESSION_TLS_REQUIRED && s->peer.tls == NULL &&
           (rule->flags & RULE_BEFORE_TLS) == 0;
}

/* session_auth.c */
enum line_content session_next_line(const struct session *s);
enum reply_id session_check_auth(struct session *s);
void session_auth(struct session *s);
void session_auth_line(struct session *s, struct bytes line);
void session_cancel_auth(struct session *s); /* legal in SESSION_LINE */
void session_forget_response(struct session *s);
void session_forget_login(struct session *s);
uint32_t session_mechanisms(const struct session *s); /* that this client may use */
/* Must they be asked for, before they can be announced? */
bool session_lacks_mechanisms(const struct session *s);
void session_on_mechanisms(struct session *s, uint32_t mechanisms);
void session_on_authenticated(struct session *s, struct bytes login, const struct reply *reply);

/* session_outcome.c: the replies to the end of data. */
void session_tell_outcome(struct session *s); /* the transaction is over */
void session_tell_untold(struct session *s);  /* legal while there are untold recipients */

/* session_content.c: the content and its end, however it comes. */
void session_begin_content(struct session *s);
/* Decoded content. */
void session_take_content(struct session *s, struct bytes content);
bool session_would_exceed_size(const struct session *s, uint64_t more_bytes);
void session_end_content(struct session *s);
/* Content that still comes goes nowhere; the client is told at its end. */
void session_refuse_message(struct session *s, enum reply_id id);

/* ... by DATA. Legal in SESSION_GOING, when every earlier command has its reply. */
void session_decide_data(struct session *s);
size_t session_feed_data(struct session *s, struct bytes in);

/* session_chunk.c: BDAT. */
void session_bdat(struct session *s);
size_t session_feed_chunk(struct session *s, struct bytes in);
void session_end_chunk(struct session *s); /* legal when all octets of the chunk have come */
/* A line that is no command began with BDAT: what is content is not known any more. */
void session_lose_frame(struct session *s);
/* Legal in SESSION_GOING, when every earlier command has its reply. */
void session_decide_chunk(struct session *s);
/* The message comes in chunks, and the one that ends it has not come: RFC 2033 4.3. */
static inline bool session_is_within_chunks(const struct session *s)
{
    return s->content.dot.is_plain && !s->chunk.is_last;
}

#endif
