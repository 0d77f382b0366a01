/* SPDX-License-Identifier: BSD-2-Clause */
/* One seed, one story: clients, targets, faults and deaths, and the ledger that is checked when it
 * is over. What is below "private" is for tests/sim/scenario*.c. */
#ifndef POSTERN_SIM_SCENARIO_H
#define POSTERN_SIM_SCENARIO_H

#include "proxy/base/id.h"
#include "proxy/smtp/transaction.h"
#include "filters/filter.h"
#include "filters/filter_conf.h"
#include "proxy/smtpd.h"
#include "spool/store.h"
#include "tests/sim/world.h"

#define SCENARIO_COUNTS(X)                                                                         \
    X(SCENARIOS, "scenarios")                                                                      \
    X(MESSAGES, "messages whose end was sent")                                                     \
    X(ACKNOWLEDGED, "... acknowledged")                                                            \
    X(SPOOLED, "... spooled")                                                                      \
    X(DELIVERED, "recipients delivered")                                                           \
    X(BOXED, "... into a Maildir")                                                                 \
    X(BOUNCED, "... bounced")                                                                      \
    X(HELD, "... held at the end")                                                                 \
    X(DUPLICATES, "duplicates, all allowed")                                                       \
    X(FILTERED, "refusals of filters")                                                             \
    X(LATE, "... answers that were late")                                                          \
    X(UNANSWERED, "... that never came")                                                           \
    X(VANISHED, "clients that vanished")                                                           \
    X(CHUNKS, "chunks of clients")                                                                 \
    X(AT_CONNECT, "faults of targets: connect")                                                    \
    X(AT_GREETING, "... greeting")                                                                 \
    X(AT_STARTTLS, "... STARTTLS")                                                                 \
    X(AT_HANDSHAKE, "... handshake")                                                               \
    X(AT_HELLO, "... EHLO, XCLIENT, XFORWARD")                                                     \
    X(AT_AUTH, "... AUTH")                                                                         \
    X(AT_MAIL, "... MAIL")                                                                         \
    X(AT_RCPT, "... RCPT")                                                                         \
    X(AT_DATA, "... DATA")                                                                         \
    X(AT_CONTENT, "... content")                                                                   \
    X(AT_END, "... end of data")                                                                   \
    X(TAKEN_UNSAID, "... taken, and not said so")                                                  \
    X(LOGINS, "logins of relays")                                                                  \
    X(LOCKED, "... refused for a while")                                                           \
    X(DISK_ERRORS, "disk errors")                                                                  \
    X(CLOCK_JUMPS, "jumps of the wall clock")                                                      \
    X(BAD_BOXES, "Maildirs that took nothing for a while")                                         \
    X(FLIPS, "bits that flipped")                                                                  \
    X(SPOILED, "messages that could not be read any more")                                         \
    X(BODILESS, "... but for their records")                                                       \
    X(REROUTED, "recipients led elsewhere by the operator")                                        \
    X(REQUESTS, "requests of the operator")                                                        \
    X(COLD, "... without a server")                                                                \
    X(RELOADS, "reloads")                                                                          \
    X(ABORTS, "shutdowns that were cut short")                                                     \
    X(HANGS, "disks that hang")                                                                    \
    X(RESTARTS, "restarts")                                                                        \
    X(KILLS, "... kills")                                                                          \
    X(POWER_CUTS, "... power cuts")

enum scenario_count {
#define SCENARIO_COUNT(name, text) COUNT_##name,
    SCENARIO_COUNTS(SCENARIO_COUNT)
#undef SCENARIO_COUNT
        COUNT_COUNTS
};

struct scenario_result {
    bool has_failed;               /* why was printed */
    uint64_t trace;                /* hash of all that was said and logged, and when */
    uint64_t counts[COUNT_COUNTS]; /* added to what is there */
};

/* `is_loud`: prints what is said, and the log. */
void scenario_run(uint64_t seed, bool is_loud, struct scenario_result *result);
void scenario_forget_configs(void);

/* ---- private ---- */

#define SCENARIO_TARGETS     2
#define SCENARIO_BACKENDS    3 /* addresses: the first target's, and those of the second */
#define SCENARIO_BOX         2 /* the Maildirs, in the place of a target's number */
#define SCENARIO_RECIPIENTS  4
#define SCENARIO_PLACES      2 /* a worker and a runner */
#define SCENARIO_CLIENTS     6
#define SCENARIO_CLIENT_HOST 10        /* the last number of its address, and so on */
#define SCENARIO_REMOVAL_MS  250       /* from the log line to the sync of the removal */
#define SCENARIO_WORD_FOR    " for <"  /* in a reply of a target: whom it is about */
#define SCENARIO_WORD_LOGIN  "(login)" /* ... to our credentials: no client is told */

struct message;

enum filter_word_kind {
    WORD_UNASKED,
    WORD_DUE,
    WORD_GO_ON,
    WORD_ACCEPT,
    WORD_NO,
    WORD_DISCARD,
    WORD_FAILED
};

/* What the filter has answered at one stage. */
struct filter_word {
    enum filter_word_kind kind;
    int code;      /* WORD_NO: of its reply */
    char text[48]; /* ... and what that says, of nobody else */
};

/* A recipient of one message. */
struct story {
    char address[48];
    unsigned ways; /* bits of targets: by the tables, and where an operator has led it */
    unsigned legs; /* how often it is to arrive: that of a list twice */
    bool was_rerouted;
    bool wants_no_report, wants_success; /* NOTIFY, where DSN is announced */
    bool is_accepted, is_refused;        /* the client heard 2xx; 4xx or 5xx */
    int code;                            /* ... at the end of data; 0: it has heard nothing */
    bool was_refused;                    /* by a target, for good */
    bool has_expired;
    bool is_bounced, is_returned; /* also to the postmaster; to its sender */
    bool is_queued;
    unsigned taken_count, box_count;
    uint64_t tried_ms; /* the latest at which a target has put it off */
    struct filter_word word;
};

/* A target or a Maildir has taken a message for a recipient. */
struct delivery {
    struct list link;
    struct message *message;
    unsigned recipient; /* of a report: the first that it names */
    int target;
    bool is_report;
    const struct spool_file *report; /* as which it lay in the queue */
    bool is_orphan;                  /* the process that sent it was no more */
    bool is_of_session;              /* the line that tells of it, perhaps */
    bool was_held;                   /* it should not have been sent */
    bool was_damaged;                /* likewise */
    uint64_t taken_ms;
    int64_t
        first_wall_ms; /* the least that the wall clock has shown since: the record's time may be */
    int64_t ahead_ms;  /* the most that it has since been ahead of what passed: who has read it then
                          goes on from there */
    uint64_t read_ms;  /* when postern has read the answer; 0: never */
    uint64_t line_ms;  /* ... has logged it, which comes behind the record; 0: never */
    char path[128];    /* in a Maildir */
};

/* What the filter does to a message. */
struct edited {
    unsigned kinds;       /* bits */
    struct sim_text body; /* the new one */
    size_t given;         /* octets of it */
    int excluded;         /* a recipient; -1: none */
    bool is_planned, is_begun;
    bool is_held; /* it is to be quarantined */
    bool is_made; /* the filter has agreed: this is what must come */
};

/* The wall clock, as long as a message has its end. */
struct walls {
    int64_t end_ms, late_ms; /* by all clocks from its end to the reply */
    int64_t ahead_ms;        /* the most that it has been ahead of time since; not below 0 */
};

struct message {
    struct list link;
    unsigned id, client;
    char sender[48];
    struct sim_text text; /* no dots stuffed */
    struct sim_text said; /* dots stuffed, and the end of data */
    struct story recipients[SCENARIO_RECIPIENTS];
    unsigned recipient_count;
    bool is_end_sent;
    bool was_released, was_flushed, was_deleted, was_report_deleted; /* by the operator */
    bool has_torn_end;           /* a bit of what was written last has flipped */
    unsigned bounces;            /* by the operator, done or not */
    bool has_taken, is_answered; /* the end of data: for somebody; for all */
    uint64_t end_ms, answered_ms;
    struct walls walls;
    struct filter_word words[SESSION_STAGE_END + 1];
    unsigned lines_found; /* by the filter: the number of the last ones */
    struct edited edited;
    uint64_t old_ms[2]; /* when its time at a relay was over, and at a Maildir; 0: it is not */
};

struct death {
    struct list link;
    uint64_t at_ms;
    bool is_power;
};

/* A message of ours in the spool, or one that was there. */
struct spool_file {
    struct list link;
    char id[ID_LENGTH + 1];
    char directory[64]; /* of queue/, the last one */
    char left[64];      /* the one before; empty: none */
    struct message *message;
    bool is_report, is_to_postmaster;
    bool is_there;          /* in queue/, as far as names tell */
    uint64_t telling;       /* of a report: hash of what it says of whom */
    unsigned legs;          /* ... and how many may say so */
    unsigned releases;      /* that were not answered */
    unsigned release_count; /* when all was well */
    bool is_held;           /* by the operator, or that may be */
    bool is_on_hold;        /* certainly: he has heard so, and has not asked for its release */
    unsigned holds;         /* that were not answered */
    bool is_damaged, is_unreadable;
    bool is_last_durable; /* the record that was damaged: a torn end when the power has failed */
    bool is_told;         /* the log says that something is wrong with it */
    bool is_bodiless;     /* is_unreadable: but what it says of itself can be read, and written */
    uint64_t damaged_ms;
    uint64_t linked_ms;
    uint64_t told_ms;   /* of a report: its cause knows of it; 0: not that we know */
    bool is_cause_gone; /* ... because it was removed: no record says so */
};

/* A call of the disk has failed. */
struct trouble {
    struct list link;
    uint64_t at_ms;
    struct message *message; /* whose file it was, or that of its report; NULL: not known */
    char path[128];          /* empty: a file that has no name yet */
};

/* Relays that log in. */
struct scenario_logins {
    bool at[SCENARIO_TARGETS];
    uint32_t mechanisms; /* that targets announce */
    bool are_hidden;     /* without TLS they announce none */
    uint64_t locked_until_ms[SCENARIO_BACKENDS];
};

struct scenario_targets {
    int count;
    unsigned connections;
    unsigned announces;       /* bits */
    unsigned trouble_percent; /* of connections */
    bool is_wordy;            /* replies are long */
    bool refuses_reports;     /* mostly */
    unsigned pick_percent;    /* of recipients that LMTP refuses at the end of data, or puts off */
    unsigned hello_refusals;  /* 5xx before any transaction */
    unsigned report_refusals;
    bool is_strict; /* the first one: its mail is never spooled */
    bool is_lmtp[SCENARIO_TARGETS];
    bool encrypts;              /* the first one: nothing is said to it in plain */
    bool has_group, fails_over; /* the second one's addresses share its mailboxes */
    struct scenario_logins logins;
    uint64_t down_until_ms[SCENARIO_BACKENDS];
    uint64_t failed_ms[SCENARIO_TARGETS + 1]; /* the latest at which one could not be reached */
    uint64_t backend_failed_ms[SCENARIO_BACKENDS];
};

/* A listener's, or a target's. */
struct scenario_filter {
    struct scenario *scenario;
    struct filter filter;
    struct filter_ops ops;
    struct filter_common common;
    struct filter_exempt exempt;
    int target;         /* -1: the listener's */
    struct filter meek; /* the listener's beside that of a target: it has nothing against anybody */
    bool has_meek;
    struct filter_word of_clients[SCENARIO_CLIENTS + 1][SESSION_STAGE_END + 1];
};

/* What the seed has chosen. */
struct scenario_plan {
    bool has_disk_trouble, has_memory_trouble, has_clock_trouble, has_bad_boxes, has_rot, has_rush;
    bool has_filter, has_boxes, has_operator, likes_boxes;
    bool crowds_boxes; /* all write into Maildirs at once, while those hang */
    bool is_split, has_reloads, has_cold, has_aborts, has_hangs;
    struct scenario_filter filter;
    uint64_t disk_slack_ms; /* what the disk does may take longer by so much */
    struct store_limits limits;
    uint64_t expire_ms;    /* of relays */
    bool is_impatient;     /* that is short */
    uint64_t closed_by_us; /* files, on no job */
};

/* Maildirs that take nothing at the moment; and what has gone wrong last. */
struct scenario_bad {
    char box[128]; /* the directory; empty: none */
    uint64_t since_ms;
    unsigned failures; /* since then */
    uint64_t line_ms;  /* when the log has told last of a failure in the spool */
    uint64_t over_ms;  /* when all was over */
};

/* Who serves, and is begun again when it ends. */
struct scenario_place {
    struct scenario *scenario;
    int number;
    struct life *now; /* NULL: nobody at the moment */
    struct sim_event restart;
    struct sim_timer timer;
};

/* Of postern's processes. */
struct scenario_life {
    struct list lives;
    struct scenario_place places[SCENARIO_PLACES];
    unsigned count; /* that have ended */
    uint32_t generation;
    unsigned hang_beats; /* until the disk goes on; 0: it does not hang */
    bool hangs_boxes;    /* it is the disk of the Maildirs */
    bool may_die;
    struct sim_event abort, cold;
    struct sim_timer abort_timer, cold_timer;
};

struct scenario {
    struct sim *world;
    struct scenario_result *result;
    uint64_t seed;
    bool is_loud;
    const struct config *config;
    struct list messages, deliveries, deaths, clients, servers;
    struct list files, troubles, requests;
    unsigned message_count, clients_busy;
    struct scenario_life life;
    struct sim_event beat;
    struct sim_timer beat_timer;
    uint64_t heal_ms; /* from then on nothing goes wrong */
    unsigned quiet_beats;
    bool is_healthy, is_over;
    struct scenario_plan plan;
    struct scenario_bad bad;
    struct scenario_targets targets;
};

uint64_t scenario_below(struct scenario *s, uint64_t end);
bool scenario_chance(struct scenario *s, unsigned percent);
void scenario_fail(struct scenario *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Somebody has heard this. */
void scenario_heard(struct scenario *s, const char *who, unsigned number, struct bytes octets);
void scenario_count(struct scenario *s, enum scenario_count what);
void scenario_later(struct scenario *s, struct sim_timer *t, struct sim_event *e, uint64_t ms);

/* scenario_config.c */
void scenario_configure(struct scenario *s); /* by chance */

/* scenario_fault.c */
void faults_plan(struct scenario *s);
void faults_happen(struct scenario *s); /* at every beat, until all is well */
void faults_heal(struct scenario *s);
void faults_stop_long(struct scenario *s); /* nobody works: perhaps for days */
void faults_storm(struct scenario *s);     /* the disk, if it fails at all in this scenario */

/* scenario_life.c */
void life_plan(struct scenario *s);
void life_begin(struct scenario *s);
void life_happen(struct scenario *s); /* as faults_happen() */
void life_heal(struct scenario *s);
void life_end(struct scenario *s); /* all of them, in good order */
void life_free(struct scenario *s);
void life_endanger(struct scenario *s);          /* perhaps: when something is asked of the queue */
bool life_is_starting(const struct scenario *s); /* one of them */
/* posternctl works on the spool itself. */
bool life_may_be_cold(const struct scenario *s);
void life_start_cold(struct scenario *s, const char *request,
                     void (*answered)(void *owner, int code), void *owner);

/* scenario_client.c */
void clients_start(struct scenario *s);
void clients_free(struct scenario *s);

/* scenario_target.c */
void servers_start(struct scenario *s);
void servers_free(struct scenario *s);

/* scenario_secret.c */
const char *secret_of(int target); /* the password of its relay */
const char *secret_path(int target);
/* These octets have no password, be it in base64. */
void secret_check(struct scenario *s, const char *who, struct bytes octets);
void secret_check_spool(struct scenario *s);

/* scenario_backend.c */
/* When the backends that mail for this address may go to could not be reached for the last time. */
uint64_t backend_outage_ms(const struct scenario *s, int target, const char *to);
/* One of the second target's gets mail for this address: is it the mailbox's own? */
void backend_check(struct scenario *s, int backend, const char *to);

/* scenario_control.c */
#define OPERATOR_UNANSWERED (-1)
void operator_interferes(struct scenario *s);
void operator_releases(struct scenario *s); /* what is held */
void operator_free(struct scenario *s);

/* scenario_message.c */
struct message *message_new(struct scenario *s, unsigned client, unsigned recipient_count);
struct message *message_find(struct scenario *s, struct bytes content); /* NULL: none of ours */
struct message *message_of_sender(struct scenario *s, struct bytes address);
struct story *message_story(struct message *m, struct bytes address); /* NULL */
void messages_free(struct scenario *s);
const char *scenario_search(struct bytes in, const char *what); /* NULL */

/* scenario_filter.c */
void filter_plan(struct scenario *s);
void filter_stage(struct scenario *s); /* of a process that begins */
/* Why the filter lets nothing of it come to that target (-1: to any). NULL: nothing is against it.
 */
const char *filter_objection(struct scenario *s, struct message *m, struct story *r, int target);
void filter_check_lines(struct scenario *s, const struct message *m, const struct story *r,
                        int target, struct bytes content);
/* A client hears a reply; `m` and `r` NULL: to something else. */
void filter_hear(struct scenario *s, unsigned client, struct message *m, struct story *r,
                 struct bytes reply);
void filter_hear_at(struct scenario *s, struct message *m, struct story *r,
                    enum session_stage stage, struct bytes reply);
void filter_check(struct scenario *s);
/* Has that of a target refused the message for good, behind its recipients? */
bool filter_is_against(struct scenario *s, struct message *m, int target);
/* How many legs of the recipient come to nothing, because the filter wants that. */
unsigned filter_excuses(struct scenario *s, struct message *m, const struct story *r);

/* scenario_edit.c */
void edit_plan(struct scenario *s);
void edit_begin(struct scenario *s, struct message *m); /* by chance: what it will do */
/* False: there was no room for all of it; to be called again. */
bool edit_give(struct filter_seat *seat, struct message *m);
void edit_forget(struct message *m);
bool edit_holds(const struct message *m); /* it goes nowhere before an operator releases it */
/* With the edits that were made. Lines may stand before it. */
bool message_is_whole(const struct scenario *s, const struct message *m, const struct story *r,
                      int target, struct bytes content);

/* scenario_ledger.c */
/* A target takes `content` from `sender` (empty: a report) for `to`. NULL: not to be followed. */
struct delivery *ledger_take(struct scenario *s, int target, const char *sender, const char *to,
                             struct bytes content);
void ledger_box(struct scenario *s, const char *path, struct bytes content); /* a Maildir does */
/* A target has said no for good; `to` NULL: to all that goes there of that sender. */
void ledger_refuse(struct scenario *s, int target, const char *sender, const char *to);
void ledger_put_off(struct scenario *s, const char *sender, const char *to); /* for now */
/* Of a report on a report: it names the sender that could not be told. NULL: it is none. */
struct message *ledger_cause(struct scenario *s, struct bytes report);
/* How many reports may say the same: each leg of a list comes to nothing for itself. */
unsigned ledger_legs(struct message *m, struct bytes content);
/* What a report says of whom, as a hash. */
uint64_t ledger_telling(struct bytes content);
/* The recipients that a report names. Returns the first one that is known, or NULL. */
struct story *ledger_report(struct scenario *s, struct message *m, struct bytes content);
void ledger_clock(struct scenario *s); /* looks at the wall clock */
/* Death came after `done_ms`, and before the record, which the log line follows (0: there is none),
 * or before the removal was durable. Whoever is killed does not sync what it has removed; a power
 * cut may come later then. */
bool ledger_may_be_undone(struct scenario *s, uint64_t done_ms, uint64_t line_ms);
/* Its time was over at that target, and it was tried in vain since, or the target was away. */
bool ledger_may_expire(const struct scenario *s, const struct message *m, const struct story *r,
                       int target);
/* Death or the disk came so that it may be delivered, or told, once more. */
bool ledger_may_come_twice(struct scenario *s, const struct delivery *d);
void ledger_check(struct scenario *s);
void ledger_free(struct scenario *s);

/* scenario_spool.c */
void spool_watch(struct scenario *s);
struct spool_file *spool_file_of(struct scenario *s, struct bytes id); /* NULL */
bool spool_is_in_queue(struct scenario *s, const struct spool_file *f);
bool spool_is_message(const char *path);
/* For want of memory something of that message could not be written, as if the disk had failed. */
void spool_note_failure(struct scenario *s, struct message *m, struct bytes id);
/* Has the disk failed in what this delivery, or this message, depends on? */
bool spool_has_failed(struct scenario *s, const struct delivery *d, uint64_t until_ms);
bool spool_has_refused(struct scenario *s, const struct message *m);  /* between end and reply */
bool spool_makes_again(struct scenario *s, const struct delivery *d); /* the report */
/* Death or the disk came between a report, which was made since then, and the record of it. */
bool spool_has_untold_report(struct scenario *s, const struct message *m, uint64_t since_ms);
bool spool_is_on_hold(struct scenario *s, const struct message *m, bool is_report);
bool spool_is_drained(struct scenario *s);
void spool_check(struct scenario *s); /* what lies there when all is over */
void spool_free(struct scenario *s);

/* scenario_damage.c */
/* A bit of that file flips, or none of it can be read from now on, or nothing of its body. */
enum rot { ROT_FLIP, ROT_FILE, ROT_BODY };
void spool_damage(struct scenario *s, const char *path, enum rot rot);
bool spool_is_bodiless(struct scenario *s, const struct message *m);
/* A bit of its file has flipped, and not of what was written last: nothing leaves it any more. */
bool spool_is_damaged(struct scenario *s, const struct message *m);
/* What is damaged is kept, whatever it says, and the operator has been told. */
void spool_keep_damaged(struct scenario *s, struct spool_file *f);

/* scenario_log.c */
void log_watch(struct scenario *s);
void log_check(struct scenario *s);

#endif
