"""A network with fewer layers that begins as a deeper one."""

import pytest
import torch

from ctxmem_env.generator.prune import prune
from ctxmem_env.generator.transformer import SceneTransformer

DEEP = {"height": 16, "width": 16, "patch_size": 4, "dim": 32, "num_heads": 2, "num_layers": 6, "num_context_layers": 2}


@pytest.fixture(scope="module")
def deep():
    torch.manual_seed(0)
    return SceneTransformer(**DEEP)


def test_the_layers_that_are_kept_are_those_of_the_deeper_network(deep):
    weights, arguments = prune(deep.state_dict(), deep.config, {"blocks": [0, 3, 4], "context_blocks": [1]})
    assert (arguments["num_layers"], arguments["num_context_layers"]) == (3, 1)
    few = SceneTransformer(**DEEP | {"num_layers": 3, "num_context_layers": 1})
    few.load_state_dict(weights)  # which names all weights, and no others
    for new, old in enumerate([0, 3, 4]):
        assert torch.equal(few.blocks[new].up.weight, deep.blocks[old].up.weight)
    assert torch.equal(few.context_blocks[0].up.weight, deep.context_blocks[1].up.weight)
    assert torch.equal(few.pixel_out.weight, deep.pixel_out.weight)


def test_with_nothing_named_all_layers_are_kept(deep):
    weights, arguments = prune(deep.state_dict(), deep.config, {})
    assert weights.keys() == deep.state_dict().keys() and arguments == dict(deep.config)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"blocks": [0, 6]}, r"init_layers: blocks=6 is out of range; expected an integer in \[0, 5\]"),
        ({"blocks": [0, 0]}, r"init_layers: blocks=\[0, 0\]; expected different layers in their order"),
        ({"context_blocks": [1, 0]}, r"init_layers: context_blocks=\[1, 0\]; expected different layers in their order"),
        ({"blocks": [1, 2]}, r"init_layers: blocks=\[1, 2\]; .* every remember_every=2th is still one that reads"),
        ({"layers": [0]}, r"init_layers='layers' is unknown"),
    ],
)
def test_layers_that_do_not_fit_are_refused(deep, layers, message):
    with pytest.raises(ValueError, match=message):
        prune(deep.state_dict(), deep.config, layers)
