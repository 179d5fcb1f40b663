"""Single figures as text: times, ratios, verdicts; knows no table."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

NONE = "-"  # a cell with nothing to say
MARKS = {"absent": NONE, "failed": "failed", "died": "died", "disagrees": "DISAGREES"}


def microseconds(seconds: float) -> str:
    value = seconds * 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def timing(quartiles: dict[str, float]) -> str:
    """Return a median and half the distance of the quartiles, as a part of it."""
    spread = (quartiles["q3"] - quartiles["q1"]) / 2 / quartiles["median"]
    return f"{microseconds(quartiles['median'])} ±{spread:.0%}"


def system_time(row: Row, name: str) -> str:
    """Return one system's time, or why there is none."""
    system = row["systems"].get(name, {"status": "absent"})
    if system["status"] == "ok" and "seconds" in system:
        return timing(system["seconds"])
    return MARKS.get(system["status"], NONE)


def best_ratio(row: Row) -> str:
    ratio = row["ratio"]
    if not ratio:
        return NONE
    return f"{ratio['median']:.2f} [{ratio['q1']:.2f}, {ratio['q3']:.2f}] {row['best']}"


def verdict(met: bool | None) -> str:
    return "not measured" if met is None else "met" if met else "MISSED"


def asked(target: Row) -> str:
    bound = f"{target['bound']:g}"
    if target["against"] in ("seconds", "call"):
        bound = number(target, target["bound"])
    return f"{'at most ' * target['most']}{bound} asked: {verdict(target['met'])}"


def judgement(target: Row, twin: str = "") -> str:
    """Return one target in words."""
    names = {
        "limit": "time / limit",
        "gflops": "GFLOP/s",
        "twin": f"time / {twin}",
        "seconds": "a call",
        "call": "above the same from C++",
    }
    words = names.get(target["against"], target["against"])
    value = "" if target["value"] is None else f" {number(target, target['value'])}"
    return f"{words}{value}, {asked(target)}"


def number(target: Row, value: float) -> str:
    """Return a target's figure or bound: seconds as microseconds, all others as they are."""
    if target["against"] in ("seconds", "call"):
        return f"{microseconds(value)} µs"
    return f"{value:.2f}"


def remarks(row: Row) -> str:
    """Return the ratio to the best peer, the targets, and how a row compares with its twin."""
    words, twin = [best_ratio(row)], row.get("twin", {})
    targets = {target["against"]: target for target in row.get("targets", [])}
    for against, target in targets.items():
        if against == "best":
            words[0] += f", {asked(target)}"
        else:
            words.append(judgement(target, twin.get("name", "")))
    if twin and "twin" not in targets:
        words.append(f"time / {twin['name']} {twin['median']:.2f}")
    return "; ".join(words)


def kib(size: int) -> str:
    return f"{size / 1024:,.0f}"
