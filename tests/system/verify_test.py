#!/usr/bin/env python3
"""`citadel verify` passes on the embedded system, with PostgreSQL really stopped in between; its answer keeps the
contract for scripts; and it fails when something is really wrong."""
import json
import subprocess

from citadel_process import BINARY, Citadel

# Measured, and judged by `citadel verify`; a test says nothing of a time, since the machine may be busy.
TIMED = {"R3.query_time"}


def main():
    with Citadel() as citadel:
        verify = citadel.popen("verify", "--json", stdout=subprocess.PIPE, text=True)
        report = json.loads(verify.communicate(timeout=240)[0])
        checks = {check["id"]: check for check in report["checks"]}
        for check in report["checks"]:
            assert set(check) == {"id", "requirement", "passed", "measured", "limit", "error"}, check
            assert check["error"] is None and (check["passed"] is True or check["id"] in TIMED), check
        passed = all(check["passed"] for check in report["checks"])
        assert report["passed"] is passed and verify.returncode == (0 if passed else 1), report
        assert checks["R2.concurrent_connections"]["measured"]["busy"] == 100
        assert checks["R8.outage"]["measured"]["acknowledged"] == checks["R8.outage"]["measured"]["stored"] == 20

        # A role without its rights is found.
        env = dict(citadel.environment, PGPASSWORD=(citadel.data / "secrets" / "citadel_owner.password").read_text().strip())
        subprocess.run(["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(citadel.postgres), "-U", "citadel_owner",
                        "-d", "citadel_ai", "-c", "revoke insert on citadel.verify_probe from citadel_app"],
                       check=True, env=env, timeout=20)
        report = citadel.run_json("verify", "--no-outage", expect=1, timeout=240)
        failed = {check["id"] for check in report["checks"] if not check["passed"]}
        assert "R4.write_and_read_back" in failed and "R1.connectivity" not in failed, failed

    # Nobody there: exit code 3, and a sentence that says where.
    key = citadel.folder.with_suffix(".key")
    key.write_text("x" * 40)
    key.chmod(0o600)
    done = subprocess.run([BINARY, "verify", "--url", citadel.url, "--key-file", str(key)], capture_output=True, text=True,
                          check=False, timeout=30)
    key.unlink()
    assert done.returncode == 3 and str(citadel.http) in done.stderr, done


main()
