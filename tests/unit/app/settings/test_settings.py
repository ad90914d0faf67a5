"""Settings: one documented table, and errors that name wrong values."""

import dataclasses
import runpy
from pathlib import Path

import pytest

from app.settings import PREFIX, SETTINGS, InvalidSetting, Settings, table
from app.timeline.windows import LEAST_HOP_S

README = Path(__file__).parents[4] / "README.md"


def test_table_and_attributes_agree() -> None:
    assert [setting.name for setting in SETTINGS] == [field.name for field in dataclasses.fields(Settings)]


def test_the_environment_overrides_the_default() -> None:
    settings = Settings.from_environment({"CLIPSTACK_PORT": "9090", "CLIPSTACK_RUN_DIR": "/srv/run dir"})
    assert (settings.port, settings.run_dir) == (9090, Path("/srv/run dir"))


def test_settings_round_trip_through_an_environment() -> None:
    settings = Settings.from_environment({"CLIPSTACK_TRANSPORT": "inline", "CLIPSTACK_SLOTS": "32"})
    assert Settings.from_environment(settings.environment()) == settings


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CLIPSTACK_PORT", "0"),
        ("CLIPSTACK_PORT", "http"),
        ("CLIPSTACK_TRANSPORT", "pigeon"),
        ("CLIPSTACK_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{variable}='{text}'"):
        Settings.from_environment({variable: text})


def test_clips_that_could_never_start_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="CLIPSTACK_SLOTS"):
        Settings.from_environment({"CLIPSTACK_SLOTS": "2", "CLIPSTACK_MAX_CLIPS": "3"})


def test_queue_that_could_never_be_full_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="CLIPSTACK_WEB_THREADS"):
        Settings.from_environment({"CLIPSTACK_WEB_THREADS": "20"})


def test_the_table_shows_every_setting_with_its_value() -> None:
    shown = table(Settings.from_environment({"CLIPSTACK_PORT": "9191"}))
    assert "| `CLIPSTACK_PORT` | `9191` |" in shown
    assert all(PREFIX + setting.name.upper() in shown for setting in SETTINGS)


def test_the_command_prints_the_table_or_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLIPSTACK_PORT", "9191")
    runpy.run_module("app.settings", run_name="__main__")
    assert "| `CLIPSTACK_PORT` | `9191` |" in capsys.readouterr().out
    monkeypatch.setenv("CLIPSTACK_PORT", "none")
    with pytest.raises(SystemExit, match="CLIPSTACK_PORT='none'"):
        runpy.run_module("app.settings", run_name="__main__")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_documented(setting: object) -> None:
    documented = (README.parent / "docs" / "settings.md").read_text()
    assert f"`{PREFIX}{setting.name.upper()}`" in documented  # type: ignore[attr-defined]
    assert setting.help in documented  # type: ignore[attr-defined]


def test_default_limits_of_a_video_agree() -> None:
    settings = Settings.from_environment({})
    assert settings.max_frames >= 120 * settings.max_duration_s
    assert settings.max_windows >= settings.max_duration_s / LEAST_HOP_S
    assert settings.max_pixels >= 7680 * 4320


@pytest.mark.parametrize(
    ("cpus", "quota", "expected"),
    [(2, "max 100000", (1, 2)), (6, "max 100000", (2, 3)), (16, "150000 100000", (1, 2)), (1, "", (1, 2))],
)
def test_workers_and_decoders_follow_the_cpus(
    cpus: int, quota: str, expected: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr("app.settings.CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cpus)))
    settings = Settings.from_environment({})
    assert (settings.web_workers, settings.decoders) == expected
