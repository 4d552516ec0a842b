#!/usr/bin/env python3
"""Segments of the audit journal that are torn or flipped while the real daemon lies dead, killed -9 under a load of events that
wait in its journal. A torn tail is cut, and nothing that was acknowledged is lost. A byte that was flipped in the middle costs
its own event: the segment goes into quarantine, metrics and log tell, the gap is an entry, and the log verifies with it."""
import dataclasses
import struct
import urllib.request

from audit_api import psql
from audit_trail import THE_LOGS_LOCK, AuditDaemon, AuditLoad, Session, check_log
from citadel_process import Citadel, wait_until

HEADER, FRAME_HEADER = 256, 96  # as src/journal/format.hpp has them


@dataclasses.dataclass
class Frame:
    begin: int
    end: int
    sequence: int
    behind: int  # frames of its group that are before it
    id: str


def frames_of(segment):
    """The frames of a segment, up to its first hole; nothing is checked but that they follow each other."""
    content, at, frames = segment.read_bytes(), HEADER, []
    while at + FRAME_HEADER <= len(content):
        length, = struct.unpack_from("<I", content, at + 8)
        sequence, behind = struct.unpack_from("<QI", content, at + 24)
        if sequence == 0 or frames and sequence != frames[-1].sequence + 1:
            break
        raw = content[at + 48:at + 64].hex()
        end = at + (FRAME_HEADER + length + 7) // 8 * 8
        frames.append(Frame(at, end, sequence, behind, "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))))
        at = end
    return frames


def last_segment(daemon):
    """With its frames."""
    found = [(path, frames_of(path)) for path in sorted((daemon.folder / "audit-journal").glob("*.segment"))]
    return [(path, frames) for path, frames in found if frames][-1]


def overwrite(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def truncated(path, group):
    """The file ends in the middle of the group's last frame."""
    with open(path, "r+b") as file:
        file.truncate((group[-1].begin + group[-1].end) // 2)
    return group[-1:]


def tail_of_zeros(path, group):
    """From the middle of its first frame on the group never came to the disk."""
    middle = (group[0].begin + group[0].end) // 2
    overwrite(path, middle, bytes(group[-1].end - middle))
    return group


def out_of_order(path, group):
    """The blocks of its first frame's payload did not come to the disk, those behind it did."""
    overwrite(path, group[0].begin + FRAME_HEADER, bytes(group[0].end - group[0].begin - FRAME_HEADER))
    return group


def metric(daemon, name):
    with urllib.request.urlopen(urllib.request.Request(daemon.url + "/metrics", headers={"Authorization": "Bearer " + daemon.key}),
                                timeout=20) as answer:
        return sum(float(line.split()[-1]) for line in answer.read().decode().splitlines() if line.split("{")[0].split(" ")[0] == name)


def quarantined(daemon):
    folder = daemon.folder / "audit-journal" / "quarantine"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def check_ready(daemon):
    status, answer = daemon.call("GET", "/readyz")
    assert status == 200 and next(d for d in answer["dependencies"] if d["name"] == "audit_journal")["ready"], answer


def torn_tail(servers, tear):
    """The daemon dies between write and fdatasync, so that its last group is whole in the page cache; then it is torn."""
    name = f"torn_{tear.__name__}"
    with AuditDaemon(servers, name) as daemon:
        daemon.kill()
        with Session(servers, THE_LOGS_LOCK):
            daemon.start("journal.append.before_sync:60")
            with AuditLoad(daemon) as load:
                assert daemon.wait_dead(60), "it did not come to its crash point"
            acknowledged = load.so_far()
            path, frames = last_segment(daemon)
            group = frames[-1 - frames[-1].behind:]
            assert not {frame.id for frame in group} & set(acknowledged), "a group that was acknowledged is none to tear"
            lost = tear(path, group)
        assert len(acknowledged) > 50, load.statuses
        daemon.start()
        check_log(servers, daemon, acknowledged, what=name)
        ids = ",".join(f"'{frame.id}'" for frame in lost)
        assert psql(servers, f"SELECT count(*) FROM audit.entry WHERE id IN ({ids})") == "0", "what was torn is in the log"
        check_ready(daemon)
        assert not quarantined(daemon) and daemon.status()["gaps_total"] == 0 == metric(daemon, "citadel_audit_gaps_total")
        with AuditLoad(daemon) as more:
            more.wait_for_more(20)
        check_log(servers, daemon, more.so_far(), what=f"after {name}")
        print(name, len(acknowledged), "acknowledged,", len(lost), "of", len(group), "frames of the last group torn")


def flipped_byte(servers):
    with AuditDaemon(servers, "flipped") as daemon:
        with Session(servers, THE_LOGS_LOCK):
            with AuditLoad(daemon) as load:
                load.wait_for_more(80)
                daemon.kill()
            acknowledged = load.so_far()
            path, frames = last_segment(daemon)
            later = frames[-1].sequence - 1 - frames[-1].behind  # durable, as the last group says
            candidates = [frame for frame in frames if frame.id in acknowledged and frame.sequence <= later]
            victim = candidates[len(candidates) // 2]
            at = (victim.begin + FRAME_HEADER + victim.end) // 2
            overwrite(path, at, bytes([path.read_bytes()[at] ^ 1]))
        daemon.start()
        kept = [id_ for id_ in acknowledged if id_ != victim.id]
        verified = check_log(servers, daemon, kept, excused=1, what="flipped")
        assert psql(servers, f"SELECT count(*) FROM audit.entry WHERE id = '{victim.id}'") == "0"
        kept_aside = quarantined(daemon)  # the file as it is, and what is wrong with it
        assert len(kept_aside) == 2 and kept_aside[0].endswith(path.name) and kept_aside[1].endswith(".reason"), kept_aside
        assert daemon.status()["gaps_total"] == 1 == metric(daemon, "citadel_audit_gaps_total")
        assert "acknowledged events were lost" in (daemon.folder / "serve.log").read_text()
        check_ready(daemon)
        gap = wait_until(lambda: daemon.call("GET", "/v1/audit/events?action=audit.gap")[1]["events"], "the gap is an entry")[0]["event"]
        assert gap["object"]["type"] == "journal_range" and gap["object"]["id"].endswith(f"/{victim.sequence}-{victim.sequence}"), gap
        assert "lost, and recorded 1" in daemon.client("audit", "verify", "--silent")
        with AuditLoad(daemon) as more:
            more.wait_for_more(20)
        check_log(servers, daemon, more.so_far(), excused=1, what="after the flip")
        print("flipped", len(acknowledged), "acknowledged, 1 lost,", gap["object"]["id"], gap["reason"], verified["entries"])


with Citadel() as servers:
    for how in (truncated, tail_of_zeros, out_of_order):
        torn_tail(servers, how)
    flipped_byte(servers)
