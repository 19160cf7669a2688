"""OpenVINO: the module through its own PyTorch front-end, compiled for the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ConfigError
from .backends import Inputs, Rows, has_bfloat16, missing, names_of
from .loading import libraries

GROUP = 128  # numbers that share a scale in int8


class OpenVinoBackend:
    """Float32, bfloat16 or int8 on the CPU.

    :raises ConfigError: OpenVINO cannot convert the module.
    :raises MissingExtra: openvino is not installed.
    """

    def __init__(self, module: Any, sample: Mapping[str, Any], precision: str) -> None:
        torch, _ = libraries()
        module, hint = _narrow(module, precision)
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": hint,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if precision == "int8" else 0,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # the kernel, and the proxy's loop, have these cores too
        }
        self._compiled = library().Core().compile_model(convert(module, sample), "CPU", settings)
        self._request, self._names = self._compiled.create_infer_request(), names_of(sample)

    def run(self, inputs: Inputs) -> Rows:
        rows = self._request.infer([inputs[name] for name in self._names])[0]
        return np.array(rows, dtype=np.float32)  # a copy: the request writes over its own


def _narrow(module: Any, precision: str) -> tuple[Any, str]:
    """What is compiled, and the precision of what it leaves open.

    A lean module says itself what is in bfloat16. The hint would make all of it so: OpenVINO has no way to keep single
    sums out of it.
    """
    from .modules import Lean, narrowed

    lean = isinstance(module, Lean)
    if precision == "bfloat16" and lean and (own := narrowed(module)):
        return own, "f32"
    return module, "bf16" if precision != "float32" and has_bfloat16() and not lean else "f32"


def library() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise missing("openvino", str(error)) from error
    return openvino


def convert(module: Any, sample: Mapping[str, Any]) -> Any:
    """The module as OpenVINO's graph, for any number of rows and tokens.

    By the PyTorch front-end itself: ``openvino.convert_model`` around it reports each conversion to its makers.

    :raises ConfigError: OpenVINO cannot.
    """
    openvino = library()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    torch, _ = libraries()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # notes on tracing, none of them about what the user did
            # A copy of the weights: OpenVINO keeps no hold of bfloat16 ones that it shares, and reads them when first
            # used, which may be after torch has let them go.
            decoder = TorchScriptPythonDecoder(
                module, example_input={name: sample[name] for name in names_of(sample)}, shared_memory=False
            )
            reader = FrontEndManager().load_by_framework("pytorch")
            graph = reader.convert(reader.load(decoder))
    except Exception as error:  # whatever tracing and conversion raise
        raise ConfigError(f"OpenVINO cannot convert this model: {type(error).__name__}: {error}") from error
    for each in graph.inputs:
        each.get_node().set_element_type(openvino.Type.i64)
        each.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    graph.validate_nodes_and_infer_types()
    return graph
