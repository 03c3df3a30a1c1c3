"""How refusals open, in nine languages: patterns for one sentence, case-folded.

A pattern needs the whole of a refusal: the first person, that it cannot, and a verb of helping.
Without the verb, "I can't recommend this enough" would be one; without the person, a drafted
letter would be. Every gap is bounded, so that matching a bounded opening takes bounded time.
"""

from __future__ import annotations

import re
from typing import Final

# A sentence that may stand before a refusal without being one. A greeting by name is not among
# them: it opens a letter that the model was asked to draft.
_GREETING: Final = r"(?:hi|hello|hey)(?: there| again)?(?=[,.!]|$)"
LEAD_IN: Final = re.compile(
    rf"{_GREETING}|"
    r"(?:thanks?|thank you|i'm (?:so |very |really |truly )?sorry|i am sorry"
    r"|(?:i'm |i am )?afraid|sorry|apologies|my apologies|i apologi[sz]e|i understand|i appreciate"
    r"|i hear you|unfortunately|hallo|guten tag|vielen dank|danke|es tut mir leid|tut mir leid"
    r"|entschuldigung|bonjour|merci|désolée?|je suis désolée?|je comprends|hola|gracias|lo siento"
    r"|ciao|grazie|mi dispiace|olá|obrigad[oa]|desculpe|sinto muito|lamento|het spijt me"
    r"|bedankt)(?!\w)|很?抱歉|对不起|申し訳|すみません"
)

_HELP: Final = (
    r"(?:help(?= with| you| out\b| in\b| on\b| there| here|\W*$|[.,;:!])(?! but)"
    r"|assist|comply|fulfil|provide|answer (?:that|this|your|the|any|questions?)|respond to"
    r"|engage (?:in|with)|continue with (?:this|that)|creat|generat|writ|produc(?:e|ing)|discuss"
    r"|shar(?:e|ing)|participat|do (?:that|this)\b|doing (?:that|this)\b|offer|advis"
    r"|giv(?:e|ing) (?:you|advice|medical|legal|financial|instructions?|out)|support (?:this|that)"
    r"|(?:complet|process)\w* (?:this|that|your|the) (?:request|task))(?!\w* \w* ?enough\b)"
)
_CANNOT: Final = (
    r"(?:can't|cant|cannot|can not|won't|will not|won't be able to|will not be able to"
    r"|could not|couldn't|'m unable to|am unable to|'m not able to|am not able to"
    r"|'m not allowed to|am not allowed to|'m not permitted to|am not permitted to"
    r"|don't have the ability to|do not have the ability to|don't feel comfortable"
    r"|do not feel comfortable|'m not comfortable|am not comfortable)"
)
_ADVERB: Final = r"(?:\s(?:really|simply|just|unfortunately|directly|ethically|legally|currently))?"

# What may come first within the sentence: an apology or a concession, up to its comma or "but".
_PREFACE: Final = (
    r"(?:[^.!?]{0,120}?(?:,|;|:|\bbut\b|\bthat\b|\bunfortunately\b|\bregrettably\b|—|–|-)\s*"  # noqa: RUF001
    r"(?:but |however,? |as an ai[\w ]{0,40},? )?)?"
)
_SOFT_OPENING: Final = (
    r"(?=(?:i'm|i am|sorry|apologies|my apolog|i apolog|unfortunately|regrettably|thank"
    r"|i understand|i appreciate|(?:while|although) i (?:understand|appreciate|know)|as an? "
    rf"|however|{_GREETING}|i regret|for safety|i know|at this time|no,))"
)

_ENGLISH: Final = (
    rf"i ?{_CANNOT}{_ADVERB} {_HELP}",
    rf"{_SOFT_OPENING}{_PREFACE}i ?{_CANNOT}{_ADVERB} {_HELP}",
    (
        r"as an? (?:ai|artificial intelligence|(?:large )?language model)\b[^.!?]{0,80}?\bi"
        r"(?: can't| cannot| can not| am unable| am not able|'m unable|'m not able"
        r"| (?:don't|do not) have (?:access|the ability|personal|opinions?|feelings)| must decline)"
    ),
    (
        rf"(?:{_SOFT_OPENING}{_PREFACE})?i (?:must|have to|need to|will have to)"
        r" (?:respectfully |politely )?(?:decline|refuse)"
    ),
    r"i (?:refuse to|decline to|will not be) (?:help|assist|answer|provid|comply|generat|writ)",
    (
        r"(?:this|that|your|the) (?:request|question|prompt|content)\b[^.!?]{0,40}?"
        r"(?:violates|goes against|is against|was flagged|conflicts with)[^.!?]{0,40}?"
        r"(?:polic|guideline|terms|safety|programming|principles)"
    ),
    r"(?:it's|it is|that's|that is) against my (?:polic|guideline|programming|principles)",
)

_WORDS: Final = r"(?:[\s,]+[\w']+){0,6}?[\s,]+"

_OTHER_LANGUAGES: Final = (
    # German: the verb stands at the end.
    (
        r"(?:[^.!?]{0,60}?[,\s])?(?:ich kann|kann ich|ich darf|darf ich|könnte ich)"
        rf"{_WORDS}(?:nicht|keine?n?){_WORDS}"
        r"(?:weiter)?(?:helfen|beantworten|erfüllen|bereitstellen|unterstützen|geben|erstellen"
        r"|schreiben|nachkommen)\b"
    ),
    r"(?:[^.!?]{0,60}?[,\s])?ich bin(?: leider)? nicht in der lage\b",
    # French
    (
        r"(?:[^.!?]{0,60}?[,\s])?je (?:ne )?(?:peux|puis) (?:malheureusement )?pas "
        r"(?:vous |t'|te |y )?(?:aider|répondre|fournir|accéder|créer|générer|satisfaire|écrire)"
    ),
    r"(?:[^.!?]{0,60}?[,\s])?je ne suis (?:malheureusement )?pas en mesure d",
    # Spanish
    (
        r"(?:[^.!?]{0,60}?[,\s])?no (?:te |le |les )?(?:puedo|podré) "
        r"(?:ayudar|proporcionar|responder|cumplir|generar|crear|ofrecer|brindar|escribir|asistir)"
    ),
    # Italian
    (
        r"(?:[^.!?]{0,60}?[,\s])?non (?:ti |le |vi )?(?:posso|sono in grado di) "
        r"(?:aiutar|fornir|risponder|soddisfar|generar|crear|scriver|assister)"
    ),
    # Portuguese
    (
        r"(?:[^.!?]{0,60}?[,\s])?não (?:te |lhe |o )?(?:posso|consigo) "
        r"(?:ajud|fornec|respond|cumprir|gerar|criar|oferecer|escrever|atender)"
    ),
    # Dutch
    (
        rf"(?:[^.!?]{{0,60}}?[,\s])?(?:ik kan|kan ik){_WORDS}(?:niet|geen){_WORDS}"
        r"(?:helpen|beantwoorden|geven|verstrekken|schrijven|voldoen)\b"
    ),
    # Chinese and Japanese
    (
        r"(?:很?抱歉|对不起|不好意思)?[，,]?(?:但|但是)?我(?:无法|不能|不可以|没有办法)"  # noqa: RUF001
        r"(?:为您|为你|给您|给你)?(?:协助|提供|帮助|帮您|帮你|回答|满足|处理|完成|生成)"
    ),
    (
        r"(?:申し訳(?:あり|ござい)ませんが|すみませんが|恐れ入りますが)[、,]?[^。]{0,60}?"
        r"(?:お答え|お手伝い|対応|提供|お応え|回答)(?:することは|は)?(?:でき|いたしかね)"
    ),
)

REFUSAL: Final = re.compile("|".join((*_ENGLISH, *_OTHER_LANGUAGES)))
