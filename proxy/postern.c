/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's main(): flags, the configuration, and what is asked of it. */
#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "proxy/config/config.h"
#include "proxy/explain.h"
#include "proxy/io/log.h"
#include "proxy/config/flags.h"
#include "proxy/master.h"
#include "proxy/startup.h"
#include "proxy/title.h"
#include "proxy/base/version.h"

/* The configuration is taken over. */
static int run(struct config *config, const struct flags *flags)
{
    bool starts = flags->mode == FLAGS_CHECK || flags->mode == FLAGS_SERVE;
    int code = starts ? startup_read(config, flags) : config_read(config, flags);
    config_print_problems(config, stderr);
    if (code == 0 && flags->mode == FLAGS_CHECK)
        puts("postern: configuration is valid");
    if (code == 0 && flags->mode == FLAGS_SERVE) {
        log_unblock_stderr();
        return master_run(config, flags);
    }
    if (code == 0 && flags->mode == FLAGS_DUMP)
        code = config_dump(config, stdout);
    else if (code == 0 && flags->mode == FLAGS_EXPLAIN)
        code = explain_address(config, flags->explain_address, flags->explain_on, stdout);
    config_free(&config);
    return code;
}

int main(int argc, char **argv)
{
    struct flags flags;
    char problem[FLAGS_ERROR_MAX];

    title_begin(argc, argv);
    umask(077); /* files that others may read get their mode where they are made */
    if (flags_parse(argc, argv, &flags, problem) != 0) {
        fprintf(stderr, "postern: %s\n", problem);
        return EX_USAGE;
    }
    if (flags.mode == FLAGS_HELP || flags.mode == FLAGS_VERSION) {
        fputs(flags.mode == FLAGS_HELP ? flags_help : "postern " POSTERN_VERSION "\n", stdout);
        return 0;
    }
    struct config *config = config_new();
    if (config == NULL)
        return EX_OSERR;
    return run(config, &flags);
}
