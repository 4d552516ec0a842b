"""The data folder that a first start makes, made once for each build of the program and copied for the tests that are not about
that. A database cluster, its roles and all migrations take more CPU time than all else that a start does.

It is made by `citadel up` itself, stopped by Ctrl-C, so that what a test then sees is a second start. CITADEL_TEST_TEMPLATE names the
folder for it; where it names none, nothing is copied. It is made anew where the program or PostgreSQL is another."""
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess

FOLDER = os.environ.get("CITADEL_TEST_TEMPLATE")


def _key(binary):
    """Says which program, which PostgreSQL and which user made it."""
    programs = [pathlib.Path(binary), *sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))]
    found = [(path.stat().st_size, path.stat().st_mtime_ns) for path in programs]
    return "-".join(str(number) for pair in found for number in pair) + f"-{os.geteuid()}"


@contextlib.contextmanager
def _locked(folder, how):
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, how)
        yield


def _copy(source, target):
    # Owners too: PostgreSQL's files are its user's. Holes stay holes.
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def _drop_spare_wal(postgres):
    """Leaves the one WAL file that a server which was shut down starts from: the others are most of the folder."""
    program = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_controldata"), key=lambda path: int(path.parts[-3]))
    told = subprocess.run([program, postgres], check=True, capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"))
    facts = dict(line.split(":", 1) for line in told.stdout.splitlines() if ":" in line)
    assert facts["Database cluster state"].strip() == "shut down", facts
    needed = facts["Latest checkpoint's REDO WAL file"].strip()
    assert (postgres / "pg_wal" / needed).exists(), needed
    for path in (postgres / "pg_wal").iterdir():
        if path.is_file() and path.name != needed:
            path.unlink()


def copy_to(data, binary, make):
    """Fills `data`, which is not there. `make()` does a first start and a stop, and gives the path of what that left, whose
    parent folder is removed then."""
    folder = pathlib.Path(FOLDER) / "up"
    folder.mkdir(exist_ok=True, parents=True)
    template = folder / _key(binary)
    while True:
        with _locked(folder, fcntl.LOCK_SH):
            if template.exists():
                _copy(template, data)
                return
        with _locked(folder, fcntl.LOCK_EX):
            if template.exists():
                continue
            for other in folder.iterdir():
                if other.is_dir():
                    shutil.rmtree(other)  # of another build, or half made
            made = make()
            _drop_spare_wal(made / "postgres")
            shutil.rmtree(made / "log")
            _copy(made, folder / "new")
            (folder / "new").rename(template)
            shutil.rmtree(made.parent)
