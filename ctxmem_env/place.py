"""The ground that a world begins on, as tasks ask of it when they draw a goal: `ctxmem_env.tasks.Place`."""

from dataclasses import fields

import torch
from torch import Tensor

from ctxmem_env.scenes import Scene, is_free, render, shortest_way


class ScenePlace:
    """Of a rendered scene, a batch of one, for bodies of `radius` metres; pictures have that fov and size."""

    def __init__(self, scenes: Scene, radius: float, fov: float, height: int, width: int):
        self.scenes, self.radius, self.picture_of = scenes, radius, (fov, height, width)
        self.scene = Scene(**{part.name: getattr(scenes, part.name)[0] for part in fields(Scene)}).to("cpu")

    def free(self, x: float, y: float) -> bool:
        return bool(is_free(self.scene, torch.tensor([x, y]), self.radius))

    def way(self, start: Tensor, goal: Tensor) -> float:
        return shortest_way(self.scene, start, goal, self.radius)

    def picture(self, pose: Tensor) -> Tensor:
        return render(self.scenes, pose[None, None].to(self.scenes.centre), *self.picture_of)[0][0, 0]


class OpenPlace:
    """Of a photograph: nobody knows what stands there, so that every way is straight and nothing can be pictured."""

    def free(self, x: float, y: float) -> bool:
        return True

    def way(self, start: Tensor, goal: Tensor) -> float:
        return float((goal - start).norm())

    def picture(self, pose: Tensor) -> None:
        return None
