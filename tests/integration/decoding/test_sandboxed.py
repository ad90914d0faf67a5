"""Decoder processes of the pool are sandboxed and limited."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.errors import LimitExceeded, Undecodable
from app.sandbox import available
from app.settings import CHECKOUT
from tests.support.decoders import decoder_pids, good
from tests.support.films import numbered, write_video
from tests.support.regions import UNTOUCHED, whole


def test_a_decoder_is_confined(decoding, film, region):
    async def use(decoder: Decoder) -> None:
        await good(decoder, film, region)
        (pid,) = decoder_pids()
        limits = Path(f"/proc/{pid}/limits").read_text()
        for name, value in (("Max core file size", "0"), ("Max address space", str(1 << 30))):
            assert limits[limits.index(name) + len(name) :].split()[0] == value
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2)} == {os.devnull}

    decoding(use, memory_bytes=1 << 30)


def test_memory_beyond_the_limit_is_the_files_fault(decoding, tmp_path, film, region):
    large = whole(write_video(tmp_path / "large.mp4", [numbered(0, 2400, 1600)] * 2))

    async def use(decoder: Decoder) -> None:
        request = region.request([0.0], resize=8000, crop=64)
        with pytest.raises((LimitExceeded, Undecodable)):
            await decoder.decode(DecodeTask(large, request))
        assert set(region.path.read_bytes()) == {UNTOUCHED}
        await good(decoder, film, region)

    decoding(use, memory_bytes=600 << 20)


def test_decoding_processes_have_all_layers(decoding, film, region):
    async def use(decoder: Decoder) -> None:
        await good(decoder, film, region)
        (pid,) = decoder_pids()
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        result = dict(line.split(":", 1) for line in status)
        assert set(result["Uid"].split()) == {str(os.geteuid() or 65534)}
        assert result["NoNewPrivs"].strip() == "1"
        assert result["CapEff"].strip() == result["CapPrm"].strip() == "0" * 16
        held = {layer.name for layer in available(decoder.confinement) if layer.holds}
        assert (result["Seccomp"].strip() == "2") == ("calls" in held)
        assert (os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")) == ("network" in held)

    decoding(use)


def test_required_sandbox_that_fails_prevents_start(tmp_path):
    # As on a kernel without user and network namespaces
    done = subprocess.run(
        [sys.executable, "-c", CONTAINED],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout.splitlines()
    assert output[0].startswith(
        "SandboxError CLIPSTACK_SANDBOX=required, and decoders lack these sandbox layers: processes:"
    )
    assert output[1] == "NotReady the decoder lacks a sandbox layer that CLIPSTACK_SANDBOX=required demands"
    assert done.stderr.count("decoders are confined without some layers") == 1


CONTAINED = """
import asyncio
from app.sandbox import SandboxConfig, SandboxError
from app.sandbox.seccomp import block
from app.decoding.pool import TRIES, Decoder
from app.errors import NotReady
from app.media.types import Limits, Source
from tests.support.confined import LACKS

if __name__ == "__main__":
    block(LACKS["namespaces"])
    decoder = Decoder(1, 60, Limits(1, 1, 1), SandboxConfig((), mode="required"))
    try:
        asyncio.run(decoder.start())
    except SandboxError as error:
        print("SandboxError", error)
    decoder._runs = True  # even if somebody went on
    try:
        asyncio.run(decoder.probe(Source("/etc/passwd", 0, 10)))
    except NotReady as error:
        print("NotReady", error)
    decoder.stop()
    best = Decoder(2, 60, Limits(1, 1, 1), SandboxConfig(()))
    asyncio.run(best.start())
    best.stop()
"""
