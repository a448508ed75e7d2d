"""The ULX3S board with an LFE5U-85F: an engine on the USB serial line.

Pins: the board's own constraint file, ``ulx3s_v20.lpf`` (v2.x.x and v3.0.x). Open tools make the
bitstream; see ``docs/fpga.md``.
"""

from __future__ import annotations

from amaranth import Cat, ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from ..config import ConfigError, EngineConfig
from ..engine import Engine
from ..uart import UartEngine
from .pll import Pll, find_pll

BOARD_MHZ = 25.0
TARGET = "ecp5-85k"
_PINS = {
    "ftdi_txd": ("M1", "PULLMODE=UP IO_TYPE=LVCMOS33"),
    "ftdi_rxd": ("L4", "PULLMODE=UP IO_TYPE=LVCMOS33 DRIVE=4"),
    "wifi_gpio0": ("L2", "PULLMODE=NONE IO_TYPE=LVCMOS33 DRIVE=4"),
    **{
        f"led[{i}]": (site, "PULLMODE=NONE IO_TYPE=LVCMOS33 DRIVE=4")
        for i, site in enumerate(("B2", "C2", "C1", "D2", "D1", "E2", "E1", "H3"))
    },
}


class Ulx3s(wiring.Component):
    """Top of the board.

    Parameters
    ----------
    config : EngineConfig
    clock_mhz
        The engine's clock at most; the PLL makes the nearest one not above.
    baud
        Of the serial line; must be within 2 % of a whole divisor of the clock.
    engine : Engine or None
        The engine to use; None makes one.

    Members
    -------
    clk_25mhz, ftdi_txd : In
    ftdi_rxd : Out
    wifi_gpio0 : Out
        1, or the board's ESP32 takes over.
    led : Out(8)
        From 0: busy, error, overflow, fault, line in, line out, PLL locked, a heartbeat.

    Raises
    ------
    ConfigError
        If a clock is out of the PLL's range, or the baud rate cannot be made.
    """

    def __init__(self, config: EngineConfig, *, clock_mhz: float = 50.0, baud: int = 1_000_000,
                 engine: Engine | None = None):
        self.config = config
        self.pll: Pll = find_pll(BOARD_MHZ, clock_mhz)
        if not isinstance(baud, int) or isinstance(baud, bool) or baud < 1:
            raise ConfigError(f"baud must be an integer above 0, not {baud!r}")
        cycles = self.pll.output_mhz * 1e6 / baud
        self.divisor = round(cycles)
        if self.divisor < 4 or abs(cycles / self.divisor - 1) > 0.02:
            raise ConfigError(
                f"baud must be within 2 % of {self.pll.output_mhz:g} MHz divided by a whole number "
                f"of at least 4, not {baud}"
            )
        self._engine = engine
        super().__init__(
            {"clk_25mhz": In(1), "ftdi_txd": In(1, init=1), "ftdi_rxd": Out(1, init=1),
             "wifi_gpio0": Out(1), "led": Out(8)}
        )

    def elaborate(self, platform):
        """Clock, reset, engine, lights."""
        m = Module()
        m.domains.sync = ClockDomain()
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            *(("p", name, value) for name, value in self.pll.parameters().items()),
            ("a", "FREQUENCY_PIN_CLKI", f"{self.pll.input_mhz:g}"),
            ("a", "FREQUENCY_PIN_CLKOP", f"{self.pll.output_mhz:g}"),
            ("a", "ICP_CURRENT", "12"),
            ("a", "LPF_RESISTOR", "8"),
            ("i", "CLKI", self.clk_25mhz),
            ("i", "CLKFB", ClockSignal()),
            ("o", "CLKOP", ClockSignal()),
            ("o", "LOCK", locked),
            *(("i", name, Const(0, 1)) for name in (
                "RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP",
                "PHASELOADREG", "PLLWAKESYNC", "ENCLKOP")),
        )
        m.submodules.reset = ResetSynchronizer(~locked)
        m.submodules.link = link = UartEngine(
            self.config, divisor=self.divisor, engine=self._engine
        )
        beat = Signal(25)
        m.d.sync += beat.eq(beat + 1)
        m.d.comb += [
            link.rx.eq(self.ftdi_txd),
            self.ftdi_rxd.eq(link.tx),
            self.wifi_gpio0.eq(1),
            self.led.eq(Cat(link.busy, link.error, link.overflow, link.fault, ~self.ftdi_txd,
                            ~link.tx, locked, beat[-1])),
        ]
        return m


def lpf() -> str:
    """Return the pins in Lattice's format."""
    lines = [
        "BLOCK RESETPATHS;",
        "BLOCK ASYNCPATHS;",
        'LOCATE COMP "clk_25mhz" SITE "G2";',
        'IOBUF PORT "clk_25mhz" PULLMODE=NONE IO_TYPE=LVCMOS33;',
        f'FREQUENCY PORT "clk_25mhz" {BOARD_MHZ:g} MHZ;',
        "SYSCONFIG CONFIG_IOVOLTAGE=3.3 COMPRESS_CONFIG=ON MCCLK_FREQ=62 MASTER_SPI_PORT=ENABLE "
        "SLAVE_SPI_PORT=DISABLE SLAVE_PARALLEL_PORT=DISABLE;",
    ]
    for name, (site, options) in _PINS.items():
        lines += [f'LOCATE COMP "{name}" SITE "{site}";', f'IOBUF PORT "{name}" {options};']
    return "\n".join(lines) + "\n"
