"""Whether memory grows: ten million steps of a stream, a hundred thousand requests to a service.

    python bench/soak.py                    # a minute or two
    python bench/soak.py --steps 1000000 --requests 10000

Prints the resident pages before and after, and ends with code 1 where they grew.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import gru

CLIENTS = 4
WARM_UP_STEPS = 200_000
WARM_UP = 10_000  # requests of each of the rounds before it is looked at;
ROUNDS = 3  # the clients connect anew for each
PAGE = os.sysconf("SC_PAGE_SIZE") // 1024  # KiB


def resident_pages(pid: int) -> Counter[str]:
    """Return the pages of each mapping, counted one by one.

    What `statm` says may be dozens off: each core adds up its own share for a while.
    """
    pages: Counter[str] = Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else "no file"
        elif words[0] == "Rss:":
            pages[name] += int(words[1]) // PAGE
    return pages


def report(what: str, before: Counter[str], after: Counter[str]) -> int:
    grown = after.total() - before.total()
    where = "".join(f"\n  {name}: +{pages}" for name, pages in (after - before).items())
    counts = f"{before.total()} pages of {PAGE} KiB before, {after.total()} after"
    print(f"{what}: {counts}: {grown:+d}{where}", flush=True)
    return grown


def stream_steps(count: int) -> int:
    """Steps with `out=`; now and then a block, a fork, a kept state, sessions that come and go."""
    model = gru.Sequential([gru.GRU(8, 16, num_layers=2, seed=0), gru.Linear(16, 4, seed=1)])
    model.freeze()
    rng = np.random.default_rng(0)
    x, out = rng.normal(size=(1, 16, 8)).astype(np.float32), np.empty((1, 4), np.float32)
    rows = [np.ascontiguousarray(x[:, t]) for t in range(16)]
    stream, pool = model.stream(), gru.StreamPool(model, 100)

    def work(steps: int) -> None:
        step, ids = stream.step, []
        for i in range(steps // 1000):
            for t in range(1000):
                step(rows[t & 15], out)
            stream.run(x)
            stream.state = stream.fork().state
            ids.append(pool.open())
            pool.step(ids, np.repeat(rows[i & 15], len(ids), axis=0))
            if len(ids) == 50:
                pool.close(ids.pop(0))
        for id in ids:
            pool.close(id)

    done, told = os.pipe()
    wait, go = os.pipe()
    child = os.fork()  # which is looked at from here: to look takes memory as well
    if not child:
        try:
            for steps in (WARM_UP_STEPS, WARM_UP_STEPS, count):
                work(steps)
                os.write(told, b".")
                os.read(wait, 1)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(told)
    pages = []
    while os.read(done, 1):  # nothing more comes from one that has ended
        pages.append(resident_pages(child))
        os.write(go, b".")
    _, status = os.waitpid(child, 0)
    if status or len(pages) != 3:
        raise SystemExit(f"the steps ended with status {status}")
    return report(f"{count:,} steps of a stream", *pages[1:])  # the first pause is warm-up, too


def ask(port: int, count: int, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(count):
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"the service answered {answer.status}: {answer.read()!r}")
        answer.read()
    connection.close()


def requests(count: int) -> int:
    """Asks a service in a process of its own from a few threads, and looks at its memory alone."""
    with tempfile.TemporaryDirectory() as folder:
        model = gru.Sequential([gru.GRU(8, 32, seed=0), gru.Last(), gru.Linear(32, 4, seed=1)])
        model.save(Path(folder) / "model.safetensors")
        command = [sys.executable, "-m", "gru", "serve", "model.safetensors", "--port", "0"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                port = int(re.findall(r":(\d+)", server.stdout.readline())[-1])
                x = np.random.default_rng(0).normal(size=(10, 8)).round(3).tolist()
                body = json.dumps({"x": x}).encode()

                def work(total: int) -> None:
                    with ThreadPoolExecutor(CLIENTS) as clients:
                        shares = [total // CLIENTS] * CLIENTS
                        list(clients.map(lambda share: ask(port, share, body), shares))

                for _ in range(ROUNDS):
                    work(WARM_UP)
                before = resident_pages(server.pid)
                work(count)
                after = resident_pages(server.pid)
            finally:
                server.terminate()
    return report(f"{count:,} requests to a service", before, after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    grown = [stream_steps(options.steps)] if options.steps else []
    if options.requests:
        grown.append(requests(options.requests))
    sys.exit(any(pages > 0 for pages in grown))


if __name__ == "__main__":
    main()
