"""``POST /predict`` through a real server: right to the bit, alone and in any company."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import gru
from serving import (
    NPY,
    Running,
    WaitingEngine,
    npy,
    numbers,
    read_npy,
    serve,
    settle,
    steps_model,
    token_model,
)

__all__ = ["serve"]  # a fixture

Serve = Callable[..., Running]


def pooled(dtype: str = "float32") -> gru.Sequential:
    return gru.Sequential(
        [
            gru.GRU(3, 5, bidirectional=True, dtype=dtype, seed=0),
            gru.Mean(),
            gru.Linear(10, 4, dtype=dtype, seed=1),
        ]
    )


# --- one request ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", [steps_model, pooled])
def test_both_bodies_give_the_bits_of_the_model(
    build: Callable[[str], gru.Sequential], dtype: str, serve: Serve
) -> None:
    model = build(dtype)
    running = serve(model)
    for steps in (1, 7, 50):
        x = numbers(steps, 3, dtype=dtype, seed=steps)
        wanted = model(x[None])[0]
        answer = running.post({"x": x.tolist()})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        np.testing.assert_array_equal(np.array(answer.json()["y"], dtype), wanted)
        found = running.predict(x)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(running.predict(np.asfortranarray(x)), wanted)
        np.testing.assert_array_equal(running.predict(x.astype(x.dtype.newbyteorder(">"))), wanted)


def test_many_sequences_in_a_request(serve: Serve) -> None:
    model = steps_model()
    running = serve(model, max_batch=2)
    x = numbers(5, 9, 3)
    lengths = [9, 1, 0, 4, 9]
    cut = [row[:n] for row, n in zip(x, lengths, strict=True)]
    answers = running.post({"sequences": [row.tolist() for row in cut]}).json()["answers"]
    wanted = model(x, lengths=lengths)
    for row, answer, n in zip(wanted, answers, lengths, strict=True):
        found = np.array(answer, np.float32).reshape(n, 2)
        np.testing.assert_array_equal(found, row[:n])
    answer = running.post(npy(x), params={"lengths": "9,1,0,4,9"})
    np.testing.assert_array_equal(read_npy(answer.content), wanted)
    np.testing.assert_array_equal(read_npy(running.post(npy(x)).content), model(x))


def test_tokens(serve: Serve) -> None:
    model = token_model()
    running = serve(model)
    x = np.random.default_rng(0).integers(0, 20, (2, 6))
    wanted = model(x)
    for row, answer in zip(x, wanted, strict=True):
        got = np.array(running.post({"x": row.tolist()}).json()["y"], np.float32)
        np.testing.assert_array_equal(got, answer)
        np.testing.assert_array_equal(running.predict(row.astype(np.uint8)), answer)
    np.testing.assert_array_equal(read_npy(running.post(npy(x)).content), wanted)


def test_a_long_answer_is_as_right(serve: Serve) -> None:
    model = steps_model()
    x = numbers(12_000, 3)
    running = serve(model, max_steps=12_000, max_json=2**21)
    found = np.array(running.post({"x": x.round(2).tolist()}).json()["y"], np.float32)
    np.testing.assert_array_equal(found, model(x.round(2)[None])[0])


def test_outputs_that_are_not_finite_are_null(serve: Serve) -> None:
    linear = gru.Linear(1, 2, seed=0)
    linear.parameters["weight"][:] = [[3e38], [1]]
    answer = serve(gru.Sequential([linear])).post({"x": [[2.0]]})
    assert answer.json()["y"][0][0] is None
    assert isinstance(answer.json()["y"][0][1], float)


# --- in company ----------------------------------------------------------------------------------


def test_requests_at_once_give_the_bits_of_each_alone(serve: Serve) -> None:
    model = steps_model()
    running = serve(model, window=0.005)
    inputs = [numbers(1 + 7 * i % 60, 3, seed=i) for i in range(160)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(running.predict, inputs))
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer, model(x[None])[0])
    found = running.metrics()
    assert found["gru_batch_size_sum", "/predict"] == 160


def test_what_waits_for_the_engine_goes_together(serve: Serve) -> None:
    engine = WaitingEngine(steps_model())
    running = serve(engine)
    inputs = [numbers(steps, 3, seed=steps) for steps in (4, 9, 2, 30, 9, 1)]
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(running.predict, inputs[0])
        assert engine.busy.wait(60)
        others = [threads.submit(running.predict, x) for x in inputs[1:]]
        settle(lambda: len(running.service.predict.batcher) == 5)
        assert running.metrics()["gru_queue_length", "/predict"] == 5
        engine.go.set()
        answers = [one.result() for one in [first, *others]]
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer, engine.model(x[None])[0])
    assert engine.batches == [[4], [30, 9, 9, 2, 1]]
    found = running.metrics()
    assert found["gru_batch_size_count", "/predict"] == 2
    assert found["gru_batch_size_sum", "/predict"] == 6
    assert found["gru_engine_seconds_count", "/predict"] == 2
    assert found["gru_requests_total", "200", "/predict"] == 6
    assert found["gru_request_seconds_count", "/predict"] == 6
    assert found["gru_queue_length", "/predict"] == 0


def test_a_client_that_left_is_not_computed(serve: Serve) -> None:
    engine = WaitingEngine(steps_model())
    running = serve(engine)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(running.predict, numbers(4, 3))
        assert engine.busy.wait(60)
        with socket.create_connection(running.address) as leaving:
            leaving.sendall(head(npy(numbers(8, 3))))
            settle(lambda: len(running.service.predict.batcher) == 1)
        settle(lambda: len(running.service.predict.batcher) == 0)
        last = threads.submit(running.predict, numbers(6, 3))
        settle(lambda: len(running.service.predict.batcher) == 1)
        engine.go.set()
        assert first.result().shape == (4, 2)
        assert last.result().shape == (6, 2)
    assert engine.batches == [[4], [6]]
    assert running.metrics()["gru_requests_total", "499", "/predict"] == 1


def test_an_engine_that_fails_fails_its_batch_alone(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(WaitingEngine):
        def predict(self, x: Any, lengths: Any) -> Any:
            if x.shape[1] == 13:
                raise MemoryError("no room")
            return self.model(x, lengths=lengths)

    running = serve(Failing(steps_model()))
    answer = running.post(npy(numbers(13, 3)))
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service failed; its log says why"}
    assert "no room" in caplog.text
    assert running.predict(numbers(5, 3)).shape == (5, 2)


# --- limits --------------------------------------------------------------------------------------


def head(body: bytes, length: int | None = None, more: str = "") -> bytes:
    """Return a request as bytes, so that a test can send a part of it."""
    length = len(body) if length is None else length
    text = f"POST /predict HTTP/1.1\r\nhost: here\r\ncontent-type: {NPY['content-type']}\r\n"
    return f"{text}content-length: {length}\r\n{more}\r\n".encode() + body


def ask(running: Running, content: bytes) -> str:
    """Send bytes, and read until the server closes."""
    with socket.create_connection(running.address) as client:
        client.sendall(content)
        received = b""
        while chunk := client.recv(2**16):
            received += chunk
    return received.decode()


def test_a_body_too_large(serve: Serve) -> None:
    running = serve(steps_model(), max_body=1000)
    fits = npy(numbers(72, 3))
    assert running.post(fits).status_code == 200
    answer = running.post(npy(numbers(73, 3)))
    assert answer.status_code == 413
    assert answer.json() == {"error": "the body must have at most 1000 bytes, got 1004"}

    def chunks() -> Any:
        yield from [b"x" * 600] * 2

    answer = running.http.post("/predict", content=chunks(), headers=NPY)
    assert answer.status_code == 413
    assert answer.json() == {"error": "the body must have at most 1000 bytes, got more"}
    waits = ask(running, head(b"", 5000, "expect: 100-continue\r\n"))
    assert waits.startswith("HTTP/1.1 413")  # and not 100
    assert running.post(fits).status_code == 200


def test_a_json_body_too_large(serve: Serve) -> None:
    running = serve(steps_model(), max_json=100)
    assert running.post({"x": [[1, 2, 3]]}).status_code == 200
    answer = running.post({"x": [[1, 2, 3]] * 20})
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("the body must have at most 100 bytes, got ")
    assert running.post(npy(numbers(100, 3))).status_code == 200


def test_a_body_that_does_not_come(serve: Serve) -> None:
    running = serve(steps_model(), read_timeout=0.05)
    answer = ask(running, head(b"1234", 10))
    assert answer.startswith("HTTP/1.1 408")
    assert '{"error":"the body must come within 0.05 s, got 4 bytes of it"}' in answer


def test_a_head_that_does_not_come(serve: Serve) -> None:
    running = serve(steps_model(), read_timeout=0.05)
    assert ask(running, b"") == ""
    assert ask(running, b"POST /predict HT") == ""
    with socket.create_connection(running.address) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")
        assert client.recv(2**16).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /hea")
        while client.recv(2**16):
            pass


def test_a_full_queue(serve: Serve) -> None:
    engine = WaitingEngine(steps_model())
    running = serve(engine, max_queue=2)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(running.predict, numbers(4, 3))
        assert engine.busy.wait(60)
        others = [threads.submit(running.predict, numbers(4, 3)) for _ in range(2)]
        settle(lambda: len(running.service.predict.batcher) == 2)
        answer = running.post(npy(numbers(4, 3)))
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json() == {"error": "the queue holds at most 2 sequences; try again later"}
        engine.go.set()
        assert [one.result().shape for one in [first, *others]] == [(4, 2)] * 3
    assert running.predict(numbers(4, 3)).shape == (4, 2)


def test_sizes(serve: Serve) -> None:
    running = serve(steps_model(), max_steps=10, max_queue=3, max_answer=2 * 4 * 15)
    assert running.post(npy(numbers(10, 3))).status_code == 200
    for body, message in (
        (npy(numbers(11, 3)), "a sequence must have at most 10 steps, got 11"),
        (npy(numbers(2, 8, 3)), "the answer must have at most 120 bytes, it has 128"),
        (npy(numbers(4, 1, 3)), "there must be from 1 to 3 sequences, got 4"),
        ({"sequences": [[]] * 4}, "there must be from 1 to 3 sequences, got 4"),
        ({"sequences": []}, "there must be from 1 to 3 sequences, got 0"),
    ):
        answer = running.post(body)
        assert (answer.status_code, answer.json()) == (422, {"error": message})


# --- what is not understood ----------------------------------------------------------------------

REFUSED = [
    (b"", "the body must be JSON: Expecting value: line 1 column 1 (char 0)"),
    (b"{", "the body must be JSON: Expecting property name enclosed in double quotes: *"),
    (b"\xff", "the body must be JSON in UTF-8"),
    ('{"x": []}'.encode("utf-16-le"), "the body must be JSON in UTF-8"),
    ('{"x": []}'.encode("utf-32-be"), "the body must be JSON in UTF-8"),
    (b'\xef\xbb\xbf{"x": 3}', "x must be a list of steps of 3 numbers each, got a number"),
    (b"[" * 100_000, "the body must be JSON, got lists that are nested too deep"),
    (b"[1]", "the body must be a JSON object, got a list"),
    (b"null", "the body must be a JSON object, got null"),
    (b"{}", "the body must hold either 'x' or 'sequences', got nothing"),
    (b'{"x": [], "y": 1}', "the body must hold either 'x' or 'sequences', got 'x', 'y'"),
    (b'{"x": [[1, NaN, 3]]}', "the body must hold finite numbers, got NaN"),
    (b'{"x": [[1, 1e39, 3]]}', "x[0][1] must be finite in float32, got 1e+39"),
    (b'{"x": [[1, 1e999, 3]]}', "x[0][1] must be finite in float32, got inf"),
    (b'{"x": 3}', "x must be a list of steps of 3 numbers each, got a number"),
    (b'{"x": {"a": 1}}', "x must be a list of steps of 3 numbers each, got an object"),
    (b'{"x": [1, 2, 3]}', "x must have the shape (T, 3), got (3,)"),
    (b'{"x": [[1, 2]]}', "x must have the shape (T, 3), got (1, 2)"),
    (b'{"x": [[1, 2, 3], [1]]}', "x must be a list of *, got lists of different lengths"),
    (b'{"x": [["1", 2, 3]]}', "x must hold numbers alone, got a string"),
    (b'{"x": [[1, null, 3]]}', "x must hold numbers alone, got null"),
    (b'{"x": [[true, true, false]]}', "x must hold numbers alone, got true or false"),
    (b'{"x": [[1, 2, ' + b"9" * 400 + b"]]}", "x must hold numbers alone, got an integer too*"),
    (b'{"sequences": 3}', "sequences must be a list of sequences"),
    (b'{"sequences": [[[1, 2, 3]], [[1]]]}', "sequences[1] must have the shape (T, 3), got *"),
]


@pytest.fixture(scope="module")
def plain() -> Any:
    running = Running(steps_model())
    yield running
    running.close()


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=range(len(REFUSED)))
def test_json_that_is_refused(body: bytes, message: str, plain: Running) -> None:
    headers = {"content-type": "application/json"}
    answer = plain.http.post("/predict", content=body, headers=headers)
    assert answer.status_code == 422
    start, star, rest = message.partition("*")
    error = answer.json()["error"]
    assert error.startswith(start)
    assert error.endswith(rest) if star else error == message


def test_npy_that_is_refused(plain: Running) -> None:
    whole = npy(numbers(2, 3))
    objects = npy(np.array([{"a": 1}], object))
    huge = whole.replace(b"(2, 3), }              ", b"(2, 30000000000), }    ")
    nan = numbers(2, 3)
    nan[1, 2] = np.nan
    for body, message in (
        (b"", "x must be a .npy file of version 1 or 2, as numpy.save writes it"),
        (b"\x93NUMPY\x09\x00", "x must be a .npy file of version 1 or 2, as numpy.save writes it"),
        (whole[:-1], "x must hold 24 bytes, as its shape (2, 3) and float32 say, got 23"),
        (whole + b"1", "x must hold 24 bytes, as its shape (2, 3) and float32 say, got 25"),
        (huge, "x must hold 240000000000 bytes, as its shape (2, 30000000000) and *"),
        (objects, "x must hold float32, got object; send x.astype('float32')"),
        (npy(np.zeros((2, 3))), "x must hold float32, got float64; send x.astype('float32')"),
        (npy(numbers(2, 4)), "x must have the shape (T, 3), got (2, 4)"),
        (npy(numbers(1, 2, 4)), "x must have the shape (B, T, 3), got (1, 2, 4)"),
        (npy(np.float32(1)), "x must have the shape (B, T, 3), got ()"),
        (npy(nan), "x[1][2] must be finite in float32, got nan"),
    ):
        answer = plain.post(body)
        assert answer.status_code == 422
        start, star, _ = message.partition("*")
        error = answer.json()["error"]
        assert error.startswith(start) if star else error == message


def test_no_prefix_of_a_file_and_no_changed_byte_is_trouble(plain: Running) -> None:
    from gru.service.refusal import RefusalError
    from gru.service.wire import parse_npy, steps_of

    whole = npy(numbers(2, 3))
    interface = plain.service.engine.interface
    rng = np.random.default_rng(0)
    bodies = [whole[:n] for n in range(len(whole))]
    for place in range(128):
        for value in rng.integers(0, 256, 4):
            bodies.append(whole[:place] + bytes([value]) + whole[place + 1 :])
    for body in bodies:
        with suppress(RefusalError):
            assert steps_of("x", parse_npy(body, interface), interface).shape == (2, 3)


def test_lengths_that_are_refused(plain: Running) -> None:
    for lengths, message in (
        ("1", "lengths must be 2 numbers with commas, got '1'"),
        ("1,-1", "lengths must be 2 numbers with commas, got '1,-1'"),
        ("1,a", "lengths must be 2 numbers with commas, got '1,a'"),
        ("1,6", "lengths must be at most 5, the steps of x, got 6"),
    ):
        answer = plain.post(npy(numbers(2, 5, 3)), params={"lengths": lengths})
        assert (answer.status_code, answer.json()) == (422, {"error": message})


def test_tokens_that_are_refused(serve: Serve) -> None:
    running = serve(token_model())
    for body, message in (
        ({"x": [1, 20]}, "x[1] must be from 0 to 19, got 20"),
        ({"x": [-1]}, "x[0] must be from 0 to 19, got -1"),
        ({"x": [1.5]}, "x must hold integers, got float64"),
        ({"x": [[1]]}, "x must have the shape (T,), got (1, 1)"),
        ({"x": "ab"}, "x must be a list of tokens from 0 to 19, got a string"),
        (npy(numbers(3)), "x must hold integers, got float32"),
        (npy(np.array([2**64 - 1], np.uint64)), "x[0] must be from 0 to 19, got *"),
    ):
        answer = running.post(body)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(message.rstrip("*"))


def test_other_routes_and_types(plain: Running) -> None:
    for kind in ("text/plain", "application/octet-stream", ""):
        headers = {"content-type": kind} if kind else {}
        answer = plain.http.post("/predict", content=b"1", headers=headers)
        assert answer.status_code == 415
        wanted = "Content-Type must be application/json or application/x-npy"
        assert answer.json() == {"error": f"{wanted}, got {kind or 'none'}"}
    answer = plain.http.get("/predict")
    assert answer.status_code == 405
    assert answer.json() == {"error": "GET /predict: Method Not Allowed"}
    answer = plain.http.get("/nothing")
    assert (answer.status_code, answer.json()) == (404, {"error": "GET /nothing: Not Found"})
    assert plain.metrics()["gru_requests_total", "404", "other"] >= 1
    assert "/nothing" not in plain.http.get("/metrics").text


def test_the_small_routes(serve: Serve) -> None:
    running = serve(steps_model(), max_steps=77)
    answer = running.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    model = running.http.get("/model").json()
    assert (model["width"], model["outputs"], model["every_step"]) == (3, 2, True)
    assert model["layers"] == ["GRU(3, 16)", "LSTM(16, 8)", "Linear(8, 2)"]
    assert model["limits"]["max_steps"] == 77
    assert model["streams"] is True
    metrics = running.http.get("/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    example = running.http.get("/example").json()
    assert running.post({"x": example["x"][:70]}).status_code == 200
    page = running.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert json.dumps(model)


def test_the_loop_is_free_while_the_engine_works(serve: Serve) -> None:
    engine = WaitingEngine(steps_model())
    running = serve(engine)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(running.predict, numbers(4, 3))
        assert engine.busy.wait(60)
        assert running.http.get("/healthz").status_code == 200
        assert not asyncio.run_coroutine_threadsafe(asyncio.sleep(0), running.loop).result(60)
        engine.go.set()
        assert answer.result().shape == (4, 2)
