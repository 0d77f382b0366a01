/* SPDX-License-Identifier: BSD-2-Clause */
/* One seed, one story: clients, targets, faults and deaths, and the ledger that is checked when it
 * is over. What is below "private" is for tests/sim/scenario*.c. */
#ifndef POSTERN_SIM_SCENARIO_H
#define POSTERN_SIM_SCENARIO_H

#include "proxy/smtp/transaction.h"
#include "tests/sim/world.h"

#define SCENARIO_COUNTS(X)                                                                         \
    X(SCENARIOS, "scenarios")                                                                      \
    X(MESSAGES, "messages whose end was sent")                                                     \
    X(ACKNOWLEDGED, "... acknowledged")                                                            \
    X(FILTERED, "... refused by a filter")                                                         \
    X(SPOOLED, "... spooled")                                                                      \
    X(DELIVERED, "recipients delivered")                                                           \
    X(BOXED, "... into a Maildir")                                                                 \
    X(BOUNCED, "... bounced")                                                                      \
    X(HELD, "... held at the end")                                                                 \
    X(DUPLICATES, "duplicates, all allowed")                                                       \
    X(VANISHED, "clients that vanished")                                                           \
    X(AT_CONNECT, "faults of targets: connect")                                                    \
    X(AT_GREETING, "... greeting")                                                                 \
    X(AT_HELLO, "... EHLO, XCLIENT, XFORWARD")                                                     \
    X(AT_MAIL, "... MAIL")                                                                         \
    X(AT_RCPT, "... RCPT")                                                                         \
    X(AT_DATA, "... DATA")                                                                         \
    X(AT_CONTENT, "... content")                                                                   \
    X(AT_END, "... end of data")                                                                   \
    X(TAKEN_UNSAID, "... taken, and not said so")                                                  \
    X(DISK_ERRORS, "disk errors")                                                                  \
    X(REQUESTS, "requests of the operator")                                                        \
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

#define SCENARIO_TARGETS    2
#define SCENARIO_RECIPIENTS 4

struct message;

/* A recipient of one message. */
struct story {
    char address[48];
    int target;                          /* -1: none */
    bool has_box;                        /* a Maildir takes it, too or alone */
    bool wants_no_report, wants_success; /* NOTIFY, where DSN is announced */
    bool is_accepted, is_refused;        /* the client heard 2xx; 4xx or 5xx */
    bool is_bounced;
    bool is_queued;
    unsigned taken_count, box_count;
};

/* A target has taken a message for a recipient. */
struct delivery {
    struct list link;
    struct message *message;
    unsigned recipient; /* of a report: the first that it names */
    bool is_report;
    uint64_t taken_ms;
    uint64_t read_ms;       /* when postern has read the answer; 0: never */
    uint64_t disk_failures; /* so far, at that time */
    bool is_orphan;         /* the process that sent it was no more */
};

struct message {
    struct list link;
    unsigned id;
    char sender[48];
    struct sim_text text; /* no dots stuffed */
    struct story recipients[SCENARIO_RECIPIENTS];
    unsigned recipient_count;
    bool is_end_sent;
    bool is_filtered;              /* the filter says no */
    bool was_flushed, was_deleted; /* by the operator */
    int code;                      /* of the reply to the end of data; 0: none was heard */
};

struct death {
    struct list link;
    uint64_t at_ms;
    bool is_power;
};

struct scenario_targets {
    int count;
    unsigned connections;
    unsigned announces;       /* bits */
    unsigned trouble_percent; /* of connections */
    unsigned refusals;        /* 5xx that were said */
    uint64_t down_until_ms[SCENARIO_TARGETS];
};

struct scenario {
    struct sim *world;
    struct scenario_result *result;
    uint64_t seed;
    bool is_loud;
    const struct config *config;
    struct list messages, deliveries, deaths, clients, servers;
    unsigned message_count, clients_busy;
    unsigned lives; /* processes that have ended */
    struct sim_event beat;
    struct sim_timer beat_timer;
    uint64_t heal_ms; /* from then on nothing goes wrong */
    unsigned quiet_beats;
    bool is_healthy, is_over, has_disk_trouble, has_memory_trouble, has_filter, has_boxes,
        has_operator;
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

/* scenario_client.c */
void clients_start(struct scenario *s);
void clients_free(struct scenario *s);

/* scenario_target.c */
void servers_start(struct scenario *s);
void servers_free(struct scenario *s);

/* scenario_control.c */
void operator_interferes(struct scenario *s);
void operator_releases(struct scenario *s); /* what is held */

/* scenario_ledger.c */
struct message *ledger_find(struct scenario *s, struct bytes content); /* NULL: none of ours */
struct message *ledger_message(struct scenario *s, unsigned recipient_count);
/* A target takes `content` from `sender` (empty: a report) for `to`. NULL: not to be followed. */
struct delivery *ledger_take(struct scenario *s, int target, const char *sender, const char *to,
                             struct bytes content);
/* The filter: struct smtpd_judge. */
struct reply ledger_judge(void *owner, const struct transaction *t);
bool ledger_queue_is_empty(struct scenario *s);
void ledger_check(struct scenario *s);
void ledger_free(struct scenario *s);

#endif
