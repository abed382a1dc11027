"""Takes the courtesy off a request: a greeting, `could you please`, `here is what I need:`, the thanks at its end.

They say nothing of the task, and move every phrase that does.
"""

import re
from collections.abc import Mapping

from omni_app.routing.reading.words import QUESTION_MARKS, WORD, has_any, word_set

OPENING, CLOSE = 240, 160
"""Characters of the opening and of the close in which courtesy is looked for."""
QUOTES = (":", "：", '"', "“", "«")
"""What stands before words that are quoted, not said: `translate: thank you`."""
MOST = 5
"""Phrases taken off one end."""
COMPANY = "(?: there| everyone| all| team)?"
GREETINGS: Mapping[str, str] = {
    "hello hi hey hiya greetings": COMPANY,
    "dear": rf" \w+{COMPANY}",
    "good": f" (?:morning|afternoon|evening|day){COMPANY}",
    "guten": " (?:tag|morgen|abend)",
    "buenos buenas": " (?:días|dias|tardes|noches)",
    "bom": " dia",
    "boa": " tarde",
    "добрый": " (?:день|вечер)",
    "dzień": " dobry",
    "xin": " chào",
    "hallo bonjour bonsoir salut hola ciao buongiorno olá ola oi привет здравствуйте merhaba selam cześć halo": "",
    "مرحبا नमस्ते": "",
}
"""First words of a greeting: what follows them."""
FRAME = word_set(
    """
    a ai all also am an and any appreciate are as ask assistance assistant at back be bit bother can chance could
    d day dear do doing down each else everything favor favour fine first following follows for from get give glad
    got grateful great handle have hello help helpful here hey hi hope how i if in is it just kind kindly know let
    like listen little ll look m matter may me mind minute moment morning much my need new next not now of off ok
    okay on one or our out please pls possible possibly problem quick quickly re really regards request s see
    small so some somebody someone something soon sorry still sure t take task thank thanks that the then there
    these thing things think this time to today trouble up us ve very want was we well were what when which while
    will wish with wondering would yes you your yours
    """
)
"""A first or last sentence of these words alone says that something is wanted, and not what."""
SENTENCE = re.compile(r"\s*([^:.!?\n]{1,90})([:.!?\n])(?=\s)")
FIRST_WORD = re.compile(r"\W*(\w+)")
MOST_FRAME = 90
"""Characters of such a sentence."""
ENDS = ".!?。！？\n"
ASKING = frozenset({"can", "could", "would", "will", "may"})
"""A question of such words is a frame only when it begins so: `what is this?` asks for something."""
REQUESTS: Mapping[str, str] = {
    "please pls plz kindly bitte lütfen proszę пожалуйста": "",
    "could can would will": " (?:you|u)(?: please| pls| kindly| possibly| maybe)?",
    "i": (
        "(?: was wondering if you (?:could|can)(?: please)?| wonder if you could| (?:want|need) you to"
        "|(?: would|'d) (?:like|love) you to|(?: would|'d) (?:appreciate it|be grateful) if you could)"
    ),
    "kannst könntest": " du(?: bitte| mir)?",
    "können könnten": " sie(?: bitte| mir)?",
    "s": "'il (?:te|vous) plaît",
    "peux pourrais": "-tu",
    "pouvez pourriez": "-vous",
    "por": " favor",
    "per": " favore",
    "puedes podrías podría puede puoi potresti pode poderia можешь можете": "",
    "você": " (?:pode|poderia)",
    "не": " могли бы вы",
    "мог": " бы ты",
}
"""The same of a request."""
OPENING_WORDS = word_set(" ".join([*GREETINGS, *REQUESTS]))
UNSPACED = (
    r"[你您]好|大家好|こんにちは|すみませんが?|안녕하세요|请问(?:一下)?|能不能请你|麻烦[你您]?|请[你您]?(?:帮我|帮忙)?"
)
THANKS = (
    r"thanks?(?: you)?(?: (?:so|very) much)?(?: in advance)?(?: for your (?:help|time))?|thx|ty|cheers|many thanks"
    r"|thanks a (?:lot|million)|much appreciated|i (?:really )?appreciate (?:it|your help)|please|pls|plz"
    r"|(?:best|kind) regards|(?:vielen )?dank(?:e)?(?: im voraus)?|merci(?: beaucoup)?(?: d'avance)?"
    r"|(?:muchas )?gracias(?: de antemano)?|grazie(?: mille)?|obrigad[oa]|(?:большое )?спасибо(?: заранее)?"
    r"|заранее спасибо|teşekkürler|dziękuję|谢谢[你您]?|多谢|ありがとう(?:ございます)?|감사합니다|شكرا|धन्यवाद"
)
GAP = r"[\s,.!?:;，。！？：；]"
BEGUN = "|".join(f"(?:{words.replace(' ', '|')}){rest}" for words, rest in [*GREETINGS.items(), *REQUESTS.items()])
OPENS = re.compile(rf"[\s¡¿]*(?:(?:{BEGUN})(?![\w']){GAP}*|(?:{UNSPACED}){GAP}*)", re.IGNORECASE)
CLOSES = re.compile(rf"(?:^|[\s,.!?;，。！？])(?:{THANKS})[\s.!,。！:)🙏]*$", re.IGNORECASE)
HINTS = ("ank", "thx", " ty", "heers", "preciat", "egards", "lease", "pls", "plz", "erci", "acias", "razie", "brigad")
HINTS_ELSEWHERE = ("пасибо", "eşekk", "zięk", "谢", "ありがとう", "감사", "شكرا", "धन्यवाद")
"""Pieces of those thanks: without one of them at the very end the pattern need not be tried."""
AFTER_THANKS = " \t\r\n.!,。！:)🙏"
LONGEST_THANKS = 80
"""Characters; more than any of those has."""
LEAST = 4
"""Characters that must be left: `hi there` is a greeting and nothing else."""


def without_courtesy(request: str) -> str:
    """The request without the courtesy at its ends; as it is when nothing else is said."""
    start, opening = 0, request[:OPENING]
    for _ in range(MOST):
        end = courtesy_at_the_start(opening, start)
        if end is None:
            break
        start = end
    rest = request[start:].lstrip() if start else request
    for _ in range(MOST):
        cut = max(0, len(rest) - CLOSE)
        place = courtesy_at_the_end(rest[cut:])
        if place is None:
            break
        rest = rest[: cut + place] + sign(rest, cut + place)
    return rest if len(rest.strip()) >= LEAST else request


def courtesy_at_the_start(opening: str, start: int) -> int | None:
    """Where what begins at `start` ends, when it is a greeting or only says that something is wanted; else None."""
    first = FIRST_WORD.match(opening, start)
    word = first[1].lower() if first else ""
    found = frame(opening, start, word) if word in FRAME else None
    if found is None and (word in OPENING_WORDS or not opening.isascii()):
        found = OPENS.match(opening, start)
    return found.end() if found else None


def frame(opening: str, start: int, word: str) -> re.Match[str] | None:
    """The sentence that begins at `start` with this word, when it only says that something is wanted."""
    found = SENTENCE.match(opening, start)
    if not found or (found[2] == "?" and word not in ASKING):
        return None
    return found if FRAME.issuperset(WORD.findall(found[1].lower())) else None


def courtesy_at_the_end(close: str) -> int | None:
    """Where the thanks begin, or a last sentence that only says that something is wanted; None without either."""
    end = close.rstrip(AFTER_THANKS)[-LONGEST_THANKS:]
    thanked = has_any(end, HINTS) or (not end.isascii() and has_any(end, HINTS_ELSEWHERE))
    thanks = CLOSES.search(close) if thanked else None
    place = thanks.start() if thanks else last_frame(close)
    return None if place is None or close[:place].endswith(QUOTES) else place


def last_frame(close: str) -> int | None:
    """Where the last sentence begins, when it only says that something is wanted."""
    said = close.rstrip(" .!\n")
    place = max(map(said.rfind, ENDS)) + 1
    last = said[place:]
    if not place or not last or len(last) > MOST_FRAME or last[-1] in QUESTION_MARKS:
        return None
    words = WORD.findall(last.lower())
    return place if words and FRAME.issuperset(words) else None


def sign(text: str, place: int) -> str:
    """The character at `place` where it ends a sentence."""
    return text[place] if text[place] in ".!?。！？" else ""
