"""Policies in test scenes: one episode in each, counted as if it had been the only one, and the transfer protocol."""

import copy
import json
import math
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from ctxmem_env.evaluation.correlation import pearson, pearson_interval, spearman
from ctxmem_env.evaluation.metrics import wilson_interval
from ctxmem_env.evaluation.policies import ENV_IDS, evaluate_policy, make_worlds
from ctxmem_env.evaluation.transfer import agreement, evaluate_transfer, transfer_table
from ctxmem_env.policies import POLICIES, RandomActions, make_policy
from ctxmem_env.scenes import SPLITS, split_of
from ctxmem_env.testing import PoseGenerator

SMALL = {"height": 48, "width": 48, "tour": 2}
TRUE = "CtxMemTrueScene-v0"
evaluate = partial(evaluate_policy, env_id=TRUE, quiet=True, **SMALL)


def test_both_worlds_start_alike():
    opened = {}
    for env_id in ENV_IDS:
        kwargs = SMALL if env_id == TRUE else {"model": PoseGenerator(), "tour": 2}
        envs = make_worlds(make_policy("frontier"), env_id, 3, "point_goal", **kwargs)
        options = {"worlds": [{"scene": seed} for seed in SPLITS["test"][:3]]}
        opened[env_id] = envs.reset(seed=[7, 8, 9], options=options)[0]
        envs.close()
    for name, value in opened[TRUE].items():
        np.testing.assert_array_equal(value, opened[ENV_IDS[0]][name], err_msg=name)
    assert len(np.unique(opened[TRUE]["goal"], axis=0)) == 3


def test_every_episode_counts_as_if_it_were_the_only_one():
    """More scenes than worlds, and episodes that end sooner and later."""
    scenes, limit = 9, 12
    episodes = evaluate(make_policy("turn_and_go"), scenes=scenes, max_episode_steps=limit, seed=3)["episodes"]
    assert episodes["scene"] == list(SPLITS["test"][:scenes])
    assert len(set(episodes["steps"])) > 2 and max(episodes["steps"]) == limit
    env = gym.make(TRUE, task="point_goal", max_episode_steps=limit, **SMALL)
    for i, scene in enumerate(episodes["scene"]):
        policy, total, collisions, steps = make_policy("turn_and_go"), 0.0, 0, 0
        observation, info = env.reset(seed=3 + i, options={"scene": scene})
        ended = False
        while not ended:
            actions, _ = policy.predict({"goal": observation["goal"][None]})
            observation, reward, terminated, truncated, info = env.step(actions[0])
            total, collisions, steps = total + reward, collisions + info["collision"], steps + 1
            ended = terminated or truncated
        assert episodes["steps"][i] == steps and episodes["success"][i] == info["success"]
        assert episodes["return"][i] == pytest.approx(total, abs=1e-4)
        assert episodes["spl"][i] == pytest.approx(info["spl"], abs=1e-6)
        assert episodes["collisions"][i] == pytest.approx(collisions / steps)
        assert episodes["distance_to_goal"][i] == pytest.approx(info["distance_to_goal"], abs=1e-6)
    env.close()


def test_an_evaluation_is_the_same_again_and_another_seed_is_another():
    results = [evaluate(RandomActions(1), scenes=3, max_episode_steps=6, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1] and json.loads(json.dumps(results[0])) == results[0]
    assert results[0]["episodes"] != results[2]["episodes"]


def test_figures_are_means_of_the_episodes_in_the_split_that_was_asked_for():
    results = evaluate(RandomActions(0), task="explore", scenes=3, max_episode_steps=4, split="validation")
    figures, episodes = results["figures"], results["episodes"]
    assert {split_of(scene) for scene in episodes["scene"]} == {"validation"}
    assert results["deterministic"] is False and results["max_episode_steps"] == 4
    assert set(figures) == {"return", "steps", "collisions", "seen_area"}
    area = episodes["seen_area"]
    half = 4.302653 * np.std(area, ddof=1) / math.sqrt(3)
    assert figures["seen_area"]["mean"] == pytest.approx(np.mean(area), abs=1e-3)
    assert figures["seen_area"]["high"] == pytest.approx(np.mean(area) + half, abs=1e-3)


def test_the_interval_of_wilson():
    """Known values, as tabled by Newcombe (1998): 0 of 20, 1 of 29, 15 of 148, 81 of 263."""
    for (successes, trials), expected in {
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
        (15, 148): (0.0624, 0.1605),
        (81, 263): (0.2553, 0.3662),
    }.items():
        assert wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-4)
    assert wilson_interval(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=1e-4)


def test_the_explorer_sees_more_than_random_actions():
    seen = [
        evaluate(make_policy(name), task="explore", scenes=2, max_episode_steps=40)["figures"]["seen_area"]["mean"]
        for name in ("frontier", "random")
    ]
    assert seen[0] > 1.2 * seen[1]


def test_avoiding_reaches_what_a_straight_way_does_not():
    straight, avoiding = (
        evaluate(make_policy(name), scenes=3, max_episode_steps=70, split="validation")["episodes"]["success"]
        for name in ("turn_and_go", "turn_and_avoid")
    )
    assert straight == [1, 1, 0] and avoiding == [1, 1, 1]


@pytest.mark.slow
def test_the_explorer_comes_back():
    success = evaluate(make_policy("frontier"), task="look_back", scenes=4, max_episode_steps=90)["episodes"]["success"]
    assert sum(success) >= 3


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_an_algorithm_of_stable_baselines_is_a_policy(env_id):
    own = SMALL if env_id == TRUE else {"model": PoseGenerator(), "tour": 2}
    env = gym.make(env_id, task="point_goal", observation="rgbd", **own)
    model = PPO("MultiInputPolicy", env, n_steps=2, batch_size=2, device="cpu", seed=0)
    results = evaluate_policy(model, env_id, scenes=2, max_episode_steps=3, quiet=True, **own)
    assert results["episodes"]["steps"] == [3, 3]
    with pytest.raises(ValueError, match=r"environment has observation_space .*, but PPO was made for .*trained with"):
        evaluate_policy(model, env_id, scenes=2, observation="dict", quiet=True, **own)
    with pytest.raises(ValueError, match=r"environment has action_space Box.*, but PPO was made for Discrete\(9\)"):
        evaluate_policy(model, env_id, scenes=2, actions="continuous", quiet=True, **own)
    env.close()


@pytest.mark.parametrize(
    ("policy", "arguments", "message"),
    [
        ("random", {"env_id": "CtxMemScen-v0"}, "env_id='CtxMemScen-v0' is unknown. Did you mean 'CtxMemScene-v0'"),
        ("random", {"scenes": 1}, "scenes=1 is out of range; expected an integer in"),
        ("random", {"max_episode_steps": 0}, "max_episode_steps=0 is out of range"),
        ("random", {"split": "tset"}, "split='tset' is unknown. Did you mean 'test'"),
        ("random", {"task": "pointgoal"}, "task='pointgoal' is unknown. Did you mean 'point_goal'"),
        ("frontier", {"task": "image_goal"}, "task='image_goal', but FrontierExplorer serves 'roam', 'explore'"),
        ("frontier", {"observation": "rgb"}, "observation='rgb', but FrontierExplorer needs 'dict'; leave"),
        ("turn_and_go", {"actions": "continuous"}, "actions='continuous', but TurnAndGo has discrete actions; leave"),
        (None, {}, "policy=None has no method predict"),
    ],
)
def test_what_does_not_fit_gets_one_clear_error(policy, arguments, message):
    policy = policy and make_policy(policy)
    with pytest.raises(ValueError, match=message):
        evaluate(policy, **arguments)


def test_correlation_of_values_and_of_ranks():
    assert pearson([1, 2, 3], [2, 4, 6]) == 1.0 and pearson([1, 2, 3], [3, 2, 1]) == -1.0
    assert pearson([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == 1.0
    assert spearman([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9487, abs=1e-4)  # ties share their mean rank
    assert pearson([1, 1, 1], [1, 2, 3]) is None and pearson([1], [2]) is None
    assert pearson_interval(0.5, 28) == pytest.approx((0.156, 0.736), abs=1e-3)  # a table of Fisher's transformation
    assert pearson_interval(1.0, 5) == (1.0, 1.0)


def test_agreement_is_over_policies_of_both_worlds():
    def figures(policy, env_id, success, retrieval=None):
        own = {"success": {"mean": success}, "return": {"mean": 2 * success}}
        return {"policy": policy, "env_id": env_id, "retrieval": retrieval, "figures": own}

    true = [figures(name, TRUE, value) for name, value in (("a", 0.1), ("b", 0.5), ("c", 0.9))]
    painted = [figures(name, ENV_IDS[0], value, "fov") for name, value in (("a", 0.9), ("b", 0.5), ("d", 0.0))]
    assert [row["policies"] for row in agreement(true + painted)] == [2, 2]
    assert agreement(true + painted)[0]["pearson_r"] is None  # two policies always lie on a line
    rows = agreement([*true, *painted, figures("c", ENV_IDS[0], 0.1, "fov")])
    assert [(row["measure"], row["policies"], row["pearson_r"]) for row in rows] == [
        ("success", 3, -1.0),
        ("return", 3, -1.0),
    ]


@pytest.fixture
def transfer(untrained_model, tmp_path):
    """A small transfer evaluation into one file."""
    arguments = {"scenes": 2, "max_episode_steps": 3, "model": str(untrained_model), "tour": 1, "num_context": 2}
    return partial(evaluate_transfer, **arguments, out=tmp_path / "transfer.json", quiet=True)


def test_an_interrupted_transfer_keeps_what_it_finished_and_goes_on(transfer, tmp_path, monkeypatch):
    class Fragile(RandomActions):
        """Is interrupted at its fourth action, which is the first of its second evaluation."""

        calls = 0

        def predict(self, *arguments):
            Fragile.calls += 1
            if Fragile.calls == 4:
                raise KeyboardInterrupt
            return super().predict(*arguments)

    monkeypatch.setitem(POLICIES, "fragile", Fragile)
    with pytest.raises(KeyboardInterrupt):
        transfer(["random", "fragile"])
    kept = json.loads((tmp_path / "transfer.json").read_text())
    assert [(f["policy"], f["env_id"]) for f in kept["figures"]] == [
        ("random", TRUE),
        ("random", ENV_IDS[0]),
        ("fragile", TRUE),
    ]
    results = transfer(["random", "fragile"])
    assert Fragile.calls == 4 + 3 and results["figures"][:3] == kept["figures"]
    assert [f["env_id"] for f in results["figures"]] == [TRUE, ENV_IDS[0]] * 2
    assert json.loads((tmp_path / "transfer.json").read_text()) == results
    for name in ("machine", "commit", "version", "ctxmem_env", "arguments"):
        assert results[name]
    # Others may be added, and are all that is evaluated then.
    more = transfer(["random"], retrieval=["none"])
    assert more["figures"][:4] == results["figures"] and more["figures"][4]["retrieval"] == "none"
    assert Fragile.calls == 7
    assert [path.name for path in tmp_path.iterdir()] == ["transfer.json"]


def test_the_table_has_a_row_for_each_policy_and_says_how_the_worlds_agree(transfer):
    results = transfer(["random", "turn_and_go", "turn_and_avoid"])
    for row, mean in zip(results["figures"], (0.0, 0.0, 0.5, 1.0, 1.0, 0.5), strict=True):
        row["figures"]["success"]["mean"] = mean
    assert "return" not in transfer_table(results)
    assert "Pearson" not in transfer_table(results)  # of three policies it says nothing
    others = [copy.deepcopy(row) | {"policy": name} for name in ("a", "b") for row in results["figures"][:2]]
    for row, mean in zip(others, (0.25, 0.25, 0.75, 0.75), strict=True):
        row["figures"]["success"]["mean"] = mean
    agreed = (
        "Mean success of 5 policies, generated (fov) against true: Pearson r 0.60 (95 % interval -0.60 to 0.97), "
        "Spearman 0.60."
    )
    assert agreed in transfer_table(results | {"figures": results["figures"] + others})
    assert "| random |" not in transfer_table(results, policies=["turn_and_go"])
    assert "generated" not in transfer_table(results, retrieval=["none"])
    results["figures"].pop()  # as after an interruption
    head, _, *rows = [line.strip("| ").split(" | ") for line in transfer_table(results).splitlines()]
    assert head == ["policy", "success, true", "success, generated, fov", "SPL, true", "SPL, generated, fov"]
    assert [row[0] for row in rows[:3]] == ["random", "turn_and_go", "turn_and_avoid"]
    for column, name, which in ((1, "success", 0), (2, "success", 1), (3, "spl", 0), (4, "spl", 1)):
        shown = results["figures"][2 + which]["figures"][name]
        assert rows[1][column] == f"{shown['mean']:.2f} ({shown['low']:.2f} to {shown['high']:.2f})"
    assert rows[2][2] == rows[2][4] == "-"


def test_transfer_refuses_what_it_could_not_finish_and_files_of_others(transfer, tmp_path):
    for arguments, message in (
        ({"policies": ["random", "frontirr"]}, "policy='frontirr' is unknown"),
        ({"policies": ["random", "wall_follower"]}, "task='point_goal', but WallFollower serves"),
        ({"policies": ["random", "random"]}, "expected a list of one or more different names"),
        ({"policies": "random"}, "policies='random'; expected a list"),
        ({"policies": ["random"], "retrieval": ["fovv"]}, "retrieval='fovv' is unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            transfer(**arguments)
    out = tmp_path / "transfer.json"
    assert not out.exists()
    out.write_text('{"version": 2, "figures": []}')
    with pytest.raises(ValueError, match="holds no results of this protocol and version; choose another file"):
        transfer(["random"])
    out.write_text("{")
    with pytest.raises(ValueError, match="is no JSON file"):
        transfer(["random"])
    assert out.read_text() == "{"
    with pytest.raises(ValueError, match=r"is no JSON file \(.*directory"):
        transfer(["random"], out=tmp_path)
    out.unlink()
    transfer(["random"])
    with pytest.raises(ValueError, match="holds results with seed=0, not 1; choose another file"):
        transfer(["random"], seed=1)


def test_weights_behind_a_name_that_have_changed_are_evaluated_anew(tmp_path, monkeypatch, untrained_model):
    from ctxmem_env.evaluation.transfer import _fingerprint
    from ctxmem_env.policies import network

    (tmp_path / "ours.safetensors").write_bytes(b"one")
    monkeypatch.setattr(network, "_PACKAGED", tmp_path)
    before = _fingerprint("ours")
    (tmp_path / "ours.safetensors").write_bytes(b"other")
    assert before != _fingerprint("ours") and _fingerprint("random") is None
    arguments = {"policies": ["random"], "scenes": 2, "max_episode_steps": 1, "tour": 1, "quiet": True}
    results = evaluate_transfer(**arguments, model=str(untrained_model), out=tmp_path / "transfer.json")
    assert results["arguments"]["model_sha256"]


def test_the_command_evaluates_transfer(run, fail, untrained_model, tmp_path):
    command = ("evaluate", "--protocol", "transfer", "--model", untrained_model, "--scenes", 2, "--steps", 2)
    out = tmp_path / "transfer.json"
    results, err = run(*command, "--policies", "random,turn_and_go", "--tours", 1, "--out", out)
    assert [f["policy"] for f in results["figures"]] == ["random", "random", "turn_and_go", "turn_and_go"]
    assert "episodes" not in results["figures"][0] and "episodes" in json.loads(out.read_text())["figures"][0]
    assert "| policy | success, true |" in err and results["arguments"]["tour"] == 1
    assert "policies is missing" in fail(*command)
    assert "takes one number of frames" in fail(*command, "--policies", "random", "--tours", 1, 2)
    assert "task='explore' has no meaning for protocol='views'" in fail("evaluate", "--task", "explore")
