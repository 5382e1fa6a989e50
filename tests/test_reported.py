"""The paper's tables: what is reported and what was measured never share a column."""

import json
from pathlib import Path

import pytest

from ctxmem_env.evaluation.reported import TABLE_1, TABLE_2, TABLE_3, paper_tables, reported_table
from ctxmem_env.evaluation.retrieval import PAINTERS, retrieval_cases
from ctxmem_env.retrieval import RETRIEVAL


def value(mean):
    return {"mean": mean, "ci95": 0.5, "n": 2, "by_scene": [mean, mean]}


@pytest.fixture
def results():
    """Of all cases but that of the compressed history; each has its own figures, above 100."""
    figures = []
    for number, case in enumerate(retrieval_cases()):
        if case["painter"] != "packed":
            names = ("replay_db", "loop_db", "true_db", "steps_per_second")
            figures.append({**case, "values": {name: value(100.0 + number + i / 4) for i, name in enumerate(names)}})
    seeds = {"split": "test", "seeds": [2_000_000, 2_000_001]}
    return {"model": "some", "scenes": seeds, "machine": {"cpu": "a machine"}, "figures": figures}


def tables(text):
    """Rows of cells of each table, its head first."""
    found, inside = [], False
    for line in text.splitlines():
        if line.startswith("|"):
            found = found if inside else [*found, []]
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        inside = line.startswith("|")
    return [[rows[0], *rows[2:]] for rows in found]


def test_no_column_holds_both_what_is_reported_and_what_was_measured(results):
    for head, *rows in tables(paper_tables(results)):
        reported = [i for i, name in enumerate(head) if name.endswith("reported (640x352, UE5)")]
        measured = [i for i, name in enumerate(head) if name.endswith("measured (ours)")]
        assert reported and measured and len(reported) + len(measured) == len(head) - 1
        for row in rows:
            assert all(row[i] == "-" or float(row[i]) < 100 for i in reported)
            assert all(row[i] == "-" or float(row[i].split(" ")[0]) >= 100 for i in measured)


def test_rows_are_those_of_the_paper_with_its_figures(results):
    one, two, three = tables(paper_tables(results))
    assert [row[:3] for row in one[1:6]] == [
        ["first frame", "15.72", "14.53"],
        ["first frame and random ones", "17.70", "17.07"],
        ["recent window (DFoT)", "17.63", "15.70"],
        ["history compressed into two frames (FramePack)", "17.20", "15.65"],
        ["Context-as-Memory, its rule", "20.22", "18.11"],
    ]
    assert [row[0] for row in two[1:]] == ["1", "5", "8", "10", "20", "30"]
    assert two[4][:4] == ["10", "19.14", "17.75", "1.20"]
    assert [row[1] for row in three[1:5]] == ["17.70", "19.17", "20.11", "20.22"]


def test_what_was_measured_stands_in_its_row(results):
    one, two, three = tables(paper_tables(results))
    found = {json.dumps([row[key] for key in ("retrieval", "context", "painter", "tour")]): row["values"] for row in
             results["figures"]}  # fmt: skip
    recent = found[json.dumps(["recent", 8, "generator", 12])]
    assert one[3][3] == f"{recent['replay_db']['mean']:.2f} ± 0.50"
    twenty = found[json.dumps(["fov", 20, "generator", 12])]
    assert two[5][-1] == f"{twenty['steps_per_second']['mean']:.1f}"
    random = found[json.dumps(["random", 8, "generator", 12])]
    assert three[1][4] == f"{random['loop_db']['mean']:.2f} ± 0.50"
    assert one[4][3:] == ["-", "-", "-"]  # not measured


def test_all_rows_are_measured_by_the_protocol():
    cases = retrieval_cases()
    keys = {(case["retrieval"], case["painter"]) for case in cases}
    assert set(TABLE_1) <= keys and set(TABLE_3) <= set(RETRIEVAL) and set(TABLE_2) <= {c["context"] for c in cases}
    assert {painter for _, painter in TABLE_1} <= set(PAINTERS)


def test_the_short_table_has_the_rules_of_the_paper_and_ours(results):
    (head, *rows), note = tables(reported_table(results))[0], reported_table(results).splitlines()[-1]
    assert {row[0] for row in rows} == {"first", "first_random", "recent", "random", "fov_random", "fov_non_adjacent",
                                        "fov_far", "fov"}  # fmt: skip
    assert len(rows) == len({row[0] for row in rows})  # after one tour, for no column tells two apart
    assert len(head) == 7 and "2 test scenes" in note and "8 context frames" in note


def test_committed_results_make_them():
    path = Path(__file__).parent.parent / "ctxmem_env" / "weights" / "nano" / "results_retrieval.json"
    assert len(tables(paper_tables(json.loads(path.read_text())))) == 3
