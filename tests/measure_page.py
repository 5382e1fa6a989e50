"""Measures the web page in Chromium: frames a second for one browser and for several, and how soon the first is seen.

python tests/measure_page.py --out ctxmem_env/weights/nano/bench.json

Every browser is a window with a connection and a world of its own, in which a key is held. A frame counts when the
browser paints it: two that come between two paintings count as one. The processor's time that a frame takes, of the
server and of the browser, says what a machine with nothing else to do would reach.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import chromium
from served import Visitor, wait_until

import ctxmem_env
from ctxmem_env.bench.machine import describe
from ctxmem_env.bench.results import keep, read_benches

WALK = Path(ctxmem_env.__file__).parent / "viewer" / "page" / "walk.js"  # which sets the pace of the page
KEY = {"key": "q", "code": "KeyQ", "windowsVirtualKeyCode": 81}  # turn left, of which every frame is another picture
_SETTLED = 1.0  # seconds that the key is held before frames count
# When frames were painted and the first was, in milliseconds since the navigation began. Animation frames are called
# right before a painting, and messages that are sent there arrive right after it.
WATCH = """
addEventListener("DOMContentLoaded", () => {
  window.painted = [];
  let due = false;
  const shown = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        due = false;
        painted.push(performance.now());
      };
      channel.port2.postMessage(null);
    });
  };
  new MutationObserver(shown).observe(document.body, { attributeFilter: ["data-step"] });
});
"""


@contextmanager
def serving(model):
    """The address of `ctxmem serve` with its defaults, and the number of its process."""
    command = [sys.executable, "-m", "ctxmem_env", "serve", "--port", "0", "--models", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stderr if "http" in line)
            yield re.search(r"http://\S+", line)[0], process.pid
        finally:
            process.terminate()
            process.communicate(timeout=60)


def cpu_seconds(pid):
    """Processor's time that a process and those below it have taken so far."""
    parents, times = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            times[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(times.get(member, 0.0) for member in family)


def open_windows(driver, address, number):
    """Opens the page in `number` windows; their handles, and milliseconds until each had painted its first frame."""
    handles, firsts = [], []
    for _ in range(number):
        driver.switch_to.new_window("window")
        handles.append(driver.current_window_handle)
        driver.execute_cdp_cmd("Page.enable", {})
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        driver.get(address)
        wait_until(lambda: driver.execute_script("return window.painted?.length"), 60)
        firsts.append(driver.execute_script("return painted[0]"))
    return handles, firsts


def hold_keys(driver, handles, seconds, server):
    """Frames painted a second in each window while a key is held in all, and milliseconds that server and browser took.

    The milliseconds are the processor's, for a frame.
    """
    pids = server, driver.service.process.pid
    spans = dict.fromkeys(handles)
    for handle in handles:
        driver.switch_to.window(handle)
        driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown"} | KEY)
    time.sleep(_SETTLED)
    before, counts = list(map(cpu_seconds, pids)), []
    for handle in handles:
        driver.switch_to.window(handle)
        spans[handle] = driver.execute_script("return performance.now()")
    time.sleep(seconds)
    rates = []
    for handle in handles:
        driver.switch_to.window(handle)
        until, times = driver.execute_script("return [performance.now(), painted]")
        counts.append(sum(spans[handle] <= time <= until for time in times))
        rates.append(1e3 * counts[-1] / (until - spans[handle]))
    spent = [1e3 * (cpu_seconds(pid) - then) / max(sum(counts), 1) for pid, then in zip(pids, before, strict=True)]
    for handle in handles:
        driver.switch_to.window(handle)
        driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp"} | KEY)
    return rates, spent


def measure_browsers(address, server, number, seconds):
    """What `hold_keys` and `open_windows` tell of `number` windows of a new browser."""
    with TemporaryDirectory(prefix="ctxmem-") as folder, chromium(Path(folder)) as driver:
        handles, firsts = open_windows(driver, address, number)
        return *hold_keys(driver, handles, seconds, server), firsts


def measure_clients(address, number, seconds):
    """Frames a second that the server sends to each of `number` clients which paint nothing, and ask at once."""
    from concurrent.futures import ThreadPoolExecutor

    def walk(_):
        with Visitor(address) as visitor:
            visitor.open()
            began, steps = time.monotonic(), 0
            while time.monotonic() < began + seconds:
                visitor.move([0, 0, 1, 0])
                steps += 1
            return steps / (time.monotonic() - began)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(walk, range(number)))


def measure(model="nano", numbers=(1, 4), seconds=10.0, repeats=3):
    """The results, as `ctxmem_env.bench.results.keep` takes them."""
    rows = {number: {"rates": [], "spent": [], "firsts": [], "clients": []} for number in numbers}
    loads = []
    with serving(model) as (address, server):
        for _ in range(repeats):
            for number, row in rows.items():
                loads.append(os.getloadavg()[0])
                rates, spent, firsts = measure_browsers(address, server, number, seconds)
                row["rates"].append(rates)
                row["spent"].append(spent)
                row["firsts"] += firsts
                row["clients"].append(measure_clients(address, number, seconds))
                print(f"{number}: {rates}, {spent}, {firsts}, {row['clients'][-1]}", file=sys.stderr)
    return {
        "bench": "page",
        "machine": describe(),
        "realtime": os.sched_getscheduler(0) != os.SCHED_OTHER,
        "load_before": round(statistics.median(loads), 2),
        "seconds": seconds,
        "repeats": repeats,
        "page_most": round(1e3 / int(re.search(r"const PACE = (\d+)", WALK.read_text())[1]), 1),
        "browsers": [
            {
                "number": number,
                "frames_per_second": round(statistics.median(map(statistics.mean, row["rates"])), 2),
                "by_repeat": [[round(rate, 2) for rate in rates] for rates in row["rates"]],
                "slowest": round(statistics.median(map(min, row["rates"])), 2),
                "fastest": round(statistics.median(map(max, row["rates"])), 2),
                "first_frame_s": round(statistics.median(row["firsts"]) / 1e3, 3),
                "latest_first_frame_s": round(max(row["firsts"]) / 1e3, 3),
                "server_cpu_ms": round(statistics.median(spent[0] for spent in row["spent"]), 1),
                "browser_cpu_ms": round(statistics.median(spent[1] for spent in row["spent"]), 1),
                "sent_per_second": round(statistics.median(map(statistics.mean, row["clients"])), 2),
            }
            for number, row in rows.items()
        ],
        "command": f"python tests/measure_page.py --browsers {' '.join(map(str, numbers))}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--browsers", type=int, nargs="+", default=[1, 4], help="how many there are at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a key is held")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a file of `ctxmem bench`, whose other results stay")
    args = parser.parse_args()
    if args.out is not None:
        read_benches(args.out)  # before anything is measured
    results = measure(args.model, args.browsers, args.seconds, args.repeats)
    if args.out is not None:
        keep(args.out, results)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
