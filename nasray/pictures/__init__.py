"""Pictures of fronts and cells. Neither torch nor Ray is needed."""

from nasray.pictures.cell_picture import cell_picture, draw_cells
from nasray.pictures.plots import front_picture, plot_front

__all__ = ["cell_picture", "draw_cells", "front_picture", "plot_front"]
