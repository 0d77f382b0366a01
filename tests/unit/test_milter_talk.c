/* SPDX-License-Identifier: BSD-2-Clause */
/* Conversations with milters: what they hear, and what comes of what they say, however it is cut.
 */
/* needs: tests/unit/milter_play.c */
#include "filters/milter/milter_talk.h"

#include "tests/unit/lib.h"
#include "tests/unit/milter_play.h"

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

static const struct milter_play_row rows[] = {
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
        lib_run_three_ways(i, milter_play_octets(rows[i].says), rows[i].seen, milter_play_run,
                           &rows[i]);
    lib_end_rows();
}

/* ---- failing allocations ---- */

/* Whatever fails, it is said or makes no difference, and nothing leaks. */
static bool run_once(void *given)
{
    static struct lib_text seen;
    const struct milter_play_row *row = given;

    seen.len = 0;
    seen.at[0] = '\0';
    milter_play_run(row, NULL, &seen);
    return strcmp(seen.at, row->seen) == 0 ||
           (assert_non_null(strstr(seen.at, "failed: no memory")), false);
}

static void test_no_memory(void **state)
{
    uint64_t asked = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct milter_play_row row = rows[i];
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

    milter_talk_init(talk, choice, &milter_play_small, &milter_play_medium);
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
    static const struct milter_choice choice = {.version = 6, .actions = SMFI_CURR_ACTS};
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
    milter_reader_init(&reader, &milter_play_medium);
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
        cmocka_unit_test_setup_teardown(test_rows, milter_play_set_up, milter_play_tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, milter_play_set_up, milter_play_tear_down),
        cmocka_unit_test_setup_teardown(test_large, milter_play_set_up, milter_play_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
