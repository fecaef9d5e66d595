"""Rows, terminal tables, JSON and the HTML page, from runs built in memory."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from microexpr.errors import BadInput, UnknownName
from microexpr.evaluation import report, tables
from microexpr.evaluation.metrics import scores
from microexpr.evaluation.results import Run

CLASSES = ["negative", "positive", "surprise"]
PNG = bytes.fromhex("89504e470d0a1a0a") + b"not decoded here"


def make(method: str = "mjfn", seed: int = 0, skill: float = 0.7, **changes: Any) -> Run:
    """A run on twelve people of two databases, six clips each; `changes` go into run.json."""
    people = [f"{base}/s{number:02d}" for base in ("smic", "samm") for number in range(1, 7)]
    truth = np.tile([0, 0, 0, 1, 1, 2], len(people))
    generator = np.random.default_rng([seed, int(1000 * skill)])
    wrong = generator.random(len(truth)) > skill
    predicted = np.where(wrong, (truth + generator.integers(1, 3, len(truth))) % 3, truth)
    subjects = tuple(person for person in people for _ in range(6))
    info = {
        "format": 1,
        "dataset": "megc2019-flow",
        "part": None,
        "method": method,
        "settings": {"epochs": 300, "seed": seed},
        "protocol": "loso",
        "classes": CLASSES,
        "select": "last",
        "seed": seed,
        "rendered": False,
        "versions": {"microexpr": "0.1.0", "python": "3.11"},
        "machine": {"processor": "any", "cores": 2, "accelerator": None},
        "data": {"clips": 72, "subjects": 12, "digest": "0123456789ab"},
        "command": f"microexpr evaluate {method}",
        "started": "2025-01-01T00:00:00+00:00",
        "needs": ["flow"],
    } | changes
    return Run(
        folder=Path("runs") / f"{method}-{seed}-{skill}-{len(str(changes))}",
        info=info,
        folds=tuple(people),
        finished=tuple(people),
        clips=tuple(f"{person}/{number % 6}" for number, person in enumerate(subjects)),
        databases=tuple(person.split("/")[0] for person in subjects),
        subjects=subjects,
        truth=truth,
        predicted=predicted,
        probabilities=np.eye(3)[predicted],
    )


def cut(run: Run, clips: int, folds: int) -> Run:
    """The run as it was when only its first folds were done."""
    keep = {
        name: getattr(run, name)[:clips]
        for name in ("clips", "databases", "subjects", "truth", "predicted", "probabilities")
    }
    return replace(run, finished=run.folds[:folds], **keep)


def printed(call: Any, *given: Any, width: int = 80, **named: Any) -> str:
    stream = io.StringIO()
    call(*given, Console(file=stream, width=width), **named)
    return stream.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def test_rows_are_the_whole_run_and_then_each_database() -> None:
    run = make()
    whole, smic, samm = tables.run_rows(run)
    assert [row.name for row in (whole, smic, samm)] == ["all", "SMIC", "SAMM"]
    assert (whole.clips, smic.clips, whole.subjects, samm.subjects) == (72, 36, 12, 6)
    assert whole.scores.uf1 == scores(run.truth, run.predicted, CLASSES).uf1
    assert np.array_equal(whole.scores.confusion, smic.scores.confusion + samm.scores.confusion)
    assert whole.published
    assert smic.published
    assert (whole.published.uf1, smic.published.uf1) == (83.38, 80.78)
    assert len(tables.run_rows(cut(run, 36, 6))) == 1


def test_a_part_answers_for_its_database() -> None:
    (row, *_) = tables.run_rows(cut(make(part="smic"), 36, 6))
    assert row.published
    assert row.published.uf1 == 80.78


@pytest.mark.parametrize("width", [80, 120])
def test_print_run(width: int) -> None:
    text = printed(tables.print_run, make(), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    whole = tables.run_rows(make())[0]
    low, high = whole.interval.uf1 or (0, 0)
    assert f"{100 * whole.scores.uf1:.1f} [{100 * low:.1f}-{100 * high:.1f}]" in text
    for word in (
        "mjfn on megc2019-flow",
        "protocol loso",
        "last epoch",
        "seed 0",
        "72 clips",
        "12 subjects",
        "12/12 folds",
        "83.4",
        "80.6",
        "recall",
        "floors: always negative",
        "does not say how the epoch was chosen",
    ):
        assert word in flat(text)
    assert "Rendered" not in text
    assert "LEAKS" not in text


def test_narrow_consoles_lose_no_digit() -> None:
    text = printed(tables.print_run, make(skill=1.0), width=60)
    assert text.count("[100.0-100.0]") == 9
    assert "…" not in text


def test_plain_ascii_output_can_be_written() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=stream, width=80)
    tables.print_run(make(), console)
    tables.print_compare([make(seed=0), make(seed=1)], console)


def test_what_a_reader_must_be_told() -> None:
    rendered = flat(printed(tables.print_run, make(dataset="synthetic", rendered=True)))
    assert "no evidence of accuracy on real faces" in rendered
    assert "published" not in rendered
    assert "LEAKS: the epoch was chosen on the very subjects" in flat(printed(tables.print_run, make(select="oracle")))
    unfinished = flat(printed(tables.print_run, cut(make(), 36, 6)))
    assert "6/12 folds" in unfinished
    assert "Unfinished: 6 of 12 folds" in unfinished
    assert "one subject: no interval" in flat(printed(tables.print_run, cut(make(), 6, 1)))
    absent = flat(printed(tables.print_run, cut(make(), 5, 1)))
    assert "no clip of surprise; UF1 and UAR are means over the classes present" in absent
    other = flat(printed(tables.print_run, make(protocol="subject-k-fold")))
    assert "published figures are leave-one-subject-out; this run is subject-k-fold" in other
    with pytest.raises(BadInput, match="finished fold"):
        tables.run_rows(cut(make(), 0, 0))


def test_names_are_never_markup() -> None:
    text = printed(tables.print_run, make("[red]x[/red]", classes=["[b]a[/b]", "b", "c"]), width=120)
    assert "[red]x[/red]" in text
    assert text.count("[b]a[/b]") >= 3
    text = printed(
        tables.print_compare, [make("[red]x[/red]"), make("[/]", settings={"a": "[/]"})], width=120, against="[/]"
    )
    assert "[red]x[/red]" in text


def test_seeds_are_one_row() -> None:
    runs = [make(seed=seed) for seed in range(3)]
    (row,) = tables.compare_rows(runs)
    each = [scores(run.truth, run.predicted, CLASSES).uf1 for run in runs]
    assert row.seeds == (0, 1, 2)
    assert row.uf1 == pytest.approx(np.mean(each))
    assert row.spread
    assert row.spread[0] == pytest.approx(np.std(each, ddof=1))
    assert row.interval.uf1
    assert row.interval.uf1[0] < row.uf1 < row.interval.uf1[1]
    assert row.settings == ()
    assert len(tables.compare_rows([runs[0], runs[0]])[0].seeds) == 1
    assert "0-2" in printed(tables.print_compare, runs)


def test_settings_that_differ_are_named() -> None:
    rows = tables.compare_rows([make(), make(settings={"epochs": 40}), make("ststnet", select="oracle")])
    assert [row.settings for row in rows] == [("epochs=300",), ("epochs=40",), ("select=oracle",)]
    assert [row.leaks for row in rows] == [False, False, True]


def test_clips_are_matched_by_name() -> None:
    run = make()
    order = np.random.default_rng(0).permutation(72)
    shuffled = replace(
        run,
        folder=Path("runs/shuffled"),
        info=run.info | {"method": "ststnet"},
        truth=run.truth[order],
        predicted=run.predicted[order],
        **{name: tuple(np.array(getattr(run, name))[order].tolist()) for name in ("clips", "databases", "subjects")},
    )
    one, two = tables.compare_rows([run, shuffled], against="mjfn")
    assert one.difference is None
    assert two.difference is not None
    assert (two.difference.uf1, two.difference.p) == (0.0, 1.0)
    assert one.interval == two.interval


def test_print_compare() -> None:
    runs = [make(seed=0), make(seed=1), make("neural-recognizer", select="oracle"), make("flow-linear", skill=0.9)]
    text = printed(tables.print_compare, runs, against="flow-linear")
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "…" not in text
    for word in (
        "comparison on megc2019-flow",
        "83.4/80.6",
        "78.9/78.2",
        "neural-recognizer: LEAKS",
        "UF1 less that of",
        "standard deviation over the seeds",
        "keeps the best epoch on each test subject",
    ):
        assert word in flat(text)
    with pytest.raises(UnknownName, match="flow-linear"):
        tables.compare_rows(runs, against="flow-lineal")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (make("ststnet", rendered=True, dataset="synthetic"), "only rendered"),
        (make("ststnet", data={"clips": 72, "subjects": 12, "digest": "ba9876543210"}), "two data digests"),
        (cut(make("ststnet"), 36, 6), "72 and 36 clips"),
        (make("ststnet", classes=["a", "b", "c"]), "the same labels"),
        (replace(make("ststnet"), truth=np.zeros(72, np.int64)), "the same labels"),
        (cut(make("ststnet"), 0, 0), "finished folds"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other: Run, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        tables.compare_rows([make(), other])


def test_no_runs() -> None:
    with pytest.raises(BadInput, match="at least one run"):
        tables.compare_rows([])
    with pytest.raises(BadInput, match="at least one run"):
        report.render([])


def test_json_is_strict_and_in_fractions() -> None:
    found = json.loads(json.dumps(tables.to_json(make()), allow_nan=False))
    assert found["rows"][0]["published"]["uf1"] == 0.8338
    assert 0 < found["rows"][0]["interval"]["uf1"][0] < found["rows"][0]["uf1"] < 1
    assert np.sum(found["rows"][1]["confusion"]) == 36
    assert found["floor"]["always"] == "negative"
    bare = json.loads(json.dumps(tables.to_json(cut(make(), 5, 1)), allow_nan=False))
    assert bare["rows"][0]["interval"]["uf1"] is None
    assert bare["rows"][0]["recall"]["surprise"] is None
    rows = tables.compare_rows([make(), make("ststnet", seed=1)], against="mjfn")
    assert json.loads(json.dumps(tables.compare_to_json(rows), allow_nan=False))[1]["difference"]["p"] <= 1


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        fields = dict(attrs)
        self.fetched += [fields[name] or "" for name in ("src", "srcset", "data") if name in fields]
        if tag == "link":
            self.fetched.append(fields["href"] or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    out = report.write_report(
        [make(), make(seed=1), make("ststnet")], tmp_path / "new" / "page.html", [("onset & apex", PNG)]
    )
    assert [file.name for file in out.parent.iterdir()] == ["page.html"]
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert all(link.startswith("data:") for link in page.fetched)
    assert "@import" not in text
    assert "url(" not in text
    words = flat(" ".join(page.words))
    for said in (
        "lie",
        "decide anything about a person",
        "smic/s01",
        "0123456789ab",
        "microexpr evaluate mjfn",
        "83.4 / 80.6",
        "true UAR 71.86",
        "onset & apex",
        "How to read",
        "recall positive",
        "prefers-color-scheme",
    ):
        assert said in words
    assert text.count('class="confusion"') == 9  # three runs: the whole and two databases each
    assert text == report.render([make(), make(seed=1), make("ststnet")], [("onset & apex", PNG)])


def test_every_confusion_count_is_on_the_page() -> None:
    run = make()
    found = re.findall(r'class="count"[^>]*>(\d+)<', report.render([run]))
    matrices = [row.scores.confusion.ravel().tolist() for row in tables.run_rows(run)]
    assert [int(count) for count in found] == [count for matrix in matrices for count in matrix]


def test_page_warns() -> None:
    assert "Rendered data" in report.render([make(dataset="synthetic", rendered=True)])
    plain = report.render([make()])
    assert "Rendered data" not in plain
    assert "LEAKS" not in plain
    assert report.render([make(select="oracle")]).count('class="badge">LEAKS') == 2
    text = report.render([make(), cut(make("ststnet"), 6, 1)])
    assert "Unfinished: 1 of 12 folds" in text
    assert "no interval" in text
    with pytest.raises(BadInput, match="only rendered"):
        report.render([make(), make(rendered=True)])


def test_page_escapes_names() -> None:
    evil = "<script>alert(1)</script>"
    run = make(evil, classes=[evil, "b&b", "c"], command=evil, settings={evil: evil}, machine={"name": evil})
    run = replace(run, subjects=tuple(f"{name}\"'{evil}" for name in run.subjects))
    text = report.render([run], [(f'"{evil}', PNG)])
    assert "<script" not in text
    Page(text)


def test_page_problems_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="written"):
        report.write_report([make()], tmp_path / "file" / "page.html")
    with pytest.raises(BadInput, match="written"):
        report.write_report([make()], tmp_path)
    with pytest.raises(BadInput, match="PNG"):
        report.render([make()], [("a", b"GIF89a")])
