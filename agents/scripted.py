"""Rules in test scenes: in point_goal turn to the goal and go, in explore and roam go along walls.

python agents/scripted.py --task point_goal --avoid
"""

from functools import partial

from evaluate import make_parser, run

from ctxmem_env.policies import TurnAndGo, WallFollower

if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--avoid", action="store_true", help="in point_goal, go round what depth shows in the way")
    args = parser.parse_args()
    run(partial(TurnAndGo, args.avoid) if args.task == "point_goal" else WallFollower, parser, args)
