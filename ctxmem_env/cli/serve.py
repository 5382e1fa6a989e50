"""`ctxmem serve`: the web page, with what the options say."""

import logging

from ctxmem_env.cli import Serve
from ctxmem_env.viewer.choice import Offer
from ctxmem_env.viewer.limits import Limits
from ctxmem_env.viewer.server import Serving

logger = logging.getLogger(__name__)


def serve_command(command: Serve) -> dict:
    """Run the command until it is interrupted; what is to be printed. ValueError for input that does not fit."""
    if not command.idle_minutes > 0:
        raise ValueError(f"idle_minutes={command.idle_minutes!r}; expected minutes, above 0.")
    offer = Offer(command.models, command.device, command.num_context, command.memory_capacity)
    limits = Limits(command.visitors, command.fps, 60 * command.idle_minutes)
    serving = Serving(offer, limits, command.host, command.port, command.allow_host)
    serving.house.warm_up()
    with serving.until_signalled():
        # With --quiet, too: nobody else knows the token.
        logger.warning(serving.address)
        return serving.run()
