"""Pictures show what the files say."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ctxmem_env.plotting import plot_ages, plot_evaluation, plot_learning_curve, plot_memory, plot_trajectory


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


def bars(axis):
    """Of each label its mean and the ends of its interval."""
    (container,) = [one for one in axis.containers if hasattr(one, "patches")]
    ends = [segment[:, 0].tolist() for segment in container.errorbar[2][0].get_segments()]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    return {label: (bar.get_width(), *end) for label, bar, end in zip(labels, container, ends, strict=True)}


def test_what_was_measured_is_drawn_with_its_interval_and_labelled_by_what_differs(tmp_path):
    def case(painter, psnr, loop, ci95=0.5):
        values = {"psnr_db": {"mean": psnr, "ci95": ci95}, "loop_db": {"mean": loop, "ci95": None}}
        return {"protocol": "loop", "painter": painter, "turn": 90, "values": values}

    path = tmp_path / "r.json"
    path.write_text(json.dumps({"figures": [case("nano", 30.0, 40.0), case("copy", 20.0, 45.0, 2.0)]}))
    figure = plot_evaluation(path, tmp_path / "new" / "a.png")
    psnr, loop = figure.axes
    assert bars(psnr) == {"painter nano": (30, 29.5, 30.5), "painter copy": (20, 18, 22)}
    assert bars(loop) == {"painter nano": (40, 40, 40), "painter copy": (45, 45, 45)}
    assert [axis.get_xlabel() for axis in figure.axes] == ["psnr db", "loop db"]
    assert psnr.yaxis_inverted()  # the first case is on top
    assert (tmp_path / "new" / "a.png").stat().st_size > 1000
    assert [axis.get_xlabel() for axis in plot_evaluation(path, names=["loop_db"]).axes] == ["loop db"]


def test_views_and_transfer_are_drawn_too_and_what_was_not_measured_is_left_out(tmp_path):
    path = tmp_path / "r.json"
    views = [
        {"painter": name, "tour": 12, "psnr_db": psnr, "ci95_db": 1.5} for name, psnr in (("a", 20.0), ("b", 30.0))
    ]
    path.write_text(json.dumps({"figures": views}))
    assert bars(plot_evaluation(path).axes[0]) == {"painter a": (20, 18.5, 21.5), "painter b": (30, 28.5, 31.5)}
    rates = [{"policy": name, "figures": {"success": {"mean": 0.5, "low": 0.25, "high": 1.0}}} for name in ("a", "b")]
    path.write_text(json.dumps({"figures": rates}))
    assert bars(plot_evaluation(path).axes[0]) == dict.fromkeys(("policy a", "policy b"), (0.5, 0.25, 1))
    values = [{"a": {"mean": 1.0, "ci95": 0.0}}, {"a": {"mean": None, "ci95": None}, "b": {"mean": 2.0, "ci95": 1.0}}]
    path.write_text(json.dumps({"figures": [{"steps": i, "values": value} for i, value in enumerate(values)]}))
    first, second = plot_evaluation(path).axes
    assert bars(first) == {"steps 0": (1, 1, 1)} and bars(second) == {"steps 1": (2, 1, 3)}


def test_results_that_are_none_and_figures_that_they_lack_are_refused(tmp_path):
    path = tmp_path / "r.json"
    for text in ("no json", "[]", '{"figures": []}', '{"figures": 3}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"r\.json': expected a JSON file that `ctxmem evaluate` wrote"):
            plot_evaluation(path)
    with pytest.raises(ValueError, match=r"none\.json': expected a JSON file"):
        plot_evaluation(tmp_path / "none.json")
    path.write_text(json.dumps({"figures": [{"values": {"psnr_db": {"mean": 1.0, "ci95": 1.0}}}]}))
    with pytest.raises(ValueError, match=r"figure='psnr' is unknown.*'psnr_db'"):
        plot_evaluation(path, tmp_path / "a.png", ["psnr"])
    assert not (tmp_path / "a.png").exists()


def walk():
    """Infos of three steps to the east, in a world that two frames opened before the first view."""
    retrieved = [[-1, -1], [2, 0], [3, -1], [4, 2]]
    overlap = [[0, 0], [0.75, 0.25], [0.5, 0], [1, 0.5]]
    poses = np.zeros((4, 6))
    poses[:, 0], poses[:, 3] = np.arange(4), np.pi / 2
    return [
        {"pose": pose, "retrieved": np.array(numbers), "overlap": np.float32(shares)}
        for pose, numbers, shares in zip(poses, retrieved, overlap, strict=True)
    ]


def test_a_walk_is_drawn_from_above_by_step_with_where_it_looked():
    axis = plot_trajectory(walk()).axes[0]
    dots, arrows = axis.collections
    assert dots.get_offsets().tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert dots.get_array().tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V]), [[0] * 4, [1] * 4], atol=1e-6)  # to the north
    assert axis.get_aspect() == 1 and (axis.get_xlabel(), axis.get_ylabel()) == ("x, east, m", "y, north, m")


def test_memory_is_drawn_by_the_age_of_what_was_retrieved_and_by_its_shares():
    ages, shares, *_ = plot_memory(walk()).axes
    # The frame before the first step has the number 2 and is one step old in the first.
    assert ages.collections[0].get_offsets().tolist() == [[1, 1], [1, 3], [2, 1], [3, 1], [3, 3]]
    np.testing.assert_allclose(ages.collections[0].get_array(), [0.75, 0.25, 0.5, 1, 0.5])
    best, mean = (line.get_ydata() for line in shares.lines)
    np.testing.assert_allclose([best, mean], [[0.75, 0.5, 1], [0.5, 0.5, 0.75]])


def test_walks_that_are_none_are_refused():
    for infos in ([], [{"pose": np.zeros(6)}], [3]):
        with pytest.raises(ValueError, match="expected the infos of one episode"):
            plot_memory(infos)
        with pytest.raises(ValueError, match="expected the infos of one episode"):
            plot_trajectory(infos)
