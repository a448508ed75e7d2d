"""Energy of on-chip events, by technology, each constant with range, source and mark."""

from .activity import NET_CLASSES, REFERENCE_TOGGLES, UNCALIBRATED, Activity
from .calibration import ACTIVITIES, calibrated, check_data
from .constants import Constant, Mark, Technology
from .events import (
    ENERGY_PARTS,
    ArrayShape,
    Events,
    beat_add_pj,
    beat_register_bits,
    on_chip_energy_j,
    sign_accumulate_pj,
    tree_levels,
)
from .technologies import (
    ASIC7,
    ASIC28,
    ASIC45,
    FPGA16,
    FPGA28,
    FPGA_ECP5,
    FPGA_NODE_RATIO,
    FPGA_OVER_ASIC,
    FPGA_OVER_ASIC_HARD,
    TECHNOLOGIES,
    energy_ratio,
    named_technology,
)

__all__ = [
    "ACTIVITIES",
    "ASIC7",
    "ASIC28",
    "ASIC45",
    "ENERGY_PARTS",
    "FPGA16",
    "FPGA28",
    "FPGA_ECP5",
    "FPGA_NODE_RATIO",
    "FPGA_OVER_ASIC",
    "FPGA_OVER_ASIC_HARD",
    "NET_CLASSES",
    "REFERENCE_TOGGLES",
    "TECHNOLOGIES",
    "UNCALIBRATED",
    "Activity",
    "ArrayShape",
    "Constant",
    "Events",
    "Mark",
    "Technology",
    "beat_add_pj",
    "beat_register_bits",
    "calibrated",
    "check_data",
    "energy_ratio",
    "named_technology",
    "on_chip_energy_j",
    "sign_accumulate_pj",
    "tree_levels",
]
