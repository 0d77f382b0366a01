/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of postern, read but not yet applied. */
#ifndef POSTERN_FLAGS_H
#define POSTERN_FLAGS_H

#include <stdbool.h>

enum flags_mode { FLAGS_SERVE, FLAGS_CHECK, FLAGS_DUMP, FLAGS_EXPLAIN, FLAGS_VERSION, FLAGS_HELP };

#define FLAGS_CONFIG_PATH "/etc/postern/postern.cf"

/* Pointers point into argv. */
struct flags {
    enum flags_mode mode;
    const char *config_path;
    bool wants_daemon;
    bool serves_milters;         /* set by postern-milter: no listener of SMTP is needed */
    const char *explain_address; /* FLAGS_EXPLAIN */
    const char *explain_on;      /* a listener's name, or NULL: the first */
    char **arguments;            /* argv: those that begin with `--` and a section's kind */
    int argument_count;
};

#define FLAGS_ERROR_MAX 256

/* 0, or EX_USAGE (64) and what is wrong, without a line end, in `error_out`. Only config_read()
 * checks whether sections and keys in `--smtpd-foo-listen-port=` exist. */
int flags_parse(int argc, char **argv, struct flags *flags_out, char error_out[FLAGS_ERROR_MAX]);
/* Is this argument such an assignment, or the declaration of a section? */
bool flags_is_assignment(const char *argument);
extern const char flags_help[]; /* what --help prints */

#endif
