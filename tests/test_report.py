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
from microexpr.evaluation import charts, report, results, tables
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
        "format": 2,
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
        "folds": {person: [f"{person}/{number}" for number in range(6)] for person in people},
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
        epochs=tuple(300 if info["select"] == "last" else 1 + number // 6 for number in range(len(truth))),
    )


def cut(run: Run, clips: int, folds: int) -> Run:
    """The run as it was when only its first folds were done."""
    keep = {
        name: getattr(run, name)[:clips]
        for name in ("clips", "databases", "subjects", "truth", "predicted", "probabilities", "epochs")
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


def test_a_published_figure_of_other_clips_says_so() -> None:
    """CASME II by itself has clips of fear and sadness, too, which MEGC 2019 leaves out."""
    (row, *_) = tables.run_rows(make(part="casme2", dataset="3db"))
    assert row.published
    assert row.published.note.startswith("of 145 clips, here are 72. ")
    (row, *_) = tables.run_rows(make(dataset="casme2"))
    assert row.published
    assert row.published.note.startswith("of 145 clips, here are 72 (those of the paper: 3db --part casme2). ")


def test_clips_that_were_left_out_are_said() -> None:
    (told,) = tables.warnings(make(preparation={"left_out": ["smic/s01/s01_ne_01", "smic/s01/s01_ne_02"]}))
    assert "2 clips that could not be used, the first smic/s01/s01_ne_01" in told
    assert tables.warnings(make(preparation={"left_out": []})) == []


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
        "calibration: expected error 34.7 %, Brier 0.69, log loss 4.80; 34.7 points too sure on average",
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
    recall = [scores(run.truth, run.predicted, CLASSES).recall for run in runs]
    assert list(row.recall) == CLASSES
    assert list(row.recall.values()) == pytest.approx(np.mean(recall, axis=0))
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
        (
            cut(make("ststnet", seed=3), 36, 6),
            "6 of 12 folds of ststnet, seed 3, in ststnet-3.*run evaluate again to finish it, or leave it out",
        ),
        (replace(cut(make("ststnet"), 66, 11), folds=make().folds[:11]), "72 and 66 clips"),
        (make("ststnet", classes=["a", "b", "c"]), "the same labels"),
        (replace(make("ststnet"), truth=np.zeros(72, np.int64)), "the same labels"),
        (cut(make("ststnet"), 0, 0), "0 of 12 folds of ststnet"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other: Run, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        tables.compare_rows([make(), other])


def test_every_unfinished_run_is_named() -> None:
    runs = [make(), cut(make(seed=1), 36, 6), make("ststnet"), cut(make(seed=2), 6, 1)]
    with pytest.raises(BadInput) as found:
        tables.compare_rows(runs)
    assert "6 of 12 folds of mjfn, seed 1" in str(found.value)
    assert "1 of 12 folds of mjfn, seed 2" in str(found.value)
    assert "leave them out" in str(found.value)
    assert "\n" not in str(found.value)
    both = [cut(run, 36, 6) for run in (make(), make("ststnet"))]  # the same clips: a quick look, with a warning
    assert all("Unfinished: 6 of 12" in row.warnings[0] for row in tables.compare_rows(both))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"clips": 70, "subjects": 11, "digest": "b"}}, "72 and 70 clips, 12 and 11 subjects"),
        (
            {"data": {"clips": 72, "subjects": 12, "digest": "b"}},
            "the clips have the same names, their annotations or pixels differ",
        ),
        ({"data": {"clips": 72, "subjects": 12, "digest": "b"}, "part": "smic"}, "part None and smic"),
        (
            {
                "data": {"clips": 72, "subjects": 12, "digest": "b"},
                "options": {"tree": "cropped"},
                "preparation": {"faces": "haar", "left_out": ["a", "b"]},
            },
            "tree as usual and cropped, faces as usual and haar, left_out as usual and 2 clips",
        ),
    ],
)
def test_what_differs_between_two_data_sets_is_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as found:
        tables.compare_rows([make(), make("ststnet", **changes)])
    assert re.search(r"two data digests, 0123456789ab \(mjfn-.*\) and b \(ststnet-.*\): " + told, str(found.value))


def test_a_clip_of_one_data_set_only_is_named() -> None:
    other = make("ststnet", data={"clips": 72, "subjects": 12, "digest": "b"})
    other = replace(other, clips=("smic/s00/0", *other.clips[1:]))
    with pytest.raises(BadInput, match="smic/s00/0 is in one only"):
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
    calibration = found["rows"][0]["calibration"]
    share = np.mean(make().predicted != make().truth)  # always sure: every mistake is a whole one
    assert calibration["expected_error"] == pytest.approx(share, abs=1e-6)
    assert calibration["brier"] == pytest.approx(2 * share, abs=1e-6)
    assert calibration["clips_below_smallest_probability"] == round(72 * share)
    assert calibration["bins"][0] == {"above": 0.0, "to": 0.1, "clips": 0, "confidence": None, "accuracy": None}
    assert [part["clips"] for part in calibration["bins"]] == [0] * 9 + [72]
    bare = json.loads(json.dumps(tables.to_json(cut(make(), 5, 1)), allow_nan=False))
    assert bare["rows"][0]["interval"]["uf1"] is None
    assert bare["rows"][0]["recall"]["surprise"] is None
    rows = tables.compare_rows([make(), make("ststnet", seed=1)], against="mjfn")
    assert json.loads(json.dumps(tables.compare_to_json(rows), allow_nan=False))[1]["difference"]["p"] <= 1


def selections(seeds: int = 2) -> list[Run]:
    """Two methods; one with all selections, given in another order than they are shown."""
    one = [make(seed=seed, skill=0.95, select="oracle") for seed in range(seeds)]
    two = [make("flow-linear", skill=0.8), *(make(seed=seed, select="inner", skill=0.6) for seed in range(seeds))]
    return [*one, *two, *(make(seed=seed) for seed in range(seeds))]


def test_selections_of_a_method_stand_beside_one_another() -> None:
    rows = tables.compare_rows(selections())
    assert [(row.method, row.experiment.select) for row in rows] == [
        ("mjfn", "last"),
        ("mjfn", "inner"),
        ("mjfn", "oracle"),
        ("flow-linear", "last"),
    ]
    assert [row.settings for row in rows] == [("select=last",), ("select=inner",), ("select=oracle",), ()]
    assert [row.leaks for row in rows] == [False, False, True, False]
    assert [row.seeds for row in rows] == [(0, 1)] * 3 + [(0,)]
    # another setting is another family
    order = [
        make(settings={"epochs": 40}),
        make(),
        make(select="oracle"),
        make(settings={"epochs": 40}, select="inner"),
    ]
    found = [row.settings for row in tables.compare_rows(order)]
    assert [(epochs[-2:], select[7:]) for epochs, select in map(sorted, found)] == [
        ("40", "last"),
        ("40", "inner"),
        ("00", "last"),
        ("00", "oracle"),
    ]


def test_the_last_epoch_is_the_reference() -> None:
    last, inner, oracle, floor = tables.compare_rows(selections(), against="mjfn")
    assert last.difference is None
    assert {row.against for row in (inner, oracle, floor)} == {last.experiment}
    assert inner.difference
    assert inner.difference.uf1 == pytest.approx(inner.uf1 - last.uf1)


def test_the_oracle_is_the_reference_only_where_it_is_alone() -> None:
    runs = selections()
    honest = tables.compare_rows([run for run in runs if run.info["select"] != "last"] + [make("ststnet")], "mjfn")
    assert {row.against.select for row in honest if row.against} == {"inner"}
    alone = tables.compare_rows([*runs[:2], make("flow-linear")], "mjfn")
    assert alone[1].against == alone[0].experiment
    assert alone[0].leaks
    two = [make(select="oracle"), make(select="oracle", settings={"epochs": 40})]
    with pytest.raises(BadInput, match="one setting of mjfn to compare against, got 2: epochs=300; epochs=40"):
        tables.compare_rows(two, "mjfn")
    with pytest.raises(BadInput, match="one setting of mjfn"):  # two honest ones stay two, the oracle aside
        tables.compare_rows([make(), make(settings={"epochs": 40}), make(select="oracle")], "mjfn")


WHY = "the epoch was chosen on the very subjects it is tested on"


def sections(text: str) -> list[str]:
    """The parts of a printed comparison that blank lines divide."""
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def rows_that_leak(table: str) -> int:
    return sum(line.split()[1:2] == ["LEAKS"] for line in table.splitlines())


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_says_leaks_in_every_table(width: int) -> None:
    text = printed(tables.print_run, make(select="oracle"), width=width)
    assert "best test epoch (LEAKS)" in flat(text)
    assert f"LEAKS: {WHY}" in flat(text)
    text = printed(tables.print_compare, selections(), against="mjfn", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    head, figures, recall, differences, _ = sections(text)
    assert f"mjfn select=oracle: LEAKS: {WHY}" in flat(head)
    assert [rows_that_leak(table) for table in (figures, recall, differences)] == [1, 1, 1]
    for table in (figures, recall, differences):
        assert re.search(r"mjfn LEAKS .*\n  select=oracle", table)
    # against an oracle every difference leaks: its name in the head says so
    text = printed(tables.print_compare, [make(select="oracle"), make("flow-linear")], against="mjfn", width=width)
    assert "mjfn LEAKS" in sections(text)[3]
    assert "flow-linear" in sections(text)[3]
    assert "LEAKS" not in printed(tables.print_compare, [make(), make("flow-linear")], against="mjfn", width=width)


def test_recall_has_a_table_of_its_own() -> None:
    text = printed(tables.print_compare, [make(), make(seed=1), make("flow-linear", skill=0.8)])
    table = sections(text)[2].splitlines()
    assert table[0].split() == ["recall", *CLASSES]
    (row, _) = tables.compare_rows([make(), make(seed=1), make("flow-linear", skill=0.8)])
    assert table[2].split() == ["mjfn", *(f"{100 * value:.1f}" for value in row.recall.values())]


def test_json_says_leaks() -> None:
    found = tables.to_json(make(select="oracle"))
    assert found["leaks"] is True
    assert found["warnings"][0].startswith(f"LEAKS: {WHY}")
    honest, inner, oracle, floor = tables.compare_to_json(tables.compare_rows(selections(), against="mjfn"))
    assert (oracle["leaks"], oracle["select"]) == (True, "oracle")
    assert oracle["warnings"][0].startswith(f"LEAKS: {WHY}")
    assert oracle["difference"]["leaks"] is True
    assert oracle["difference"]["warnings"][0].startswith("LEAKS")
    assert oracle["difference"]["against"] == {"method": "mjfn", "settings": ["select=last"], "select": "last"}
    assert "LEAKS" not in json.dumps([honest, inner, floor])
    assert list(oracle["recall"]) == CLASSES
    # a difference leaks where its reference does
    _, other = tables.compare_to_json(tables.compare_rows([make(select="oracle"), make("flow-linear")], "mjfn"))
    assert (other["leaks"], other["difference"]["leaks"]) == (False, True)
    assert other["difference"]["warnings"][0].startswith("LEAKS")


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
    text = report.render([make(), cut(make("ststnet"), 6, 1)])
    assert "Unfinished: 1 of 12 folds" in text
    assert "no interval" in text
    with pytest.raises(BadInput, match="only rendered"):
        report.render([make(), make(rendered=True)])


def without_traces(run: Run) -> None:
    return None


def test_page_says_leaks_in_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = np.random.default_rng(0).dirichlet([1, 1, 1], (40, 72))
    monkeypatch.setattr(results, "read_trace", lambda run: trace, raising=False)
    runs = selections(seeds=1)
    text = report.render(runs)
    Page(text)
    comparison, *each = re.split(r'<section class="run"', text)
    words = flat(" ".join(Page(comparison + "</main></body></html>").words))
    assert f"mjfn select=oracle: LEAKS: {WHY}" in words
    assert comparison.count('class="badge">LEAKS') == 1
    assert "Rows marked LEAKS are not counted here" in words
    span = re.search(r"UF1 runs from ([\d.]+) \(.*?\) to ([\d.]+) \((.*?)\)", words)
    assert span
    assert span[3] == "flow-linear"  # the oracle's figure is higher and is not the best one
    chart = comparison[comparison.index("<svg") :]
    assert chart.count(" LEAKS</tspan>") == 1
    assert charts.LEAKS in chart
    (oracle,) = (part for part in each if "best test epoch (LEAKS)" in part)
    head, tail = oracle.split("Confusion:", 1)
    assert 'class="badge">LEAKS' in head
    assert f"LEAKS: {WHY}" in head
    assert tail.count("<figcaption>") == len(re.findall(r"<figcaption><b>\w+</b> <span class=.badge.>LEAKS", tail)) == 3
    assert "<title>Reliability of mjfn LEAKS</title>" in tail
    assert "best test epoch</tspan>" in tail
    assert "chosen on training subjects</tspan>" in tail
    for part in each:
        if part is not oracle:
            assert "LEAKS" not in part.split("</main>")[0]


def test_only_an_oracle_with_traces_shows_its_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = np.eye(3)[np.stack([np.zeros(72, np.int64), make().truth])]
    monkeypatch.setattr(results, "read_trace", lambda run: trace, raising=False)
    text = report.render([make(select="oracle"), make(select="inner", seed=1)])
    assert text.count("Epoch by epoch") == 1
    assert "mjfn: 22.2 after epoch 1, 100.0 after epoch 2" in text
    assert "chosen on training subjects</tspan>" not in text  # of another seed
    assert "Epoch by epoch" not in report.render([make()])
    monkeypatch.setattr(results, "read_trace", without_traces, raising=False)
    assert "Epoch by epoch" not in report.render([make(select="oracle")])


def test_page_shows_calibration_and_recall() -> None:
    text = report.render([make(), make("ststnet")])
    assert text.count("<title>Reliability of ") == 2
    assert "72 clips with confidence 100.0, right on 65.3" in text
    words = flat(" ".join(Page(text).words))
    assert "Calibration: expected error 34.7 %" in words
    (row, _) = tables.compare_rows([make(), make("ststnet")])
    table = text[text.index('<table class="compared">') : text.index("</table>")]
    for value in row.recall.values():
        assert f'<td class="number">{100 * value:.1f}</td>' in table
    assert text.count("<title>UF1 with 95 % intervals</title>") == 1


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


def test_the_chosen_epochs_are_shown_where_they_were_a_choice():
    """Twelve folds whose epochs are 1 to 12."""
    line = "epoch chosen on held-back training subjects: median 6, 1 to 12"
    inner = make(select="inner")
    assert line in printed(tables.print_run, inner, width=200)
    assert line in report.render([inner])
    assert tables.to_json(inner)["epochs"] == list(range(1, 13))
    assert "median" not in printed(tables.print_run, make(), width=200)
    assert tables.to_json(make())["epochs"] == [300] * 12


def test_another_network_has_no_published_figure_beside_it():
    assert "83.4" in printed(tables.print_run, make(changed=["epochs", "seed"]), width=200)
    assert "83.4" not in printed(tables.print_run, make(changed=["epochs", "taps"]), width=200)
    assert tables.compare_to_json(tables.compare_rows([make(changed=["taps"])]))[0]["published"] is None
