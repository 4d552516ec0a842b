#!/usr/bin/env python3
"""`citadel up` and `serve` end at once, and leave nothing behind, when Ctrl-C comes before they are ready; a port or a data
folder in use is said with what to do."""
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from citadel_process import BINARY, Citadel, processes_of, reserve_port

# What is said on the way, in its order. The last comes when both servers run.
STAGES = ("making a PostgreSQL", "making the roles", "starting PostgreSQL", "starting Pgpool-II", "applying migration")


def command(citadel, http=None):
    return [BINARY, "up", "--data", str(citadel.data), "--http", f"127.0.0.1:{http or citadel.http}", "--pgpool-port",
            str(citadel.pgpool), "--postgres-port", str(citadel.postgres)]


def interrupt_at(citadel, stage, number):
    process = subprocess.Popen(command(citadel), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    for line in process.stderr:
        said += line
        if stage in line:
            break
    process.send_signal(number)
    begun = time.monotonic()
    out, rest = process.communicate(timeout=60)
    took = time.monotonic() - begun
    assert process.returncode == 0, (stage, process.returncode, said + rest)
    assert out == "", f"{stage}: became ready although the signal came first: {out}"
    assert "stopped before it was ready" in rest, (stage, said + rest)
    assert not processes_of(citadel.folder), (stage, processes_of(citadel.folder))
    # Far more than PostgreSQL needs to shut down, far less than any deadline of the start.
    assert took < 15, f"{stage}: took {took:.1f} s to end"


def check_interrupted_starts():
    """Each start comes further than the one before it, in the same folder; the last one is let be."""
    citadel = Citadel()
    for i, stage in enumerate(STAGES):
        interrupt_at(citadel, stage, signal.SIGINT if i % 2 == 0 else signal.SIGTERM)
    with citadel:
        citadel.run("status")
        check_in_use(citadel)


def refused(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and done.stdout == "", done
    return done.stderr


def check_in_use(running):
    same = refused(command(running))
    assert str(running.data) in same and f"process {running.process.pid}" in same and "--data" in same, same
    other = Citadel()
    for attribute, option in (("postgres", "--postgres-port"), ("pgpool", "--pgpool-port"), ("http", "--http")):
        free = getattr(other, attribute)
        setattr(other, attribute, getattr(running, attribute))
        said = refused(command(other))
        assert str(getattr(running, attribute)) in said and "in use" in said and option in said, (option, said)
        # That is known before anything is made or started.
        assert not any(stage in said for stage in STAGES) and not (other.data / "postgres").exists(), (option, said)
        assert not processes_of(other.folder), (option, processes_of(other.folder))
        setattr(other, attribute, free)
    shutil.rmtree(other.folder)
    running.run("status")


def check_serve_interrupted():
    """The database takes the connection and never answers: the warm-up waits for it when the signal comes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="citadel-system-"))
    (folder / "password").write_text("x\n")
    (folder / "password").chmod(0o600)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        config = folder / "citadel.toml"
        config.write_text(
            f'[database]\nhost = "127.0.0.1"\nport = {silent.getsockname()[1]}\npassword_file = "{folder}/password"\n'
            f'[http]\nlisten = "127.0.0.1:{reserve_port()}"\n[journal]\nfolder = "{folder}/journal"\n'
            f'[admin]\nkey_file = "{folder}/admin.key"\n[audit]\nenabled = false\n')
        process = subprocess.Popen([BINARY, "serve", "--config", str(config)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        silent.settimeout(30)
        session, _ = silent.accept()
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        out, err = process.communicate(timeout=60)
        took = time.monotonic() - begun
        session.close()
    assert process.returncode == 0 and out == "" and "stopped before it was ready" in err, (process.returncode, out, err)
    assert took < 4, f"waited for the warm-up, {took:.1f} s"
    shutil.rmtree(folder)


def main():
    check_serve_interrupted()
    check_interrupted_starts()


main()
