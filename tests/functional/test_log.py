# SPDX-License-Identifier: BSD-2-Clause
"""What happened to X from Y at 03:12: the log says it."""
from harness.messages import PLAIN_MESSAGE


def test_every_line_says_which_process_speaks(workers):
    """Master, runner and each worker by its number; one process alone needs no name."""
    server = workers(count=2)
    with server.client() as client:
        client.hello()
        client.quit()
    server.wait_event("disconnect")
    server.reload()
    spoken = {line["event"]: line.get("process", "") for name in ("start", "connect", "reload")
              for line in server.events(name)}
    names = {line["process"] for line in server.events("start")}
    assert names == {"master", "runner", "worker-1", "worker-2"}
    assert spoken["connect"] in ("worker-1", "worker-2") and spoken["reload"] == "master"
    assert server.events("connect")[0]["process"] == server.events("disconnect")[0]["process"]


def test_a_process_alone_has_no_name(postern):
    server = postern("[route]\n@example.test discard\n")
    assert "process" not in server.wait_event("start")


# --- all recipients ------------------------------------------------------------------------------

def named(lines):
    """The recipients in `rcpts` of these lines."""
    return [one.strip("<>") for line in lines for one in line["rcpts"].split(",")]


def test_all_recipients_are_named(target, to_target):
    """As many lines as it takes, each whole: a pipe takes 4,096 octets in one piece."""
    backend = target()
    server = to_target(backend, smtpd="max-recipients = 300\n")
    everybody = [f"a-recipient-with-a-long-name-{i}@example.test" for i in range(200)]
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE, recipients=everybody)
        client.quit()
    closing = server.wait_transaction()
    server.wait_event("disconnect")
    lines = server.events("recipients")
    assert closing["nrcpt"] == "200" and set(named([closing])) < set(everybody)
    assert named(lines) == everybody and len(lines) > 5
    for line in lines:
        assert "cut" not in line and line["target"] == "target"
        assert line["transaction"] == closing["transaction"]
        assert line["session"] == closing["session"] and line["reply"].startswith("250 ")
    assert max(len(line) for line in server.log.lines) < 4096


def test_recipients_of_several_targets(target, postern, tmp_path):
    """Which of them went where, and what was said of them there."""
    backend = target().on("end", "552 5.2.2 too much")
    server = postern(f"[relay \"one\"]\naddress = {backend.address}\nidentity = none\n"
                     f'[maildir "two"]\npath = {tmp_path}/mail\n'
                     "[route]\n@one.test one\n@two.test two\n")
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE, recipients=["a@one.test", "b@two.test", "c@one.test"])
        client.quit()
    server.wait_event("disconnect")
    lines = {line["target"]: line for line in server.events("recipients")}
    assert named([lines["one"]]) == ["a@one.test", "c@one.test"]
    assert named([lines["two"]]) == ["b@two.test"]
    assert lines["one"]["reply"] == "552 5.2.2 too much"


def test_lists_are_lists_in_json(target, postern, tmp_path):
    backend = target()
    server = postern(f"[relay \"one\"]\naddress = {backend.address}\nidentity = none\n"
                     f'[maildir "two"]\npath = {tmp_path}/mail\n'
                     "[route]\n@one.test one\n@two.test two\n", log_format="json")
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE, recipients=['"a,b"@one.test', "c@two.test"])
    line = server.wait_transaction()
    assert line["rcpts"] == ['<"a,b"@one.test>', "<c@two.test>"]
    assert [one["target"] for one in line["targets"]] == ["one", "two"]
    assert line["targets"][0]["address"] == backend.address
