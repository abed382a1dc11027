"""The requirements of level 1 and 2 of OWASP's Application Security Verification Standard 5.0.0, by their numbers.

Source: https://github.com/OWASP/ASVS (CC BY-SA 4.0), in its folder `5.0/docs_en` the file
`OWASP_Application_Security_Verification_Standard_5.0.0_en.csv`. In each section those of level 1 and 2 come first, so a
count says which: `V1.2.10` is of level 3. There are 70 of level 1 and 183 of level 2.
"""

from typing import Final

COUNTS: Final[dict[str, tuple[int, ...]]] = {
    "V1": (2, 9, 11, 3, 2),
    "V2": (3, 3, 4, 1),
    "V3": (0, 2, 4, 6, 5, 0, 2),
    "V4": (3, 1, 2, 4),
    "V5": (1, 3, 2, 3),
    "V6": (3, 12, 4, 4, 5, 3, 0, 4),
    "V7": (3, 4, 2, 5, 2, 2),
    "V8": (2, 3, 1, 1),
    "V9": (3, 4),
    "V10": (2, 2, 4, 11, 5, 2, 3),
    "V11": (2, 3, 3, 4, 1, 1, 0),
    "V12": (3, 2, 4),
    "V13": (1, 5, 2, 5),
    "V14": (2, 4, 3),
    "V15": (3, 3, 7, 0),
    "V16": (1, 5, 4, 3, 3),
    "V17": (1, 4, 2),
}
"""Chapter -> for each of its sections, how many requirements of level 1 and 2 it has."""


def numbers() -> list[str]:
    """All of them, in the standard's order: `V1.1.1`, `V1.1.2`, ..."""
    return [
        f"{chapter}.{section}.{number}"
        for chapter, counts in COUNTS.items()
        for section, count in enumerate(counts, 1)
        for number in range(1, count + 1)
    ]
