"""Write the measured part of docs/fuzzing.md from bench/results/fuzz.json and fuzz_api.json.

python -m tests.nightly.fuzz.table       (`make fuzz` does)
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.stacks import CHECKOUT

RESULTS = CHECKOUT / "bench" / "results"
PAGE = CHECKOUT / "docs" / "fuzzing.md"
BEGIN, END = "<!-- written by `make fuzz`: begin -->", "<!-- end -->"


def kept(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())

    return result


def lines(files: dict[str, Any], api: dict[str, Any]) -> list[str]:
    """Return the results of both runs as Markdown."""
    machine, wrong = files["machine"], len(files["findings"]) + len(files["faults"])
    opened, all_of_them = sum(files["opened"].values()), files["sent"]
    ends = [f"{what.removeprefix('its process ')} {count} times" for what, count in files["causes"].items()]
    causes = ", ".join(ends) or "none"
    held = [
        f"{name} {amount['before']} → {amount['after']}{unit}"
        for unit, kind in ((" MB", "memory_mb"), (" files", "open_files"))
        for name, amount in files[kind].items()
    ]
    return [
        f"{machine['day']}, {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']:.0f} GiB.",
        "",
        f"**{all_of_them:,} damaged files** (seed {files['seed']}) in {files['seconds']:.0f} s, "
        f"{files['rate']:.0f} a second; {wrong} things not as promised. {opened:,} of them were still looked at or "
        f"became jobs. The longest answer took {files['slowest_s']:.1f} s. The known files were asked for "
        f"{files['known_checks']} times meanwhile.",
        "",
        "| answer | times |",
        "|---|---|",
        *(f"| `{answer}` | {count:,} |" for answer, count in files["answers"].items()),
        "",
        f"Decoder processes that died, or ran out of time or memory: {causes}. "
        f"Jobs: {', '.join(f'{count} {end}' for end, count in files['job_ends'].items())}.",
        "",
        f"What the processes hold (memory of their own, open files): {'; '.join(held)}.",
        "",
        f"**{api['requests']:,} odd requests** to {api['operations']} operations of the API (seed {api['seed']}, "
        f"{api['machine']['day']}): status {api['status']}, every answer as the description says.",
    ]


def written(page: str) -> str:
    before, rest = page.split(BEGIN)
    return "\n".join([before + BEGIN, "", *lines(kept("fuzz"), kept("fuzz_api")), "", END]) + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
