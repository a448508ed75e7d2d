"""The simulator against machines that others built and measured."""

from .comparison import AIM, Row, Summary, compare, summary
from .design import Design, Run, boards, design_from_file, load_designs
from .figures import Figure, load_figures
from .predict import QUANTITIES, RATES, predict
from .sources import Parameter

__all__ = [
    "AIM", "QUANTITIES", "RATES", "Design", "Figure", "Parameter", "Row", "Run", "Summary",
    "boards", "compare", "design_from_file", "load_designs", "load_figures", "predict", "summary",
]
