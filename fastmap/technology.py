"""Technologies: the constants of the macro model, where each comes from, and where they hold."""

from __future__ import annotations

import math
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from fastmap import zoo
from fastmap._spec import Name, Positive, RuleError, Spec, closest, listed, must, real, shown
from fastmap.errors import InputError
from fastmap.readers.source import Document, parse_document, read_document

if TYPE_CHECKING:
    from fastmap.kernels.macro import Technology as Constants

__all__ = ["DEFAULT", "Technology", "load_technology"]

#: The technology of architectures that name none.
DEFAULT = "28nm"

#: Constants that shrink with the feature size, as the authors scale their 22 nm chips; the others stay.
_SHRINKING = (
    "nand2_cap_pf", "nand2_area_mm2", "xor2_cap_pf", "xor2_area_mm2", "dff_cap_pf", "dff_area_mm2",
    "word_line_cap_pf", "bit_line_cap_pf",
)  # fmt: skip
#: Feature sizes between which that scaling was used.
SCALING_RANGE_NM = (22.0, 28.0)
#: Remark on a technology whose supply was changed.
SAME_DELAYS = "delays do not follow the supply voltage: they are those of the calibration"


def _range(value: object) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise must("[lowest, highest]", value)
    low, high = (real(part, positive=True) for part in value)
    if low > high:
        raise must("[lowest, highest]", list(value))
    return low, high


def _finite(value: object) -> float:
    if isinstance(value, bool | str) or not isinstance(value, int | float) or not math.isfinite(value):
        raise must("a number", value)
    return float(value)


Range = Annotated[
    tuple[float, float],
    BeforeValidator(_range),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
]
Finite = Annotated[float, BeforeValidator(_finite), WithJsonSchema({"type": "number"})]


class ConstantsFile(Spec):
    """The constants of ``fastmap.kernels.macro.Technology`` but for the supply; units stand in the names."""

    nand2_cap_pf: Positive
    nand2_area_mm2: Positive
    nand2_delay_ns: Positive
    xor2_cap_pf: Positive
    xor2_area_mm2: Positive
    xor2_delay_ns: Positive
    dff_cap_pf: Positive
    dff_area_mm2: Positive
    word_line_cap_pf: Positive
    bit_line_cap_pf: Positive
    dac_cap_pf: Positive
    adc_cap_linear_pf: Positive
    adc_cap_exponential_pf: Positive
    adc_area_slope: Finite
    adc_area_offset: Finite
    adc_delay_per_row_ns: Positive
    adc_delay_offset_ns: Positive


class Technology(Spec):
    """A CMOS node at a supply voltage: constants, their sources, and the range in which they hold.

    Attributes:
        node_nm: feature size.
        supply_v: supply voltage. Energies go with its square; delays are those of the calibration.
        supply_range_v: supply voltages for which the constants hold.
        adc_bits_range: ADC resolutions for which the fits of the converters hold.
        constants: see `fastmap.kernels.macro.Technology`.
        sources: where each constant comes from.
        remarks: what was derived and how, one sentence each.
    """

    name: Name
    node_nm: Positive
    supply_v: Positive
    supply_range_v: Range
    adc_bits_range: Range
    constants: ConstantsFile
    sources: dict[str, str] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Technology:
        low, high = self.supply_range_v
        if not low <= self.supply_v <= high:
            raise RuleError(
                f"{self.supply_v:g} V is outside of {low:g} to {high:g} V, where the constants of {self.name} hold",
                ("supply_v",),
            )
        known = ConstantsFile.model_fields
        for name in self.sources:
            if name not in known:
                raise RuleError(f"there is no constant {shown(name)}{closest(name, known)}", ("sources",))
        return self

    @property
    def kernel(self) -> Constants:
        """The constants as kernels take them."""
        from fastmap.kernels.macro import Technology as Constants

        return Constants(supply_v=self.supply_v, **self.constants.model_dump())

    def at(self, *, node_nm: float | None = None, supply_v: float | None = None) -> Technology:
        """Scale to another feature size, as the authors do for their 22 nm chips, and to another supply voltage.

        Areas of gates and ADCs, and capacitances of gates and lines, go linearly with the feature size; the energy of
        converters and all delays stay (zigzag-imc, imc_model_validation).

        Raises:
            InputError: the feature size is outside of `SCALING_RANGE_NM`, or the supply of `supply_range_v`.
        """
        changes: dict[str, Any] = {}
        remarks = list(self.remarks)
        if node_nm is not None and node_nm != self.node_nm:
            low, high = SCALING_RANGE_NM
            if not all(low <= each <= high for each in (node_nm, self.node_nm)):
                raise InputError(
                    f"constants are scaled between {low:g} and {high:g} nm only, not from {self.node_nm:g} to "
                    f"{node_nm:g} nm; give those of your node in a technology file"
                )
            ratio = node_nm / self.node_nm
            constants = self.constants.model_dump()
            constants.update({name: constants[name] * ratio for name in _SHRINKING})
            constants["adc_area_offset"] += math.log10(ratio)  # of an exponent of ten
            changes.update(node_nm=node_nm, constants=constants)
            remarks.append(f"areas, and capacitances of gates and lines, are those of {self.name} x {ratio:.4g}")
        if supply_v is not None and supply_v != self.supply_v:
            changes["supply_v"] = supply_v
            remarks += [SAME_DELAYS] if SAME_DELAYS not in remarks else []
        return Technology.model_validate(self.model_dump() | changes | {"remarks": tuple(remarks)})


class TechnologyFile(Spec):
    """A technology, whole, or what differs from another (``based_on``)."""

    name: Name
    based_on: Name | None = None
    node_nm: Positive
    supply_v: Positive
    supply_range_v: Range | None = None
    adc_bits_range: Range | None = None
    constants: dict[str, Finite] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)


def load_technology(name_or_path: str | FilePath | Technology) -> Technology:
    """Return the technology of that name in the zoo, or in a YAML file.

    Raises:
        InputError: there is none, or a constant is missing or out of range.
    """
    if isinstance(name_or_path, Technology):
        return name_or_path
    return _load(name_or_path, ())


def _load(name_or_path: str | FilePath, within: tuple[str, ...]) -> Technology:
    text = str(name_or_path)
    names = zoo.names("technology")
    if text in names:
        document = parse_document(zoo.text("technology", text), f"{text}.yaml (zoo)")
    elif isinstance(name_or_path, str) and not text.lower().endswith((".yaml", ".yml", ".json")):
        raise InputError(
            f"there is no technology {shown(text)}{closest(text, names)} (zoo: {listed(names)}; or give a YAML file)"
        )
    else:
        document = read_document(name_or_path)
    identity = text if document.folder is None else str(FilePath(text).resolve())
    if identity in within:
        raise document.error(("based_on",), "technologies are based on each other in a circle")
    return _build(document, (*within, identity))


def _build(document: Document, within: tuple[str, ...]) -> Technology:
    document.refuse_duplicates()
    file = document.parse(TechnologyFile, document.data)
    given: dict[str, Any] = {"name": file.name, "node_nm": file.node_nm, "supply_v": file.supply_v}
    given |= {key: value for key in ("supply_range_v", "adc_bits_range") if (value := getattr(file, key)) is not None}
    constants, sources, remarks = dict[str, float](), dict[str, str](), tuple[str, ...]()
    if file.based_on is not None:
        base = _load(document.beside(file.based_on), within)
        if set(file.constants) != set(ConstantsFile.model_fields):  # else nothing of the base's remains to be scaled
            try:
                base = base.at(node_nm=file.node_nm)
            except InputError as error:
                raise document.error(("node_nm",), str(error)) from None
            if file.supply_v != base.supply_v and SAME_DELAYS not in base.remarks:
                base = base.model_copy(update={"remarks": (*base.remarks, SAME_DELAYS)})
        constants, sources, remarks = base.constants.model_dump(), dict(base.sources), base.remarks
        given = {"supply_range_v": base.supply_range_v, "adc_bits_range": base.adc_bits_range} | given
    constants |= file.constants
    for name in file.constants:  # the source of a constant that is replaced does not hold for the new one
        sources.pop(name, None)
    sources |= file.sources
    data = given | {"constants": constants, "sources": sources, "remarks": remarks}
    return document.build(lambda: Technology.model_validate(data), lambda where: where)
