"""``gru serve`` as a process: what it says, how it ends, what it refuses."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import gru
from commands import Run
from serving import (
    LONG,
    ConnectionClosed,
    connect,
    httpx,
    npy,
    numbers,
    read_npy,
    settle,
    steps_model,
)


@pytest.fixture
def model(folder: Path) -> gru.Sequential:
    found = steps_model()
    found.save("m.safetensors")
    return found


@contextmanager
def served(
    *options: str, program: tuple[str, str] = ("-m", "gru")
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command in its own process; gives its address."""
    command = [sys.executable, "-W", "error", *program, "serve", "m.safetensors", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "--port", "0"], text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("m.safetensors on http://127.0.0.1:"), process.communicate()
            yield process, line.split()[-1]
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LONG)
    return process.returncode, out, err


def head(body: bytes) -> bytes:
    text = "POST /predict HTTP/1.1\r\nhost: here\r\ncontent-type: application/x-npy\r\n"
    return f"{text}content-length: {len(body)}\r\n\r\n".encode()


def test_sigterm_answers_what_came_and_refuses_what_is_new(model: gru.Sequential) -> None:
    x = numbers(40, 3)
    body = npy(x)
    with served("--read-timeout", "60", "--drain-timeout", "60") as (process, url):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with (
            httpx.Client(base_url=url, timeout=LONG) as http,
            connect(f"ws{url[4:]}/stream") as stream,
            socket.create_connection(address) as slow,
        ):
            stream.send(x[:1].tobytes())
            np.testing.assert_array_equal(
                np.frombuffer(stream.recv(LONG), np.float32), model(x[None])[0, 0]
            )
            slow.sendall(head(body) + body[:100])
            settle(lambda: "gru_open_sessions 1.0" in http.get("/metrics").text)
            process.send_signal(signal.SIGTERM)
            settle(lambda: http.get("/healthz").status_code == 503)
            assert http.get("/healthz").json() == {"status": "draining"}
            refused = http.post("/predict", json={"x": x.tolist()})
            assert refused.status_code == 503
            assert refused.json() == {"error": "the service is ending"}
            assert refused.headers["connection"] == "close"
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(LONG)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            slow.sendall(body[100:])
            received = b""
            while chunk := slow.recv(2**16):
                received += chunk
        before, _, content = received.partition(b"\r\n\r\n")
        assert before.startswith(b"HTTP/1.1 200")
        np.testing.assert_array_equal(read_npy(content), model(x[None])[0])
        assert ended(process) == (0, "", "")


def test_it_runs_where_there_is_no_uvloop(model: gru.Sequential) -> None:
    hidden = "import runpy, sys; sys.modules['uvloop'] = None; "
    start = "runpy.run_module('gru', run_name='__main__', alter_sys=True)"
    x = numbers(4, 3)
    with served(program=("-c", hidden + start)) as (process, url):
        with connect(f"ws{url[4:]}/stream") as stream:
            stream.send(x.tobytes())
            found = np.frombuffer(stream.recv(LONG), np.float32).reshape(4, 2)
        np.testing.assert_array_equal(found, model(x[None])[0])
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (0, "", "")


def test_ctrl_c_ends_it_as_well(model: gru.Sequential) -> None:
    with served() as (process, url):
        assert httpx.get(f"{url}/healthz", timeout=LONG).status_code == 200
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, "", "")


def test_a_second_signal_ends_it_at_once(model: gru.Sequential) -> None:
    with served("--drain-timeout", "1e6", "--read-timeout", "1e6") as (process, url):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as slow:
            slow.sendall(head(b"12345"))
            with httpx.Client(base_url=url, timeout=LONG) as http:
                settle(lambda: http.get("/healthz").status_code == 200)
                process.send_signal(signal.SIGTERM)
                settle(lambda: http.get("/healthz").status_code == 503)
            process.send_signal(signal.SIGTERM)
            code, out, _ = ended(process)
        assert (code, out) == (0, "")


def test_limits_come_from_the_command_line(model: gru.Sequential) -> None:
    options = (
        "--threads",
        "1",
        "--max-steps",
        "5",
        "--max-body",
        "1KB",
        "--window",
        "0",
        "--origin",
        "https://a.b",
    )
    with served("--threads", "1", *options) as (_, url):
        limits = httpx.get(f"{url}/model", timeout=LONG).json()["limits"]
    assert (limits["max_steps"], limits["max_body"], limits["window"]) == (5, 1000, 0)
    assert limits["origins"] == ["https://a.b"]


def test_a_model_that_is_none(folder: Path, command: Run) -> None:
    Path("text").write_text("hello")
    for name, message in (
        ("nothing", "nothing: No such file or directory"),
        (".", ".: Is a directory"),
        ("text", "text: is not an intact gru model file"),
    ):
        done = command("serve", name, code=2)
        assert done.err.startswith(f"gru serve: error: {message}")
        assert done.err.count("\n") == 1
        assert done.out == ""


def test_a_port_in_use(model: gru.Sequential, command: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = command("serve", "m.safetensors", "--port", port, code=2)
    assert done.err == f"gru serve: error: 127.0.0.1:{port}: Address already in use\n"


def test_a_host_that_is_none(model: gru.Sequential, command: Run) -> None:
    done = command("serve", "m.safetensors", "--host", "no.such.host.invalid", code=2)
    assert done.err.startswith("gru serve: error: no.such.host.invalid:8000: ")
    assert done.err.count("\n") == 1


def test_a_model_without_a_width(folder: Path, command: Run) -> None:
    gru.Sequential([gru.Last()]).save("m")
    done = command("serve", "m", code=2)
    wanted = "m: no layer of the model tells how many inputs a step has"
    assert done.err == f"gru serve: error: {wanted}\n"


def test_what_is_missing_is_said(folder: Path) -> None:
    """Without the extra the command says so in one line; the rest of gru works."""
    gru.Sequential([gru.GRU(2, 2)]).save("m")
    for name in ("starlette", "uvicorn", "websockets", "prometheus_client"):
        program = (
            f"import sys; sys.modules[{name!r}] = None\n"
            "from gru.__main__ import main; main(['serve', 'm'])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 2
        package = name.replace("_", "-")
        wanted = f'services need {package}; pip install "gru-engine[service]" brings it'
        assert done.stderr == f"gru serve: error: {wanted}\n"
