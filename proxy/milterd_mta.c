/* SPDX-License-Identifier: BSD-2-Clause */
/* The callbacks of libmilter. Each runs on some thread of the library: it hands over what it was
 * told, waits, and says what it was answered. No more than that happens here. */
#include "proxy/milterd_mta.h"

#include <arpa/inet.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "proxy/milterd_client.h"
#include "proxy/milterd_text.h"

/* libmilter hands no pointer of ours to the first callback of a connection. */
static struct crossing *crossing;
static unsigned long unwanted; /* SMFIP_NO* bits: what no filter looks at */

#define LISTENER_FD_MAX 256 /* few are open so early */

#define ACTIONS (SMFIF_ADDHDRS | SMFIF_CHGHDRS)
#define SILENT  (SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY)
#define NEEDED                                                                                     \
    (SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOBODY | SMFIP_NOUNKNOWN | SMFIP_HDR_LEADSPC | SILENT)

/* The library wants strings that it might change. */
static char queue_id[] = "i", login[] = "{auth_authen}", client[] = "_",
            results[] = "Authentication-Results";

/* ---- answers ---- */

/* The library takes the lines as arguments, up to the first NULL. */
static sfsistat refuse(SMFICTX *ctx, const struct reply *refusal)
{
    struct milterd_reply reply;
    char *line[MILTERD_LINES_MAX];

    milterd_text_reply(refusal, &reply);
    for (unsigned i = 0; i < MILTERD_LINES_MAX; i++)
        line[i] = i < reply.line_count ? reply.lines[i] : NULL;
    (void)smfi_setmlreply(ctx, reply.code, reply.enhanced[0] == '\0' ? NULL : reply.enhanced,
                          line[0], line[1], line[2], line[3], line[4], line[5], line[6], line[7],
                          NULL); /* where it fails the mail server has words of its own */
    return refusal->code / 100 == 4 ? SMFIS_TEMPFAIL : SMFIS_REJECT;
}

/* From the last to the first, since some mail servers count those that are left. */
static sfsistat take_out(SMFICTX *ctx, const struct milterd_answer *answer)
{
    for (unsigned i = answer->forged_count; i > 0; i--)
        if (smfi_chgheader(ctx, results, (int)answer->forged[i - 1], NULL) != MI_SUCCESS)
            return SMFIS_TEMPFAIL;
    return SMFIS_CONTINUE;
}

/* From the last to the first: each goes to the very top, above what the mail server itself adds, as
 * RFC 7208 9.1 and RFC 8601 4 want it. */
static sfsistat insert(SMFICTX *ctx, const struct milterd_answer *answer)
{
    struct bytes lines = bytes_make(answer->lines, answer->lines_len);
    struct milterd_field field;

    while (milterd_text_last_field(&lines, &field))
        if (smfi_insheader(ctx, 0, field.name, field.value) != MI_SUCCESS)
            return SMFIS_TEMPFAIL;
    return SMFIS_CONTINUE;
}

/* ---- questions ---- */

/* False: the loop is gone, or has nothing of this client. */
static bool enter(SMFICTX *ctx, struct milterd_call *call)
{
    call->client = smfi_getpriv(ctx);
    return call->client != NULL && crossing_enter(crossing, &call->crossing);
}

static sfsistat ask(SMFICTX *ctx, struct milterd_call *call)
{
    struct milterd_answer answer;

    answer.refusal.code = 0;
    answer.lines_len = 0;
    answer.forged_count = 0;
    call->answer = &answer;
    call->queue_id = smfi_getsymval(ctx, queue_id);
    if (!enter(ctx, call))
        return SMFIS_TEMPFAIL;
    if (answer.refusal.code != 0)
        return refuse(ctx, &answer.refusal);
    sfsistat done = take_out(ctx, &answer);
    return done == SMFIS_CONTINUE ? insert(ctx, &answer) : done;
}

static sfsistat tell(SMFICTX *ctx, struct milterd_call *call, sfsistat done)
{
    return enter(ctx, call) ? done : SMFIS_TEMPFAIL;
}

/* ---- callbacks ---- */

/* A mail server that cannot be told what we need speaks a protocol older than version 6. */
static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
                             unsigned long unused2, unsigned long unused3,
                             unsigned long *actions_out, unsigned long *steps_out,
                             unsigned long *unused2_out, unsigned long *unused3_out)
{
    (void)ctx, (void)unused2, (void)unused3;
    if ((actions & ACTIONS) != ACTIONS || (steps & NEEDED) != NEEDED)
        return SMFIS_REJECT;
    *actions_out = ACTIONS;
    *steps_out = SMFIP_HDR_LEADSPC | SILENT | unwanted;
    *unused2_out = *unused3_out = 0;
    return SMFIS_CONTINUE;
}

static bool read_address(const _SOCK_ADDR *address, struct netaddr *address_out)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    char text[INET6_ADDRSTRLEN];

    if (address == NULL || (address->sa_family != AF_INET && address->sa_family != AF_INET6))
        return false;
    bool is_v6 = address->sa_family == AF_INET6;
    inet_ntop(address->sa_family, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, text,
              sizeof(text));
    if (netaddr_parse(bytes_of(text), address_out) != 0)
        return false;
    address_out->port = ntohs(is_v6 ? v6->sin6_port : v4->sin_port);
    return true;
}

/* What has no address is the mail server's own, as a message that a program of its host gave it:
 * there is no client to be judged. */
static sfsistat on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
    struct milterd_call call = {
        .event = MILTERD_CONNECT, .text = bytes_of(name), .macro = smfi_getsymval(ctx, client)};

    if (!read_address(address, &call.address))
        return SMFIS_ACCEPT;
    if (!crossing_enter(crossing, &call.crossing) || call.client == NULL)
        return SMFIS_TEMPFAIL;
    return smfi_setpriv(ctx, call.client) == MI_SUCCESS ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
}

static sfsistat on_helo(SMFICTX *ctx, char *helo)
{
    struct milterd_call call = {.event = MILTERD_HELO, .text = bytes_of(helo)};
    return ask(ctx, &call);
}

static sfsistat on_mail(SMFICTX *ctx, char **words)
{
    struct milterd_call call = {.event = MILTERD_MAIL,
                                .text = bytes_of(words[0]),
                                .params = words + 1,
                                .login = smfi_getsymval(ctx, login)};
    return ask(ctx, &call);
}

static sfsistat on_rcpt(SMFICTX *ctx, char **words)
{
    struct milterd_call call = {
        .event = MILTERD_RCPT, .text = bytes_of(words[0]), .params = words + 1};
    return ask(ctx, &call);
}

static sfsistat on_data(SMFICTX *ctx)
{
    struct milterd_call call = {.event = MILTERD_DATA};
    return ask(ctx, &call);
}

static sfsistat on_field(SMFICTX *ctx, char *name, char *value)
{
    struct milterd_call call = {
        .event = MILTERD_FIELD, .text = bytes_of(name), .value = bytes_of(value)};
    return tell(ctx, &call, SMFIS_NOREPLY);
}

static sfsistat on_header_end(SMFICTX *ctx)
{
    struct milterd_call call = {.event = MILTERD_HEADER_END};
    return tell(ctx, &call, SMFIS_NOREPLY);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *at, size_t len)
{
    struct milterd_call call = {.event = MILTERD_BODY, .text = bytes_make(at, len)};
    return tell(ctx, &call, SMFIS_NOREPLY);
}

static sfsistat on_end(SMFICTX *ctx)
{
    struct milterd_call call = {.event = MILTERD_END};
    return ask(ctx, &call);
}

static sfsistat on_abort(SMFICTX *ctx)
{
    struct milterd_call call = {.event = MILTERD_ABORT};
    return tell(ctx, &call, SMFIS_CONTINUE);
}

static sfsistat on_close(SMFICTX *ctx)
{
    struct milterd_call call = {.event = MILTERD_CLOSE};
    (void)enter(ctx, &call);
    (void)smfi_setpriv(ctx, NULL);
    return SMFIS_CONTINUE;
}

static sfsistat on_command(SMFICTX *ctx, const char *line)
{
    struct milterd_call call = {.event = MILTERD_COMMAND, .text = bytes_of(line)};
    return ask(ctx, &call);
}

/* ---- life ---- */

static unsigned long find_unwanted(const struct chain *chain)
{
    unsigned long bits = 0;

    if (!chain->reads_content)
        bits |= SMFIP_NOEOH | SMFIP_NOBODY;
    if (!chain->reads_content && chain->name_count == 0)
        bits |= SMFIP_NOHDRS;
    if ((chain->stages & (1U << SESSION_STAGE_COMMAND)) == 0)
        bits |= SMFIP_NOUNKNOWN;
    return bits;
}

/* A field that is put in and the answer after it are two small writes of the library, the second of
 * which would wait for the mail server's delayed acknowledgement of the first. Connections have it
 * from the socket that listens, which the library keeps to itself; no other one listens yet. */
static void write_at_once(void)
{
    for (int fd = 0, on = 1; fd < LISTENER_FD_MAX; fd++) {
        int listens = 0;
        socklen_t length = sizeof(listens);

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0)
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* unix: needs none */
    }
}

int milterd_mta_open(struct bytes listen, uint32_t socket_mode, const struct chain *chain)
{
    static char name[] = "postern-milter";
    static const struct smfiDesc description = {
        .xxfi_name = name,
        .xxfi_version = SMFI_VERSION,
        .xxfi_flags = ACTIONS,
        .xxfi_connect = on_connect,
        .xxfi_helo = on_helo,
        .xxfi_envfrom = on_mail,
        .xxfi_envrcpt = on_rcpt,
        .xxfi_header = on_field,
        .xxfi_eoh = on_header_end,
        .xxfi_body = on_body,
        .xxfi_eom = on_end,
        .xxfi_abort = on_abort,
        .xxfi_close = on_close,
        .xxfi_unknown = on_command,
        .xxfi_data = on_data,
        .xxfi_negotiate = on_negotiate,
    };
    char socket[MILTERD_SOCKET_MAX];

    unwanted = find_unwanted(chain);
    milterd_text_socket(listen, socket);
    mode_t before = umask(~socket_mode & 0777);
    bool is_open = smfi_register(description) == MI_SUCCESS && smfi_setconn(socket) == MI_SUCCESS &&
                   smfi_opensocket(true) == MI_SUCCESS;
    umask(before);
    if (is_open) {
        write_at_once();
        return 0;
    }
    fprintf(stderr, "postern-milter: cannot listen at %.*s\n", (int)listen.len,
            (const char *)listen.at);
    return EX_UNAVAILABLE;
}

static void *serve(void *unused)
{
    struct milterd_call over = {.event = MILTERD_OVER};

    (void)unused;
    (void)smfi_main();
    (void)crossing_enter(crossing, &over.crossing);
    return NULL;
}

/* Signals are for the loop: the thread that the library has for them gets none as long as ours
 * takes them, and all threads inherit that they are blocked here. */
int milterd_mta_start(struct crossing *used)
{
    sigset_t all, before;
    pthread_t thread;

    crossing = used;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&thread, NULL, serve, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pthread_detach(thread);
    return -error;
}
