"""Tables and lists that `clipstack-models` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from triton_repo.zoo.names import PUBLISHED
from triton_repo.zoo.repository.store import InstalledModel

if TYPE_CHECKING:
    from triton_repo.backends.clip.clip_engines.precision import PrecisionRecord

MAX_LABELS = 12


def clip_summary(parameters: dict[str, str]) -> str:
    """Describe the clip in words: `16 frames in 2.5 s, 256 × 256`."""
    size = f"{parameters['crop']} × {parameters['crop']}"
    if parameters["kind"] == "image":
        return f"picture, {size}"
    seconds = (int(parameters["frames"]) - 1) * int(parameters["stride"]) / float(parameters["fps"])
    return f"{parameters['frames']} frames in {seconds:.1f} s, {size}"


def models_table(models: Sequence[InstalledModel], default: str, for_pictures: str) -> RenderableType:
    """Return a table of the installed models; the default models are marked."""
    notes = {for_pictures: "  default for pictures", default: "  default"}
    table = Table("model", "version", "network", "input", "labels", box=None, pad_edge=False, header_style="dim")
    for model in models:
        name = Text.assemble((model.name, "bold"), (notes.get(model.name, ""), "green"))
        parameters, versions = model.parameters, ", ".join(map(str, model.versions)) or "none"
        network, labels = parameters.get("architecture", ""), str(len(model.labels))
        table.add_row(name, versions, network, clip_summary(parameters), labels)
    return table


def available_line(models: Sequence[InstalledModel]) -> Text:
    """Return a line with the published models that are not installed."""
    rest = [name for name in PUBLISHED if name not in {model.name for model in models}]
    return Text(f"can be added: {', '.join(rest)}" if rest else "", style="dim")


def installed_facts(model: InstalledModel) -> dict[str, Any]:
    """Return the properties of an installed model that `show` prints."""
    from triton_repo.backends.clip.clip_engines.precision import read_record
    from triton_repo.zoo.repository.int8_record import read_int8_record
    from triton_repo.zoo.repository.sources import read_source

    parameters = model.parameters
    about = {name: parameters[name] for name in ("title", "description") if name in parameters}
    facts = about | {
        "versions": _versions(model),
        "network": parameters.get("architecture", ""),
        "input": clip_summary(parameters),
        "frame": _frame(parameters),
        "engine": f"{parameters.get('engine', 'openvino')}, {parameters.get('precision', 'f32')}",
        "labels": labels_line(model.labels),
        "scores": _scores(parameters),
        "folder": model.folder,
    }
    if model.versions and (source := read_source(model.served)):
        facts |= {"source": source.weights, "sha256": source.sha256}
    if model.versions and (record := read_record(model.served)):
        facts["bf16"] = _bf16_summary(record)
    if model.versions and (int8 := read_int8_record(model.served)):
        facts["int8"] = f"{int8.accuracy}; {int8.speed}, calibrated on {int8.calibration} clips"
    return facts


def _bf16_summary(record: PrecisionRecord) -> str:
    """Return the record of a version's accuracy in bf16 against f32 in one line."""
    clips, ties, largest, mean, _, top_1 = record.agreement
    verdict = "close to f32" if record.allows_bf16 else "too far from f32"
    return (
        f"{verdict} ({'measured' if record.is_native else 'emulated'}): differs by {largest:.1e} at most and "
        f"{mean:.1e} on average, same best label for {top_1:.1%} of {clips - ties} clips"
    )


def _scores(parameters: dict[str, str]) -> str:
    temperature = f", temperature {parameters['temperature']}" if "temperature" in parameters else ""
    thresholds = ", a threshold for each label" if parameters.get("thresholds") else ""
    return f"{parameters.get('scores', 'softmax')}{temperature}{thresholds}"


def _frame(parameters: dict[str, str]) -> str:
    return f"short side scaled to {parameters['resize']}, centre {parameters['crop']} × {parameters['crop']} used"


def _versions(model: InstalledModel) -> str:
    if not model.versions:
        return "none: run `make setup`"
    served = [str(version) for version in model.side_by_side]
    which = f"{' and '.join(served)} {'is' if len(served) == 1 else 'are'} served"
    return f"{', '.join(map(str, model.versions))} ({which})"


def published_facts(name: str) -> dict[str, Any]:
    """Return the properties of a published network that `show` prints."""
    from triton_repo.zoo.architectures.catalog import published

    network = published(name)
    spec = network.spec
    parameters = {key: str(value) for key, value in vars(spec).items()}
    return {
        "versions": f"none: run `clipstack-models add {name}`",
        "input": clip_summary(parameters),
        "frame": _frame(parameters),
        "labels": labels_line(network.labels),
        "url": network.url,
    }


def facts_lines(facts: dict[str, Any]) -> Text:
    """Return one line for each fact."""
    column = max(map(len, facts)) + 2
    return Text("\n").join(Text.assemble((name.ljust(column), "dim"), str(value)) for name, value in facts.items())


def labels_line(labels: Sequence[str]) -> str:
    """Return the number of labels and the first MAX_LABELS of them."""
    rest = len(labels) - MAX_LABELS
    return f"{len(labels)}: {', '.join(labels[:MAX_LABELS])}" + (f" and {rest} more" if rest > 0 else "")
