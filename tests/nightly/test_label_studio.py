"""The client's exports for Label Studio, checked by Label Studio's own converter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipstack_client.exchange import label_studio, media_name
from tests.support.client_environment import Environment
from tests.unit.client.test_exchange import ENTRIES

SDK = "label-studio-sdk==2.1.2"
CHECK = """
import json, sys
from pathlib import Path
from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface

folder, converted = Path(sys.argv[1]), {}
for tasks in sorted(folder.glob("*.json")):
    config = tasks.with_suffix(".xml").read_text()
    interface = LabelInterface(config)
    interface.validate()
    for task in json.loads(tasks.read_text()):
        assert all(interface.validate_annotation(item) for item in task["annotations"])
        assert all(interface.validate_prediction(item) for item in task["predictions"])
    for name in ("JSON", "JSON_MIN", "CSV"):
        out = folder / "converted" / tasks.stem / name
        Converter(config, str(folder)).convert(str(tasks), str(out), name, is_dir=False)
        assert list(out.iterdir())
    converted[tasks.stem] = json.loads((folder / "converted" / tasks.stem / "JSON_MIN" / "result.json").read_text())
    (folder / tasks.name).write_text((folder / "converted" / tasks.stem / "JSON" / "result.json").read_text())
print(json.dumps(converted))
"""


@pytest.mark.timeout(900)
def test_label_studio_converts_the_tasks(tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    (folder / "media").mkdir(parents=True)
    for entry in ENTRIES:
        (folder / "media" / media_name(entry)).write_bytes(b"content")
    label_studio.write(ENTRIES, folder, "media/")
    before = label_studio.read(folder)
    environment = Environment(tmp_path, "3.11")
    environment.install(SDK)
    done = environment.run("python", "-c", CHECK, str(folder))
    assert done.returncode == 0, done.stdout
    converted = json.loads(done.stdout.splitlines()[-1])
    (film,), (picture,) = converted["videos"], converted["pictures"]
    assert [part["timelinelabels"] for part in film["part"]] == [["pan_left"], ["zoom & <in>", "shake"]]
    assert (film["whole"], picture["whole"]) == ("static", "cat")
    assert label_studio.read(folder) == before, "what its JSON converter wrote says the same"
