"""Street scenes drawn with their ground truth: what the demo detector is trained, calibrated and scored on."""

from yocc.models.street.dataset import SPLITS, write
from yocc.models.street.objects import CLASSES
from yocc.models.street.scene import Scene, draw_scene

__all__ = ["CLASSES", "SPLITS", "Scene", "draw_scene", "write"]
