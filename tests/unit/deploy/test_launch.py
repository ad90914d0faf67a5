from app.settings import Settings
from deploy.stack import launch
from deploy.stack.run_dir import nginx_values


def test_web_removes_only_leftovers_of_killed_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # launching changes the folder
    for name in ("uploads", "web/tmp/pymp-abc"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("body-abc", "0000000001"):
        (tmp_path / "uploads" / name).touch()

    launch.web(Settings.from_environment({"CLIPSTACK_RUN_DIR": str(tmp_path)}))

    assert [path.name for path in (tmp_path / "uploads").iterdir()] == ["0000000001"]
    assert list((tmp_path / "web" / "tmp").iterdir()) == []


def test_nginx_waits_longer_than_all_stages_may_take(tmp_path):
    settings = Settings.from_environment({})
    admission = slots = settings.queue_timeout_s
    probe = decode = settings.decode_timeout_s

    waits_s = int(nginx_values(settings, tmp_path)["CLIPSTACK_ANSWER_TIMEOUT_S"])

    assert waits_s > admission + probe + slots + decode + settings.infer_timeout_s


def test_a_program_mentions_the_flags_that_it_knows(tmp_path):
    (tmp_path / "server").write_bytes(b"\x7fELF\0\xff--allow-client-shm\0")

    assert launch.mentions(tmp_path / "server", "allow-client-shm")
    assert not launch.mentions(tmp_path / "server", "allow-sagemaker")
