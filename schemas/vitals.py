"""The built-in vitals as data: LOINC codes, canonical UCUM units, plausible ranges.

A range is what a sensor can measure, not what is normal: a value outside it is an artefact.
Sources: US Core 9.0.0 vital-sign profiles; HL7 CGM IG 1.0.0 for glucose.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

LOINC = "http://loinc.org"


class Code(BaseModel):
    """A LOINC code with its display."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(pattern=r"^\d{1,7}-\d$")
    display: str


class VitalType(BaseModel):
    """The definition of a vital: its codes, its canonical unit, its plausible range, and the panel that it belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codes: list[Code] = Field(min_length=1, description="the first is sent if an EHR accepts only one")
    unit: str = Field(description="canonical UCUM code")
    unit_text: str = Field(description="the unit as displayed")
    range: tuple[float, float]
    panel: str | None = None


def _vital(
    codes: list[tuple[str, str]], unit: str, text: str, low: float, high: float, panel: str | None = None
) -> VitalType:
    return VitalType(
        codes=[Code(code=c, display=d) for c, d in codes], unit=unit, unit_text=text, range=(low, high), panel=panel
    )


BLOOD_PRESSURE = "blood_pressure"
PANEL_CODES = {BLOOD_PRESSURE: Code(code="85354-9", display="Blood pressure panel with all children optional")}
PANELS = {BLOOD_PRESSURE: ("systolic_bp", "diastolic_bp")}

BUILT_IN: dict[str, VitalType] = {
    "heart_rate": _vital([("8867-4", "Heart rate")], "/min", "beats/minute", 0, 350),
    "respiratory_rate": _vital([("9279-1", "Respiratory rate")], "/min", "breaths/minute", 0, 120),
    "spo2": _vital(
        [
            ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
            ("2708-6", "Oxygen saturation in Arterial blood"),
        ],
        "%",
        "%",
        0,
        100,
    ),
    "body_temperature": _vital([("8310-5", "Body temperature")], "Cel", "°C", 20, 46),
    "systolic_bp": _vital([("8480-6", "Systolic blood pressure")], "mm[Hg]", "mmHg", 10, 320, BLOOD_PRESSURE),
    "diastolic_bp": _vital([("8462-4", "Diastolic blood pressure")], "mm[Hg]", "mmHg", 5, 250, BLOOD_PRESSURE),
    "glucose": _vital([("99504-3", "Glucose [Mass/volume] in Interstitial fluid")], "mg/dL", "mg/dl", 10, 1000),
    "body_weight": _vital([("29463-7", "Body weight")], "kg", "kg", 0.2, 650),
}
