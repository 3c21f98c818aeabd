"""Headless Chromium over the W3C WebDriver protocol, with nothing but Python's own library."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE_S = 30


def eventually(condition, what):
    """Returns the first true value of condition(); fails with `what` when there is none in time."""
    end = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen in {PATIENCE_S} s: {what}")
        time.sleep(0.02)


def missing():
    """What there is to install before a browser can be opened; None when nothing is missing."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            return (f"{program} is not on the PATH: Debian's packages chromium and chromium-driver have "
                    "it (./dev installs them; Ubuntu has them as snaps only)")
    return None


class Driver:
    """One chromedriver process. Opens browsers."""

    def __init__(self):
        if missing():
            raise RuntimeError(missing())
        self.home = tempfile.mkdtemp(prefix="kerf-page-")
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, "HOME": self.home})
        for line in self.process.stdout:
            match = re.search(r"started successfully on port (\d+)", line)
            if match:
                self.url = f"http://127.0.0.1:{match[1]}"
                return
        raise RuntimeError("chromedriver did not start")

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()[:1000]}") from None


class Browser:
    """One browser window with an empty profile."""

    def __init__(self, driver, scripts=True):
        self.driver = driver
        self.profile = tempfile.mkdtemp(prefix="profile-", dir=driver.home)
        options = {
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                     "--no-first-run", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
                     "--hide-scrollbars", f"--user-data-dir={self.profile}"],
            "prefs": {} if scripts else {
                "profile.managed_default_content_settings.javascript": 2},
        }
        session = driver.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.path = "/session/" + session["sessionId"]

    def close(self):
        self.driver.call("DELETE", self.path)

    def call(self, method, path, body=None):
        return self.driver.call(method, self.path + path, body)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *args):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def find(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def text(self, selector="body"):
        return self.call("GET", f"/element/{self.find(selector)}/text")

    def devtools(self, command, **params):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def resize(self, width, height):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme):
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": scheme}])

    def hover(self, selector):
        origin = {"element-6066-11e4-a52e-4f735466cecf": self.find(selector)}
        self.call("POST", "/actions", {"actions": [{
            "type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
            "actions": [{"type": "pointerMove", "duration": 0, "x": 0, "y": 0,
                         "origin": origin}]}]})

    def press(self, key):
        self.call("POST", "/actions", {"actions": [{
            "type": "key", "id": "keys",
            "actions": [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]})

    def complaints(self):
        """What the browser wrote to its console as an error: script errors, refused resources."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self, path, height=None):
        """The page as a PNG, `height` pixels of it or all."""
        size = self.run("return [document.documentElement.clientWidth,"
                        " document.documentElement.scrollHeight]")
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, clip={
            "x": 0, "y": 0, "width": size[0], "height": height or size[1], "scale": 1})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
