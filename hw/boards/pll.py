"""Settings of the ECP5's PLL, EHXPLLL, with the feedback taken from its first output."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import ConfigError

# Lattice FPGA-DS-02012, table 3.21 (sysCLOCK PLL timing), MHz; dividers 1 to 128.
INPUT_MHZ = (8.0, 400.0)
PHASE_DETECTOR_MHZ = (3.125, 400.0)
OSCILLATOR_MHZ = (400.0, 800.0)
OUTPUT_MHZ = (3.125, 400.0)
_DIVIDERS = range(1, 129)


@dataclass(frozen=True)
class Pll:
    """Dividers of an EHXPLLL.

    Attributes
    ----------
    input_mhz, output_mhz
        Clocks; the output is ``input / input_divider * feedback_divider``.
    input_divider, feedback_divider, output_divider
        CLKI_DIV, CLKFB_DIV, CLKOP_DIV.
    """

    input_mhz: float
    output_mhz: float
    input_divider: int
    feedback_divider: int
    output_divider: int

    @property
    def oscillator_mhz(self) -> float:
        """Return the clock of the oscillator inside."""
        return self.output_mhz * self.output_divider

    def parameters(self) -> dict[str, object]:
        """Return the parameters of the EHXPLLL instance."""
        return {
            "CLKI_DIV": self.input_divider,
            "CLKFB_DIV": self.feedback_divider,
            "CLKOP_DIV": self.output_divider,
            "CLKOP_CPHASE": self.output_divider - 1,
            "CLKOP_FPHASE": 0,
            "CLKOP_ENABLE": "ENABLED",
            "CLKOS_ENABLE": "DISABLED",
            "CLKOS2_ENABLE": "DISABLED",
            "CLKOS3_ENABLE": "DISABLED",
            "FEEDBK_PATH": "CLKOP",
            "INTFB_WAKE": "DISABLED",
            "STDBY_ENABLE": "DISABLED",
            "DPHASE_SOURCE": "DISABLED",
            "PLLRST_ENA": "DISABLED",
            "OUTDIVIDER_MUXA": "DIVA",
        }


def find_pll(input_mhz: float, output_mhz: float) -> Pll:
    """Return the dividers whose output is nearest to `output_mhz`, never above it.

    Of equally near ones, that with the highest phase detector clock (least jitter), then the
    oscillator nearest to the middle of its range.

    Raises
    ------
    ConfigError
        If a clock is out of the PLL's range.
    """
    for what, clock, (low, high) in (
        ("input", input_mhz, INPUT_MHZ), ("output", output_mhz, OUTPUT_MHZ)
    ):
        if not low <= clock <= high:
            raise ConfigError(
                f"the PLL's {what} clock must be from {low:g} to {high:g} MHz, not {clock:g}"
            )
    best: tuple[tuple[float, float, float], Pll] | None = None
    for divider in _DIVIDERS:
        detector = input_mhz / divider
        if not PHASE_DETECTOR_MHZ[0] <= detector <= PHASE_DETECTOR_MHZ[1]:
            continue
        feedback = min(int(output_mhz / detector * (1 + 1e-12)), _DIVIDERS[-1])
        if feedback < 1:
            continue
        output = detector * feedback
        for after in _DIVIDERS:
            oscillator = output * after
            if not OSCILLATOR_MHZ[0] <= oscillator <= OSCILLATOR_MHZ[1]:
                continue
            rank = (round(output_mhz - output, 9), -detector, abs(oscillator - 600))
            if best is None or rank < best[0]:
                best = rank, Pll(input_mhz, output, divider, feedback, after)
    if best is None:
        raise ConfigError(f"no PLL setting makes {output_mhz:g} MHz of {input_mhz:g} MHz")
    return best[1]
