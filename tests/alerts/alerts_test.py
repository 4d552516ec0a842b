#!/usr/bin/env python3
"""The alert rules for Prometheus: promtool reads them and makes each of them fire, and every metric that they name is one of
docs/api.md's table, which a test holds against a running daemon."""
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
ALERTS = SOURCE / "packaging" / "alerts"
RULES = ALERTS / "citadel.rules.yml"
TESTS = ALERTS / "citadel.rules_test.yml"
OTHERS = {"up"}  # Prometheus's own


def promtool(*arguments, cwd=ALERTS):
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def alerts_of(text):
    return re.findall(r"^ +- alert: (\w+)$", text, re.M)


def unknown_metrics(rules, table):
    """Names in expressions that the table does not have. Functions are followed by a bracket, labels stand in braces."""
    unknown = set()
    for expression in re.findall(r"^ +expr: (.+)$", rules, re.M):
        bare = re.sub(r"\b(?:ignoring|without|by|on)\s*\([^)]*\)", "", re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression))
        unknown |= {name for name in re.findall(r"\b[a-z_:]+\b(?!\s*\()", bare) if name not in {"and", "or", "unless"}} - table
    return unknown


def fired(tests):
    """Alerts with a time at which they do not fire, and a later one at which they do."""
    quiet = set(re.findall(r"alertname: (\w+)\}$", tests, re.M))
    loud = set(re.findall(r"alertname: (\w+), exp_alerts", tests))
    return quiet & loud


def main():
    rules, tests = RULES.read_text(), TESTS.read_text()
    table = set(re.findall(r"^\| `(citadel_\w+)", (SOURCE / "docs/api.md").read_text().split("\n## GET /metrics\n")[1], re.M))
    code, said = promtool("check", "rules", RULES.name)
    assert code == 0, said
    code, said = promtool("test", "rules", TESTS.name)
    assert code == 0, said
    names = alerts_of(rules)
    assert len(names) == len(set(names)) and set(names) == fired(tests), set(names) ^ fired(tests)
    assert not unknown_metrics(rules, table | OTHERS), unknown_metrics(rules, table | OTHERS)
    for block in rules.split("- alert: ")[1:]:
        assert all(part in block for part in ("severity: ", "summary: ", "action: ")), block
    # That these checks can fail: a metric that nobody has, a threshold that is never reached, an alert without a test.
    assert unknown_metrics("    expr: citadel_no_such == 1\n", table) == {"citadel_no_such"}
    assert fired(tests.replace("alertname: CitadelAuditForked}", "alertname: Other}")) == set(names) - {"CitadelAuditForked"}
    with tempfile.TemporaryDirectory() as folder:
        broken = rules.replace("citadel_audit_forked == 1", "citadel_audit_forked == 2")
        pathlib.Path(folder, RULES.name).write_text(broken)
        pathlib.Path(folder, TESTS.name).write_text(tests)
        code, said = promtool("test", "rules", TESTS.name, cwd=folder)
        assert code != 0 and "CitadelAuditForked" in said, said
    print(f"{len(names)} alerts, each made to fire")


sys.exit(main())
