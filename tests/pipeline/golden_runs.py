"""Whole runs with a scripted engine, reduced to the facts that a redesign must not change.

`start` runs the command line in a folder and records the emulator's requests, `read_facts` reduces the run's artifacts
through `facts.yaml`, `read_requests` reduces the recorded requests. Guarantees: both results depend on the code alone;
they hold no times, ids, ports or paths, and no order among concurrent requests.
"""

import difflib
import email
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "runs"
RECORDER = Path(__file__).parent / "recorder"
ENGINE = "scripted"
FACTS = yaml.safe_load((GOLDEN / "facts.yaml").read_text(encoding="utf-8"))
MORE = pytest.mark.skipif(os.environ.get("WHOLE_RUNS") != "all", reason="`make whole-runs` runs it")
PLACEHOLDERS = [
    (re.compile(r"tuning-experiment-\d+-ID"), "tuning-experiment-ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.+:Z-]*"), "TIME"),
    (re.compile(r"\b\d{15,}\b"), "ID"),
    (re.compile(r"\b(?=\d*[a-f])[0-9a-f]{16,64}\b"), "HASH"),
    (re.compile(r"(timeSeries|runs)/(run-)?(\d+|ID)\b"), r"\1/ID"),
]
PLACEHOLDERS.append(PLACEHOLDERS.pop(0))


# Inputs: the configuration, its data and what the scripted engine knows.


def write_inputs(name, folder):
    """Write the data and the engine's script of a golden run to `folder`; the arguments of `gemtune run`."""
    script, arguments = {
        "quickstart": lambda: (_labels("support_en", 0.5, 0.95), ["--set", "preprocess.max_rows=300"]),
        "quickstart_ja": lambda: (_labels("support_ja", 0.75, 0.76), ["--set", "preprocess.max_rows=260"]),
        "preference": lambda: (_pairs(), ["--set", "preprocess.max_rows=300"]),
        "extraction": lambda: (_generated(folder, _order), ["--data", "rows.jsonl"]),
        "summarization": lambda: (_generated(folder, _notice), ["--data", "rows.jsonl"]),
    }[name]()
    (folder / "script.json").write_text(json.dumps(script, ensure_ascii=False), encoding="utf-8")
    shipped = ROOT / "configs" / f"{name}.yaml"
    config = shipped if shipped.exists() else GOLDEN / f"{name}.yaml"
    if shipped.exists():
        data = ROOT / yaml.safe_load(shipped.read_text(encoding="utf-8"))["data"]
        arguments = ["--data", str(data), *arguments]
    return [str(config), "--engine", f"{ENGINE}:script.json", *arguments]


def _rows(path):
    """The readable rows of a sample that has unreadable ones on purpose."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _labels(sample, base_accuracy, tuned_accuracy):
    rows = [row for row in _rows(ROOT / "examples" / sample / "rows.jsonl") if isinstance(row.get("label"), str)]
    answers = {row["text"]: row["label"] for row in rows if isinstance(row.get("text"), str) and row["text"]}
    labels = sorted({label for label in answers.values() if label})
    return {"answers": answers, "labels": labels, "base_accuracy": base_accuracy, "tuned_accuracy": tuned_accuracy}


def _pairs():
    """The model's right answers are the courteous ones."""
    rows = _rows(ROOT / "examples" / "preference_en" / "pairs.jsonl")
    answers = {row["prompt"]: row["chosen"] for row in rows if str(row.get("chosen")).startswith("Sorry")}
    return {"answers": answers, "base_accuracy": 0.3, "tuned_accuracy": 0.95}


def _generated(folder, generate):
    draw = random.Random(5)
    rows = [generate(draw, number) for number in range(260)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = {row["text"]: row["label"] for row in rows}
    return {"answers": answers, "base_accuracy": 0.4, "tuned_accuracy": 0.9}


WORDS = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "jolly", "karma", "linen", "maple"]


def _order(draw, number):
    name, count, colour = draw.choice(WORDS), draw.randrange(1, 9), draw.choice(["red", "green", "blue"])
    text = f"{' '.join(draw.sample(WORDS, 5))} order {number * 7919}: {count} {colour} chairs for {name} please"
    label = json.dumps({"customer": name, "count": count, "colour": colour})
    return {
        "text": f"{text} {' '.join(draw.sample(WORDS, 4))}",
        "label": label,
        "channel": draw.choice(["web", "phone"]),
    }


def _notice(draw, number):
    place, hour = draw.choice(WORDS), draw.randrange(24)
    summary = f"{place} closes at {hour} on day {number}"
    filler = [" ".join(draw.sample(WORDS, 7)) for _ in range(3)]
    text = f"{filler[0]}. On day {number} the hall of {place} will close at {hour}. {filler[1]}. {filler[2]}."
    return {"text": text, "label": summary, "channel": draw.choice(["web", "phone"])}


# Running.


def start(arguments, folder, timeout_s=280):
    """Run `gemtune run ARGUMENTS` in `folder`; the finished run's folder. Requests go to `folder`/requests.jsonl,
    the modules that each step loaded to `folder`/modules.jsonl.
    """
    done = subprocess.run(
        [sys.executable, "-m", "gemtune", "run", "--exit-zero", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(RECORDER)]),
            "GEMTUNE_REQUEST_LOG": str(folder / "requests.jsonl"),
            "GEMTUNE_MODULE_LOG": str(folder / "modules.jsonl"),
        },
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return max((folder / "runs").glob("*/summary.json"), key=lambda path: path.stat().st_mtime).parent


def texts_outside(run, folder, data):
    """Texts and answers of rows that are where only counts may be: specification, logs, metrics, requests of jobs."""
    texts = {value for row in _rows(data) for value in row.values() if isinstance(value, str) and len(value) > 15}
    assert len(texts) > 100
    sent = [json.loads(line) for line in (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [str(request) for request in sent if not request["path"].startswith("/upload/")
            and not request["path"].endswith((":generateContent", ":countTokens"))]  # fmt: skip
    documents = [*run.glob("logs/*"), run / "pipeline.yaml", *run.rglob("executor_output.json")]
    kept += [path.read_text(encoding="utf-8") for path in documents]
    return [text for text in texts if any(text in place for place in kept)]


# Artifacts.


def read_facts(run, names=("decision", "plan", "picked", "summary")):
    """Document -> facts of a finished run."""
    return {name: _facts(_document(run, name), FACTS["facts"][name]) for name in names}


def _document(run, name):
    patterns = FACTS["documents"][name]
    for pattern in patterns:
        found = sorted(run.glob(pattern))
        if len(found) == 1:
            return json.loads(found[0].read_text(encoding="utf-8"))
    raise LookupError(f"{run}: no file, or several files, match {patterns}; see facts.yaml")


def _facts(document, spec):
    """The facts that `spec` names; absent and empty ones are left out."""
    if isinstance(spec, list):
        spec = {name: name for name in spec}
    facts = {name: _fact(document, rule) for name, rule in spec.items()}
    return {name: fact for name, fact in facts.items() if fact not in (None, "", [], {})}


def _fact(document, rule):
    if isinstance(rule, str):
        return normalised(_at(document, rule))
    if isinstance(rule, list):
        return " ".join(str(part) for part in (_fact(document, path) for path in rule) if part)
    if "from" not in rule:
        return _facts(document, rule)
    items = _at(document, rule["from"])
    if items is None:
        return None
    if rule.get("count"):
        return len(items)
    if rule.get("values"):
        return normalised(list(items.values()))
    if "group" in rule:
        return _facts(items, rule["group"])
    if isinstance(items, dict):
        return {normalised(key): _facts(item, rule["each"]) for key, item in items.items()}
    facts = [_facts(item, rule["each"]) for item in items]
    return sorted(facts, key=json.dumps) if rule.get("sort") else facts


def _at(document, path):
    for key in path.split("."):
        if not isinstance(document, dict) or key not in document:
            return None
        document = document[key]
    return document


def normalised(value):
    """The value without ids, fingerprints and times; texts in the golden files' words, floats of nine digits."""
    if isinstance(value, dict):
        return {normalised(str(key)): normalised(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normalised(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, str):
        value = without_ids(value)
        matches = ((re.fullmatch(new, value), old) for new, old in FACTS["values"].items())
        return next((match.expand(old) for match, old in matches if match), value)
    return value


def without_ids(text):
    """The text with placeholders for what differs from run to run."""
    for pattern, placeholder in PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return text


# Requests.


def read_requests(log):
    """What the emulator received: calls with their bodies exactly, reads and objects by name.

    How often a job is polled, and a record read, depends on timing: of GET requests, and of objects in the bucket, only
    the set of paths is kept, and those that say who waits for a job, or uses it, are left out. Tuning data is kept as
    the digest of its rows.
    """
    calls, reads, objects = defaultdict(list), set(), defaultdict(set)
    for line in log.read_text(encoding="utf-8").splitlines():
        request = json.loads(line)
        path = _path(request["path"])
        if request["path"].startswith("/emulator/"):  # what the dashboard shows
            continue
        if any(
            kind in request["path"] or kind in request["body"][:1000] for kind in ("-holders/", "in_use/", "callers/")
        ):
            continue
        if request["method"] == "GET":
            reads.add(path)
        elif request["path"].startswith("/upload/"):
            name, content = _uploaded(request)
            rows = name.endswith(".jsonl")
            objects[_path(name)].add(_digest(sorted(content.splitlines())) if rows else "")
        else:
            body = normalised(json.loads(request["body"])) if request["body"] else {}
            contents = body.pop("contents", None)
            calls[f"{request['method']} {path}", _json(body)].append(_json(contents) if contents else "")
    return {
        "calls": [
            {"call": call, "body": json.loads(body), "count": len(contents), **_summary(contents)}
            for (call, body), contents in sorted(calls.items())
        ],
        "reads": sorted(reads),
        "objects": {name: sorted(digests) for name, digests in sorted(objects.items())},
    }


def _path(path):
    path = without_ids(path)
    for new, old in FACTS["paths"].items():
        path = re.sub(new, old, path)
    return path


def _uploaded(request):
    """Name and content of an object that is uploaded as multipart/related."""
    head = f"content-type: {request['type']}\n\n"
    meta, content = email.message_from_string(head + request["body"].replace("\r\n", "\n")).get_payload()
    return json.loads(meta.get_payload())["name"], content.get_payload()


def _summary(contents):
    """The multiset of the contents as a digest, and its first by alphabet to read."""
    if not any(contents):
        return {}
    first = min(contents)
    return {"digest": _digest(sorted(Counter(contents).items())), "first": first[:400]}


def _json(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _digest(value):
    return hashlib.sha256(_json(value).encode()).hexdigest()[:20]


# Golden files.


def write_golden(path, facts):
    """Write facts as JSON; lists and small mappings of plain values take one line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_laid_out(facts, "") + "\n", encoding="utf-8")


def difference(path, facts):
    """The lines by which facts differ from a golden file, as a unified diff; the order of keys does not count."""
    expected = json.loads(path.read_text(encoding="utf-8"))
    if facts == expected:
        return []
    before, after = (_laid_out(json.loads(_json(value)), "").splitlines() for value in (expected, facts))
    return list(difflib.unified_diff(before, after, str(path.relative_to(ROOT)), "this run", n=2, lineterm=""))


def _laid_out(value, indent):
    flat = json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    if len(indent + flat) <= 118 or not isinstance(value, dict | list):
        return flat
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + item for item in items) + f"\n{indent}}}"
    if all(isinstance(item, list) for item in value):
        return flat
    return "[\n" + ",\n".join(inner + _laid_out(item, inner) for item in value) + f"\n{indent}]"
