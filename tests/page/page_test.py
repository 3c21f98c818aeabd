#!/usr/bin/env python3
"""The status page in a real browser: page_test.py PAGE_SERVER [--screenshots DIRECTORY]

With --screenshots, the pictures of docs/status-page.md are made anew instead of testing.
"""

import subprocess
import sys
import unittest

from browser import Browser, Driver, eventually, missing

PAGE_SERVER = sys.argv.pop(1) if len(sys.argv) > 1 else "page_server"
TAB = "\ue004"

# Contrast of text with what is behind it, WCAG 2.1, for every element that holds text itself.
CONTRAST = """
const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => {
  const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
};
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const low = [];
for (const e of document.querySelectorAll("main *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !e.offsetParent) continue;
  const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) low.push(`${e.className || e.nodeName} "${e.textContent}" ${ratio.toFixed(2)}`);
}
return low;
"""


class Server:
    """page_server in one of its states."""

    def __init__(self, state, port=0):
        self.process = subprocess.Popen([PAGE_SERVER, state, str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("page_server did not start")
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}/"

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.driver = Driver()
        cls.addClassCleanup(cls.driver.close)
        cls.browser = Browser(cls.driver)
        cls.addClassCleanup(cls.browser.close)

    def serve(self, state, port=0):
        server = Server(state, port)
        self.addCleanup(server.close)
        return server

    def show(self, state, width=1280):
        server = self.serve(state)
        self.browser.resize(width, 1000)
        self.browser.prefer("light")
        self.browser.complaints()
        self.browser.open(server.url)
        eventually(lambda: self.browser.text("#live") == "live", "the page is live")
        return server

    def test_a_healthy_node_is_shown_at_a_glance(self):
        self.show("healthy")
        text = self.browser.text()
        for part in ("talos-worker-1", "580.126.09", "Everything works", "5 of 8",
                     "GPU 0 NVIDIA GeForce RTX 3090", "4 of 4 in use", "1 of 4 in use",
                     "gpu-test-1", "24 GiB", "0000:3b:00.0", "nvidia.com/gpu",
                     "time-slicing × 4", "registered", "allocated slice 3 of GPU 0"):
            self.assertIn(part, text)
        counts = self.browser.run(
            "return ['free', 'in_use', 'unhealthy'].map((s) =>"
            " document.querySelectorAll(`.gpu .slice.${s}`).length)")
        self.assertEqual(counts, [3, 5, 0])

    def test_an_unhealthy_gpu_comes_with_reason_and_remedy(self):
        self.show("unhealthy")
        text = self.browser.text(".health")
        self.assertIn("Xid 79: GPU has fallen off the bus", text)
        self.assertIn("reset the GPU", text)
        self.assertIn("replicas must be 2 or more", text)
        self.assertIn("unhealthy", self.browser.text(".gpu.unhealthy header"))

    def test_who_uses_a_gpu_is_shown_with_charts_of_the_last_minutes(self):
        self.show("healthy")
        charts = self.browser.run(
            "return [...document.querySelectorAll('.gpu')].map((gpu) =>"
            " [...gpu.querySelectorAll('.spark')].map((spark) => [spark.innerText,"
            " spark.querySelectorAll('polyline').length,"
            " spark.querySelector('svg').getBoundingClientRect().height > 20]))")
        self.assertEqual([len(gpu) for gpu in charts], [3, 3])
        self.assertIn("°C", charts[0][2][0])
        for _, lines, tall in charts[0]:
            self.assertEqual(lines, 2, "a gap is a gap")
            self.assertTrue(tall)
        users = self.browser.text(".gpu .pods")
        for part in ("gpu-device-plugin/gpu-test-1 (cuda-test)", "7.0 GiB of 6.0 GiB",
                     "above its share", "no process"):
            self.assertIn(part, users)

    def test_a_node_without_driver_waits(self):
        self.show("no-driver")
        self.assertIn("waiting", self.browser.text(".health"))
        self.assertIn("Install the NVIDIA driver", self.browser.text(".health"))

    def test_sixteen_hundred_slices_fit(self):
        self.show("large")
        self.assertEqual(self.browser.run("return document.querySelectorAll('.gpu .slice').length"),
                         1600)
        self.assertIn("640 of 1600", self.browser.text(".figures"))

    def test_hostile_text_stays_text(self):
        self.show("hostile")
        self.assertIn("<img src=x onerror=alert(1)>", self.browser.text("h1"))
        self.assertEqual(self.browser.run("return document.querySelectorAll('img').length"), 0)

    def test_nothing_is_loaded_from_outside_and_nothing_is_refused(self):
        for state in ("healthy", "unhealthy", "no-driver", "mig", "large", "hostile"):
            with self.subTest(state):
                server = self.show(state)
                loaded = self.browser.run(
                    "return performance.getEntriesByType('resource').map((e) => e.name)")
                for url in loaded:
                    self.assertTrue(url.startswith((server.url, "data:")), url)
                self.assertEqual(self.browser.complaints(), [])

    def test_no_state_needs_scrolling_sideways(self):
        for state in ("healthy", "unhealthy", "mig", "large", "hostile"):
            for width in (360, 768, 1280):
                with self.subTest(state=state, width=width):
                    self.show(state, width)
                    over = self.browser.run("return document.documentElement.scrollWidth"
                                            " - document.documentElement.clientWidth")
                    self.assertLessEqual(over, 0)

    def test_text_can_be_read_in_light_and_dark(self):
        for scheme in ("light", "dark"):
            for state in ("unhealthy", "no-driver", "mig"):
                with self.subTest(scheme=scheme, state=state):
                    self.show(state)
                    self.browser.prefer(scheme)
                    self.browser.run("for (const s of document.querySelectorAll('.slice'))"
                                     " s.style.transition = 'none'")
                    self.assertEqual(self.browser.run(CONTRAST), [])

    def test_slices_say_who_holds_them_by_pointer_and_by_keyboard(self):
        self.show("healthy")
        self.assertFalse(self.browser.run(
            "return document.querySelector('.slice .tip').checkVisibility()"))
        self.browser.hover(".slice")
        tip = self.browser.text(".slice .tip")
        self.assertIn("gpu-device-plugin/gpu-test-1 (cuda-test)", tip)
        self.assertIn("::0", tip)
        self.browser.hover("h1")
        self.browser.press(TAB)
        self.assertTrue(self.browser.run("return document.activeElement.matches('.slice')"))
        label = self.browser.run("return document.activeElement.getAttribute('aria-label')")
        self.assertIn("slice 0, in use, gpu-device-plugin/gpu-test-1", label)
        self.assertIn("gpu-test-1 (cuda-test)", self.browser.text(".slice:focus .tip"))

    def test_changes_appear_without_a_reload_and_disturb_nothing(self):
        server = self.show("healthy")
        self.browser.run("window.mark = 1; document.querySelector('details').open = true;"
                         "document.querySelectorAll('.slice')[1].focus()")
        server.say("next")
        eventually(lambda: "newcomer-0" in self.browser.text(), "the new pod is shown")
        self.assertIn("6 of 8", self.browser.text(".figures"))
        self.assertEqual(self.browser.run(
            "return [window.mark, document.querySelector('details').open,"
            " document.activeElement === document.querySelectorAll('.slice')[1]]"),
            [1, True, True])
        server.say("break")
        eventually(lambda: "fallen off the bus" in self.browser.text(".health"), "the Xid is shown")
        self.assertEqual(self.browser.run(
            "return document.querySelectorAll('.gpu .slice.unhealthy').length"), 4)
        self.assertEqual(self.browser.complaints(), [])

    def test_a_restarted_agent_is_found_again(self):
        server = self.show("healthy")
        port = server.port
        server.say("quit")
        eventually(lambda: "lost" in self.browser.text("#live"), "the loss is shown")
        self.serve("unhealthy", port)
        eventually(lambda: self.browser.text("#live") == "live", "the page is live again")
        eventually(lambda: "Xid 79" in self.browser.text(), "the new state is shown")

    def test_without_scripts_the_page_is_whole(self):
        server = self.serve("unhealthy")
        browser = Browser(self.driver, scripts=False)
        self.addCleanup(browser.close)
        browser.open(server.url)
        text = browser.text()
        for part in ("as of 20:26:40 UTC", "gpu-test-2", "Xid 79", "reset the GPU", "2 h 3 min"):
            self.assertIn(part, text)

    def test_without_scripts_changes_appear_by_reloading(self):
        server = self.serve("live")
        browser = Browser(self.driver, scripts=False)
        self.addCleanup(browser.close)
        browser.open(server.url)
        server.say("next")

        def shown():
            try:
                return "newcomer-0" in browser.text()
            except AssertionError:  # between two pages there is no body
                return False
        eventually(shown, "the new pod is shown after a reload")


def make_screenshots(directory):
    driver = Driver()
    browser = Browser(driver)
    try:
        for name, state, width, height, scheme in (
                ("status-page", "healthy", 1280, None, "light"),
                ("status-page-dark", "unhealthy", 1280, None, "dark"),
                ("status-page-no-driver", "no-driver", 1280, None, "light"),
                ("status-page-large", "large", 1280, 900, "light"),
                ("status-page-narrow", "healthy", 400, 1100, "light")):
            server = Server(state)
            browser.resize(width, 800)
            browser.prefer(scheme)
            browser.open(server.url)
            eventually(lambda: browser.text("#live") == "live", "the page is live")
            browser.screenshot(f"{directory}/{name}.png", height)
            server.close()
    finally:
        browser.close()
        driver.close()


if __name__ == "__main__":
    if "--screenshots" in sys.argv:
        make_screenshots(sys.argv[sys.argv.index("--screenshots") + 1])
    elif missing():
        print(f"skipped whole: {missing()}")
        sys.exit(77)
    else:
        unittest.main(verbosity=2)
