/* SPDX-License-Identifier: BSD-2-Clause */
/* Conversations with milters: what they hear, and what comes of what they say, however it is cut.
 * over budget: conversations are long to tell. */
/* needs: tests/unit/milter_play.c */
#include "filters/milter/milter_talk.h"

#include <stdio.h>

#include "tests/unit/lib.h"
#include "tests/unit/milter_play.h"

#define ALL_ACTIONS SMFI_CURR_ACTS

static struct pool small, medium;

static int set_up(void **state)
{
    (void)state;
    pool_init(&small, 1024, 4);
    pool_init(&medium, 4096, 4);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pool_done(&small);
    pool_done(&medium);
    return 0;
}

/* What happens, one word each: stages that are asked, "f" a field, "g" a line that is none, "b" a
 * piece of the body, "over" the message is, "quit". After a question comes its verdict. */
struct row {
    const char *happens, *says, *seen;
    uint32_t version, actions; /* 0: 6, all */
    const char *macros;        /* of CONNECT; NULL: the usual ones */
};

struct play {
    const struct row *row;
    struct milter_choice choice;
    struct milter_talk talk;
    struct lib_pieces *in; /* what the milter says; NULL: it is `whole` */
    struct bytes whole;
    struct lib_text *seen, came;
    bool has_failed, has_helo;
};

static void flush(struct play *p)
{
    milter_play_put(p->seen, buf_bytes(&p->talk.out));
    if (!p->talk.out.has_failed)
        buf_consume(&p->talk.out, buf_length(&p->talk.out));
}

static bool is_answered(const struct milter_talk *talk)
{
    return talk->asked == SESSION_STAGE_NONE && !talk->has_verdict;
}

static bool is_decided(const struct milter_talk *talk)
{
    return talk->message.is_decided;
}

static bool is_never(const struct milter_talk *talk)
{
    (void)talk;
    return false;
}

static bool next_piece(struct play *p, struct bytes *piece_out)
{
    if (p->in != NULL)
        return lib_next_piece(p->in, piece_out);
    *piece_out = p->whole;
    p->whole = bytes_make(NULL, 0);
    return piece_out->len != 0;
}

static void unread(struct play *p, struct bytes rest)
{
    if (p->in != NULL)
        lib_unread(p->in, rest.len);
    else
        p->whole = rest;
}

/* What is sent is written down before what came, since the milter of a row says everything at once.
 */
static void pump(struct play *p, bool (*is_enough)(const struct milter_talk *talk))
{
    struct milter_talk_event event = {.kind = MILTER_TALK_MORE};
    struct bytes piece = {NULL, 0};

    p->came.len = 0;
    p->came.at[0] = '\0';
    do {
        milter_talk_take(&p->talk, &piece, &event);
        milter_play_put_event(&p->came, &event);
        p->has_failed = event.kind == MILTER_TALK_FAILED;
    } while (!p->has_failed && !is_enough(&p->talk) &&
             (event.kind != MILTER_TALK_MORE || next_piece(p, &piece)));
    if (piece.len != 0)
        unread(p, piece);
    flush(p);
    lib_put(p->seen, "%s", p->came.at);
}

static enum session_stage stage_of(const char *word)
{
    static const char *const words[] = {
        [SESSION_STAGE_CONNECT] = "connect", [SESSION_STAGE_HELO] = "helo",
        [SESSION_STAGE_MAIL] = "mail",       [SESSION_STAGE_RCPT] = "rcpt",
        [SESSION_STAGE_DATA] = "data",       [SESSION_STAGE_END] = "end",
        [SESSION_STAGE_COMMAND] = "command"};

    for (size_t i = 1; i < ARRAY_LENGTH(words); i++)
        if (strcmp(words[i], word) == 0)
            return (enum session_stage)i;
    return SESSION_STAGE_NONE;
}

static void happen(struct play *p, const char *word)
{
    struct milter_talk *talk = &p->talk;
    enum session_stage stage = stage_of(word);
    struct milter_about about = milter_play_about;

    if (stage <= SESSION_STAGE_HELO || stage == SESSION_STAGE_COMMAND)
        about.envelope = NULL;
    if (stage != SESSION_STAGE_RCPT)
        about.rcpt = NULL;
    p->has_helo = p->has_helo || strcmp(word, "helo") == 0;
    if (!p->has_helo)
        about.helo = bytes_make(NULL, 0);
    lib_put(p->seen, "%s\n", word);
    if (strcmp(word, "late") == 0) {
        p->has_helo = true;
        return;
    }
    if (stage != SESSION_STAGE_NONE) {
        milter_talk_ask(talk, stage, &about);
        pump(p, is_answered);
    } else if (strcmp(word, "f") == 0) {
        milter_talk_field(talk, bytes_of("Subject : a\r\n\tb\r\n"));
    } else if (strcmp(word, "g") == 0) {
        milter_talk_field(talk, bytes_of("no field\r\n"));
    } else if (strcmp(word, "b") == 0) {
        milter_talk_body(talk, bytes_of("text\r\n"));
    } else if (strcmp(word, "hear") == 0) {
        pump(p, is_decided);
    } else if (strcmp(word, "over") == 0) {
        milter_talk_end_message(talk);
    } else if (strcmp(word, "ahead") == 0) {
        milter_talk_ask(talk, SESSION_STAGE_END, &about);
    } else {
        assert_string_equal(word, "quit");
        milter_talk_quit(talk);
    }
    flush(p);
}

static void set_row(struct play *p, const struct row *row, struct lib_text *seen)
{
    *p = (struct play){.row = row, .seen = seen};
    p->choice.version = row->version == 0 ? 6 : row->version;
    p->choice.actions = row->actions == 0 ? ALL_ACTIONS : row->actions;
    if (row->macros != NULL)
        p->choice.lists[SMFIM_CONNECT] = bytes_of(row->macros);
    milter_talk_init(&p->talk, &p->choice, &small, &medium);
    milter_talk_begin(&p->talk);
}

static void play_row(struct play *p)
{
    char word[16];
    int len;

    for (const char *at = p->row->happens; sscanf(at, "%15s%n", word, &len) == 1; at += len)
        if (!p->has_failed)
            happen(p, word);
    if (!p->has_failed)
        pump(p, is_never);
    milter_talk_done(&p->talk);
}

static void run(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    static struct play play;

    set_row(&play, given, seen);
    play.in = in;
    play_row(&play);
}

#define OPTIONS "> O |||\\06||\\01\\ff|\\1f\\ff\\ff\n"
#define CONNECT                                                                                    \
    "> D Cj|us.test|{daemon_name}|mx|{daemon_addr}|IPv6:2001:db8::1|v|postern 1|_|client.test "    \
    "[192.0.2.1]|\n"                                                                               \
    "> C client.test|4\\04\\d2192.0.2.1|\n"
#define MAIL_MACROS                                                                                \
    "> D "                                                                                         \
    "Mi|B1|{auth_type}|XCLIENT|{auth_authen}|joe|{mail_addr}|a@b.test|{mail_host}|b.test|{mail_"   \
    "mailer}|smtp|\n"
#define MAIL        "> M <a@b.test>|BODY=8BITMIME|SIZE=9|\n"
#define RCPT_MACROS "> D Ri|B1|{rcpt_addr}|\"c d\"@e.test|{rcpt_host}|e.test|{rcpt_mailer}|smtp|\n"
#define RCPT        "> R <\"c d\"@e.test>|NOTIFY=NEVER|\n"
#define DATA                                                                                       \
    "> D Ti|B1|\n"                                                                                 \
    "> T \n"
#define HEADER_END                                                                                 \
    "> D Ni|B1|\n"                                                                                 \
    "> N \n"
#define END                                                                                        \
    "> D Ei|B1|\n"                                                                                 \
    "> E \n"

static const struct row rows[] = {
    /* A whole message, everything answered. */
    {.happens = "connect helo mail rcpt data f b end over",
     .says = "O6 0 0\nc\nc\nc\nc\nc\nc\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT
             "ready beyond=0\ncontinue\nhelo\n> H helo|\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT "continue\ndata\n" DATA
             "continue\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END "> B text~^\nend\n" END
             "progress\nprogress\nprogress\ncontinue\nover\n"},
    /* Nothing is answered but the end: all is in one go. No new client, since CONNECT says nothing.
     */
    {.happens = "connect helo mail rcpt rcpt data f f b end over quit",
     .says = "O6 0 FF080\nc",
     .seen = "connect\n" OPTIONS CONNECT
             "ready beyond=0\ncontinue\nhelo\n> H helo|\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT "continue\nrcpt\n" RCPT_MACROS RCPT
             "continue\ndata\n" DATA
             "continue\nf\n> L Subject|a^\\09b|\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END
             "> B text~^\nend\n" END "continue\nover\nquit\n> Q \n"},
    /* Nothing is sent but the end: macros are. */
    {.happens = "connect helo mail rcpt data f b end over",
     .says = "O6 0 37F\nc",
     .seen =
         "connect\n" OPTIONS
         "> D Cj|us.test|{daemon_name}|mx|{daemon_addr}|IPv6:2001:db8::1|v|postern 1|_|client.test "
         "[192.0.2.1]|\nready beyond=0\ncontinue\nhelo\ncontinue\nmail\n" MAIL_MACROS
         "continue\nrcpt\n" RCPT_MACROS
         "continue\ndata\n> D Ti|B1|\ncontinue\nf\nb\n> D Ni|B1|\nend\n" END "continue\nover\n"},
    /* A space behind the colon stays; a skip of fields and of the body. */
    {.happens = "connect mail data f f b b end over",
     .says = "O6 0 100400\nc\nc\nc\nc\ns\nc\ns\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA
             "continue\nf\n> L Subject| a^\\09b|\nf\n> L Subject| a^\\09b|\nb\n" HEADER_END
             "> B text~^\nb\n> B text~^\nend\n" END
             "progress\nprogress\nprogress\nprogress\nprogress\ncontinue\nover\n"},
    /* No more fields after a skip. */
    {.happens = "connect mail data f command f b command b end over quit",
     .says = "O6 0 100600\nc\nc\nc\ns\nc\nc\ns\nc\nc",
     .seen =
         "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
         "continue\ndata\n> D Ti|B1|\ncontinue\nf\n> L Subject| a^\\09b|\ncommand\n> U FOO "
         "bar|\nprogress\ncontinue\nf\n> L Subject| a^\\09b|\nb\n" HEADER_END
         "> B text~^\ncommand\n> U FOO bar|\nprogress\nprogress\nprogress\ncontinue\nb\nend\n" END
         "continue\nover\nquit\n> Q \n"},
    /* A line that is no field begins the body. */
    {.happens = "connect mail data f g f b end over",
     .says = "O6 0 0\nc\nc\nc\nc\nc\nc\nc\nc\nc\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nf\n> L Subject|a^\\09b|\ng\n" HEADER_END
             "> B no field~^\nf\n> B Subject : a~^\\09b~^\nb\n> B ~^\n> B text~^\nend\n" END
             "progress\nprogress\nprogress\nprogress\nprogress\nprogress\ncontinue\nover\nfailed: "
             "an answer to nothing\n"},
    /* Lists of macros of its own, also an empty one, one twice as long, one for a stage of the
       future. */
    {.happens = "connect helo mail rcpt data f b end over",
     .says = "O6 100 0 0:{client_addr},{client_name} {client_ptr};1:j {daemon_port} _ "
             "{nonsense};2:;6:{auth_authen};5:{auth_authen} i;9:j\nc\nc\nc\nc\nc\nc\nc\nc\nc",
     .seen = "connect\n" OPTIONS
             "> D C{client_addr}|192.0.2.1|{client_name}|client.test|{client_ptr}|client.test|\n> "
             "C client.test|4\\04\\d2192.0.2.1|\nready beyond=0\ncontinue\nhelo\n> H "
             "helo|\ncontinue\nmail\n" MAIL_MACROS MAIL "continue\nrcpt\n" RCPT_MACROS RCPT
             "continue\ndata\n" DATA "continue\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END
             "> B text~^\nend\n" END "progress\nprogress\nprogress\ncontinue\nover\n"},
    /* Another list from the operator. */
    {.happens = "connect mail",
     .says = "O6 0 0\nc\nc",
     .seen = "connect\n" OPTIONS
             "> D Cv|postern 1|{client_port}|1234|\n> C client.test|4\\04\\d2192.0.2.1|\nready "
             "beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL "continue\n",
     .macros = "v {client_port}"},
    /* Later in the session: what came before is told first, with its answers. */
    {.happens = "late rcpt",
     .says = "O6 0 0\nc\nc\nc\nc",
     .seen = "late\nrcpt\n" OPTIONS CONNECT "> H helo|\n" MAIL_MACROS MAIL RCPT_MACROS RCPT
             "ready beyond=0\ncontinue\n"},
    /* CONNECT refused, told late. */
    {.happens = "mail",
     .says = "O6 0 0\nr",
     .seen = "mail\n" OPTIONS CONNECT
             "ready beyond=0\nreply session wire=550 5.7.1 Command rejected~^\n"},
    /* HELO accepts: the whole session. */
    {.happens = "connect helo",
     .says = "O6 0 0\nc\na",
     .seen =
         "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nhelo\n> H helo|\naccept session\n"},
    /* Nothing can be discarded yet. */
    {.happens = "connect helo mail",
     .says = "O6 0 0\nd\nd\nd",
     .seen = "connect\n" OPTIONS CONNECT
             "ready beyond=0\ncontinue\nhelo\n> H helo|\ncontinue\nmail\n" MAIL_MACROS MAIL
             "discard\n"},
    /* Accepted, discarded at RCPT: the message; its end is known, and nothing is said any more. */
    {.happens = "connect mail rcpt data f b end over mail",
     .says = "O6 0 0\nc\nc\na\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT
             "accept\ndata\naccept\nf\nb\nend\naccept\nover\nmail\n" MAIL_MACROS MAIL "continue\n"},
    /* Discarded. */
    {.happens = "connect mail rcpt",
     .says = "O6 0 0\nc\nc\nd",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT "discard\n"},
    /* One recipient refused, deferred, with words; others not. */
    {.happens = "connect mail rcpt rcpt rcpt rcpt data over",
     .says = "O6 0 0\nc\nc\nr\nt\ny550-5.1.1 50%% off%~^550 5.1.1 %s now|\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT
             "reply wire=550 5.7.1 Command rejected~^\nrcpt\n" RCPT_MACROS RCPT
             "reply wire=451 4.7.1 Service unavailable - try again later~^\nrcpt\n" RCPT_MACROS RCPT
             "reply wire=550-5.1.1 50% off~^550 5.1.1 s now~^\nrcpt\n" RCPT_MACROS RCPT
             "continue\ndata\n" DATA "continue\nover\n> A \n"},
    /* Shutdown, connection failure. */
    {.happens = "connect mail rcpt rcpt",
     .says = "O6 0 0\nc\nc\n4\nf",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT
             "reply wire=421 4.7.0 Server closing connection~^\nrcpt\n" RCPT_MACROS RCPT
             "reply wire=421 4.7.0 Server closing connection~^\n"},
    /* DATA refused: nothing is said of the message any more. */
    {.happens = "connect mail rcpt data over quit",
     .says = "O6 0 0\nc\nc\nc\nr",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT "continue\ndata\n" DATA
             "reply wire=550 5.7.1 Command rejected~^\nover\nquit\n> Q \n"},
    /* A field refused while more was under way: spent. */
    {.happens = "connect mail data f f b end over",
     .says = "O6 0 0\nc\nc\nc\nc\nr\nc\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA
             "continue\nf\n> L Subject|a^\\09b|\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END
             "> B text~^\nend\n" END
             "progress\nprogress\nreply wire=550 5.7.1 Command rejected~^\nover\n"},
    /* The body accepted, as the last that was sent: usable again. */
    {.happens = "connect mail data f b hear f b end over mail",
     .says = "O6 0 0\nc\nc\nc\nc\nc\na\nc",
     .seen =
         "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
         "continue\ndata\n" DATA "continue\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END "> B "
         "text~^\nhear\nprogress\nprogress\nprogress\nf\nb\nend\naccept\nover\nmail\n" MAIL_MACROS
             MAIL "continue\n"},
    /* Likewise, but the end was sent: spent. */
    {.happens = "connect mail data f b end over",
     .says = "O6 0 0\nc\nc\nc\nc\nc\na\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END
             "> B text~^\nend\n" END "progress\nprogress\nprogress\naccept\nover\n"},
    /* A command between: nothing is known of its answer. */
    {.happens = "connect mail data f b command end over",
     .says = "O6 0 0\nc\nc\nc\nc\nc\nr\nc\nc",
     .seen =
         "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
         "continue\ndata\n" DATA "continue\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END
         "> B text~^\ncommand\n> U FOO bar|\nprogress\nprogress\nprogress\ncontinue\nend\nreply "
         "wire=550 5.7.1 Command rejected~^\nover\n"},
    /* Every change. */
    {.happens = "connect mail data f b end over",
     .says = "O6 1FF "
             "0\nc\nc\nc\nc\nc\nc\nhX-A|one^\ttwo|\ni||||X-B|v|\ni|||\002X-B||\nm|||\001Subject|"
             "new^wrong~^~^ right^|\nm||||Gone||\nb\nbnew ~^\nbbody|\ne<x@y.test>|SIZE=1 "
             "BODY=7BIT|\ne<>|\n+<c@d.test>|\n2c@d.test|NOTIFY=NEVER|\n2\"q "
             "u\"@d.test|\n-c@d.test|\nqwhy|\np\nc",
     .seen =
         "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
         "continue\ndata\n" DATA "continue\nf\n> L Subject|a^\\09b|\nb\n" HEADER_END
         "> B text~^\nend\n" END
         "progress\nprogress\nprogress\nedit add-field name=X-A value= one~^\\09two\nedit "
         "insert-field name=X-B value= v\nedit insert-field index=2 name=X-B value= \nedit "
         "change-field index=1 name=Subject value= new~^\\09wrong~^ right\nedit change-field "
         "index=1 name=Gone value=\nedit replace-body value=\nedit replace-body value=new ~^\nedit "
         "replace-body value=body|\nedit change-sender value=x@y.test params=SIZE=1 "
         "BODY=7BIT\nedit change-sender value=\nedit add-rcpt value=c@d.test\nedit add-rcpt "
         "value=c@d.test params=NOTIFY=NEVER\nedit add-rcpt value=\"q u\"@d.test\nedit delete-rcpt "
         "value=c@d.test\nedit quarantine value=why\nprogress\ncontinue\nover\n"},
    /* The filter writes the blank itself. */
    {.happens = "connect mail data end",
     .says = "O6 11 100000\nc\nc\nc\nc\nhX-A|one|\nhX-A| two|\nm|||\001X-A| |\na",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nend\n" HEADER_END END
             "progress\nedit add-field name=X-A value=one\nedit add-field name=X-A value= "
             "two\nedit change-field index=1 name=X-A value= \naccept\n"},
    /* Changes that were not agreed on are ignored. */
    {.happens = "connect mail data end",
     .says = "O6 0 0\nc\nc\nc\nc\nhX|v|\nqwhy|\nc",
     .seen =
         "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
         "continue\ndata\n" DATA "continue\nend\n" HEADER_END END
         "progress\nignored add-field name=X value= v\nignored quarantine value=why\ncontinue\n"},
    /* Not so a new body. */
    {.happens = "connect mail data end",
     .says = "O6 1 0\nc\nc\nc\nc\nhX|v|\nbbody\nc",
     .seen =
         "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
         "continue\ndata\n" DATA "continue\nend\n" HEADER_END END
         "progress\nedit add-field name=X value= v\nfailed: a new body, which was not agreed on\n"},
    /* Nor one in two parts. */
    {.happens = "connect mail data end",
     .says = "O6 1FF 0\nc\nc\nc\nc\nbbody\nhX|v|\nbbody\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nend\n" HEADER_END END
             "progress\nedit replace-body value=body\nedit add-field name=X value= v\nfailed: a "
             "new body in two parts\n"},
    /* A change too early. */
    {.happens = "connect mail",
     .says = "O6 1FF 0\nc\nhX|v|",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "failed: a change before the end of the message\n"},
    /* A change before the answers to the body. */
    {.happens = "connect mail data b end",
     .says = "O6 1FF 0\nc\nc\nc\nc\nhX|v|",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nb\n" HEADER_END "> B text~^\nend\n" END
             "progress\nprogress\nfailed: a change before the end of the message\n"},
    /* Refused after half of the changes. */
    {.happens = "connect mail data end over",
     .says = "O6 1FF 0\nc\nc\nc\nc\nhX|v|\ny451 4.7.1 later|",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nend\n" HEADER_END END
             "progress\nedit add-field name=X value= v\nreply wire=451 4.7.1 "
             "later~^\nover\n"},
    /* An answer to nothing. */
    {.happens = "connect mail",
     .says = "O6 0 0\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nfailed: an answer to nothing\n"},
    /* A skip that was not agreed on, at the end, at CONNECT. */
    {.happens = "connect",
     .says = "O6 0 0\ns",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\nfailed: skip, which was not agreed on\n"},
    {.happens = "connect mail data end",
     .says = "O6 0 400\nc\nc\nc\nc\ns",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nend\n" HEADER_END END
             "progress\nfailed: skip at the end of the message\n"},
    {.happens = "connect mail",
     .says = "O6 0 400\ns\ns",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\n"},
    /* A skip of recipients. */
    {.happens = "connect mail rcpt rcpt",
     .says = "O6 0 400\nc\nc\ns",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT "continue\nrcpt\n" RCPT_MACROS "continue\n"},
    /* Unknown commands: refused alone; accepted is the message. */
    {.happens = "connect command command mail command command rcpt",
     .says = "O6 0 0\nc\na\nr\nc\nc\na",
     .seen = "connect\n" OPTIONS CONNECT
             "ready beyond=0\ncontinue\ncommand\n> U FOO bar|\ncontinue\ncommand\n> U FOO "
             "bar|\nreply wire=550 5.7.1 Command rejected~^\nmail\n" MAIL_MACROS MAIL
             "continue\ncommand\n> U FOO bar|\ncontinue\ncommand\n> U FOO "
             "bar|\ncontinue\nrcpt\naccept\n"},
    /* Version 2 knows no DATA and no unknown commands; bits of others are not agreed on. */
    {.happens = "connect command mail rcpt data f end over",
     .says = "O2 3F FFFFFFFF\nc",
     .seen = "connect\n> O |||\\02|||?|||\\7f\n> D "
             "Cj|us.test|{daemon_name}|mx|{daemon_addr}|IPv6:2001:db8::1|v|postern 1|_|client.test "
             "[192.0.2.1]|\nready beyond=8fffff80\ncontinue\ncommand\ncontinue\nmail\n" MAIL_MACROS
             "continue\nrcpt\n" RCPT_MACROS
             "continue\ndata\n> D Ti|B1|\ncontinue\nf\nend\n> D Ni|B1|\n" END "continue\nover\n",
     .version = 2},
    /* Version 2 where all is answered. */
    {.happens = "connect command mail rcpt data f end over",
     .says = "O2 3F 0\nc\nc\nc\nc\nc\nc",
     .seen = "connect\n> O |||\\03|||?||\\01\\ff\n" CONNECT
             "ready beyond=0\ncontinue\ncommand\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT
             "continue\ndata\n> D Ti|B1|\ncontinue\nf\n> L Subject|a^\\09b|\nend\n" HEADER_END END
             "progress\nprogress\ncontinue\nover\n",
     .version = 3},
    /* An older filter. */
    {.happens = "connect command mail rcpt data end over",
     .says = "O3 3F 0\nc\nc\nc\nc\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT
             "ready beyond=0\ncontinue\ncommand\n> U FOO bar|\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT
             "continue\ndata\n> D Ti|B1|\ncontinue\nend\n" HEADER_END END
             "progress\ncontinue\nover\nfailed: an answer to nothing\n"},
    /* HELO again. */
    {.happens = "connect helo helo",
     .says = "O6 0 0\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT
             "ready beyond=0\ncontinue\nhelo\n> H helo|\ncontinue\nhelo\n> H helo|\ncontinue\n"},
    /* The message is cancelled: before and after MAIL, twice. */
    {.happens = "connect over mail over over mail rcpt over",
     .says = "O6 0 0\nc\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nover\nmail\n" MAIL_MACROS MAIL
             "continue\nover\n> A \nover\nmail\n" MAIL_MACROS MAIL
             "continue\nrcpt\n" RCPT_MACROS RCPT "continue\nover\n> A \n"},
    /* Cancelled while an answer is due. */
    {.happens = "connect mail data f over",
     .says = "O6 0 0\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nf\n> L Subject|a^\\09b|\nover\n> A \n"},
    /* An answer that is not wanted any more. */
    {.happens = "connect mail data ahead over quit",
     .says = "O6 0 0\nc\nc\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL
             "continue\ndata\n" DATA "continue\nahead\n" HEADER_END "> E \nover\nquit\n> Q \n"},
    /* Versions that nobody offered. */
    {.happens = "connect",
     .says = "O7 0 0",
     .seen = "connect\n" OPTIONS "failed: a version that was not offered\n"},
    {.happens = "connect",
     .says = "O1 0 0",
     .seen = "connect\n" OPTIONS "failed: a version that was not offered\n"},
    {.happens = "connect",
     .says = "O6 0 0",
     .seen = "connect\n> O |||\\04|||?||\\03\\ff\nfailed: a version that was not offered\n",
     .version = 4},
    /* Actions that nobody knows. */
    {.happens = "connect",
     .says = "O6 200 0",
     .seen = "connect\n" OPTIONS "failed: actions that do not exist\n"},
    /* Actions that are withheld. */
    {.happens = "connect mail data end",
     .says = "O6 3 0\nc\nc\nc\nc\nhX|v|\nbbody\nc",
     .seen =
         "connect\n> O |||\\06|||\\02|\\1f\\ff\\ff\n" CONNECT
         "ready beyond=0\ncontinue\nmail\n" MAIL_MACROS MAIL "continue\ndata\n" DATA
         "continue\nend\n" HEADER_END END
         "progress\nignored add-field name=X value= v\nedit replace-body value=body\ncontinue\n",
     .actions = 2},
    {.happens = "connect",
     .says = "O4 40 0",
     .seen = "connect\n> O |||\\04|||?||\\03\\ff\nfailed: actions that do not exist\n",
     .version = 4},
    /* Internal bits, and steps beyond. */
    {.happens = "connect",
     .says = "O6 0 71200000\nc",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=1200000\ncontinue\n"},
    /* No options. */
    {.happens = "connect",
     .says = "c",
     .seen = "connect\n" OPTIONS "failed: no options for an answer to ours\n"},
    {.happens = "connect",
     .says = "#000000014F",
     .seen = "connect\n" OPTIONS "failed: options that are too short\n"},
    {.happens = "connect",
     .says = "#0000000A4F00000006000000000000",
     .seen = "connect\n" OPTIONS "failed: options that are too short\n"},
    {.happens = "connect",
     .says = "#0000000E4F0000000600000000000000004142",
     .seen = "connect\n" OPTIONS "failed: options with a broken list of macros\n"},
    {.happens = "connect",
     .says = "#000000134F00000006000000000000000000000000414243",
     .seen = "connect\n" OPTIONS "failed: options with a broken list of macros\n"},
    /* Lengths that no packet has. */
    {.happens = "connect",
     .says = "#00000000",
     .seen = "connect\n" OPTIONS "failed: a packet of a bad length\n"},
    {.happens = "connect",
     .says = "O6 0 0\n#00010001",
     .seen = "connect\n" OPTIONS CONNECT "ready beyond=0\nfailed: a packet of a bad length\n"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_run_three_ways(i, milter_play_octets(rows[i].says), rows[i].seen, run, &rows[i]);
    lib_end_rows();
}

/* ---- failing allocations ---- */

/* Whatever fails, it is said or makes no difference, and nothing leaks. */
static bool run_once(void *given)
{
    static struct play play;
    static struct lib_text seen;
    const struct row *row = given;

    seen.len = 0;
    seen.at[0] = '\0';
    set_row(&play, row, &seen);
    play.whole = milter_play_octets(row->says);
    play_row(&play);
    return strcmp(seen.at, row->seen) == 0 ||
           (assert_non_null(strstr(seen.at, "failed: no memory")), false);
}

static void test_no_memory(void **state)
{
    uint64_t asked = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct row row = rows[i];
        asked += lib_fail_each_allocation(run_once, &row);
    }
    assert_true(asked > ARRAY_LENGTH(rows));
}

/* ---- what is large ---- */

/* Up to where content goes, with a milter that answers nothing. */
static void begin_content(struct milter_talk *talk, const struct milter_choice *choice)
{
    struct milter_talk_event event;
    struct bytes in = milter_play_octets("O6 0 FF080");

    milter_talk_init(talk, choice, &small, &medium);
    milter_talk_begin(talk);
    milter_talk_take(talk, &in, &event);
    for (enum session_stage stage = SESSION_STAGE_CONNECT; stage <= SESSION_STAGE_DATA; stage++) {
        milter_talk_ask(talk, stage, &milter_play_about);
        milter_talk_take(talk, &in, &event);
        assert_int_equal(event.kind, MILTER_TALK_VERDICT);
    }
    buf_consume(&talk->out, buf_length(&talk->out));
}

static struct milter_packet next_packet(struct milter_reader *reader, struct bytes *out)
{
    struct milter_packet packet;

    assert_int_equal(milter_reader_take(reader, out, &packet), 0);
    return packet;
}

static void test_large(void **state)
{
    static const struct milter_choice choice = {.version = 6, .actions = ALL_ACTIONS};
    static uint8_t text[3 * MILTER_CHUNK_SIZE];
    struct milter_talk talk;
    struct milter_reader reader;
    struct bytes out;
    size_t body = 0;

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "X-Name:", 7);
    begin_content(&talk, &choice);
    milter_talk_field(&talk, bytes_make(text, FILTER_FIELD_MAX));
    milter_talk_body(&talk, bytes_make(text, MILTER_CHUNK_SIZE + 1));
    milter_talk_body(&talk, bytes_make(text, sizeof(text)));
    out = buf_bytes(&talk.out);
    milter_reader_init(&reader, &medium);
    struct milter_packet packet = next_packet(&reader, &out);
    assert_int_equal(packet.command, SMFIC_HEADER);
    assert_int_equal(packet.data.len, MILTER_MAX_DATA_SIZE);
    assert_int_equal(next_packet(&reader, &out).command, SMFIC_MACRO);
    assert_int_equal(next_packet(&reader, &out).command, SMFIC_EOH);
    while (out.len != 0) {
        packet = next_packet(&reader, &out);
        assert_int_equal(packet.command, SMFIC_BODY);
        assert_true(packet.data.len > 1);
        body += packet.data.len;
    }
    assert_int_equal(body, MILTER_CHUNK_SIZE + 1 + sizeof(text));
    milter_reader_done(&reader);
    milter_talk_done(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
