# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Files as people have them: encodings, line ends, delimiters, sheets and lists give the same rows as plain JSONL."""

import csv
import io
import itertools
import json
import random
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gemtune.config import Preprocess, Task
from gemtune.data.example import RejectedRow
from gemtune.data.readers import read_rows
from gemtune.errors import UserError

TICKETS = {
    "cp932": ["荷物がまだ届きません", "請求書を再発行してください", "①ﾃｽﾄ注文を取り消したい"],
    "cp949": ["배송이 아직 오지 않았어요", "환불을 받고 싶습니다", "비밀번호를 잊어버렸어요"],
    "gb18030": ["我的包裹还没有到", "我想要退款", "忘记了密码怎么办"],
    "big5": ["我的包裹還沒有到", "我想要退款", "忘記密碼怎麼辦"],
    "cp1252": ["Wo ist mein Päckchen?", "Où est ma commande ?", "¿Dónde está mi pedido? 5 €"],
    "cp1251": ["Где моя посылка", "Верните деньги", "Забыл пароль"],
    "cp1253": ["Πού είναι το δέμα μου", "Θέλω τα χρήματά μου πίσω", "Ξέχασα τον κωδικό"],
}
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


def rows_of(path: Path, task: Task | None = None, **config: Any) -> tuple[list[Any], list[str]]:
    """The rows of a file without their lines, rejected ones as (line, reason), and the notes."""
    notes: list[str] = []
    found = read_rows(path, "", task, Preprocess.of(config), notes.append)
    return [(r.line, r.reason) if isinstance(r, RejectedRow) else r[1] for r in found if r], notes  # type: ignore[index, union-attr]


def csv_text(rows: list[dict[str, str]], delimiter: str, end: str) -> str:
    out = io.StringIO()
    sheet = csv.writer(out, delimiter=delimiter, lineterminator=end)
    sheet.writerows([["text", "label"], *([row["text"], row["label"]] for row in rows)])
    return out.getvalue()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("language", "encoding"), [*zip(TICKETS, TICKETS, strict=True), *itertools.product(("cp932", "big5"), UNICODE)]
)
def test_read_rows_recognizes_encoding_delimiter_and_line_ends(
    tmp_path: Path, language: str, encoding: str, delimiter: str, end: str
) -> None:
    rows = [{"text": text, "label": f"label{k % 2}"} for k, text in enumerate(TICKETS[language] * 3)]
    path = tmp_path / "a.csv"
    path.write_bytes(csv_text(rows, delimiter, end).encode(encoding))
    found, notes = rows_of(path)
    assert found == rows
    assert any("preprocess.delimiter" in note for note in notes) == (delimiter != ",")
    assert any("preprocess.encoding" in note for note in notes) == (encoding in (*TICKETS, "utf-16-le", "utf-16-be"))


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)
ROWS = st.lists(st.fixed_dictionaries({"text": TEXT, "label": TEXT}), min_size=1, max_size=5)
SHEET_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="="), min_size=1)
SHEET_ROWS = st.lists(st.fixed_dictionaries({"text": SHEET_TEXT, "label": SHEET_TEXT}), min_size=1, max_size=5)


@given(
    rows=ROWS,
    encoding=st.sampled_from(UNICODE[:3]),
    delimiter=st.sampled_from(",;\t|~"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    named=st.booleans(),
)
def test_read_rows_of_any_table_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, str]],
    encoding: str,
    delimiter: str,
    end: str,
    named: bool,
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.csv"
    first = f"sep={delimiter}{end}" if named or delimiter == "~" else ""
    path.write_bytes((first + csv_text(rows, delimiter, end)).encode(encoding))
    assert rows_of(path)[0] == rows
    path.write_bytes(csv_text(rows, delimiter, end).encode(encoding))
    assert rows_of(path, delimiter=delimiter, encoding=encoding) == (rows, [])


@given(rows=ROWS, indent=st.sampled_from([None, 1]), name=st.sampled_from(["a.json", "a.jsonl"]))
def test_read_rows_of_a_json_list_equals_its_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], indent: int | None, name: str
) -> None:
    path = tmp_path_factory.mktemp("rows") / name
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    found = list(read_rows(path))
    assert [row for _, row in found] == rows  # type: ignore[misc]
    assert [line for line, _ in found] == [4 * k + 2 if indent else k + 1 for k in range(len(rows))]  # type: ignore[misc]


@given(rows=SHEET_ROWS)
def test_read_rows_of_a_sheet_equals_its_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.xlsx"
    book = openpyxl.Workbook()
    for cells in (["text", "label"], *([row["text"], row["label"]] for row in rows)):
        book.active.append(cells)
    book.save(path)
    assert rows_of(path)[0] == rows


def test_read_sheet_reads_cells_as_text_and_notes_the_sheet(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book = openpyxl.Workbook()
    book.active.title = "other"
    book.active.append(["text", "label"])
    sheet = book.create_sheet("tickets")
    for cells in (["text", "label", "x"], [12, 1.0, None], [], ["b", True, 2.5], ["text", "label", "x"]):
        sheet.append(cells)
    book.save(path)
    found, notes = rows_of(path)
    assert found == [
        {"text": "12", "label": "1", "x": ""},
        {"text": "b", "label": "true", "x": "2.5"},
        (5, "repeated_header"),
    ]
    assert notes == [
        f"{path}: the worksheet 'tickets' is read, the largest of 2; if that is wrong, set preprocess.worksheet"
    ]
    assert rows_of(path, worksheet="other") == ([], [])
    for _ in range(40):
        book.create_sheet("notes").append(["a note of some words"] * 9)
    book["notes"].append(["text"] * 50)
    sheet.append([datetime(2026, 1, 31), datetime(2026, 1, 31, 9), ""])
    book.save(path)
    found, (note,) = rows_of(path)
    assert found[-1] == {"text": "2026-01-31", "label": "2026-01-31T09:00:00", "x": ""}
    assert "the worksheet 'tickets' is read, by its columns, one of 42" in note
    with pytest.raises(UserError, match=r"no worksheet 'none'.*tickets"):
        rows_of(path, worksheet="none")


@pytest.mark.parametrize(
    ("second", "rows"),
    [
        ("text,label\nc,z\n", [{"text": "c", "label": "z"}]),
        ("\ufefftext,label\nc,z\n", [{"text": "c", "label": "z"}]),
        ("label,text\nz,c\n", [{"text": "c", "label": "z"}]),
        ("Label,TEXT\nz,c\n", [{"text": "c", "label": "z"}]),
        ("id,label,text\n7,z,c\n", [{"id": "7", "text": "c", "label": "z"}]),
    ],
)
def test_read_table_rejects_a_header_in_the_middle(tmp_path: Path, second: str, rows: list[Any]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text,label\na,x\nb,y\n{second}", encoding="utf-8")
    first = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    assert rows_of(path)[0] == [*first, (4, "repeated_header"), *rows]


def test_read_rows_reads_the_lines_of_a_cut_list(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a},", "label": "x"},\n{"text": "b", "label": "y"} , \n{"text": "c"}\n')
    assert rows_of(tmp_path / "a.jsonl")[0] == [
        {"text": "a},", "label": "x"},
        {"text": "b", "label": "y"},
        {"text": "c"},
    ]


def test_read_table_begins_at_the_row_that_names_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Export of tickets,\n,\n2026-01-03,\nlabel,text\nx,a\ny,b\n")
    rows, notes = rows_of(path)
    assert rows == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    assert "line 4 names the columns; the rows above it are left out" in notes[0]
    path.write_text("Export\n\nbody,topic\nb,x\n")  # no column is named
    assert rows_of(path)[0] == [{"body": "b", "topic": "x"}]
    assert rows_of(path, text_column="", target_column="")[0] == [{"body": "b", "topic": "x"}]
    path.write_text("message\nhello, you\na, b, c\n")  # texts with commas are no table
    assert rows_of(path, delimiter=",")[0] == [(2, "wrong_cells"), (3, "wrong_cells")]
    path.write_text(",b\n,x\n,\n")
    assert rows_of(path, text_column="", target_column="")[0] == [{"": "", "b": "x"}, {"": "", "b": ""}]
    path.write_text("text,class\na,x\ntext,label\n")  # the first row names a column itself
    assert rows_of(path) == ([{"text": "a", "class": "x"}, {"text": "text", "class": "label"}], [])


def test_read_rows_reads_objects_on_several_lines_and_refuses_a_broken_one(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.json", [{"text": "a\n{", "label": "x"}, {"text": "b", "label": "y"}]
    path.write_text("\n".join(json.dumps(row, indent=2) for row in rows))
    assert rows_of(path)[0] == rows
    path.write_text(path.read_text() + '\n{\n "text": }\n')
    with pytest.raises(UserError, match=r"a\.json:9: the JSON object that begins at line 1 is broken.*jq -c"):
        rows_of(path)


@pytest.mark.parametrize(("language", "encoding"), [("cp932", "iso2022_jp"), ("cp949", "iso2022_kr")])
def test_read_rows_recognizes_escape_sequences(tmp_path: Path, language: str, encoding: str) -> None:
    path, rows = tmp_path / "a.csv", [{"text": text[:12], "label": "x"} for text in TICKETS[language][:2]]
    path.write_bytes(csv_text(rows, ",", "\n").encode(encoding))
    found, notes = rows_of(path)
    assert found == rows
    assert f"read as {encoding.upper()}" in notes[0]


SINGLE = {
    **TICKETS,
    "euc_jp": ["荷物がまだ届きません", "請求書を再発行してください"],
    "cp1250": ["Gdzie jest moja przesyłka? Zamówiłem ją tydzień temu", "Kde je moje zásilka? Už týden čekám"],
    "cp1254": ["Siparişim nerede? Geçen hafta ödedim"],
    "iso8859-2": [
        "Kde je můj balík? Čekám už týden, řešte to prosím",
        "Chcę anulować subskrypcję od przyszłego miesiąca",
    ],
    "cp852": ["Kde je můj balík? Čekám už týden, řešte to prosím", "Kérem vissza a pénzemet, a termék sérült volt"],
    "mac-latin2": ["Proszę o zwrot pieniędzy, towar był uszkodzony"],
    "mac-roman": ["Bonjour, où est passé mon colis commandé à Noël ?", "La factura está equivocada, señor. ¿Qué pasó?"],
    "cp850": [
        "Le déjeuner était très mauvais, je veux être remboursé.",
        "Können Sie mir die Größe ändern? Bitte für März",
    ],
    "koi8-r": ["Где мой заказ? Жду уже две недели."],
    "koi8-u": ["Де моє замовлення? Чекаю вже два тижні."],
    "cp866": ["Верните деньги, товар пришёл сломанным."],
    "iso8859-5": ["Прошу отменить подписку со следующего месяца."],
    "mac-cyrillic": ["Поверніть гроші, товар прийшов зламаним."],
    "cp1255": ["איפה ההזמנה שלי? אני מחכה כבר שבועיים."],
    "cp1256": ["أين طلبي؟ أنتظر منذ أسبوعين."],
    "iso8859-6": ["هناك خطأ في الفاتورة"],
    "cp1257": ["Prašau grąžinti pinigus, prekė sugadinta ir grįžta."],
    "cp874": ["สินค้าที่สั่งยังไม่มาถึง รอมาสองสัปดาห์แล้ว"],
    "johab": ["환불해 주세요. 제품이 고장났어요."],
}


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, own in SINGLE.items() for text in own])
def test_read_rows_recognizes_the_encoding_of_a_single_line(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps({"text": text, "label": "a"}, ensure_ascii=False).encode(encoding))
    assert rows_of(path)[0] == [{"text": text, "label": "a"}]


def test_read_rows_names_encodings_that_are_nearly_as_likely(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\nŽádám,a\n".encode("iso8859-2"))
    rows, notes = rows_of(tmp_path / "a.csv")
    assert rows == [{"text": "Žádám", "label": "a"}]
    assert "read as iso8859-2 (cp1250 is nearly as likely); if that is wrong, set preprocess.encoding" in notes[0]


TYPED = {  # with the dashes, quotes and currency signs of word processors
    "en": ["It doesn’t work – please help…", "The “premium” plan costs £20 or €25", "I’ve waited • 3 days — refund me"],
    "de": [
        "Die Lieferung – nach „größerer“ Verzögerung – ist da",
        "Für 5 € zu teuer; „Öl“ ausgelaufen",
        "GRÖSSE falsch…",
    ],
    "fr": [
        "L’appareil ne démarre plus… « cassé » à la réception",
        "J’ai déjà payé 20 €, cœur brisé",
        "Où est mon colis ?",
    ],
    "es": ["El pingüino – “muy caro” – llegó roto", "¿Dónde está la devolución del año pasado? 30 €", "Contraseña…"],
    "it": [
        "Perché il pacco non è arrivato?",
        "La qualità è pessima – voglio un rimborso",
        "È già la terza volta… 10 €",
    ],
    "pt": ["Não recebi a encomenda – já são 3 dias", "A situação é “péssima”", "Atenção: preço errado 5 €"],
    "sv": ["Var är mitt paket? Jag är arg", "Kan inte logga in – löst på måndag?", "Återbetalning önskas"],
    "da": ["Hvor er min pakke? Jeg ønsker penge tilbage – æbler ødelagt", "Kan ikke logge på i går", "Ærgerligt"],
}


@pytest.mark.parametrize("language", TYPED)
@pytest.mark.parametrize("rows", [1, 3, 60])
def test_read_rows_recognizes_typed_western_text(tmp_path: Path, language: str, rows: int) -> None:
    for text in TYPED[language] if rows == 1 else ["\n".join(TYPED[language])]:
        lines = [f"{line} {k}" for k in range(rows) for line in text.split("\n")]
        (tmp_path / "a.jsonl").write_text(
            "".join(json.dumps({"text": line, "label": "a"}, ensure_ascii=False) + "\n" for line in lines), "cp1252"
        )
        assert [row["text"] for row in rows_of(tmp_path / "a.jsonl")[0]] == lines


@pytest.mark.parametrize(
    "text", ["お届け先の住所を変更したい", "배송이 아직 오지 않았어요", "Où est ma commande réglée été"]
)
def test_read_lines_names_a_damaged_byte_in_a_single_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    content = json.dumps({"text": text, "label": "a"}, ensure_ascii=False).encode()
    path.write_bytes(content.replace(b'", "label', b'\xff", "label'))
    with pytest.raises(UserError, match=r"a\.jsonl:1: byte \d+ \(0xff\) is not UTF-8 .*save the rest as UTF-8"):
        rows_of(path)


def test_read_lines_names_a_damaged_byte_among_sound_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\né,a\nü,b\n".encode() + b"ab\xe9,b\n")
    with pytest.raises(UserError, match=r"a\.csv:4: byte 3 \(0xe9\) is not UTF-8 .*save the rest as UTF-8"):
        rows_of(path)
    assert rows_of(path, encoding="cp1252")[0][-1] == {"text": "abé", "label": "b"}
    path.write_bytes(b"text,label\na\x81,b\n")
    with pytest.raises(UserError, match=r"a\.csv:2: byte 2 \(0x81\) is not CP1252"):
        rows_of(path, encoding="cp1252")


@pytest.mark.parametrize("suffix", [".xlsx", ".parquet", ".gz"])
def test_read_lines_names_the_suffix_of_other_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    frame = pd.DataFrame({"text": ["a"], "label": ["b"]})
    if suffix == ".xlsx":
        frame.to_excel(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path)
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(path.read_bytes())
        with pytest.raises(UserError, match=rf"name it \{suffix}"):
            rows_of(tmp_path / name)


def test_read_rows_says_what_a_file_is_that_has_no_rows(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("rows.csv", "text,label\na,b\n")
    contents = {
        b"\r\n <!DOCTYPE HTML><html><body>Sign in</body></html>": "an HTML page",
        b"\xef\xbb\xbf<HTML><table><tr><td>text</td></tr></table>": "an HTML page",
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "an XML file",
        b"\x89PNG\r\n\x1a\n\0\0": "a PNG image",
        b"\xff\xd8\xff\xe0\0\x10JFIF": "a JPEG image",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n": "a Git LFS pointer",
        b"SQLite format 3\0": "an SQLite database",
        archive.getvalue(): "a zip archive",
    }
    for content, what in contents.items():
        for name in ("a.csv", "a.jsonl", "a.tsv", "a.json", "a.xlsx", "a.parquet", "a"):
            (tmp_path / name).write_bytes(content)
            for config in ({}, {"encoding": "latin-1"}):
                with pytest.raises(UserError, match=f"it is {what}"):
                    rows_of(tmp_path / name, **config)
    for name in ("a.xlsx", "a.parquet"):
        (tmp_path / name).write_text("text,label\na,b\n")
        with pytest.raises(UserError, match=r"it is text.*name it \.csv"):
            rows_of(tmp_path / name)
    for header in ("Orchestra", "riff", "GIF", "PK", "<b>text</b>"):
        (tmp_path / "a.csv").write_text(f"{header},label\na,b\n")
        assert rows_of(tmp_path / "a.csv")[0] == [{header: "a", "label": "b"}]


@pytest.mark.parametrize("content", [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"%PDF-1.7\n"])
def test_read_lines_names_a_format_to_save_as(tmp_path: Path, content: bytes) -> None:
    for name in ("a.csv", "a.jsonl", "a.xls"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"save it as \."):
            rows_of(tmp_path / name)


def test_read_lines_removes_the_mark_of_a_named_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "é"}', encoding="utf-8-sig")
    for name in ("UTF-8", "utf8", "utf-8-sig"):
        assert rows_of(tmp_path / "a.jsonl", encoding=name)[0] == [{"text": "é"}]


def test_preprocess_refuses_an_unknown_encoding() -> None:
    for name in ("klingon", "rot13", "base64"):
        with pytest.raises(ValidationError, match="no encoding"):
            Preprocess(encoding=name)


SCORES = st.lists(st.lists(st.sampled_from(["0", "1", "2", "3", "x"]), min_size=1, max_size=3), min_size=1, max_size=6)


@given(labels=SCORES, seed=st.integers(0, 99))
def test_read_automl_csv_decides_for_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, labels: list[list[str]], seed: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.csv"
    lines = [f"TRAIN,text {k},{','.join(names)}\n" for k, names in enumerate(labels)]
    path.write_text("".join(lines))
    rows = rows_of(path)[0]
    assert len({"sentimentAnnotation" in row for row in rows}) == 1
    path.write_text("".join(random.Random(seed).sample(lines, len(lines))))
    assert sorted(rows, key=str) == sorted(rows_of(path)[0], key=str)
    assert not any("sentimentAnnotation" in row for row in rows_of(path, Task(label_separator="; "))[0])
