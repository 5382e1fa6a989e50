"""A model's figures in short: every cell is a figure of its file, in the column of its tour."""

import json
import shutil
from pathlib import Path

import pytest

import ctxmem_env
from ctxmem_env.evaluation.summary import read_all, summary_table

NANO = Path(ctxmem_env.__file__).parent / "weights" / "nano"


@pytest.fixture
def folder(tmp_path):
    for path in NANO.glob("results*.json"):
        shutil.copy(path, tmp_path)
    return tmp_path


def rows(folder):
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in summary_table(read_all(folder)).splitlines()
    ]
    return {line[0]: line[1:] for line in lines}


def rewrite(path, change):
    results = json.loads(path.read_text())
    change(results)
    path.write_text(json.dumps(results))


@pytest.mark.parametrize(
    ("end", "labels", "name", "question", "told"),
    [
        ("_loop", {"path": "turn 360"}, "own_db", "360 degrees and back, against its own frames, dB", "77.1"),
        ("_loop", {"path": "room"}, "own_db", "out of a room and back, against its own frames, dB", "77.1"),
        (
            "_retrieval",
            {"retrieval": "fov", "context": 8, "painter": "generator"},
            "loop_db",
            "there and back, 8 frames that cover the view, dB",
            "77.1",
        ),
        (
            "_horizon",
            {"steps": 1000},
            "true_db_age_1000",
            "first places again after 1,000 steps, against the truth, dB",
            "77.1",
        ),
        ("_horizon", {"steps": 3000}, "gradient_ratio", "gradients after 3,000 steps / true", "77.123"),
        (
            "_domains_freedoom",
            {"depth": "estimated"},
            "gain_db",
            "68 maps of Freedoom, depth estimated, dB above copies",
            "77.1",
        ),
        ("_sampling", {"denoising": 2}, "replay_db", "2 denoising steps, dB", "77.12"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("tour", [12, 0])
def test_a_figure_stands_in_its_line_under_its_tour_and_nowhere_else(folder, end, labels, name, question, told, tour):
    def change(results):
        for row in results["figures"]:
            if row["tour"] == tour and all(row[label] == value for label, value in labels.items()):
                row["values"][name]["mean"] = 77.1234

    before = rows(folder)
    rewrite(folder / f"results{end}.json", change)
    after = rows(folder)
    assert after[question][(12, 0).index(tour)] == told
    after[question][(12, 0).index(tour)] = before[question][(12, 0).index(tour)]
    assert after == before


def test_what_held_out_styles_gain_is_told_from_the_least_to_the_most(folder):
    gains = iter([5.0, 3.0, 9.0, 7.0, 4.0])

    def change(results):
        for row in results["figures"]:
            if row["domain"] not in ("trained", "freedoom") and (row["tour"], row["depth"]) == (12, "exact"):
                row["values"]["gain_db"]["mean"] = next(gains)

    rewrite(folder / "results_domains.json", change)
    assert rows(folder)["5 styles held out, depth exact, dB above copies"][0] == "3.0 to 9.0"


def test_new_content_may_be_three_times_as_far_as_true_frames_are(folder):
    def change(results):
        results["figures"][0]["values"]["frechet_true"]["mean"] = 2.0

    rewrite(folder / "results_new-content.json", change)
    _, _, beside, aim = rows(folder)["new content, turning away: Frechet distance"]
    assert (beside, aim) == ("true frames of two walks: 2.00", "6.00 at most")


def test_a_file_that_is_missing_or_not_finished_is_told(folder):
    rewrite(folder / "results_loop.json", lambda results: results.pop("figures"))
    with pytest.raises(ValueError, match=r"results: protocol='loop' is not finished; give the same command again"):
        summary_table(read_all(folder))
    (folder / "results_loop.json").unlink()
    with pytest.raises(ValueError, match=r"results_loop\.json cannot be read"):
        read_all(folder)
