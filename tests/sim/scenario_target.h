/* SPDX-License-Identifier: BSD-2-Clause */
/* The targets of a scenario from within: for scenario_target*.c. */
#ifndef POSTERN_SIM_SCENARIO_TARGET_H
#define POSTERN_SIM_SCENARIO_TARGET_H

#include "tests/sim/sasl.h"
#include "tests/sim/scenario.h"

#define SERVER_RECIPIENTS_MAX 16
#define SERVER_SLOW_MS        90000
#define SERVER_AUTH_SIZE      64

enum place {
    PLACE_CONNECT,
    PLACE_GREETING,
    PLACE_STARTTLS,
    PLACE_HANDSHAKE,
    PLACE_HELLO,
    PLACE_AUTH, /* at one of the answers */
    PLACE_MAIL,
    PLACE_RCPT,
    PLACE_DATA,
    PLACE_CONTENT,
    PLACE_END, /* LMTP: at one of the answers */
    PLACES
};

enum fault {
    FAULT_NONE,
    FAULT_CLOSE,
    FAULT_RESET,
    FAULT_SILENCE,
    FAULT_SLOW,
    FAULT_4XX,
    FAULT_5XX,
    FAULT_421,
    FAULT_GARBAGE,
    FAULT_RECORD,     /* that cannot be decrypted; without TLS a reset */
    FAULT_TAKE_CLOSE, /* the end of data alone: it takes the message, and then does not say so */
    FAULT_TAKE_SILENCE
};

enum announcement {
    PIPELINING = 1,
    CHUNKING = 2,
    XFORWARD = 4,
    XCLIENT = 8,
    DSN = 16,
    STARTTLS = 32
};

/* What a target does instead of letting somebody in. */
enum login_whim {
    WHIM_NONE,
    WHIM_UNANNOUNCED, /* it does not name AUTH */
    WHIM_FOREIGN,     /* it names a mechanism that postern does not have */
    WHIM_UNASKED,     /* it says 235 before it hears AUTH */
    WHIM_EARLY,       /* ... before it has heard all */
    WHIM_ENDLESS,     /* it says 334 again and again */
    WHIM_LIES,        /* ... and something that is no challenge, or no proof of its own */
    WHIM_REPEATS,     /* it repeats the password */
    WHIMS
};

struct server_login {
    bool is_wanted;  /* before any mail */
    bool is_asking;  /* the next line is a response */
    bool is_granted; /* it has said 235 unasked */
    bool is_done;    /* it has said 235 to who knows the password */
    enum login_whim whim;
    uint32_t mechanism;
    unsigned step, lines; /* of the exchange that runs; all that it has heard in it */
};

/* Where a connection goes wrong. */
struct weak_point {
    enum place place;
    enum fault fault;
    unsigned pass;       /* how often that place goes well before */
    uint64_t content_at; /* octets of content, at PLACE_CONTENT */
};

/* The transaction that runs. */
struct transfer {
    bool has_sender, is_content, is_chunk, is_last;
    uint64_t chunk_left;
    char sender[64];
    char recipients[SERVER_RECIPIENTS_MAX][64];
    unsigned recipient_count;
    struct sim_text content;
};

struct server {
    struct list link;
    struct scenario *scenario;
    int target, backend;
    bool is_lmtp;
    unsigned number;
    struct sim_peer *peer;
    struct sim_event event;
    struct sim_timer timer;
    bool is_waiting, is_over, is_silent, is_greeted;
    bool is_shaking, is_secured;
    struct sim_text late; /* what it says when it has waited */
    bool holds;           /* what it says now comes behind that */
    struct weak_point weak;
    struct server_login login;
    struct transfer mail;
    /* For whom the last message was taken, and how many of them were told so. */
    struct delivery *deliveries[SERVER_RECIPIENTS_MAX];
    unsigned delivery_count, said_count;
};

/* scenario_target_fault.c */
void server_say(struct server *v, const char *text);
void server_say_late(struct server *v); /* what it has held back */
void server_hang_up(struct server *v, bool with_reset);
void server_wait(struct server *v, uint64_t ms);
/* It has not been reached: whatever waits for it was tried. */
void server_note_outage(struct server *v);
/* To one recipient; NULL: to all of that sender. */
void server_note_no(struct server *v, const char *to, bool is_for_good);
bool server_is_weak_point(struct server *v, enum place place);
/* False: something else than `text` was said. `to`: at the end of data, whom it is about; NULL:
 * all.
 */
bool server_answer(struct server *v, enum place place, const char *to, const char *text);
bool server_is_end(enum fault fault); /* nothing of worth is said behind it */
/* The weak point lies within the content, and was reached. */
bool server_breaks_in_content(struct server *v);
void server_plan_fault(struct server *v);

/* scenario_target_auth.c */
void server_plan_login(struct server *v);
/* The line of EHLO, or nothing. */
void server_name_mechanisms(struct server *v, char text[SERVER_AUTH_SIZE]);
void server_grant_unasked(struct server *v); /* behind EHLO */
void server_hear_auth(struct server *v, struct bytes line);
void server_hear_response(struct server *v, struct bytes line);
void server_check_login(struct server *v, struct bytes line); /* each that it hears */

/* scenario_target_content.c */
void server_take_line(struct server *v, struct bytes line); /* of content */
void server_take_chunk(struct server *v, struct bytes heard);
/* Has postern read what it was told? What it took counts as known to it then. */
void server_look_at_answer(struct server *v);

#endif
