# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The signs and words around an answer as compiled patterns: what `gemtune.inference.parsing` looks for."""

import re

from gemtune.inference.answer_forms import FORMS, any_of, ending_of, pattern_of, words_of

BEFORE, AFTER = ("articles", "openings", "degrees", "nouns", "limits"), ("links", "verdicts", "grounds", "concessives")
SEPARATOR = r"=>|[:：=＝]|->|[→⇒➡➜👉]\ufe0f?|\s[-–—]\s"
SYMBOLS = r"\u2190-\u21ff\u2300-\u23ff\u2500-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0e\ufe0f\u200d\u20e3"
SYMBOL = re.compile(rf"(?![{FORMS['crosses']}])[{SYMBOLS}]")
END_TOKEN = r"<[|/]{0,2}\w{1,20}\|?>"  # of a model's turn, or of a tag that was never opened
DECORATION = re.compile(rf"^(?:\s|{SYMBOL.pattern}|=>|->|∴)+|(?:[\s.!。！]|{SYMBOL.pattern}|{END_TOKEN})+$")
FENCE = re.compile(r"```[\w-]*[ \t]*\n((?:(?!```).)*)```", re.DOTALL)
MARKUP = r"(?:[^\w\n{\[\"']|_){0,8}"
THOUGHT = re.compile(rf"^{MARKUP}{any_of(words_of('thoughts'))}{MARKUP}[:：][ \t*]*(?:\n.*|.*)\n?", re.I | re.M)
QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|「[^」\n]*」|『[^』\n]*』")
ASIDES = re.compile(rf"{QUOTED.pattern}|[(（\[][^()（）\[\]\n]*[)）\]]")
QUOTING = re.compile(r"[\"“„«「『]\s*\w")  # a quotation that goes on
TAG = re.compile(r"<([^\W\d][\w-]{0,30})(?:\s[^<>]{0,80})?>([^<>]*)</\1>")
BOXED = re.compile(r"(?:\\(?:boxed|text|math)\w*\{(?:\\(?:text|math)\w*\{)?|\[\[)([^{}\[\]]*)(?:\}|\]\])")
MARKER = (
    r"[-•・·▪●–—+]|\*(?=\s)|[(（\[]?\d{1,3}[.)．）\]:：](?!\d)|#\d{1,3}\b|\d{1,3}、|\d\ufe0f?\u20e3|[①-⑳]|[(]?[a-h]\)"
)
CHECKED = re.compile(r"^[\s*-]*(?:\[[xX✓✔]\]|[☑✅✔✓]\ufe0f?)\s*(?=\S)")
UNCHECKED = re.compile(rf"^[\s*-]*(?:\[ ?\]|[☐{FORMS['crosses']}]\ufe0f?)\s*(?=\S)")
ITEM = re.compile(rf"^[\s*_]{{0,4}}(?:{MARKER})\s*(?!\d)(?=\S)", re.MULTILINE)
REPEATED = re.compile(r"\W*(\w.*?)(?:[\s,;/|、，]+\1)+\W*", re.IGNORECASE)
SENTENCE = re.compile(rf"(?<=[.!?{SYMBOLS}])\s+|(?<=[。！？])")
OPTION = re.compile(
    r"^[\s*_>•-]{0,6}[(（\[]?(?P<label>[^\n:：]{1,60}?)[)）\]*_]{0,4}\s?(?:[.):：）]|\s[-–—=])[\s*_]{0,4}(?=\S).*",
    re.MULTILINE,
)
HEADING = re.compile(r"[\s*_#>•-]{0,4}(?P<heading>[^\W\d][\w *-]{0,30})[:：](?P<answer>[^\n]+)\s*")
MENTION = pattern_of("mentions")
CUE = re.compile(rf"{SEPARATOR}|{any_of([*words_of('links'), *words_of('mentions')])}", re.IGNORECASE)
CUE_END = re.compile(rf"(?:{SEPARATOR}|{any_of(words_of('links'))})\W*$", re.IGNORECASE)
EXPLAINED = re.compile(r"\s[-–—]\s|——|[:：]|[,，;；|]\s*[^\W\d]{1,20}\s*[:：=]")
VERDICT = re.compile(
    rf"[,，、;；|(（\[]|\s(?=[01]?\.\d)|{EXPLAINED.pattern}|{any_of(w for k in AFTER for w in words_of(k))}",
    re.IGNORECASE,
)
CONFIDENCE = r"(?:[^\W\d]{1,20}\s*[:=]\s*)?(?:[01]?\.\d+|\d{1,3}\s?%)"
ASIDE = re.compile(rf"(?:[(（][^()（）]*[)）]|(?:[,，;；|\[]\s*|(?<!\d)\s+){CONFIDENCE}(?:\s[^\W\d]{{1,12}})?)\W*")
GROUND = re.compile(
    rf"[\s,，、(（–—-]*{any_of([*words_of('grounds'), *words_of('concessives')])}[\s:：,，、]*[^\s:：,，、.。…]",
    re.IGNORECASE,
)
RETRACTION = re.compile(rf"[\n.!?。！？]\s*{any_of(words_of('retractions'))}", re.IGNORECASE)
DEGREE = pattern_of("degrees")
JUDGED, CORRECTION, PREFERENCE = pattern_of("verdicts"), pattern_of("corrections"), pattern_of("prefers")
DOUBT, INTERROGATIVE = pattern_of("doubts", "modals"), pattern_of("asks")
ABOUT_ANSWER = re.compile(
    rf"^\W*(?!{any_of(words_of('without'))}\s+\w){any_of(w for k in ('modals', 'pronouns') for w in words_of(k))}"
    rf"|{any_of(words_of('fitting'))}",
    re.IGNORECASE,
)
HEDGE, CLOSING, ADVERSATIVE = pattern_of("doubts"), pattern_of("closings"), pattern_of("adversatives")
ARROW = r"\s*(?:=>|->|[→⇒])\s*"
CLAUSE = re.compile(rf"(?:(?:[，、;；。!！?？]|[.,](?!(?<=\d.)\d))\s*|{ARROW})(?=\S)")
CONCEDED = re.compile(rf"{any_of(words_of('concessives'))}\s*$", re.IGNORECASE)
CLAUSE_OR_TURN = re.compile(rf"{CLAUSE.pattern}|{ADVERSATIVE.pattern}", re.IGNORECASE)
OPENER = re.compile(rf"^\W*{any_of(w for k in BEFORE for w in words_of(k))}[\s,，、:：!！]*", re.IGNORECASE)
ENDING = re.compile(
    rf"(?:{any_of(word for kind in ('endings', 'limits', 'nouns') for word in words_of(kind))}"
    rf"|(?P<assigned>{ending_of(words_of('particles'), words_of('assigns'))})"
    rf"|(?P<phrase>\s{any_of(words_of('prepositions'))}(?:\s+\w+){{1,4}}))\W*$",
    re.IGNORECASE,
)
YES, NO = (re.compile(rf"\W*{any_of(words_of(kind))}\W*", re.IGNORECASE) for kind in ("affirmations", "negations"))
CONCLUSION = re.compile(
    rf"(?:(?:^|[\W_])(?:{any_of(words_of('conclusions'))}|{any_of(words_of('overall'))}(?=\s*[,，、:：]))"
    rf"|{any_of(words_of('reasons'))})[\s,，、:：]*",
    re.IGNORECASE,
)
AFFIRMED = re.compile(
    rf"\W*+(?P<label>[^:：=|→\n]+?)[\s*_`]*(?:{SEPARATOR}|\||(?=[✅☑✔✓{FORMS['crosses']}]))[\s*_`]*"
    rf"(?:(?P<yes>{any_of(words_of('affirmations'))}|1|[✅☑✔✓○〇◯])|{any_of(words_of('negations'))}|0|[×{FORMS['crosses']}])\ufe0f?[\s*_`|.。]*$",
    re.IGNORECASE,
)
TABLE_HEAD = re.compile(r"^.*\|.*\n[ |:-]*-[ |:-]*$", re.MULTILINE)


MARKS = rf"[\n{re.escape(FORMS['separators'])}]"
LIST_SEPARATORS = (
    MARKS,
    rf"{MARKS}\s*{any_of(words_of('conjunctions'))}|{MARKS}|{any_of(words_of('conjunctions'))}",
    rf"{MARKS}|(?<=[」』”\"'’])\s*(?=[「『“\"'‘])|\s(?=#|{MARKER})",
)
"""What separates the labels of a row that has several: marks; words too; quotation marks and list markers in a line."""
