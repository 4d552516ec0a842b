#!/usr/bin/env python3
"""The contract of `citadel bench NAME --json` for scripts, for each NAME that is given: its form, that ratio and exit code
follow from what was measured, and that a second and one round are enough. What it measures is docs/performance.md's business."""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

from citadel_process import BINARY, processes_of, wait_until

FIELDS = {"name": str, "unit": str, "ours": (int, float), "yardstick": (int, float, type(None)),
          "yardstick_name": (str, type(None)), "ratio": (int, float, type(None)), "goal": str, "met": bool}


def check_yardstick(metrics):
    """By Little's law pgbench's hundred callers wait callers ÷ throughput in the mean, and its p99 is not far from that, 1.3 to 2.5
    times it on a quiet machine: its throughput and its p99, which are read in different places, are of the same run and unit."""
    callers = 100
    in_flight = metrics["single_throughput"]["yardstick"] * metrics["single_p99"]["yardstick"] / 1000
    assert callers / 5 < in_flight < callers * 50, in_flight
    assert metrics["coalesced_throughput"]["yardstick"] == metrics["single_throughput"]["yardstick"]


def check(name, folder):
    done = subprocess.run([BINARY, "bench", name, "--seconds", "1", "--rounds", "1", "--json"], capture_output=True, text=True, check=False,
                          timeout=300, cwd=folder, env=dict(os.environ, TMPDIR=str(folder), HOME=str(folder)))
    assert done.returncode in (0, 1), done
    assert done.stdout, done  # its error stands on the other stream
    report = json.loads(done.stdout)
    assert set(report) == {"bench", "machine", "metrics"} and report["bench"] == name, report
    assert report["machine"]["cores"] >= 1 and report["machine"]["processor"], report["machine"]
    assert report["metrics"], report
    for metric in report["metrics"]:
        assert set(metric) == set(FIELDS), metric
        for field, kinds in FIELDS.items():
            assert isinstance(metric[field], kinds), (field, metric)
        assert metric["ours"] > 0 and (metric["yardstick"] is None) == (metric["ratio"] is None), metric
        if metric["yardstick"] is not None:
            assert math.isclose(metric["ratio"], metric["ours"] / metric["yardstick"], rel_tol=1e-6), metric
    if name == "sql":
        check_yardstick({metric["name"]: metric for metric in report["metrics"]})
    assert done.returncode == (0 if all(metric["met"] for metric in report["metrics"]) else 1), done
    print(name, [(m["name"], round(m["ours"], 3), m["ratio"] and round(m["ratio"], 2), m["met"]) for m in report["metrics"]])


def main(names):
    with tempfile.TemporaryDirectory(prefix="citadel-system-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        for bench in names:
            check(bench, folder)
        wait_until(lambda: not processes_of(folder), "no process is left", 30)
    wrong = subprocess.run([BINARY, "bench", "nonsense"], capture_output=True, text=True, check=False, timeout=30)
    assert wrong.returncode == 2 and "sql" in wrong.stderr, wrong


main(sys.argv[1:])
