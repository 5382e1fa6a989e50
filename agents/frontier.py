"""A map of known ground in test scenes: go where it ends, to a goal, or back.

python agents/frontier.py --task explore --video frontier.mp4
"""

from evaluate import make_parser, run

from ctxmem_env.policies import FrontierExplorer

if __name__ == "__main__":
    parser = make_parser(__doc__, task="explore")
    run(FrontierExplorer, parser, parser.parse_args())
