"""ONNX Runtime: one node a layer, I/O binding.

How it is called: weights are initialisers, so that it packs them when the session is made; all
graph optimisations; sequential execution; as many intra-op threads as given. Inputs and outputs are
bound beforehand, one binding an input of the rotation, so that a call is ``run_with_iobinding`` and
nothing else. A step's binding reads the state where the step before has written it. Ragged batches
pass ``sequence_lens``. ONNX Runtime's inference package cannot train.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from job import Array, Job
from workers import onnx_model
from workers.protocol import AbsentError, Task, serve


def make_session(job: Job, arrays: dict[str, Array]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    model = onnx_model.build(job, arrays)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def on_cpu(array: Array) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


class Binding:
    """The values that one input of the rotation reads and writes."""

    def __init__(self, session: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        self.binding = session.io_binding()
        self.outputs = outputs
        for name, value in inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            self.binding.bind_ortvalue_output(name, value)


class OnnxRuntime:
    """The CPU execution provider."""

    def version(self) -> str:
        return str(ort.__version__)

    def prepare(self, job: Job, arrays: dict[str, Array]) -> Task:
        if job.mode == "train":
            raise AbsentError("the inference package cannot train")
        if job.dtype != "float32":
            raise AbsentError("its recurrent operators run in float32 only")
        session = make_session(job, arrays)
        return (self.step if job.mode == "step" else self.forward)(job, arrays, session)

    def forward(self, job: Job, arrays: dict[str, Array], session: Any) -> Task:
        given = onnx_model.fixed_inputs(job, arrays)
        inputs = {name: on_cpu(array) for name, array in given.items()}
        outputs = {n: on_cpu(np.empty(s, job.dtype)) for n, s in onnx_model.outputs(job).items()}
        bindings = []
        for k in range(job.rotation):
            x = on_cpu(arrays[f"x{k}"].swapaxes(0, 1))
            bindings.append(Binding(session, {"x": x, **inputs}, outputs))

        def read() -> dict[str, Array]:
            session.run_with_iobinding(bindings[0].binding)
            return onnx_model.named_outputs(
                job, {name: value.numpy() for name, value in outputs.items()}
            )

        return Task(session.run_with_iobinding, [(b.binding,) for b in bindings], read)

    def step(self, job: Job, arrays: dict[str, Array], session: Any) -> Task:
        """The state lies in two buffers that take turns; the rotation's length is even."""
        states = [on_cpu(arrays["h0"]), on_cpu(arrays["h0"])]
        bindings = []
        for k in range(job.rotation):
            inputs = {"x": on_cpu(arrays[f"x{k}"].swapaxes(0, 1)), "h0_0": states[k % 2]}
            bindings.append(Binding(session, inputs, {"h_0": states[1 - k % 2]}))

        def read() -> dict[str, Array]:
            states[0].numpy()[...] = arrays["h0"]
            rows = []
            for b in bindings:
                session.run_with_iobinding(b.binding)
                rows.append(b.outputs["h_0"].numpy()[0].copy())
            return {"y": np.stack(rows, axis=1)}

        return Task(session.run_with_iobinding, [(b.binding,) for b in bindings], read)


if __name__ == "__main__":
    serve(OnnxRuntime())
