"""Certificates for tests of TLS, made by openssl: CAs, and what they sign, also what is over."""
import subprocess

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def make_ca(folder, name):
    """NAME.pem and NAME.key."""
    openssl(folder, "req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def make_certificate(folder, name, names, ca="ca", days=2):
    """NAME.pem and NAME.key for `names` (DNS:localhost, IP:127.0.0.1), which the CA signed; over where `days` is negative."""
    openssl(folder, "req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (folder / f"{name}.names").write_text(f"subjectAltName={names}\n")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days",
            str(days), "-extfile", f"{name}.names", "-out", f"{name}.pem")
