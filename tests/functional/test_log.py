# SPDX-License-Identifier: BSD-2-Clause
"""What happened to X from Y at 03:12: the log says it."""

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
