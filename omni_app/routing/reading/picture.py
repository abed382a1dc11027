"""Tells a request to make a picture from all the others that speak of drawing and pictures."""

import re
from collections.abc import Mapping, Sequence

from omni_app.routing.reading.words import UNSPACED, WORD, word_set

MARKERS = frozenset(["draw", "picture", "picture_request"])
OF_PICTURES = MARKERS | {"make"}
"""Markers whose places tell whether a picture is asked for."""
FIRST_WORDS = 8
"""`draw` counts among the first words only: `can you please draw me a …`."""
REACH = 9
"""Words between a verb and the picture that it is to make."""
GLUE = word_set("of for about with that to in on from and which who by into than")
"""Words that end a verb's reach: `make a list of pictures` asks for a list."""
ENGLISH_DRAW = word_set("draw paint sketch")
"""Verbs with other senses (`draw on`, `paint job`): something countable must follow."""
COUNTED = word_set("a an the some two three four five my our this his her me us")
ABOUT_PICTURES = word_set("caption captions title titles tip tips idea ideas policy app apps album tool tools system")
"""Words that what is made is named by, where they follow a picture: `a photo caption`, `an image compression tool`."""
NAMED_WITHIN = 2

UNSPACED_REQUEST = re.compile(
    r"(?:设计|設計|生成|制作|製作|做|来|來|画|畫|绘制|繪製)[^，。,.!?！？\n]{0,18}?(?:图|圖|(?<![动動漫计計])[画畫]|照片|海报|海報|logo|头像|頭像|壁纸|插画|图标|标志"
    r"|封面(?!信)|表情包|漫画)(?!管理|系统|网站|程序|代码|数据|识别|处理|工具|软件|应用|app|表|像处理|标题|文案|书|家|展|形|书馆|片段)"
    r"|(?:イラスト|画像|絵|ロゴ|ポスター|アイコン|壁紙|挿絵|似顔絵|バナー)[^。\n]{0,8}?(?:作|描|生成|デザイン)"
    r"|(?:그림|이미지|로고|포스터|일러스트|아이콘|배경화면|사진|삽화)[^.\n]{0,8}?(?:그려|만들|생성|디자인)",
    re.IGNORECASE,
)
"""A verb and the picture that it is to make, or the other way round, in scripts that do not write words apart."""
UNSPACED_REQUEST_STARTS = re.compile(r"[设設生制製做来來画畫绘繪イ絵ロポアバ壁挿似그이로포일아배사삽]")
"""Where it can begin."""


def asks_for_picture(words: Sequence[str], places: Mapping[str, Sequence[int]]) -> bool:
    """Whether a zone says to draw something or to make a picture. `places`: marker -> where its phrases begin."""
    if places.keys().isdisjoint(MARKERS):
        return False
    if "picture_request" in places or any(draws(words, place) for place in places.get("draw", ())):
        return True
    verbs = (*places.get("make", ()), *places.get("draw", ()))
    return any(reaches(words, verb, picture) for picture in places.get("picture", ()) for verb in verbs)


def asks_unspaced(text: str) -> bool:
    """Whether a text with such a script in it says to make a picture."""
    return any(UNSPACED_REQUEST.match(text, start.start()) for start in UNSPACED_REQUEST_STARTS.finditer(text))


def draws(words: Sequence[str], place: int) -> bool:
    """Whether the verb at `place` says to draw something."""
    if place >= FIRST_WORDS:
        return False
    following = words[place + 1 : place + 2]
    return not following or words[place] not in ENGLISH_DRAW or following[0] in COUNTED


def reaches(words: Sequence[str], verb: int, picture: int) -> bool:
    """Whether the picture named at `picture` is the object of the verb."""
    between = words[verb + 1 : picture]
    if between[:2] == ["for", "me"]:
        between = between[2:]
    return verb < picture <= verb + REACH and GLUE.isdisjoint(between) and not names_another(words, picture)


def names_another(words: Sequence[str], picture: int) -> bool:
    """Whether the picture named at `picture` only tells what kind of another thing is meant."""
    for word in words[picture + 1 : picture + 1 + NAMED_WITHIN]:
        if word in ABOUT_PICTURES:
            return True
        if word in GLUE or word in COUNTED:
            return False
    return False


# Captions: a scene described, nothing asked. What people send to an image model.

CAPTION_STARTS = word_set("a an the two three four five several many some")
NO_CAPTION = word_set(
    """
    i you we my your our me us is are was were do does did can could should would will have has had please what who how
    why when where which if because not let make write give explain tell
    """
)
"""Words of a speaker, a question or an order."""
UNSPACED_CAPTION = 8
"""Characters of a caption in a script without spaces."""
UNSPACED_SPEECH = re.compile(
    r"[我你请吗呢]|什么|怎么|如何|为什么|写|解释|ください|ですか|ますか|とは|해줘|하는|인가|무엇|어떻게"
)
CAPTION_CHARACTERS = 400
CAPTION_WORDS = 4


def is_caption(text: str, *, styled: bool, named: bool) -> bool:
    """Whether a text only describes a scene.

    `styled`: it names a painter's or photographer's technique. `named`: it begins with a kind of picture.
    """
    if len(text) > CAPTION_CHARACTERS or "?" in text or "\n" in text.strip():
        return False
    words = text.lower().split()
    if (styled or named) and len(words) < CAPTION_WORDS:
        return len(text) >= UNSPACED_CAPTION and UNSPACED.search(text) is not None and not UNSPACED_SPEECH.search(text)
    if len(words) < CAPTION_WORDS or (words[0] not in CAPTION_STARTS and not styled and not named):
        return False
    return styled or (NO_CAPTION.isdisjoint(WORD.findall(text.lower())) and words[-1][-1] != ":")
