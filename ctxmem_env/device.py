"""Names of torch devices."""

import torch


def check_device(device: str) -> str:
    """The name itself; ValueError unless it is "auto" or a name that torch knows. No device is touched."""
    try:
        torch.device("cpu" if device == "auto" else device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device={device!r} is not a torch device; expected 'auto', 'cpu' or 'cuda'.") from None
    return device


def resolve_device(device: str) -> torch.device:
    """The device of that name; "auto" is the first GPU where there is one. ValueError when it is not here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=check_device(device))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} is not available here ({error}); use 'auto' or 'cpu'.") from None
    return torch.device(device)
