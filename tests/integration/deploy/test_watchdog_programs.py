"""The watchdog restarts programs that Supervisor has given up."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deploy.stack.supervisor import SupervisorClient
from deploy.watchdog.metrics import WatchdogMetrics
from deploy.watchdog.prober import ModelProber
from deploy.watchdog.watchdog import Watchdog
from tests.support.stacks import until

CONFIG = """
[supervisord]
nodaemon=false
logfile={folder}/log
pidfile={folder}/pid
[unix_http_server]
file={folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:weak]
command=/bin/sh -c "test -e {folder}/cured && exec sleep 600"
startsecs=1
startretries=0
autorestart=true
stdout_logfile=NONE
stderr_logfile=NONE
[program:unwanted]
command=/bin/sleep 600
autostart=false
stdout_logfile=NONE
stderr_logfile=NONE
"""


def test_fatal_program_is_restarted_and_stopped_one_is_not(tmp_path: Path) -> None:
    config = tmp_path / "supervisord.conf"
    config.write_text(CONFIG.format(folder=tmp_path))
    supervisor = SupervisorClient(Path(sys.executable), config, tmp_path)
    supervisor.launch(os.environ)
    prober = ModelProber("127.0.0.1:1")  # no Triton is among these programs
    metrics = WatchdogMetrics(tmp_path / "watchdog.prom")
    watchdog = Watchdog(supervisor, prober, metrics, tmp_path, tmp_path)
    try:
        until(lambda: supervisor.programs()["weak"].state == "FATAL", 10)
        watchdog.check()
        until(lambda: supervisor.programs()["weak"].state == "FATAL", 10)
        (tmp_path / "cured").touch()
        watchdog.check()  # too soon: the backoff grows each time
        assert supervisor.programs()["weak"].state == "FATAL"

        def healed() -> bool:
            watchdog.check()
            return supervisor.programs()["weak"].state == "RUNNING"

        until(healed, 15)
        assert supervisor.programs()["unwanted"].state == "STOPPED"
        assert 'clipstack_program_starts_total{program="weak"} 2' in (tmp_path / "watchdog.prom").read_text()
    finally:
        prober.close()
        supervisor.shutdown()
        until(lambda: not supervisor.programs(), 10)
