# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Duplicates under templates: whether different tickets are kept and near-copies found, whatever surrounds them.

    python -m bench.templates                  1,000 tickets in every language, shape, share and number of templates
    python -m bench.templates --rows 100       fewer

Tickets are different by construction: none is a near-duplicate of another without templates. A tenth of them has a
near-copy (other case, punctuation, a typing error, a word more) that is one without templates. Original and copy are
put under templates, each drawn by itself. An over-drop is a dropped row whose kept row is another ticket; a missed copy
is a copy that was kept beside its original. The command ends with exit code 1 if there is one of either. With far fewer
rows there are some: a template in a handful of rows is not recognized as one.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import numpy as np

from gemtune import dedup
from gemtune.config import Preprocess, Task
from gemtune.data.duplicates import drop_near_duplicates
from gemtune.data.example import Example, example_id

COPY, COPIED = 0.9, 10  # least similarity of a copy; every tenth ticket has one
APART = 0.65  # tickets are less similar, so that no copy of one is near another
SHARES, NUMBERS = (0.1, 0.25, 0.5, 0.9, 1.0), (1, 2, 5)
# a ticket is one choice of each line, and {n} a number
TICKETS = MappingProxyType(
    {
        "en": """The |My |Our second |One |Your new |The old 
parcel|bill|lid|screw|driver|invoice|receipt|handle|charger|lamp|sofa|paint|refund|coupon|meter|heater|blanket|kettle
 is missing| was lost| never came| arrived broken| cannot be found| was promised twice| is late again| makes a noise
 since Monday| in the new flat| at the office| as I wrote before|, order {n}| after the move, see {n}| on the stairs
|, please call me| and nobody answers|, what now?| and I want my money back|. My neighbour has the same""",
        "de": """Das |Mein |Unser zweites |Ihr neues 
Paket|Kabel|Sofa|Fahrrad|Handbuch|Ladegerät|Fenster|Guthaben|Regal|Gerät|Konto|Kissen
 fehlt seit Montag| kam beschädigt an| ist verschwunden| wurde doppelt berechnet| geht nicht mehr| macht Geräusche
 im Büro| nach dem Umzug|, Auftrag {n}| trotz Zusage| schon wieder| in der neuen Wohnung
|, bitte rufen Sie an| und keiner antwortet|. Was nun?| und ich will mein Geld zurück""",
        "ja": """先週買った|新しい|駅前の店で頼んだ|二番目の|母に贈った|修理に出した
荷物|請求書|ふた|充電器|電気スタンド|椅子|領収書|毛布|暖房器具|やかん|時計|鍋
が届きません|が壊れていました|を紛失しました|の色が違います|から音がします|が二重に請求されました
。注文番号{n}です|。月曜日からです|。引っ越し先です|。前にも書きました|。返金してください|。どうすればいいですか
|。早く連絡をください|。隣の人も同じです|。担当者は誰ですか""",
        "zh": """上周买的|新的|在车站前订的|第二个|送给母亲的|送修的
包裹|账单|盖子|充电器|台灯|椅子|收据|毛毯|取暖器|水壶|手表|锅
还没有收到|到货时坏了|找不到了|颜色不对|一直有噪音|被重复收费
，订单号{n}|，从星期一开始|，在新公寓里|，我以前写过|，请退款|，现在怎么办
|，请尽快联系我|，邻居也一样|，负责人是谁""",
        "ko": """지난주에 산 |새 |역 앞에서 주문한 |두 번째 |어머니께 드린 |수리를 맡긴 
소포가|청구서가|뚜껑이|충전기가|전등이|의자가|영수증이|담요가|난로가|주전자가|시계가|냄비가
 아직 오지 않았습니다| 고장 났습니다| 사라졌습니다| 색이 다릅니다| 소리가 납니다| 두 번 청구됐습니다
. 주문 번호 {n}입니다|. 월요일부터입니다|. 이사한 집입니다|. 전에도 썼습니다|. 환불해 주세요|. 어떻게 합니까
|. 빨리 연락 주세요|. 이웃도 같습니다|. 담당자는 누구입니까""",
        "words": """late |lost |broken |missing |wrong |double |open |cold |loud |torn
parcel|bill|lid|screw|driver|lamp|sofa|heater|kettle|meter
| today| again| twice| in {n}| upstairs| outside| for Bela""",
    }
)
# "~" is the ticket; {n}, {name} and {day} differ from ticket to ticket
TEMPLATES = MappingProxyType(
    {
        "en": r"""Here is a mail. Please say which of our teams has to answer it; one word is enough, thanks. Mail: ~
You are a helpful assistant. Read the message of the customer below and choose the right team. Message: ~
~ -- This e-mail and any attachments are confidential and intended solely for the addressee. Please delete it otherwise.
~ <br/><hr><p style="color:gray">ACME Ltd, <a href="https://acme.example/legal">registered office</a> London</p>
Ticket {n}, opened by {name} on {day} in the customer portal: ~ (This ticket was created automatically, do not reply.)
Team of this ticket?\n\n"~"\n\nAnswer with one of billing, delivery, quality. Do not explain your answer.""",
        "de": r"""Lesen Sie die Nachricht und nennen Sie die Abteilung, die antworten soll. Ein Wort genügt. Text: ~
~ -- Diese E-Mail enthält vertrauliche Informationen nur für den Empfänger. Bitte löschen Sie sie sonst.
Vorgang {n} von {name} vom {day}, eingegangen über das Kontaktformular: ~ Mit freundlichen Grüßen, Ihre Kundin
~\n\nGesendet mit der kostenlosen App unseres Kundendienstes, Version {n}""",
        "ja": """以下のメールを読み、担当チーム（請求、配送、品質）を一語で答えてください。説明は不要です。メール：~
~ このメールには機密情報が含まれています。誤って受信された場合は、直ちに削除してください。
受付番号{n}、{day}に{name}様から問い合わせフォームで受け付けました：~ 以上、よろしくお願いいたします。
あなたは親切なサポート係です。次の問い合わせを分類してください。「~」答えはラベルのみ。""",
        "zh": """请阅读以下邮件，并用一个词回答应由哪个团队（账单、配送、质量）处理，不需要解释。邮件：~
~ 本邮件及其附件含有保密信息，仅供收件人使用。如误收，请立即通知发件人并删除本邮件。
工单{n}，{name}于{day}通过客户门户提交：~ 此工单由系统自动创建，请勿回复本邮件。
你是一名乐于助人的客服。请对下面的问题进行分类。“~”只回答标签，不要解释。""",
        "ko": """메일을 읽고 어느 팀(청구, 배송)이 답해야 하는지 한 단어로 답해 주세요. 설명은 불필요합니다. 메일: ~
~ 이 메일에는 기밀 정보가 포함되어 있습니다. 잘못 받으신 경우 즉시 삭제해 주시기 바랍니다.
접수 번호 {n}, {name} 님이 {day}에 고객 포털에서 보낸 문의입니다: ~ 이 문의는 자동으로 만들어졌으니 회신하지 마세요.
당신은 친절한 상담원입니다. 아래 문의를 분류해 주세요. "~" 라벨만 답하고 설명하지 마세요.""",
    }
)
_SLOT = re.compile(r"{\w+}|~")
NAMES, DAYS = (
    ("Asta", "Bela", "Cem", "Dora", "Elisabeth", "Fumiko", "Gita", "Johanna"),
    ("3 May", "2026-10-12", "Tuesday"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """Over-drops and missed copies among so many tickets and copies, as pairs of texts."""

    tickets: int
    copies: int
    over_drops: list[tuple[str, str]]
    missed: list[tuple[str, str]]


def tickets(language: str, count: int, draw: random.Random) -> list[str]:
    """So many tickets, none of which is a near-duplicate of another."""
    parts = [line.split("|") for line in TICKETS[language].split("\n")]
    every = ["".join(choice) for choice in product(*parts)]
    draw.shuffle(every)
    texts = [text.replace("{n}", str(draw.randrange(10_000, 100_000))) for text in every[: 4 * count]]
    kept = dedup.keep(texts, APART, threads=1)
    return [text for text, stays in zip(texts, kept, strict=True) if stays][:count]


def near_copy(text: str, draw: random.Random) -> str:
    """The text edited, with a Jaccard similarity of at least COPY to it."""
    edits: list[Callable[[], str]] = [text.upper, lambda: text + " !!", lambda: f"{text} ok",
                                      lambda: _typing_error(text, draw)]  # fmt: skip
    for edit in draw.sample(edits, len(edits)):
        copy = edit()
        if dedup.similarities([copy, text], np.array([[0, 1]]))[0] >= COPY:
            return copy
    return text + "!"


def _typing_error(text: str, draw: random.Random) -> str:
    letters = [i for i, letter in enumerate(text) if letter.isalpha()]
    at = draw.choice(letters)
    return text[:at] + text[at + 1 :]


def dressed(text: str, slots: dict[str, str], templates: list[str], share: float, draw: random.Random) -> str:
    """The text, in that share of the cases under one of the templates with its slots filled."""
    template = draw.choice(templates) if draw.random() < share else "~"
    for slot, value in slots.items():
        template = template.replace(slot, value)
    return template.replace("~", text)


def study(language: str, count: int, number: int, share: float, seed: int) -> Result:
    """So many tickets and their copies under so many templates in that share of the rows."""
    draw = random.Random(f"{language} {count} {number} {share} {seed}")
    every = [text.replace("\\n", "\n") for text in TEMPLATES["en" if language == "words" else language].split("\n")]
    templates = draw.sample(every, min(number, len(every)))
    originals = tickets(language, count, draw)
    texts = originals + [near_copy(text, draw) for text in originals[::COPIED]]
    owners = [*range(len(originals)), *range(0, len(originals), COPIED)]
    slots = [{"{n}": str(draw.randrange(10_000, 100_000)), "{name}": draw.choice(NAMES), "{day}": draw.choice(DAYS)}
             for _ in originals]  # fmt: skip
    rows = []
    for line, text in enumerate(texts):
        row = dressed(text, slots[owners[line]], templates, share, draw)
        rows.append(Example(example_id(row, "a"), row, "a", line))
    kept, dropped = drop_near_duplicates(rows, Task(), Preprocess())
    by_id = {row.id: row for row in rows}
    over = [(row.row["text"], by_id[row.kept_id or ""].text) for row in dropped
            if owners[row.line] != owners[by_id[row.kept_id or ""].line]]  # fmt: skip
    first: dict[tuple[int, str], Example] = {}
    missed = []
    for stays in kept:
        filled = next((t for t in templates if "{" in t and max(_SLOT.split(t), key=len) in stays.text), "")
        earlier = first.setdefault((owners[stays.line], filled), stays)
        if earlier is not stays:
            missed.append((stays.text, earlier.text))
    return Result(len(originals), len(rows) - len(originals), over, missed)


def studies(count: int, seed: int = 1) -> Iterator[tuple[str, Result]]:
    """All studies, with what each is."""
    for language, number, share in product(TICKETS, NUMBERS, SHARES):
        yield f"{language:5} {number} templates in {share:4.0%}", study(language, count, number, share, seed)


def main() -> None:
    """Print a line for each study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000, help="tickets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="examples shown of each fault")
    arguments = parser.parse_args()
    over_drops = missed = tickets = copies = 0
    for title, result in studies(arguments.rows, arguments.seed):
        over_drops, missed = over_drops + len(result.over_drops), missed + len(result.missed)
        tickets, copies = tickets + result.tickets, copies + result.copies
        faults = f"{len(result.over_drops)} over-drops, {len(result.missed)} missed"
        print(f"{title}: {result.tickets} tickets, {result.copies} copies, {faults}", flush=True)
        for kind, pairs in (("over-drop", result.over_drops), ("missed", result.missed)):
            for pair in pairs[: arguments.show]:
                print(f"   {kind}: {pair[0]!r}\n      {pair[1]!r}")
    print(f"{over_drops} of {tickets} different tickets dropped; {missed} of {copies} copies missed")
    if over_drops or missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
