"""Ray's dashboard in headless Chromium: it asks for its token, and then shows the sweep that goes on."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, wait
from tests.sweep_files import gold_sweep


def jobs(url: str, token: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=200) as response:
        found: list[dict[str, Any]] = json.load(response)
    return found


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1800)
def test_the_dashboard_takes_its_token_and_shows_the_run(browser: Browser) -> None:
    folder = Path(tempfile.mkdtemp(prefix="m", dir="/tmp"))
    pictures = Path(os.environ.get("NASRAY_PICTURES", folder))
    token = secrets.token_hex(32)
    settings = {"epochs": 500, "lambda0": 0.01, "stop_macs": 0.0}
    gold_sweep(folder, examples=600, settings=settings, mu=(0.0, 1.0), channels=4, training={"select": "nothing"})
    # As one types it: the dashboard shows the command, and its picture tells nothing of the machine that made it.
    command = "python -m nasray.cli sweep mine.py:SWEEP"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TMPDIR": str(folder)}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    said = folder / "sweep.log"
    with said.open("w") as log:
        sweep = subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        url = wait(lambda: re.search(r"dashboard: (http://\S+)", said.read_text()))[1]
        assert sweep.poll() is None
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/api/jobs/", timeout=200)

        browser.open(url)
        (field,) = wait(lambda: browser.elements("input[type=password], div[role=dialog] input"))
        browser.picture(pictures / "dashboard_token.png")
        browser.act("POST", f"/element/{field}/value", {"text": token})
        wait(lambda: browser.run(SUBMIT))
        wait(lambda: "Authentication Token" not in browser.text() and "Jobs" in browser.text())

        # Its actors page has a line for each process that runs trials: what it is, and what it began with.
        wait(lambda: "epochs" in said.read_text() and " 2 running" in said.read_text())
        browser.open(f"{url}/#/actors")
        wait(lambda: browser.text().count("ALIVE") >= 2)
        browser.picture(pictures / "dashboard_actors.png")
        for told in ("Search", *(f"Search of mine: gold_nas on gold, mu {mu}, seed 0" for mu in (0, 1))):
            assert told in browser.text()
        assert "<locals>" not in browser.text()
        browser.open(f"{url}/#/jobs")
        wait(lambda: "RUNNING" in browser.text() and command in browser.text())
        # Who is who, as programs ask for it.
        names = {job.get("metadata", {}).get("job_name") for job in jobs(url, token)}
        assert names >= {"nasray run mine", "Ray itself, for nasray run mine"}
        assert not re.search(r"/(tmp|work|root|home)\b", browser.text())
        browser.picture(pictures / "dashboard_jobs.png")
    finally:
        sweep.terminate()
        sweep.wait(400)
        shutil.rmtree(folder, ignore_errors=True)


SUBMIT = """
const buttons = [...document.querySelectorAll("[role=dialog] button")];
const button = buttons.find(one => /submit|sign|log/i.test(one.innerText));
if (button && !button.disabled) { button.click(); return true; }
return false;
"""
