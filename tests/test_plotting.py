"""Pictures show what the files say."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ctxmem_env.plotting import plot_learning_curve


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
