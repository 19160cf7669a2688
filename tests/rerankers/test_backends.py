"""Which backend and precision come of what is asked; all backends give sentence-transformers' scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nbproxy
from nbproxy.errors import ConfigError, MissingExtra
from nbproxy.rerankers import backends
from nbproxy.rerankers.backends import Choice, Sample, choose, has_bfloat16, open_checked
from nbproxy.rerankers.loading import checked_device

from .conftest import SHAPES, sentence

needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16")


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_equals_predict(tiny, sentence_transformers, rng, texts, shape, backend):
    folder, query = tiny(shape, 1), sentence(rng, 6)
    reranker = nbproxy.CrossEncoder(folder, backend=backend)
    expected = sentence_transformers.CrossEncoder(str(folder)).predict([(query, text) for text in texts])
    np.testing.assert_allclose(reranker(query, texts), expected, atol=1e-5, rtol=0)
    assert reranker.choice.backend == backend
    assert f"{backend} float32 on cpu" in repr(reranker)
    assert reranker.fingerprint == nbproxy.CrossEncoder(folder, backend=backend).fingerprint
    assert reranker.fingerprint != nbproxy.CrossEncoder(folder).fingerprint


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_bi_encoders_have_them_too(tiny, rng, texts, backend):
    folder, query = tiny("bert", None), sentence(rng, 6)
    expected = nbproxy.BiEncoder(folder)(query, texts)
    np.testing.assert_allclose(nbproxy.BiEncoder(folder, backend=backend)(query, texts), expected, atol=1e-5, rtol=0)


@needs_bfloat16
@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_close(tiny, rng, texts, shape, backend):
    folder, query = tiny(shape, 1), sentence(rng, 6)
    reranker = nbproxy.CrossEncoder(folder, backend=backend, precision="bfloat16")
    wanted, found = nbproxy.CrossEncoder(folder).raw(query, texts), reranker.raw(query, texts)
    assert np.corrcoef(wanted, found)[0, 1] > 0.99
    assert np.ptp(wanted - found) > 0  # it is another precision
    assert reranker.fingerprint != nbproxy.CrossEncoder(folder, backend=backend).fingerprint


def test_auto_says_what_it_chose_and_why(tiny):
    reranker = nbproxy.CrossEncoder(tiny("bert", 1), backend="auto", precision="auto", device="cpu")
    assert reranker.choice.backend == "openvino"
    assert reranker.choice.precision == ("bfloat16" if has_bfloat16() else "float32")
    assert "openvino is the fastest of what is installed" in reranker.choice.why
    assert "this CPU has" in reranker.choice.why
    assert f"openvino {reranker.choice.precision} on cpu" in repr(reranker)


INSTALLED = [
    (("torch",), "float32", "torch"),
    (("torch", "onnx"), "float32", "onnx"),
    (("torch", "onnx", "openvino"), "float32", "openvino"),
]


@pytest.mark.parametrize(("installed", "precision", "backend"), INSTALLED)
def test_auto_takes_what_is_installed(monkeypatch, installed, precision, backend):
    monkeypatch.setattr(backends, "is_installed", installed.__contains__)
    assert choose("auto", precision, "cpu").backend == backend


@pytest.mark.parametrize(("backend", "extra"), [("onnx", "nbproxy[onnx]"), ("openvino", "nbproxy[openvino]")])
def test_a_missing_library_is_named_with_its_command(monkeypatch, backend, extra):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf'pip install "{extra}"'.replace("[", r"\[").replace("]", r"\]")):
        choose(backend, "float32", "cpu")


@pytest.mark.parametrize(
    ("backend", "precision", "device", "message"),
    [
        ("tensorrt", None, None, "backend must be one of torch, onnx, openvino, auto, not 'tensorrt'"),
        ("torch", "float64", None, "precision must be one of float32, bfloat16, float16, int8, auto, not 'float64'"),
        ("onnx", "bfloat16", "cpu", "backend='onnx' has no precision='bfloat16'|needs a CPU that computes with it"),
        ("torch", "int8", "cpu", "backend='torch' has no precision='int8'"),
        ("torch", "float16", "cpu", "precision='float16' is for a GPU"),
        ("openvino", None, "cuda", "device='cuda' needs backend='torch'"),
        ("torch", "int8", "cuda", "precision='int8' is for the CPU"),
    ],
)
def test_what_cannot_be_is_refused(backend, precision, device, message):
    with pytest.raises(ConfigError, match=message):
        choose(backend, precision, device)


def test_left_to_us_torch_computes_unless_it_cannot():
    assert choose(None, None, "cpu").backend == "torch"
    assert choose(None, "int8", "cpu").backend == "openvino"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"device='cuda': torch sees no CUDA device \(.*\); leave device out, or give device='cpu'"),
        ("cuda:1", r"device='cuda:1': torch sees no CUDA device"),
        ("tpu-9", "device='tpu-9' is none of torch's, such as 'cpu', 'cuda'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(monkeypatch, tiny, device, message):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for make in (
        lambda: nbproxy.CrossEncoder(tiny("bert", 1), device=device),
        lambda: nbproxy.BiEncoder(tiny("bert", None), device=device),
    ):
        with pytest.raises(ConfigError, match=message):
            make()


def test_a_gpu_beyond_those_that_are_there_is_refused(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert checked_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="device='cuda:2': torch sees 2 CUDA devices, counted from cuda:0"):
        checked_device("cuda:2")


@pytest.mark.parametrize("device", ["cpu:0", "torch"])
def test_the_cpu_by_other_names(tiny, device):
    torch = pytest.importorskip("torch")
    reranker = nbproxy.CrossEncoder(tiny("bert", 1), device=torch.device("cpu") if device == "torch" else device)
    assert str(reranker.choice) == "torch float32 on cpu"


def scaled(factor):
    """A module that adds its inputs up and multiplies the sum."""
    import torch

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor([[float(factor)]]))

        def forward(self, input_ids):
            return input_ids.to(self.factor.dtype).sum(1, keepdim=True) * self.factor

    return Scaled()


@pytest.mark.parametrize("large", [False, True])
def test_float16_gives_way_where_it_overflows(large):
    """On the CPU, which has float16, slowly: what a GPU would do."""
    import torch

    module = scaled(1e6 if large else 1.0)
    probe = {"input_ids": np.array([[1, 2], [3, 4]])}
    sample = Sample(None, probe, probe)
    asked = Choice("torch", "float16", "cpu", "half precision on a GPU", auto=True)
    choice, backend = open_checked(asked, module, sample, "key")
    assert choice.precision == ("float32" if large else "float16")
    assert ("too large for float16" in choice.why) is large
    wanted = [[3.0], [7.0]] if not large else [[3e6], [7e6]]
    assert backend.run(probe).tolist() == wanted
    if large:
        with pytest.raises(ConfigError, match="too large for float16; use precision='float32'"):
            open_checked(replace(asked, auto=False), module, sample, "key")
    assert module.factor.dtype == torch.float32 or not large


def test_a_gpu_computes_in_half_precision(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(choose("torch", None, "cuda:1")) == "torch float16 on cuda:1"
    assert str(choose("auto", "auto", "cuda")) == "torch float16 on cuda"
    assert str(choose("auto", "float32", "cuda")) == "torch float32 on cuda"


@pytest.fixture
def gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: torch.cuda.is_available() is false")


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_on_a_gpu(gpu, tiny, rng, texts, shape):
    folder, query = tiny(shape, 1), sentence(rng, 6)
    reranker = nbproxy.CrossEncoder(folder)
    assert str(reranker.choice).startswith("torch float16 on cuda")
    wanted = nbproxy.CrossEncoder(folder, device="cpu").raw(query, texts)
    assert np.corrcoef(wanted, reranker.raw(query, texts))[0, 1] > 0.99
    exact = nbproxy.CrossEncoder(folder, precision="float32").raw(query, texts)
    np.testing.assert_allclose(exact, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
def test_bi_encoders_on_a_gpu(gpu, tiny, rng, texts):
    folder, query = tiny("bert", None), sentence(rng, 6)
    reranker = nbproxy.BiEncoder(folder)
    assert str(reranker.choice).startswith("torch float16 on cuda")
    wanted = nbproxy.BiEncoder(folder, device="cpu")(query, texts)
    np.testing.assert_allclose(reranker(query, texts), wanted, atol=1e-2)


@pytest.mark.gpu
def test_a_loaded_model_stays_where_it_is(gpu, tiny, rng, texts):
    import transformers

    folder, query = tiny("bert", 1), sentence(rng, 6)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert nbproxy.as_reranker((loaded, tokenizer)).choice.device == "cpu"
    on_gpu = nbproxy.as_reranker((loaded.to("cuda"), tokenizer))
    assert (on_gpu.choice.device, on_gpu.choice.precision) == ("cuda:0", "float32")
    wanted = nbproxy.CrossEncoder(folder, device="cpu")(query, texts)
    np.testing.assert_allclose(on_gpu(query, texts), wanted, atol=1e-3)
