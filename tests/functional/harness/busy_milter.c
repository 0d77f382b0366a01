/* SPDX-License-Identifier: BSD-2-Clause */
/* A milter on libmilter that does what a script says, and writes a line of JSON for each callback.
 *
 *     busy_milter inet:PORT@127.0.0.1 SCRIPT
 *
 * A line of the script is fields with a TAB between them: stage, a text that the callback's first
 * argument must hold (that of the sender, where it has none), action, the action's arguments. All
 * lines of a stage are done in turn, up to one that is a verdict. In a field \n, \r, \t and \\ are
 * one octet. Stages: negotiate connect helo mail rcpt data unknown header eoh body eom abort. */
#include <errno.h>
#include <fcntl.h>
#include <libmilter/mfapi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>

enum { MAX_FIELDS = 40, MAX_LINES = 20000, PIECE = 65535 };

struct line {
    int count; /* of fields behind stage and match */
    char *stage;
    char *match;
    char *field[MAX_FIELDS];
};

struct session {
    unsigned long actions, steps;
    char sender[512];
    unsigned long body_bytes;
    unsigned a, b; /* Adler-32 of the body */
};

struct name {
    const char *name;
    unsigned long value;
};

static const struct name actions[] = {
    {"add-header", SMFIF_ADDHDRS},
    {"change-body", SMFIF_CHGBODY},
    {"add-rcpt", SMFIF_ADDRCPT},
    {"delete-rcpt", SMFIF_DELRCPT},
    {"change-header", SMFIF_CHGHDRS},
    {"quarantine", SMFIF_QUARANTINE},
    {"change-from", SMFIF_CHGFROM},
    {"add-rcpt-par", SMFIF_ADDRCPT_PAR},
    {"set-symlist", SMFIF_SETSYMLIST},
    {"all", 0x1FF},
    {NULL, 0},
};

static const struct name steps[] = {
    {"no-connect", SMFIP_NOCONNECT},
    {"no-helo", SMFIP_NOHELO},
    {"no-mail", SMFIP_NOMAIL},
    {"no-rcpt", SMFIP_NORCPT},
    {"no-body", SMFIP_NOBODY},
    {"no-headers", SMFIP_NOHDRS},
    {"no-eoh", SMFIP_NOEOH},
    {"no-unknown", SMFIP_NOUNKNOWN},
    {"no-data", SMFIP_NODATA},
    {"skip", SMFIP_SKIP},
    {"rcpt-rej", SMFIP_RCPT_REJ},
    {"nr-connect", SMFIP_NR_CONN},
    {"nr-helo", SMFIP_NR_HELO},
    {"nr-mail", SMFIP_NR_MAIL},
    {"nr-rcpt", SMFIP_NR_RCPT},
    {"nr-data", SMFIP_NR_DATA},
    {"nr-unknown", SMFIP_NR_UNKN},
    {"nr-header", SMFIP_NR_HDR},
    {"nr-eoh", SMFIP_NR_EOH},
    {"nr-body", SMFIP_NR_BODY},
    {"leading-space", SMFIP_HDR_LEADSPC},
    {NULL, 0},
};

static const struct name stages[] = {
    {"connect", SMFIM_CONNECT}, {"helo", SMFIM_HELO},
    {"mail", SMFIM_ENVFROM},    {"rcpt", SMFIM_ENVRCPT},
    {"data", SMFIM_DATA},       {"eom", SMFIM_EOM},
    {"eoh", SMFIM_EOH},         {NULL, 0},
};

static const struct name verdicts[] = {
    {"continue", SMFIS_CONTINUE}, {"reject", SMFIS_REJECT},        {"tempfail", SMFIS_TEMPFAIL},
    {"discard", SMFIS_DISCARD},   {"accept", SMFIS_ACCEPT},        {"skip", SMFIS_SKIP},
    {"noreply", SMFIS_NOREPLY},   {"all-options", SMFIS_ALL_OPTS}, {NULL, 0},
};

static const char *const macros[] = {
    "j",
    "v",
    "_",
    "i",
    "{daemon_name}",
    "{daemon_addr}",
    "{daemon_port}",
    "{client_addr}",
    "{client_name}",
    "{client_port}",
    "{client_ptr}",
    "{client_connections}",
    "{if_name}",
    "{if_addr}",
    "{tls_version}",
    "{cipher}",
    "{cipher_bits}",
    "{auth_type}",
    "{auth_authen}",
    "{auth_author}",
    "{auth_ssf}",
    "{mail_addr}",
    "{mail_host}",
    "{mail_mailer}",
    "{rcpt_addr}",
    "{rcpt_host}",
    "{rcpt_mailer}",
    "{msg_id}",
};

static struct line script[MAX_LINES];
static int line_count;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

/* ---- the script ---- */

static void fail(const char *what, const char *of)
{
    fprintf(stderr, "busy_milter: %s: %s\n", what, of);
    _exit(64);
}

static unsigned long value_of(const struct name *names, const char *name)
{
    for (; names->name; names++)
        if (!strcmp(names->name, name))
            return names->value;
    fail("no such word", name);
    return 0;
}

static void unescape(char *text)
{
    char *to = text;
    for (; *text; text++) {
        if (*text == '\\' && text[1]) {
            text++;
            *to++ = (char)(*text == 'n' ? '\n' : *text == 'r' ? '\r' : *text == 't' ? '\t' : *text);
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
}

static void read_script(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        fail(path, strerror(errno));
    char *text = NULL;
    size_t room = 0;
    while (getline(&text, &room, file) > 0) {
        if (line_count == MAX_LINES)
            fail("too many lines", path);
        char *rest = strdup(text);
        rest[strcspn(rest, "\n")] = '\0';
        struct line *line = &script[line_count++];
        char *fields[MAX_FIELDS + 2];
        int count = 0;
        for (char *field; (field = strsep(&rest, "\t")) != NULL;) {
            if (count == MAX_FIELDS + 2)
                fail("too many fields", path);
            unescape(field);
            fields[count++] = field;
        }
        if (count < 3)
            fail("too few fields", text);
        line->stage = fields[0];
        line->match = fields[1];
        line->count = count - 2;
        memcpy(line->field, fields + 2, (size_t)line->count * sizeof(char *));
    }
    free(text);
    fclose(file);
}

/* ---- the log ---- */

static void put_text(const char *text, size_t length)
{
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        unsigned char octet = (unsigned char)text[i];
        if (octet < 32 || octet > 126 || octet == '"' || octet == '\\')
            printf("\\u%04x", octet);
        else
            putchar(octet);
    }
    putchar('"');
}

/* arguments: ends with NULL. extra: members of the object, each behind a comma, or "". */
static void note(SMFICTX *ctx, const char *stage, const char *const *arguments, const char *extra)
{
    pthread_mutex_lock(&output);
    printf("{\"stage\": \"%s\", \"session\": \"%p\", \"arguments\": [", stage, (void *)ctx);
    for (int i = 0; arguments && arguments[i]; i++) {
        fputs(i ? ", " : "", stdout);
        put_text(arguments[i], strlen(arguments[i]));
    }
    fputs("], \"macros\": {", stdout);
    bool is_first = true;
    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
        char name[40];
        snprintf(name, sizeof(name), "%s", macros[i]);
        const char *value = smfi_getsymval(ctx, name);
        if (value) {
            printf("%s\"%s\": ", is_first ? "" : ", ", name);
            put_text(value, strlen(value));
            is_first = false;
        }
    }
    printf("}%s}\n", extra);
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

/* ---- actions ---- */

static int replace_with_size(SMFICTX *ctx, unsigned long left)
{
    static unsigned char piece[PIECE];
    static pthread_mutex_t filling = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&filling);
    for (unsigned i = 0; i < PIECE; i++)
        piece[i] = (unsigned char)(i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'a' + i / 64 % 26);
    pthread_mutex_unlock(&filling);
    int status = MI_SUCCESS;
    while (left > 0 && status == MI_SUCCESS) {
        unsigned long now = left < PIECE - 63 ? left : PIECE - 63;
        status = smfi_replacebody(ctx, piece, (int)now);
        left -= now;
    }
    return status;
}

static int set_lines(SMFICTX *ctx, struct line *line)
{
    char **f = line->field;
    switch (line->count) {
    case 4:
        return smfi_setmlreply(ctx, f[1], f[2], f[3], NULL);
    case 5:
        return smfi_setmlreply(ctx, f[1], f[2], f[3], f[4], NULL);
    case 6:
        return smfi_setmlreply(ctx, f[1], f[2], f[3], f[4], f[5], NULL);
    default:
        return smfi_setmlreply(ctx, f[1], f[2], f[3], f[4], f[5], f[6], NULL);
    }
}

/* Until somebody writes to this FIFO: how a test makes an answer late. */
static int wait_for(const char *fifo)
{
    int fd = open(fifo, O_RDONLY);
    return fd < 0 || close(fd) ? MI_FAILURE : MI_SUCCESS;
}

/* Does what no verdict is; false: it is a verdict, or a word of negotiation. */
static bool act(SMFICTX *ctx, struct line *line, int *status)
{
    char **f = line->field;
    const char *what = f[0];
    if (!strcmp(what, "addheader"))
        *status = smfi_addheader(ctx, f[1], f[2]);
    else if (!strcmp(what, "insheader"))
        *status = smfi_insheader(ctx, atoi(f[1]), f[2], f[3]);
    else if (!strcmp(what, "chgheader"))
        *status = smfi_chgheader(ctx, f[2], atoi(f[1]), line->count > 3 ? f[3] : NULL);
    else if (!strcmp(what, "replacebody"))
        *status = smfi_replacebody(ctx, (unsigned char *)f[1], (int)strlen(f[1]));
    else if (!strcmp(what, "replacebody-size"))
        *status = replace_with_size(ctx, strtoul(f[1], NULL, 10));
    else if (!strcmp(what, "chgfrom"))
        *status = smfi_chgfrom(ctx, f[1], line->count > 2 ? f[2] : NULL);
    else if (!strcmp(what, "addrcpt"))
        *status = smfi_addrcpt(ctx, f[1]);
    else if (!strcmp(what, "addrcpt-par"))
        *status = smfi_addrcpt_par(ctx, f[1], f[2]);
    else if (!strcmp(what, "delrcpt"))
        *status = smfi_delrcpt(ctx, f[1]);
    else if (!strcmp(what, "quarantine"))
        *status = smfi_quarantine(ctx, f[1]);
    else if (!strcmp(what, "progress"))
        *status = smfi_progress(ctx);
    else if (!strcmp(what, "setreply"))
        *status = smfi_setreply(ctx, f[1], f[2], f[3]);
    else if (!strcmp(what, "setmlreply"))
        *status = set_lines(ctx, line);
    else if (!strcmp(what, "setsymlist"))
        *status = smfi_setsymlist(ctx, (int)value_of(stages, f[1]), f[2]);
    else if (!strcmp(what, "wait"))
        *status = wait_for(f[1]);
    else if (!strcmp(what, "die"))
        _exit(3);
    else
        return false;
    return true;
}

/* One that libmilter refused: tests must see it. */
static void note_refused(SMFICTX *ctx, struct line *line)
{
    const char *what[] = {line->field[0], line->count > 1 ? line->field[1] : NULL, NULL};
    note(ctx, "refused", what, "");
}

static sfsistat run(SMFICTX *ctx, const char *stage, const char *of, sfsistat otherwise)
{
    for (int i = 0; i < line_count; i++) {
        struct line *line = &script[i];
        int status = MI_SUCCESS;
        if (strcmp(line->stage, stage) || !strstr(of, line->match))
            continue;
        if (!act(ctx, line, &status))
            return (sfsistat)value_of(verdicts, line->field[0]);
        if (status != MI_SUCCESS)
            note_refused(ctx, line);
    }
    return otherwise;
}

/* What a callback answers where the script has no verdict: nothing, if that was agreed on. */
static sfsistat run_stage(SMFICTX *ctx, const char *stage, const char *of, unsigned long no_reply)
{
    struct session *s = smfi_getpriv(ctx);
    return run(ctx, stage, of, s && s->steps & no_reply ? SMFIS_NOREPLY : SMFIS_CONTINUE);
}

/* ---- callbacks ---- */

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2,
                             unsigned long f3, unsigned long *pf0, unsigned long *pf1,
                             unsigned long *pf2, unsigned long *pf3)
{
    (void)f2, (void)f3;
    struct session *s = calloc(1, sizeof(*s));
    smfi_setpriv(ctx, s);
    s->actions = 0;
    for (int i = 0; i < line_count; i++) {
        struct line *line = &script[i];
        if (strcmp(line->stage, "negotiate"))
            continue;
        int status = MI_SUCCESS;
        for (int k = 1; k < line->count && !strcmp(line->field[0], "actions"); k++)
            s->actions |= value_of(actions, line->field[k]);
        for (int k = 1; k < line->count && !strcmp(line->field[0], "steps"); k++)
            s->steps |= value_of(steps, line->field[k]);
        act(ctx, line, &status);
    }
    s->actions &= f0;
    s->steps &= f1;
    *pf0 = s->actions;
    *pf1 = s->steps;
    *pf2 = *pf3 = 0;
    char offered[100];
    snprintf(offered, sizeof(offered), ", \"actions\": %lu, \"steps\": %lu", f0, f1);
    note(ctx, "negotiate", NULL, offered);
    return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *address)
{
    char text[INET6_ADDRSTRLEN] = "none";
    unsigned port = 0;
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        port = ntohs(in->sin_port);
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        port = ntohs(in6->sin6_port);
    }
    char extra[40];
    snprintf(extra, sizeof(extra), ", \"port\": %u", port);
    note(ctx, "connect", (const char *const[]){host, text, NULL}, extra);
    return run_stage(ctx, "connect", host, SMFIP_NR_CONN);
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
    note(ctx, "helo", (const char *const[]){name, NULL}, "");
    return run_stage(ctx, "helo", name, SMFIP_NR_HELO);
}

static sfsistat on_mail(SMFICTX *ctx, char **arguments)
{
    struct session *s = smfi_getpriv(ctx);
    snprintf(s->sender, sizeof(s->sender), "%s", arguments[0]);
    s->body_bytes = 0;
    s->a = 1;
    s->b = 0;
    note(ctx, "mail", (const char *const *)arguments, "");
    return run_stage(ctx, "mail", arguments[0], SMFIP_NR_MAIL);
}

static sfsistat on_rcpt(SMFICTX *ctx, char **arguments)
{
    note(ctx, "rcpt", (const char *const *)arguments, "");
    return run_stage(ctx, "rcpt", arguments[0], SMFIP_NR_RCPT);
}

static const char *sender_of(SMFICTX *ctx)
{
    struct session *s = smfi_getpriv(ctx);
    return s ? s->sender : "";
}

static sfsistat on_data(SMFICTX *ctx)
{
    note(ctx, "data", NULL, "");
    return run_stage(ctx, "data", sender_of(ctx), SMFIP_NR_DATA);
}

static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
    note(ctx, "unknown", (const char *const[]){command, NULL}, "");
    return run_stage(ctx, "unknown", command, SMFIP_NR_UNKN);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
    note(ctx, "header", (const char *const[]){name, value, NULL}, "");
    return run_stage(ctx, "header", name, SMFIP_NR_HDR);
}

static sfsistat on_eoh(SMFICTX *ctx)
{
    note(ctx, "eoh", NULL, "");
    return run_stage(ctx, "eoh", sender_of(ctx), SMFIP_NR_EOH);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *octets, size_t length)
{
    struct session *s = smfi_getpriv(ctx);
    s->body_bytes += length;
    for (size_t i = 0; i < length; i++) {
        s->a = (s->a + octets[i]) % 65521;
        s->b = (s->b + s->a) % 65521;
    }
    char extra[40];
    snprintf(extra, sizeof(extra), ", \"length\": %zu", length);
    note(ctx, "body", NULL, extra);
    return run_stage(ctx, "body", s->sender, SMFIP_NR_BODY);
}

static sfsistat on_eom(SMFICTX *ctx)
{
    struct session *s = smfi_getpriv(ctx);
    char extra[80];
    snprintf(extra, sizeof(extra), ", \"length\": %lu, \"adler32\": %u", s->body_bytes,
             s->b << 16 | s->a);
    note(ctx, "eom", NULL, extra);
    return run_stage(ctx, "eom", s->sender, 0);
}

static sfsistat on_abort(SMFICTX *ctx)
{
    note(ctx, "abort", NULL, "");
    return run(ctx, "abort", sender_of(ctx), SMFIS_CONTINUE);
}

static sfsistat on_close(SMFICTX *ctx)
{
    note(ctx, "close", NULL, "");
    free(smfi_getpriv(ctx));
    smfi_setpriv(ctx, NULL);
    return SMFIS_CONTINUE;
}

int main(int argc, char **argv)
{
    static char name[] = "busy";
    if (argc != 3)
        fail("usage", "busy_milter SOCKET SCRIPT");
    read_script(argv[2]);
    struct smfiDesc description = {
        .xxfi_name = name,
        .xxfi_version = SMFI_VERSION,
        .xxfi_flags = 0x1FF,
        .xxfi_connect = on_connect,
        .xxfi_helo = on_helo,
        .xxfi_envfrom = on_mail,
        .xxfi_envrcpt = on_rcpt,
        .xxfi_header = on_header,
        .xxfi_eoh = on_eoh,
        .xxfi_body = on_body,
        .xxfi_eom = on_eom,
        .xxfi_abort = on_abort,
        .xxfi_close = on_close,
        .xxfi_unknown = on_unknown,
        .xxfi_data = on_data,
        .xxfi_negotiate = on_negotiate,
    };
    if (smfi_setconn(argv[1]) == MI_FAILURE || smfi_register(description) == MI_FAILURE)
        fail("cannot listen", argv[1]);
    return smfi_main() == MI_SUCCESS ? 0 : 71;
}
