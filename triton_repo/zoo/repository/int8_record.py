"""Record of an int8 version's accuracy and speed, kept in the version as `int8.json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from triton_repo.backends.clip.clip_engines.accuracy import LEAST_TOP_1, Agreement, Bound, is_close
from triton_repo.zoo import ModelError

FILE = "int8.json"
BOUND = Bound(largest=0.1, mean=0.02)
WORTH_IT = 1.05  # times faster than the fastest other precision; less may be chance


@dataclass(frozen=True)
class Int8Record:
    """Accuracy of a version in int8 against f32, and its speed on the machine that quantized it.

    Attributes:
        agreement: The comparison, on clips that the calibration did not see.
        calibration: Number of clips that the version was calibrated on.
        clips_per_s: Median throughput by precision.
    """

    agreement: Agreement
    calibration: int
    clips_per_s: Mapping[str, float]

    @property
    def is_close(self) -> bool:
        """Return whether scores and labels are within the bounds of `verify`; near-ties alone prove nothing."""
        return is_close(self.agreement, BOUND) and self.agreement.ties < self.agreement.clips

    @property
    def is_faster(self) -> bool:
        """Return whether int8 is clearly faster than every other precision of this CPU."""
        others = [rate for precision, rate in self.clips_per_s.items() if precision != "int8"]
        return self.clips_per_s["int8"] >= WORTH_IT * max(others)

    @property
    def speed(self) -> str:
        """Describe the speed: `int8 60.1, bf16 32.5 and f32 18.2 clips/s`."""
        *most, last = (f"{name} {rate:.3g}" for name, rate in reversed([*self.clips_per_s.items()]))
        return f"{', '.join(most)} and {last} clips/s"

    @property
    def accuracy(self) -> str:
        """Describe the accuracy in one line."""
        clips, ties, largest, mean, _, top_1 = self.agreement
        return (
            f"differs by {largest:.1e} at most and {mean:.1e} on average, "
            f"same best label for {top_1:.1%} of {clips - ties} clips"
        )

    def require_worth(self, name: str) -> None:
        """Raise ModelError, with the reason, if int8 should not serve the model."""
        if not self.is_close:
            raise ModelError(
                f"int8 changes the scores of {name} too much: it {self.accuracy}; allowed are {BOUND.largest:g} at "
                f"most, {BOUND.mean:g} on average and {LEAST_TOP_1:.0%}. Nothing was installed. Give more files like "
                "those that the service gets, or install it all the same with --force."
            )
        if not self.is_faster:
            raise ModelError(
                f"int8 is not worth it for {name} on this CPU: {self.speed}. Nothing was installed; --force installs "
                "it all the same."
            )

    def write(self, version: Path) -> None:
        """Write the record into the version's folder."""
        content = asdict(self) | {"agreement": self.agreement._asdict(), "clips_per_s": dict(self.clips_per_s)}
        (version / FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_int8_record(version: Path) -> Int8Record | None:
    """Return the record of the version in this folder; None if it is missing or damaged."""
    try:
        values = json.loads((version / FILE).read_text(encoding="utf-8"))
        agreement = Agreement(**{name: values["agreement"][name] for name in Agreement._fields})
        rates = {str(name): float(rate) for name, rate in values["clips_per_s"].items()}
        rates["int8"]
        return Int8Record(agreement, int(values["calibration"]), rates)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
