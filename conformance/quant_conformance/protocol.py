"""The protocol a backend implements to be judged: one class, and of its methods what it has.

A backend is the thin file between the suite and a real system. It converts numpy arrays to
whatever the system takes, calls the system, and converts the answer back. It must not repair
answers: what the system says is what is judged.

Rules that the runner relies on:

* A method that a backend leaves out is ``unsupported``; so is a case for which the method raises
  ``NotImplementedError`` (its text becomes the reason) or for which ``supports`` gives a reason.
* The system under test is imported when the backend is constructed, or later, never when the
  backend's module is imported. A missing package (``requires``, or an ``ImportError`` from the
  constructor) makes the backend ``unavailable`` with its ``pip`` line.
* Inputs are fresh, contiguous, native-endian copies; to write into them is reported as wrong.
* Answers are numpy arrays of exactly the documented shape and dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata, util
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

if TYPE_CHECKING:
    from quant_reference import QParams, QuantizationSpec
    from quant_reference.admissible import FloatLayer, Layer
    from quant_reference.batch_norm import BatchNorm
    from quant_reference.block import BlockForm, BlockTensor
    from quant_reference.integer import IntegerLayer, Requantization
    from quant_reference.lifecycle import Lifecycle, Trace
    from quant_vectors import Case

Array = NDArray[Any]

QUANTIZERS = ("quant_torch", "coreai_opt")
"""Packages whose ``quantization`` has the Quantizer that prepares a model; the first by default."""


class Backend:
    """Base class of every judged system; override what the system offers.

    Arrays named ``x`` are float32, float16 or ``ml_dtypes.bfloat16``. Codes are int8 for signed
    integer formats, uint8 for unsigned ones, and uint8 bit codes for float formats (float4 in the
    low nibble). ``fmt`` is a canonical format name such as ``"float8_e4m3fn"`` or ``"int4"``.

    Attributes:
        name: what reports call the backend.
        requires: distribution names of the packages that it needs, e.g. ``("onnxruntime",)``.
            ``"dist=module"`` gives the import name where it differs from the distribution's.
        pip: the line that installs them; by default ``pip install`` and ``requires``.
        isolated: run in a child process with a time limit per case, because the system can
            crash or hang.
        patience: the time limit per case is multiplied by this; more than 1 for systems that
            compile a model before they answer.
        checks_input: whether bad arguments are the system's to refuse. A bare kernel leaves that to
            its caller: it is not asked what must be refused, which is ``unsupported``.
            (``validate_spec`` and ``default_axis`` exist to refuse; they are always held to it.)
        policies: choices that the system documents, policy name to choice; the report sets them
            beside the choices it observed.
    """

    name: str = ""
    requires: ClassVar[tuple[str, ...]] = ()
    pip: ClassVar[str] = ""
    isolated: ClassVar[bool] = False
    patience: ClassVar[float] = 1.0
    checks_input: ClassVar[bool] = True
    policies: ClassVar[Mapping[str, str]] = {}

    def versions(self) -> dict[str, str]:
        """Returns package name to installed version, of ``requires`` by default."""
        return {dist: metadata.version(dist) for dist, _ in required_packages(type(self))}

    def supports(self, case: Case) -> str | None:
        """Returns why this case cannot be asked of the system (a text), or None if it can."""
        return None

    def selects(self, case: Case, tier: str) -> bool:
        """Returns whether the case belongs to ``tier`` ("quick" or "full") for this backend.

        For systems where one case costs seconds; a case left out gets no verdict at all.
        """
        return True

    def prepare(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        """Is told, before they are asked one by one, which cases and inputs will come.

        For systems that answer many cases at once much faster than one at a time; to leave it
        out, or to raise, changes no verdict.
        """

    def encode(self, x: Array, fmt: str) -> Array:
        """Encodes ``x`` into codes of the same shape: one rounding, ties to even."""
        raise NotImplementedError

    def decode(self, codes: Array, fmt: str) -> Array:
        """Decodes codes into the float32 values of the same shape."""
        raise NotImplementedError

    def pack(self, codes: Array, fmt: str, order: str) -> Array:
        """Packs sub-byte codes into 1-D uint8, ``order`` being "low_first" or "high_first"."""
        raise NotImplementedError

    def unpack(self, packed: Array, fmt: str, order: str, count: int) -> Array:
        """Unpacks 1-D uint8 into the first ``count`` codes, 1-D."""
        raise NotImplementedError

    def value_range(self, x: Array, spec: QuantizationSpec, target: str) -> tuple[Array, Array]:
        """Returns (lo, hi), one entry per block, for target "weight" or "activation"."""
        raise NotImplementedError

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        """Returns the quantization parameters of ``x``, arrays of x's rank, one entry per block.

        ``scale`` is required, ``zero_point`` too under the formulation "zp" and ``minval`` under
        "minval"; a further field is judged only if it is given.
        """
        raise NotImplementedError

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """Quantizes ``x`` into codes of the same shape."""
        raise NotImplementedError

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """Dequantizes codes into float32 of the same shape."""
        raise NotImplementedError

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """Quantizes and dequantizes ``x``; the result has x's shape and dtype."""
        raise NotImplementedError

    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """Returns dL/dx of fake_quantize for dL/dx' = ``grad``, in x's dtype."""
        raise NotImplementedError

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        """Returns the qparams after the last batch.

        Args:
            batches: the tensors in the order in which the observer sees them.
            spec: the quantization spec.
            target: "weight" or "activation".
            kind: "static", "moving_average", "global_minmax" or "dynamic".
            averaging_constant: weight of the new batch in a moving average.
        """
        raise NotImplementedError

    def default_axis(self, module_kind: str, granularity: Any) -> int:
        """Returns the axis for a granularity without one, e.g. of a "ConvTranspose2d" weight.

        Args:
            module_kind: a torch module class name.
            granularity: a ``quant_reference`` granularity whose axis is None.
        """
        raise NotImplementedError

    def fold_batch_norm(
        self, weight: Array, bias: Array | None, norm: BatchNorm, transposed: bool, groups: int
    ) -> tuple[Array, Array]:
        """Folds a batch norm into the layer before it (BN-1, BN-2).

        Args:
            weight: of the layer, (outputs, inputs, ...), or of a transposed convolution.
            bias: of the layer, or None.
            norm: running statistics, eps, gamma and beta, one entry per output channel.
            transposed: whether the layer is a transposed convolution.
            groups: of a transposed convolution.

        Returns:
            (weight, bias) of the layer that needs no batch norm, in weight's dtype.
        """
        raise NotImplementedError

    def lifecycle(self, life: Lifecycle) -> Trace:
        """Takes a linear layer from prepare to finalize and says what was seen (LIFE-1 to LIFE-7).

        Args:
            life: the layer, what it is called with, its specs and the events in their order.

        Returns:
            A ``quant_reference.lifecycle.Trace``.
        """
        raise NotImplementedError

    def placement(self, model_id: str, mode: str) -> Sequence[tuple[str, Any, str, str]]:
        """Returns which tensors of a model are quantized, in the order of computation (PLACE-12).

        Args:
            model_id: a key of ``quant_conformance.models.MODELS``; ``build`` there gives the model.
            mode: "graph" or "eager".

        Returns:
            For each quantized tensor (name, spec, target, group): the spec as a mapping, target
            "weight" or "activation", and the name of the first tensor that shares its qparams.
        """
        raise NotImplementedError

    def export_weights(
        self, x: Array, spec: QuantizationSpec, module_kind: str
    ) -> tuple[Array, QParams]:
        """Returns what the file of an exported model holds for one quantized weight.

        The weight is quantized with the qparams of its own values, and the model saved and read
        back. A container may hold codes in a narrower type or count them from another origin; they
        are returned as ``quantize`` gives them.

        Args:
            x: the weight.
            spec: its spec; an axis of None is the default of the module (GRAN-7).
            module_kind: class of the torch module that has the weight, e.g. "Conv2d".

        Returns:
            (codes, qparams), the latter as ``qparams`` gives them.
        """
        raise NotImplementedError

    def export_model(
        self, model: str, config: str, mode: str, cast_16bit: bool
    ) -> str | tuple[str, str]:
        """Exports a model of the zoo to a file that ``quant_conformance.gate`` can open.

        ``quant_conformance.models.zoo.prepare`` says how the model is prepared. The file is judged
        tensor by tensor beside the prepared model, so it must stay until the backend is gone.

        Args:
            model: a key of ``quant_conformance.models.zoo.MODELS``.
            config: a key of ``quant_conformance.models.zoo.CONFIGS``.
            mode: "graph" or "eager".
            cast_16bit: whether the exported program computes in 16 bits.

        Returns:
            Path of the ``.aimodel`` or ``.mlpackage``; or (path, package) where the Quantizer of
            another of ``QUANTIZERS`` than the first prepared the model.
        """
        raise NotImplementedError

    def layer(self, layer: Layer) -> Array:
        """Computes a quantized layer; its codes are held to what correct arithmetic can give.

        Args:
            layer: steps, operands (codes with their qparams, float32 or int32 arrays), and how the
                result is quantized. ``layer.values()`` gives the operands dequantized.

        Returns:
            The codes of the last step's result, quantized by ``layer.output_spec``.
        """
        raise NotImplementedError

    def float_layer(self, layer: FloatLayer) -> Array:
        """Computes a layer whose result is not quantized.

        Args:
            layer: steps and operands, as for ``layer``.

        Returns:
            The last step's result, in the dtype of ``layer.arithmetic.values``.
        """
        raise NotImplementedError

    def requantize(self, acc: Array, params: Requantization) -> Array:
        """Turns accumulators into codes, by whatever rule the system has (INT-5 to INT-8).

        Args:
            acc: int32 accumulators, or int64 ones of int16 activations.
            params: scales, zero point, format and bounds of the codes. ``weight_scale`` has one
                entry, or one for each channel along ``axis``; ``least`` and ``greatest`` are the
                bounds with the format's filled in.

        Returns:
            Codes in the shape of ``acc``, in the dtype ``params.format.dtype``.
        """
        raise NotImplementedError

    def integer_layer(self, layer: IntegerLayer) -> Array:
        """Computes a layer on integers, requantized by whatever rule the system has (INT-9).

        Args:
            layer: the operation, its operands (codes with scale and zero point), an int32 bias,
                attributes as torch names them, and what the result is requantized to.

        Returns:
            The codes of the result, in the storage of ``layer.output_dtype``.
        """
        raise NotImplementedError

    def block_scale(self, x: Array, form: BlockForm, tensor_amax: Array | None) -> Array:
        """Chooses the scales of a tensor's blocks, by whatever rule the system has (BLK-3, BLK-4).

        Args:
            x: the tensor.
            form: name, size, axis and tail of the blocks; its formats are in ``form.element`` and
                ``form.scale``.
            tensor_amax: float32 greatest magnitude of the whole tensor, for NVFP4, from which the
                system forms the scale of the tensor as it does; else None.

        Returns:
            uint8 codes of the scale format, one for each block.
        """
        raise NotImplementedError

    def block_quantize(
        self, x: Array, scales: Array, form: BlockForm, tensor_amax: Array | None
    ) -> Array:
        """Encodes the elements of blocks whose scales are given (BLK-5).

        Args:
            x: the tensor.
            scales: uint8 codes of the scale format.
            form: as for :meth:`block_scale`.
            tensor_amax: as for :meth:`block_scale`.

        Returns:
            Codes of the elements, one in each byte.
        """
        raise NotImplementedError

    def block_dequantize(
        self, codes: Array, scales: Array, form: BlockForm, tensor_amax: Array | None
    ) -> Array:
        """Decodes a block-scaled tensor to float32 (BLK-6).

        Args:
            codes: codes of the elements, one in each byte.
            scales: uint8 codes of the scale format.
            form: as for :meth:`block_scale`.
            tensor_amax: as for :meth:`block_scale`.
        """
        raise NotImplementedError

    def block_dot(self, a: BlockTensor, b: BlockTensor) -> Array:
        """Sums the products of two block-scaled vectors, as float32 of rank 0 (BLK-8)."""
        raise NotImplementedError

    def scale_layout(self, scales: Array) -> Array:
        """Puts a matrix of scales in the order of tiles of 128 by 4, as a row of bytes (BLK-7)."""
        raise NotImplementedError

    def model_output(self, inputs: Sequence[Array], output: int) -> Array:
        """Runs the whole model that a set was recorded from.

        Args:
            inputs: the model's inputs in their order, in its own dtypes.
            output: number of the output that is asked for.

        Returns:
            That output, in the model's dtype (integers as int32).
        """
        raise NotImplementedError

    def validate_spec(self, mapping: Mapping[str, Any]) -> None:
        """Returns if ``mapping`` describes a legal spec, raises (a ValueError, say) if not."""
        raise NotImplementedError


def implements(backend: Backend, method: str) -> bool:
    """Tells whether ``backend`` has its own ``method`` and not only the base class's stub."""
    own = getattr(type(backend), method, None)
    return method in vars(backend) or own is not getattr(Backend, method, None)


def required_packages(backend: type[Backend]) -> list[tuple[str, str]]:
    """Splits ``requires`` into (distribution, import name) pairs."""
    pairs = (entry.partition("=") for entry in backend.requires)
    return [(dist, module or dist.replace("-", "_")) for dist, _, module in pairs]


def pip_line(backend: type[Backend]) -> str:
    """Returns the line that installs what the backend needs."""
    return backend.pip or "pip install " + " ".join(d for d, _ in required_packages(backend))


def missing_packages(backend: type[Backend]) -> list[str]:
    """Returns the distributions among ``requires`` whose module cannot be found."""
    return [dist for dist, module in required_packages(backend) if not _findable(module)]


def _findable(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package of a dotted name is missing
        return False
