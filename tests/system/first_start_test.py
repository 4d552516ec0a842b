#!/usr/bin/env python3
"""What a first start made is made once and copied whole, by programs that ask at the same time too; another program has another one,
and a half-made one is never copied."""
import multiprocessing
import os
import pathlib
import shutil
import tempfile

import first_start


def ask(folder, number):
    """One test: where its data is, and in the end whether it was the one that made it."""
    data = folder / f"data{number}"
    first_start.copy_to(data, folder / "program", lambda: make(folder, number))
    return data


def make(folder, number):
    with open(folder / "starts", "a", encoding="ascii") as starts:
        starts.write(f"{number}\n")
    made = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "data"
    (made / "postgres").mkdir(parents=True)
    (made / "log").mkdir()
    (made / "log" / "up.log").write_text("of another test")
    with open(made / "postgres" / "wal", "wb") as wal:
        wal.write(b"x" + bytes(1 << 24) + f"made by {number}".encode())
    (made / "postgres").chmod(0o700)
    return made


def starts(folder):
    return (folder / "starts").read_text().split()


def check_copy(data, maker):
    text = (data / "postgres" / "wal").read_bytes()
    assert text[0:1] == b"x" and text[-len(f"made by {maker}"):] == f"made by {maker}".encode() and len(text) > 1 << 24, maker
    assert (data / "postgres").stat().st_mode & 0o777 == 0o700
    assert not (data / "log").exists(), "the log of a test is its own"


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="citadel-system-"))
    first_start.FOLDER = str(folder / "templates")
    first_start._drop_spare_wal = lambda postgres: None  # of a real cluster: system.* fail where it drops what is needed
    (folder / "program").write_text("one")
    with multiprocessing.Pool(4) as pool:
        copies = pool.starmap(ask, [(folder, number) for number in range(4)])
    assert len(starts(folder)) == 1, starts(folder)
    for data in copies:
        check_copy(data, starts(folder)[0])
    assert (copies[0] / "postgres" / "wal").stat().st_blocks < 64, "its holes are filled"

    # What a test does in its copy is in no other.
    (copies[0] / "postgres" / "wal").write_text("changed")
    check_copy(ask(folder, 4), starts(folder)[0])

    # Another program of the same size, and what a killed test left of its making.
    (folder / "program").write_text("two")
    os.utime(folder / "program", ns=(1, 1))
    (folder / "templates" / "up" / "new" / "postgres").mkdir(parents=True)
    check_copy(ask(folder, 5), 5)
    assert starts(folder)[1:] == ["5"], starts(folder)
    assert len(list((folder / "templates" / "up").iterdir())) == 2, "the older one has gone; the lock stays"
    shutil.rmtree(folder)


main()
