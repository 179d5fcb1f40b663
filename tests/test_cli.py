"""Training, predicting and inspecting from the command line: what is written and said."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import gru
from commands import COLUMNS, FAST, Run, files, waves, write
from gru.__main__ import main
from gru.recipe import recipe
from gru.scaling import Scaler


def shuffled(rows: list[list[object]]) -> list[list[object]]:
    order = np.random.default_rng(1).permutation(len(rows) - 1)
    return [rows[0], *(rows[1 + i] for i in order)]


# Train and predict


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (True, ()),
        (True, ("--cell", "lstm", "--layers", "2", "--bidirectional", "--dropout", "0.1")),
        (True, ("--cell", "rnn", "--pool", "mean", "--class-weight", "balanced")),
        (False, ()),
    ],
)
def test_predict_repeats_the_evaluation_to_the_bit(
    text: bool, options: tuple[str, ...], command: Run
) -> None:
    rows = shuffled(waves(text=text))
    write("a.csv", rows)
    trained = json.loads(command("train", "a.csv", *COLUMNS, "--out", "m", *FAST, *options).out)
    assert trained["task"] == ("classification" if text else "regression")
    assert trained["per"] == ("id" if text else "row")
    assert trained["ids"] == {"train": 24, "validation": 0, "holdout": 6}
    predicted = command("predict", "m", "a.csv", "--quiet").rows
    truth = [str(row[5]) for row in rows[1:]]
    if text:
        truth = list({row[0]: str(row[5]) for row in rows[1:]}.values())
    held = np.array([row["wave"] in trained["holdout_ids"] for row in predicted])
    assert len(predicted) == len(truth) == (30 if text else len(rows) - 1)
    for part, chosen in (("train", ~held), ("holdout", held)):
        pairs = [
            pair for pair, c in zip(zip(predicted, truth, strict=True), chosen, strict=True) if c
        ]
        found = trained[part]
        assert found["count"] == len(pairs)
        if text:
            assert found["accuracy"] == np.mean([row["prediction"] == y for row, y in pairs])
            given = np.array([float(row[f"probability_{y}"]) for row, y in pairs])
            assert found["cross_entropy"] == pytest.approx(-np.log(given).mean(), rel=1e-12)
            assert np.sum(found["confusion"]) == len(pairs)
        else:
            error = np.array([float(row["prediction"]) - float(y) for row, y in pairs])
            assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-12)
            assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-12)
    once_more = json.loads(command("train", "a.csv", *COLUMNS, "--out", "n", *FAST, *options).out)
    once_more["seconds"] = trained["seconds"] = 0
    once_more["history"]["seconds"] = trained["history"]["seconds"] = 0
    assert once_more == trained
    assert command("predict", "n", "a.csv", "--quiet").rows == predicted


def test_it_is_what_the_library_does_by_hand(command: Run) -> None:
    rows = waves()
    full = [row for row in rows if row[2] != ""]
    write("a.csv", full)
    options = ("--features", "x,y", "--holdout", "0", "--seed", "3")
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST, *options)
    ids = list(dict.fromkeys(row[0] for row in full[1:]))
    X = [np.array([row[2:4] for row in full[1:] if row[0] == name], float) for name in ids]
    y = np.array([int(name[1:]) % 2 == 0 for name in map(str, ids)], int)  # fast 0, slow 1
    scaler = Scaler.of(X)
    X = scaler.scale(X)
    model = recipe(2, 2, hidden_size=8, seed=3)
    gru.fit(model, X, y, optimizer=gru.Adam(3e-3), epochs=3, seed=3, verbose=False)
    logits = model.predict(X).astype(float)
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = command("predict", "m", "a.csv", "--quiet").rows
    assert [row["wave"] for row in found] == ids
    given = [[float(row["probability_fast"]), float(row["probability_slow"])] for row in found]
    np.testing.assert_allclose(given, wanted, rtol=1e-5)


def test_patience_looks_at_ids_that_are_for_nothing_else(command: Run) -> None:
    write("a.csv", waves())
    options = ("--epochs", "200", "--lr", "0.03", "--hidden", "16")
    plain = json.loads(command("train", "a.csv", *COLUMNS, "--out", "m", *FAST).out)
    done = command("train", "a.csv", *COLUMNS, "--out", "m", *options, "--patience", "3")
    found = json.loads(done.out)
    losses = found["history"]["val_loss"]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 3
    said = [line.removeprefix("gru train: ") for line in done.err.splitlines()]
    assert said[4:7] == [
        "30 ids of 6 to 14 rows: 19 to learn from, 5 for validation, 6 held out",
        "model: GRU(4, 16), Last(), Linear(16, 2); 1,090 parameters",
        f"stopped after {best + 3} epochs, the best was {best}",
    ]
    assert said[8].startswith("validation: accuracy ")
    assert said[8].endswith("; it steered the training")
    assert found["ids"] == {"train": 19, "validation": 5, "holdout": 6}
    assert found["validation"]["cross_entropy"] == pytest.approx(min(losses), rel=1e-5)
    assert found["history_validated_on"] == "validation"
    assert plain["history_validated_on"] == "holdout"
    assert found["holdout_ids"] == plain["holdout_ids"]
    assert not {*found["validation_ids"]} & {*found["holdout_ids"]}


@pytest.mark.parametrize("given", [("--patience", "1"), ("--schedule", "plateau:patience=0")])
def test_what_is_held_out_changes_nothing_but_its_score(
    given: tuple[str, ...], command: Run
) -> None:
    rows = waves(text=False)
    write("a.csv", rows)
    first = command("train", "a.csv", *COLUMNS, "--out", "m", "--epochs", "9", *given, "--quiet")
    held = {*json.loads(first.out)["holdout_ids"]}
    wrong = [[*row[:5], 1000 - row[5]] if row[0] in held else row for row in rows]
    write("a.csv", wrong)
    other = command("train", "a.csv", *COLUMNS, "--out", "n", "--epochs", "9", *given, "--quiet")
    assert {*json.loads(other.out)["holdout_ids"]} == held
    assert Path("m").read_bytes() == Path("n").read_bytes()
    assert json.loads(first.out)["holdout"] != json.loads(other.out)["holdout"]


def test_it_learns_and_says_what_it_did(command: Run) -> None:
    write("a.csv", waves(ids=60))
    done = command("train", "a.csv", *COLUMNS, "--out", "m", "--epochs", "25", "--lr", "0.01")
    assert json.loads(done.out)["holdout"]["accuracy"] >= 0.9
    said = done.err.splitlines()
    assert all(line.startswith("gru train: ") for line in said)
    lines = [line.removeprefix("gru train: ") for line in said]
    assert lines[0] == "target 'label': classification, one per id, 2 classes: 'fast', 'slow'"
    assert lines[1] == "column 'site' is categorical: 2 categories, 'north', 'south'"
    assert lines[2].startswith("column 'x': ")
    assert lines[3] == "features: 'x', 'y', 'site'; 4 inputs a step"
    assert lines[4] == "60 ids of 6 to 14 rows: 48 to learn from, 12 held out"
    assert lines[5] == "model: GRU(4, 64), Last(), Linear(64, 2); 13,570 parameters"
    assert lines[6].startswith("training: accuracy ")
    assert lines[7].startswith("held out: accuracy ")
    assert lines[8:] == ["wrote m"]
    new = command("predict", "m", write("b.csv", waves(seed=1)))
    assert "column 'label' is there: accuracy " in new.err


def test_the_order_of_rows_and_columns_does_not_matter(command: Run) -> None:
    rows = waves(text=False)
    write("a.csv", rows)
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    plain = command("predict", "m", "a.csv", "--quiet").rows
    order = np.random.default_rng(0).permutation(len(rows) - 1)
    mixed = [rows[0], *(rows[1 + i] for i in order)]
    write("b.csv", [[*reversed(row[:5])] for row in mixed])  # the target is not needed
    shuffled = command("predict", "m", "b.csv", "--quiet", "--out", "p.csv")
    assert shuffled.out == ""
    with open("p.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [plain[i] for i in order]


def test_stdin_is_a_file(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.csv", waves())
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    wanted = command("predict", "m", "a.csv").out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("a.csv").read_bytes())))
    assert command("predict", "m", "-", "--out", "-").out == wanted


def test_columns_with_odd_names(command: Run) -> None:
    rows = [list(row) for row in waves()]
    rows[0] = ["prediction", 'a "t"', "x,1", "größe", "si\nte", "label"]
    write("a.csv", rows)
    chosen = ("--id", "prediction", "--time", 'a "t"', "--target", "label")
    command("train", "a.csv", *chosen, "--features", '"x,1",größe', "--out", "m", *FAST)
    found = command("predict", "m", "a.csv", "--quiet")
    assert found.out.splitlines()[0] == "prediction,prediction_,probability_fast,probability_slow"


def test_blanks_around_names_of_columns_do_not_count(command: Run) -> None:
    write("a.csv", [[f" {cell} " for cell in row] for row in waves()])
    chosen = ("--id", " wave", "--time", "t ", "--target", " label ", "--features", " x, y")
    command("train", "a.csv", *chosen, "--out", "m", *FAST)
    assert len(command("predict", "m", "a.csv", "--quiet").rows) == 30


def test_metrics_of_new_data(command: Run) -> None:
    write("a.csv", waves())
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    new = waves(seed=2)
    write("b.csv", new)
    found = command("predict", "m", "b.csv", "--metrics", "s.json").rows
    scores = json.loads(Path("s.json").read_text())
    truth = {str(row[0]): row[5] for row in new[1:]}
    right = [row["prediction"] == truth[row["wave"]] for row in found]
    assert scores["accuracy"] == np.mean(right)
    for row in new[1:]:
        row[5] = "NA"
    write("c.csv", new)
    assert (command("predict", "m", "c.csv").err.count("label"), found) == (0, found)
    new[-1][5] = "odd"
    write("d.csv", new)
    done = command("predict", "m", "d.csv")
    assert done.rows == found
    assert done.err.splitlines()[-1] == (
        f"gru predict: not scored: d.csv, line {len(new)}, column 'label': 'odd' is no class of "
        f"the model: 'fast', 'slow'"
    )


def test_rows_without_a_target_are_predicted_and_not_scored(command: Run) -> None:
    rows = shuffled(waves(text=False))
    write("a.csv", rows)
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    for row in rows[1::2]:
        row[5] = ""
    write("b.csv", rows)
    found = command("predict", "m", "b.csv", "--metrics", "s.json").rows
    assert len(found) == len(rows) - 1
    pairs = zip(found, rows[1:], strict=True)
    error = [float(answer["prediction"]) - row[5] for answer, row in pairs if row[5] != ""]
    scores = json.loads(Path("s.json").read_text())
    assert scores["count"] == len(error) == (len(rows) - 1) // 2
    assert scores["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-12)


# Inspect


def test_inspect(command: Run) -> None:
    write("a.csv", waves(text=False))
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    found = json.loads(command("inspect", "m", "--json", "--batch", "4", "--steps", "9").out)
    assert found["bytes"] == os.path.getsize("m")
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"]) == 345
    assert [layer["layer"] for layer in found["layers"]] == ["GRU(4, 8)", "Linear(8, 1)"]
    assert found["layers"][0]["shapes"]["weight_ih_l0"] == [24, 4]
    assert found["self_check"] == "passed"
    assert [(plan["training"], plan["batch"]) for plan in found["plan"]] == [(False, 4), (True, 4)]
    assert found["table"]["features"]["categories"] == {"site": ["north", "south"]}
    assert found["table"]["target"]["task"] == "regression"
    text = command("inspect", "m").out
    for part in (
        "345 parameters",
        "self-check: passed",
        "GRU(4, 8)",
        "plan for 32 sequences of 100",
    ):
        assert part in text
    assert "  target  'label': regression, one per row; mean " in text
    assert "  text    'site': 2 categories: 'north', 'south'" in text


def test_inspect_of_any_model(command: Run) -> None:
    model = gru.Sequential([gru.Embedding(5, 3, seed=0), gru.Mean()])
    model.metadata["note"] = "mine"
    model.save("m")
    assert "note: mine" in command("inspect", "m").out
    found = json.loads(command("inspect", "m", "--json").out)
    assert (found["table"], found["plan"], found["metadata"]) == (None, [], {"note": "mine"})


# The report


@pytest.mark.parametrize("text", [True, False])
def test_a_report(text: bool, command: Run) -> None:
    pytest.importorskip("matplotlib")
    write("a.csv", waves(text=text))
    command("train", "a.csv", *COLUMNS, "--out", "m", "--report", "r.png", *FAST)
    assert Path("r.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    command("train", "a.csv", *COLUMNS, "--out", "m", "--report", "q.png", "--holdout", "0", *FAST)
    assert Path("q.png").stat().st_size > 10_000


def test_no_matplotlib_is_said_before_training(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write("a.csv", waves())
    done = command("train", "a.csv", *COLUMNS, "--out", "m", "--report", "r.png", *FAST, code=2)
    assert done.err.startswith("gru train: error: --report: ")
    assert "gru-engine[plot]" in done.err
    assert done.err.count("\n") == 1
    assert files() == {"a.csv"}


def test_the_commands_of_the_readme(command: Run) -> None:
    pytest.importorskip("matplotlib")
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## From a CSV file\n(.*?)^## ", readme, re.M | re.S)
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    write("data.csv", [["patient", *row[1:]] if i == 0 else row for i, row in enumerate(waves())])
    write(
        "new.csv", [["patient", *row[1:5]] if i == 0 else row[:5] for i, row in enumerate(waves(1))]
    )
    months = [[f"{2018 + i // 12}-{i % 12 + 1:02d}", 9 + i % 12 + i / 12] for i in range(72)]
    write("sales.csv", [["month", "y"], *months])
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "gru"
        command(*arguments)
    assert [line.split()[1] for line in lines] == [
        "train",
        "predict",
        "forecast",
        "inspect",
        "train",
    ]
    assert "no run in run yet" not in command(*shlex.split(lines[-1])[1:]).err
    made = {"model.safetensors", "report.png", "predictions.csv", "run", "run.csv"}
    assert files() == {"data.csv", "new.csv", "sales.csv"} | made


@pytest.mark.parametrize("name", ["train", "predict", "forecast", "inspect", "demo"])
def test_help_is_whole(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: gru {name} ")
    assert max(map(len, text.splitlines())) <= 100


def test_the_script_is_this_module() -> None:
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    (target,) = re.findall(r'^gru = "([\w.]+):main"$', project, re.M)
    assert import_module(target).main is main


def test_only_one_command_is_imported() -> None:
    program = (
        "import sys; from gru.__main__ import main\n"
        "try: main(['inspect', '--help'])\n"
        "except SystemExit: print([n for n in sys.modules if n.startswith('gru.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    assert "gru.cli.inspect" in loaded
    assert "gru.cli.train" not in loaded
    assert "gru.cli.forecast" not in loaded
