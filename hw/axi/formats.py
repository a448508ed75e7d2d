"""The register map and the descriptor as files for others: C, Python, SystemRDL, Markdown."""

from __future__ import annotations

from .descriptors import DESCRIPTOR_BYTES, FLAG_LOAD, SLOTS
from .fields import Register
from .registers import IDENTITY, INTERFACE_VERSION, REGISTERS

_NOTE = "Made from hw/axi/registers.py; do not edit."


def _present(register: Register) -> str:
    return f"; {register.only.text}" if register.only else ""


def c_header(*, prefix: str = "SIGNACC") -> str:
    """Return a C header with offsets, masks and the descriptor's struct."""
    lines = [
        f"/* Registers of the signacc core. {_NOTE} */",
        f"#ifndef {prefix}_REGISTERS_H",
        f"#define {prefix}_REGISTERS_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define {prefix}_IDENTITY UINT32_C({IDENTITY:#010x})",
        f"#define {prefix}_VERSION_MAJOR {INTERFACE_VERSION[0]}",
        f"#define {prefix}_VERSION_MINOR {INTERFACE_VERSION[1]}",
        "",
    ]
    for register in REGISTERS:
        lines.append(f"/* {register.text}{_present(register)} */")
        lines += [f"#define {prefix}_{name} {offset:#04x}" for name, offset in register.words]
        for field in register.fields:
            if field.width < 32:
                stem = f"{prefix}_{register.name}_{field.name.upper()}"
                lines.append(f"#define {stem} UINT32_C({field.mask:#x}) /* {field.text} */")
    lines += ["", "/* A layer in the list of the read master: little-endian, 64 bytes. */"]
    lines.append(f"#define {prefix}_DESCRIPTOR_BYTES {DESCRIPTOR_BYTES}")
    lines.append(f"#define {prefix}_DESCRIPTOR_LOAD UINT32_C({FLAG_LOAD:#x}) /* in flags */")
    lines.append(f"struct {prefix.lower()}_descriptor {{")
    for slot in SLOTS:
        if slot.bytes in (4, 8):
            lines.append(f"    uint{8 * slot.bytes}_t {slot.name}; /* {slot.text} */")
        else:
            lines.append(f"    uint32_t {slot.name}[{slot.bytes // 4}]; /* {slot.text} */")
    lines += ["};", "", "#endif", ""]
    return "\n".join(lines)


def python_constants() -> str:
    """Return a Python module with a class of offsets, and one of masks for each register."""
    lines = [
        f'"""Registers of the signacc core. {_NOTE}"""',
        "",
        f"IDENTITY = {IDENTITY:#010x}",
        f"VERSION = {INTERFACE_VERSION!r}",
        f"DESCRIPTOR_BYTES = {DESCRIPTOR_BYTES}",
        f"DESCRIPTOR_LOAD = {FLAG_LOAD}  # in flags",
        "",
        "",
        "class Offset:",
        '    """Byte offsets of the words."""',
        "",
    ]
    for register in REGISTERS:
        for name, offset in register.words:
            lines.append(f"    {name} = {offset:#04x}  # {register.text}{_present(register)}")
    for register in REGISTERS:
        narrow = [field for field in register.fields if field.width < 32]
        if not narrow:
            continue
        name = "".join(part.capitalize() for part in register.name.split("_"))
        lines += ["", "", f"class {name}:", f'    """Masks of {register.name}."""', ""]
        lines += [
            f"    {field.name.upper()} = {field.mask:#x}  # {field.text}" for field in narrow
        ]
    return "\n".join([*lines, ""])


_RDL_ACCESS = {
    "RO": "sw = r; hw = w;",
    "RW": "sw = rw; hw = r;",
    "W1C": "sw = rw; onwrite = woclr; hw = rw; hwset;",
    "WO": "sw = w; hw = r; singlepulse;",
}


def system_rdl(*, name: str = "signacc") -> str:
    """Return the map as SystemRDL 2.0, for tools of the PeakRDL kind."""
    lines = [f"// Registers of the signacc core. {_NOTE}", f"addrmap {name} {{"]
    lines += ["    default regwidth = 32;", "    default accesswidth = 32;"]
    for register in REGISTERS:
        for word, offset in register.words:
            lines += ["    reg {", f'        desc = "{register.text}{_present(register)}";']
            for field in register.fields:
                width = min(field.width, 32)
                access = _RDL_ACCESS[field.access.short]
                reset = f" reset = {field.reset};" if field.access.short != "RO" else ""
                lines.append(
                    f'        field {{ desc = "{field.text}"; {access}{reset} }} '
                    f"{field.name}[{field.low + width - 1}:{field.low}];"
                )
            lines.append(f"    }} {word} @ {offset:#04x};")
    return "\n".join([*lines, "};", ""])


def markdown_table() -> str:
    """Return the map as the table of docs/axi.md."""
    lines = ["| offset | register | bits | access | what |", "|---|---|---|---|---|"]
    for register in REGISTERS:
        low, *high = [offset for _, offset in register.words]
        place = f"{low:#04x}" + "".join(f", {offset:#04x}" for offset in high)
        name = f"`{register.name}`" + (" (`_LO`, `_HI`)" if high else "")
        if len(register.fields) == 1:
            (field,) = register.fields
            bits = f"{field.low + field.width - 1}:{field.low}"
            text = f"{register.text}{_present(register)}"
            lines.append(f"| {place} | {name} | {bits} | {field.access.short} | {text} |")
            continue
        lines.append(f"| {place} | {name} | | | {register.text}{_present(register)} |")
        for field in register.fields:
            bits = (
                str(field.low) if field.width == 1 else f"{field.low + field.width - 1}:{field.low}"
            )
            lines.append(
                f"| | `.{field.name}` | {bits} | {field.access.short} | {field.text} |"
            )
    return "\n".join([*lines, ""])
