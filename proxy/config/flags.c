/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads postern's command line. */
#include "proxy/config/flags.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "proxy/config/config_private.h"

const char flags_help[] =
    "usage: postern [-c FILE] [--check | --dump | --explain ADDRESS [--on NAME]] [--daemon]\n"
    "               [--SECTION-KEY=VALUE ...] [--SECTION=NAME --SECTION-NAME-KEY=VALUE ...]\n"
    "\n"
    "  -c FILE, --config=FILE  the configuration [" FLAGS_CONFIG_PATH "]\n"
    "  --check                 read and check everything, print all problems\n"
    "  --dump                  print the effective configuration, one assignment a line\n"
    "  --explain ADDRESS       print how an address is routed\n"
    "  --on NAME               on this listener\n"
    "  --daemon                detach from the terminal\n"
    "  --version, --help\n"
    "\n"
    "Every assignment of the configuration can be given as a flag, and overrides the file:\n"
    "  --core-log-format=json --smtpd=foo --smtpd-foo-listen-port=2525\n"
    "See postern(8) and postern.cf(5).\n";

bool flags_is_assignment(const char *argument)
{
    const struct setting_section *kind;
    if (strncmp(argument, "--", 2) != 0)
        return false;
    for (size_t i = 0; (kind = config_builder_each_kind(i)) != NULL; i++) {
        size_t len = strlen(kind->kind);
        if (strncmp(argument + 2, kind->kind, len) == 0 &&
            (argument[2 + len] == '-' || argument[2 + len] == '='))
            return true;
    }
    return false;
}

/* The command line while it is walked. */
struct walk {
    char **argv;
    int argc, at;
    struct flags flags;
    char *error;
};

static int fail(struct walk *w, const char *what)
{
    snprintf(w->error, FLAGS_ERROR_MAX, "%s: %.100s", what, w->argv[w->at]);
    return EX_USAGE;
}

/* "--name=VALUE", or "--name VALUE" and "-n VALUE". */
static bool is_named(const struct walk *w, const char *name)
{
    const char *argument = w->argv[w->at];
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 &&
           (argument[len] == '\0' || (argument[len] == '=' && name[1] == '-'));
}

static int take_value(struct walk *w, const char **value_out)
{
    const char *equals = strchr(w->argv[w->at], '=');
    if (equals != NULL) {
        *value_out = equals + 1;
        return **value_out != '\0' ? 0 : fail(w, "a value is missing");
    }
    if (w->at + 1 >= w->argc || w->argv[w->at + 1][0] == '\0' ||
        strncmp(w->argv[w->at + 1], "--", 2) == 0)
        return fail(w, "a value is missing");
    *value_out = w->argv[++w->at];
    return 0;
}

static int set_mode(struct walk *w, enum flags_mode mode)
{
    if (w->flags.mode != FLAGS_SERVE && w->flags.mode != mode)
        return fail(w, "does not go with the flags before it");
    w->flags.mode = mode;
    return 0;
}

static int take_argument(struct walk *w)
{
    static const struct {
        const char *name;
        enum flags_mode mode;
    } modes[] = {{"--check", FLAGS_CHECK},
                 {"--dump", FLAGS_DUMP},
                 {"--version", FLAGS_VERSION},
                 {"--help", FLAGS_HELP},
                 {"-h", FLAGS_HELP}};
    const char *argument = w->argv[w->at];
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(argument, modes[i].name) == 0)
            return set_mode(w, modes[i].mode);
    if (strcmp(argument, "--daemon") == 0) {
        w->flags.wants_daemon = true;
        return 0;
    }
    if (is_named(w, "-c") || is_named(w, "--config"))
        return take_value(w, &w->flags.config_path);
    if (is_named(w, "--on"))
        return take_value(w, &w->flags.explain_on);
    if (is_named(w, "--explain")) {
        int error = set_mode(w, FLAGS_EXPLAIN);
        return error != 0 ? error : take_value(w, &w->flags.explain_address);
    }
    if (!flags_is_assignment(argument))
        return fail(w, argument[0] == '-' ? "unknown flag" : "unexpected argument");
    return strchr(argument, '=') != NULL ? 0 : fail(w, "\"=\" and a value are missing");
}

int flags_parse(int argc, char **argv, struct flags *flags_out, char error_out[FLAGS_ERROR_MAX])
{
    struct walk w = {.argv = argv, .argc = argc, .error = error_out};
    w.flags =
        (struct flags){.config_path = FLAGS_CONFIG_PATH, .arguments = argv, .argument_count = argc};
    for (w.at = 1; w.at < argc; w.at++) {
        int error = take_argument(&w);
        if (error != 0)
            return error;
    }
    if (w.flags.explain_on != NULL && w.flags.mode != FLAGS_EXPLAIN) {
        snprintf(error_out, FLAGS_ERROR_MAX, "--on goes with --explain only");
        return EX_USAGE;
    }
    *flags_out = w.flags;
    return 0;
}
