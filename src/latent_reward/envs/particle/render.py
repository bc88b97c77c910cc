"""A particle world as a picture."""

import numpy as np

from latent_reward.envs.particle.physics import Particles
from latent_reward.errors import extra_needed

COLOURS = ("#3b6fb6", "#4f9d69", "#c8553d")
PIXELS, DPI = 400, 100


def draw(
    state: Particles, groups: dict[str, int], sizes: np.ndarray, landmark_size: float, half_width: float
) -> np.ndarray:
    """A frame ``[400, 400, 3]``; the fixed camera shows 1.5 times the square of the reset.

    ``groups`` are name and number of the agents that share a colour, in order; sizes are radii; ``half_width`` is that
    of the square in which the world is reset. LareError without matplotlib.
    """
    with extra_needed("video: drawing this world", "video"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.collections import EllipseCollection
        from matplotlib.figure import Figure
    figure = Figure(figsize=(PIXELS / DPI, PIXELS / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), frameon=False, xticks=[], yticks=[])
    edge = 1.5 * half_width
    axes.axis((-edge, edge, -edge, edge))

    def discs(centres: np.ndarray, radius, colour) -> None:
        diameter = np.broadcast_to(2 * np.asarray(radius), len(centres))
        place = {"units": "xy", "offsets": centres, "offset_transform": axes.transData}
        paint = {"facecolors": colour, "edgecolors": "#00000055"}
        axes.add_collection(EllipseCollection(diameter, diameter, np.zeros(len(centres)), **place, **paint))

    discs(np.asarray(state.landmark), landmark_size, "#b0b0b0")
    colours = np.repeat(COLOURS[: len(groups)], list(groups.values()))
    discs(np.asarray(state.position), sizes, colours)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
