"""Takes the courtesy off a request: a greeting, a `could you please`, the thanks at its end say nothing of the task."""

import re

OPENING, CLOSE = 240, 160
"""Characters of the opening and of the close in which courtesy is looked for."""
QUOTES = (":", "：", '"', "“", "«")
"""What stands before words that are quoted, not said: `translate: thank you`."""
MOST = 5
"""Phrases taken off one end."""
THIS = r"(?: (?:with|on) (?:this|that|the following|something)(?: (?:one|task|please))?)?"
GREETING = (
    r"(?:hello|hi|hey|hiya|greetings|dear \w+|good (?:morning|afternoon|evening|day))(?: there| everyone| all| team)?"
    r"|hallo|guten (?:tag|morgen|abend)|bonjour|bonsoir|salut|hola|buen[oa]s (?:días|dias|tardes|noches)|ciao"
    r"|buongiorno|olá|ola|oi|bom dia|boa tarde|привет|здравствуйте|добрый (?:день|вечер)|merhaba|selam|cześć"
    r"|dzień dobry|مرحبا|नमस्ते|xin chào|halo"
)
WISH = (
    r"i hope (?:you|this|all|your)[^.!?\n]{0,60}|hope (?:you|this)[^.!?\n]{0,60}|sorry to bother you[^.!?\n]{0,30}"
    rf"|i (?:really )?need (?:your |some |a bit of |a little )?help{THIS}|quick question"
    r"|i have a (?:quick |small )?(?:question|request|favou?r to ask)(?: for you)?"
    rf"|(?:could|can|would|will) you (?:please |kindly |possibly )?help me(?: out)?{THIS}"
    rf"|please help me(?: out)?{THIS}|help me with (?:this|the following)"
    r"|if (?:you don'?t|it'?s not|it is not|it isn'?t) (?:mind|too much trouble)|if you have (?:a|the) (?:moment|time)"
    r"|when you (?:get|have) a (?:chance|moment|minute)"
)
REQUEST = (
    r"please|pls|plz|kindly|(?:could|can|would|will) (?:you|u)(?: please| pls| kindly| possibly| maybe)?"
    r"|would you mind|i was wondering if you (?:could|can)(?: please)?|i wonder if you could"
    r"|i(?: would|'d) (?:like|love) you to|i(?: would|'d) (?:appreciate it|be grateful) if you could"
    r"|i (?:want|need) you to|bitte|(?:kannst|könntest) du(?: bitte| mir)?|(?:können|könnten) sie(?: bitte| mir)?"
    r"|s'il (?:te|vous) plaît|(?:peux|pourrais)-tu|(?:pouvez|pourriez)-vous|por favor|(?:puedes|podrías|podría|puede)"
    r"|per favore|(?:puoi|potresti)|(?:você )?(?:pode|poderia)|пожалуйста|(?:можешь|можете|не могли бы вы|мог бы ты)"
    r"|lütfen|proszę"
)
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
OPENS = re.compile(
    rf"[\s¡¿]*(?:(?:{WISH})(?:{GAP}+|(?![\w']))|(?:{GREETING}|{REQUEST})(?![\w']){GAP}*|(?:{UNSPACED}){GAP}*)",
    re.IGNORECASE,
)
CLOSES = re.compile(rf"(?:^|[\s,.!?;，。！？])(?:{THANKS})[\s.!,。！:)🙏]*$", re.IGNORECASE)
HINTS = (
    *(
        "hank",
        "thx",
        " ty",
        "heers",
        "preciat",
        "egards",
        "lease",
        "pls",
        "plz",
        "ank",
        "erci",
        "acias",
        "razie",
        "brigad",
    ),
    *("пасибо", "eşekk", "zięk", "谢", "ありがとう", "감사", "شكرا", "धन्यवाद"),
)
"""Pieces of those thanks: without one of them the pattern need not be tried."""
LEAST = 4
"""Characters that must be left: `hi there` is a greeting and nothing else."""


def without_courtesy(request: str) -> str:
    """The request without the courtesy at its ends; as it is when nothing else is said."""
    start, opening = 0, request[:OPENING]
    for _ in range(MOST):
        found = OPENS.match(opening, start)
        if not found:
            break
        start = found.end()
    rest = request[start:]
    for _ in range(MOST):
        cut = max(0, len(rest) - CLOSE)
        close = rest[cut:]
        thanks = CLOSES.search(close) if any(hint in close for hint in HINTS) else None
        if not thanks or close[: thanks.start()].endswith(QUOTES):
            break
        rest = rest[: cut + thanks.start()] + sign(rest, cut + thanks.start())
    return rest if len(rest.strip()) >= LEAST else request


def sign(text: str, place: int) -> str:
    """The character at `place` where it ends a sentence."""
    return text[place] if text[place] in ".!?。！？" else ""
