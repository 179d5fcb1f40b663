"""OpenVINO's CPU plugin, on the ONNX model that ONNX Runtime reads too.

How it is called: compiled for latency, one stream, threads as given, float32 (not a lower
precision); the plugin folds the model's transposes away. Tensors are set beforehand. A call is the
faster of two ways: one infer request for each input of the rotation, or one request whose input
tensor is changed, both with shared outputs. A step's request reads the state where the step before
has written it. Ragged batches pass the lengths. OpenVINO does not train.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import openvino as ov

from job import Array, Job
from workers import onnx_model
from workers.protocol import AbsentError, Task, fastest, serve


def compile_model(core: Any, job: Job, arrays: dict[str, Array]) -> Any:
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return core.compile_model(core.read_model(onnx_model.build(job, arrays)), "CPU", settings)


def tensor(array: Array) -> Any:
    return ov.Tensor(np.ascontiguousarray(array))


def make_request(compiled: Any, tensors: dict[str, Any]) -> Any:
    request = compiled.create_infer_request()
    for name, value in tensors.items():
        request.set_tensor(name, value)
    return request


class OpenVino:
    """The CPU plugin."""

    def __init__(self) -> None:
        self.core = ov.Core()

    def version(self) -> str:
        return str(ov.__version__)

    def prepare(self, job: Job, arrays: dict[str, Array]) -> Task:
        if job.mode == "train":
            raise AbsentError("does not train")
        if job.dtype != "float32":
            raise AbsentError("its CPU plugin computes in float32 at most")
        compiled = compile_model(self.core, job, arrays)
        if job.mode == "step":
            return self.step(job, arrays, compiled)
        return fastest(self.ways(job, arrays, compiled))

    def ways(self, job: Job, arrays: dict[str, Array], compiled: Any) -> list[Task]:
        given = onnx_model.fixed_inputs(job, arrays)
        inputs = {name: tensor(array) for name, array in given.items()}
        outputs = {n: tensor(np.empty(s, job.dtype)) for n, s in onnx_model.outputs(job).items()}
        xs = [tensor(arrays[f"x{k}"].swapaxes(0, 1)) for k in range(job.rotation)]
        many = [make_request(compiled, {"x": x, **inputs, **outputs}) for x in xs]
        one = make_request(compiled, {"x": xs[0], **inputs})

        def run_one_of_many(request: Any) -> None:
            request.infer(share_outputs=True)

        def run_one(x: Any) -> None:
            one.set_tensor("x", x)
            one.infer(share_outputs=True)

        def read(run: Any, request: Any) -> dict[str, Array]:
            run()
            values = {name: request.get_tensor(name).data for name in outputs}
            return onnx_model.named_outputs(job, values)

        first = partial(read, partial(run_one_of_many, many[0]), many[0])
        other = partial(read, partial(run_one, xs[0]), one)
        return [
            Task(run_one_of_many, [(request,) for request in many], first, "many requests"),
            Task(run_one, [(x,) for x in xs], other, "one request"),
        ]

    def step(self, job: Job, arrays: dict[str, Array], compiled: Any) -> Task:
        """The state lies in two buffers that take turns; the rotation's length is even."""
        states = [tensor(arrays["h0"].copy()), tensor(arrays["h0"].copy())]
        requests = []
        for k in range(job.rotation):
            x = tensor(arrays[f"x{k}"].swapaxes(0, 1))
            tensors = {"x": x, "h0_0": states[k % 2], "h_0": states[1 - k % 2]}
            requests.append(make_request(compiled, tensors))

        def run(request: Any) -> None:
            request.infer(share_outputs=True)

        def read() -> dict[str, Array]:
            states[0].data[...] = arrays["h0"]
            rows = []
            for request in requests:
                run(request)
                rows.append(request.get_tensor("h_0").data[0].copy())
            return {"y": np.stack(rows, axis=1)}

        return Task(run, [(request,) for request in requests], read)


if __name__ == "__main__":
    serve(OpenVino())
