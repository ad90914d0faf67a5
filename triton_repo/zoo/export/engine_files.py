"""Export of the files that engines load beside `model.xml`, from the model's source, for one precision.

torch         a torch.export program; one file for all precisions
onnxruntime   the same as ONNX, with weights and arithmetic in the precision; for a model from ONNX: that file
              between the nodes that take uint8 and return probabilities
tensorrt      a plan that TensorRT builds from the ONNX file, for the GPU of this machine
"""

import tempfile
import warnings
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from triton_repo.backends.clip.clip_engines import EngineError, engine_class
from triton_repo.zoo import ModelError
from triton_repo.zoo.export.reference import OnnxFile
from triton_repo.zoo.spec import MAX_BATCH, NetworkSpec, ServedNetwork

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
MadeOf = NetworkSpec | OnnxFile


def make(engine: str, precision: str, made_of: MadeOf, version: Path) -> Path:
    """Write the file that `engine` loads for `precision` into `version` and return its path.

    Raises:
        ModelError: The file cannot be made.
    """
    path = version / engine_class(engine).file(precision)
    writers = {"torch": _torch, "onnxruntime": _onnx, "tensorrt": _tensorrt}
    with tempfile.TemporaryDirectory(prefix=".making-", dir=version) as making, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' warnings do not concern the user
        temporary = Path(making, path.name)
        try:
            writers[engine](made_of, precision, temporary)
        except (ModelError, EngineError):
            raise
        except ImportError as error:
            raise ModelError(
                f"a package that writes it is not installed: {error} (the extra `engines` has it)"
            ) from error
        except Exception as error:  # the exporters raise errors of any type
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise ModelError(f"the network could not be exported: {reason[0][:300]}") from error
        temporary.replace(path)
    return path


def program(served: NetworkSpec, dtype: torch.dtype = torch.float32) -> ExportedProgram:
    """Return the served network as a program: uint8 (B, frames, crop, crop, 3) -> float32 (B, classes), for any B."""
    spec = served.spec
    example = torch.zeros(2, spec.frames, spec.crop, spec.crop, 3, dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(
            ServedNetwork(served, dtype).eval(), (example,), dynamic_shapes=({0: Dim("batch", min=1)},)
        )


def _torch(made_of: MadeOf, precision: str, path: Path) -> None:
    if isinstance(made_of, OnnxFile):
        raise ModelError("torch does not run models that came from ONNX")
    torch.export.save(program(made_of), path)


def _onnx(made_of: MadeOf, precision: str, path: Path) -> None:
    if isinstance(made_of, OnnxFile):
        if precision != "f32":
            raise ModelError("a model that came from ONNX has the precision of its file")
        from triton_repo.zoo.export.onnx_wrap import write_served

        write_served(made_of, path)
        return
    exported = torch.onnx.export(
        program(made_of, DTYPES[precision]),
        input_names=["CLIP"],
        output_names=["SCORES"],
        dynamo=True,
        verbose=False,
    )
    assert exported is not None
    exported.save(path)


def _tensorrt(made_of: MadeOf, precision: str, path: Path) -> None:
    from triton_repo.zoo.export.tensorrt import build_plan

    onnx = path.with_name("model.onnx")
    _onnx(made_of, precision, onnx)
    build_plan(onnx, path, MAX_BATCH)
