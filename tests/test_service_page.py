"""The page in a real browser: it streams the example, and draws what the engine answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import gru
from browser import CHROMIUM, Tab, tab
from serving import Running, serve, settle, steps_model, token_model

__all__ = ["serve"]  # a fixture

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

Serve = Callable[..., Running]
LINE = 2  # pixels that a line and its smooth edge may be off

# The pixels around the place where the last output's value of each step must be: the last one's
# line lies on top.
PIXELS = """
(() => {
  const canvas = document.getElementById("out"), k = page.model.outputs - 1;
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return page.answers.map((row, t) => {
    const x = Math.round(page.place.across(t)), y = Math.round(page.place.up(row[k]));
    const found = [];
    for (let v = y - LINE; v <= y + LINE; v++) {
      found.push(...data.slice(4 * (v * width + x - LINE), 4 * (v * width + x + LINE + 1)));
    }
    return found;
  });
})()
""".replace("LINE", str(LINE))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Tab]:
    with tab() as found:
        yield found


@pytest.fixture
def page(chromium: Tab) -> Iterator[Tab]:
    """A window whose page complains of nothing."""
    chromium.problems.clear()
    chromium.size(1100, 900)
    yield chromium
    chromium.open("about:blank")
    assert chromium.problems == []


def stream(page: Tab, running: Running) -> np.ndarray:
    """Press the button, wait for the end, and return what came."""
    page.open(running.url)
    page.until("window.page && page.ready")
    page.run("document.getElementById('speed').value = '0'")
    page.run("document.getElementById('run').click()")
    page.until("page.done && page.drawn === page.answers.length")
    assert page.run("document.getElementById('trouble').textContent") == ""
    return np.array(json.loads(page.run("JSON.stringify(page.answers)")), np.float64)


def test_it_draws_the_engine_s_answers(page: Tab, serve: Serve) -> None:
    model = steps_model()
    running = serve(model)
    x = np.array(running.http.get("/example").json()["x"], np.float32)
    answers = stream(page, running)
    np.testing.assert_array_equal(answers.astype(np.float32), model(x[None])[0])
    assert page.run("document.getElementById('count').textContent") == str(len(x))
    line = page.run(
        "(() => { const pen = document.createElement('canvas').getContext('2d');"
        "pen.fillStyle = colour(page.model.outputs - 1); pen.fillRect(0, 0, 1, 1);"
        "return Array.from(pen.getImageData(0, 0, 1, 1).data); })()"
    )
    around = np.array(page.run(PIXELS)).reshape(len(x), -1, 4)
    nearest = np.abs(around - np.array(line)).max(axis=2).min(axis=1)
    assert nearest.max() <= 40  # of 255: each point of the curve has its colour
    settle(lambda: len(running.service.sessions) == 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_pasted(dtype: str, page: Tab, serve: Serve) -> None:
    model = steps_model(dtype)
    running = serve(model)
    page.open(running.url)
    page.until("window.page && page.ready")
    page.run(r"take('a,b,c\n1,2,3\n4; 5; 6\n\n7 8 9\n', 'mine')")
    page.run("document.getElementById('speed').value = '0'; run()")
    page.until("page.done")
    found = np.array(page.run("page.answers"), dtype)
    x = np.arange(1, 10, dtype=dtype).reshape(1, 3, 3)
    np.testing.assert_array_equal(found, model(x)[0])
    for text, message in (
        ("1,2\\n", "line 1: the model takes 3 numbers a step, this row has 2"),
        ("1,2,3\\n1,x,3", 'line 2: "x" is no number'),
        ("", "there are no rows of numbers"),
    ):
        page.run(f"take('{text}', 'mine')")
        assert page.run("document.getElementById('trouble').textContent") == message


def test_tokens(page: Tab, serve: Serve) -> None:
    model = token_model()
    running = serve(model)
    x = np.array(running.http.get("/example").json()["x"])
    answers = stream(page, running)
    steps = model.stream()
    wanted = [steps.step(x[t : t + 1])[0] for t in range(len(x))]
    np.testing.assert_array_equal(answers.astype(np.float32), wanted)


def test_a_model_that_cannot_stream_says_so(page: Tab, serve: Serve) -> None:
    running = serve(gru.Sequential([gru.GRU(3, 4, bidirectional=True, seed=0)]))
    page.open(running.url)
    page.until("window.page && page.model && document.getElementById('trouble').textContent")
    text = page.run("document.getElementById('trouble').textContent")
    assert text.startswith("This model cannot stream: a stream")
    assert page.run("document.getElementById('run').disabled")


@pytest.mark.skipif("GRU_PICTURE" not in os.environ, reason="GRU_PICTURE=MODEL draws docs/")
def test_picture(page: Tab, serve: Serve) -> None:
    """Draws the documentation's picture, with the model of examples/service/train.py."""
    running = serve(os.environ["GRU_PICTURE"])
    page.size(1100, 972, scale=1.5, dark="GRU_DARK" in os.environ)
    page.open(running.url)
    page.until("window.page && page.ready")
    page.run("document.getElementById('softmax').checked = true")
    page.run("document.getElementById('speed').value = '60'; void run()")
    page.until("page.answers.length >= 0.8 * page.x.length")
    page.run("page.running = false")
    page.until("page.done && page.drawn === page.answers.length")
    page.run("say('streaming', true); document.getElementById('run').textContent = 'Stop'")
    (Path(__file__).parent.parent / "docs" / "service.png").write_bytes(page.picture())
