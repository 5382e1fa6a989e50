"""Random actions in test scenes: what every policy should surpass.

python agents/random_actions.py --task explore --scenes 8
"""

from functools import partial

from evaluate import make_parser, run

from ctxmem_env.policies import RandomActions

if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--actions", choices=("discrete", "continuous"), default="discrete")
    args = parser.parse_args()
    run(partial(RandomActions, args.seed, args.actions), parser, args)
