/* SPDX-License-Identifier: BSD-2-Clause */
/* A milter that looks at everything and has nothing against anything: noop SOCKET [MS]. With MS it
 * thinks for so long at the end of each message. SOCKET is as libmilter reads it. */
#include <libmilter/mfapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static useconds_t think_us;

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *address)
{
    (void)ctx;
    (void)host;
    (void)address;
    return SMFIS_CONTINUE;
}

static sfsistat on_helo(SMFICTX *ctx, char *helo)
{
    (void)ctx;
    (void)helo;
    return SMFIS_CONTINUE;
}

static sfsistat on_address(SMFICTX *ctx, char **arguments)
{
    (void)ctx;
    (void)arguments;
    return SMFIS_CONTINUE;
}

static sfsistat on_field(SMFICTX *ctx, char *name, char *value)
{
    (void)ctx;
    (void)name;
    (void)value;
    return SMFIS_CONTINUE;
}

static sfsistat on_stage(SMFICTX *ctx)
{
    (void)ctx;
    return SMFIS_CONTINUE;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *piece, size_t len)
{
    (void)ctx;
    (void)piece;
    (void)len;
    return SMFIS_CONTINUE;
}

static sfsistat on_end(SMFICTX *ctx)
{
    (void)ctx;
    if (think_us != 0)
        usleep(think_us);
    return SMFIS_CONTINUE;
}

int main(int argc, char **argv)
{
    static char name[] = "noop";
    const struct smfiDesc filter = {.xxfi_name = name,
                                    .xxfi_version = SMFI_VERSION,
                                    .xxfi_connect = on_connect,
                                    .xxfi_helo = on_helo,
                                    .xxfi_envfrom = on_address,
                                    .xxfi_envrcpt = on_address,
                                    .xxfi_header = on_field,
                                    .xxfi_eoh = on_stage,
                                    .xxfi_body = on_body,
                                    .xxfi_eom = on_end};

    if (argc < 2) {
        fprintf(stderr, "usage: noop SOCKET [MS]\n");
        return 2;
    }
    think_us = argc > 2 ? (useconds_t)atoi(argv[2]) * 1000 : 0;
    if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS)
        return 1;
    return smfi_main() == MI_SUCCESS ? 0 : 1;
}
