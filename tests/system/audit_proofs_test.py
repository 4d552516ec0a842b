#!/usr/bin/env python3
"""`citadel audit export --proofs` of a real `citadel up`: in each format every entry has its proof, which an RFC 9162 check of this
file's own follows to the root, and which the public key is enough for; one bit that was flipped is found."""
import base64
import csv
import hashlib
import io
import json
import re
import subprocess

from audit_api import AuditApi, event
from citadel_process import Citadel


def root_of_proof(text):
    """A tlog-proof's index, its leaf, the checkpoint inside, and whether leaf and hashes come to the checkpoint's root, as RFC 9162
    §2.1.3.2 goes about it."""
    head, checkpoint = text.split("\n\n", 1)
    magic, extra, index, *inclusion = head.split("\n")
    assert magic == "c2sp.org/tlog-proof@v1" and extra.startswith("extra ") and index.startswith("index "), head
    leaf, index = base64.b64decode(extra[6:], validate=True), int(index[6:])
    _, size, root = checkpoint.split("\n")[:3]
    at, last, node = index, int(size) - 1, hashlib.sha256(b"\0" + leaf).digest()
    for line in inclusion:
        other = base64.b64decode(line, validate=True)
        if at & 1 or at == last:
            node = hashlib.sha256(b"\1" + other + node).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + other).digest()
        at, last = at >> 1, last >> 1
    return index, leaf, checkpoint, last == 0 and node == base64.b64decode(root)


def proofs_of(form, text):
    """Index and proof of each line."""
    if form == "jsonl":
        return [(line["index"], line["proof"]) for line in map(json.loads, text.splitlines()[1:-1])]
    if form == "csv":
        return [(int(row["index"]), row["proof"]) for row in csv.DictReader(io.StringIO(text, newline=""))]
    if form == "ocsf":
        return [(line["metadata"]["sequence"], line["unmapped"]["proof"]) for line in map(json.loads, text.splitlines())]
    if form == "cef":
        found = [re.search(r" cn1=(\d+) .* CitadelProof=(.*)$", line).groups() for line in text.splitlines()]
        return [(int(index), re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], proof)) for index, proof in found]
    found = [re.search(r' index="(\d+)" .* proof="([^"]*)"', line).groups() for line in text.splitlines()]
    return [(int(index), base64.b64decode(proof).decode()) for index, proof in found]


def check_proofs(audit):
    """Each entry of an export with its proof, which the public key is enough to check; all under one checkpoint."""
    citadel, folder = audit.citadel, audit.citadel.folder
    key = citadel.run("audit", "key").strip()
    for first in (0, 300):  # entries of more than one tile
        body = "\n".join(json.dumps(event(n, action="x.proved")) for n in range(first, first + 300)).encode()
        status, _ = audit.call("POST", "/v1/audit/events?ack=database", body, {"Content-Type": "application/x-ndjson"})
        assert status == 200, status
    audit.record(1, ack="checkpoint")
    file, single = folder / "proofs", folder / "one.tlog-proof"

    def check_single(proof, code):
        single.write_bytes(proof)
        return citadel.run("audit", "check-proof", str(single), "--key", key, expect=code)
    for form in ("csv", "ocsf", "cef", "syslog", "jsonl"):
        citadel.run("audit", "export", "--proofs", "--format", form, "-o", str(file))
        with open(file, encoding="utf-8", newline="") as opened:
            text = opened.read()
        proofs = proofs_of(form, text)
        assert [index for index, _ in proofs] == list(range(len(proofs))) and len(proofs) > 600, (form, len(proofs))
        checkpoint = proofs[0][1].split("\n\n", 1)[1]
        for index, proof in proofs:
            found = root_of_proof(proof)
            assert found[0] == index and found[2] == checkpoint and found[3], (form, index, proof)
        assert f"good: entry 600 of {key.split('+')[0]}" in check_single(proofs[600][1].encode(), 0), form
    # One bit, wherever in it.
    proof = proofs[600][1].encode()
    ends = [at for at, byte in enumerate(proof) if byte == 10]
    for at in [end - 3 for end in ends if proof[end - 1] != 10] + ends:
        check_single(proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1:], 1)
    # The export verifies with what it carries, and a proof that was changed is a fault of it.
    lines = text.splitlines(keepends=True)
    assert citadel.run_json("audit", "verify", "--export", str(file), "--key", key)["entries"] == len(proofs)
    line = json.loads(lines[601])
    hashes = proof.decode().split("\n")
    for name, changed in (("hash", proof.decode().replace(hashes[4][:9], hashes[4][:8] + ("B" if hashes[4][8] == "A" else "A"))),
                          ("entry", proofs[599][1]), ("checkpoint", proof.decode().replace("\n\u2014 ", "\n\u2014 x")),
                          ("no proof", "nothing")):
        bad = folder / "bad-proof.jsonl"
        assert changed != line["proof"], name
        bad.write_text("".join(lines[:601] + [lines[601].replace(json.dumps(line["proof"], ensure_ascii=False),
                                                                 json.dumps(changed, ensure_ascii=False))] + lines[602:]))
        fault = citadel.run("audit", "verify", "--export", str(bad), "--key", key, expect=1)
        assert "entry 600: its proof" in fault, (name, fault)
    # Broken off, it goes on to the same checkpoint; without proofs it would be another export.
    resumed, part = folder / "resumed", "".join(lines[:401])
    (folder / "resumed.part").write_text(part + lines[401][:20])
    (folder / "resumed.part.state").write_text(f"jsonl proofs\n400 {len(part.encode())}\n{checkpoint}")
    citadel.run("audit", "export", "--proofs", "-o", str(resumed))
    assert resumed.read_text() == text
    for index, proof in proofs_of("csv", citadel.run("audit", "export", "--proofs", "--format", "csv", "--cursor", "590")):
        assert index >= 590 and root_of_proof(proof)[3], index
    refused = citadel.popen("audit", "export", "--proofs", "--format", "syslog", "--to", "tcp://127.0.0.1:1", stderr=subprocess.PIPE,
                            text=True)
    said = refused.communicate(timeout=30)[1]
    assert refused.returncode == 2 and "2048 bytes" in said, said


with Citadel() as running:
    check_proofs(AuditApi(running))
