"""The figures that the pages show are those in results/, and results/ is complete and sane."""

import csv
import dataclasses
import os
import re
import sys
from pathlib import Path

import pytest

from microexpr import api, experiments, methods
from microexpr.evaluation import metrics, results
from microexpr.evaluation.svg import escape

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))  # scripts, no package

import collect  # noqa: E402
import kept_predictions  # noqa: E402
import page_tables  # noqa: E402
import score_tables  # noqa: E402

PAGES = page_tables.pages()
# the results of the other scripts, e.g. those of benchmarks/flow.py, have columns of their own
OTHER = tuple(f"{file.stem}-" for file in (ROOT / "benchmarks").glob("*.py"))
FILES = [file for file in sorted((ROOT / "results").glob("*.csv")) if not file.name.startswith(OTHER)]


def shown_on(page):
    """What the generated parts of a page are of."""
    return re.findall("<!-- figures: (.+?) -->", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_current(page):
    text = page.read_text(encoding="utf-8")
    assert page_tables.renewed(text) == text, "run: python benchmarks/collect.py --tables"


def test_every_results_file_is_shown_and_every_experiment_page_has_figures():
    assert {"README.md", "results.md", "flow.md", "index.md", "table3.md"} <= {page.name for page in PAGES}
    shown = {part.split()[0] for page in PAGES for part in shown_on(page)}
    for file in FILES:
        assert file.stem in shown, file.name
        page = ROOT / "docs" / "experiments" / f"{page_tables.experiment_of(file.stem)}.md"
        assert file.stem in {part.split()[0] for part in shown_on(page)}, page.name
    for page in (ROOT / "docs" / "experiments").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert page.stem == "index" or page.stem in experiments.EXPERIMENTS
        generated = re.findall("<!-- figures: .+? -->\n(.*?)<!-- end of figures -->", text, re.DOTALL)
        assert any(part.strip() for part in generated), f"{page.name} shows nothing that was measured"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_measured_row_says_what_it_is(file):
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    for row in rows:
        assert row["method"] in methods.names()
        assert row["select"] in score_tables.SELECT
        assert re.match("microexpr (evaluate|experiment) ", row["command"])
        assert "torch" in row["versions"]
        for figure in ("uf1", "uar"):
            assert 0 <= float(row[f"{figure}_low"]) <= float(row[figure]) <= float(row[f"{figure}_high"]) <= 100


def test_names_of_results_files_begin_with_their_experiment():
    assert page_tables.experiment_of("fusion-ablation-amd-epyc-2-cores") == "fusion-ablation"
    with pytest.raises(SystemExit, match="table3"):
        page_tables.experiment_of("megc2019-flow")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Run folders of a leak experiment and of the ablations on a few clips."""
    from microexpr.types import Dataset
    from tests.clips import flow_clips

    folder = tmp_path_factory.mktemp("measured")
    data = Dataset("megc2019-flow", tuple(flow_clips(2, 3, "casme2") + flow_clips(2, 3, "samm")))
    asked = {"protocol": "subject-k-fold", "folds": 2, "epochs": 1, "jobs": 1, "runs": folder}
    command = "microexpr experiment NAME megc2019-flow --out out --epochs 1 --runs runs"
    return {
        name: [run.folder for run in experiments.run(name, data, command=command, **asked).runs]
        for name in ("leak", "jfm-ablation")
    }


def collected(monkeypatch, folder, *arguments):
    """What the script writes, with the pages and results of `folder` in place of the repository's."""
    monkeypatch.setattr(page_tables, "ROOT", folder)
    monkeypatch.setattr(sys, "argv", ["collect.py", *map(str, arguments)])
    collect.main()


def shown_as(words):
    """The generated part of a page."""
    text = page_tables.renewed(f"<!-- figures: {words} -->\n<!-- end of figures -->")
    return text.split("-->\n", 1)[1].rsplit("\n<!--", 1)[0]


def lines_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_leak_runs_become_a_table_and_pictures(measured, tmp_path, monkeypatch):
    out, images = tmp_path / "results" / "leak-here.csv", tmp_path / "docs" / "images"
    page = tmp_path / "docs" / "experiments" / "leak.md"
    for folder in (out.parent, page.parent):
        folder.mkdir(parents=True)
    (tmp_path / "README.md").write_text("<!-- figures: leak-here all -->\n<!-- end of figures -->\n")
    (page.parent / "other.md").write_text("<!-- figures: leak-here all uar -->\n<!-- end of figures -->\n")
    page.write_text("<!-- figures: pictures leak -->\n<!-- end of figures -->\nafter\n")
    collected(monkeypatch, tmp_path, *measured["leak"], "--out", out, "--pictures", images, "--tables")
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 3 * 3  # methods, selections, both databases and each
    assert {row["command"] for row in rows} == {"microexpr experiment NAME megc2019-flow --epochs 1"}
    head, _, *lines = lines_of((tmp_path / "README.md").read_text().split("-->\n")[1].split("\n<!--")[0])
    assert head[3:6] == ["last", "inner", "oracle LEAKS"]
    assert [line[1] for line in lines] == [
        f"`{method}` (subject-k-fold)" for method in ("mjfn", "ststnet", "off-apexnet")
    ]
    assert {line[2] for line in lines} == {"1"}  # epochs
    assert lines[0][-1] == "83.38"
    oracle = next(row for row in rows if (row["method"], row["select"], row["database"]) == ("mjfn", "oracle", "all"))
    assert lines[0][5].startswith(f"{float(oracle['uf1']):.1f} [")
    other = (page.parent / "other.md").read_text().split("-->\n")[1].split("\n<!--")[0]
    table, _, below = other.partition("\n\n")
    head, _, first, second, *_ = lines_of(table)
    assert (head[-1], first[-1]) == ("published UAR", "80.56")
    assert (second[1], second[-1]) == ("`ststnet` (subject-k-fold)", "76.05\\*")
    assert below == "\\* wrong at its source, or looks so"
    assert first[5].startswith(f"{float(oracle['uar']):.1f} [")
    assert page.read_text().count("](../images/leak-") == 3
    assert page.read_text().endswith("<!-- end of figures -->\nafter\n")
    assert (images / "leak-ststnet.svg").read_text().startswith("<svg")
    before = out.read_bytes()
    collected(monkeypatch, tmp_path, *measured["leak"], "--out", out)
    assert out.read_bytes() == before  # renewed, not added


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Clips, and a run folder of each of three seeds of a method on them."""
    from microexpr.types import Dataset
    from tests.clips import flow_clips

    data = Dataset("megc2019-flow", tuple(flow_clips(3, 4, "casme2") + flow_clips(3, 4, "samm")))
    command = "microexpr evaluate ststnet megc2019-flow --seeds 3 --epochs 2 --root maps"
    found = api.evaluate(
        *("ststnet", data),
        **{"protocol": "subject-k-fold", "folds": 2, "epochs": 2, "seeds": 3, "jobs": 1},
        **{"runs": tmp_path_factory.mktemp("seeds"), "command": command},
    )
    return data, [run.folder for run in found]


def test_seeds_that_are_collected_one_by_one_are_a_row_like_those_together(seeds, tmp_path, monkeypatch):
    _, folders = seeds
    together, apart = tmp_path / "a" / "table3-here.csv", tmp_path / "b" / "table3-here.csv"
    for out in (together, apart):
        out.parent.mkdir()
    collected(monkeypatch, tmp_path, *folders, "--out", together)
    commands = []
    for folder in reversed(folders):
        collected(monkeypatch, tmp_path, folder, "--out", apart)
        commands.append(kept_predictions.read(apart)[0]["command"])
    assert apart.read_bytes() == together.read_bytes()
    assert kept_predictions.file_of(apart).read_bytes() == kept_predictions.file_of(together).read_bytes()
    assert kept_predictions.read(apart)[0]["seeds"] == "3"
    assert commands[-1] == "microexpr evaluate ststnet megc2019-flow --epochs 2 --seeds 3"
    assert len(kept_predictions.read(kept_predictions.file_of(apart))) == 3
    assert collect._with_seeds("evaluate ststnet x --set seed=1 --epochs 2", [0, 1]) == (
        "evaluate ststnet x --epochs 2 --seeds 2"
    )


def test_kept_predictions_can_be_scored_with_the_data_and_hold_nothing_of_it(seeds, tmp_path, monkeypatch):
    data, folders = seeds
    out = tmp_path / "table3-here.csv"
    collected(monkeypatch, tmp_path, *folders, "--out", out)
    kept = kept_predictions.file_of(out)
    runs = [results.read_run(folder) for folder in folders]
    text = kept.read_text(encoding="utf-8")
    assert not any(clip in text for clip in runs[0].clips)
    assert not any(subject in text for subject in runs[0].subjects)
    monkeypatch.setattr(kept_predictions, "load", lambda *_: data)
    lines = kept_predictions.score(kept, None)
    assert len(lines) == 3 * 3  # seeds; both databases and each
    for run, line in zip(runs, lines[::3], strict=True):
        uf1 = metrics.scores(run.truth, run.predicted, run.info["classes"]).uf1
        assert line.startswith(f"ststnet epochs=2 last seed {run.info['seed']}, all, all: UF1 {100 * uf1:.2f} ")
    rows = [row for row in kept_predictions.read(out) if row["database"] == "samm"]
    samm = [float(re.search("UF1 (.+) UAR", line)[1]) for line in lines if ", all, samm" in line]
    assert float(rows[0]["uf1"]) == pytest.approx(sum(samm) / 3, abs=0.01)


def test_kept_predictions_of_other_data_are_not_scored(seeds, tmp_path, monkeypatch):
    data, folders = seeds
    out = tmp_path / "table3-here.csv"
    collected(monkeypatch, tmp_path, *folders, "--out", out)
    fewer = dataclasses.replace(data, clips=data.clips[:-1])
    monkeypatch.setattr(kept_predictions, "load", lambda *_: fewer)
    with pytest.raises(SystemExit, match="other clips, labels or pixels"):
        kept_predictions.score(kept_predictions.file_of(out), None)


def test_a_folder_without_the_data_and_another_file_are_told_in_one_line(seeds, tmp_path, monkeypatch, capsys):
    _, folders = seeds
    out = tmp_path / "table3-here.csv"
    collected(monkeypatch, tmp_path, *folders, "--out", out)
    for file, told in (
        (kept_predictions.file_of(out), "expected combined_3_class2_for_optical_flow.csv "),
        (out, "expected a file of predictions, got "),
    ):
        monkeypatch.setattr(sys, "argv", ["kept_predictions.py", str(file), "--root", str(tmp_path)])
        with pytest.raises(SystemExit):
            kept_predictions.main()
        assert re.search(f"error: {told}.+\n$", capsys.readouterr().err)


MAPS = os.environ.get("MICROEXPR_MEGC2019_FLOW")  # of the person who runs the tests
KEPT = sorted((ROOT / "results" / "predictions").glob("*.csv"))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.name)
def test_kept_predictions_are_those_of_a_results_file(file):
    rows = {
        tuple(row[name] for name in collect.KEY): row for row in kept_predictions.read(ROOT / "results" / file.name)
    }
    found = {}
    for kept in kept_predictions.read(file):
        place = kept["part"] or "all"
        own = rows[kept["dataset"], place, place, kept["method"], kept["settings"], kept["protocol"], kept["select"]]
        assert len(kept["predicted"]) == int(own["clips"])
        assert set(kept["predicted"]) <= set("012")
        found.setdefault(kept["run"], []).append((kept["seed"], own["seeds"]))
    for seeds in found.values():
        assert [len(seeds)] * len(seeds) == [int(count) for _, count in seeds]


@pytest.mark.skipif(not MAPS, reason="the published flow maps are not at hand")
@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.name)
def test_kept_predictions_give_the_figures_of_their_results_file(file):
    scored = {}
    for line in kept_predictions.score(file, Path(MAPS)):
        found = re.fullmatch(r"(.+) (last|inner|oracle) seed \d+, (\w+), (\w+): UF1 (.+) UAR (.+)", line)
        scored.setdefault(found.groups()[:4], []).append([float(found[5]), float(found[6])])
    rows = kept_predictions.read(ROOT / "results" / file.name)
    for (told, select, trained, database), values in scored.items():
        row = next(
            row
            for row in rows
            if (f"{row['method']} {row['settings']}".strip(), row["select"]) == (told, select)
            and (row["trained_on"], row["database"]) == (trained, database)
        )
        uf1, uar = (sum(column) / len(values) for column in zip(*values, strict=True))
        assert (float(row["uf1"]), float(row["uar"])) == (pytest.approx(uf1, abs=0.01), pytest.approx(uar, abs=0.01))


def test_a_row_that_leaks_says_so_in_any_table(measured, tmp_path, monkeypatch):
    out = tmp_path / "results" / "table3-here.csv"
    out.parent.mkdir()
    collected(monkeypatch, tmp_path, *measured["leak"], "--out", out)
    lines = lines_of(shown_as("table3-here all").partition("\n\n")[0])[2:]
    assert len(lines) == 9
    by_select = [results.read_run(folder).info["select"] for folder in measured["leak"]]
    assert sum("LEAKS" in line[1] for line in lines) == by_select.count("oracle") == 3
    assert sum(", inner" in line[1] for line in lines) == 3


def test_ablation_rows_stand_in_the_order_of_the_paper(measured, tmp_path, monkeypatch):
    out = tmp_path / "results" / "jfm-ablation-here.csv"
    out.parent.mkdir()
    collected(monkeypatch, tmp_path, *reversed(measured["jfm-ablation"]), "--out", out)
    lines = lines_of(shown_as("jfm-ablation-here all"))[2:]
    assert [line[1] for line in lines] == ["no module", "1 module", "2 modules", "3 modules", "4 modules"]
    # the published figure of MJFN is that of its own number of modules
    assert [line[-1] for line in lines] == ["80.71 / 77.02", "-", "-", "83.38 / 80.56", "-"]


def test_runs_of_other_experiments_are_refused(measured, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="no variant of the experiment fusion-ablation"):
        collected(monkeypatch, tmp_path, *measured["leak"], "--out", tmp_path / "fusion-ablation-here.csv")
    assert not list(tmp_path.iterdir())


def test_pictures_are_drawn_from_run_folders_alone(measured, tmp_path, monkeypatch):
    last = [folder for folder in measured["leak"] if results.read_info(folder)["select"] == "last"]
    collected(monkeypatch, tmp_path, *last, "--experiment", "confusion", "--pictures", tmp_path)
    names = {f"confusion-{method}.svg" for method in ("mjfn", "ststnet", "off-apexnet")}
    assert {file.name for file in tmp_path.iterdir()} == names
    for wrong in ([*last], [*last, "--pictures", tmp_path], ["--out", tmp_path / "table3-x.csv"]):
        with pytest.raises(SystemExit):
            collected(monkeypatch, tmp_path, *wrong)


def test_pictures_on_the_pages_are_whole():
    for file in (ROOT / "docs" / "images").glob("*.svg"):
        text = file.read_text(encoding="utf-8")
        assert text.startswith("<svg"), file.name
        assert text.rstrip().endswith("</svg>"), file.name
        assert not file.name.startswith("leak-") or escape("LEAKS: the epoch was chosen") in text


SCORES = {"uf1": "69.04", "uf1_low": "62.7", "uf1_high": "74.8", "uf1_sd": "", "uar": "67.7", "uar_low": "61"}
RUN = {
    **{"dataset": "megc2019-flow", "method": "ststnet", "settings": "epochs=3", "protocol": "loso", "seeds": "1"},
    **{**SCORES, "uar_high": "73", "trained_on": "all", "select": "last"},
}


def test_the_eight_networks_in_one_table():
    cost = {name: {"parameters": "1234", "forward": "2.5", "training": "0.125"} for name in score_tables.EIGHT}
    rows = [{**RUN, "database": database} for database in ("all", "samm")]
    lines = lines_of(score_tables.networks_scores(cost, rows).partition("\n\n")[0])[2:]
    assert [line[0] for line in lines] == [f"`{name}`" for name in score_tables.EIGHT]
    assert lines[4][1:] == [
        *("1,234", "2.5 ms", "0.125 ms", "3DB", "3 of 800", "69.0 [62.7, 74.8]", "67.7 [61.0, 73.0]", "1"),
        "73.53 / 76.05\\*",
    ]
    assert lines[0][4:] == ["3DB", "none of 300", "-", "-", "-", "75.96 / 71.98"]
    del cost["ststnet"]
    lines = lines_of(score_tables.networks_scores(cost, rows).partition("\n\n")[0])[2:]
    assert lines[4][1:5] == ["not measured yet", "not measured yet", "not measured yet", "3DB"]


def test_published_and_measured_figures_of_a_method():
    alone = {**RUN, "trained_on": "samm", "database": "samm", "seeds": "3"}
    rows = [
        {**RUN, "database": "all"},
        {**RUN, "database": "smic"},
        alone,
        {**RUN, "database": "all", "select": "oracle"},
    ]
    head, _, *lines = lines_of(score_tables.versus_table(rows, ["ststnet", "atnet"]).partition("\n\n")[0])
    cell = "69.0 [62.7, 74.8] / 67.7"
    assert head[2:] == ["3DB", "SMIC", "CASME II", "SAMM"]
    assert lines == [
        ["`ststnet`", "published", *("73.53 / 76.05\\*", "68.01 / 70.13\\*", "83.82 / 86.86\\*", "65.88 / 68.10\\*")],
        ["`ststnet`", "measured in one run over 3DB (epochs=3, 1 seed)", cell, cell, "-", "-"],
        ["`ststnet`", "measured each alone (epochs=3, 3 seeds)", "-", "-", "-", cell],
        ["`atnet`", "published", "63.10 / 61.30", "55.30 / 54.30", "79.80 / 77.50", "49.60 / 48.20"],
    ]
