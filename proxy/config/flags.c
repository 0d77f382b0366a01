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

static int fail(struct walk *walk, const char *what)
{
    snprintf(walk->error, FLAGS_ERROR_MAX, "%s: %.100s", what, walk->argv[walk->at]);
    return EX_USAGE;
}

/* "--name=VALUE", or "--name VALUE" and "-n VALUE". */
static bool is_named(const struct walk *walk, const char *name)
{
    const char *argument = walk->argv[walk->at];
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 &&
           (argument[len] == '\0' || (argument[len] == '=' && name[1] == '-'));
}

static int take_value(struct walk *walk, const char **value_out)
{
    const char *equals = strchr(walk->argv[walk->at], '=');
    if (equals != NULL) {
        *value_out = equals + 1;
        return **value_out != '\0' ? 0 : fail(walk, "a value is missing");
    }
    if (walk->at + 1 >= walk->argc || walk->argv[walk->at + 1][0] == '\0' ||
        strncmp(walk->argv[walk->at + 1], "--", 2) == 0)
        return fail(walk, "a value is missing");
    *value_out = walk->argv[++walk->at];
    return 0;
}

static int set_mode(struct walk *walk, enum flags_mode mode)
{
    if (walk->flags.mode != FLAGS_SERVE && walk->flags.mode != mode)
        return fail(walk, "does not go with the flags before it");
    walk->flags.mode = mode;
    return 0;
}

static int take_argument(struct walk *walk)
{
    static const struct {
        const char *name;
        enum flags_mode mode;
    } modes[] = {{"--check", FLAGS_CHECK},
                 {"--dump", FLAGS_DUMP},
                 {"--version", FLAGS_VERSION},
                 {"--help", FLAGS_HELP},
                 {"-h", FLAGS_HELP}};
    const char *argument = walk->argv[walk->at];
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(argument, modes[i].name) == 0)
            return set_mode(walk, modes[i].mode);
    if (strcmp(argument, "--daemon") == 0) {
        walk->flags.wants_daemon = true;
        return 0;
    }
    if (is_named(walk, "-c") || is_named(walk, "--config"))
        return take_value(walk, &walk->flags.config_path);
    if (is_named(walk, "--on"))
        return take_value(walk, &walk->flags.explain_on);
    if (is_named(walk, "--explain")) {
        int error = set_mode(walk, FLAGS_EXPLAIN);
        return error != 0 ? error : take_value(walk, &walk->flags.explain_address);
    }
    if (!flags_is_assignment(argument))
        return fail(walk, argument[0] == '-' ? "unknown flag" : "unexpected argument");
    return strchr(argument, '=') != NULL ? 0 : fail(walk, "\"=\" and a value are missing");
}

int flags_parse(int argc, char **argv, struct flags *flags_out, char error_out[FLAGS_ERROR_MAX])
{
    struct walk walk = {.argv = argv, .argc = argc, .error = error_out};
    walk.flags =
        (struct flags){.config_path = FLAGS_CONFIG_PATH, .arguments = argv, .argument_count = argc};
    for (walk.at = 1; walk.at < argc; walk.at++) {
        int error = take_argument(&walk);
        if (error != 0)
            return error;
    }
    if (walk.flags.explain_on != NULL && walk.flags.mode != FLAGS_EXPLAIN) {
        snprintf(error_out, FLAGS_ERROR_MAX, "--on goes with --explain only");
        return EX_USAGE;
    }
    *flags_out = walk.flags;
    return 0;
}
