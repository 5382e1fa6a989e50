"""Pictures show what the files say."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ctxmem_env.plotting import plot_ages, plot_learning_curve


def write(path, values, **more):
    lines = [
        {"steps": 100 * i, "seconds": 60.0 * i, "episodes": 3, "success": value, "spl": value / 2, **more}
        for i, value in enumerate(values)
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def picture(figure):
    """What a notebook would show."""
    return np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB")).astype(int)


def test_a_curve_is_drawn_with_a_panel_for_each_figure(tmp_path):
    two = picture(plot_learning_curve(write(tmp_path / "c.jsonl", [0.1, 0.5, 0.9]), tmp_path / "two.png"))
    one = picture(plot_learning_curve(tmp_path / "c.jsonl", tmp_path / "one.png", ["success"]))
    assert two.shape[1] == 2 * one.shape[1]
    other = picture(
        plot_learning_curve(write(tmp_path / "c.jsonl", [0.9, 0.5, 0.1]), tmp_path / "one.png", ["success"])
    )
    assert (one != other).any()


def test_a_level_is_drawn(tmp_path):
    curve = write(tmp_path / "c.jsonl", [0.1, 0.9])
    without = picture(plot_learning_curve(curve, tmp_path / "a.png", ["success"]))
    assert (without != picture(plot_learning_curve(curve, tmp_path / "b.png", ["success"], {"random": 0.3}))).any()


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no such file; expected the curve\.jsonl"):
        plot_learning_curve(tmp_path / "none.jsonl", tmp_path / "a.png")
    (tmp_path / "empty.jsonl").write_text('{"steps": 3, "seconds": 1.0}\n')
    with pytest.raises(ValueError, match="tells of no episode that has ended"):
        plot_learning_curve(tmp_path / "empty.jsonl", tmp_path / "a.png")
    curve = write(tmp_path / "c.jsonl", [0.1, 0.9])
    with pytest.raises(ValueError, match=r"figure='sucess' is unknown.*'success'"):
        plot_learning_curve(curve, tmp_path / "a.png", ["sucess"])
    curve.write_text(curve.read_text() + '{"steps": 3')
    with pytest.raises(ValueError, match=r"c\.jsonl' has a line that is no JSON .*; remove that line"):
        plot_learning_curve(curve, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def horizon(path, own):
    """Results of two long walks, with looks of two ages each."""

    def value(mean):
        return {"mean": mean, "ci95": 1.0}

    figures = [
        {"steps": steps, "values": {f"{name}_age_{age}": value(mean) for age, mean in ((10, 20.0), (100, own))
                                    for name, mean in (("age", 1.5 * age), ("own_db", mean), ("true_db", mean - 9))}}
        for steps in (300, 1000)
    ]  # fmt: skip
    path.write_text(json.dumps({"figures": figures}))
    return path


def test_looks_are_drawn_by_their_age(tmp_path):
    figure = plot_ages(horizon(tmp_path / "r.json", 35.0), tmp_path / "ages.png")
    assert (tmp_path / "ages.png").stat().st_size > 1000
    own, true = figure.axes
    for axis, expected in ((own, [20, 35]), (true, [11, 26])):
        lines = [container.lines[0] for container in axis.containers]
        assert [line.get_ydata().tolist() for line in lines] == [expected] * 2
        assert lines[0].get_xdata().tolist() == [15, 150] and axis.get_xscale() == "log"
    assert [text.get_text() for text in own.get_legend().get_texts()] == ["steps 300", "steps 1000"]


def test_results_without_ages_are_refused(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"figures": [{"steps": 300, "values": {"own_db": {"mean": 1.0, "ci95": None}}}]}))
    with pytest.raises(ValueError, match=r"r\.json' hold no looks by age; expected a file of the protocol horizon"):
        plot_ages(path)
