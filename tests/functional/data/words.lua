-- SPDX-License-Identifier: BSD-2-Clause
-- What a mail server sees of postern-milter with the filter of tests/unit/words_kind.c; for miltertest.

local function check(is_right, what)
    if not is_right then
        mt.echo("wrong: " .. what)
        error(what)
    end
end

-- Steps that the filter does not want are an error of miltertest's, and no matter here.
local function say(step, ...)
    pcall(step, ...)
end

local function begin(sender)
    local conn = mt.connect("inet:" .. port .. "@127.0.0.1")
    check(conn ~= nil, "cannot connect")
    say(mt.conninfo, conn, "client.example.test", "192.0.2.1")
    say(mt.helo, conn, "client.example.test")
    mt.macro(conn, SMFIC_MAIL, "i", "an-id", "{mail_addr}", sender)
    check(mt.mailfrom(conn, "<" .. sender .. ">") == nil, "MAIL")
    return conn
end

local function content(conn, subject, body)
    say(mt.data, conn)
    for name, value in pairs({ From = "joe@example.org", Subject = subject }) do
        check(mt.header(conn, name, value) == nil, "header")
    end
    say(mt.eoh, conn)
    check(mt.bodystring(conn, body) == nil, "body")
    check(mt.eom(conn) == nil, "end")
end

-- A message that is let through, with what the filter puts in front of it; miltertest agrees to leave
-- the blank behind the colon to the filter.
local conn = begin("sender@example.org")
check(mt.getreply(conn) == SMFIR_CONTINUE, "a good sender")
check(mt.rcptto(conn, "<joe@example.test>", "NOTIFY=NEVER") == nil, "RCPT")
check(mt.getreply(conn) == SMFIR_CONTINUE, "a good recipient")
content(conn, "hello", "One line.\r\n")
check(mt.getreply(conn) == SMFIR_CONTINUE or mt.getreply(conn) == SMFIR_ACCEPT, "a good message")
check(mt.eom_check(conn, MT_HDRINSERT, "X-Words", " second"), "a field in front")
check(mt.eom_check(conn, MT_HDRINSERT, "Authentication-Results"), "results in front")
check(not mt.eom_check(conn, MT_BODYCHANGE) and not mt.eom_check(conn, MT_QUARANTINE), "no other edit")

-- The same connection serves the next message: refused by its header, then by its body.
for _, bad in ipairs({ { "spam", "One line.\r\n" }, { "hello", "a worm\r\n" } }) do
    mt.abort(conn)
    check(mt.mailfrom(conn, "<sender@example.org>") == nil, "MAIL")
    check(mt.rcptto(conn, "<joe@example.test>") == nil, "RCPT")
    content(conn, bad[1], bad[2])
    check(mt.getreply(conn) == SMFIR_REPLYCODE, "a bad message")
    check(mt.eom_check(conn, MT_SMTPREPLY, "550", "5.7.1", "Not this message"), "its words")
end
mt.disconnect(conn)

-- Refused at MAIL, and at RCPT; a client that vanishes.
conn = begin("refuse-mail@example.org")
check(mt.getreply(conn) == SMFIR_REPLYCODE, "a bad sender")
mt.disconnect(conn)
conn = begin("sender@example.org")
check(mt.rcptto(conn, "<bulk@example.test>") == nil, "RCPT")
check(mt.getreply(conn) == SMFIR_REPLYCODE, "a bad recipient")
mt.disconnect(conn, false)

mt.echo("all is right")
