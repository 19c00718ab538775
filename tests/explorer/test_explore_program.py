"""The program: serves what it is told to, on the machine itself, and ends when interrupted."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from ssl_photoz.recipes.probe.explore import explore

from ssl_photoz.core.errors import ConfigError

PROGRAM = """
import sys
from pathlib import Path
from ssl_photoz.recipes.probe.explore import explore
explore(sys.argv[1], verdicts=sys.argv[2], port=0)
"""


def test_it_serves_until_interrupted(run_folder, tmp_path):
    arguments = [sys.executable, "-c", PROGRAM, str(run_folder), str(tmp_path / "v.csv")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as program:
        try:
            said = program.stdout.readline()
            address = said.split(" at ")[1].split()[0]
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(f"{address}api/run", timeout=10) as answer:
                assert json.load(answer)["galaxies"] == 60
        finally:
            program.send_signal(signal.SIGINT)
        assert program.wait(timeout=10) == 0


def test_a_port_that_is_taken_is_said_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*give port=0"):
            explore(tmp_path, port=port)


@pytest.mark.parametrize("wrong", [{"port": 70_000}, {"k": 0}, {"upload_mb": 0}, {"memory_gb": 0}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ConfigError):
        explore(**wrong)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"pip install 'ssl-photoz\[explorer\]'"):
        explore()
