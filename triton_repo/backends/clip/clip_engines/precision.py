"""Choice of the precision of a model whose configuration says `precision: auto`.

Each version of such a model has a record of its accuracy in bf16 against f32, `precision.json` beside its weights.
OpenVINO calculates in bf16 if the CPU has bf16 instructions and the record allows it, else in f32. The other engines
calculate in f32.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .accuracy import BF16_BOUND, Agreement, compare_scores, is_close, random_clips
from .interface import Engine

AUTO = "auto"
FILE = "precision.json"
CHECK_CLIPS, CHECK_SEED = 8, 1


@dataclass(frozen=True)
class PrecisionRecord:
    """Accuracy of a model version in bf16 against f32.

    Attributes:
        agreement: The comparison.
        is_native: Whether bf16 instructions of a CPU calculated the scores; otherwise their rounding was emulated.
    """

    agreement: Agreement
    is_native: bool

    @property
    def allows_bf16(self) -> bool:
        """Return whether scores and labels are close enough; near-ties alone prove nothing."""
        return is_close(self.agreement, BF16_BOUND) and self.agreement.ties < self.agreement.clips

    def write(self, version: Path) -> None:
        """Write the record into the version's folder, atomically."""
        temporary = version / f".{FILE}"
        content = {"bf16": self.agreement._asdict() | {"native": self.is_native, "allowed": self.allows_bf16}}
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(version / FILE)


def read_record(version: Path) -> PrecisionRecord | None:
    """Return the record of the version in this folder; None if it is missing or damaged."""
    try:
        values = json.loads((version / FILE).read_text(encoding="utf-8"))["bf16"]
        agreement = Agreement(**{name: values[name] for name in Agreement._fields})
        return PrecisionRecord(agreement, bool(values["native"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def automatic_precision(engine: str, precisions: Sequence[str], version: Path) -> str:
    """Return the precision that `auto` stands for.

    Args:
        engine: Name of the engine.
        precisions: Precisions that the engine supports on this machine.
        version: Folder of the version, with its record.
    """
    record = read_record(version) if engine == "openvino" and "bf16" in precisions else None
    return "bf16" if record and record.allows_bf16 else "f32"


def agree(engine: Engine, reference: Engine, is_independent: bool = False) -> bool:
    """Return whether `engine`, in bf16, is as close to `reference`, in f32, as a record must be.

    `is_independent` says that the scores are those of sigmoids.
    """
    clips = random_clips(engine.clip_shape, CHECK_CLIPS, CHECK_SEED)
    scores, expected = (np.concatenate([one.infer(clip) for clip in clips]) for one in (engine, reference))
    return is_close(compare_scores(scores, expected, is_independent), BF16_BOUND)
