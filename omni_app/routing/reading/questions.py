"""What kind of knowledge a bare question asks for: a named fact, common sense, or a passage that stands before it.

Told by form, in English: a question that names someone or somewhere or gives a year asks for a fact to be known, and so
does one typed as into a search box; one about things in general, or a sentence left for the reader to end, asks for
common sense. Models differ far more between these kinds than within one.
"""

import re

from omni_app.routing.reading.words import word_set

LONGEST_QUESTION = 300
"""Characters; what is longer brings its own text."""
SHORTEST_PASSAGE = 400
FEWEST_WORDS = 3
ENDING = 300
"""Characters of the end in which the question after a passage is looked for."""

ENGLISH = re.compile(r"\b(?:the|an?|of|is|are|was|what|who|why|how|which|where|when|to|in)\b", re.IGNORECASE)
NAME = re.compile(r"(?<=[^.?!:] )[\"“‘'(]{0,2}(?!Earth|Moon|Sun\b)[A-Z][a-z]")
"""A capital within a sentence; `I` has no small letter after it."""
YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
EXPLANATION = re.compile(r"\b(?:explain|describe|elaborate|discuss|outline|compare|differences?)\b", re.IGNORECASE)
"""Asks for more than a fact."""
PERSONAL = re.compile(r"\b(?:i|my|me|we|our|us|you|your)\b", re.IGNORECASE)
SENTENCE_ENDS = re.compile(r"[.?!:\n]\s")
LEFT_OPEN = word_set(
    """
    a an and are as at because be been being but by can could do does for from has have if in into is it like likely
    mainly may means most mostly must not of often on only or so than that the their they this to until usually was were
    when where which while will with without would
    """
)
"""Last words of a sentence that breaks off."""
SCIENCE = word_set(
    """
    acid allele alkali amino angular antibody anode aqueous atom atoms axis bacteria base boson catalyst cathode cell
    cells charge chemical chromosome circuit compound compounds concentration current density diode dna electric
    electron electrons energy enthalpy entropy enzyme equilibrium field fluid force frequency friction galaxy gas gene
    genes genome gravitational hamiltonian hydrogen ion ions isotope ketone laser lens luminosity magnetic mass methyl
    molar molecule molecules momentum mutation neutron nmr nuclei nucleus orbit orbital oxidation oxygen parallax
    particle particles ph phenotype photon photons plasma polymer potential pressure product protein proteins proton
    quantum radiation reaction reactions reagent redshift rna solution solvent species spectrum spin star stars
    substrate synthesis telescope temperature thermal velocity voltage wavelength
    """
)
"""Words of physics, chemistry, biology and astronomy."""
SCIENCE_WORDS = 3
"""Different ones that make a problem one of a natural science rather than of mathematics."""
SPLIT = re.compile(r"[a-z]+")


def kind_of_question(request: str) -> str:
    """`trivia`, `commonsense` or `reading`; empty for what is no bare question, or not in English."""
    text = request.strip().rstrip("\"'”’")
    if not ENGLISH.search(text[-ENDING:]):
        return ""
    if len(text) >= SHORTEST_PASSAGE:
        return "reading" if _asks_of_passage(text) else ""
    if len(text) > LONGEST_QUESTION or text.count(" ") + 1 < FEWEST_WORDS or EXPLANATION.search(text):
        return ""
    if _is_search(text):
        return "trivia"
    if not _asks(text):
        return ""
    return "trivia" if NAME.search(text) or YEAR.search(text) else "commonsense"


def is_science(request: str) -> bool:
    """Whether the words are those of a natural science."""
    return len(SCIENCE.intersection(SPLIT.findall(request.lower()))) >= SCIENCE_WORDS


def _asks(text: str) -> bool:
    return text[-1] in "?_" or _breaks_off(text)


def _breaks_off(text: str) -> bool:
    return text.rpartition(" ")[2] in LEFT_OPEN


def _is_search(text: str) -> bool:
    """Small letters only, no question mark, nobody spoken to: `types of neuroglia`."""
    return text[0].islower() and text[-1] not in "?.!_" and text == text.lower() and not PERSONAL.search(text)


def _asks_of_passage(text: str) -> bool:
    """A question about what was told, after the telling; one about the writer or the reader is no such question."""
    ending = text.rstrip(" .")
    if not (text[-1] == "?" or ending[-1:] == "_" or _breaks_off(ending)):
        return False
    question = SENTENCE_ENDS.split(text[-ENDING:])[-1]
    return not PERSONAL.search(question)
