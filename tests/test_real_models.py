"""Real models and other systems' conformance cases: recorded outputs come out again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import as_state, as_tuple, make_layer
from foreign import from_keras, from_onnx, spec_of
from reference import Array, Arrays, Spec

DATA = Path(__file__).parent / "data"
BESIDE = Path(__file__).parents[2] / "shared" / "realdata"
REALDATA = Path(os.environ.get("GRU_REALDATA", BESIDE))


def run_engine(
    spec: Spec, params: Mapping[str, Array], x: Array, state: Arrays | None
) -> tuple[Array, Arrays]:
    y, final = make_layer(spec, params)(x, as_state(state))
    return y, as_tuple(final)


RUNS = {"engine": run_engine, "reference": reference.run}
EVERY_RUN = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def real(name: str) -> Path:
    path = REALDATA / name
    if not path.exists():
        pytest.skip(f"{path} does not exist; GRU_REALDATA names the folder")
    return path


def arrays(path: Path, prefix: str = "") -> dict[str, Array]:
    with np.load(path) as file:
        return {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}


# --- ONNX conformance cases -----------------------------------------------------------------------

NODE_TESTS = arrays(DATA / "onnx_rnn_node_tests.npz")
NODES: dict[str, Any] = json.loads(str(NODE_TESTS["meta_json"]))
PEEPHOLES = "test_lstm_with_peepholes"


def test_the_node_tests_are_all_here() -> None:
    assert len(NODES) == 12


def test_the_only_node_we_do_not_have_is_the_one_with_peepholes() -> None:
    """An input P is an LSTM with peepholes, a cell that this project leaves out."""
    assert [name for name, node in NODES.items() if "P" in node["inputs"]] == [PEEPHOLES]


@EVERY_RUN
@pytest.mark.parametrize("name", [name for name in NODES if name != PEEPHOLES])
def test_onnx_node(name: str, run: Any) -> None:
    node = NODES[name]
    values = {k.removeprefix(name + "/"): v for k, v in NODE_TESTS.items() if k.startswith(name)}
    assert set(node["inputs"]) <= {"X", "W", "R", "B"}
    assert set(node["attrs"]) <= {"hidden_size", "layout"}  # linear_before_reset: 0, reset before
    cell = node["op"].lower()
    params = from_onnx(cell, values["W"], values["R"], values.get("B"))
    batch_first = node["attrs"].get("layout", 0) == 1
    x = values["X"] if batch_first else values["X"].swapaxes(0, 1)
    y, state = run(spec_of(cell, params, reset_after=False), params, x, None)
    wanted = values["Y_h"] if batch_first else values["Y_h"].swapaxes(0, 1)
    np.testing.assert_allclose(state[0], wanted, rtol=0, atol=1e-6)
    if "Y" in values:
        assert batch_first
        np.testing.assert_allclose(y[:, :, None], values["Y"], rtol=0, atol=1e-6)


# --- Keras: the gait phase from a hip sensor ------------------------------------------------------


@EVERY_RUN
def test_gait_gru(run: Any) -> None:
    d = arrays(DATA / "gait_gru.npz")
    params = from_keras(d["kernel"], d["recurrent_kernel"], d["bias"])
    y, _ = run(spec_of("gru", params), params, d["x"], None)
    assert y.shape == (3, 200, 16)
    np.testing.assert_allclose(y, d["y"], rtol=0, atol=5e-6)


def test_gait_keras_file() -> None:
    """The whole model holds convolutions; its GRU is read out of the file that Keras wrote."""
    path = real("keras/ao_2026_03_26_22_54_0.0713.keras")
    found = gru.load_keras_layers(path)
    assert list(found) == ["gru"]
    d = arrays(path.with_suffix(".npz"))
    y, _ = found["gru"](d["gru_in"])
    assert y.shape == (128, 200, 16)
    np.testing.assert_allclose(y, d["gru_out"], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"layer 'conv1d' \(Conv1D\): it is none of the layers"):
        gru.load_keras(path)


# --- NSNet2 and Silero VAD: speech through nodes of an ONNX file ----------------------------------


def node_of(path: Path, prefix: str, cell: str) -> tuple[dict[str, Array], Array, Arrays, Any]:
    d = arrays(path, prefix)
    params = from_onnx(cell, d["W"], d["R"], d["B"])
    states = [d[name].swapaxes(0, 1) for name in ("initial_h", "initial_c") if name in d]
    return params, d["X"].swapaxes(0, 1), tuple(states), d


@EVERY_RUN
@pytest.mark.parametrize("node", ["node0/", "node1/"])
def test_nsnet2(node: str, run: Any) -> None:
    params, x, state, d = node_of(real("onnx/nsnet2_16k.npz"), node, "gru")
    y, final = run(spec_of("gru", params), params, x, state)
    assert y.shape == (1, 1079, 400)
    np.testing.assert_allclose(y, d["Y"][:, 0].swapaxes(0, 1), rtol=0, atol=2e-5)
    np.testing.assert_allclose(final[0], d["Y_h"].swapaxes(0, 1), rtol=0, atol=2e-5)


@EVERY_RUN
def test_silero_lstm(run: Any) -> None:
    path = real("onnx/silero_vad_16k_sequence_lstm.npz")
    params, x, state, d = node_of(path, "node0/", "lstm")
    y, (h, c) = run(spec_of("lstm", params), params, x, state)
    assert y.shape == (1, 337, 128)
    np.testing.assert_allclose(y, d["Y"][:, 0].swapaxes(0, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(h, d["Y_h"].swapaxes(0, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(c, d["Y_c"].swapaxes(0, 1), rtol=1e-5, atol=1e-5)  # c grows to 41


# --- g2p_en: words to phonemes, a GRU encoder and a greedy GRU decoder ----------------------------

GRAPHEMES = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
PHONEMES = """\
<pad> <unk> <s> </s> AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2
AY0 AY1 AY2 B CH D DH EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M
N NG OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH""".split()  # noqa: SIM905
START, END, LONGEST = PHONEMES.index("<s>"), PHONEMES.index("</s>"), 20


def safetensors(path: Path) -> dict[str, Array]:
    """The float32 tensors of a file: eight bytes of length, a JSON header, then the numbers."""
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, about in json.loads(content[8:begin]).items():
        if name != "__metadata__":
            assert about["dtype"] == "F32"
            values = content[slice(*(begin + at for at in about["data_offsets"]))]
            tensors[name] = np.frombuffer(values, "<f4").reshape(about["shape"])
    return tensors


class G2P:
    """The network as g2p_en runs it, for all words at once; ``run`` runs its two GRUs."""

    def __init__(self, run: Any) -> None:
        self.weights = safetensors(real("g2p_en/g2p_en_weights.safetensors"))
        self.run = run

    def gru(self, side: str, x: Array, state: Array, valid: Array) -> tuple[Array, Array]:
        ends = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
        params = {name + "_l0": self.weights[f"{side}_{end}"] for name, end in ends.items()}
        return self.run(Spec("gru", 256, 256), params, x, state, valid)  # type: ignore[no-any-return]

    def encode(self, words: list[str]) -> tuple[Array, Array, Array]:
        """States after each letter and after the word, and which steps are there."""
        lengths = np.array([len(word) + 1 for word in words])
        letters = np.zeros((len(words), lengths.max()), int)
        for row, word in zip(letters, words, strict=True):
            row[: len(word) + 1] = [*(GRAPHEMES.index(c) for c in word), GRAPHEMES.index("</s>")]
        valid = np.arange(lengths.max()) < lengths[:, None]
        zeros = np.zeros((len(words), 1, 256), np.float32)
        y, state = self.gru("enc", self.weights["enc_emb"][letters], zeros, valid)
        return y, state, valid

    def decode(self, state: Array) -> tuple[list[str], Array]:
        """Phonemes of every word, and the logits (B, steps, 74)."""
        count = len(state)
        heard = np.full(count, START)
        open_ = np.ones((count, 1), bool)
        spoken: list[list[str]] = [[] for _ in range(count)]
        logits = []
        for _ in range(LONGEST):
            x = self.weights["dec_emb"][heard][:, None]
            _, state = self.gru("dec", x, state, open_)
            logits.append(state[:, 0] @ self.weights["fc_w"].T + self.weights["fc_b"])
            heard = logits[-1].argmax(axis=1)
            open_[heard == END] = False
            for b in np.flatnonzero(open_):
                spoken[b].append(PHONEMES[heard[b]])
            if not open_.any():
                break
        return [" ".join(p) for p in spoken], np.stack(logits, axis=1)


ENDS = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
G2P_NAMES = {
    f"{side}_{end}": f"{side}.{name}" for side in ("enc", "dec") for end, name in ENDS.items()
}
G2P_NAMES |= {"enc_emb": "enc_emb.weight", "dec_emb": "dec_emb.weight"}
G2P_NAMES |= {"fc_w": "fc.weight", "fc_b": "fc.bias"}


def g2p_opened() -> tuple[gru.Sequential, gru.Sequential]:
    """Both halves straight from the file, which has names of its own."""
    path = real("g2p_en/g2p_en_weights.safetensors")
    encoder = gru.load_torch(path, ["enc_emb", "enc"], rename=G2P_NAMES, leave="dec")
    return encoder, gru.load_torch(path, ["dec_emb", "dec", "fc"], rename=G2P_NAMES, leave="enc")


def g2p_from_arrays() -> tuple[gru.Sequential, gru.Sequential]:
    """Both halves from matrices, as the package's own NumPy code has them."""
    w = safetensors(real("g2p_en/g2p_en_weights.safetensors"))
    halves = []
    for side in ("enc", "dec"):
        cell = gru.from_arrays(
            W=w[f"{side}_w_ih"],
            U=w[f"{side}_w_hh"],
            b=w[f"{side}_b_ih"],
            c=w[f"{side}_b_hh"],
            order="reset update new",
            reset_after=True,
            update_gate="keep",
        )
        state = {"weight": w[f"{side}_emb"]}
        halves.append([gru.from_torch(state, ("", gru.Embedding)), cell])
    halves[1].append(gru.from_torch({"weight": w["fc_w"], "bias": w["fc_b"]}, ""))
    return gru.Sequential(halves[0]), gru.Sequential(halves[1])


@pytest.mark.parametrize("opened", [g2p_opened, g2p_from_arrays])
def test_g2p_opened(opened: Any) -> None:
    """All words through both halves: a single wrong gate would change the strings."""
    lines = real("g2p_en/phonemes_2000words.tsv").read_text().splitlines()
    words = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    encoder, decoder = opened()
    letters = [
        np.array([*(GRAPHEMES.index(c) for c in word), GRAPHEMES.index("</s>")]) for word in words
    ]
    lengths = [len(word) for word in letters]
    padded = np.zeros((len(words), max(lengths)), int)
    for row, word in zip(padded, letters, strict=True):
        row[: len(word)] = word
    _, state = encoder.carry(padded, lengths=lengths)
    heard = np.full((len(words), 1), START)
    spoken = []
    for _ in range(LONGEST):
        logits, state = decoder.carry(heard, state)
        heard = logits[:, -1].argmax(axis=-1)[:, None]
        spoken.append(heard[:, 0])
    for row, wanted in zip(np.stack(spoken, axis=1), words.values(), strict=True):
        end = row.tolist().index(END) if END in row else LONGEST
        assert " ".join(PHONEMES[p] for p in row[:end]) == wanted


def g2p_engine(
    spec: Spec, params: Mapping[str, Array], x: Array, state: Array, valid: Array
) -> tuple[Array, Array]:
    y, final = make_layer(spec, params)(x, state, mask=valid)
    return y, final


def g2p_reference(
    spec: Spec, params: Mapping[str, Array], x: Array, state: Array, valid: Array
) -> tuple[Array, Array]:
    y, (final,) = reference.run(spec, params, x, (state,), valid)
    return y, final


G2P_RUNS = {"engine": g2p_engine, "reference": g2p_reference}
EVERY_G2P = pytest.mark.parametrize("run", G2P_RUNS.values(), ids=G2P_RUNS)


@EVERY_G2P
def test_g2p_strings(run: Any) -> None:
    lines = real("g2p_en/phonemes_2000words.tsv").read_text().splitlines()
    words = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    assert len(words) == 1836
    net = G2P(run)
    _, state, _ = net.encode(list(words))
    spoken, _ = net.decode(state)
    wrong = [w for w, p in zip(words, spoken, strict=True) if words[w] != p]
    assert not wrong, f"{len(wrong)} of {len(words)} differ, first {wrong[:5]}"


@EVERY_G2P
def test_g2p_numbers(run: Any) -> None:
    d = arrays(real("g2p_en/numeric_32words.npz"))
    words = [name.removeprefix("enc/") for name in d if name.startswith("enc/")]
    assert len(words) == 30
    net = G2P(run)
    y, state, valid = net.encode(words)
    _, logits = net.decode(state)
    for b, word in enumerate(words):
        np.testing.assert_allclose(y[b, valid[b]], d["enc/" + word], rtol=0, atol=1e-5)
        wanted = d["dec_logits/" + word]
        np.testing.assert_allclose(logits[b, : len(wanted)], wanted, rtol=0, atol=2e-5)


def test_g2p_by_streaming() -> None:
    """Letter by letter and phoneme by phoneme: the same strings as all words at once."""
    lines = real("g2p_en/phonemes_2000words.tsv").read_text().splitlines()[:100]
    net = G2P(g2p_engine)
    weights = net.weights
    streams = {}
    for side in ("enc", "dec"):
        names = ("w_ih", "w_hh", "b_ih", "b_hh")
        own = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        params = {k: weights[f"{side}_{n}"] for k, n in zip(own, names, strict=True)}
        streams[side] = make_layer(Spec("gru", 256, 256), params).stream()
    for line in lines:
        word, wanted, _ = line.split("\t")
        streams["enc"].reset()
        for letter in [*word, "</s>"]:
            streams["enc"].step(weights["enc_emb"][[GRAPHEMES.index(letter)]])
        streams["dec"].state = streams["enc"].state
        heard, spoken = START, []
        for _ in range(LONGEST):
            h = streams["dec"].step(weights["dec_emb"][[heard]])
            heard = int((h @ weights["fc_w"].T + weights["fc_b"]).argmax())
            if heard == END:
                break
            spoken.append(PHONEMES[heard])
        assert " ".join(spoken) == wanted, word
