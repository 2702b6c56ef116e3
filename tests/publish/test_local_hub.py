"""The local Hub itself, where the other tests depend on it: clients that go away, and commits at the same time."""

import contextlib
import json
import socket
import uuid

import pytest

from tests.minihub.client import WRITE


def send(hub, method, path, body, *, sent=None):
    """Send a request, of its body only the first ``sent`` bytes; returns the open connection."""
    connection = socket.create_connection(("127.0.0.1", hub.port), timeout=30)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nAuthorization: Bearer {WRITE}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body[:sent])
    return connection


def answer(connection):
    """The status of the answer, None without one."""
    with connection:
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return int(received.split()[1]) if received else None


def commit(parent, path):
    header = {"key": "header", "value": {"summary": f"add {path}", "parentCommit": parent}}
    file = {"key": "file", "value": {"path": path, "content": "text", "encoding": "utf-8"}}
    return f"{json.dumps(header)}\n{json.dumps(file)}\n".encode()


@pytest.fixture
def repo(hub):
    name = f"r{uuid.uuid4().hex}"
    assert answer(send(hub, "POST", "/api/repos/create", json.dumps({"type": "dataset", "name": name}).encode())) == 200
    return f"alice/{name}"


@pytest.mark.parametrize("fault", [None, {"action": "reset", "when": "after"}, {"action": "status", "when": "before"}])
def test_a_client_that_ends_while_it_sends_changes_nothing_and_is_no_error_of_the_server(hub, repo, fault):
    head = hub.history(repo)[0]["id"]
    mark = hub.mark()
    with hub.fault(path="/commit/", **fault) if fault else contextlib.nullcontext():
        send(hub, "POST", f"/api/datasets/{repo}/commit/main", commit(head, "a.txt"), sent=20).close()
        hub.settle()
    (request,) = hub.requests(mark)
    assert request["request_bytes"] == 20
    assert len(hub.history(repo)) == 1
    assert "Traceback" not in hub.log.read_text()
    assert "ERROR" not in hub.log.read_text()


def test_after_settling_nothing_of_a_client_that_has_gone_is_left_to_do(hub, repo):
    head = hub.history(repo)[0]["id"]
    with hub.fault(path="/commit/", action="none", delay=60):
        connection = send(hub, "POST", f"/api/datasets/{repo}/commit/main", commit(head, "a.txt"))
        while not hub.admin("GET", "faults")[0]["reached"]:
            pass
    hub.settle()
    assert len(hub.history(repo)) == 2
    assert answer(connection) == 200


def test_a_fault_after_the_work_holds_the_answer_not_the_work(hub, repo):
    head = hub.history(repo)[0]["id"]
    with hub.fault(path="/commit/", action="reset", when="after", delay=60):
        connection = send(hub, "POST", f"/api/datasets/{repo}/commit/main", commit(head, "a.txt"))
        while not hub.admin("GET", "faults")[0]["reached"]:
            pass
        assert len(hub.history(repo)) == 2
    assert answer(connection) is None
    assert "ERROR" not in hub.log.read_text()


def test_of_two_commits_on_the_same_parent_one_is_refused_whatever_arrives_first(hub, repo):
    head = hub.history(repo)[0]["id"]
    slow = commit(head, "slow.txt")
    connection = send(hub, "POST", f"/api/datasets/{repo}/commit/main", slow, sent=20)
    assert answer(send(hub, "POST", f"/api/datasets/{repo}/commit/main", commit(head, "quick.txt"))) == 200
    connection.sendall(slow[20:])
    assert answer(connection) == 412
    assert "quick.txt" in hub.files(repo)
