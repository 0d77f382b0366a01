/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line: every flag, and what is refused. */
/* needs: shell io */
#include "proxy/config/flags.h"

#include "tests/unit/lib.h"

#include <sysexits.h>

#define ARGUMENTS_MAX 8

struct row {
    char *argv[ARGUMENTS_MAX]; /* without the program's name; NULL ends them */
    enum flags_mode mode;
    const char *config_path;
    bool wants_daemon;
    const char *explain_address, *explain_on;
    const char *error; /* NULL: none */
};

static void check(size_t number, const struct row *row)
{
    char *argv[ARGUMENTS_MAX + 1];
    char program[] = "postern";
    char error[FLAGS_ERROR_MAX] = "";
    struct flags flags = {.mode = FLAGS_HELP};
    int argc = 1;
    argv[0] = program;
    while (argc <= ARGUMENTS_MAX && row->argv[argc - 1] != NULL) {
        argv[argc] = row->argv[argc - 1];
        argc++;
    }
    int code = flags_parse(argc, argv, &flags, error);
    lib_same_number(number, "exit code", row->error == NULL ? 0 : EX_USAGE, code);
    lib_same_text(number, "error", row->error == NULL ? "" : row->error, error);
    if (row->error != NULL) {
        lib_same_number(number, "untouched", FLAGS_HELP, flags.mode);
        return;
    }
    lib_same_number(number, "mode", row->mode, flags.mode);
    lib_same_text(number, "config", row->config_path == NULL ? FLAGS_CONFIG_PATH : row->config_path,
                  flags.config_path);
    lib_same_number(number, "daemon", row->wants_daemon, flags.wants_daemon);
    lib_same_text(number, "explain", row->explain_address, flags.explain_address);
    lib_same_text(number, "on", row->explain_on, flags.explain_on);
    lib_same_number(number, "arguments", argc, flags.argument_count);
}

static void reads_flags(void **state)
{
    static char c[] = "-c", f[] = "f.cf", config[] = "--config", config_f[] = "--config=f.cf",
                explain[] = "--explain", explain_a[] = "--explain=a@b", a[] = "a@b", on[] = "--on",
                mx[] = "mx", on_mx[] = "--on=mx", checked[] = "--check", dump[] = "--dump",
                help[] = "--help", h[] = "-h", version[] = "--version", daemon[] = "--daemon",
                workers[] = "--core-workers=0", smtpd[] = "--smtpd=x",
                no_value[] = "--core-workers", unknown[] = "--unknown=x", short_x[] = "-x",
                corex[] = "--corex-a=b", empty[] = "", config_empty[] = "--config=", c_f[] = "-c=f",
                pipe[] = "--pipe-x-exec=y";
    static const struct row rows[] = {
        {.argv = {NULL}},
        {.argv = {c, f}, .config_path = "f.cf"},
        {.argv = {config, f}, .config_path = "f.cf"},
        {.argv = {config_f}, .config_path = "f.cf"},
        {.argv = {checked}, .mode = FLAGS_CHECK},
        {.argv = {checked, config_f, checked}, .mode = FLAGS_CHECK, .config_path = "f.cf"},
        {.argv = {dump}, .mode = FLAGS_DUMP},
        {.argv = {help}, .mode = FLAGS_HELP},
        {.argv = {h}, .mode = FLAGS_HELP},
        {.argv = {version}, .mode = FLAGS_VERSION},
        {.argv = {daemon, workers, smtpd}, .wants_daemon = true},
        {.argv = {explain, a}, .mode = FLAGS_EXPLAIN, .explain_address = "a@b"},
        {.argv = {explain_a, on, mx},
         .mode = FLAGS_EXPLAIN,
         .explain_address = "a@b",
         .explain_on = "mx"},
        {.argv = {on_mx, explain, a},
         .mode = FLAGS_EXPLAIN,
         .explain_address = "a@b",
         .explain_on = "mx"},
        {.argv = {explain}, .error = "a value is missing: --explain"},
        {.argv = {explain, on_mx}, .error = "a value is missing: --explain"},
        {.argv = {c}, .error = "a value is missing: -c"},
        {.argv = {c, empty}, .error = "a value is missing: -c"},
        {.argv = {config_empty}, .error = "a value is missing: --config="},
        {.argv = {c_f}, .error = "unknown flag: -c=f"},
        {.argv = {on_mx}, .error = "--on goes with --explain only"},
        {.argv = {checked, dump}, .error = "does not go with the flags before it: --dump"},
        {.argv = {no_value}, .error = "\"=\" and a value are missing: --core-workers"},
        {.argv = {unknown}, .error = "unknown flag: --unknown=x"},
        {.argv = {corex}, .error = "unknown flag: --corex-a=b"},
        {.argv = {pipe}, .error = "unknown flag: --pipe-x-exec=y"},
        {.argv = {short_x}, .error = "unknown flag: -x"},
        {.argv = {f}, .error = "unexpected argument: f.cf"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        check(i, &rows[i]);
    lib_end_rows();
}

static void knows_assignments(void **state)
{
    static const struct {
        const char *argument;
        bool is_assignment;
    } rows[] = {
        {"--core-x=y", true},  {"--smtpd=x", true},  {"--route--@a=b", true},
        {"--logfile-x", true}, {"--smtpd", false},   {"--check", false},
        {"core-x=y", false},   {"-core-x=y", false}, {"--smtpdx=y", false},
        {"--", false},         {"", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_same_number(i, rows[i].argument, rows[i].is_assignment,
                        flags_is_assignment(rows[i].argument));
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_flags),
        cmocka_unit_test(knows_assignments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
